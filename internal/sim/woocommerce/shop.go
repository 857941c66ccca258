package woocommerce

func (s *Store) serveShop(run *run, q *request) (*reply, error) { return htmlReply(404, "x"), nil }

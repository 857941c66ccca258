package woocommerce

import "net/http"

const adminPrefix = "/__sim/"

func (s *Store) admin(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

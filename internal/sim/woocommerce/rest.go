package woocommerce

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
)

// request is what PHP sees of a request.
type request struct {
	method string
	// path is the route without the site's prefix; wirePath is what followed the home URL.
	path, wirePath, query string
	header                http.Header
	https                 bool
	body                  []byte
	// keysHonoured: WooCommerce looks at keys only when "wp-json/wc/" is in the address.
	keysHonoured bool
	number       int64
}

// reply is a whole answer, held back until the faults have had their say.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// Handler serves the shop: REST, Store API, shop page and, with an admin token, the routes under /__sim/.
func (s *Store) Handler() http.Handler { return http.HandlerFunc(s.handle) }

func (s *Store) handle(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, adminPrefix) {
		s.admin(w, r)
		return
	}
	body, tooLarge := readBody(r)
	q := &request{method: r.Method, path: r.URL.Path, query: r.URL.RawQuery, header: r.Header, https: https(r), body: body}
	q.path = strings.TrimPrefix(q.path, s.prefix())
	q.wirePath = q.path
	q.keysHonoured = strings.Contains(q.path, "/wp-json/wc/") || strings.Contains(q.path, "/wp-json/wc-")
	if plain := r.URL.Query().Get("rest_route"); plain != "" && (q.path == "/" || q.path == "") {
		q.path = "/wp-json" + plain
	}

	s.mu.Lock()
	var faults []struck
	if rest(q.path) {
		faults = s.strike(false, q.method, q.path)
	}
	entry := Access{Time: s.now(), Method: q.method, Path: q.path, Query: q.query, Body: body}
	if len(faults) > 0 {
		entry.Fault = faults[0].Kind
	}
	q.number = s.log.add(entry)
	s.mu.Unlock()

	var out *reply
	if tooLarge != nil {
		out = s.errorReply(q, tooLarge)
	} else if out = s.withFaults(r, q, faults); out == nil {
		panic(http.ErrAbortHandler) // closes the connection
	}
	s.mu.Lock()
	now := s.now()
	s.log.answer(q.number, out.status, len(out.body))
	s.mu.Unlock()
	s.logger().V(1).Info("request", "method", q.method, "path", q.path, "status", out.status)
	maps.Copy(w.Header(), out.header)
	w.Header().Set("Date", now.Format(http.TimeFormat))
	w.Header().Set("Content-Length", strconv.Itoa(len(out.body)))
	w.WriteHeader(out.status)
	if q.method != http.MethodHead {
		_, _ = w.Write(out.body)
	}
}

func (s *Store) logger() logr.Logger {
	if s.o.Log.GetSink() == nil {
		return logr.Discard()
	}
	return s.o.Log
}

func rest(path string) bool { return path == "/wp-json" || strings.HasPrefix(path, "/wp-json/") }

// withFaults answers a request as the faults that struck it allow; nil means: close the connection.
func (s *Store) withFaults(r *http.Request, q *request, faults []struck) *reply {
	run := s.newRun()
	for _, f := range faults {
		switch f.Kind {
		case FaultLatency:
			if s.o.Clock.Sleep(run.ctx, f.Delay) != nil {
				return nil
			}
		case FaultStatus:
			out := htmlReply(f.Status, http.StatusText(f.Status))
			if f.RetryAfter > 0 {
				out.header.Set("Retry-After", strconv.Itoa(f.RetryAfter))
			}
			return out
		case FaultHTML:
			return htmlReply(200, "Checking your browser before accessing the shop")
		case FaultMaintenance:
			return maintenance(q)
		case FaultCutBefore:
			return nil
		case FaultStall, FaultDie:
			run.faults = append(run.faults, f)
		case FaultStale:
			run.frozen = f.frozen
		case FaultWithhold, FaultLate:
			s.landLater(q, f.Delay, run)
			if f.Kind == FaultWithhold {
				select {
				case <-r.Context().Done():
				case <-s.ctx.Done():
				}
			}
			return nil
		}
	}
	out, err := s.serve(run, q)
	switch {
	case errors.Is(err, errDied):
		out = htmlReply(502, "Bad Gateway")
	case err != nil:
		return nil
	}
	for _, f := range faults {
		switch f.Kind {
		case FaultCutAfter:
			return nil
		case FaultFatal:
			e := fail(500, "internal_server_error", "<p>There has been a critical error on this website.</p><p><a href=\"https://wordpress.org/documentation/article/faq-troubleshooting/\">Learn more about troubleshooting WordPress.</a></p>")
			return s.errorReply(q, e)
		}
	}
	return out
}

// landLater works on a request in the background, after its client was left alone.
func (s *Store) landLater(q *request, delay time.Duration, run *run) {
	var landed chan struct{}
	if delay < 0 {
		landed = make(chan struct{})
		s.mu.Lock()
		s.landings = append(s.landings, landed)
		s.mu.Unlock()
	}
	s.work.run(func() {
		if landed != nil {
			select {
			case <-landed:
			case <-s.ctx.Done():
				return
			}
		} else if s.o.Clock.Sleep(s.ctx, delay) != nil {
			return
		}
		_, _ = s.serve(run, q)
	})
}

// serve does what a request asks for. The only errors are a death and the store's end.
func (s *Store) serve(run *run, q *request) (*reply, error) {
	if s.workers != nil {
		select {
		case s.workers <- struct{}{}:
			defer func() { <-s.workers }()
		case <-s.ctx.Done():
			return nil, s.ctx.Err()
		}
	}
	if err := run.at(StepStart, 0, 0); err != nil {
		return nil, err
	}
	var out *reply
	var err error
	switch {
	case rest(q.path):
		if p := s.pluginOf(q.path); p != nil {
			status, answer := p.Serve(run.ctx, q.method, q.path, q.header, q.body)
			out = &reply{status: status, header: s.baseHeader(q), body: encodeJSON(nil, answer)}
		} else {
			out, err = s.serveREST(run, q)
		}
	case q.path == "/shop" || strings.HasPrefix(q.path, "/shop/"):
		out, err = s.serveShop(run, q)
	case q.path == "" || q.path == "/":
		out = &reply{status: 302, header: http.Header{"Location": {s.prefix() + "/shop"}}}
	default:
		out = htmlReply(404, "Page not found")
	}
	if err != nil {
		return nil, err
	}
	if s.o.WebhookSync {
		s.DeliverWebhooks(run.ctx)
	}
	return out, run.at(StepAnswer, 0, 0)
}

func htmlReply(status int, text string) *reply {
	page := "<!DOCTYPE html>\n<html><head><title>" + text + "</title></head>\n<body><h1>" + text + "</h1></body></html>\n"
	return &reply{status: status, header: http.Header{"Content-Type": {"text/html; charset=UTF-8"}}, body: []byte(page)}
}

// maintenance is JSON only for callers who said they speak it.
func maintenance(q *request) *reply {
	const text = "Briefly unavailable for scheduled maintenance. Check back in a minute."
	out := htmlReply(503, "Maintenance")
	if strings.Contains(q.header.Get("Accept"), "application/json") || strings.HasPrefix(q.header.Get("Content-Type"), "application/json") {
		out.header.Set("Content-Type", jsonType)
		out.body = encodeJSON(nil, object{{"code", "wp_die"}, {"message", text}, {"data", object{{"status", 503}}}, {"additional_errors", []any{}}})
	}
	out.header.Set("Retry-After", "600")
	out.header.Set("Cache-Control", noCache)
	return out
}

const (
	jsonType = "application/json; charset=UTF-8"
	noCache  = "no-cache, must-revalidate, max-age=0, no-store, private"
)

func (s *Store) baseHeader(q *request) http.Header {
	return http.Header{
		"Content-Type": {jsonType},
		"Link":         {fmt.Sprintf(`<%s/wp-json/>; rel="https://api.w.org/"`, s.homeURL(q.https))},
	}
}

func (s *Store) errorReply(q *request, e *restError) *reply {
	return &reply{status: e.status, header: s.baseHeader(q), body: encodeJSON(nil, e.body())}
}

// call is one request on its way through a route.
type call struct {
	s      *Store
	run    *run
	q      *request
	home   string
	params params
	fields []string
	key    *Key
	header http.Header // of the answer
	ids    []int64     // the numbers in the path
}

// view is the data a read looks at: the live ones, or those a stale cache remembers. The caller holds the lock.
func (c *call) view() *state {
	if c.run.frozen != nil {
		return c.run.frozen
	}
	return c.s.st
}

// action is what a route does for a method. It returns the status and the body.
type action struct {
	verb string // what the caller must be allowed: list, view, create, edit, delete, batch; "" for all
	args []arg
	do   func(*call) (int, any, error)
}

type route struct {
	allow   string
	orders  bool
	actions map[string]action
}

const (
	allowList  = "GET, POST"
	allowItem  = "GET, POST, PUT, PATCH, DELETE"
	allowBatch = "POST, PUT, PATCH"
)

func collection(listArgs []arg, list func(*call) (int, any, error), createArgs []arg, create func(*call) (int, any, error)) route {
	return route{allow: allowList, actions: map[string]action{
		"GET": {"list", listArgs, list}, "POST": {"create", createArgs, create}}}
}

func item(view func(*call) (int, any, error), editArgs []arg, edit, remove func(*call) (int, any, error)) route {
	change := action{"edit", editArgs, edit}
	return route{allow: allowItem, actions: map[string]action{
		"GET": {"view", nil, view}, "POST": change, "PUT": change, "PATCH": change,
		"DELETE": {"delete", []arg{{name: "force", typ: "boolean"}}, remove}}}
}

func batch(do func(*call) (int, any, error)) route {
	a := action{"batch", nil, do}
	return route{allow: allowBatch, actions: map[string]action{"POST": a, "PUT": a, "PATCH": a}}
}

func readOnly(verb string, args []arg, do func(*call) (int, any, error)) route {
	return route{allow: "GET", actions: map[string]action{"GET": {verb, args, do}}}
}

// route finds the route of a path under /wp-json/ and the numbers in it.
func (s *Store) route(path string) (route, []int64, bool) {
	var ids []int64
	parts := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	for i, p := range parts {
		if id, err := strconv.ParseInt(p, 10, 64); err == nil && id >= 0 && p[0] != '+' {
			ids = append(ids, id)
			parts[i] = "#"
		}
	}
	pattern := strings.Join(parts, "/")
	s.mu.Lock()
	missing := s.behaviour.NoWooCommerce && pattern != ""
	s.mu.Unlock()
	if missing {
		return route{}, nil, false
	}
	if pattern == "wc/v3/variations" && !s.globalVariations() {
		return route{}, nil, false
	}
	r, ok := s.routes[pattern]
	return r, ids, ok
}

// newRoutes is the table of all routes; # stands for a number.
func newRoutes() map[string]route {
	order := func(r route) route { r.orders = true; return r }
	return map[string]route{
		"":                                  readOnly("", nil, siteIndex),
		"wc/v3":                             readOnly("", nil, namespaceIndex),
		"wc/v3/products":                    collection(productListArgs, listProducts, productArgs, createProduct),
		"wc/v3/products/#":                  item(viewProduct, productArgs, editProduct, deleteProduct),
		"wc/v3/products/batch":              batch(batchProducts),
		"wc/v3/products/#/variations":       collection(productListArgs, listVariations, variationArgs, createVariation),
		"wc/v3/products/#/variations/#":     item(viewVariation, variationArgs, editVariation, deleteVariation),
		"wc/v3/products/#/variations/batch": batch(batchVariations),
		"wc/v3/variations":                  readOnly("list", productListArgs, listAllVariations),
		"wc/v3/orders":                      order(collection(orderListArgs, listOrders, orderArgs, createOrder)),
		"wc/v3/orders/#":                    order(item(viewOrder, orderArgs, editOrder, deleteOrder)),
		"wc/v3/orders/#/refunds":            order(collection(pageArgs, listRefunds, refundArgs, createRefund)),
		"wc/v3/orders/#/refunds/#": order(route{allow: "GET, DELETE", actions: map[string]action{
			"GET": {"view", nil, viewRefund}, "DELETE": {"delete", []arg{{name: "force", typ: "boolean"}}, deleteRefund}}}),
		"wc/v3/webhooks":            collection(webhookListArgs, listWebhooks, webhookArgs, createWebhook),
		"wc/v3/webhooks/#":          item(viewWebhook, webhookArgs, editWebhook, deleteWebhook),
		"wc/v3/system_status":       readOnly("list", nil, systemStatus),
		"wc/store/v1/cart":          readOnly("", nil, storeCart),
		"wc/store/v1/cart/add-item": {allow: "POST", actions: map[string]action{"POST": {do: storeAddItem}}},
		"wc/store/v1/checkout": {allow: "GET, POST, PUT, PATCH", actions: map[string]action{
			"GET": {do: storeDraft}, "POST": {do: storeCheckout}}},
	}
}

func (s *Store) serveREST(run *run, q *request) (*reply, error) {
	header := s.baseHeader(q)
	out := func(status int, body any) *reply { return &reply{status, header, encodeJSON(nil, body)} }
	refuse := func(e *restError) *reply { return out(e.status, e.body()) }

	key, authErr := s.authenticate(q)
	if key != nil {
		header.Set("Cache-Control", noCache)
	}
	if authErr != nil {
		return refuse(authErr), nil
	}
	route, ids, ok := s.route(strings.TrimPrefix(q.path, "/wp-json"))
	method := q.method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	act, served := route.actions[method]
	if !ok || !served {
		return refuse(fail(404, "rest_no_route", "No route was found matching the URL and request method.")), nil
	}
	header.Set("Allow", route.allow)

	p, perr := parseParams(q.query, q.header.Get("Content-Type"), q.body)
	if perr == nil {
		perr = p.validate(act.args)
	}
	if perr != nil {
		return refuse(perr), nil
	}
	if denied := permission(route, act, key); denied != nil {
		header.Del("Allow")
		return refuse(denied), nil
	}
	c := &call{s: s, run: run, q: q, home: s.homeURL(q.https), params: p, fields: p.fields(), key: key, header: header, ids: ids}
	status, body, err := act.do(c)
	var e *restError
	switch {
	case errors.As(err, &e):
		return refuse(e), nil
	case err != nil:
		return nil, err
	}
	return out(status, filterFields(body, c.itemFields(body))), nil
}

// itemFields is _fields, with _links kept on answers that are one item.
func (c *call) itemFields(body any) []string {
	if o, ok := body.(object); ok && c.fields != nil {
		if _, links := o.get("_links"); links {
			return append(slices.Clip(c.fields), "_links")
		}
	}
	return c.fields
}

var denials = map[string][2]string{
	"list":   {"woocommerce_rest_cannot_view", "Sorry, you cannot list resources."},
	"view":   {"woocommerce_rest_cannot_view", "Sorry, you cannot view this resource."},
	"create": {"woocommerce_rest_cannot_create", "Sorry, you are not allowed to create resources."},
	"edit":   {"woocommerce_rest_cannot_edit", "Sorry, you are not allowed to edit this resource."},
	"delete": {"woocommerce_rest_cannot_delete", "Sorry, you are not allowed to delete this resource."},
	"batch":  {"woocommerce_rest_cannot_batch", "Sorry, you are not allowed to batch manipulate this resource."},
}

func permission(r route, a action, key *Key) *restError {
	d := denials[a.verb]
	switch {
	case a.verb == "":
		return nil
	case key == nil:
		return fail(401, d[0], d[1])
	case r.orders && key.NoOrders:
		return fail(403, d[0], d[1])
	}
	return nil
}

var pageArgs = []arg{
	{name: "page", typ: "integer", min: 1, max: maxQuantity},
	{name: "per_page", typ: "integer", min: 1, max: 100},
	{name: "offset", typ: "integer"},
	{name: "order", typ: "string", enum: []string{"asc", "desc"}},
}

// page cuts a list to the asked page and sets the totals and links.
func page[T any](c *call, all []T) []T {
	per, number := c.params.int("per_page", 10), c.params.int("page", 1)
	total := int64(len(all))
	pages := (total + per - 1) / per
	h := c.header
	h.Set("X-WP-Total", strconv.FormatInt(total, 10))
	h.Set("X-WP-TotalPages", strconv.FormatInt(pages, 10))
	var links []string
	link := func(n int64, rel string) {
		address := c.home + c.q.wirePath + "?" + withPage(c.q.query, n)
		links = append(links, fmt.Sprintf(`<%s>; rel="%s"`, address, rel))
	}
	if number > 1 {
		link(max(1, min(number-1, pages)), "prev")
	}
	if number < pages {
		link(number+1, "next")
	}
	if links != nil {
		h.Set("Link", strings.Join(links, ", "))
	}
	start := (number - 1) * per
	if _, ok := c.params["offset"]; ok {
		start = c.params.int("offset", 0)
	}
	if start < 0 || start >= total {
		return nil
	}
	return all[start:min(start+per, total)]
}

// withPage sets page in a query, keeping the place of every parameter.
func withPage(query string, n int64) string {
	pairs := []string{}
	done := false
	for pair := range strings.SplitSeq(query, "&") {
		k, v, _ := strings.Cut(pair, "=")
		switch {
		case k == "":
			continue
		case k == "page":
			v, done = strconv.FormatInt(n, 10), true
		default:
			if plain, err := url.QueryUnescape(v); err == nil {
				v = url.QueryEscape(plain)
			}
		}
		pairs = append(pairs, k+"="+v)
	}
	if !done {
		pairs = append(pairs, "page="+strconv.FormatInt(n, 10))
	}
	return strings.Join(pairs, "&")
}

// links are the _links of an item.
func links(self, collection, up string, allow string) object {
	o := object{
		{"self", []object{{{"href", self}, {"targetHints", object{{"allow", strings.Split(allow, ", ")}}}}}},
		{"collection", []object{{{"href", collection}}}},
	}
	if up != "" {
		o = append(o, member{"up", []object{{{"href", up}}}})
	}
	return o
}

const dateLayout = "2006-01-02T15:04:05"

// putDates writes a date twice, as the site and as UTC see it.
func (s *Store) putDates(b *builder, name string, t time.Time) {
	if t.IsZero() {
		b.put(name, nil)
		b.put(name+"_gmt", nil)
		return
	}
	b.put(name, t.In(s.o.Location).Format(dateLayout))
	b.put(name+"_gmt", t.UTC().Format(dateLayout))
}

// drain keeps a connection usable after an answer that nobody reads.
func drain(r io.ReadCloser) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r, 64<<10))
	_ = r.Close()
}

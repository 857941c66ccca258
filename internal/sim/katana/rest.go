package katana

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	apiPrefix = "/v1"
	perMinute = 60
	maxLimit  = 250
	maxBody   = 1 << 20
)

// timestamp is written as Katana writes times.
type timestamp time.Time

// MarshalJSON implements [json.Marshaler].
func (t timestamp) MarshalJSON() ([]byte, error) {
	return []byte(time.Time(t).UTC().Format(`"2006-01-02T15:04:05.000Z"`)), nil
}

func stamp(t *time.Time) *timestamp {
	if t == nil {
		return nil
	}
	s := timestamp(*t)
	return &s
}

// rateWindow counts the requests of one key in the current minute.
type rateWindow struct {
	start time.Time
	used  int
}

// Handler serves the API below /v1 and, with an admin token, the routes below /__sim/.
func (a *Account) Handler() http.Handler { return http.HandlerFunc(a.handle) }

// call is one request and what its answer needs.
type call struct {
	r      *http.Request
	path   string
	query  url.Values
	body   []byte
	b      Behaviour
	st     *state
	levels *state
	now    time.Time
	header http.Header
}

// problem is an error answer.
type problem struct {
	Status  int      `json:"statusCode"`
	Name    string   `json:"name"`
	Message string   `json:"message"`
	Code    string   `json:"code,omitempty"`
	Details []detail `json:"details,omitempty"`
}

type detail struct {
	Path    string         `json:"path"`
	Code    string         `json:"code"`
	Message string         `json:"message"`
	Info    map[string]any `json:"info"`
}

var problemNames = map[int]string{
	400: "BadRequest", 401: "UnauthorizedError", 402: "PaymentRequiredError", 403: "ForbiddenError", 404: "NotFoundError", 412: "PreconditionFailedError",
	422: "UnprocessableEntityError", 429: "TooManyRequests", 500: "InternalServerError", 502: "BadGateway", 503: "ServiceUnavailable",
}

func newProblem(status int, message string) *problem {
	return &problem{Status: status, Name: problemNames[status], Message: message}
}

func invalid(path, code, message string, info map[string]any) *problem {
	p := newProblem(http.StatusUnprocessableEntity, "the request is invalid")
	p.Code, p.Details = "VALIDATION_FAILED", []detail{{path, code, message, info}}
	return p
}

func (a *Account) handle(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, adminPrefix) {
		a.admin(w, r)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return
	}
	path := strings.TrimPrefix(r.URL.Path, apiPrefix)
	if a.o.OnRequest != nil {
		a.o.OnRequest(r.Method, path, r.URL.RawQuery)
	}
	a.mu.Lock()
	a.requests++
	faults := a.strike(false, r.Method, path)
	a.mu.Unlock()
	var stale *state
	for _, f := range faults {
		switch f.Kind {
		case FaultSlow:
			if a.o.Clock.Sleep(r.Context(), f.Delay) != nil {
				panic(http.ErrAbortHandler)
			}
		case FaultCut:
			panic(http.ErrAbortHandler)
		case FaultStaleLevels:
			stale = f.frozen
		}
	}
	a.mu.Lock()
	c := &call{r: r, path: path, query: r.URL.Query(), body: body, b: a.behaviour, st: a.st, levels: a.st, now: a.now(), header: w.Header()}
	if stale != nil {
		c.levels = stale
	}
	answer, p := a.answer(c, faults)
	var out []byte
	switch {
	case p != nil && a.behaviour.FlatErrors:
		out = encode(p)
	case p != nil:
		out = encode(map[string]*problem{"error": p})
	default:
		out = encode(answer)
	}
	a.mu.Unlock()
	status := http.StatusOK
	if p != nil {
		status = p.Status
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Date", c.now.Format(http.TimeFormat))
	for _, f := range faults {
		switch f.Kind {
		case FaultHTML:
			w.Header().Set("Content-Type", "text/html")
			out = []byte("<!DOCTYPE html><title>Just a moment...</title>")
		case FaultCutAfter:
			panic(http.ErrAbortHandler)
		}
	}
	a.logger().V(1).Info("answer", "method", r.Method, "path", path, "status", status, "bytes", len(out))
	w.WriteHeader(status)
	_, _ = w.Write(out)
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte(`{}`)
	}
	return b
}

// answer works on a request. The lock is held.
func (a *Account) answer(c *call, faults []armed) (any, *problem) {
	key, _ := strings.CutPrefix(c.r.Header.Get("Authorization"), "Bearer ")
	known := slices.ContainsFunc(a.keys, func(k string) bool { return k != "" && subtle.ConstantTimeCompare([]byte(k), []byte(key)) == 1 })
	if !known {
		key = ""
	}
	if p := a.limit(c, key); p != nil {
		return nil, p
	}
	for _, f := range faults {
		if f.Kind == FaultStatus {
			if f.Status == http.StatusTooManyRequests {
				c.header.Set("X-Ratelimit-Remaining", "0")
			}
			if f.RetryAfter > 0 {
				c.header.Set("Retry-After", strconv.Itoa(f.RetryAfter))
			}
			return nil, newProblem(f.Status, "an injected fault")
		}
	}
	switch {
	case !known:
		return nil, newProblem(http.StatusUnauthorized, "Unauthorized")
	case c.b.NoAPI != 0:
		return nil, newProblem(c.b.NoAPI, "the plan of this account has no API access")
	}
	return a.route(c)
}

// limit counts a request and writes the rate headers.
func (a *Account) limit(c *call, key string) *problem {
	limit := c.b.RateLimit
	if limit < 0 {
		return nil
	}
	if limit == 0 {
		limit = perMinute
	}
	w := a.window[key]
	if w == nil || !c.now.Before(w.start.Add(time.Minute)) {
		w = &rateWindow{start: c.now}
		a.window[key] = w
	}
	over := w.used >= limit
	if !over {
		w.used++
	}
	reset := w.start.Add(time.Minute)
	c.header.Set("X-Ratelimit-Limit", strconv.Itoa(limit))
	c.header.Set("X-Ratelimit-Remaining", strconv.Itoa(limit-w.used))
	if c.b.ResetInSeconds {
		c.header.Set("X-Ratelimit-Reset", strconv.FormatInt(reset.Unix(), 10))
	} else {
		c.header.Set("X-Ratelimit-Reset", strconv.FormatInt(reset.UnixMilli(), 10))
	}
	if over {
		c.header.Set("Retry-After", strconv.Itoa(int((reset.Sub(c.now)+time.Second-1)/time.Second)))
		return newProblem(http.StatusTooManyRequests, "Too Many Requests")
	}
	return nil
}

func (a *Account) route(c *call) (any, *problem) {
	parts := strings.Split(strings.Trim(c.path, "/"), "/")
	id, hasID := int64(0), false
	if len(parts) == 2 {
		n, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil {
			return nil, newProblem(http.StatusNotFound, "Not found")
		}
		id, hasID = n, true
	}
	if len(parts) > 2 {
		return nil, newProblem(http.StatusNotFound, "Not found")
	}
	if parts[0] == "webhooks" {
		return a.webhooks(c, id, hasID)
	}
	if c.r.Method != http.MethodGet {
		return nil, newProblem(http.StatusNotFound, "Not found")
	}
	if hasID {
		return c.one(parts[0], id)
	}
	return c.list(parts[0])
}

// value is a query parameter, empty if it is ignored.
func (c *call) value(name string) string {
	if slices.Contains(c.b.IgnoreFilters, name) {
		return ""
	}
	return c.query.Get(name)
}

// array is a list parameter in the forms understood; ok is false when it is not there.
func (c *call) array(name string) (values []string, ok bool) {
	if slices.Contains(c.b.IgnoreFilters, name) {
		return nil, false
	}
	plain, brackets := c.query[name], c.query[name+"[]"]
	switch c.b.Arrays {
	case "brackets":
		return brackets, len(brackets) > 0
	case "repeat":
		return plain, len(plain) > 0
	case "comma":
		// Of a repeated parameter the last one holds.
		if len(plain) == 0 {
			return nil, false
		}
		return strings.Split(plain[len(plain)-1], ","), true
	}
	for _, v := range append(slices.Clone(plain), brackets...) {
		values = append(values, strings.Split(v, ",")...)
	}
	return values, len(values) > 0
}

// flag is a boolean parameter.
func (c *call) flag(name string) bool { return c.value(name) == "true" }

// in tells whether a list filter lets an id through.
func (c *call) in(name string, id int64) bool {
	values, ok := c.array(name)
	return !ok || slices.Contains(values, strconv.FormatInt(id, 10))
}

// is tells whether a filter lets a text through.
func (c *call) is(name, text string) bool { v := c.value(name); return v == "" || v == text }

func text(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// dated tells whether the date filters let something through.
func (c *call) dated(created, updated time.Time) bool {
	for name, at := range map[string]time.Time{"created_at_min": created, "created_at_max": created, "updated_at_min": updated, "updated_at_max": updated} {
		bound, err := time.Parse(time.RFC3339, c.value(name))
		if err != nil {
			continue
		}
		if strings.HasSuffix(name, "min") && at.Before(bound) || strings.HasSuffix(name, "max") && at.After(bound) {
			return false
		}
	}
	return true
}

// envelope cuts the page asked for and writes X-Pagination.
func envelope[T any](c *call, rows []T) (any, *problem) {
	number := func(name string, otherwise int) (int, *problem) {
		v := c.query.Get(name)
		if v == "" {
			return otherwise, nil
		}
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return 0, invalid("."+name, "type", "must be a whole number of at least 1", map[string]any{})
		}
		return n, nil
	}
	limit, p := number("limit", 50)
	if p != nil {
		return nil, p
	}
	page, p := number("page", 1)
	if p != nil {
		return nil, p
	}
	limit = min(limit, maxLimit)
	pages := (len(rows) + limit - 1) / limit
	offset := min((page-1)*limit, len(rows))
	meta := map[string]any{
		"total_records": len(rows), "total_pages": pages, "offset": (page - 1) * limit, "page": page,
		"first_page": page == 1, "last_page": page >= pages,
	}
	if c.b.PaginationStrings {
		for k, v := range meta {
			meta[k] = fmt.Sprint(v)
		}
	}
	c.header.Set("X-Pagination", string(encode(meta)))
	data := rows[offset:min(offset+limit, len(rows))]
	if data == nil {
		data = []T{}
	}
	return map[string][]T{"data": data}, nil
}

func (a *Account) webhooks(c *call, id int64, hasID bool) (any, *problem) {
	var in struct {
		URL         *string  `json:"url"`
		Enabled     *bool    `json:"enabled"`
		Events      []string `json:"subscribed_events"`
		Description *string  `json:"description"`
	}
	decode := func() *problem {
		dec := json.NewDecoder(strings.NewReader(string(c.body)))
		dec.DisallowUnknownFields()
		switch err := dec.Decode(&in); {
		case err != nil:
			return invalid("", "additionalProperties", "must hold known properties of the right type only", map[string]any{})
		case in.URL != nil && !strings.HasPrefix(*in.URL, "https://") && !(c.b.PlainWebhooks && strings.HasPrefix(*in.URL, "http://")):
			return invalid(".url", "pattern", "must be an https URL", map[string]any{})
		case in.Events != nil && len(in.Events) == 0:
			return invalid(".subscribed_events", "minItems", "must hold at least one event", map[string]any{"limit": 1})
		}
		return nil
	}
	if !hasID {
		switch c.r.Method {
		case http.MethodGet:
			return envelope(c, sorted(a.hooks))
		case http.MethodPost:
			if p := decode(); p != nil {
				return nil, p
			}
			if in.URL == nil || in.Events == nil {
				return nil, invalid("", "required", "must hold url and subscribed_events", map[string]any{})
			}
			h := &hook{ID: c.st.id(), URL: *in.URL, Enabled: true, Description: text(in.Description), Events: in.Events,
				Created: timestamp(c.now), Updated: timestamp(c.now)}
			h.Token = Signature(fmt.Sprint("token ", h.ID), []byte(h.URL))[:16]
			a.hooks[h.ID] = h
			return h, nil
		}
		return nil, newProblem(http.StatusNotFound, "Not found")
	}
	h := a.hooks[id]
	if h == nil {
		return nil, newProblem(http.StatusNotFound, "Not found")
	}
	switch c.r.Method {
	case http.MethodPatch:
		if p := decode(); p != nil {
			return nil, p
		}
		if in.URL != nil {
			h.URL = *in.URL
		}
		if in.Enabled != nil {
			h.Enabled = *in.Enabled
		}
		if in.Events != nil {
			h.Events = in.Events
		}
		h.Updated = timestamp(c.now)
	case http.MethodDelete:
		delete(a.hooks, id)
		return map[string]any{}, nil
	case http.MethodGet:
	default:
		return nil, newProblem(http.StatusNotFound, "Not found")
	}
	return h, nil
}

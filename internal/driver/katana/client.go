// Package katana reads stock from Katana Cloud Inventory. It never writes stock or orders there; all it makes is
// its own webhook. It gives raw components, [engine.Source]; what a shop is to show is decided elsewhere.
package katana

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/driver/httpfault"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

const (
	// peer is how errors name who was asked.
	peer = "Katana"

	// DefaultURL is where Katana's API is.
	DefaultURL = "https://api.katanamrp.com/v1"
	// DefaultTimeout is how long a request may take, its wait for a turn apart.
	DefaultTimeout = 30 * time.Second

	// maxBody bounds what is read of an answer, after decompression.
	maxBody = 32 << 20
	// throttled is how often a request is sent again that was not executed because of the limit.
	throttled = 3
)

// Options describe an account and how to reach it.
type Options struct {
	// URL is the API's address with the version; DefaultURL when empty. It must be https.
	URL string
	// Token is the API key; blanks around it are dropped.
	Token string
	// Budgets are those of the agent; they must be the same for all its clients.
	Budgets *Budgets
	// RequestsPerMinute is how many requests a minute there may be; as many as Katana says when 0. It holds for all
	// clients with this token, the last one's for all.
	RequestsPerMinute int
	// CABundle holds the PEM certificates to trust instead of the system's; nil means the system's.
	CABundle []byte
	// WooCommerceSources are values of an order's source that stand for WooCommerce where Katana names no
	// platform.
	WooCommerceSources []string
	// HTTP carries the requests; when nil it is a transport of the client's own, with CABundle.
	HTTP http.RoundTripper
	// Clock is the agent's.
	Clock engine.Clock
	// UserAgent is sent with each request; "StockSync" when empty.
	UserAgent string
	// Timeout is how long a request may take; DefaultTimeout when 0.
	Timeout time.Duration
	// Log gets one line per request at V(1), without query and body.
	Log logr.Logger
}

// Client speaks to one account. Its methods may be called concurrently.
type Client struct {
	base      *url.URL
	token     string
	budget    *Budget
	sources   []string
	http      http.RoundTripper
	clock     engine.Clock
	userAgent string
	timeout   time.Duration
	log       logr.Logger
	observe   func(write bool, took time.Duration, err error)
	// limit bounds what is read of an answer; maxBody but in tests.
	limit int64

	mu sync.Mutex
	// arrays is the form of list parameters the account was seen to understand.
	arrays arrays
}

var _ engine.Source = (*Client)(nil)

// New makes a client; it sends nothing. The error is an [engine.Fault] with reason InvalidConfiguration or
// PlainHTTP.
func New(o Options) (*Client, error) {
	invalid := func(message string) (*Client, error) {
		return nil, &engine.Fault{Reason: v1alpha1.ReasonInvalidConfiguration, Message: message, Unsent: true}
	}
	if o.URL = strings.TrimSpace(o.URL); o.URL == "" {
		o.URL = DefaultURL
	}
	base, err := url.Parse(strings.TrimRight(o.URL, "/"))
	switch {
	case err != nil, base.Scheme == "", base.Hostname() == "", base.User != nil, base.RawQuery != "", base.Fragment != "":
		return invalid("the API's URL must be absolute, without user, query or fragment, for example " + DefaultURL)
	case base.Scheme != "https":
		return nil, &engine.Fault{Reason: v1alpha1.ReasonPlainHTTP, Unsent: true,
			Message: "the API's URL must begin with https://, so that the key never travels in the clear"}
	}
	c := &Client{
		base: base, token: strings.TrimSpace(o.Token), sources: o.WooCommerceSources, http: o.HTTP, clock: o.Clock,
		userAgent: o.UserAgent, timeout: o.Timeout, log: o.Log, limit: maxBody,
	}
	switch {
	case c.token == "":
		return invalid("the API key must not be empty")
	case strings.ContainsFunc(c.token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return invalid("the API key must be plain text without blanks")
	case o.Clock == nil || o.Budgets == nil:
		return invalid("a clock and the agent's request budgets must be given")
	}
	c.Observe(func(bool, time.Duration, error) {})
	c.budget = o.Budgets.For(o.URL, c.token)
	c.budget.want(o.RequestsPerMinute)
	if c.userAgent == "" {
		c.userAgent = "StockSync"
	}
	if c.timeout == 0 {
		c.timeout = DefaultTimeout
	}
	if c.http == nil {
		transport, err := httpfault.Transport(o.CABundle, 2)
		if err != nil {
			return invalid(err.Error())
		}
		c.http = transport
	}
	return c, nil
}

// Close gives up idle connections. Requests under way are not disturbed.
func (c *Client) Close() {
	if t, ok := c.http.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// Observe has fn told of every request: whether it writes, how long it took to its end, its wait for a turn apart, and
// the [*engine.Fault] it ended with. It must be called before the first request.
func (c *Client) Observe(fn func(write bool, took time.Duration, err error)) { c.observe = fn }

// Capabilities implements [engine.Source].
func (c *Client) Capabilities() engine.SourceCapabilities {
	return engine.SourceCapabilities{
		Committed: true, Orders: true, Origins: true, Changes: true, Events: true, Locations: true, Eventual: true,
		LevelBatch: levelBatch, PageRows: pageRows, OrderLists: len(openStatuses), RequestsPerMinute: c.budget.state().Limit,
	}
}

// Budget implements [engine.Source].
func (c *Client) Budget() engine.SourceBudget { return c.budget.state() }

// Probe tests the connection step by step: that the API is there, takes the key, and lets it read items and orders. It
// writes nothing, and ends with the first check that fails.
func (c *Client) Probe(ctx context.Context) []agentapi.PingCheck {
	c.Close() // idle connections would hide that name or certificate are wrong
	p := httpfault.Probe{Now: c.clock.Now}
	f, took := p.Ask(func() error { return c.Health(ctx) })
	refused := f != nil && (f.Reason == v1alpha1.ReasonAuthenticationFailed || f.Reason == v1alpha1.ReasonPlanWithoutAPI)
	switch {
	case refused:
		p.Reached(nil, took)
		p.Add(agentapi.CheckAuthentication, f, 0)
		return p.Checks
	case !p.Reached(f, took):
		return p.Checks
	}
	p.Add(agentapi.CheckAuthentication, nil, 0)
	for _, q := range []struct{ check, path string }{{agentapi.CheckReadProducts, "variants"}, {agentapi.CheckReadOrders, "sales_orders"}} {
		f, took := p.Ask(func() error {
			a, err := c.get(ctx, q.path, url.Values{"limit": {"1"}})
			if err == nil {
				_, err = decodeList[struct{}](a)
			}
			return err
		})
		if p.Add(q.check, f, took); f != nil {
			break
		}
	}
	return p.Checks
}

// Health implements [engine.Source].
func (c *Client) Health(ctx context.Context) error {
	a, err := c.get(ctx, "locations", url.Values{"limit": {"1"}})
	if err != nil {
		return err
	}
	_, err = decodeList[location](a)
	return err
}

// request is one call of the API.
type request struct {
	method string
	// path is below the version, without a leading slash.
	path  string
	query url.Values
	body  any
}

// answer is a success in JSON.
type answer struct {
	status int
	header http.Header
	body   []byte
	// window is when it was made, on Katana's clock.
	window stock.Window
}

func (c *Client) get(ctx context.Context, path string, query url.Values) (answer, error) {
	return c.do(ctx, request{method: http.MethodGet, path: path, query: query})
}

// do sends a request when it is its turn and returns its answer if that is a success in JSON. What was refused
// because of the limit was not executed, and is sent again. The error is a [*engine.Fault].
func (c *Client) do(ctx context.Context, r request) (answer, error) {
	var body []byte
	if r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return answer{}, &engine.Fault{Reason: v1alpha1.ReasonInvalidConfiguration, Message: "the request could not be written as JSON", Unsent: true}
		}
	}
	for try := 1; ; try++ {
		if err := c.budget.take(ctx); err != nil {
			return answer{}, err
		}
		began := c.clock.Now()
		a, err := c.send(ctx, r, body)
		c.observe(r.method != http.MethodGet, c.clock.Now().Sub(began), err)
		if a.status != http.StatusTooManyRequests || try == throttled {
			return a, err
		}
	}
}

func (c *Client) send(ctx context.Context, r request, body []byte) (answer, error) {
	u := *c.base
	u.Path, u.RawPath, u.RawQuery = u.Path+"/"+r.path, "", r.query.Encode()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var a answer
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), bytes.NewReader(body))
	if err != nil {
		c.budget.learn(0, nil, time.Time{})
		return a, &engine.Fault{Reason: v1alpha1.ReasonInvalidConfiguration, Message: "the API's URL makes no valid request", Unsent: true}
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("User-Agent", c.userAgent)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	sent := c.clock.Now()
	// The transport itself follows no redirect: the key must not travel to where a redirect points.
	res, err := c.http.RoundTrip(req)
	if err != nil {
		c.budget.learn(0, nil, time.Time{})
		f := httpfault.Network(ctx, peer, err)
		c.log.V(1).Info("no answer", "method", r.method, "path", r.path, "reason", f.Reason)
		return a, f
	}
	defer func() { _ = res.Body.Close() }()
	a.status, a.header = res.StatusCode, res.Header
	a.body, err = io.ReadAll(io.LimitReader(res.Body, c.limit+1))
	now := c.clock.Now()
	date, dateErr := http.ParseTime(a.header.Get("Date"))
	if dateErr != nil {
		date = now
	}
	a.window = stock.Window{From: date.Add(sent.Sub(now)), To: date.Add(time.Second)}
	c.budget.learn(a.status, a.header, date)
	c.log.V(1).Info("answer", "method", r.method, "path", r.path, "status", a.status, "bytes", len(a.body), "milliseconds", now.Sub(sent).Milliseconds())
	if err != nil {
		f := httpfault.Network(ctx, peer, err)
		f.Unsent = false
		return a, f
	}
	if int64(len(a.body)) > c.limit {
		return a, unexpected(fmt.Sprintf("the answer is larger than %d MiB", maxBody>>20))
	}
	if f := classify(a); f != nil {
		return a, f
	}
	return a, nil
}

// unexpected is a fault about an answer that cannot be used.
func unexpected(message string) *engine.Fault {
	return &engine.Fault{Reason: v1alpha1.ReasonUnexpectedContent, Message: message}
}

// problem is an error of Katana's, below "error" or bare: its pages show both.
type problem struct {
	Name    text `json:"name"`
	Code    text `json:"code"`
	Details []struct {
		Path text `json:"path"`
		Code text `json:"code"`
	} `json:"details"`
}

func problemOf(body []byte) string {
	var both struct {
		problem
		Error *problem `json:"error"`
	}
	if json.Unmarshal(body, &both) != nil {
		return ""
	}
	p := both.problem
	if both.Error != nil {
		p = *both.Error
	}
	words := []string{safe(p.Name), safe(p.Code)}
	for _, d := range p.Details[:min(len(p.Details), 3)] {
		words = append(words, strings.TrimSpace(safe(d.Path)+" "+safe(d.Code)))
	}
	words = strings.FieldsFunc(strings.Join(words, "\n"), func(r rune) bool { return r == '\n' })
	if len(words) == 0 {
		return ""
	}
	return " (" + strings.Join(words, ", ") + ")"
}

// safe lets through what looks like a name or a path, so that it can be shown.
func safe(t text) string {
	strange := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_-.[]/", r)
	}
	if len(t) > 60 || strings.ContainsFunc(string(t), strange) {
		return ""
	}
	return string(t)
}

// classify turns an answer into a fault, or nil when it is a success in JSON. A 4xx was not executed.
func classify(a answer) *engine.Fault {
	what := problemOf(a.body)
	fault := func(reason, message string) *engine.Fault {
		return &engine.Fault{Reason: reason, Message: message + what, Unsent: a.status >= 400 && a.status < 500}
	}
	switch s := a.status; {
	case s >= 300 && s < 400:
		return unexpected("Katana's API redirects elsewhere, and keys are not sent there: check the URL")
	case s == http.StatusUnauthorized:
		return fault(v1alpha1.ReasonAuthenticationFailed, "Katana refuses the API key: it is wrong, was deleted or has expired; make a new one in Katana under Settings > API and put it into the Secret")
	case s == http.StatusPaymentRequired || s == http.StatusForbidden:
		return fault(v1alpha1.ReasonPlanWithoutAPI, fmt.Sprintf("Katana does not let this key use its API (HTTP %d): the API needs a Professional plan or above", s))
	case s == http.StatusNotFound:
		return fault(v1alpha1.ReasonUnexpectedContent, "Katana does not know what was asked for: the API's URL must end with its version, as in "+DefaultURL)
	case s == http.StatusTooManyRequests:
		f := fault(v1alpha1.ReasonRateLimited, "Katana's limit of requests is used up; it is tried again later")
		f.RetryAfter = retryAfter(a.header)
		return f
	case s == http.StatusGatewayTimeout:
		return fault(v1alpha1.ReasonTimeout, "Katana did not answer in time")
	case s >= 500:
		f := fault(v1alpha1.ReasonServerError, fmt.Sprintf("Katana answered HTTP %d; it is tried again later", s))
		f.RetryAfter = retryAfter(a.header)
		return f
	case s < 200 || s >= 300:
		return fault(v1alpha1.ReasonUnexpectedContent, fmt.Sprintf("Katana refuses the request as wrong (HTTP %d)", s))
	case s == http.StatusNoContent || json.Valid(a.body):
		return nil
	case bytes.HasPrefix(bytes.TrimSpace(a.body), []byte("<")):
		return unexpected("an HTML page answers instead of Katana's API: a proxy or firewall in between")
	}
	return unexpected("something else than JSON answers instead of Katana's API, or the answer was cut short")
}

// decode reads the body of a successful answer.
func decode[T any](a answer) (T, error) {
	var v T
	if err := json.Unmarshal(a.body, &v); err != nil || string(bytes.TrimSpace(a.body)) == "null" {
		var zero T
		return zero, unexpected("the answer is JSON of another shape than Katana's API has")
	}
	return v, nil
}

// decodeList reads the envelope of a list.
func decodeList[T any](a answer) ([]T, error) {
	v, err := decode[struct {
		Data *[]T `json:"data"`
	}](a)
	if err != nil {
		return nil, err
	}
	if v.Data == nil {
		return nil, unexpected("the answer is JSON of another shape than Katana's API has: a list without data")
	}
	return *v.Data, nil
}

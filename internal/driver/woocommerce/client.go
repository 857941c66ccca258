// Package woocommerce speaks to one WooCommerce store by its REST API (wc/v3). Of a store it asks for stock
// fields, SKUs, order lines and its own webhooks only, and writes nothing but relative quantities, the stock
// fields beside them, markers and those webhooks.
package woocommerce

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/driver/httpfault"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

const (
	// DefaultTimeout is how long a request may take when Options name no other.
	DefaultTimeout = 30 * time.Second
	// MaxSkew is how wrong a shop's clock may be before people should be told.
	MaxSkew = time.Minute

	apiPath = "/wp-json/wc/v3"
	// maxBody bounds what is read of an answer, after decompression.
	maxBody = 32 << 20
)

// Options describe a store and how to reach it.
type Options struct {
	// URL is the shop's address, as NormalizeURL takes it.
	URL string
	// Transport is HTTPS when empty.
	Transport v1alpha1.Transport
	// ConsumerKey and ConsumerSecret are the REST key; blanks around them are dropped.
	ConsumerKey, ConsumerSecret string
	// CABundle holds the PEM certificates to trust instead of the system's; nil means the system's.
	CABundle []byte
	// StoreID names the store in its webhooks.
	StoreID string
	// HTTP carries the requests; when nil it is a transport of the client's own, with CABundle.
	HTTP http.RoundTripper
	// Now is the agent's clock; time.Now when nil.
	Now func() time.Time
	// UserAgent is sent with each request; "StockSync" when empty.
	UserAgent string
	// Timeout is how long a request may take; DefaultTimeout when 0.
	Timeout time.Duration
	// Log gets one line per request at V(1), without query and body.
	Log logr.Logger
}

// Client speaks to one store. Its methods may be called concurrently.
type Client struct {
	home *url.URL
	// signed: the key travels as a signature, over plain HTTP.
	signed      bool
	key, secret string
	storeID     string
	http        http.RoundTripper
	now         func() time.Time
	userAgent   string
	timeout     time.Duration
	log         logr.Logger
	observe     func(write bool, took time.Duration, err error)

	// readable: the key has read products since it was last refused, so a refused write is about writing.
	readable atomic.Bool
	skew     atomic.Int64
	// limit bounds what is read of an answer; maxBody but in tests.
	limit int64
	reads pace
}

var _ engine.Driver = (*Client)(nil)

// New makes a client; it sends nothing. The error is an [engine.Fault] with reason InvalidConfiguration or
// PlainHTTP.
func New(o Options) (*Client, error) {
	invalid := func(format string, args ...any) (*Client, error) {
		return nil, &engine.Fault{Reason: v1alpha1.ReasonInvalidConfiguration, Message: fmt.Sprintf(format, args...), Unsent: true}
	}
	normal, err := NormalizeURL(o.URL)
	if err != nil {
		return invalid("%v", err)
	}
	home, err := url.Parse(normal)
	if err != nil {
		return invalid("the URL must be absolute, for example https://shop.example.com")
	}
	insecure := o.Transport == v1alpha1.TransportInsecureHTTP
	switch {
	case insecure && home.Scheme != "http":
		return invalid("with transport InsecureHTTP the URL must begin with http://: leave the transport out for a shop that has TLS")
	case !insecure && home.Scheme == "http":
		return nil, &engine.Fault{Reason: v1alpha1.ReasonPlainHTTP, Unsent: true,
			Message: "the URL begins with http://: give the shop TLS and use an https:// URL (a private CA goes into caBundleSecretKeyRef), or, within a private network only, ask for transport InsecureHTTP"}
	}
	c := &Client{
		home: home, signed: insecure, key: strings.TrimSpace(o.ConsumerKey), secret: strings.TrimSpace(o.ConsumerSecret), storeID: o.StoreID,
		http: o.HTTP, now: o.Now, userAgent: o.UserAgent, timeout: o.Timeout, log: o.Log,
	}
	if c.key == "" || c.secret == "" {
		return invalid("the REST key needs both %s and %s, neither empty", v1alpha1.CredentialsConsumerKey, v1alpha1.CredentialsConsumerSecret)
	}
	if c.now == nil {
		c.now = time.Now //nolint:forbidigo // the clock of who injects none
	}
	c.Observe(func(bool, time.Duration, error) {})
	if c.userAgent == "" {
		c.userAgent = "StockSync"
	}
	if c.timeout == 0 {
		c.timeout = DefaultTimeout
	}
	c.limit = maxBody
	if c.http == nil {
		transport, err := httpfault.Transport(o.CABundle, 4)
		if err != nil {
			return invalid("%v", err)
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

// Observe has fn told of every request: whether it writes, how long it took to its end, and the [*engine.Fault] it
// ended with, if any. Call it before the first request.
func (c *Client) Observe(fn func(write bool, took time.Duration, err error)) { c.observe = fn }

// Skew is how far the shop's clock was ahead of the agent's in its last answer, to about a second; see
// [MaxSkew]. Zero before the first answer.
func (c *Client) Skew() time.Duration { return time.Duration(c.skew.Load()) }

// NormalizeURL brings a shop's address to the one form in which two of the same shop are equal: scheme and
// host in lower case, no default port, no slash at the end. The error says what is allowed.
func NormalizeURL(raw string) (string, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	switch {
	case err != nil, u.Scheme == "", u.Hostname() == "", u.Opaque != "":
		return "", errors.New("the URL must be absolute, for example https://shop.example.com")
	case u.User != nil, u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return "", errors.New("the URL must hold no user, query or fragment; credentials belong in their Secret")
	}
	scheme, host, port := strings.ToLower(u.Scheme), strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), u.Port()
	if scheme != "https" && scheme != "http" {
		return "", errors.New("the URL must begin with https:// (or http://)")
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != "" && (scheme != "https" || port != "443") && (scheme != "http" || port != "80") {
		host += ":" + port
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	path = strings.TrimSuffix(strings.TrimSuffix(path, "/wc/v3"), "/wp-json")
	return scheme + "://" + host + strings.TrimRight(path, "/"), nil
}

// request is one call of the REST API.
type request struct {
	method string
	// path is below wc/v3, without a leading slash.
	path  string
	query url.Values
	body  any
	// anonymous leaves the key out.
	anonymous bool
}

func (r request) write() bool { return r.method != http.MethodGet }

// answer is what came back. In a fault only status and code may be set.
type answer struct {
	status int
	// code is WooCommerce's error code.
	code   string
	header http.Header
	body   []byte
	// tooLarge: body is not all of it.
	tooLarge bool
	// window is when the answer was made, on the store's clock; took how long it took on ours.
	window stock.Window
	took   time.Duration
}

// do sends a request and returns its answer if that is a success in JSON. The error is a [*engine.Fault].
func (c *Client) do(ctx context.Context, r request) (answer, error) {
	began := c.now()
	a, err := c.exchange(ctx, r)
	c.observe(r.write(), c.now().Sub(began), err)
	return a, err
}

func (c *Client) exchange(ctx context.Context, r request) (answer, error) {
	var body io.Reader
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return answer{}, &engine.Fault{Reason: v1alpha1.ReasonInvalidConfiguration, Message: "the request could not be written as JSON", Unsent: true}
		}
		body = bytes.NewReader(b)
	}
	u := *c.home
	u.Path = strings.TrimRight(u.Path, "/") + apiPath + strings.TrimRight("/"+r.path, "/")
	u.RawPath, u.RawQuery = "", r.query.Encode()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), body)
	if err != nil {
		return answer{}, &engine.Fault{Reason: v1alpha1.ReasonInvalidConfiguration, Message: "the shop's URL makes no valid request", Unsent: true}
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Cache-Control", "no-cache")
	req.Header.Set("User-Agent", c.userAgent)
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if !r.anonymous {
		if c.signed {
			// The shop takes a time that is within 15 minutes of its own.
			sign(req, c.key, c.secret, newNonce(), c.now().Add(c.Skew()))
		} else {
			req.SetBasicAuth(c.key, c.secret)
		}
	}

	sent := c.now()
	// The transport itself follows no redirect: the key must not travel to where a redirect points.
	resp, err := c.http.RoundTrip(req)
	if err != nil {
		f := httpfault.Network(ctx, "the shop", err)
		c.log.V(1).Info("no answer", "method", r.method, "path", r.path, "reason", f.Reason)
		return answer{}, f
	}
	defer func() { _ = resp.Body.Close() }()
	a := answer{status: resp.StatusCode, header: resp.Header, took: c.now().Sub(sent)}
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, c.limit+1))
	c.log.V(1).Info("answer", "method", r.method, "path", r.path, "status", a.status,
		"bytes", len(a.body), "milliseconds", c.now().Sub(sent).Milliseconds())
	if err != nil {
		f := httpfault.Network(ctx, "the shop", err)
		f.Unsent = false
		return answer{}, f
	}
	date, dateErr := http.ParseTime(a.header.Get("Date"))
	if dateErr == nil {
		a.window = stock.Window{From: date.Add(-a.took), To: date.Add(time.Second)}
		// The date is cut to the second: half a second more is the best guess.
		c.skew.Store(int64(date.Add(time.Second / 2).Sub(sent.Add(a.took))))
	}
	if a.status >= http.StatusBadRequest {
		a.code = errorCode(a.body)
	}
	a.tooLarge = int64(len(a.body)) > c.limit
	if f := classify(r, a, c.readable.Load()); f != nil {
		if a.status == http.StatusUnauthorized && !r.write() {
			c.readable.Store(false)
		}
		if c.signed && f.Reason == v1alpha1.ReasonAuthenticationFailed {
			f.Message += "; over plain HTTP the URL is part of the signature: spell it as WordPress's general settings spell the Site Address"
		}
		return a, f
	}
	switch {
	case dateErr != nil:
		return a, unexpected("the answer has no Date header, which is needed to tell what happened first: something in front of the shop removes it")
	case !r.write() && stale(a.header):
		return a, unexpected("a cache in front of the shop answered with an old copy: exclude /wp-json/ from caching")
	}
	if !r.anonymous && !r.write() {
		c.readable.Store(true)
	}
	return a, nil
}

func stale(h http.Header) bool {
	age, err := strconv.Atoi(h.Get("Age"))
	return err == nil && age > 0
}

func (c *Client) get(ctx context.Context, path string, query url.Values) (answer, error) {
	return c.do(ctx, request{method: http.MethodGet, path: path, query: query})
}

// decode reads the body of a successful answer.
func decode[T any](a answer) (T, error) {
	var v T
	body := bytes.TrimSpace(bytes.TrimPrefix(a.body, utf8BOM))
	if err := json.Unmarshal(body, &v); err != nil || string(body) == "null" {
		var zero T
		return zero, unexpected("the answer is JSON of another shape than the WooCommerce REST API's: a plugin of the shop may change it")
	}
	return v, nil
}

// Some shops have a byte order mark in front of a PHP file, and so of every answer.
var utf8BOM = []byte("\xef\xbb\xbf")

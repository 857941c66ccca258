package kitgenix

import (
	"bytes"
	"context"
	"crypto/rand"
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
)

const (
	// BatchSize is how many items one event carries: well below what slow hosts, and the queue of generation 2, digest.
	BatchSize = 30
	// AskSize is how many SKUs one question names.
	AskSize = 100
	// lockedOut is how long generation 2 keeps somebody out who it thinks guesses secrets.
	lockedOut = 900 * time.Second
	// refusedRest is how long a peer that refused every secret is left alone: longer than generation 2 counts refusals,
	// so that we are never locked out for them.
	refusedRest = 900 * time.Second

	pingTimeout  = 8 * time.Second
	eventTimeout = 8 * time.Second
	askTimeout   = 10 * time.Second
	maxAnswer    = 8 << 20
)

// Options describe a peer and how to reach it.
type Options struct {
	// URL is the peer's address; the routes are below it.
	URL *url.URL
	// StoreID is our own id, RemoteStoreID the peer's.
	StoreID, RemoteStoreID string
	// RemoteRole is the part the peer must have; empty: any.
	RemoteRole Role
	// Secrets: the first is the current one, the others are tried when the peer does not know it yet.
	Secrets func() []Secret
	// HTTP carries the requests.
	HTTP http.RoundTripper
	// Now is the agent's clock.
	Now func() time.Time
	// UserAgent is sent with each request.
	UserAgent string
	Log       logr.Logger
}

// Client calls one peer. Its methods may be called concurrently. Their errors are [*engine.Fault].
type Client struct {
	o Options

	mu sync.Mutex
	// works is the secret the peer last accepted.
	works string
}

// NewClient makes a client; it sends nothing.
func NewClient(o Options) *Client { return &Client{o: o} }

// Probe tests the connection step by step: that the shop is there, that the plugin takes our signature and is the
// one it should be, and has the right time. It writes nothing.
func (c *Client) Probe(ctx context.Context) []agentapi.PingCheck {
	if t, ok := c.o.HTTP.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections() // idle connections would hide that name or certificate are wrong
	}
	p := httpfault.Probe{Now: c.o.Now}
	var pong Pong
	var sent, heard time.Time
	f, took := p.Ask(func() (err error) {
		sent = c.o.Now()
		pong, err = c.Ping(ctx)
		heard = c.o.Now()
		return err
	})
	switch {
	case f == nil:
		p.Reached(nil, took)
		p.Add(agentapi.CheckAuthentication, nil, 0)
		p.Add(agentapi.CheckRole, nil, 0)
	case f.Reason == v1alpha1.ReasonSignatureRefused, f.Reason == v1alpha1.ReasonRateLimited:
		p.Reached(nil, took)
		p.Add(agentapi.CheckAuthentication, f, 0)
		return p.Checks
	case f.Reason == v1alpha1.ReasonWrongPeer:
		p.Reached(nil, took)
		p.Add(agentapi.CheckAuthentication, nil, 0)
		p.Add(agentapi.CheckRole, f, 0)
		return p.Checks
	default:
		p.Reached(f, took)
		return p.Checks
	}
	var clock *engine.Fault
	if skew := pong.Skew(sent, heard); skew.Abs() > WarnSkew {
		clock = &engine.Fault{Reason: v1alpha1.ReasonClockSkew, Message: SkewMessage(skew)}
	}
	p.Add(agentapi.CheckClock, clock, 0)
	return p.Checks
}

// WarnSkew is how far apart the clocks may be before that is said; signatures break at [MaxSkew].
const WarnSkew = time.Minute

// SkewMessage says what clocks so far apart mean and what to do.
func SkewMessage(skew time.Duration) string {
	which := "ahead of"
	if skew < 0 {
		which = "behind"
	}
	return fmt.Sprintf("the shop's clock is about %s %s the agent's; from 5 minutes on every signature is refused: set the shop's server to network time (NTP)", skew.Abs().Round(time.Second), which)
}

// Skew is how far the peer's clock is ahead, for an answer to a question sent and answered at these times; 0 where it
// gave no time. It is right to about a second.
func (p Pong) Skew(sent, answered time.Time) time.Duration {
	if p.Time == 0 {
		return 0
	}
	return time.Unix(p.Time, 500_000_000).Sub(sent.Add(answered.Sub(sent) / 2))
}

// Ping asks who the peer is. The peer's answer tells its clock and its generation. A peer of another id than the
// expected one is a fault: a copied site, or a wrong address.
func (c *Client) Ping(ctx context.Context) (Pong, error) {
	body, err := c.call(ctx, pingTimeout, RoutePing, map[string]any{"ping": true})
	if err != nil {
		return Pong{}, err
	}
	p, err := parsePong(body)
	if err != nil {
		return Pong{}, notPlugin()
	}
	if c.o.RemoteStoreID != "" && p.StoreID != c.o.RemoteStoreID {
		return Pong{}, &engine.Fault{Reason: v1alpha1.ReasonWrongPeer, Message: fmt.Sprintf(
			"the plugin there says it is the store %.60q: put that id into remoteStoreID if it is the right shop, or correct the URL", p.StoreID)}
	}
	if c.o.RemoteRole != "" && p.Role != c.o.RemoteRole {
		return Pong{}, &engine.Fault{Reason: v1alpha1.ReasonWrongPeer, Message: fmt.Sprintf(
			"the plugin there has the role %.20q and must have the role %s here: change it on the plugin's configuration page", p.Role, c.o.RemoteRole)}
	}
	return p, nil
}

// Send delivers an event. Success says only that the peer took it: what became of it tells [Client.States]. The event
// must have at most [BatchSize] items.
func (c *Client) Send(ctx context.Context, e Event) error {
	payload, err := e.Marshal()
	if err != nil {
		return &engine.Fault{Reason: v1alpha1.ReasonInvalidConfiguration, Message: "the event cannot be written as JSON", Unsent: true}
	}
	body, err := c.call(ctx, eventTimeout, RouteEvent, json.RawMessage(payload))
	if err != nil {
		return err
	}
	// Any 2xx is a success to the plugin; here a maintenance or challenge page is none.
	m, err := fields(body)
	if err != nil || text(m["ok"]) != "1" {
		return notPlugin()
	}
	return nil
}

// States asks what the peer shows of these SKUs, at most [AskSize]. What it does not answer for is left out.
func (c *Client) States(ctx context.Context, skus []string) (map[string]State, error) {
	return c.ask(ctx, RouteStockState, skus)
}

// Stock asks a master what may be bought of these SKUs.
func (c *Client) Stock(ctx context.Context, skus []string) (map[string]State, error) {
	return c.ask(ctx, RouteStock, skus)
}

func (c *Client) ask(ctx context.Context, route string, skus []string) (map[string]State, error) {
	items := make([]map[string]string, len(skus))
	for i, sku := range skus {
		items[i] = map[string]string{"sku": sku}
	}
	body, err := c.call(ctx, askTimeout, route, map[string]any{"items": items})
	if err != nil {
		return nil, err
	}
	states, err := parseStates(body)
	if err != nil {
		return nil, notPlugin()
	}
	return states, nil
}

// call sends one signed request. A refused signature is tried once more with each other secret: one side may have
// been given a new one before the other.
func (c *Client) call(ctx context.Context, timeout time.Duration, route string, payload any) ([]byte, error) {
	body, err := json.Marshal(payload)
	if err != nil {
		return nil, &engine.Fault{Reason: v1alpha1.ReasonInvalidConfiguration, Message: "the request cannot be written as JSON", Unsent: true}
	}
	var last error
	tried := 0
	for _, secret := range c.secrets() {
		answer, err := c.send(ctx, timeout, route, secret, body)
		if err == nil {
			c.mu.Lock()
			c.works = secret
			c.mu.Unlock()
			return answer, nil
		}
		last = err
		if tried++; !refusedSignature(err) || tried == 2 {
			return nil, err
		}
	}
	if last == nil {
		last = &engine.Fault{Reason: v1alpha1.ReasonInvalidConfiguration, Message: "the shared secret is empty or has run out: put the one shown in the plugin into the Secret", Unsent: true}
	}
	return nil, last
}

// secrets lists those that may be signed with, the one that last worked first.
func (c *Client) secrets() []string {
	now := c.o.Now()
	c.mu.Lock()
	works := c.works
	c.mu.Unlock()
	var list []string
	for _, s := range c.o.Secrets() {
		switch {
		case s.Value == "" || (!s.Until.IsZero() && now.After(s.Until)):
		case s.Value == works:
			list = append([]string{s.Value}, list...)
		default:
			list = append(list, s.Value)
		}
	}
	return list
}

func refusedSignature(err error) bool {
	f, ok := err.(*engine.Fault) //nolint:errorlint // send wraps nothing
	return ok && f.Reason == v1alpha1.ReasonSignatureRefused
}

func (c *Client) send(ctx context.Context, timeout time.Duration, route, secret string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	target := strings.TrimRight(c.o.URL.String(), "/") + route
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, &engine.Fault{Reason: v1alpha1.ReasonInvalidConfiguration, Message: "the URL cannot be used", Unsent: true}
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", c.o.UserAgent)
	signed(r.Header, c.o.StoreID, secret, rand.Text()[:16], c.o.Now(), body)
	began := c.o.Now()
	// The transport itself follows no redirect, so no body is ever sent anywhere else.
	res, err := c.o.HTTP.RoundTrip(r)
	if err != nil {
		return nil, httpfault.Network(ctx, "the shop", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return nil, httpfault.Network(ctx, "the shop", err)
	}
	c.o.Log.V(1).Info("answer", "route", route[len(Root)+1:], "status", res.StatusCode, "bytes", len(answer), "milliseconds", c.o.Now().Sub(began).Milliseconds())
	return answer, classify(res, answer)
}

// classify sorts the answers that are no success.
func classify(res *http.Response, body []byte) error {
	code := ""
	if m, err := fields(body); err == nil {
		code = text(m["code"])
	}
	fault := func(reason, message string) error { return &engine.Fault{Reason: reason, Message: message} }
	switch status := res.StatusCode; {
	case len(body) > maxAnswer:
		return fault(v1alpha1.ReasonUnexpectedContent, "the answer is larger than 8 MiB")
	case status == http.StatusOK && json.Valid(body):
		return nil
	case status == http.StatusOK:
		return notPlugin()
	case status >= 300 && status < 400:
		return fault(v1alpha1.ReasonUnexpectedContent, "the shop redirects the plugin's address, and signed requests are not sent elsewhere: use the URL under which it answers itself")
	case status == http.StatusUnauthorized:
		return &engine.Fault{Reason: v1alpha1.ReasonSignatureRefused, Unsent: true, RetryAfter: refusedRest,
			Message: "the plugin refuses the signature with every secret there is: the shared secret or the store id typed in there is another one, or the clocks are more than five minutes apart"}
	case status == http.StatusTooManyRequests:
		return &engine.Fault{Reason: v1alpha1.ReasonRateLimited, Unsent: true, RetryAfter: max(lockedOut, httpfault.RetryAfter(res.Header)),
			Message: "the plugin has locked us out for 15 minutes after wrong signatures: check the shared secret on both sides"}
	case status == http.StatusForbidden && code == "kss_not_master":
		return &engine.Fault{Reason: v1alpha1.ReasonUnexpectedContent, Unsent: true,
			Message: "the plugin there has the role child: set its role to master, or name another store as master"}
	case status == http.StatusNotFound && code == "rest_no_route":
		return &engine.Fault{Reason: v1alpha1.ReasonPluginMissing, Unsent: true,
			Message: "WordPress answers, but the Kitgenix Stock Sync plugin is not there: install and activate it"}
	case status == http.StatusRequestEntityTooLarge:
		return &engine.Fault{Reason: v1alpha1.ReasonUnexpectedContent, Unsent: true, TooLarge: true, Message: "the shop, or a server in front of it, refuses a request of this size"}
	case status >= 500:
		return &engine.Fault{Reason: v1alpha1.ReasonServerError, RetryAfter: httpfault.RetryAfter(res.Header),
			Message: fmt.Sprintf("the shop answered HTTP %d; its PHP error log says more", status)}
	default:
		return fault(v1alpha1.ReasonUnexpectedContent, fmt.Sprintf("the shop answered HTTP %d", status))
	}
}

func notPlugin() error {
	return &engine.Fault{Reason: v1alpha1.ReasonUnexpectedContent,
		Message: "something else than the plugin answers: a maintenance, login or challenge page; let the agent through to " + Root}
}

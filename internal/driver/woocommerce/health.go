package woocommerce

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/engine"
)

// Versions are what a shop says it runs.
type Versions struct{ WooCommerce, WordPress string }

// Probe tests the connection step by step: that the shop is there, has WooCommerce, takes the key for reading
// products and orders and for writing, and has the right time. It writes nothing: the permission to write is asked
// for with a batch that is empty.
func (c *Client) Probe(ctx context.Context) []agentapi.PingCheck {
	c.Close() // idle connections would hide that name or certificate are wrong
	p := probe{c: c}
	if !p.reached(p.ask(func() error { return c.index(ctx) })) {
		return p.checks
	}
	products, took := p.ask(func() error { return c.readOne(ctx, "products") })
	if products != nil && products.Reason == v1alpha1.ReasonAuthenticationFailed {
		p.add(agentapi.CheckAuthentication, products, took)
		return p.checks
	}
	p.add(agentapi.CheckAuthentication, nil, 0)
	p.add(agentapi.CheckReadProducts, products, took)
	orders, took := p.ask(func() error {
		if err := c.readOne(ctx, "orders"); err != nil {
			return c.ordersFault(ctx, err)
		}
		return nil
	})
	p.add(agentapi.CheckReadOrders, orders, took)
	write, took := p.ask(func() error {
		_, err := c.do(ctx, request{method: http.MethodPost, path: "products/batch", body: batch{Update: []update{}}})
		return err
	})
	p.add(agentapi.CheckWrite, write, took)
	var clock *engine.Fault
	if skew := c.Skew().Abs(); skew > MaxSkew {
		clock = &engine.Fault{Reason: v1alpha1.ReasonClockSkew,
			Message: fmt.Sprintf("the clocks of shop and agent differ by about %s: set the shop's server to network time (NTP)", skew.Round(time.Second))}
	}
	p.add(agentapi.CheckClock, clock, 0)
	return p.checks
}

// probe collects the checks of a connection.
type probe struct {
	c      *Client
	checks []agentapi.PingCheck
}

// ask sends a question and tells how it went and how long it took.
func (p *probe) ask(question func() error) (*engine.Fault, time.Duration) {
	began := p.c.now()
	err := question()
	took := p.c.now().Sub(began)
	if f, ok := errors.AsType[*engine.Fault](err); ok || err == nil {
		return f, took
	}
	return unexpected("the request could not be made"), took
}

func (p *probe) add(name string, f *engine.Fault, took time.Duration) {
	c := agentapi.PingCheck{Name: name, OK: f == nil, Milliseconds: took.Milliseconds()}
	if f != nil {
		c.Reason, c.Message = f.Reason, f.Message
	}
	p.checks = append(p.checks, c)
}

// reached takes in how the first request went, and tells from its fault how far it came.
func (p *probe) reached(f *engine.Fault, took time.Duration) bool {
	steps := []string{agentapi.CheckDNS, agentapi.CheckTCP, agentapi.CheckTLS, agentapi.CheckRESTAPI}
	last := len(steps) - 1
	switch {
	case f == nil:
	case f.Reason == v1alpha1.ReasonNameNotResolved:
		last = 0
	case f.Reason == v1alpha1.ReasonUnreachable:
		last = 1
	case f.Reason == v1alpha1.ReasonUntrustedCertificate, f.Reason == v1alpha1.ReasonPlainHTTP && f.Unsent:
		last = 2
	}
	for _, name := range steps[:last] {
		p.add(name, nil, 0)
	}
	p.add(steps[last], f, took)
	return f == nil
}

// index asks, without a key, whether WooCommerce's REST API is there.
func (c *Client) index(ctx context.Context) error {
	a, err := c.do(ctx, request{method: http.MethodGet, query: url.Values{"_fields": {"namespace"}}, anonymous: true})
	if err != nil {
		return err
	}
	index, err := decode[struct {
		Namespace text `json:"namespace"`
	}](a)
	if err != nil {
		return err
	}
	if index.Namespace != "wc/v3" {
		return unexpected("something else than WooCommerce's REST API answers at " + apiPath)
	}
	return nil
}

// readOne asks for the id of one object of a listing.
func (c *Client) readOne(ctx context.Context, listing string) error {
	a, err := c.get(ctx, listing, url.Values{"per_page": {"1"}, "_fields": {"id"}})
	if err != nil {
		return err
	}
	_, err = decode[list[product]](a)
	return err
}

// Versions asks what the shop runs. A key that may not see it gives empty texts and no error.
func (c *Client) Versions(ctx context.Context) (Versions, error) {
	a, err := c.get(ctx, "system_status", url.Values{"_fields": {"environment.version,environment.wp_version"}})
	var f *engine.Fault
	if errors.As(err, &f) && f.Reason == v1alpha1.ReasonAuthenticationFailed && a.status == http.StatusForbidden {
		return Versions{}, nil
	}
	if err != nil {
		return Versions{}, err
	}
	status, err := decode[struct {
		Environment struct {
			Version   text `json:"version"`
			WordPress text `json:"wp_version"`
		} `json:"environment"`
	}](a)
	return Versions{WooCommerce: short(status.Environment.Version), WordPress: short(status.Environment.WordPress)}, err
}

// short bounds a text of the shop's that people will see.
func short(t text) string { return string(t[:min(len(t), 32)]) }

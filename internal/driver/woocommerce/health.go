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
	"stocksync.dev/stocksync/internal/driver/httpfault"
	"stocksync.dev/stocksync/internal/engine"
)

// Versions are what a shop says it runs.
type Versions struct{ WooCommerce, WordPress string }

// Probe tests the connection step by step: that the shop is there, has WooCommerce, takes the key for reading
// products and orders and for writing, and has the right time. It writes nothing: the permission to write is asked
// for with a batch that is empty.
func (c *Client) Probe(ctx context.Context) []agentapi.PingCheck {
	c.Close() // idle connections would hide that name or certificate are wrong
	p := httpfault.Probe{Now: c.now}
	if !p.Reached(p.Ask(func() error { return c.index(ctx) })) {
		return p.Checks
	}
	products, took := p.Ask(func() error { return c.readOne(ctx, "products") })
	if products != nil && products.Reason == v1alpha1.ReasonAuthenticationFailed {
		p.Add(agentapi.CheckAuthentication, products, took)
		return p.Checks
	}
	p.Add(agentapi.CheckAuthentication, nil, 0)
	p.Add(agentapi.CheckReadProducts, products, took)
	orders, took := p.Ask(func() error {
		if err := c.readOne(ctx, "orders"); err != nil {
			return c.ordersFault(ctx, err)
		}
		return nil
	})
	p.Add(agentapi.CheckReadOrders, orders, took)
	write, took := p.Ask(func() error {
		_, err := c.do(ctx, request{method: http.MethodPost, path: "products/batch", body: batch{Update: []update{}}})
		return err
	})
	p.Add(agentapi.CheckWrite, write, took)
	var clock *engine.Fault
	if skew := c.Skew().Abs(); skew > MaxSkew {
		clock = &engine.Fault{Reason: v1alpha1.ReasonClockSkew,
			Message: fmt.Sprintf("the clocks of shop and agent differ by about %s: set the shop's server to network time (NTP)", skew.Round(time.Second))}
	}
	p.Add(agentapi.CheckClock, clock, 0)
	return p.Checks
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

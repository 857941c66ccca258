package woocommerce

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/engine"
)

// Versions are what a shop says it runs.
type Versions struct{ WooCommerce, WordPress string }

// Probe asks whether the shop is there, has WooCommerce and takes the key for reading. It writes nothing.
func (c *Client) Probe(ctx context.Context) error {
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
	a, err = c.get(ctx, "products", url.Values{"per_page": {"1"}, "_fields": {"id"}})
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

package woocommerce

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/engine"
)

// Topics are what our webhooks announce: products, and stock taken by orders. Never order.*, whose bodies hold
// addresses.
var Topics = []string{
	"product.created", "product.updated", "product.deleted", "product.restored",
	"action.woocommerce_updated_product_stock",
}

// Repair is what had to be done to a webhook.
type Repair struct {
	Topic string
	// Why is Missing, Disabled, SecretChanged, Paused or Surplus.
	Why RepairReason
}

// RepairReason says in what state a webhook was found.
type RepairReason string

// The states a webhook can be found in. All but Paused are repaired: pausing is somebody's decision.
const (
	Missing       RepairReason = "Missing"
	Disabled      RepairReason = "Disabled"
	SecretChanged RepairReason = "SecretChanged"
	Paused        RepairReason = "Paused"
	Surplus       RepairReason = "Surplus"
)

type webhook struct {
	ID     whole `json:"id"`
	Name   text  `json:"name"`
	Status text  `json:"status"`
	Topic  text  `json:"topic"`
	URL    text  `json:"delivery_url"`
}

func (w webhook) ident() whole { return w.ID }

// amiss tells what is wrong with the webhook that should have this name; empty when nothing is.
func (w webhook) amiss(name string) RepairReason {
	switch {
	case w.Status == "disabled":
		return Disabled
	case string(w.Name) != name:
		// The shop never shows the secret; the name carries a print of it.
		return SecretChanged
	case w.Status == "paused":
		return Paused
	}
	return ""
}

type webhookWrite struct {
	Name   string `json:"name"`
	Topic  string `json:"topic"`
	URL    string `json:"delivery_url"`
	Secret string `json:"secret"`
	Status string `json:"status"`
}

// EnsureWebhooks makes the shop deliver every one of [Topics] to deliveryURL, signed with secret, and returns
// what it found amiss; nothing when all was well. Ours are those with this delivery URL. A disabled webhook is
// made anew, because WooCommerce keeps its count of failures when it is switched on again. The error is a
// [*engine.Fault]: WebhooksRefused when the key or the shop does not allow it.
func (c *Client) EnsureWebhooks(ctx context.Context, deliveryURL, secret string) ([]Repair, error) {
	ours, err := c.webhooks(ctx, deliveryURL)
	if err != nil {
		return nil, webhookFault(err)
	}
	var repairs []Repair
	for _, topic := range Topics {
		want := webhookWrite{Name: c.webhookName(topic, secret), Topic: topic, URL: deliveryURL, Secret: secret, Status: "active"}
		var old []webhook
		why := Missing
		for _, w := range ours {
			if string(w.Topic) != topic {
				continue
			}
			if why = w.amiss(want.Name); why == "" || why == Paused {
				break
			}
			old = append(old, w)
		}
		if why != "" {
			repairs = append(repairs, Repair{topic, why})
		}
		if why != "" && why != Paused {
			if _, err := c.do(ctx, request{method: http.MethodPost, path: "webhooks", body: want}); err != nil {
				return repairs, webhookFault(err)
			}
		}
		for _, w := range old {
			if err := c.deleteWebhook(ctx, w.ID.n); err != nil {
				return repairs, webhookFault(err)
			}
		}
		ours = slices.DeleteFunc(ours, func(w webhook) bool { return slices.ContainsFunc(old, func(o webhook) bool { return o.ID == w.ID }) })
	}
	// What is left twice, or was ours under an earlier version, only costs the shop time.
	kept := map[text]bool{}
	for _, w := range ours {
		if slices.Contains(Topics, string(w.Topic)) && !kept[w.Topic] {
			kept[w.Topic] = true
			continue
		}
		repairs = append(repairs, Repair{string(w.Topic), Surplus})
		if err := c.deleteWebhook(ctx, w.ID.n); err != nil {
			return repairs, webhookFault(err)
		}
	}
	return repairs, nil
}

// RemoveWebhooks deletes all webhooks that deliver to deliveryURL.
func (c *Client) RemoveWebhooks(ctx context.Context, deliveryURL string) error {
	ours, err := c.webhooks(ctx, deliveryURL)
	for _, w := range ours {
		err = errors.Join(err, c.deleteWebhook(ctx, w.ID.n))
	}
	if err != nil {
		return webhookFault(err)
	}
	return nil
}

func (c *Client) webhooks(ctx context.Context, deliveryURL string) ([]webhook, error) {
	found, err := all[webhook](ctx, c, "webhooks", url.Values{"_fields": {"id,name,status,topic,delivery_url"}})
	return slices.DeleteFunc(found.rows, func(w webhook) bool { return string(w.URL) != deliveryURL }), err
}

func (c *Client) deleteWebhook(ctx context.Context, id int64) error {
	a, err := c.do(ctx, request{method: http.MethodDelete, path: fmt.Sprintf("webhooks/%d", id), query: url.Values{"force": {"true"}}})
	if notFound(a) {
		return nil
	}
	return err
}

// webhookName tells people whose the webhook is, and us whether it has this secret.
func (c *Client) webhookName(topic, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("stocksync webhook name"))
	return fmt.Sprintf("StockSync %s %s %s", c.storeID, strings.TrimPrefix(topic, "action."), hex.EncodeToString(mac.Sum(nil)[:4]))
}

// webhookFault keeps apart that webhooks are refused, which costs time only, from an outage.
func webhookFault(err error) error {
	var f *engine.Fault
	if !errors.As(err, &f) {
		return err
	}
	switch f.Reason {
	case v1alpha1.ReasonAuthenticationFailed, v1alpha1.ReasonReadOnlyKey, v1alpha1.ReasonUnexpectedContent, v1alpha1.ReasonWooCommerceMissing:
		return &engine.Fault{Reason: v1alpha1.ReasonWebhooksRefused, RetryAfter: f.RetryAfter,
			Message: "the shop does not take our webhooks, polling goes on: " + f.Message}
	}
	return f
}

package katana

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/engine"
)

// SignatureHeader carries the signature of an event.
const SignatureHeader = "x-sha2-signature"

// Events are what our webhook announces. A change of what is committed alone is documented for none of those
// about inventory, so orders are among them.
var Events = []string{
	"current_inventory.product_updated",
	"sales_order.created", "sales_order.updated", "sales_order.deleted", "sales_order.packed", "sales_order.delivered",
	"variant.created", "variant.updated", "variant.deleted",
}

const description = "StockSync: hints about stock and orders"

type webhook struct {
	ID      ident  `json:"id"`
	URL     text   `json:"url"`
	Token   text   `json:"token"`
	Enabled bool   `json:"enabled"`
	Events  []text `json:"subscribed_events"`
}

// amiss tells whether the webhook does not send all that it should.
func (w webhook) amiss() bool {
	return !w.Enabled || slices.ContainsFunc(Events, func(e string) bool { return !slices.Contains(w.Events, text(e)) })
}

type webhookWrite struct {
	URL         string   `json:"url,omitempty"`
	Enabled     *bool    `json:"enabled,omitempty"`
	Events      []string `json:"subscribed_events"`
	Description string   `json:"description,omitempty"`
}

// Subscribe implements [engine.Source]. Ours is the webhook with this URL; what there is twice is deleted. The
// token is read each time, and kept nowhere.
func (c *Client) Subscribe(ctx context.Context, address string) (engine.Subscription, error) {
	ours, err := c.webhooks(ctx, address)
	if err != nil {
		return engine.Subscription{}, webhookFault(err)
	}
	for _, w := range ours[min(len(ours), 1):] {
		if err := c.deleteWebhook(ctx, w); err != nil {
			return engine.Subscription{}, webhookFault(err)
		}
	}
	request := request{method: http.MethodPost, path: "webhooks", body: webhookWrite{URL: address, Events: Events, Description: description}}
	switch {
	case len(ours) > 0 && !ours[0].amiss() && ours[0].Token != "":
		return engine.Subscription{ID: ours[0].ID.String(), Secret: string(ours[0].Token), Repaired: len(ours) > 1}, nil
	case len(ours) > 0:
		on := true
		request.method, request.path = http.MethodPatch, "webhooks/"+ours[0].ID.String()
		request.body = webhookWrite{Enabled: &on, Events: Events}
	}
	a, err := c.do(ctx, request)
	if err != nil {
		return engine.Subscription{}, webhookFault(err)
	}
	w, err := decode[webhook](a)
	if err == nil && (w.ID == 0 || w.Token == "") {
		err = unexpected("Katana's answer about a webhook lacks its id or token")
	}
	if err != nil {
		return engine.Subscription{}, webhookFault(err)
	}
	return engine.Subscription{ID: w.ID.String(), Secret: string(w.Token), Repaired: true}, nil
}

// Unsubscribe implements [engine.Source].
func (c *Client) Unsubscribe(ctx context.Context, address string) error {
	ours, err := c.webhooks(ctx, address)
	for _, w := range ours {
		err = errors.Join(err, c.deleteWebhook(ctx, w))
	}
	return webhookFault(err)
}

// webhooks are those that send to an address, the oldest first.
func (c *Client) webhooks(ctx context.Context, address string) ([]webhook, error) {
	w, err := list(ctx, c, "webhooks", url.Values{}, func(w webhook) string { return w.ID.String() })
	ours := slices.DeleteFunc(w.rows, func(w webhook) bool { return string(w.URL) != address || w.ID == 0 })
	slices.SortFunc(ours, func(a, b webhook) int { return int(a.ID - b.ID) })
	return ours, err
}

func (c *Client) deleteWebhook(ctx context.Context, w webhook) error {
	a, err := c.do(ctx, request{method: http.MethodDelete, path: "webhooks/" + w.ID.String()})
	if a.status == http.StatusNotFound || a.status >= 200 && a.status < 300 {
		return nil // whatever the body of a deletion's answer is
	}
	return err
}

// webhookFault keeps apart that webhooks are refused, which costs time only, from an outage.
func webhookFault(err error) error {
	var f *engine.Fault
	if !errors.As(err, &f) {
		return err
	}
	if f.Reason == v1alpha1.ReasonUnexpectedContent {
		return &engine.Fault{Reason: v1alpha1.ReasonWebhooksRefused, Message: "Katana does not take our webhook, polling goes on: " + f.Message, Unsent: f.Unsent}
	}
	return f
}

// VerifyEvent implements [engine.Source]. The signature is an HMAC-SHA256 of the raw body in hex; some samples
// have sha256= before it.
func (*Client) VerifyEvent(s engine.Subscription, body []byte, header func(name string) string) (engine.SourceEvent, error) {
	given := strings.ToLower(strings.TrimSpace(header(SignatureHeader)))
	sum, err := hex.DecodeString(strings.TrimPrefix(given, "sha256="))
	if err != nil || s.Secret == "" {
		return engine.SourceEvent{}, engine.ErrForgedEvent
	}
	mac := hmac.New(sha256.New, []byte(s.Secret))
	mac.Write(body)
	if !hmac.Equal(sum, mac.Sum(nil)) {
		return engine.SourceEvent{}, engine.ErrForgedEvent
	}
	var e struct {
		Resource text `json:"resource_type"`
		Action   text `json:"action"`
		Object   struct {
			ID      ident `json:"id"`
			Variant ident `json:"variant_id"`
		} `json:"object"`
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return engine.SourceEvent{}, fmt.Errorf("the event's body must be a JSON object with resource_type, action and object")
	}
	var out engine.SourceEvent
	resource, _, _ := strings.Cut(string(e.Action), ".")
	switch resource {
	case "current_inventory":
		// What object.id is there is not documented; programs take it for the variant, some look for variant_id.
		if out.Item = e.Object.Variant.String(); e.Object.Variant == 0 {
			out.Item = e.Object.ID.String()
		}
	case "variant":
		out.Item = e.Object.ID.String()
	case "sales_order":
		out.Order = e.Object.ID.String()
	}
	if out.Item == "0" {
		out.Item = ""
	}
	if out.Order == "0" {
		out.Order = ""
	}
	return out, nil
}

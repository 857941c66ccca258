package woocommerce

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"stocksync.dev/stocksync/api/v1alpha1"
)

const deliveryURL = "https://sync.example.com/webhooks/woocommerce/fr"

// webhookShop keeps webhooks as WooCommerce does.
type webhookShop struct {
	mu    sync.Mutex
	hooks []row
	next  int
}

func (s *webhookShop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.Method {
	case http.MethodGet:
		var shown []row
		for _, h := range s.hooks {
			shown = append(shown, row{"id": h["id"], "name": h["name"], "status": h["status"], "topic": h["topic"], "delivery_url": h["delivery_url"]})
		}
		serveList(w, r, shown)
	case http.MethodPost:
		var h row
		_ = json.NewDecoder(r.Body).Decode(&h)
		s.next++
		h["id"] = 100 + s.next
		s.hooks = append(s.hooks, h)
		w.WriteHeader(201)
		answerJSON(w, h)
	case http.MethodDelete:
		if r.URL.Query().Get("force") != "true" {
			w.WriteHeader(501)
			return
		}
		before := len(s.hooks)
		s.hooks = slices.DeleteFunc(s.hooks, func(h row) bool { return strings.HasSuffix(r.URL.Path, fmt.Sprintf("/webhooks/%v", h["id"])) })
		if len(s.hooks) == before {
			w.WriteHeader(404)
			answerJSON(w, row{"code": "woocommerce_rest_shop_webhook_invalid_id"})
			return
		}
		answerJSON(w, row{})
	}
}

func TestWebhooksAreKeptAlive(t *testing.T) {
	t.Parallel()
	foreign := row{"id": 1, "name": "ERP", "status": "active", "topic": "product.updated", "delivery_url": "https://erp.example.com/"}
	s := &webhookShop{hooks: []row{foreign}}
	c, log := newClient(t, s.ServeHTTP)
	ensure := func(secret string) []Repair {
		t.Helper()
		r, err := c.EnsureWebhooks(context.Background(), deliveryURL, secret)
		if err != nil {
			t.Fatal(err)
		}
		topics := map[string]int{}
		for _, h := range s.hooks[1:] {
			topics[h["topic"].(string)]++
			if h["delivery_url"] != deliveryURL || strings.Contains(h["name"].(string), secret) {
				t.Errorf("webhook %v", h)
			}
		}
		for _, topic := range Topics {
			if topics[topic] != 1 {
				t.Errorf("%d webhooks for %s", topics[topic], topic)
			}
		}
		if len(topics) != len(Topics) || fmt.Sprint(s.hooks[0]) != fmt.Sprint(foreign) {
			t.Errorf("webhooks %v", s.hooks)
		}
		return r
	}
	if r := ensure("one"); len(r) != len(Topics) || r[0].Why != Missing {
		t.Errorf("first: %v", r)
	}
	if r := ensure("one"); len(r) != 0 {
		t.Errorf("settled: %v", r)
	}
	n := len(log.requests())
	ensure("one")
	if got := len(log.requests()) - n; got != 1 {
		t.Errorf("settled, it takes %d requests", got)
	}
	for _, h := range s.hooks[1:] {
		if h["status"] != "active" || h["secret"] != "one" {
			t.Errorf("webhook %v", h)
		}
		if strings.HasPrefix(h["topic"].(string), "order") {
			t.Errorf("%v would carry addresses", h["topic"])
		}
	}

	// Disabled after seven failures: made anew, because its count of failures would survive being switched on.
	s.hooks[2]["status"] = "disabled"
	id, topic := s.hooks[2]["id"], s.hooks[2]["topic"]
	if r := ensure("one"); !slices.Equal(r, []Repair{{topic.(string), Disabled}}) {
		t.Errorf("disabled: %v", r)
	}
	if slices.ContainsFunc(s.hooks, func(h row) bool { return h["id"] == id }) {
		t.Error("the disabled webhook is still there")
	}
	// Deleted by hand.
	s.hooks = slices.Delete(s.hooks, 3, 4)
	if r := ensure("one"); len(r) != 1 || r[0].Why != Missing {
		t.Errorf("deleted: %v", r)
	}
	// A new secret reaches all of them.
	if r := ensure("two"); len(r) != len(Topics) || r[0].Why != SecretChanged {
		t.Errorf("new secret: %v", r)
	}
	for _, h := range s.hooks[1:] {
		if h["secret"] != "two" {
			t.Errorf("webhook %v", h)
		}
	}
	// Pausing is somebody's decision.
	s.hooks[1]["status"] = "paused"
	if r := ensure("two"); len(r) != 1 || r[0].Why != Paused {
		t.Errorf("paused: %v", r)
	}
	// Two agents racing leave doubles, and one topic was of an earlier version.
	s.hooks = append(s.hooks, with(row{}, "id", 900, "name", s.hooks[2]["name"], "status", "active", "topic", s.hooks[2]["topic"], "delivery_url", deliveryURL),
		row{"id": 901, "name": "old", "status": "active", "topic": "coupon.created", "delivery_url": deliveryURL})
	s.hooks[1]["status"] = "active"
	if r := ensure("two"); len(r) != 2 || r[0].Why != Surplus {
		t.Errorf("surplus: %v", r)
	}
	if err := c.RemoveWebhooks(context.Background(), deliveryURL); err != nil {
		t.Fatal(err)
	}
	if len(s.hooks) != 1 {
		t.Errorf("left: %v", s.hooks)
	}
}

func TestWebhooksRefused(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"not allowed": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(403)
			answerJSON(w, row{"code": "woocommerce_rest_cannot_view"})
		},
		"bad url": func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				fixture(t, "webhook_create_bad_url_400").replay(w)
				return
			}
			answerJSON(w, []row{})
		},
	} {
		c, _ := newClient(t, handler)
		_, err := c.EnsureWebhooks(context.Background(), deliveryURL, "s")
		if f := faultOf(t, err); f.Reason != v1alpha1.ReasonWebhooksRefused || !strings.Contains(f.Message, "polling") {
			t.Errorf("%s: %+v", name, f)
		}
	}
	c, _ := newClient(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	if f := faultOf(t, c.RemoveWebhooks(context.Background(), deliveryURL)); f.Reason != v1alpha1.ReasonServerError {
		t.Errorf("an outage: %+v", f)
	}
}

func TestDeliveries(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]Delivery{
		"webhook_product_updated_simple":    {Topic: "product.updated", Object: 50},
		"webhook_product_updated_variation": {Topic: "product.updated", Object: 311, Parent: 310},
		"webhook_action_product_set_stock":  {Topic: "action.woocommerce_product_set_stock"},
		"webhook_ping":                      {Ping: true},
	} {
		f := fixture(t, name)
		h := http.Header{}
		for k, v := range f.Request.Headers {
			h.Set(k, v)
		}
		body := []byte(f.Request.RawBody)
		d, err := ParseDelivery(h, body)
		if err != nil || d != want {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
		if d.Ping {
			continue
		}
		signature := h.Get(SignatureHeader)
		if !VerifySignature(f.Secret, body, signature) {
			t.Errorf("%s: the recorded signature is refused", name)
		}
		if VerifySignature(f.Secret, append(body, ' '), signature) || VerifySignature("other", body, signature) ||
			VerifySignature("", body, signature) || VerifySignature(f.Secret, body, "") || VerifySignature(f.Secret, body, "%%%") {
			t.Errorf("%s: a wrong signature is taken", name)
		}
	}
	topic := http.Header{"X-Wc-Webhook-Topic": {"action.woocommerce_updated_product_stock"}}
	for body, want := range map[string]int64{`{"action":"x","arg":311}`: 311, `{"arg":"12"}`: 12, `{"arg":-4}`: 0, `{"arg":{"id":5}}`: 0, `{"id":7}`: 7, `{}`: 0} {
		if d, err := ParseDelivery(topic, []byte(body)); err != nil || d.Object != want {
			t.Errorf("%s: %+v, %v", body, d, err)
		}
	}
	for _, body := range []string{"", "[]", "{", "webhook_id=1"} {
		if _, err := ParseDelivery(topic, []byte(body)); err == nil {
			t.Errorf("%q is taken", body)
		}
	}
	for _, body := range []string{"", "webhook_id=x", "webhook_id=1&a=b", "{}"} {
		if _, err := ParseDelivery(http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, []byte(body)); err == nil {
			t.Errorf("%q is taken for a ping", body)
		}
	}
}

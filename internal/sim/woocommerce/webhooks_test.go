package woocommerce

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// bodyOf is a delivery's topic and the wanted members of its body.
func bodyOf(t *testing.T, c caught, fields ...string) string {
	t.Helper()
	var o m
	must(t, json.Unmarshal(c.body, &o))
	out := []string{c.header.Get("X-WC-Webhook-Topic")}
	for _, f := range fields {
		out = append(out, fmt.Sprint(o[f]))
	}
	return strings.Join(out, " ")
}

func hooked(t *testing.T, status int, topics ...string) (*Store, func(fields ...string) []string) {
	t.Helper()
	address, got := receiver(t, status)
	s := newLab(t, 20)
	for _, topic := range topics {
		ask(t, s, "POST", "/wp-json/wc/v3/webhooks", m{"topic": topic, "delivery_url": address, "secret": "test-secret"}).is(201)
	}
	got() // pings
	return s, func(fields ...string) []string {
		t.Helper()
		s.DeliverWebhooks(ctx0)
		list := []string{}
		for _, c := range got() {
			list = append(list, bodyOf(t, c, fields...))
		}
		return list
	}
}

func wantList(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "; ") != strings.Join(want, "; ") {
		t.Errorf("%s: delivered %q, want %q", what, got, want)
	}
}

// TestWebhookEvents: which events the real store fires.
func TestWebhookEvents(t *testing.T) {
	t.Parallel()
	s, deliver := hooked(t, 200, "product.created", "product.updated", "product.deleted", "order.created", "order.updated", "action.woocommerce_updated_product_stock")
	put := func(path string, body m) { ask(t, s, "PUT", path, body).is(200) }

	put(productPath(10), m{"stock_quantity": 100})
	wantList(t, "a write of the same value", deliver("id"), "product.updated 10")

	for q := range 3 {
		put(productPath(10), m{"stock_quantity": q})
	}
	wantList(t, "three writes before the queue ran", deliver("id", "stock_quantity"), "product.updated 10 2")

	own, _ := s.Item("VAR-1-S")
	put(fmt.Sprintf("%s/variations/%d", productPath(own.ParentID), own.ID), m{"stock_quantity": 1})
	wantList(t, "a variation", deliver("id", "type"), fmt.Sprintf("product.updated %d variation", own.ID))

	inheriting, _ := s.Item("VAR-4-S")
	order := buy(t, s, inheriting.ID, 1)
	wantList(t, "an order", deliver("id", "arg"), fmt.Sprintf("order.created %d <nil>", order), fmt.Sprintf("order.updated %d <nil>", order),
		fmt.Sprintf("product.updated %d <nil>", inheriting.ParentID), fmt.Sprintf("action.woocommerce_updated_product_stock <nil> %d", inheriting.ParentID))

	must(t, s.Delete(ctx0, "SKU-0002", false))
	wantList(t, "trash", deliver("id", "sku"), "product.deleted 11 <nil>")
	put(productPath(11), m{"status": "publish"})
	wantList(t, "out of the trash", deliver("id"), "product.updated 11")
	must(t, s.Delete(ctx0, "SKU-0002", true))
	wantList(t, "deleted for good", deliver("id"))
}

// TestWebhookDraft: opening the checkout fires order.updated, which comes before order.created.
func TestWebhookDraft(t *testing.T) {
	t.Parallel()
	s, deliver := hooked(t, 200, "order.created", "order.updated")
	h := newRequest(t, "GET", "/", nil).Header
	cartToken(t, s, h)
	call := func(method, path string, body any) {
		req := newRequest(t, method, "/wp-json/wc/store/v1/"+path, body)
		req.Header.Set("Cart-Token", h.Get("Cart-Token"))
		if a := send(t, s, req); a.status > 201 {
			t.Fatalf("%s %s: %d %s", method, path, a.status, a.raw)
		}
	}
	call("POST", "cart/add-item", m{"id": 10})
	call("GET", "checkout", nil)
	wantList(t, "opened", deliver("status"), "order.updated checkout-draft")
	call("GET", "checkout", nil)
	call("POST", "checkout", m{"payment_method": "cod"})
	wantList(t, "placed", deliver("status"), "order.updated processing", "order.created processing")
}

// TestWebhookDisables: the seventh failure in a row disables a webhook; switched on again one more is enough.
func TestWebhookDisables(t *testing.T) {
	t.Parallel()
	s, deliver := hooked(t, 500, "product.updated")
	fail := func(times int, want string) {
		t.Helper()
		for range times {
			must(t, s.EditStock("SKU-0001", 1))
			deliver("id")
		}
		if got := s.Webhooks()[0].Status; got != want {
			t.Errorf("after %d more failures: %s, want %s", times, got, want)
		}
	}
	fail(6, "active")
	fail(1, "disabled")
	must(t, s.EditStock("SKU-0001", 2))
	if n := s.PendingWebhooks(); n != 0 {
		t.Errorf("%d events queued for a disabled webhook", n)
	}
	ask(t, s, "PUT", "/wp-json/wc/v3/webhooks/1", m{"status": "active"}).is(200)
	if f := s.Webhooks()[0].Failures; f != 6 {
		t.Errorf("re-activated with counter %d, want 6", f)
	}
	fail(1, "disabled")
	ask(t, s, "DELETE", "/wp-json/wc/v3/webhooks/1?force=true", nil).is(200)
	ask(t, s, "GET", "/wp-json/wc/v3/webhooks/1", nil).failed(404, "woocommerce_rest_shop_webhook_invalid_id")
}

// TestWebhookSuccessResets: one success, also by a redirect, sets the counter back.
func TestWebhookSuccessResets(t *testing.T) {
	t.Parallel()
	s, deliver := hooked(t, 301, "product.updated")
	s.st.Webhooks[1].Failures = 6
	must(t, s.EditStock("SKU-0001", 1))
	deliver("id")
	if w := s.Webhooks()[0]; w.Failures != 0 || w.Status != "active" {
		t.Errorf("after a success: %+v", w)
	}
}

// TestWebhookDeliveryID: deliveries of one webhook in one second carry one id.
func TestWebhookDeliveryID(t *testing.T) {
	t.Parallel()
	address, got := receiver(t, 200)
	s := newLab(t, 3)
	ask(t, s, "POST", "/wp-json/wc/v3/webhooks", m{"topic": "product.updated", "delivery_url": address}).is(201)
	got()
	for _, sku := range []string{"SKU-0001", "SKU-0002", "SKU-0003"} {
		must(t, s.EditStock(sku, 1))
	}
	s.DeliverWebhooks(ctx0)
	ids := map[string]bool{}
	list := got()
	for _, c := range list {
		ids[c.header.Get("X-WC-Webhook-Delivery-ID")] = true
	}
	if len(list) != 3 || len(ids) != 1 {
		t.Errorf("%d deliveries with %d ids, want 3 with 1", len(list), len(ids))
	}
}

// TestWebhookFaults: lost, doubled and late deliveries, and addresses WordPress refuses.
func TestWebhookFaults(t *testing.T) {
	t.Parallel()
	s, deliver := hooked(t, 200, "product.updated")
	edit := func() { must(t, s.EditStock("SKU-0001", 1)) }
	s.Inject(Fault{Kind: FaultHookDrop, Times: 1})
	edit()
	wantList(t, "dropped", deliver("id"))
	s.Inject(Fault{Kind: FaultHookDuplicate, Times: 1})
	edit()
	wantList(t, "duplicated", deliver("id"), "product.updated 10", "product.updated 10")
	s.Inject(Fault{Kind: FaultHookLate, Times: 1, Delay: time.Hour})
	edit()
	wantList(t, "late", deliver("id"))
	s.o.Clock.(*fakeClock).advance(time.Hour)
	wantList(t, "an hour later", deliver("id"), "product.updated 10")
	s.o.BlockPrivateWebhooks = true
	edit()
	wantList(t, "refused by WordPress", deliver("id"))
	if f := s.Webhooks()[0].Failures; f != 1 {
		t.Errorf("a refused address counts as a failure: %d", f)
	}
}

// TestWebhookSync: with the filter on, deliveries happen before the request is answered.
func TestWebhookSync(t *testing.T) {
	t.Parallel()
	address, got := receiver(t, 200)
	s := newLab(t, 1, func(o *Options) { o.WebhookSync = true })
	ask(t, s, "POST", "/wp-json/wc/v3/webhooks", m{"topic": "product.updated", "delivery_url": address}).is(201)
	got()
	ask(t, s, "PUT", productPath(10), m{"stock_quantity": 1}).is(200)
	if list := got(); len(list) != 1 {
		t.Errorf("%d deliveries when the request was answered, want 1", len(list))
	}
}

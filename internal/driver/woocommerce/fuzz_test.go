package woocommerce

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

// FuzzAnswers gives every method an arbitrary answer: it must not panic, must end, and must say a Fault or
// something that makes sense.
func FuzzAnswers(f *testing.F) {
	for _, name := range []string{"products_list_page", "products_sku_many", "variations_list_parent_managed", "products_batch_mixed",
		"order_create_processing", "auth_none_401", "system_status_trimmed", "webhooks_list"} {
		r := fixture(f, name)
		f.Add(r.Response.Status, []byte(r.Response.Body), r.Response.Headers["x-wp-total"])
	}
	f.Add(200, []byte(`[{"id":1,"type":"variable","manage_stock":"parent","stock_quantity":"1e999","meta_data":{"3":{"key":"_stocksync_0","value":"v1:a:1:b:2:3:4"}}}]`), "1000000000")
	f.Add(200, []byte(`{"update":{"0":{"id":"1","error":{"code":7}},"9":{"id":1.0,"manage_stock":true}}}`), "x")
	f.Add(429, []byte(``), "-1")
	f.Fuzz(func(t *testing.T, status int, body []byte, total string) {
		requests := 0
		c, _ := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
			if requests++; requests > 500 {
				t.Fatal("requests without end")
			}
			w.Header().Set("X-WP-Total", total)
			if status < 200 || status > 599 {
				status = 200
			}
			w.WriteHeader(status)
			_, _ = w.Write(body)
		})
		check := func(err error) {
			var f *engine.Fault
			if err != nil && (!errors.As(err, &f) || f.Reason == "" || f.Message == "" || f.RetryAfter < 0) {
				t.Fatalf("%#v", err)
			}
		}
		items := func(items []engine.Item) {
			for _, it := range items {
				if it.Ref.Product <= 0 || it.Quantity > maxWhole || it.Quantity < -maxWhole || it.Managed == engine.Unmanaged && it.Quantity != 0 {
					t.Fatalf("%+v", it)
				}
			}
		}
		ctx := context.Background()
		p, err := c.Catalogue(ctx, "")
		check(err)
		items(p.Items)
		p, err = c.Modified(ctx, testTime, "99.100.0.0.")
		check(err)
		items(p.Items)
		p, err = c.Read(ctx, []stock.Ref{{Product: 1}, {Product: 310, Variation: 311}})
		check(err)
		items(p.Items)
		_, err = c.Orders(ctx, engine.OrderQuery{})
		check(err)
		for _, r := range c.Push(ctx, []engine.Push{{Ref: stock.Ref{Product: 11}}, {Ref: stock.Ref{Product: 11}}, {Ref: stock.Ref{Product: 1, Variation: 2}}}) {
			check(r.Err)
			if (r.Err == nil) != (r.Item != nil) || r.Gone && r.Err == nil {
				t.Fatalf("%+v", r)
			}
		}
		check(reach(ctx, c))
		_, err = c.Versions(ctx)
		check(err)
		_, err = c.EnsureWebhooks(ctx, deliveryURL, "s")
		check(err)
	})
}

func FuzzDelivery(f *testing.F) {
	for _, name := range []string{"webhook_product_updated_simple", "webhook_action_product_set_stock", "webhook_ping"} {
		f.Add("product.updated", "application/json", []byte(fixture(f, name).Request.RawBody))
	}
	f.Add("", "application/x-www-form-urlencoded", []byte("webhook_id=2"))
	f.Fuzz(func(t *testing.T, topic, kind string, body []byte) {
		d, err := ParseDelivery(http.Header{"X-Wc-Webhook-Topic": {topic}, "Content-Type": {kind}}, body)
		if err == nil && (d.Object < 0 || d.Parent < 0 || d.Ping != (topic == "")) {
			t.Fatalf("%+v", d)
		}
		VerifySignature("secret", body, topic)
	})
}

func FuzzMarker(f *testing.F) {
	f.Add("v1:abc:3:fr:10:41:1763755200")
	f.Add("v1:::::")
	f.Fuzz(func(t *testing.T, s string) {
		m, ok := parseMarker(s)
		if !ok {
			return
		}
		if again, ok := parseMarker(formatMarker(m)); !ok || again != m {
			t.Fatalf("%q reads as %+v, then as %+v", s, m, again)
		}
	})
}

func FuzzURL(f *testing.F) {
	f.Add("HTTPS://user:pw@Shop.example.com:443//x/wp-json/wc/v3/?a#b")
	f.Add("https://[::1]:443")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := NormalizeURL(s)
		if err != nil {
			return
		}
		again, err := NormalizeURL(n)
		if err != nil || again != n {
			t.Fatalf("%q becomes %q, then %q, %v", s, n, again, err)
		}
	})
}

package woocommerce

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func adminCall(t *testing.T, s *Store, token, method, path string, body any) asked {
	t.Helper()
	req := newRequest(t, method, "/__sim/"+path, body)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return send(t, s, req)
}

// TestAdmin: everything people do to a shop can be done over HTTP, by whoever holds the token.
func TestAdmin(t *testing.T) {
	t.Parallel()
	withToken := func(o *Options) { o.AdminToken = "open sesame" }
	s := newLab(t, 5, withToken)
	do := func(method, path string, body any) asked {
		t.Helper()
		return adminCall(t, s, "open sesame", method, path, body).is(200)
	}
	adminCall(t, s, "", "GET", "items", nil).is(403)
	adminCall(t, s, "wrong", "GET", "items", nil).is(403)
	adminCall(t, newLab(t, 1), "", "GET", "items", nil).is(403) // no token configured: closed

	order := do("POST", "orders", m{"lines": []m{{"sku": "SKU-0001", "quantity": 3}}})
	id := order.at("id")
	wantQuantity(t, s, "SKU-0001", 97)
	do("POST", fmt.Sprintf("orders/%v/line", id), m{"line": order.at("lines", 0, "id"), "quantity": 5})
	wantQuantity(t, s, "SKU-0001", 95)
	do("POST", fmt.Sprintf("orders/%v/refund", id), m{"units": m{fmt.Sprint(order.at("lines", 0, "id")): 1}, "restock": true})
	wantQuantity(t, s, "SKU-0001", 96)
	do("POST", fmt.Sprintf("orders/%v/trash", id), nil)
	do("POST", fmt.Sprintf("orders/%v/untrash", id), nil)
	if got := do("POST", fmt.Sprintf("orders/%v/cancel", id), nil).at("status"); got != Cancelled {
		t.Errorf("status %v", got)
	}
	wantQuantity(t, s, "SKU-0001", 100)
	do("POST", fmt.Sprintf("orders/%v/status", id), m{"status": Processing})
	do("POST", fmt.Sprintf("orders/%v/delete", id), nil)
	if list := do("GET", "orders", nil).json().([]any); len(list) != 0 {
		t.Errorf("orders left: %v", list)
	}

	do("POST", "items/SKU-0001/stock", m{"quantity": 7})
	do("POST", "feed", m{"SKU-0002": 8, "SKU-0003": 9})
	do("POST", "swap", m{"a": "SKU-0002", "b": "SKU-0003"})
	do("POST", "items/SKU-0004/rename", m{"to": "NEW 4"})
	do("POST", "items", m{"sku": "MADE-1", "quantity": 4})
	do("POST", "items/SKU-0005/manage", m{"manage": false})
	for sku, want := range map[string]float64{"SKU-0001": 7, "SKU-0002": 9, "SKU-0003": 8, "NEW 4": 100, "MADE-1": 4} {
		wantQuantity(t, s, sku, want)
	}
	if it := do("GET", "items/SKU-0005", nil); it.at("manageStock") != false || it.at("quantity") != nil {
		t.Errorf("unmanaged item %s", it.raw)
	}
	do("DELETE", "items/MADE-1", nil)
	do("GET", "items/NEW%204", nil)
	adminCall(t, s, "open sesame", "GET", "items/MADE-1", nil).is(404)

	do("POST", "backups/before", nil)
	do("POST", "items/SKU-0001/stock", m{"quantity": 1})
	do("POST", "backups/before/restore", nil)
	wantQuantity(t, s, "SKU-0001", 7)
	other := newLab(t, 0, withToken)
	adminCall(t, other, "open sesame", "PUT", "state", string(do("GET", "state", nil).raw)).is(200)
	wantQuantity(t, other, "SKU-0001", 7)
	if got := ask(t, other, "GET", "/wp-json/wc/v3/products?sku=sku-0002", nil).at(0, "stock_quantity"); got != 9.0 {
		t.Errorf("the clone answers %v", got)
	}

	fault := do("POST", "faults", m{"kind": "status", "status": 429, "retryAfterSeconds": 3})
	ask(t, s, "GET", "/wp-json/wc/v3/products", nil).is(429)
	do("DELETE", fmt.Sprintf("faults/%v", fault.at("id")), nil)
	ask(t, s, "GET", "/wp-json/wc/v3/products", nil).is(200)
	do("PUT", "behaviour", m{"noWooCommerce": true})
	ask(t, s, "GET", "/wp-json/wc/v3/products", nil).is(404)
	do("PUT", "behaviour", m{})
	do("PUT", "keys", []m{{"ConsumerKey": "ck_XXXX", "ConsumerSecret": "cs_XXXX", "Permission": "read"}})
	ask(t, s, "PUT", productPath(10), m{}).is(401)
	if log := do("GET", "access-log?after=1", nil).json().([]any); len(log) != 3 {
		t.Errorf("%d requests logged after the first, want 3", len(log))
	}
	for path, body := range map[string]any{
		"faults": m{"kind": "nonsense"}, "feed": m{"NOPE": 1}, "swap": "x", "orders": m{"lines": []m{}}, "state?": "null",
	} {
		if a := adminCall(t, s, "open sesame", "POST", path, body); a.status < 400 || !strings.Contains(string(a.raw), "error") {
			t.Errorf("POST %s %v: %d %s", path, body, a.status, a.raw)
		}
	}
	adminCall(t, s, "open sesame", "PUT", "state", "null").is(400)
}

// TestShop: the page shows the stock, Buy sells one, and what is gone cannot be bought.
func TestShop(t *testing.T) {
	t.Parallel()
	s := newLab(t, 30, func(o *Options) { o.Name = "Boutique <FR>" })
	must(t, s.EditStock("SKU-0002", 0))
	page := func(path string) string { return string(send(t, s, newRequest(t, "GET", path, nil)).is(200).raw) }
	first := page("/shop")
	for _, want := range []string{"Boutique &lt;FR&gt;", "SKU-0001", "100 in stock", "Out of stock", "disabled", "Page 1 of 2"} {
		if !strings.Contains(first, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	buy := func(form string) string {
		req := newRequest(t, "POST", "/shop/buy", form)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return send(t, s, req).is(http.StatusSeeOther).header.Get("Location")
	}
	to := buy("item=10&back=page%3D1")
	wantQuantity(t, s, "SKU-0001", 99)
	if text := page(to); !strings.Contains(text, "1 × SKU-0001") {
		t.Errorf("after buying, %s does not say so", to)
	}
	if text := page(buy("item=11")); !strings.Contains(text, "out of stock") {
		t.Error("buying what is gone is not refused")
	}
	if list := send(t, s, newRequest(t, "GET", "/shop/stock?s=sku-0001", nil)).is(200); list.at(0, "stock") != "99 in stock" {
		t.Errorf("stock feed: %s", list.raw)
	}
	if text := page("/shop?s=var-4"); strings.Count(text, "aria-describedby=") != 3 {
		t.Error("the search for VAR-4 does not find its three sizes")
	}
	for _, path := range []string{"/shop?page=99", "/shop?page=-1", "/shop?s=%3Cscript%3E"} {
		if strings.Contains(page(path), "<script>s") {
			t.Error("the search text is not escaped")
		}
	}
	send(t, s, newRequest(t, "POST", "/shop/buy", "%zz")).is(400)
}

// TestEditBehind: the quantity is another one, and nothing else tells of it.
func TestEditBehind(t *testing.T) {
	t.Parallel()
	s := newLab(t, 3, func(o *Options) { o.AdminToken = "open sesame" })
	before, err := s.Item("SKU-0001")
	must(t, err)
	adminCall(t, s, "open sesame", "POST", "items/SKU-0001/stock", map[string]any{"Quantity": 7, "Behind": true}).is(200)
	after, err := s.Item("SKU-0001")
	must(t, err)
	if *after.Quantity != 7 || *before.Quantity == 7 || !after.Modified.Equal(before.Modified) {
		t.Errorf("%+v, before %+v", after, before)
	}
}

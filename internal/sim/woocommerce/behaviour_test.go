package woocommerce

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

var ctx0 = context.Background()

// newRace is a store whose steps a test can act at, each act once.
func newRace(t *testing.T) (*Store, func(Step, func(StepEvent))) {
	t.Helper()
	acts := map[Step]func(StepEvent){}
	s := newLab(t, 10, func(o *Options) {
		o.OnStep = func(e StepEvent) {
			if act := acts[e.Step]; act != nil {
				delete(acts, e.Step)
				act(e)
			}
		}
	})
	return s, func(step Step, act func(StepEvent)) { acts[step] = act }
}

func productPath(id int64) string { return fmt.Sprintf("/wp-json/wc/v3/products/%d", id) }

func marker(v string) []m { return []m{{"key": "_mark", "value": v}} }

// buy places an order over REST, which checks nothing, and returns its number.
func buy(t *testing.T, s *Store, item int64, quantity int) int64 {
	t.Helper()
	a := ask(t, s, "POST", "/wp-json/wc/v3/orders", m{"status": "processing", "line_items": []m{{"product_id": item, "quantity": quantity}}}).is(201)
	return int64(a.at("id").(float64))
}

// TestRaces loses what the real store was measured to lose, on purpose.
func TestRaces(t *testing.T) {
	t.Parallel()
	const id = 10
	push := func(t *testing.T, s *Store, delta int) asked {
		return ask(t, s, "PUT", productPath(id), m{"inventory_delta": delta, "meta_data": marker("1")}).is(200)
	}
	t.Run("a sale between read and set is overwritten", func(t *testing.T) {
		t.Parallel()
		s, at := newRace(t)
		at(StepRead, func(StepEvent) { buy(t, s, id, 1) })
		a := push(t, s, +1)
		wantQuantity(t, s, "SKU-0001", 101) // the truth is 100
		if a.at("stock_quantity") != 101.0 {
			t.Errorf("answer says %v", a.at("stock_quantity"))
		}
	})
	t.Run("a restock between read and set is overwritten", func(t *testing.T) {
		t.Parallel()
		s, at := newRace(t)
		order := buy(t, s, id, 1)
		at(StepMeta, func(StepEvent) { must(t, s.Cancel(ctx0, order)) })
		push(t, s, -1)
		wantQuantity(t, s, "SKU-0001", 98) // the truth is 99
	})
	t.Run("two equal updates at once: one is swallowed", func(t *testing.T) {
		t.Parallel()
		s, at := newRace(t)
		at(StepRead, func(StepEvent) { push(t, s, -1) })
		push(t, s, -1)
		wantQuantity(t, s, "SKU-0001", 99)
	})
	t.Run("orders alone are exact", func(t *testing.T) {
		t.Parallel()
		s, at := newRace(t)
		at(StepStockMoved, func(StepEvent) { buy(t, s, id, 1) })
		buy(t, s, id, 1)
		wantQuantity(t, s, "SKU-0001", 98)
	})
	t.Run("a write of another field never disturbs a sale", func(t *testing.T) {
		t.Parallel()
		s, at := newRace(t)
		at(StepRead, func(StepEvent) { buy(t, s, id, 1) })
		ask(t, s, "PUT", productPath(id), m{"name": "Other"}).is(200)
		wantQuantity(t, s, "SKU-0001", 99)
	})
	t.Run("a write of the value that was read writes no quantity", func(t *testing.T) {
		t.Parallel()
		s, at := newRace(t)
		at(StepRead, func(StepEvent) { buy(t, s, id, 1) })
		ask(t, s, "PUT", productPath(id), m{"stock_quantity": 100}).is(200)
		wantQuantity(t, s, "SKU-0001", 99)
	})
	t.Run("the status can end up wrong around zero, and an empty write mends it", func(t *testing.T) {
		t.Parallel()
		s, at := newRace(t)
		must(t, s.EditStock("SKU-0001", 1))
		// The order took the last unit and has not written its status when a push adds one.
		at(StepStockMoved, func(StepEvent) { push(t, s, +1) })
		buy(t, s, id, 1)
		it, _ := s.Item("SKU-0001")
		if *it.Quantity != 1 || it.Status != OutOfStock {
			t.Fatalf("quantity %v, status %s: want 1, outofstock", *it.Quantity, it.Status)
		}
		a := ask(t, s, "PUT", productPath(id), m{}).is(200)
		if a.at("stock_status") != InStock {
			t.Errorf("an empty write left the status %v", a.at("stock_status"))
		}
	})
}

// TestMarkerBeforeQuantity: any reading but the answer of the write itself may show the new marker with
// the old quantity.
func TestMarkerBeforeQuantity(t *testing.T) {
	t.Parallel()
	s, at := newRace(t)
	look := func(path string) (quantity, mark any) {
		v := ask(t, s, "GET", path, nil).is(200).json()
		if list, ok := v.([]any); ok {
			v = list[0]
		}
		o := v.(m)
		if metas := o["meta_data"].([]any); len(metas) > 0 {
			mark = metas[0].(m)["value"]
		}
		return o["stock_quantity"], mark
	}
	at(StepMeta, func(StepEvent) {
		if q, mark := look(productPath(10)); q != 100.0 || mark != "a" {
			t.Errorf("GET between meta and quantity: %v, %v; want the new marker and the old quantity", q, mark)
		}
	})
	a := ask(t, s, "PUT", productPath(10), m{"inventory_delta": -1, "meta_data": marker("a")}).is(200)
	if a.at("stock_quantity") != 99.0 || a.at("meta_data", 0, "value") != "a" {
		t.Errorf("the write's own answer is torn: %s", a.raw)
	}
	// A list read its quantities before the write and reads its metas after it.
	at(StepList, func(StepEvent) {
		ask(t, s, "PUT", productPath(10), m{"inventory_delta": -1, "meta_data": marker("b")}).is(200)
	})
	if q, mark := look("/wp-json/wc/v3/products?sku=SKU-0001"); q != 99.0 || mark != "b" {
		t.Errorf("list: %v, %v; want the new marker and the old quantity", q, mark)
	}
	wantQuantity(t, s, "SKU-0001", 98)
}

// TestDeath leaves one item of a batch with marker and without quantity, for good.
func TestDeath(t *testing.T) {
	t.Parallel()
	s := newLab(t, 10)
	s.Inject(Fault{Kind: FaultDie, Step: StepMeta, After: 1, Times: 1})
	var items []m
	for id := 10; id < 13; id++ {
		items = append(items, m{"id": id, "inventory_delta": -5, "meta_data": marker("x")})
	}
	a := ask(t, s, "POST", "/wp-json/wc/v3/products/batch", m{"update": items}).is(502)
	if !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		t.Error("a dead process is answered by the web server, in HTML")
	}
	for i, want := range []struct {
		quantity float64
		metas    int
	}{{95, 1}, {100, 1}, {100, 0}} {
		sku := fmt.Sprintf("SKU-%04d", i+1)
		wantQuantity(t, s, sku, want.quantity)
		if metas, _ := s.Metas(sku); len(metas) != want.metas {
			t.Errorf("%s: metas %v, want %d", sku, metas, want.metas)
		}
	}
}

// TestReducedStockLater: the line tells what was taken only after the stock fell.
func TestReducedStockLater(t *testing.T) {
	t.Parallel()
	s, at := newRace(t)
	at(StepStockMoved, func(e StepEvent) {
		wantQuantity(t, s, "SKU-0001", 98)
		if o, _ := s.Order(e.OrderID); o.Status != Processing || o.Lines[0].Taken != 0 {
			t.Errorf("while the stock moves the order is %+v", o)
		}
	})
	if o, err := s.PlaceOrder(ctx0, Line{SKU: "sku-0001", Quantity: 2}); err != nil || o.Lines[0].Taken != 2 {
		t.Errorf("order %+v, %v", o, err)
	}
}

// TestIgnoredQuantities: the marker is stored even where the quantity is ignored.
func TestIgnoredQuantities(t *testing.T) {
	t.Parallel()
	s := newLab(t, 1)
	nm, _ := s.Item("NM-1")
	inheriting, _ := s.Item("VAR-4-S")
	write := m{"inventory_delta": -1, "meta_data": marker("1")}
	ask(t, s, "PUT", productPath(nm.ID), write).is(200)
	ask(t, s, "PUT", fmt.Sprintf("%s/variations/%d", productPath(inheriting.ParentID), inheriting.ID), write).is(200)
	ask(t, s, "POST", "/wp-json/wc/v3/products/batch", m{"update": []m{{"id": 10, "inventory_delta": 0.5, "meta_data": marker("1")}}}).is(200)
	s.SetBehaviour(Behaviour{IgnoreDelta: true})
	ask(t, s, "PUT", productPath(10), m{"inventory_delta": -7}).is(200)
	for sku, want := range map[string]float64{"VAR-4-S": 50, "SKU-0001": 100} {
		wantQuantity(t, s, sku, want)
	}
	for _, sku := range []string{"NM-1", "VAR-4-S", "SKU-0001"} {
		if metas, _ := s.Metas(sku); metas["_mark"] != `"1"` {
			t.Errorf("%s: metas %v, want the marker", sku, metas)
		}
	}
	if it, _ := s.Item("NM-1"); it.Quantity != nil {
		t.Errorf("NM-1 got a quantity: %v", *it.Quantity)
	}
}

// TestBatchValidatesNothing: garbage that a single route refuses is quietly turned into something else.
func TestBatchValidatesNothing(t *testing.T) {
	t.Parallel()
	s := newLab(t, 10)
	batch := func(items ...m) asked {
		return ask(t, s, "POST", "/wp-json/wc/v3/products/batch", m{"update": items}).is(200)
	}
	for i, tc := range []struct {
		field string
		value any
		want  float64
	}{{"stock_quantity", "abc", 0}, {"stock_quantity", 2.7, 2}, {"stock_quantity", nil, 100}, {"stock_quantity", "12x", 12}, {"stock_status", "gone", 100}} {
		a := batch(m{"id": 10 + i, tc.field: tc.value})
		if got := a.at("update", 0, "stock_quantity"); got != tc.want {
			t.Errorf("%s %v in a batch gives %v, want %v", tc.field, tc.value, got, tc.want)
		}
	}
	a := batch(m{"id": 19, "stock_quantity": 1}, m{"id": 19, "inventory_delta": 1}) // the same item twice, in order
	if a.at("update", 1, "stock_quantity") != 2.0 {
		t.Errorf("second update of one item: %s", a.raw)
	}
	if a := ask(t, s, "POST", "/wp-json/wc/v3/products/batch", m{}).is(200); string(a.raw) != "[]" {
		t.Errorf("an empty batch answers %s, want []", a.raw)
	}
	if a := ask(t, s, "POST", "/wp-json/wc/v3/products/batch?_fields=id", m{"update": []m{{"id": 10}}}).is(200); string(a.raw) != "[]" {
		t.Errorf("_fields=id on a batch answers %s, want []", a.raw)
	}
	a = ask(t, s, "POST", "/wp-json/wc/v3/products/batch", m{"create": []m{{"name": "N", "sku": "SKU-0001"}}, "delete": []int{11}}).is(200)
	if a.at("create", 0, "id") != 0.0 || a.at("create", 0, "error", "code") != "product_invalid_sku" || a.at("delete", 0, "id") != 11.0 {
		t.Errorf("batch of all verbs: %s", a.raw)
	}
	ask(t, s, "GET", productPath(11), nil).failed(404, "woocommerce_rest_product_invalid_id")
	ask(t, s, "PUT", productPath(10), `{"stock_quantity":2.5}`).failed(400, "rest_invalid_param")
}

// TestKeepUnits: these ends of an order give nothing back.
func TestKeepUnits(t *testing.T) {
	t.Parallel()
	s := newLab(t, 1)
	for _, end := range []func(id int64){
		func(id int64) { must(t, s.SetOrderStatus(ctx0, id, Failed)) },
		func(id int64) { must(t, s.SetOrderStatus(ctx0, id, Refunded)) },
		func(id int64) { ask(t, s, "DELETE", fmt.Sprintf("/wp-json/wc/v3/orders/%d", id), nil).is(200) },
		func(id int64) { must(t, s.DeleteOrder(id)) },
	} {
		must(t, s.EditStock("SKU-0001", 10))
		end(buy(t, s, 10, 3))
		wantQuantity(t, s, "SKU-0001", 7)
	}
	count := func(query string) string {
		return ask(t, s, "GET", "/wp-json/wc/v3/orders?"+query, nil).is(200).header.Get("X-WP-Total")
	}
	if all, trash, two := count("status=any"), count("status=trash"), count("status=failed,refunded"); all != "2" || trash != "1" || two != "2" {
		t.Errorf("any %s, trash %s, failed and refunded %s; want 2, 1, 2", all, trash, two)
	}
}

// TestOrderLists: the filters a synchroniser sweeps orders with, and the customer's data it must not ask for.
func TestOrderLists(t *testing.T) {
	t.Parallel()
	s := newLab(t, 3)
	clock := s.o.Clock.(*fakeClock)
	var ids []int64
	for _, sku := range []string{"SKU-0001", "SKU-0002", "VAR-1-S"} {
		o, err := s.PlaceOrder(ctx0, Line{SKU: sku, Quantity: 1})
		must(t, err)
		ids = append(ids, o.ID)
		clock.advance(time.Minute)
	}
	must(t, s.Cancel(ctx0, ids[0]))
	variation, _ := s.Item("VAR-1-S")
	for query, want := range map[string][]int64{
		"orderby=modified":                       {ids[1], ids[2], ids[0]},
		"orderby=id&status=processing,cancelled": {ids[0], ids[1], ids[2]},
		"orderby=id&status=processing":           {ids[1], ids[2]},
		"orderby=include&include=" + fmt.Sprintf("%d,%d,9999", ids[2], ids[0]):   {ids[2], ids[0]},
		fmt.Sprintf("product=%d", variation.ID):                                  {ids[2]},
		"orderby=modified&dates_are_gmt=true&modified_after=2026-11-21T20:16:20": {ids[2], ids[0]},
		"orderby=id&exclude=" + fmt.Sprint(ids[1]):                               {ids[0], ids[2]},
	} {
		got := []int64{}
		for _, v := range ask(t, s, "GET", "/wp-json/wc/v3/orders?order=asc&_fields=id,line_items&"+query, nil).is(200).json().([]any) {
			got = append(got, int64(v.(m)["id"].(float64)))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s lists %v, want %v", query, got, want)
		}
	}
	full, trimmed := ask(t, s, "GET", "/wp-json/wc/v3/orders", nil), ask(t, s, "GET", "/wp-json/wc/v3/orders?_fields=id,status,date_modified_gmt,line_items", nil)
	if !strings.Contains(string(full.raw), CustomerCanary) || strings.Contains(string(trimmed.raw), CustomerCanary) {
		t.Error("customer data must be in whole orders and nowhere else")
	}
	ask(t, s, "GET", "/wp-json/wc/v3/orders?status=gone", nil).failed(400, "rest_invalid_param")
	ask(t, s, "GET", "/wp-json/wc/v3/orders/9999", nil).failed(404, "woocommerce_rest_shop_order_invalid_id")
}

// TestSubdirectory: a site below a path serves everything there.
func TestSubdirectory(t *testing.T) {
	t.Parallel()
	s := newLab(t, 20, func(o *Options) { o.HomeURL = "https://example.test/fr" })
	a := ask(t, s, "GET", "/fr/wp-json/wc/v3/products?per_page=1", nil).is(200)
	if next := a.header.Get("Link"); !strings.Contains(next, "<https://example.test/fr/wp-json/wc/v3/products?per_page=1&page=2>") {
		t.Errorf("Link %s", next)
	}
	if to := send(t, s, newRequest(t, "GET", "/fr/", nil)).is(302).header.Get("Location"); to != "/fr/shop" {
		t.Errorf("the front page leads to %s", to)
	}
}

// TestEditedOrders: lines edited over REST take and give back the difference; partial refunds count.
func TestEditedOrders(t *testing.T) {
	t.Parallel()
	s := newLab(t, 2)
	id := buy(t, s, 10, 2)
	path := fmt.Sprintf("/wp-json/wc/v3/orders/%d", id)
	o, _ := s.Order(id)
	lineID := o.Lines[0].ID
	a := ask(t, s, "PUT", path, m{"line_items": []m{{"id": lineID, "quantity": 5}}}).is(200)
	wantQuantity(t, s, "SKU-0001", 95)
	if o, _ = s.Order(id); o.Lines[0].Taken != 5 || a.at("line_items", 0, "quantity") != 5.0 {
		t.Errorf("after the edit: %+v", o)
	}
	must(t, s.Refund(ctx0, id, map[int64]int64{lineID: 2}, true))
	wantQuantity(t, s, "SKU-0001", 97)
	a = ask(t, s, "GET", path, nil).is(200)
	if got := fmt.Sprintf("%v %v", a.at("line_items", 0, "meta_data", 0, "value"), a.at("line_items", 0, "meta_data", 1, "value")); got != "3 2" {
		t.Errorf("_reduced_stock and _restock_refunded_items are %s, want 3 2", got)
	}
	ask(t, s, "PUT", path, m{"line_items": []m{{"product_id": 11, "quantity": 4}}}).is(200)
	wantQuantity(t, s, "SKU-0002", 96)
	ask(t, s, "PUT", path, m{"line_items": []m{{"id": lineID, "quantity": 0}}}).is(200)
	wantQuantity(t, s, "SKU-0001", 100)
	must(t, s.Cancel(ctx0, id))
	wantQuantity(t, s, "SKU-0002", 100)
}

// TestNegative: REST orders look at nothing.
func TestNegative(t *testing.T) {
	t.Parallel()
	s := newLab(t, 1)
	must(t, s.EditStock("SKU-0001", 1))
	buy(t, s, 10, 3)
	wantQuantity(t, s, "SKU-0001", -2)
	if _, err := s.PlaceOrder(ctx0, Line{SKU: "SKU-0001", Quantity: 1}); !errors.Is(err, ErrOutOfStock) {
		t.Errorf("a shopper could buy what is not there: %v", err)
	}
}

// TestCheckoutOversells: one store sells its last unit twice when two shoppers check out together.
func TestCheckoutOversells(t *testing.T) {
	t.Parallel()
	s, at := newRace(t)
	must(t, s.EditStock("SKU-0001", 1))
	checkout := func() int {
		h := http.Header{}
		cartToken(t, s, h)
		post := func(path string, body m) asked {
			req := newRequest(t, "POST", "/wp-json/wc/store/v1/"+path, body)
			req.Header = h.Clone()
			req.Header.Set("Content-Type", "application/json")
			return send(t, s, req)
		}
		post("cart/add-item", m{"id": 10, "quantity": 1}).is(201)
		return post("checkout", m{"payment_method": "cod"}).status
	}
	// While the first shopper's hold stands the second is refused; once the status is saved and the stock
	// is not yet reduced, the second gets through.
	var during, after int
	at(StepCheckout, func(StepEvent) { during = checkout() })
	at(StepOrderSaved, func(StepEvent) { after = checkout() })
	if first := checkout(); first != 200 || during != 403 || after != 200 {
		t.Errorf("first %d, during its hold %d, after its status %d; want 200, 403, 200", first, during, after)
	}
	wantQuantity(t, s, "SKU-0001", -1)
}

// TestClampedCheckout: stock cut between cart and order makes the order smaller, not an error.
func TestClampedCheckout(t *testing.T) {
	t.Parallel()
	s := newLab(t, 1)
	h := http.Header{}
	cartToken(t, s, h)
	post := func(path string, body m) asked {
		req := newRequest(t, "POST", "/wp-json/wc/store/v1/"+path, body)
		req.Header.Set("Cart-Token", h.Get("Cart-Token"))
		return send(t, s, req)
	}
	post("cart/add-item", m{"id": 10, "quantity": 4}).is(201)
	must(t, s.EditStock("SKU-0001", 2))
	post("checkout", m{"payment_method": "bacs"}).is(200)
	if o := s.Orders()[0]; o.Status != OnHold || o.Lines[0].Quantity != 2 {
		t.Errorf("order %+v, want 2 units on hold", o)
	}
	wantQuantity(t, s, "SKU-0001", 0)
	post("cart/add-item", m{"id": 10, "quantity": 1}).failed(400, "woocommerce_rest_product_out_of_stock")
	req := newRequest(t, "POST", "/wp-json/wc/store/v1/cart/add-item", m{"id": 10})
	send(t, s, req).failed(401, "woocommerce_rest_missing_nonce")
}

// TestDates: what modified_after means in all its spellings, in a shop two hours east of Greenwich.
func TestDates(t *testing.T) {
	t.Parallel()
	s := newLab(t, 3)
	for id := range s.st.Products {
		modified(s, id, "2026-11-21T10:00:00")
	}
	modified(s, 10, "2026-11-21T20:08:19")
	modified(s, 11, "2026-11-21T20:08:20")
	total := func(query string) string {
		return ask(t, s, "GET", "/wp-json/wc/v3/products?per_page=1&"+query, nil).is(200).header.Get("X-WP-Total")
	}
	for query, want := range map[string]string{
		"modified_after=2026-11-21T20:08:18&dates_are_gmt=true":                                     "2",
		"modified_after=2026-11-21T20:08:19&dates_are_gmt=true":                                     "1", // strictly later
		"modified_after=2026-11-21T20:08:18Z":                                                       "2",
		"modified_after=2026-11-21T22:08:18":                                                        "2", // naive is local
		"modified_after=2026-11-21T20:08:18":                                                        "2",
		"modified_after=2026-11-21T20:08:18Z&dates_are_gmt=true":                                    "0", // the trap: two hours are missed
		"modified_after=2026-11-21T18:08:18Z&dates_are_gmt=true":                                    "2",
		"modified_after=2026-11-21T22:08:18%2B02:00":                                                "2",
		"modified_before=2026-11-21T20:08:19&dates_are_gmt=true&modified_after=2026-11-21T10:00:00": "0",
		"modified_after=2026-11-21T20:08:18&dates_are_gmt=true&search_sku=sku-0001":                 "1",
	} {
		if got := total(query); got != want {
			t.Errorf("%s finds %s, want %s", query, got, want)
		}
	}
	ask(t, s, "GET", "/wp-json/wc/v3/products?modified_after=yesterday", nil).failed(400, "rest_invalid_param")
	// A variation's change moves its parent's date; the parent's own list shows it.
	clock := s.o.Clock.(*fakeClock)
	clock.advance(24 * time.Hour)
	must(t, s.EditStock("VAR-1-S", 5))
	if got := ask(t, s, "GET", "/wp-json/wc/v3/products?modified_after=2026-11-22T00:00:00&dates_are_gmt=true", nil).at(0, "sku"); got != "VAR-1" {
		t.Errorf("the changed parent is %v, want VAR-1", got)
	}
}

// TestSKULookup: case, commas, blanks, variations, trash.
func TestSKULookup(t *testing.T) {
	t.Parallel()
	s := newLab(t, 20)
	_, err := s.Create(NewItem{SKU: "A,B", Quantity: new(1.0)})
	must(t, err)
	skus := func(query string) string {
		var list []string
		for _, v := range ask(t, s, "GET", "/wp-json/wc/v3/products?per_page=100&"+query, nil).is(200).json().([]any) {
			list = append(list, v.(m)["sku"].(string))
		}
		slices.Sort(list)
		return strings.Join(list, " ")
	}
	must(t, s.Delete(ctx0, "SKU-0005", false))
	for query, want := range map[string]string{
		"sku=sku-0001,var-1-s,nope": "SKU-0001 VAR-1-S",
		"sku=SKU-0001,%20SKU-0002":  "SKU-0001", // parts are not trimmed
		"sku=A,B":                   "A,B",
		"sku=SKU-0005":              "",
		"sku=SKU-0005&status=trash": "SKU-0005",
		"search_sku=AR-1-":          "VAR-1-L VAR-1-M VAR-1-S",
		"include=10,1000":           "SKU-0001",
	} {
		if got := skus(query); got != want {
			t.Errorf("%s finds %q, want %q", query, got, want)
		}
	}
	if a := ask(t, s, "GET", "/wp-json/wc/v3/products?sku=", nil); len(a.json().([]any)) != 10 {
		t.Errorf("an empty sku filters nothing and a page has 10: %d", len(a.json().([]any)))
	}
	if a := ask(t, s, "GET", "/wp-json/wc/v3/products?page=99", nil).is(200); string(a.raw) != "[]" {
		t.Errorf("a page past the end is %s, want []", a.raw)
	}
	ask(t, s, "GET", "/wp-json/wc/v3/products?type=variation", nil).failed(400, "rest_invalid_param")
	ask(t, s, "POST", "/wp-json/wc/v3/products", m{"name": "x", "sku": "SKU-0005"}).failed(400, "woocommerce_rest_product_not_created")
	if a := ask(t, s, "GET", "/wp-json/wc/v3/products/999/variations", nil).is(200); string(a.raw) != "[]" {
		t.Errorf("variations of a missing parent: %s, want []", a.raw)
	}
	h := ask(t, s, "HEAD", "/wp-json/wc/v3/products?per_page=5", nil).is(200)
	if h.header.Get("X-WP-Total") == "" || len(h.raw) != 0 {
		t.Errorf("HEAD: total %q, %d bytes", h.header.Get("X-WP-Total"), len(h.raw))
	}
}

// TestPaging walks all products by id, each exactly once.
func TestPaging(t *testing.T) {
	t.Parallel()
	s := newLab(t, 250)
	var ids []float64
	for page := 1; ; page++ {
		list := ask(t, s, "GET", fmt.Sprintf("/wp-json/wc/v3/products?per_page=100&orderby=id&order=asc&_fields=id&page=%d", page), nil).is(200).json().([]any)
		if len(list) == 0 {
			break
		}
		for _, v := range list {
			ids = append(ids, v.(m)["id"].(float64))
		}
	}
	if len(ids) != 260 || !slices.IsSorted(ids) || len(slices.Compact(ids)) != 260 {
		t.Errorf("%d ids, sorted %v", len(ids), slices.IsSorted(ids))
	}
}

// TestMetas: the same key overwrites, null deletes, _stock is the quantity itself.
func TestMetas(t *testing.T) {
	t.Parallel()
	s := newLab(t, 1)
	put := func(metas ...m) asked { return ask(t, s, "PUT", productPath(10), m{"meta_data": metas}).is(200) }
	put(m{"key": "_a", "value": 1}, m{"key": "_b", "value": m{"x": 1, "y": []any{true, nil}}})
	if a := put(m{"key": "_a", "value": "2"}); a.at("meta_data", 0, "value") != "2" || fmt.Sprint(a.at("meta_data", 1, "value")) != "map[x:1 y:[true <nil>]]" {
		t.Errorf("metas %v", a.at("meta_data"))
	}
	if a := put(m{"key": "_a", "value": nil}); len(a.at("meta_data").([]any)) != 1 {
		t.Errorf("null did not delete: %v", a.at("meta_data"))
	}
	put(m{"key": "_stock", "value": 3})
	wantQuantity(t, s, "SKU-0001", 3)
}

// TestVariations: own stock, stock of the parent, and the status of an unmanaged parent.
func TestVariations(t *testing.T) {
	t.Parallel()
	s := newLab(t, 1)
	_, err := s.PlaceOrder(ctx0, Line{SKU: "VAR-4-M", Quantity: 8})
	must(t, err)
	for _, sku := range []string{"VAR-4", "VAR-4-S", "VAR-4-L"} {
		wantQuantity(t, s, sku, 42)
	}
	parent, _ := s.Item("VAR-1")
	for _, size := range []string{"S", "M", "L"} {
		it, _ := s.Item("VAR-1-" + size)
		ask(t, s, "POST", fmt.Sprintf("%s/variations/batch", productPath(parent.ID)), m{"update": []m{{"id": it.ID, "stock_quantity": 0}}}).is(200)
	}
	if it, _ := s.Item("VAR-1"); it.Status != OutOfStock {
		t.Errorf("the parent of three empty variations is %s", it.Status)
	}
	a := ask(t, s, "POST", productPath(parent.ID)+"/variations", m{"sku": "VAR-1-XL", "manage_stock": true, "stock_quantity": 3, "regular_price": "9",
		"attributes": []m{{"name": "Size", "option": "XL"}}}).is(201)
	if a.at("stock_quantity") != 3.0 || a.at("parent_id") != float64(parent.ID) {
		t.Errorf("created variation %s", a.raw)
	}
	if it, _ := s.Item("VAR-1"); it.Status != InStock {
		t.Errorf("the parent with a new size in stock is %s", it.Status)
	}
	ask(t, s, "PUT", fmt.Sprintf("%s/variations/%v", productPath(999), a.at("id")), m{}).failed(404, "woocommerce_rest_product_variation_invalid_id")
}

// TestKeys: who may do what.
func TestKeys(t *testing.T) {
	t.Parallel()
	s := newLab(t, 1)
	askAs(t, s, &readKey, "GET", "/wp-json/wc/v3/orders", nil).is(200)
	askAs(t, s, &blindKey, "GET", "/wp-json/wc/v3/products", nil).is(200)
	askAs(t, s, &blindKey, "GET", "/wp-json/wc/v3/orders", nil).failed(403, "woocommerce_rest_cannot_view")
	askAs(t, s, nil, "PUT", productPath(10), m{}).failed(401, "woocommerce_rest_cannot_edit")
	askAs(t, s, nil, "POST", "/wp-json/wc/v3/orders", m{}).failed(401, "woocommerce_rest_cannot_create")
	askAs(t, s, nil, "GET", "/wp-json/wc/v3", nil).is(200)
	a := askAs(t, s, nil, "GET", "/wp-json/", nil).is(200)
	if a.at("gmt_offset") != 2.0 {
		t.Errorf("gmt_offset %v", a.at("gmt_offset"))
	}
	// The plain form of the address answers, but keys are not looked at.
	ask(t, s, "GET", "/?rest_route=/wc/v3/products", nil).failed(401, "woocommerce_rest_cannot_view")
	ask(t, s, "GET", "/wp-json/wc/v3/products/", nil).is(200) // a slash at the end is fine
	s.SetBehaviour(Behaviour{NoWooCommerce: true})
	ask(t, s, "GET", "/wp-json/wc/v3/products", nil).failed(404, "rest_no_route")
	ask(t, s, "GET", "/wp-json/", nil).is(200)
	s.SetBehaviour(Behaviour{})
	s.SetKeys(Key{ConsumerKey: testKey.ConsumerKey, ConsumerSecret: "rotated"})
	ask(t, s, "GET", "/wp-json/wc/v3/products", nil).failed(401, "woocommerce_rest_authentication_error")
}

// TestGlobalVariations: a read-only list of all variations exists from 10.3.0 on.
func TestGlobalVariations(t *testing.T) {
	t.Parallel()
	s := newLab(t, 1, func(o *Options) { o.Version = "10.3.0" })
	if got := ask(t, s, "GET", "/wp-json/wc/v3/variations", nil).is(200).header.Get("X-WP-Total"); got != "15" {
		t.Errorf("%s variations, want 15", got)
	}
	if _, ok := ask(t, s, "GET", "/wp-json/wc/v3", nil).at("routes").(m)["/wc/v3/variations"]; !ok {
		t.Error("the route index does not name the route")
	}
}

// TestPauses: with the measured pauses a batch of a hundred takes about as long as it was measured to.
func TestPauses(t *testing.T) {
	t.Parallel()
	s := newLab(t, 100, func(o *Options) { o.Pauses = RealisticPauses() })
	took := func(method, path string, body any) time.Duration {
		start := s.o.Clock.Now()
		ask(t, s, method, path, body).is(200)
		return s.o.Clock.Now().Sub(start)
	}
	var items []m
	for id := 10; id < 110; id++ {
		items = append(items, m{"id": id, "inventory_delta": 1})
	}
	for _, tc := range []struct {
		name     string
		got      time.Duration
		measured time.Duration
	}{
		{"single read", took("GET", productPath(10), nil), 51 * time.Millisecond},
		{"single write", took("PUT", productPath(10), m{}), 66 * time.Millisecond},
		{"batch of 100", took("POST", "/wp-json/wc/v3/products/batch", m{"update": items}), 1610 * time.Millisecond},
		{"page of 100", took("GET", "/wp-json/wc/v3/products?per_page=100", nil), 314 * time.Millisecond},
	} {
		if tc.got < tc.measured/2 || tc.got > tc.measured*2 {
			t.Errorf("%s took %v, measured %v", tc.name, tc.got, tc.measured)
		}
	}
}

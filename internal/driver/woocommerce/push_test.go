package woocommerce

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

func TestPushWritesNothingElse(t *testing.T) {
	t.Parallel()
	c, s := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		var b struct{ Update []row }
		_ = json.NewDecoder(r.Body).Decode(&b)
		var out []row
		for _, u := range b.Update {
			out = append(out, with(simple(int(u["id"].(float64)), "S", 9), "meta_data", u["meta_data"]))
		}
		answerJSON(w, row{"update": out})
	})
	at := time.Unix(1763755200, 0).UTC()
	marker := func(product int64) stock.Marker {
		return stock.Marker{Ledger: "abc", Pool: 3, Store: "fr", Product: product, Attempt: 41, At: at}
	}
	results := c.Push(context.Background(), []engine.Push{
		{Ref: stock.Ref{Product: 10}, Units: -2, Slot: 3, Marker: marker(10)},
		{Ref: stock.Ref{Product: 310, Variation: 311}, Units: 5, Slot: 0, Marker: marker(311)},
		{Ref: stock.Ref{Product: 11}, Units: 7, Slot: 1, Marker: marker(11)},
	})
	for i, want := range []stock.Ref{{Product: 10}, {Product: 310, Variation: 311}, {Product: 11}} {
		r := results[i]
		if r.Err != nil || r.Item == nil || r.Item.Ref != want || r.Window.To.IsZero() {
			t.Fatalf("result %d: %+v", i, r)
		}
	}
	if results[0].Item.Markers[3] != marker(10) || results[0].Item.Quantity != 9 || results[1].Item.Markers[0] != marker(311) {
		t.Errorf("%+v", results[0].Item)
	}
	reqs := s.requests()
	if len(reqs) != 2 || reqs[0].path != "products/batch" || reqs[1].path != "products/310/variations/batch" || reqs[0].method != "POST" || len(reqs[0].query) > 0 {
		t.Fatalf("requests %+v", reqs)
	}
	equal(t, "products", reqs[0].body, `{"update":[`+
		`{"id":10,"inventory_delta":-2,"meta_data":[{"key":"_stocksync_3","value":"v1:abc:3:fr:10:41:1763755200"}]},`+
		`{"id":11,"inventory_delta":7,"meta_data":[{"key":"_stocksync_1","value":"v1:abc:3:fr:11:41:1763755200"}]}]}`)
	equal(t, "variations", reqs[1].body, `{"update":[`+
		`{"id":311,"inventory_delta":5,"meta_data":[{"key":"_stocksync_0","value":"v1:abc:3:fr:311:41:1763755200"}]}]}`)
}

func TestPushResults(t *testing.T) {
	t.Parallel()
	item := func(id int) row { return simple(id, "S", 5) }
	failed := func(id any, code string) row {
		return row{"id": id, "error": row{"code": code, "message": "<b>Nein</b>", "data": row{"status": 400}}}
	}
	c, _ := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, row{"update": []row{
			failed(99, "woocommerce_rest_product_invalid_id"),
			failed(98, "woocommerce_rest_invalid_product_id"),
			failed(97, "woocommerce_rest_cannot_edit"),
			failed(96, "product_external_invalid_manage_stock"),
			with(item(1), "stock_quantity", 1), with(item(1), "stock_quantity", 2), // one item twice, answered in order
			with(item(2), "manage_stock", false, "stock_quantity", nil),
			with(item(3), "stock_quantity", 2.5),
			with(item(4), "manage_stock", "parent", "stock_quantity", 50),
			failed(nil, "woocommerce_rest_product_invalid_id"),
		}})
	})
	var pushes []engine.Push
	for _, id := range []int64{1, 99, 98, 97, 96, 1, 2, 3, 4, 5} {
		pushes = append(pushes, engine.Push{Ref: stock.Ref{Product: id}, Units: 1})
	}
	r := c.Push(context.Background(), pushes)
	if r[0].Item == nil || r[0].Item.Quantity != 1 || r[5].Item == nil || r[5].Item.Quantity != 2 {
		t.Errorf("one item twice: %+v %+v", r[0], r[5])
	}
	for i, want := range map[int]struct {
		gone, unsent bool
		reason       string
	}{
		1: {true, true, v1alpha1.ReasonUnexpectedContent}, 2: {true, true, v1alpha1.ReasonUnexpectedContent},
		3: {false, true, v1alpha1.ReasonReadOnlyKey}, 4: {false, false, v1alpha1.ReasonUnexpectedContent},
		9: {false, false, v1alpha1.ReasonUnexpectedContent},
	} {
		f := faultOf(t, r[i].Err)
		if r[i].Gone != want.gone || f.Unsent != want.unsent || f.Reason != want.reason || r[i].Item != nil {
			t.Errorf("result %d: %+v, %+v", i, r[i], f)
		}
	}
	// A marker is stored even where the quantity is ignored: such items manage nothing.
	for _, i := range []int{6, 8} {
		if r[i].Item == nil || r[i].Item.Managed != engine.Unmanaged {
			t.Errorf("result %d: %+v", i, r[i].Item)
		}
	}
	if r[7].Item == nil || !r[7].Item.Fractional {
		t.Errorf("fractional: %+v", r[7].Item)
	}
}

func TestRecordedBatches(t *testing.T) {
	t.Parallel()
	c, _ := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wp-json/wc/v3/products/batch" {
			fixture(t, "products_batch_mixed").replay(w)
		} else {
			fixture(t, "variations_batch_ok").replay(w)
		}
	})
	var pushes []engine.Push
	for _, ref := range []stock.Ref{{Product: 11}, {Product: 999999}, {Product: 311}, {Product: 12},
		{Product: 310, Variation: 311}, {Product: 310, Variation: 312}, {Product: 310, Variation: 323}} {
		pushes = append(pushes, engine.Push{Ref: ref, Units: 1})
	}
	var got []string
	for _, r := range c.Push(context.Background(), pushes) {
		switch {
		case r.Gone:
			got = append(got, "gone")
		case r.Err != nil:
			got = append(got, r.Err.Error())
		default:
			got = append(got, brief([]engine.Item{*r.Item})[0])
		}
	}
	equal(t, "results", got, []string{"11/0 SKU-0002 own 77", "gone", "gone", "12/0 SKU-0003 own 0",
		"310/311 VAR-1-S own 20", "310/312 VAR-1-M own 20", "gone"})
}

// TestPushStopsAtTheFirstFailure: a shop in trouble is not sent the rest of a round, which is then known not
// to have happened.
func TestPushStopsAtTheFirstFailure(t *testing.T) {
	t.Parallel()
	c, s := newClient(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) })
	r := c.Push(context.Background(), []engine.Push{
		{Ref: stock.Ref{Product: 1}}, {Ref: stock.Ref{Product: 2, Variation: 3}}, {Ref: stock.Ref{Product: 4}}})
	if len(s.requests()) != 1 {
		t.Errorf("%d requests", len(s.requests()))
	}
	for i, unsent := range []bool{false, true, false} {
		if f := faultOf(t, r[i].Err); f.Reason != v1alpha1.ReasonServerError || f.Unsent != unsent {
			t.Errorf("%d: %+v", i, f)
		}
	}
}

func TestPushToDeletedParent(t *testing.T) {
	t.Parallel()
	c, _ := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(404)
		_, _ = io.WriteString(w, `{"code":"woocommerce_rest_product_invalid_id","message":"x","data":{"status":404}}`)
	})
	if r := c.Push(context.Background(), []engine.Push{{Ref: stock.Ref{Product: 2, Variation: 3}}}); !r[0].Gone {
		t.Errorf("%+v", r[0])
	}
}

func TestPushOfManyIsCutIntoBatches(t *testing.T) {
	t.Parallel()
	c, s := newClient(t, func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, row{"update": []any{}}) })
	var pushes []engine.Push
	for id := range int64(250) {
		pushes = append(pushes, engine.Push{Ref: stock.Ref{Product: id + 1}, Units: 1})
	}
	for i, r := range c.Push(context.Background(), pushes) {
		if f := faultOf(t, r.Err); f.Unsent {
			t.Fatalf("push %d is missing in its answer and may have happened: %+v", i, f)
		}
	}
	var sizes []int
	for _, r := range s.requests() {
		var b batch
		if err := json.Unmarshal([]byte(r.body), &b); err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(b.Update))
	}
	if !slices.Equal(sizes, []int{100, 100, 50}) {
		t.Error(fmt.Sprint(sizes))
	}
}

func TestMarkers(t *testing.T) {
	t.Parallel()
	m := stock.Marker{Ledger: "0123456789abcdef0123456789abcdef", Pool: 9, Store: "boutique-fr", Product: 311, Attempt: 1 << 40, At: testTime}
	if got, ok := parseMarker(formatMarker(m)); !ok || got != m {
		t.Errorf("%+v", got)
	}
	for _, s := range []string{"", "v1", "v2:a:1:b:2:3:4", "v1:a:1:b:2:3", "v1:a:1:b:2:3:4:5", "v1::1:b:2:3:4", "v1:a:1::2:3:4",
		"v1:a:x:b:2:3:4", "v1:a:-1:b:2:3:4", "v1:a:1:b:2:99999999999999999999:4"} {
		if got, ok := parseMarker(s); ok {
			t.Errorf("%q reads as %+v", s, got)
		}
	}
}

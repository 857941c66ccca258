package woocommerce

import (
	"encoding/json"
	"testing"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

// A new SKU and the plugin's id travel as WooCommerce takes them; a quantity is not touched by them.
func TestNamesOnTheWire(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(updateOf(engine.Push{Ref: stock.Ref{Product: 7, Variation: 9}, Name: "CUP", GID: "0b7d8f0e-7a80-4b8f-9a0a-3c1d2e4f5a6b"}))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":9,"meta_data":[{"key":"_kitgenix_stock_sync_for_woocommerce_gid","value":"0b7d8f0e-7a80-4b8f-9a0a-3c1d2e4f5a6b"}],"sku":"CUP"}`
	if string(got) != want {
		t.Errorf("sent %s\nwant %s", got, want)
	}
	var row product
	if err := json.Unmarshal([]byte(`{"id":9,"sku":"CUP","meta_data":[{"id":1,"key":"_kitgenix_stock_sync_for_woocommerce_gid","value":"g"},{"id":2,"key":"other","value":"x"}]}`), &row); err != nil {
		t.Fatal(err)
	}
	if it := row.item(stock.Ref{Product: 9}); it.GID != "g" || len(it.SKUs) != 1 || it.SKUs[0] != "CUP" {
		t.Errorf("read %+v", it)
	}
}

// WooCommerce's refusal of a SKU in use names the holder; other errors have data of any shape.
func TestRefusedSKUs(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]int64{
		`{"id":7,"error":{"code":"product_invalid_sku","message":"","data":{"status":400,"resource_id":311,"unique_sku":"CUP-1"}}}`: 311,
		`{"id":7,"error":{"code":"product_invalid_sku","data":[]}}`:                                                                 0,
		`{"id":7,"error":{"code":"product_invalid_sku"}}`:                                                                           0,
	} {
		var u updated
		if err := json.Unmarshal([]byte(body), &u); err != nil || u.Error == nil || !skuTaken(safeCode(u.Error.Code)) || int64(u.Error.Data) != want {
			t.Errorf("%s: %+v %v", body, u.Error, err)
		}
	}
	if skuTaken("woocommerce_rest_product_invalid_id") {
		t.Error("an item that is gone is taken for a SKU in use")
	}
}

package woocommerce

import (
	"fmt"
	"strings"
	"testing"
)

func newBench(b *testing.B) *Store {
	return newLab(b, 5000, func(o *Options) { o.Clock, o.AccessLogSize = SystemClock{}, -1 })
}

// BenchmarkBatch is a relative write of 100 items with markers.
func BenchmarkBatch(b *testing.B) {
	s := newBench(b)
	items := make([]m, 100)
	for n := 0; b.Loop(); n++ {
		for i := range items {
			items[i] = m{"id": 10 + (n*100+i)%5000, "inventory_delta": -1, "meta_data": marker(fmt.Sprint(n))}
		}
		ask(b, s, "POST", "/wp-json/wc/v3/products/batch", m{"update": items}).is(200)
	}
}

// BenchmarkLookup reads 100 SKUs with a few fields.
func BenchmarkLookup(b *testing.B) {
	s := newBench(b)
	skus := make([]string, 100)
	for i := range skus {
		skus[i] = fmt.Sprintf("SKU-%04d", 1+i*50)
	}
	path := "/wp-json/wc/v3/products?per_page=100&_fields=id,sku,manage_stock,stock_quantity,meta_data&sku=" + strings.Join(skus, ",")
	for b.Loop() {
		ask(b, s, "GET", path, nil).is(200)
	}
}

// BenchmarkPoll asks what changed since a moment when little did, among 5,000 products.
func BenchmarkPoll(b *testing.B) {
	s := newBench(b)
	modified(s, 11, "2099-01-01T00:00:00")
	for b.Loop() {
		ask(b, s, "GET", "/wp-json/wc/v3/products?per_page=100&_fields=id,stock_quantity&dates_are_gmt=true&modified_after=2098-01-01T00:00:00", nil).is(200)
	}
}

// BenchmarkOrder is a shopper buying one unit.
func BenchmarkOrder(b *testing.B) {
	s := newBench(b)
	must(b, s.EditStock("SKU-0001", 1e9))
	for b.Loop() {
		if _, err := s.PlaceOrder(ctx0, Line{SKU: "SKU-0001", Quantity: 1}); err != nil {
			b.Fatal(err)
		}
	}
}

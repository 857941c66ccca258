package stock

import (
	"fmt"
	"testing"
)

func TestFieldDifferences(t *testing.T) {
	t.Parallel()
	managed := Values{Management: Yes, Backorders: "no", LowStock: None, Status: InStock}
	with := func(v Values, f Field, value string) Values { v[f] = value; return v }
	var counted Pool
	counted.Set = true
	counted.Registers[Backorders].Value, counted.Registers[LowStock].Value, counted.Registers[Management].Value = "no", None, Yes
	var free Pool
	free.Registers[Status].Value, free.Registers[Management].Value = OutOfStock, No
	for _, c := range []struct {
		what     string
		pool     Pool
		shown    Values
		quantity int64
		pol      Policy
		want     string
	}{
		{"all is well", counted, managed, 5, Policy{}, "[]"},
		{"backorders", counted, with(managed, Backorders, "yes"), 5, Policy{}, "[{backorders yes no}]"},
		{"low stock", counted, with(managed, LowStock, "0"), 5, Policy{}, "[{low_stock_amount 0 none}]"},
		{"stock, and none to sell", counted, with(managed, Status, OutOfStock), 5, Policy{}, "[{stock_status outofstock instock}]"},
		{"no stock, and some to sell", counted, managed, 0, Policy{}, "[{stock_status instock outofstock}]"},
		{"not managed in a child", counted, Values{Management: No, Status: InStock}, 0, Policy{}, "[{manage_stock no yes}]"},
		{"not managed in the master", counted, Values{Management: No, Status: InStock}, 0, Policy{Master: true}, "[]"},
		{"not managed, before the master was read", Pool{Set: true}, Values{Management: No, Status: InStock}, 0, Policy{}, "[{manage_stock no yes}]"},
		{"managed where the master is not", free, managed, 5, Policy{}, "[{manage_stock yes no}]"},
		{"status of what nobody manages", free, Values{Management: No, Status: InStock}, 0, Policy{}, "[{stock_status instock outofstock}]"},
		{"a store that does not say", counted, Values{}, 5, Policy{}, "[]"},
		{"nothing known yet", Pool{}, managed, 5, Policy{}, "[]"},
	} {
		if got := fmt.Sprint(FieldDifferences(c.pool, c.shown, c.quantity, c.pol)); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

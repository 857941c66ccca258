package woocommerce

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

// Plugins change the types of fields, so every field is read by itself and none makes its row unreadable:
// one odd product must not hide the others of its page.

// text is a string, or a number as written.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	switch {
	case json.Unmarshal(b, &s) == nil:
		*t = text(s)
	case len(b) > 0 && (b[0] == '-' || b[0] >= '0' && b[0] <= '9'):
		*t = text(b)
	default:
		*t = ""
	}
	return nil
}

// maxWhole is the largest number a PHP float or a JavaScript client passes on unharmed.
const maxWhole = 1 << 53

// whole is a whole number; not ok if there was none, as in null, "abc", 2.5 or 1e300.
type whole struct {
	n  int64
	ok bool
}

func (w *whole) UnmarshalJSON(b []byte) error {
	*w = whole{}
	var s text
	_ = s.UnmarshalJSON(b)
	*w = wholeOf(string(s))
	return nil
}

func wholeOf(s string) whole {
	s = strings.TrimSpace(s)
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || f != math.Trunc(f) || math.Abs(f) > maxWhole {
			return whole{}
		}
		n = int64(f)
	}
	if n > maxWhole || n < -maxWhole {
		return whole{}
	}
	return whole{n, true}
}

// utc is a date without zone that means UTC; zero if there was none.
type utc struct{ time.Time }

func (u *utc) UnmarshalJSON(b []byte) error {
	*u = utc{}
	var s text
	_ = s.UnmarshalJSON(b)
	for _, layout := range []string{"2006-01-02T15:04:05", time.RFC3339} {
		if t, err := time.Parse(layout, string(s)); err == nil {
			*u = utc{t.UTC()}
			break
		}
	}
	return nil
}

// list is a JSON list; PHP writes it as an object with numbers for names when entries were taken out.
type list[T any] []T

func (l *list[T]) UnmarshalJSON(b []byte) error {
	*l = nil
	if bytes.HasPrefix(b, []byte("{")) {
		var m map[string]T
		if err := json.Unmarshal(b, &m); err != nil {
			return err
		}
		index := func(k string) int64 { return wholeOf(k).n }
		for _, k := range slices.SortedFunc(maps.Keys(m), func(x, y string) int { return int(index(x) - index(y)) }) {
			if !wholeOf(k).ok {
				return &json.UnmarshalTypeError{Value: "object", Type: nil}
			}
			*l = append(*l, m[k])
		}
		return nil
	}
	return json.Unmarshal(b, (*[]T)(l))
}

// metas are the texts among the meta fields of a thing, by key.
type metas map[string][]string

func (m *metas) UnmarshalJSON(b []byte) error {
	*m = nil
	var raw list[json.RawMessage]
	if json.Unmarshal(b, &raw) != nil {
		return nil //nolint:nilerr // metas of another shape are none of ours; the thing itself is still good
	}
	for _, r := range raw {
		var e struct {
			Key   text `json:"key"`
			Value text `json:"value"`
		}
		if json.Unmarshal(r, &e) != nil || e.Value == "" || !strings.HasPrefix(string(e.Key), markerKey) && e.Key != reducedStockKey && e.Key != gidKey {
			continue
		}
		if *m == nil {
			*m = metas{}
		}
		(*m)[string(e.Key)] = append((*m)[string(e.Key)], string(e.Value))
	}
	return nil
}

// holding is manage_stock.
type holding string

const (
	holdsNothing holding = ""
	holdsItself  holding = "itself"
	holdsParent  holding = "parent"
)

func (h *holding) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "true":
		*h = holdsItself
	case `"parent"`:
		*h = holdsParent
	default:
		*h = holdsNothing
	}
	return nil
}

// productFields is all that is asked of a product or variation.
const productFields = "id,parent_id,type,sku,manage_stock,stock_quantity,stock_status,backorders,low_stock_amount,date_created_gmt,date_modified_gmt,meta_data"

// product is a row of the products or variations lists.
type product struct {
	ID       whole   `json:"id"`
	Type     text    `json:"type"`
	SKU      text    `json:"sku"`
	Manage   holding `json:"manage_stock"`
	Quantity whole   `json:"stock_quantity"`
	Status   text    `json:"stock_status"`
	Backs    text    `json:"backorders"`
	Low      whole   `json:"low_stock_amount"`
	Created  utc     `json:"date_created_gmt"`
	Modified utc     `json:"date_modified_gmt"`
	Meta     metas   `json:"meta_data"`
}

func (p product) ident() whole { return p.ID }

// variable tells whether the product has variations; plugins add types such as variable-subscription.
func (p product) variable() bool { return strings.HasPrefix(string(p.Type), "variable") }

// sku is what the product sells under. External and grouped products hold no stock anybody could sell from:
// they are passed on without one.
func (p product) sku() string {
	if p.Type == "external" || p.Type == "grouped" {
		return ""
	}
	return strings.TrimSpace(string(p.SKU))
}

// item is the product or variation by itself, as the object ref.
func (p product) item(ref stock.Ref) engine.Item {
	it := engine.Item{Ref: ref, Created: p.Created.Time, Modified: p.Modified.Time, Markers: p.markers()}
	if ids := p.Meta[gidKey]; len(ids) > 0 {
		// Where it stands twice, WordPress shows the first.
		it.GID = ids[0]
	}
	if sku := p.sku(); sku != "" {
		it.SKUs = []string{sku}
	}
	if p.Manage == holdsItself && p.Type != "external" && p.Type != "grouped" {
		it.Managed = engine.Own
		if p.variable() {
			it.Managed = engine.Shared
		}
		it.Quantity, it.Fractional = p.Quantity.n, !p.Quantity.ok
	}
	it.Backorders = known(p.Backs, stock.No, "notify", stock.Yes)
	if p.Low.ok {
		it.LowStockAmount = &p.Low.n
	}
	if it.Managed != engine.Unmanaged || (!p.variable() && p.Manage == holdsNothing) {
		// The status of a variable product that holds no stock follows its variations, and a variation's whose
		// stock the parent holds is the parent's.
		it.StockStatus = known(p.Status, stock.InStock, stock.OutOfStock, stock.OnBackorder)
	}
	return it
}

// known is the text if it is one of those that mean something; plugins add others.
func known(t text, allowed ...string) string {
	if slices.Contains(allowed, string(t)) {
		return string(t)
	}
	return ""
}

// family is a product with its variations, or some of them.
type family struct {
	parent     product
	variations []product
	// window is when the variations were read, short that the shop did not show all it counts.
	window stock.Window
	short  bool
}

// items are the objects of the family that could hold stock, the variations first: where stock moved between
// them and their parent, the new holder is heard of before the old one says that it holds nothing. The stock
// a parent holds is read from its own row alone, which carries the markers.
func (f family) items() []engine.Item {
	ref := stock.Ref{Product: f.parent.ID.n}
	parent := f.parent.item(ref)
	var items []engine.Item
	for _, v := range f.variations {
		sku := v.sku()
		if stock.KeyOf(sku) == stock.KeyOf(f.parent.sku()) {
			// A variation without a SKU shows its parent's.
			v.SKU, sku = "", ""
		}
		if v.Manage != holdsItself && sku != "" {
			parent.SKUs = append(parent.SKUs, sku)
		}
		if v.Manage == holdsParent && parent.Managed == engine.Shared {
			continue
		}
		items = append(items, v.item(stock.Ref{Product: ref.Product, Variation: v.ID.n}))
	}
	return append(items, parent)
}

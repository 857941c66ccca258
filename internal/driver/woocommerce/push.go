package woocommerce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

// update is all that is ever written to a product or variation: a relative quantity with its marker, the fields beside
// it, the Kitgenix plugin's id, and the SKU of an item that the master renamed. With nothing but the id WooCommerce derives the status again.
type update struct {
	ID    int64       `json:"id"`
	Delta *int64      `json:"inventory_delta,omitempty"`
	Meta  []metaWrite `json:"meta_data,omitempty"`

	Manage     *bool  `json:"manage_stock,omitempty"`
	Status     string `json:"stock_status,omitempty"`
	Backorders string `json:"backorders,omitempty"`
	// Low is a number or null, which is the shop-wide amount.
	Low json.RawMessage `json:"low_stock_amount,omitempty"`

	SKU string `json:"sku,omitempty"`
}

// updateOf is a push in WooCommerce's terms.
func updateOf(p engine.Push) update {
	u := update{ID: p.Ref.Object(), Status: p.Fields[stock.Status], Backorders: p.Fields[stock.Backorders], SKU: p.Name}
	if p.Marker.Attempt != 0 {
		u.Meta = []metaWrite{{slotKey(p.Slot), formatMarker(p.Marker)}}
		if p.Units != 0 || p.Fields[stock.Management] != "" {
			// A marker alone must not touch the quantity: what is sold at the same moment would be overwritten.
			u.Delta = &p.Units
		}
	}
	if p.GID != "" {
		u.Meta = append(u.Meta, metaWrite{gidKey, p.GID})
	}
	if v := p.Fields[stock.Management]; v != "" {
		manage := v == stock.Yes
		u.Manage = &manage
	}
	if v := p.Fields[stock.LowStock]; v != "" {
		u.Low = json.RawMessage("null")
		if n := stock.LowStockAmount(v); n != nil {
			u.Low = strconv.AppendInt(nil, *n, 10)
		}
	}
	return u
}

type metaWrite struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type batch struct {
	Update []update `json:"update"`
}

// updated is the answer to one update of a batch.
type updated struct {
	product
	Error *struct {
		Code text   `json:"code"`
		Data holder `json:"data"`
	} `json:"error"`
}

// holder is the item that has the SKU asked for, 0 if the error names none.
type holder int64

func (h *holder) UnmarshalJSON(b []byte) error {
	var data struct {
		ID whole `json:"resource_id"`
	}
	_ = json.Unmarshal(b, &data) // other errors have data of other shapes
	*h = holder(data.ID.n)
	return nil
}

type batchAnswer struct {
	Update *list[updated] `json:"update"`
}

// Push implements [engine.Driver]: one request for products and one for the variations of each parent, of at most
// [engine.BatchSize] items. After a request that failed no other is sent.
func (c *Client) Push(ctx context.Context, pushes []engine.Push) []engine.Result {
	results := make([]engine.Result, len(pushes))
	// The indexes of the pushes that travel together, in the order of their first.
	var parents []int64
	groups := map[int64][]int{}
	for i, p := range pushes {
		parent := int64(0)
		if p.Ref.Variation != 0 {
			parent = p.Ref.Product
		}
		if groups[parent] == nil {
			parents = append(parents, parent)
		}
		groups[parent] = append(groups[parent], i)
	}
	var broken *engine.Fault
	for _, parent := range parents {
		for rest := range slices.Chunk(groups[parent], engine.BatchSize) {
			if broken == nil {
				broken = c.push(ctx, parent, pushes, rest, results)
				continue
			}
			for _, i := range rest {
				unsent := *broken
				unsent.Unsent = true
				results[i].Err = &unsent
			}
		}
	}
	return results
}

// push sends one batch and fills in the results of its pushes. It returns the fault of the whole request.
func (c *Client) push(ctx context.Context, parent int64, pushes []engine.Push, part []int, results []engine.Result) *engine.Fault {
	path := "products/batch"
	if parent != 0 {
		path = fmt.Sprintf("products/%d/variations/batch", parent)
	}
	var b batch
	for _, i := range part {
		b.Update = append(b.Update, updateOf(pushes[i]))
	}
	a, err := c.do(ctx, request{method: http.MethodPost, path: path, body: b})
	if notFound(a) {
		for _, i := range part {
			results[i] = engine.Result{Window: a.window, Gone: true, Err: missing()}
		}
		return nil
	}
	var body batchAnswer
	if err == nil {
		body, err = decode[batchAnswer](a)
		if err == nil && body.Update == nil {
			err = unexpected("the answer to a batch holds no updates")
		}
	}
	if err != nil {
		var f *engine.Fault
		errors.As(err, &f)
		for _, i := range part {
			results[i].Err = f
		}
		return f
	}
	rows := *body.Update
	for _, i := range part {
		results[i] = engine.Result{Window: a.window}
		at := slices.IndexFunc(rows, func(u updated) bool { return u.ID.ok && u.ID.n == pushes[i].Ref.Object() })
		if at < 0 {
			results[i].Err = unexpected("the answer to a batch lacks an item of it")
			continue
		}
		u := rows[at]
		// The same item twice is answered twice, in the order asked.
		rows[at].ID = whole{}
		if u.Error != nil {
			if code := safeCode(u.Error.Code); pushes[i].Name != "" && skuTaken(code) {
				results[i].Taken, results[i].Holder = true, int64(u.Error.Data)
				continue
			}
			results[i].Gone, results[i].Err = itemFault(safeCode(u.Error.Code))
			continue
		}
		// A variation whose stock the parent holds took the marker and ignored the quantity: under this Ref it
		// manages nothing, as an unmanaged item does.
		it := u.item(pushes[i].Ref)
		results[i].Item = &it
	}
	return nil
}

// forgetting takes our markers away from an item: a meta field written as null is deleted.
type forgetting struct {
	ID   int64       `json:"id"`
	Meta []metaErase `json:"meta_data"`
}

type metaErase struct {
	Key   string `json:"key"`
	Value *int   `json:"value"`
}

// Forget implements [engine.Driver].
func (c *Client) Forget(ctx context.Context, refs []stock.Ref) error {
	var parents []int64
	groups := map[int64][]forgetting{}
	for _, r := range refs {
		parent := int64(0)
		if r.Variation != 0 {
			parent = r.Product
		}
		if groups[parent] == nil {
			parents = append(parents, parent)
		}
		f := forgetting{ID: r.Object()}
		for slot := range stock.Slots {
			f.Meta = append(f.Meta, metaErase{Key: slotKey(slot)})
		}
		groups[parent] = append(groups[parent], f)
	}
	for _, parent := range parents {
		path := "products/batch"
		if parent != 0 {
			path = fmt.Sprintf("products/%d/variations/batch", parent)
		}
		for part := range slices.Chunk(groups[parent], engine.BatchSize) {
			a, err := c.do(ctx, request{method: http.MethodPost, path: path, body: map[string]any{"update": part}})
			if notFound(a) {
				break
			}
			if err != nil {
				return err
			}
			if err := forgotten(a); err != nil {
				return err
			}
		}
	}
	return nil
}

// forgotten looks for items of a batch that the shop refused to write.
func forgotten(a answer) error {
	body, err := decode[batchAnswer](a)
	if err != nil {
		return err
	}
	if body.Update == nil {
		return unexpected("the answer to a batch holds no updates")
	}
	for _, u := range *body.Update {
		if u.Error == nil {
			continue
		}
		if gone, f := itemFault(safeCode(u.Error.Code)); !gone {
			return f
		}
	}
	return nil
}

func missing() *engine.Fault {
	return &engine.Fault{Reason: v1alpha1.ReasonUnexpectedContent, Message: "the shop does not have the item any more", Unsent: true}
}

// skuTaken tells the codes with which WooCommerce refuses, before it begins to save, a SKU that another item has: one
// in the catalogue or one in the trash.
func skuTaken(code string) bool {
	return code == "product_invalid_sku" || code == "woocommerce_rest_product_not_created"
}

// itemFault sorts the error of one item in a batch. It is Unsent only where WooCommerce refuses before it
// begins to save.
func itemFault(code string) (gone bool, f *engine.Fault) {
	switch {
	case code == "woocommerce_rest_product_invalid_id", code == "woocommerce_rest_product_variation_invalid_id",
		code == "woocommerce_rest_invalid_product_id":
		return true, missing()
	case strings.HasPrefix(code, "woocommerce_rest_cannot_"):
		return false, &engine.Fault{Reason: v1alpha1.ReasonReadOnlyKey, Unsent: true,
			Message: "the REST key's user may not edit this product: use a key of an administrator or shop manager"}
	}
	return false, unexpected("the shop refuses to write an item" + suffix(code))
}

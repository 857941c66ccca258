package woocommerce

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A write of an item is a program of steps with the lock released between them, as PHP and the database
// run it: read the item, compute everything from that, store the metas and the date, store the quantity
// if it differs from what was read, store the status if it differs. Nothing notices what others did in
// between: that is how sales are lost.

// editItem writes a product (parent 0) or a variation of parent and returns it.
func (s *Store) editItem(r *run, id, parent int64, p params) (*product, error) {
	s.mu.Lock()
	x, err := s.writable(id, parent)
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	was, sku := x.Stock, x.SKU
	next, err := s.computeStock(x, p)
	if err == nil {
		err = s.checkIdentifiers(x.ID, p)
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if err := r.at(StepRead, id, 0); err != nil {
		return nil, err
	}

	if _, err = s.onItem(id, parent, func(x *product) {
		s.writeProps(x, p)
		s.writeMetas(x, p["meta_data"])
		if next.Manage != was.Manage {
			x.Stock.Manage = next.Manage
		}
		if next.Backorders != was.Backorders {
			x.Stock.Backorders = next.Backorders
		}
		if !sameInt(next.Low, was.Low) {
			x.Stock.Low = next.Low
		}
		s.st.touchProduct(x, s.now())
	}); err != nil {
		return nil, err
	}
	if err := r.at(StepMeta, id, 0); err != nil {
		return nil, err
	}
	if _, err = s.onItem(id, parent, func(x *product) {
		if !sameFloat(next.Quantity, was.Quantity) {
			x.Stock.Quantity = next.Quantity
		}
	}); err != nil {
		return nil, err
	}
	if err := r.at(StepQuantity, id, 0); err != nil {
		return nil, err
	}
	if x, err = s.onItem(id, parent, func(x *product) {
		if next.Status != was.Status {
			x.Stock.Status = next.Status
		}
		s.bumpParent(x, s.now())
		s.syncFamily(x)
		s.emit("product.updated", x.ID)
	}); err != nil {
		return nil, err
	}
	if sku != "" && x.SKU != sku && x.SKU != "" {
		s.happened(r.ctx, Change{What: SKUChanged, Items: []int64{id}, OldSKU: sku})
	}
	for _, c := range stored(id, was, next) {
		s.happened(r.ctx, c)
	}
	return x, r.at(StepItem, id, 0)
}

// onItem does one atomic step on an item that may be gone by now.
func (s *Store) onItem(id, parent int64, do func(*product)) (*product, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, err := s.writable(id, parent)
	if err == nil {
		do(x)
	}
	return x, err
}

// writable finds the item a route may write. The lock is held.
func (s *Store) writable(id, parent int64) (*product, error) {
	if parent != 0 {
		return variation(s.st, parent, id)
	}
	x := s.st.Products[id]
	if x == nil {
		return nil, errProductID
	}
	if x.Kind == Variation {
		return nil, errIsVariation
	}
	return x, nil
}

// computeStock is the stock a request makes of what it read. The lock is held.
func (s *Store) computeStock(x *product, p params) (Stock, error) {
	next, err := ApplyStock(x.Kind, x.Stock, s.st.parentStock(x), s.stockChange(p))
	if errors.Is(err, errExternalManage) {
		return next, fail(400, "product_external_invalid_manage_stock", "Stock management is not supported for external products.")
	}
	return next, err
}

// stockChange reads the stock fields of a request, validated or, from a batch, not. The lock is held.
func (s *Store) stockChange(p params) StockChange {
	amount := phpInt
	if s.behaviour.Fractions {
		amount = phpFloat
	}
	var c StockChange
	if v := p["manage_stock"]; v != nil {
		manage := wcBool(v)
		c.Manage = &manage
	}
	if v := p["stock_quantity"]; v != nil {
		q := amount(v)
		c.Quantity = &q
	}
	if v := p["inventory_delta"]; v != nil && !s.behaviour.IgnoreDelta {
		d := amount(v)
		c.Delta = &d
	}
	if v, ok := p["stock_status"].(string); ok && slices.Contains(stockStatuses, v) {
		c.Status = &v
	}
	if v, ok := p["backorders"].(string); ok && slices.Contains(backorderModes, v) {
		c.Backorders = &v
	}
	if v, sent := p["low_stock_amount"]; sent {
		c.LowSent = true
		if v != nil && v != "" {
			low := int64(phpInt(v))
			c.Low = &low
		}
	}
	return c
}

// cleanSKU is what WooCommerce stores of an SKU.
func cleanSKU(v any) string { return strings.Join(strings.Fields(phpString(v)), " ") }

// checkIdentifiers refuses an SKU or unique id another product holds; self is 0 for a new one. The lock is held.
func (s *Store) checkIdentifiers(self int64, p params) error {
	if sku := cleanSKU(p["sku"]); sku != "" {
		for _, id := range s.st.bySKU[strings.ToLower(sku)] {
			if id == self {
				continue
			}
			if s.st.Products[id].trashed() {
				return fail(400, "woocommerce_rest_product_not_created", fmt.Sprintf("The product with SKU (%s) you are trying to insert is already present in the lookup table", sku))
			}
			return &restError{status: 400, code: "product_invalid_sku", message: "Invalid or duplicated SKU.",
				data: object{{"resource_id", id}, {"unique_sku", s.uniqueSKU(sku)}}}
		}
	}
	if guid := cleanSKU(p["global_unique_id"]); guid != "" {
		for id, other := range s.st.Products {
			if id != self && other.GUID == guid && !other.trashed() {
				return &restError{status: 400, code: "product_invalid_global_unique_id", message: "Invalid or duplicated GTIN, UPC, EAN or ISBN.",
					data: object{{"resource_id", id}}}
			}
		}
	}
	return nil
}

func (s *Store) uniqueSKU(sku string) string {
	for n := 1; ; n++ {
		candidate := sku + "-" + strconv.Itoa(n)
		if len(s.st.bySKU[strings.ToLower(candidate)]) == 0 {
			return candidate
		}
	}
}

// writeProps stores the fields that are not stock. The lock is held.
func (s *Store) writeProps(x *product, p params) {
	if v := p["name"]; v != nil && x.Kind != Variation {
		x.Name = phpString(v)
	}
	if v, ok := p["slug"].(string); ok && v != "" {
		x.Slug = slugOf(v)
	}
	if v, ok := p["status"].(string); ok && slices.Contains(productStatuses, v) && v != "auto-draft" {
		if v == "trash" && !x.trashed() {
			x.Before = x.Status
		}
		x.Status = v
	}
	if v := p["description"]; v != nil {
		x.Text = phpString(v)
	}
	if v := p["sku"]; v != nil {
		if sku := cleanSKU(v); sku != x.SKU {
			s.st.setSKU(x, sku)
		}
	}
	if v := p["global_unique_id"]; v != nil {
		x.GUID = cleanSKU(v)
	}
	if v := p["regular_price"]; v != nil {
		x.Price = phpString(v)
	}
	if v := p["virtual"]; v != nil {
		x.Virtual = wcBool(v)
	}
	if v, ok := p["type"].(string); ok && x.Kind != Variation && len(x.Children) == 0 && slices.Contains(productTypes, v) {
		x.Kind = Kind(v)
	}
	if v, ok := p["grouped_products"].([]int64); ok {
		x.Grouped = v
	}
}

// writeMetas stores metas: the same key overwrites, null deletes, and _stock is the quantity itself,
// changed behind WooCommerce's back. The lock is held.
func (s *Store) writeMetas(x *product, v any) {
	list, _ := v.([]any)
	for _, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		key := phpString(m["key"])
		id := int64(phpInt(m["id"]))
		if key == "_stock" {
			q := phpFloat(m["value"])
			x.Stock.Quantity = &q
			continue
		}
		x.Meta = s.putMeta(x.Meta, id, key, m["value"])
	}
}

func (s *Store) putMeta(metas []meta, id int64, key string, value any) []meta {
	i := slices.IndexFunc(metas, func(m meta) bool {
		if id != 0 {
			return m.ID == id
		}
		return m.Key == key
	})
	metas = slices.Clone(metas)
	switch {
	case value == nil && i >= 0:
		return slices.Delete(metas, i, i+1)
	case value == nil || (i < 0 && key == ""):
		return metas
	case i >= 0:
		if key != "" {
			metas[i].Key = key
		}
		metas[i].Value = metaValue(value)
		return metas
	}
	return append(metas, meta{s.st.newMeta(), key, metaValue(value)})
}

// metaValue is a meta's value as it comes back: the database keeps scalars as text.
func metaValue(v any) json.RawMessage {
	switch v.(type) {
	case bool, json.Number:
		v = phpString(v)
	}
	return encodeJSON(nil, v)
}

// create makes a product, or a variation of parent, in one step.
func (s *Store) create(r *run, parent *product, p params) (*product, error) {
	if err := r.at(StepRead, 0, 0); err != nil {
		return nil, err
	}
	x, err := func() (*product, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.checkIdentifiers(0, p); err != nil {
			return nil, err
		}
		now := s.now().Truncate(time.Second)
		x := &product{Kind: Simple, Name: "Product", Status: "publish", Created: now, Modified: now,
			Stock: Stock{Status: InStock, Backorders: BackordersNo}}
		if parent != nil {
			x.Kind, x.ParentID, x.Option = Variation, parent.ID, optionOf(p["attributes"])
			x.Name = strings.TrimSuffix(parent.Name+" - "+x.Option, " - ")
		}
		sku := cleanSKU(p["sku"])
		given := params{}
		for k, v := range p {
			if k != "sku" {
				given[k] = v
			}
		}
		s.writeProps(x, given)
		next, err := s.computeStock(x, p)
		if err != nil {
			return nil, err
		}
		x.Stock = next
		x.ID, x.SKU = s.st.newID(), sku
		if x.Slug == "" {
			x.Slug = slugOf(x.Name)
		}
		s.writeMetas(x, p["meta_data"])
		s.st.addProduct(x)
		s.bumpParent(x, now)
		s.emit("product.created", x.ID)
		return x, nil
	}()
	if err != nil {
		return nil, err
	}
	return x, r.at(StepItem, x.ID, 0)
}

func optionOf(attributes any) string {
	list, _ := attributes.([]any)
	for _, a := range list {
		if m, ok := a.(map[string]any); ok && phpString(m["option"]) != "" {
			return phpString(m["option"])
		}
	}
	return ""
}

func slugOf(name string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(name), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}), "-")
}

// removeItem trashes an item, or deletes it for good.
func (s *Store) removeItem(r *run, id int64, force bool) error {
	s.mu.Lock()
	err := func() error {
		x := s.st.Products[id]
		switch {
		case x == nil:
			return errProductID
		case force:
			s.st.removeProduct(x)
		case x.trashed():
			return fail(410, "woocommerce_rest_already_trashed", "The product has already been deleted.")
		default:
			for _, id := range append(slices.Clone(x.Children), x.ID) {
				if y := s.st.Products[id]; y != nil && !y.trashed() {
					y.Before, y.Status = y.Status, "trash"
				}
			}
			s.st.touchProduct(x, s.now())
			if x.Kind != Variation {
				s.emit("product.deleted", x.ID)
			}
		}
		s.bumpParent(x, s.now())
		return nil
	}()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return r.at(StepItem, id, 0)
}

func sameFloat(a, b *float64) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

func sameInt(a, b *int64) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

package woocommerce

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// variationArgs are the writable fields of a variation. manage_stock also takes the word "parent".
var variationArgs = []arg{
	{name: "description", typ: "string"},
	{name: "status", typ: "string", enum: []string{"draft", "pending", "private", "publish", "trash"}},
	{name: "sku", typ: "string"}, {name: "global_unique_id", typ: "string"}, {name: "regular_price", typ: "string"},
	{name: "virtual", typ: "boolean"},
	{name: "manage_stock", typ: "manage"}, {name: "stock_quantity", typ: "integer"},
	{name: "stock_status", typ: "string", enum: stockStatuses},
	{name: "backorders", typ: "string", enum: backorderModes},
	{name: "low_stock_amount", typ: "integer", null: true},
}

var (
	errVariationID = fail(404, "woocommerce_rest_product_variation_invalid_id", "Invalid ID.")
	errParentID    = fail(404, "woocommerce_rest_product_invalid_id", "Invalid product ID.")
)

func listVariations(c *call) (int, any, error) {
	s := c.s
	s.mu.Lock()
	family := []int64{}
	if parent := c.view().Products[c.ids[0]]; parent != nil {
		family = append(family, parent.Children...)
	}
	return c.renderList(page(c, c.selectProducts(family)), c.variationObject)
}

// globalVariations tells whether the claimed version has the route /wc/v3/variations (10.3.0 and later).
func (s *Store) globalVariations() bool {
	major, rest, _ := strings.Cut(s.o.Version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, _ := strconv.Atoi(major)
	b, _ := strconv.Atoi(minor)
	return a > 10 || a == 10 && b >= 3
}

func listAllVariations(c *call) (int, any, error) {
	s := c.s
	s.mu.Lock()
	st := c.view()
	family := []int64{}
	for _, id := range st.productIDs {
		family = append(family, st.Products[id].Children...)
	}
	return c.renderList(page(c, c.selectProducts(family)), c.variationObject)
}

// variation finds a variation under its parent. The lock is held.
func variation(st *state, parent, id int64) (*product, error) {
	p := st.Products[id]
	if p == nil || p.Kind != Variation || p.ParentID != parent {
		return nil, errVariationID
	}
	return p, nil
}

func viewVariation(c *call) (int, any, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	p, err := variation(c.view(), c.ids[0], c.ids[1])
	if err != nil {
		return 0, nil, err
	}
	return 200, c.variationObject(p, wanted(c.itemFields(object{{"_links", nil}}))), nil
}

func createVariation(c *call) (int, any, error) {
	c.s.mu.Lock()
	parent := c.s.st.Products[c.ids[0]]
	c.s.mu.Unlock()
	if parent == nil || parent.Kind != Variable {
		return 0, nil, errParentID
	}
	p, err := c.s.create(c.run, parent, c.params)
	if err != nil {
		return 0, nil, err
	}
	c.header.Set("Location", fmt.Sprintf("%s/wp-json/wc/v3/products/%d/variations/%d", c.home, parent.ID, p.ID))
	return 201, c.answer(p), nil
}

func editVariation(c *call) (int, any, error) {
	p, err := c.s.editItem(c.run, c.ids[1], c.ids[0], c.params)
	if err != nil {
		return 0, nil, err
	}
	return 200, c.answer(p), nil
}

func deleteVariation(c *call) (int, any, error) {
	return c.removed(func(st *state) (*product, error) { return variation(st, c.ids[0], c.ids[1]) }, c.variationObject)
}

// variationObject is a variation as its parent's routes show it. The lock is held.
func (c *call) variationObject(p *product, want map[string]bool) object {
	s, st := c.s, c.view()
	b := &builder{want: want}
	v := s.viewOf(st, p)
	b.put("id", p.ID)
	b.put("type", string(p.Kind))
	s.putDates(b, "date_created", p.Created)
	s.putDates(b, "date_modified", p.Modified)
	b.put("description", p.Text)
	b.put("permalink", permalink(st, c.home, p))
	b.put("sku", p.SKU)
	b.put("global_unique_id", p.GUID)
	s.putPrice(b, p)
	b.put("status", p.Status)
	b.put("virtual", p.Virtual)
	putDownloads(b)
	b.put("tax_status", "taxable")
	b.put("tax_class", "")
	b.put("manage_stock", v.Manage)
	b.put("stock_quantity", v.Quantity)
	b.put("stock_status", v.Status)
	b.put("backorders", v.Backorders)
	b.put("backorders_allowed", v.BackordersAllowed)
	b.put("backordered", v.Backordered)
	b.put("low_stock_amount", v.Low)
	putDimensions(b)
	b.put("shipping_class", "")
	b.put("shipping_class_id", 0)
	b.put("image", nil)
	if want == nil || want["attributes"] {
		b.put("attributes", attributeObjects(st, p))
	}
	b.put("menu_order", 0)
	b.put("meta_data", metaObjects(p.Meta))
	b.put("name", p.Option)
	b.put("parent_id", p.ParentID)
	if want == nil || want["_links"] {
		up := fmt.Sprintf("%s/wp-json/wc/v3/products/%d", c.home, p.ParentID)
		b.put("_links", links(fmt.Sprintf("%s/variations/%d", up, p.ID), up+"/variations", up, allowItem))
	}
	return b.obj
}

// bumpParent does to a variation's parent what a change of the variation does: its date moves and, where
// it manages no stock, its status follows. The lock is held.
func (s *Store) bumpParent(p *product, now time.Time) {
	parent := s.st.Products[p.ParentID]
	if p.Kind != Variation || parent == nil {
		return
	}
	s.st.touchProduct(parent, now)
	s.syncFamily(parent)
}

// syncFamily gives an unmanaged parent the status of its variations. The lock is held.
func (s *Store) syncFamily(parent *product) {
	if parent.Kind != Variable || parent.Stock.Manage || len(parent.Children) == 0 {
		return
	}
	var family []Stock
	for _, id := range parent.Children {
		if child := s.st.Products[id]; child != nil && !child.trashed() {
			family = append(family, child.Stock)
		}
	}
	if len(family) > 0 {
		parent.Stock.Status = familyStatus(family)
	}
}

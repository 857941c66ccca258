package katana

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"
)

// m is a JSON object whose fields nobody orders.
type m = map[string]any

// count is a row's quantity as a number or a string.
func (c *call) count(q Quantity) any {
	if c.b.QuantityStrings {
		return q.String()
	}
	return q.number()
}

func (c *call) list(resource string) (any, *problem) {
	switch resource {
	case "inventory":
		return envelope(c, c.inventory())
	case "inventory_movements":
		return envelope(c, c.inventoryMovements())
	case "variants":
		return collect(c, sorted(c.st.variants), func(v *variant) bool {
			p := c.st.items[v.Item]
			skus, some := c.array("sku")
			return c.in("ids", v.ID) && c.in("product_id", v.Item) && (!some || slices.Contains(skus, text(v.SKU)) && v.SKU != nil) &&
				c.dated(v.Created, v.Updated) && c.visible(v.Deleted, p.Archived)
		}, c.variant)
	case "products":
		return collect(c, sorted(c.st.items), func(p *item) bool {
			return !p.Material && c.in("ids", p.ID) && c.dated(p.Created, p.Updated) && c.visible(nil, p.Archived)
		}, c.product)
	case "locations":
		return collect(c, sorted(c.st.locations), func(l *location) bool {
			return c.dated(l.Created, l.Updated) && c.visible(l.Deleted, nil)
		}, c.location)
	case "sales_orders":
		return collect(c, sorted(c.st.orders), func(o *order) bool {
			return c.is("status", o.Status) && c.is("source", o.Source) && c.is("location_id", id(o.Location)) &&
				c.is("ecommerce_order_type", text(o.Platform)) && c.is("ecommerce_store_name", text(o.Shop)) &&
				c.is("ecommerce_order_id", text(o.ShopOrder)) && c.dated(o.Created, o.Updated) && c.visible(o.Deleted, nil)
		}, c.salesOrder)
	case "sales_order_rows":
		return envelope(c, c.salesOrderRows())
	case "sales_order_fulfillments":
		return collect(c, sorted(c.st.fulfilled), func(f *fulfillment) bool { return c.is("sales_order_id", id(f.Order)) }, c.fulfillment)
	case "bom_rows":
		rows := slices.DeleteFunc(slices.Clone(c.st.bom), func(b bomRow) bool {
			return !c.is("product_variant_id", id(b.Product)) || !c.is("ingredient_variant_id", id(b.Ingredient))
		})
		return envelope(c, each(rows, c.bomRow))
	case "manufacturing_orders":
		return collect(c, sorted(c.st.making), func(o *manufacturing) bool {
			return c.is("status", o.status()) && c.dated(o.Created, o.Updated) && c.visible(o.Deleted, nil)
		}, c.manufacturing)
	case "manufacturing_order_recipe_rows":
		return envelope(c, c.recipeRows())
	}
	return nil, newProblem(http.StatusNotFound, "Not found")
}

func (c *call) one(resource string, id int64) (any, *problem) {
	switch resource {
	case "variants":
		if v := c.st.variants[id]; v != nil && v.Deleted == nil {
			return c.variant(v), nil
		}
	case "products":
		if p := c.st.items[id]; p != nil && !p.Material {
			return c.product(p), nil
		}
	case "locations":
		if l := c.st.locations[id]; l != nil && l.Deleted == nil {
			return c.location(l), nil
		}
	case "sales_orders":
		if o := c.st.orders[id]; o != nil && o.Deleted == nil {
			return c.salesOrder(o), nil
		}
	case "manufacturing_orders":
		if o := c.st.making[id]; o != nil && o.Deleted == nil {
			return c.manufacturing(o), nil
		}
	}
	return nil, newProblem(http.StatusNotFound, "Not found")
}

func id(n int64) string { return string(Quantity(n * 100_000).number()) }

// visible hides what is deleted or archived unless it is asked for.
func (c *call) visible(deleted, archived *time.Time) bool {
	return (deleted == nil || c.flag("include_deleted")) && (archived == nil || c.flag("include_archived"))
}

func each[T any](rows []T, render func(T) m) []m {
	out := make([]m, 0, len(rows))
	for _, r := range rows {
		out = append(out, render(r))
	}
	return out
}

func collect[T any](c *call, rows []*T, keep func(*T) bool, render func(*T) m) (any, *problem) {
	return envelope(c, each(slices.DeleteFunc(rows, func(r *T) bool { return !keep(r) }), render))
}

func (c *call) inventory() []m {
	st := c.levels
	f := st.figures(c.b.QuotesCommit)
	cells := make([]cell, 0, len(st.levels))
	for at := range st.levels {
		v, l := st.variants[at.Variant], st.locations[at.Location]
		if v == nil || l == nil || v.Deleted != nil || l.Deleted != nil || st.items[v.Item].Archived != nil && !c.flag("include_archived") ||
			!c.in("variant_id", at.Variant) || !c.is("location_id", id(at.Location)) {
			continue
		}
		cells = append(cells, at)
	}
	slices.SortFunc(cells, func(a, b cell) int {
		return cmp.Or(cmp.Compare(a.Location, b.Location), cmp.Compare(a.Variant, b.Variant))
	})
	extend, _ := c.array("extend")
	return each(cells, func(at cell) m {
		l, committed, expected := f.level(at), f.total(at), f.expected[at]
		row := m{
			"variant_id": at.Variant, "location_id": at.Location, "safety_stock_level": l.Safety, "reorder_point": l.Safety,
			"average_cost": "0.0000000000", "value_in_stock": "0.0000000000", "quantity_in_stock": l.InStock,
			"quantity_committed": committed, "quantity_expected": expected,
			"quantity_missing_or_excess": l.InStock - committed + expected - l.Safety, "quantity_potential": f.potential(at),
		}
		if slices.Contains(extend, "variant") {
			row["variant"] = c.variant(st.variants[at.Variant])
		}
		if slices.Contains(extend, "location") {
			row["location"] = c.location(st.locations[at.Location])
		}
		return row
	})
}

func (c *call) inventoryMovements() []m {
	out := []m{}
	for _, mv := range slices.Backward(c.st.movements) {
		if !c.in("variant_ids", mv.Cell.Variant) || !c.is("location_id", id(mv.Cell.Location)) || !c.is("resource_type", mv.Type) || !c.dated(mv.At, mv.At) {
			continue
		}
		at := timestamp(mv.At)
		out = append(out, m{
			"id": mv.ID, "variant_id": mv.Cell.Variant, "location_id": mv.Cell.Location, "resource_type": mv.Type, "caused_by_order_no": mv.Cause,
			"quantity_change": mv.Change, "balance_after": mv.Balance, "movement_date": at, "created_at": at, "updated_at": at,
		})
	}
	return out
}

func (c *call) variant(v *variant) m {
	p := c.st.items[v.Item]
	kind, product, material, price := "product", any(v.Item), any(nil), any(0)
	if p.Material {
		kind, product, material, price = "material", nil, v.Item, nil
	}
	return m{
		"id": v.ID, "sku": v.SKU, "sales_price": price, "product_id": product, "material_id": material, "purchase_price": 0, "type": kind,
		"created_at": timestamp(v.Created), "updated_at": timestamp(v.Updated), "deleted_at": stamp(v.Deleted),
		"internal_barcode": nil, "registered_barcode": nil, "supplier_item_codes": []any{}, "config_attributes": []any{},
		"lead_time": nil, "minimum_order_quantity": nil,
	}
}

func (c *call) product(p *item) m {
	variants := []m{}
	for _, v := range sorted(c.st.variants) {
		if v.Item == p.ID && v.Deleted == nil {
			variants = append(variants, c.variant(v))
		}
	}
	return m{
		"id": p.ID, "name": p.Name, "uom": "pcs", "category_name": "demo", "is_producible": true, "default_supplier_id": nil, "is_sellable": true,
		"is_purchasable": false, "is_auto_assembly": p.Kit, "type": "product", "purchase_uom": nil, "purchase_uom_conversion_rate": nil,
		"batch_tracked": false, "serial_tracked": false, "operations_in_sequence": false, "archived_at": stamp(p.Archived), "variants": variants,
		"configs": []any{}, "additional_info": "", "created_at": timestamp(p.Created), "updated_at": timestamp(p.Updated),
	}
}

func (c *call) location(l *location) m {
	return m{
		"id": l.ID, "name": l.Name, "legal_name": "Example Crafts Ltd", "address_id": nil, "address": nil, "is_primary": l.Primary,
		"sales_allowed": true, "purchase_allowed": true, "manufacturing_allowed": l.Manufacturing,
		"created_at": timestamp(l.Created), "updated_at": timestamp(l.Updated), "deleted_at": stamp(l.Deleted),
	}
}

func (c *call) salesOrder(o *order) m {
	return m{
		"id": o.ID, "customer_id": 3001, "order_no": o.No, "source": o.Source, "order_created_date": timestamp(o.Created),
		"delivery_date": timestamp(o.Created.Add(14 * 24 * time.Hour)), "picked_date": stamp(o.Picked), "location_id": o.Location, "status": o.Status,
		"currency": "EUR", "conversion_rate": 1, "total": 0, "total_in_base_currency": 0, "conversion_date": nil, "product_availability": "IN_STOCK",
		"product_expected_date": nil, "ingredient_availability": "NOT_APPLICABLE", "ingredient_expected_date": nil,
		"production_status": "NOT_APPLICABLE", "invoicing_status": "notInvoiced", "additional_info": "", "customer_ref": nil,
		"ecommerce_order_type": o.Platform, "ecommerce_store_name": o.Shop, "ecommerce_order_id": o.ShopOrder,
		"created_at": timestamp(o.Created), "updated_at": timestamp(o.Updated), "deleted_at": stamp(o.Deleted),
		"sales_order_rows":   each(o.Rows, func(r row) m { return c.row(o, r) }),
		"billing_address_id": nil, "shipping_address_id": nil, "addresses": []any{},
	}
}

func (c *call) row(o *order, r row) m {
	return m{
		"sales_order_id": o.ID, "id": r.ID, "quantity": c.count(r.Quantity), "variant_id": r.Variant, "tax_rate_id": nil, "location_id": r.Location,
		"price_per_unit": 0, "total_discount": "0.00", "price_per_unit_in_base_currency": 0, "total": 0, "total_in_base_currency": 0,
		"conversion_rate": 1, "conversion_date": nil, "product_availability": "IN_STOCK", "product_expected_date": nil,
		"created_at": timestamp(r.Created), "updated_at": timestamp(r.Updated), "linked_manufacturing_order_id": nil,
		"attributes": []any{}, "batch_transactions": []any{}, "serial_numbers": []any{},
	}
}

func (c *call) salesOrderRows() []m {
	out := []m{}
	for _, o := range sorted(c.st.orders) {
		for _, r := range o.Rows {
			if c.is("variant_id", id(r.Variant)) && o.Deleted == nil && c.dated(r.Created, r.Updated) {
				out = append(out, c.row(o, r))
			}
		}
	}
	return out
}

func (c *call) fulfillment(f *fulfillment) m {
	rows := []m{}
	for _, r := range f.Rows {
		rows = append(rows, m{"id": r.ID, "sales_order_row_id": r.Row, "quantity": c.count(r.Quantity), "batch_transactions": []any{}, "serial_numbers": []any{}})
	}
	return m{
		"id": f.ID, "sales_order_id": f.Order, "picked_date": timestamp(f.Picked), "status": f.Status, "invoice_status": "NOT_INVOICED",
		"conversion_rate": 1, "conversion_date": nil, "tracking_number": nil, "tracking_url": nil, "tracking_carrier": nil, "tracking_method": nil,
		"sales_order_fulfillment_rows": rows,
	}
}

func (c *call) bomRow(b bomRow) m {
	owner := int64(0)
	if v := c.st.variants[b.Product]; v != nil {
		owner = v.Item
	}
	return m{
		"id": b.ID, "product_item_id": owner, "product_variant_id": b.Product, "ingredient_variant_id": b.Ingredient,
		"quantity": b.PerUnit.number(), "notes": "", "rank": b.Rank, "created_at": timestamp(b.Created), "updated_at": timestamp(b.Created),
	}
}

func (c *call) manufacturing(o *manufacturing) m {
	var done any
	if o.Done > 0 {
		done = o.Done.number()
	}
	return m{
		"id": o.ID, "status": o.status(), "order_no": o.No, "variant_id": o.Variant, "planned_quantity": o.Planned.number(), "actual_quantity": done,
		"batch_transactions": []any{}, "location_id": o.Location, "order_created_date": timestamp(o.Created), "done_date": nil,
		"production_deadline_date": timestamp(o.Created.Add(8 * 24 * time.Hour)), "additional_info": "", "is_linked_to_sales_order": false,
		"ingredient_availability": "IN_STOCK", "total_cost": 0, "total_actual_time": 0, "total_planned_time": 0, "sales_order_id": nil,
		"sales_order_row_id": nil, "sales_order_delivery_deadline": nil, "material_cost": 0, "subassemblies_cost": 0, "operations_cost": 0,
		"created_at": timestamp(o.Created), "updated_at": timestamp(o.Updated), "deleted_at": stamp(o.Deleted), "serial_numbers": []any{},
	}
}

func (c *call) recipeRows() []m {
	out := []m{}
	for _, o := range sorted(c.st.making) {
		for _, r := range slices.Backward(o.Rows) {
			if o.Deleted != nil || !c.is("manufacturing_order_id", id(o.ID)) || !c.is("variant_id", id(r.Variant)) {
				continue
			}
			out = append(out, m{
				"id": r.ID, "manufacturing_order_id": o.ID, "variant_id": r.Variant, "notes": "", "planned_quantity_per_unit": r.PerUnit.number(),
				"total_actual_quantity": o.Planned.times(r.PerUnit).number(), "ingredient_availability": "IN_STOCK", "ingredient_expected_date": nil,
				"batch_transactions": []any{}, "cost": 0, "created_at": timestamp(o.Created), "updated_at": timestamp(o.Updated), "deleted_at": nil,
			})
		}
	}
	return out
}

// State is the raw state the numbers follow from, for package oracle and for people: what is in stock, the
// orders with their rows, and what was fulfilled of them. No derived figure is in it.
func (a *Account) State() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	st := a.st
	levels, orders, fulfilled := []m{}, []m{}, []m{}
	for at, l := range st.levels {
		levels = append(levels, m{"variant": at.Variant, "location": at.Location, "inStock": l.InStock})
	}
	for _, o := range sorted(st.orders) {
		rows := []m{}
		for _, r := range o.Rows {
			rows = append(rows, m{"id": r.ID, "variant": r.Variant, "location": r.Location, "quantity": r.Quantity})
		}
		orders = append(orders, m{"id": o.ID, "status": o.Status, "deleted": o.Deleted != nil, "location": o.Location,
			"source": o.Source, "platform": strings.TrimSpace(text(o.Platform)), "rows": rows})
	}
	for _, f := range sorted(st.fulfilled) {
		for _, r := range f.Rows {
			fulfilled = append(fulfilled, m{"row": r.Row, "quantity": r.Quantity})
		}
	}
	return encode(m{"levels": levels, "orders": orders, "fulfilled": fulfilled})
}

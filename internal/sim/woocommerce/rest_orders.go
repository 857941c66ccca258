package woocommerce

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

var orderListArgs = append([]arg{
	{name: "after", typ: "date"}, {name: "before", typ: "date"},
	{name: "modified_after", typ: "date"}, {name: "modified_before", typ: "date"},
	{name: "dates_are_gmt", typ: "boolean"},
	{name: "exclude", typ: "ids"}, {name: "include", typ: "ids"},
	{name: "orderby", typ: "string", enum: []string{"date", "id", "include", "title", "slug", "modified"}},
	{name: "status", typ: "strings", enum: append([]string{"any", Trashed}, orderStatuses...)},
	{name: "product", typ: "integer"},
}, pageArgs...)

var orderArgs = []arg{
	{name: "status", typ: "string", enum: orderStatuses},
	{name: "payment_method", typ: "string"}, {name: "payment_method_title", typ: "string"},
	{name: "customer_note", typ: "string"},
	{name: "set_paid", typ: "boolean"},
}

var refundArgs = []arg{
	{name: "amount", typ: "string"}, {name: "reason", typ: "string"},
	{name: "api_refund", typ: "boolean"}, {name: "api_restock", typ: "boolean"},
}

var errOrderID = fail(404, "woocommerce_rest_shop_order_invalid_id", "Invalid ID.")

func listOrders(c *call) (int, any, error) {
	if err := unsupported(c.params, "customer", "parent", "parent_exclude", "search", "created_via"); err != nil {
		return 0, nil, err
	}
	s := c.s
	s.mu.Lock()
	rows := page(c, c.selectOrders())
	want := wanted(c.fields)
	objects := make([]object, len(rows))
	for i, o := range rows {
		objects[i] = s.orderObject(c.view(), c.home, o, want)
	}
	s.mu.Unlock()
	return 200, objects, c.run.at(StepList, 0, 0)
}

// selectOrders lists what a list request matches. The lock is held.
func (c *call) selectOrders() []*order {
	st, p := c.view(), c.params
	dates := c.dateFilter()
	include, hasInclude := p.ids("include")
	exclude, _ := p.ids("exclude")
	statuses := p.strings("status")
	anyStatus := len(statuses) == 0 || slices.Contains(statuses, "any")
	productID := p.int("product", 0)

	match := func(o *order) bool {
		listed := slices.Contains(statuses, o.Status) || anyStatus && o.Status != Trashed
		switch {
		case !listed,
			!dates.match(o.Created, o.Modified),
			hasInclude && !slices.Contains(include, o.ID), slices.Contains(exclude, o.ID),
			productID != 0 && !slices.ContainsFunc(o.Lines, func(l line) bool { return l.ProductID == productID || l.VariationID == productID }):
			return false
		}
		return true
	}
	ids, ascending := st.orderIDs, true
	switch {
	case hasInclude:
		ids = slices.Compact(slices.Sorted(slices.Values(include)))
	case dates.modifiedAfter != nil:
		ids, ascending = st.orderLog.after(dates.modifiedAfter.Unix()), false
	}
	rows := make([]*order, 0, min(len(ids), 128))
	for _, id := range ids {
		if o := st.Orders[id]; o != nil && match(o) {
			rows = append(rows, o)
		}
	}
	orderby, desc := p.str("orderby", "date"), p.str("order", "desc") == "desc"
	if orderby == "id" && ascending {
		if desc {
			slices.Reverse(rows)
		}
		return rows
	}
	slices.SortFunc(rows, func(a, b *order) int {
		n := 0
		switch orderby {
		case "modified":
			n = a.Modified.Compare(b.Modified)
		case "include":
			return slices.Index(include, a.ID) - slices.Index(include, b.ID)
		case "date":
			n = a.Created.Compare(b.Created)
		}
		if n == 0 {
			n = compare(a.ID, b.ID)
		}
		if desc {
			return -n
		}
		return n
	})
	return rows
}

func viewOrder(c *call) (int, any, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	o := c.view().Orders[c.ids[0]]
	if o == nil {
		return 0, nil, errOrderID
	}
	return 200, c.s.orderObject(c.view(), c.home, o, wanted(c.itemFields(object{{"_links", nil}}))), nil
}

func (c *call) orderAnswer(id int64) (any, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	o := c.s.st.Orders[id]
	if o == nil {
		return nil, errOrderID
	}
	return c.s.orderObject(c.s.st, c.home, o, nil), nil
}

func createOrder(c *call) (int, any, error) {
	s, p := c.s, c.params
	o := &order{Status: p.str("status", Pending), Via: "rest-api"}
	if p.bool("set_paid") && !reduces(o.Status) {
		o.Status = Processing
	}
	s.mu.Lock()
	err := s.orderProps(o, p)
	if err == nil {
		o.Lines, err = s.postedLines(p["line_items"])
	}
	s.mu.Unlock()
	if err != nil {
		return 0, nil, err
	}
	if err := s.insertOrder(c.run, o); err != nil {
		return 0, nil, err
	}
	c.header.Set("Location", fmt.Sprintf("%s/wp-json/wc/v3/orders/%d", c.home, o.ID))
	body, err := c.orderAnswer(o.ID)
	return 201, body, err
}

// orderProps stores the plain fields of an order. The lock is held.
func (s *Store) orderProps(o *order, p params) error {
	o.Payment = p.str("payment_method", o.Payment)
	o.Title = p.str("payment_method_title", o.Title)
	o.Note = p.str("customer_note", o.Note)
	for name, field := range map[string]*json.RawMessage{"billing": &o.Billing, "shipping": &o.Ship} {
		if m, ok := p[name].(map[string]any); ok {
			*field = addressJSON(m, name == "billing")
		}
	}
	list, _ := p["meta_data"].([]any)
	for _, entry := range list {
		if m, ok := entry.(map[string]any); ok {
			o.Meta = s.putMeta(o.Meta, int64(phpInt(m["id"])), phpString(m["key"]), m["value"])
		}
	}
	return nil
}

var addressFields = []string{"first_name", "last_name", "company", "address_1", "address_2", "city", "state", "postcode", "country", "email", "phone"}

func addressJSON(m map[string]any, email bool) json.RawMessage {
	o := object{}
	for _, f := range addressFields {
		if f != "email" || email {
			o = append(o, member{f, phpString(m[f])})
		}
	}
	return encodeJSON(nil, o)
}

// postedLines makes new lines of a line_items parameter. The lock is held.
func (s *Store) postedLines(v any) ([]line, error) {
	var lines []line
	list, _ := v.([]any)
	for _, entry := range list {
		m, ok := entry.(map[string]any)
		if !ok {
			return nil, badLine()
		}
		l, err := s.postedLine(m)
		if err != nil {
			return nil, err
		}
		lines = append(lines, *l)
	}
	return lines, nil
}

func badLine() error {
	return fail(400, "woocommerce_rest_required_product_reference", "Product ID or SKU is required.")
}

func (s *Store) postedLine(m map[string]any) (*line, error) {
	item := int64(phpInt(m["variation_id"]))
	if item == 0 {
		item = int64(phpInt(m["product_id"]))
	}
	if item == 0 {
		if ids := s.st.bySKU[strings.ToLower(phpString(m["sku"]))]; len(ids) > 0 {
			item = ids[0]
		}
	}
	if item == 0 {
		return nil, badLine()
	}
	quantity := 1.0
	if v, ok := m["quantity"]; ok {
		quantity = phpInt(v)
	}
	l := s.newOrderLine(item, quantity)
	if l == nil {
		return nil, fail(400, "order_item_product_invalid_product", "Invalid product")
	}
	if _, ok := m["total"]; ok && quantity != 0 {
		l.Price = phpFloat(m["total"]) / quantity
	}
	return l, nil
}

// lineEdit is one line of a line_items parameter of an update.
type lineEdit struct {
	id       int64
	quantity float64
	added    *line
}

func editOrder(c *call) (int, any, error) {
	s, p, id := c.s, c.params, c.ids[0]
	s.mu.Lock()
	o := s.st.Orders[id]
	if o == nil {
		s.mu.Unlock()
		return 0, nil, errOrderID
	}
	edits, err := s.lineEdits(o, p["line_items"])
	s.mu.Unlock()
	if err != nil {
		return 0, nil, err
	}
	if err := c.run.at(StepRead, 0, id); err != nil {
		return 0, nil, err
	}
	for _, e := range edits {
		if e.added != nil {
			s.mu.Lock()
			if o := s.st.Orders[id]; o != nil {
				o.Lines = append(slices.Clip(o.Lines), *e.added)
			}
			s.mu.Unlock()
		}
		if err := s.editLine(c.run, id, e.id, e.quantity); err != nil {
			return 0, nil, err
		}
	}
	status := p.str("status", "")
	s.mu.Lock()
	if o = s.st.Orders[id]; o == nil {
		s.mu.Unlock()
		return 0, nil, errOrderID
	}
	if p.bool("set_paid") && status == "" && (o.Status == Pending || o.Status == Failed || o.Status == OnHold) {
		status = Processing
	}
	err = s.orderProps(o, p)
	if status == "" {
		status = o.Status
	}
	s.changeStatus(o, status)
	s.mu.Unlock()
	if err != nil {
		return 0, nil, err
	}
	if err := s.moveOrder(c.run, id, status); err != nil {
		return 0, nil, err
	}
	body, err := c.orderAnswer(id)
	return 200, body, err
}

// lineEdits reads the line_items of an update: with an id a change, quantity 0 or product_id null a
// removal, without an id a new line. The lock is held.
func (s *Store) lineEdits(o *order, v any) ([]lineEdit, error) {
	var edits []lineEdit
	list, _ := v.([]any)
	for _, entry := range list {
		m, ok := entry.(map[string]any)
		if !ok {
			return nil, badLine()
		}
		id := int64(phpInt(m["id"]))
		if id == 0 {
			l, err := s.postedLine(m)
			if err != nil {
				return nil, err
			}
			edits = append(edits, lineEdit{l.ID, l.Quantity, l})
			continue
		}
		i := slices.IndexFunc(o.Lines, func(l line) bool { return l.ID == id })
		if i < 0 {
			return nil, fail(400, "woocommerce_rest_invalid_item_id", "Order item ID provided is not associated with order.")
		}
		quantity := o.Lines[i].Quantity
		if v, ok := m["quantity"]; ok {
			quantity = max(0, phpInt(v))
		}
		if v, ok := m["product_id"]; ok && v == nil {
			quantity = 0
		}
		edits = append(edits, lineEdit{id: id, quantity: quantity})
	}
	return edits, nil
}

func deleteOrder(c *call) (int, any, error) {
	body, err := c.orderAnswer(c.ids[0])
	if err != nil {
		return 0, nil, err
	}
	if err := c.s.removeOrder(c.ids[0], c.params.bool("force")); err != nil {
		return 0, nil, err
	}
	return 200, body, c.run.at(StepItem, 0, c.ids[0])
}

func money(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) }

func plain(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// orderObject is an order as REST and webhooks show it. The lock is held.
func (s *Store) orderObject(st *state, home string, o *order, want map[string]bool) object {
	b := &builder{want: want}
	b.put("id", o.ID)
	b.put("parent_id", 0)
	b.put("status", o.Status)
	b.put("currency", "EUR")
	b.put("version", s.o.Version)
	b.put("prices_include_tax", false)
	b.put("date_created", o.Created.In(s.o.Location).Format(dateLayout))
	b.put("date_modified", o.Modified.In(s.o.Location).Format(dateLayout))
	for _, name := range []string{"discount_total", "discount_tax", "shipping_total", "shipping_tax", "cart_tax"} {
		b.put(name, "0.00")
	}
	b.put("total", money(o.total()))
	b.put("total_tax", "0.00")
	b.put("customer_id", 0)
	b.put("order_key", o.Key)
	b.put("billing", orAddress(o.Billing, true))
	b.put("shipping", orAddress(o.Ship, false))
	b.put("payment_method", o.Payment)
	b.put("payment_method_title", o.Title)
	b.put("transaction_id", "")
	b.put("customer_ip_address", "")
	b.put("customer_user_agent", "")
	b.put("created_via", o.Via)
	b.put("customer_note", o.Note)
	b.put("date_completed", nil)
	b.put("date_paid", nil)
	b.put("cart_hash", "")
	b.put("number", strconv.FormatInt(o.ID, 10))
	b.put("meta_data", metaObjects(o.Meta))
	if want == nil || want["line_items"] {
		lines := make([]object, len(o.Lines))
		for i, l := range o.Lines {
			lines[i] = lineObject(st, l)
		}
		b.put("line_items", lines)
	}
	b.put("tax_lines", []any{})
	b.put("shipping_lines", []any{})
	b.put("fee_lines", []any{})
	b.put("coupon_lines", []any{})
	if want == nil || want["refunds"] {
		refunds := make([]object, len(o.Refunds))
		for i, f := range o.Refunds {
			refunds[i] = object{{"id", f.ID}, {"reason", f.Reason}, {"total", "-" + money(f.Amount)}}
		}
		b.put("refunds", refunds)
	}
	b.put("payment_url", fmt.Sprintf("%s/checkout/order-pay/%d/?pay_for_order=true&key=%s", home, o.ID, o.Key))
	b.put("is_editable", o.Status == Pending || o.Status == OnHold)
	b.put("needs_payment", o.Status == Pending || o.Status == Failed)
	b.put("needs_processing", true)
	b.put("date_created_gmt", o.Created.UTC().Format(dateLayout))
	b.put("date_modified_gmt", o.Modified.UTC().Format(dateLayout))
	b.put("date_completed_gmt", nil)
	b.put("date_paid_gmt", nil)
	b.put("currency_symbol", "€")
	if want == nil || want["_links"] {
		self := fmt.Sprintf("%s/wp-json/wc/v3/orders/%d", home, o.ID)
		b.put("_links", append(links(self, home+"/wp-json/wc/v3/orders", "", allowItem),
			member{"email_templates", []object{{{"embeddable", true}, {"href", self + "/actions/email_templates"}}}}))
	}
	return b.obj
}

func orAddress(raw json.RawMessage, email bool) json.RawMessage {
	if raw != nil {
		return raw
	}
	return addressJSON(nil, email)
}

func lineObject(st *state, l line) object {
	total := money(l.Price * l.Quantity)
	var image any = object{{"id", ""}, {"src", ""}}
	var parentName any
	metas := []object{}
	add := func(id int64, key, value, shownKey string) {
		metas = append(metas, object{{"id", id}, {"key", key}, {"value", value}, {"display_key", shownKey}, {"display_value", value}})
	}
	if l.VariationID != 0 {
		image, parentName = object{{"id", 0}, {"src", ""}}, l.ParentName
		if l.Option != "" {
			add(l.ID, "size", l.Option, "Size")
		}
	}
	if l.Reduced != nil {
		add(l.MetaID, "_reduced_stock", plain(*l.Reduced), "_reduced_stock")
	}
	if l.Restocked != nil {
		add(l.MetaID, "_restock_refunded_items", plain(*l.Restocked), "_restock_refunded_items")
	}
	// The SKU is the product's present one, null once the product is gone.
	var sku any
	if p := st.Products[l.holder()]; p != nil {
		sku = p.SKU
	}
	return object{
		{"id", l.ID}, {"name", l.Name}, {"product_id", l.ProductID}, {"variation_id", l.VariationID}, {"quantity", l.Quantity},
		{"tax_class", ""}, {"subtotal", total}, {"subtotal_tax", "0.00"}, {"total", total}, {"total_tax", "0.00"},
		{"taxes", []any{}}, {"meta_data", metas}, {"sku", sku}, {"price", l.Price}, {"image", image}, {"parent_name", parentName},
	}
}

// Refunds.

func listRefunds(c *call) (int, any, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	o := c.view().Orders[c.ids[0]]
	if o == nil {
		return 0, nil, fail(404, "woocommerce_rest_invalid_order_id", "Invalid order ID.")
	}
	refunds := slices.Clone(o.Refunds)
	slices.Reverse(refunds)
	objects := []object{}
	for _, f := range page(c, refunds) {
		objects = append(objects, c.refundObject(o, f))
	}
	return 200, objects, nil
}

func (c *call) findRefund() (*order, *refund, error) {
	o := c.view().Orders[c.ids[0]]
	if o == nil {
		return nil, nil, fail(404, "woocommerce_rest_invalid_order_id", "Invalid order ID.")
	}
	for i := range o.Refunds {
		if o.Refunds[i].ID == c.ids[1] {
			return o, &o.Refunds[i], nil
		}
	}
	return nil, nil, fail(404, "woocommerce_rest_invalid_order_refund_id", "Invalid order refund ID.")
}

func viewRefund(c *call) (int, any, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	o, f, err := c.findRefund()
	if err != nil {
		return 0, nil, err
	}
	return 200, c.refundObject(o, *f), nil
}

// deleteRefund forgets a refund; what it put back on the shelf stays there.
func deleteRefund(c *call) (int, any, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	o, f, err := c.findRefund()
	if err != nil {
		return 0, nil, err
	}
	if !c.params.bool("force") {
		return 0, nil, fail(501, "woocommerce_rest_trash_not_supported", "The order_refund does not support trashing.")
	}
	body := c.refundObject(o, *f)
	id := f.ID
	o.Refunds = slices.DeleteFunc(slices.Clone(o.Refunds), func(f refund) bool { return f.ID == id })
	c.s.st.touchOrder(o, c.s.now())
	c.s.emit("order.updated", o.ID)
	return 200, body, nil
}

func createRefund(c *call) (int, any, error) {
	s, p, id := c.s, c.params, c.ids[0]
	s.mu.Lock()
	o := s.st.Orders[id]
	s.mu.Unlock()
	if o == nil {
		return 0, nil, fail(404, "woocommerce_rest_invalid_order_id", "Invalid order ID.")
	}
	f := refund{Reason: p.str("reason", "")}
	sum := 0.0
	list, _ := p["line_items"].([]any)
	for _, entry := range list {
		m, ok := entry.(map[string]any)
		if !ok {
			continue
		}
		fl := refundLine{LineID: int64(phpInt(m["id"])), Quantity: max(0, phpInt(m["quantity"])), Total: phpFloat(m["refund_total"])}
		sum += fl.Total
		f.Lines = append(f.Lines, fl)
	}
	f.Amount = sum
	if amount := p.str("amount", ""); amount != "" {
		f.Amount = phpFloat(amount)
	}
	if f.Amount < 0 {
		return 0, nil, fail(400, "woocommerce_rest_invalid_order_refund", "Refund amount must be greater than zero.")
	}
	restock := true
	if v, ok := p["api_restock"].(bool); ok {
		restock = v
	}
	refundID, err := s.refundOrder(c.run, id, f, restock)
	if err != nil {
		return 0, nil, err
	}
	// The real store forgets to fill the order's number into this address.
	c.header.Set("Location", fmt.Sprintf(`%s/wp-json/wc/v3/orders/(?P<order_id>[\d]+)/refunds/%d`, c.home, refundID))
	s.mu.Lock()
	defer s.mu.Unlock()
	c.ids = []int64{id, refundID}
	o, made, err := c.findRefund()
	if err != nil {
		return 0, nil, err
	}
	return 201, c.refundObject(o, *made), nil
}

func (c *call) refundObject(o *order, f refund) object {
	lines := []object{}
	for _, fl := range f.Lines {
		i := slices.IndexFunc(o.Lines, func(l line) bool { return l.ID == fl.LineID })
		if i < 0 {
			continue
		}
		l := o.Lines[i]
		sold := l.ID
		l.ID, l.Quantity, l.Reduced, l.Restocked = fl.ID, -fl.Quantity, nil, nil
		lo := lineObject(c.view(), l)
		lo.set("subtotal", "-"+money(fl.Total))
		lo.set("total", "-"+money(fl.Total))
		text := strconv.FormatInt(sold, 10)
		lo.set("meta_data", []object{{{"id", fl.ID * 10}, {"key", "_refunded_item_id"}, {"value", text}, {"display_key", "_refunded_item_id"}, {"display_value", text}}})
		lines = append(lines, lo)
	}
	b := &builder{}
	b.put("id", f.ID)
	c.s.putDates(b, "date_created", f.Created)
	b.put("amount", money(f.Amount))
	b.put("reason", f.Reason)
	b.put("refunded_by", 1)
	b.put("refunded_payment", false)
	b.put("meta_data", []any{})
	b.put("line_items", lines)
	b.put("shipping_lines", []any{})
	b.put("tax_lines", []any{})
	b.put("fee_lines", []any{})
	up := fmt.Sprintf("%s/wp-json/wc/v3/orders/%d", c.home, o.ID)
	b.put("_links", links(fmt.Sprintf("%s/refunds/%d", up, f.ID), up+"/refunds", up, "GET, DELETE"))
	return b.obj
}

package woocommerce

import (
	"fmt"
	"html"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	stockStatuses   = []string{InStock, OutOfStock, OnBackorder}
	backorderModes  = []string{BackordersNo, BackordersNotify, BackordersYes}
	productTypes    = []string{"simple", "grouped", "external", "variable"}
	productStatuses = []string{"draft", "pending", "private", "publish", "future", "auto-draft", "trash"}
)

// productListArgs are the list parameters the store understands, in the order WooCommerce names them.
var productListArgs = append([]arg{
	{name: "search", typ: "string"},
	{name: "after", typ: "date"}, {name: "before", typ: "date"},
	{name: "modified_after", typ: "date"}, {name: "modified_before", typ: "date"},
	{name: "dates_are_gmt", typ: "boolean"},
	{name: "exclude", typ: "ids"}, {name: "include", typ: "ids"},
	{name: "orderby", typ: "string", enum: []string{"date", "id", "include", "title", "slug", "modified", "popularity", "rating", "post__in", "price",
		"sales", "menu_order", "random", "popularity", "rating", "menu_order", "price", "popularity", "rating"}},
	{name: "parent", typ: "ids"}, {name: "parent_exclude", typ: "ids"},
	{name: "slug", typ: "string"},
	{name: "status", typ: "string", enum: append([]string{"any"}, productStatuses...)},
	{name: "type", typ: "string", enum: productTypes},
	{name: "sku", typ: "string"}, {name: "search_sku", typ: "string"}, {name: "global_unique_id", typ: "string"},
	{name: "stock_status", typ: "string", enum: stockStatuses},
}, pageArgs...)

// productArgs are the writable fields the store knows. inventory_delta is in no schema: it is not validated.
var productArgs = []arg{
	{name: "name", typ: "string"}, {name: "slug", typ: "string"},
	{name: "type", typ: "string", enum: productTypes},
	{name: "status", typ: "string", enum: productStatuses},
	{name: "description", typ: "string"}, {name: "short_description", typ: "string"},
	{name: "sku", typ: "string"}, {name: "global_unique_id", typ: "string"}, {name: "regular_price", typ: "string"},
	{name: "virtual", typ: "boolean"},
	{name: "manage_stock", typ: "boolean"}, {name: "stock_quantity", typ: "integer"},
	{name: "stock_status", typ: "string", enum: stockStatuses},
	{name: "backorders", typ: "string", enum: backorderModes},
	{name: "low_stock_amount", typ: "integer", null: true},
	{name: "grouped_products", typ: "ids"},
}

var (
	errProductID   = fail(404, "woocommerce_rest_product_invalid_id", "Invalid ID.")
	errIsVariation = fail(404, "woocommerce_rest_invalid_product_id",
		"To manipulate product variations you should use the /products/&lt;product_id&gt;/variations/&lt;id&gt; endpoint.")
)

// listProducts answers GET /products. It reads all quantities at once and the metas row by row later:
// the torn rows of the real store come from there.
func listProducts(c *call) (int, any, error) {
	s := c.s
	if err := unsupported(c.params, "category", "tag", "shipping_class", "attribute", "attribute_term", "featured", "on_sale", "min_price", "max_price", "tax_class"); err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	rows := page(c, c.selectProducts(nil))
	return c.renderList(rows, c.productObject)
}

// unsupported refuses filters the simulator does not have: answering as if they were not there would lie.
func unsupported(p params, names ...string) error {
	for _, n := range names {
		if _, ok := p[n]; ok {
			return fail(501, "simulator_unsupported_parameter", "This simulated store does not implement the parameter "+n+".")
		}
	}
	return nil
}

// renderList makes the rows' objects under the lock, which it is called with and gives back, and fills
// their metas in afterwards, one row after the other.
func (c *call) renderList(rows []*product, render func(*product, map[string]bool) object) (int, any, error) {
	s := c.s
	want := wanted(c.fields)
	objects := make([]object, len(rows))
	for i, p := range rows {
		objects[i] = render(p, want)
	}
	s.mu.Unlock()
	if want == nil || want["meta_data"] {
		for i, p := range rows {
			if err := c.run.at(StepList, p.ID, 0); err != nil {
				return 0, nil, err
			}
			s.mu.Lock()
			metas := metaObjects(p.Meta)
			s.mu.Unlock()
			objects[i].set("meta_data", metas)
		}
	} else if err := c.run.at(StepList, 0, 0); err != nil {
		return 0, nil, err
	}
	return 200, objects, nil
}

// selectProducts lists what a list request matches, in the asked order: of one parent's variations when
// parent is given, else of products, with variations where the store includes them. The lock is held.
func (c *call) selectProducts(family []int64) []*product {
	st, p := c.view(), c.params
	dates := c.dateFilter()
	skus, searchSKU := skuSet(p.str("sku", "")), strings.ToLower(p.str("search_sku", ""))
	guids := map[string]bool{}
	for part := range strings.SplitSeq(p.str("global_unique_id", ""), ",") {
		if part = strings.TrimSpace(part); part != "" {
			guids[part] = true
		}
	}
	include, hasInclude := p.ids("include")
	exclude, _ := p.ids("exclude")
	parents, hasParents := p.ids("parent")
	notParents, _ := p.ids("parent_exclude")
	status, typ, search := p.str("status", "any"), p.str("type", ""), strings.ToLower(p.str("search", ""))
	withVariations := family != nil || len(skus) > 0 || searchSKU != "" || len(guids) > 0

	match := func(x *product) bool {
		switch {
		case x.Kind == Variation && !withVariations,
			status == "any" && x.trashed(), status != "any" && x.Status != status,
			typ != "" && string(x.Kind) != typ,
			len(skus) > 0 && !skus[strings.ToLower(x.SKU)],
			searchSKU != "" && !strings.Contains(strings.ToLower(x.SKU), searchSKU),
			len(guids) > 0 && !guids[x.GUID],
			!dates.match(x.Created, x.Modified),
			hasInclude && !slices.Contains(include, x.ID), slices.Contains(exclude, x.ID),
			hasParents && !slices.Contains(parents, x.ParentID), len(notParents) > 0 && slices.Contains(notParents, x.ParentID),
			search != "" && !strings.Contains(strings.ToLower(x.Name), search),
			p.str("slug", "") != "" && x.Slug != p.str("slug", ""),
			p.str("stock_status", "") != "" && c.s.viewOf(st, x).Status != p.str("stock_status", ""):
			return false
		}
		return true
	}

	// The most selective source of candidates; ascending says they come in order of id.
	var ids []int64
	ascending := false
	switch {
	case family != nil:
		ids, ascending = family, true
	case len(skus) > 0:
		for sku := range skus {
			ids = append(ids, st.bySKU[sku]...)
		}
	case hasInclude:
		ids = slices.Compact(slices.Sorted(slices.Values(include)))
		ascending = true
	case dates.modifiedAfter != nil:
		ids = st.productLog.after(dates.modifiedAfter.Unix())
	case withVariations:
		for id := range st.Products {
			ids = append(ids, id)
		}
	default:
		ids, ascending = st.productIDs, true
	}
	rows := make([]*product, 0, min(len(ids), 128))
	for _, id := range ids {
		if x := st.Products[id]; x != nil && match(x) {
			rows = append(rows, x)
		}
	}
	c.sortProducts(rows, include, ascending)
	return rows
}

// skuSet is what ?sku= asks for: the parts between commas, untrimmed, and the whole.
func skuSet(raw string) map[string]bool {
	if raw == "" {
		return nil
	}
	raw = strings.ToLower(raw)
	set := map[string]bool{raw: true}
	for part := range strings.SplitSeq(raw, ",") {
		if part != "" {
			set[part] = true
		}
	}
	return set
}

func (c *call) sortProducts(rows []*product, include []int64, ascending bool) {
	orderby, order := c.params.str("orderby", "date"), c.params.str("order", "desc")
	by := func(less func(a, b *product) int) {
		slices.SortFunc(rows, func(a, b *product) int {
			n := less(a, b)
			if n == 0 {
				n = compare(a.ID, b.ID)
			}
			if order == "desc" {
				return -n
			}
			return n
		})
	}
	switch orderby {
	case "id":
		if !ascending {
			by(func(_, _ *product) int { return 0 })
		} else if order == "desc" {
			slices.Reverse(rows)
		}
	case "modified":
		by(func(a, b *product) int { return a.Modified.Compare(b.Modified) })
	case "title":
		by(func(a, b *product) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	case "slug":
		by(func(a, b *product) int { return strings.Compare(a.Slug, b.Slug) })
	case "price":
		by(func(a, b *product) int { return compare(int64(100*phpFloat(a.Price)), int64(100*phpFloat(b.Price))) })
	case "popularity", "sales":
		by(func(a, b *product) int { return compare(a.Sales, b.Sales) })
	case "menu_order", "rating":
		by(func(_, _ *product) int { return 0 })
	case "include", "post__in":
		slices.SortFunc(rows, func(a, b *product) int {
			return slices.Index(include, a.ID) - slices.Index(include, b.ID)
		})
	case "random":
		c.s.randMu.Lock()
		r := rand.New(rand.NewPCG(c.s.rand.Uint64(), 0))
		c.s.randMu.Unlock()
		r.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	default:
		by(func(a, b *product) int { return a.Created.Compare(b.Created) })
	}
}

func viewProduct(c *call) (int, any, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	p := c.view().Products[c.ids[0]]
	if p == nil {
		return 0, nil, errProductID
	}
	return 200, c.productObject(p, wanted(c.itemFields(object{{"_links", nil}}))), nil
}

func createProduct(c *call) (int, any, error) {
	p, err := c.s.create(c.run, nil, c.params)
	if err != nil {
		return 0, nil, err
	}
	c.header.Set("Location", fmt.Sprintf("%s/wp-json/wc/v3/products/%d", c.home, p.ID))
	return 201, c.answer(p), nil
}

func editProduct(c *call) (int, any, error) {
	p, err := c.s.editItem(c.run, c.ids[0], 0, c.params)
	if err != nil {
		return 0, nil, err
	}
	return 200, c.answer(p), nil
}

// answer renders an item after a write, as it now is in the database.
func (c *call) answer(p *product) object {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if p.Kind == Variation {
		return c.variationObject(p, nil)
	}
	o := c.productObject(p, nil)
	last := o[len(o)-1]
	return append(o[:len(o)-1], member{"permalink_template", c.home + "/product/%pagename%/"}, member{"generated_slug", p.Slug}, last)
}

func deleteProduct(c *call) (int, any, error) {
	return c.removed(func(st *state) (*product, error) {
		switch p := st.Products[c.ids[0]]; {
		case p == nil:
			return nil, errProductID
		case p.Kind == Variation:
			return nil, errIsVariation
		default:
			return p, nil
		}
	}, c.productObject)
}

// removed removes the item that find names and answers with what show made of it before.
func (c *call) removed(find func(*state) (*product, error), show func(*product, map[string]bool) object) (int, any, error) {
	s := c.s
	s.mu.Lock()
	p, err := find(s.st)
	if err != nil {
		s.mu.Unlock()
		return 0, nil, err
	}
	body := show(p, nil)
	s.mu.Unlock()
	if err := s.removeItem(c.run, p.ID, c.params.bool("force")); err != nil {
		return 0, nil, err
	}
	return 200, body, nil
}

// viewOf is what REST shows of an item's stock. The lock is held.
func (s *Store) viewOf(st *state, p *product) StockView {
	v := ViewStock(p.Kind, p.Stock, st.parentStock(p))
	if v.Quantity != nil && !s.behaviour.Fractions {
		q := phpInt(*v.Quantity)
		v.Quantity = &q
	}
	return v
}

func metaObjects(metas []meta) []object {
	list := make([]object, len(metas))
	for i, m := range metas {
		list[i] = object{{"id", m.ID}, {"key", m.Key}, {"value", m.Value}}
	}
	return list
}

// productObject is an item as /products shows it. The lock is held.
func (c *call) productObject(p *product, want map[string]bool) object {
	return c.s.productObject(c.view(), c.home, p, want)
}

func (s *Store) productObject(st *state, home string, p *product, want map[string]bool) object {
	b := &builder{want: want}
	if want == nil {
		b.obj = make(object, 0, 80)
	}
	v := s.viewOf(st, p)
	s.putIdentity(b, st, home, p)
	b.put("type", string(p.Kind))
	b.put("status", p.Status)
	b.put("featured", false)
	b.put("catalog_visibility", "visible")
	b.put("description", p.Text)
	b.put("short_description", "")
	b.put("sku", p.SKU)
	s.putPrice(b, p)
	if p.Kind == Variation {
		b.put("total_sales", strconv.FormatInt(p.Sales, 10))
	} else {
		b.put("total_sales", p.Sales)
	}
	b.put("virtual", p.Virtual)
	putDownloads(b)
	b.put("external_url", "")
	b.put("button_text", "")
	b.put("tax_status", "taxable")
	b.put("tax_class", "")
	b.put("manage_stock", v.Manage)
	b.put("stock_quantity", v.Quantity)
	b.put("backorders", v.Backorders)
	b.put("backorders_allowed", v.BackordersAllowed)
	b.put("backordered", v.Backordered)
	b.put("low_stock_amount", v.Low)
	b.put("sold_individually", false)
	putDimensions(b)
	b.put("shipping_required", !p.Virtual)
	b.put("shipping_taxable", !p.Virtual)
	b.put("shipping_class", "")
	b.put("shipping_class_id", 0)
	b.put("reviews_allowed", p.Kind != Variation)
	b.put("average_rating", "0.00")
	b.put("rating_count", 0)
	b.put("upsell_ids", []any{})
	b.put("cross_sell_ids", []any{})
	b.put("parent_id", p.ParentID)
	b.put("purchase_note", "")
	if p.Kind == Variation {
		b.put("categories", []any{})
	} else {
		b.put("categories", []object{{{"id", 15}, {"name", "Uncategorized"}, {"slug", "uncategorized"}}})
	}
	b.put("brands", []any{})
	b.put("tags", []any{})
	b.put("images", []any{})
	if want == nil || want["attributes"] {
		b.put("attributes", attributeObjects(st, p))
	}
	b.put("default_attributes", []any{})
	b.put("variations", slices.Clone(p.Children))
	b.put("grouped_products", p.Grouped)
	b.put("menu_order", 0)
	b.put("price_html", priceHTML(p))
	b.put("related_ids", []any{})
	b.put("meta_data", metaObjects(p.Meta))
	b.put("stock_status", v.Status)
	b.put("has_options", p.Kind == Variable)
	b.put("post_password", "")
	b.put("global_unique_id", p.GUID)
	if want == nil || want["_links"] {
		up := ""
		if p.Kind == Variation {
			up = fmt.Sprintf("%s/wp-json/wc/v3/products/%d", home, p.ParentID)
		}
		b.put("_links", links(fmt.Sprintf("%s/wp-json/wc/v3/products/%d", home, p.ID), home+"/wp-json/wc/v3/products", up, allowItem))
	}
	return b.obj
}

func (s *Store) putIdentity(b *builder, st *state, home string, p *product) {
	b.put("id", p.ID)
	b.put("name", p.Name)
	b.put("slug", p.Slug)
	b.put("permalink", permalink(st, home, p))
	s.putDates(b, "date_created", p.Created)
	s.putDates(b, "date_modified", p.Modified)
}

func permalink(st *state, home string, p *product) string {
	if parent := st.Products[p.ParentID]; p.Kind == Variation && parent != nil {
		return home + "/product/" + parent.Slug + "/?attribute_size=" + p.Option
	}
	return home + "/product/" + p.Slug + "/"
}

func (s *Store) putPrice(b *builder, p *product) {
	b.put("price", p.Price)
	b.put("regular_price", p.Price)
	b.put("sale_price", "")
	s.putDates(b, "date_on_sale_from", time.Time{})
	s.putDates(b, "date_on_sale_to", time.Time{})
	b.put("on_sale", false)
	b.put("purchasable", p.Price != "" && p.Kind != External && p.Kind != Grouped)
}

func putDownloads(b *builder) {
	b.put("downloadable", false)
	b.put("downloads", []any{})
	b.put("download_limit", -1)
	b.put("download_expiry", -1)
}

func putDimensions(b *builder) {
	b.put("weight", "")
	b.put("dimensions", object{{"length", ""}, {"width", ""}, {"height", ""}})
}

func attributeObjects(st *state, p *product) []object {
	switch p.Kind {
	case Variation:
		if p.Option != "" {
			return []object{{{"id", 0}, {"name", "Size"}, {"slug", "size"}, {"option", p.Option}}}
		}
	case Variable:
		var options []any
		for _, id := range p.Children {
			if child := st.Products[id]; child != nil && child.Option != "" {
				options = append(options, child.Option)
			}
		}
		if options != nil {
			return []object{{{"id", 0}, {"name", "Size"}, {"slug", "size"}, {"position", 0}, {"visible", true}, {"variation", true}, {"options", options}}}
		}
	}
	return []object{}
}

func priceHTML(p *product) string {
	if p.Price == "" {
		return ""
	}
	return `<span class="woocommerce-Price-amount amount"><bdi><span class="woocommerce-Price-currencySymbol">&euro;</span>` +
		html.EscapeString(strconv.FormatFloat(phpFloat(p.Price), 'f', 2, 64)) + `</bdi></span>`
}

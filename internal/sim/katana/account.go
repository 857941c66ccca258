package katana

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-logr/logr"
)

// Account is one Katana account. Its methods are what people and programs do in it; they may be called
// concurrently, and each is one step.
type Account struct {
	o Options

	mu        sync.Mutex
	st        *state
	behaviour Behaviour
	keys      []string
	faults    []*armed
	faultID   int64
	hits      map[FaultKind]int
	requests  int
	window    map[string]*rateWindow
	hooks     map[int64]*hook
	queue     []delivery
}

// New makes an empty account.
func New(o Options) *Account {
	if o.BaseURL == "" {
		o.BaseURL = "https://api.katanamrp.com/v1"
	}
	if o.WebhookTransport == nil {
		o.WebhookTransport = http.DefaultTransport
	}
	return &Account{
		o: o, st: newState(), behaviour: o.Behaviour, keys: slices.Clone(o.Keys),
		hits: map[FaultKind]int{}, window: map[string]*rateWindow{}, hooks: map[int64]*hook{},
	}
}

func (a *Account) now() time.Time { return a.o.Clock.Now().UTC().Truncate(time.Millisecond) }

func (a *Account) logger() logr.Logger {
	if a.o.Log.GetSink() == nil {
		return logr.Discard()
	}
	return a.o.Log
}

// SetBehaviour replaces the account's behaviour; Behaviour is the one in force.
func (a *Account) SetBehaviour(b Behaviour) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.behaviour = b
}

// Behaviour is the behaviour in force.
func (a *Account) Behaviour() Behaviour {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.behaviour
}

// SetKeys replaces the API keys: one that is left out has expired.
func (a *Account) SetKeys(keys ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys = slices.Clone(keys)
}

// Requests is how many API requests were received.
func (a *Account) Requests() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.requests
}

// SetNextID makes the next thing made have this id, and those after it higher ones.
func (a *Account) SetNextID(id int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.st.next = id - 1
}

// ErrUnknown says that there is nothing with an id, or not any more.
var ErrUnknown = errors.New("there is no such thing in the account")

func unknown(what string, id int64) error { return fmt.Errorf("%s %d: %w", what, id, ErrUnknown) }

// do runs one step, with its events queued at the end.
func (a *Account) do(fn func(st *state, now time.Time) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fn(a.st, a.now())
}

// AddLocation makes a location and returns its id.
func (a *Account) AddLocation(name string) int64 {
	var id int64
	_ = a.do(func(st *state, now time.Time) error {
		id = st.id()
		st.locations[id] = &location{ID: id, Name: name, Manufacturing: true, Primary: len(st.locations) == 0, Created: now, Updated: now}
		return nil
	})
	return id
}

// DeleteLocation deletes a location; its levels are not listed any more.
func (a *Account) DeleteLocation(id int64) error {
	return a.do(func(st *state, now time.Time) error {
		l := st.locations[id]
		if l == nil || l.Deleted != nil {
			return unknown("location", id)
		}
		l.Deleted, l.Updated = &now, now
		return nil
	})
}

// NewItem describes a product or material with one variant.
type NewItem struct {
	Name string `json:"name"`
	// SKU is absent when nil. Nothing keeps two variants from having one SKU.
	SKU      *string `json:"sku"`
	Material bool    `json:"material"`
	// Kit: made of its parts when it is delivered.
	Kit bool `json:"kit"`
	// VariantID, when set, is the variant's id.
	VariantID int64 `json:"variantID"`
}

// AddItem makes an item and returns the id of its variant.
func (a *Account) AddItem(n NewItem) int64 {
	var id int64
	_ = a.do(func(st *state, now time.Time) error {
		p := &item{ID: st.id(), Name: n.Name, Material: n.Material, Kit: n.Kit, Created: now, Updated: now}
		st.items[p.ID] = p
		id = n.VariantID
		if id == 0 {
			id = st.id()
		}
		st.variants[id] = &variant{ID: id, Item: p.ID, SKU: n.SKU, Created: now, Updated: now}
		a.emit("product.created", "product", p.ID, "", now)
		a.emit("variant.created", "variant", id, "", now)
		return nil
	})
	return id
}

// AddProduct makes a product with a SKU and returns the id of its variant.
func (a *Account) AddProduct(sku string) int64 { return a.AddItem(NewItem{Name: sku, SKU: &sku}) }

// SetSKU renames a variant; nil takes its SKU away.
func (a *Account) SetSKU(id int64, sku *string) error {
	return a.do(func(st *state, now time.Time) error {
		v := st.variants[id]
		if v == nil {
			return unknown("variant", id)
		}
		v.SKU, v.Updated = sku, now
		a.emit("variant.updated", "variant", id, "", now)
		return nil
	})
}

// DeleteVariant deletes a variant.
func (a *Account) DeleteVariant(id int64) error {
	return a.do(func(st *state, now time.Time) error {
		v := st.variants[id]
		if v == nil || v.Deleted != nil {
			return unknown("variant", id)
		}
		v.Deleted, v.Updated = &now, now
		a.emit("variant.deleted", "variant", id, "", now)
		return nil
	})
}

// Archive archives the item of a variant, or takes it back.
func (a *Account) Archive(id int64, archived bool) error {
	return a.do(func(st *state, now time.Time) error {
		v := st.variants[id]
		if v == nil {
			return unknown("variant", id)
		}
		p := st.items[v.Item]
		if p.Archived = nil; archived {
			p.Archived = &now
		}
		p.Updated = now
		a.emit("product.updated", "product", p.ID, "", now)
		return nil
	})
}

// AddPart makes an ingredient part of a product's recipe, perUnit for each one made.
func (a *Account) AddPart(product, ingredient int64, perUnit Quantity) {
	_ = a.do(func(st *state, now time.Time) error {
		rank := 10_000 * (1 + len(st.bom))
		st.bom = append(st.bom, bomRow{fmt.Sprintf("00000000-0000-4000-8000-%012d", len(st.bom)+1), product, ingredient, perUnit, rank, now})
		return nil
	})
}

// SetSafety sets the safety stock of a variant at a location.
func (a *Account) SetSafety(variant, location int64, q Quantity) {
	_ = a.do(func(st *state, _ time.Time) error {
		st.at(cell{variant, location}).Safety = q
		return nil
	})
}

func (st *state) at(c cell) *level {
	l := st.levels[c]
	if l == nil {
		l = &level{}
		st.levels[c] = l
	}
	return l
}

// move changes what is in stock, writes the movement and announces it.
func (a *Account) move(st *state, c cell, change Quantity, kind, cause string, now time.Time) {
	if change == 0 {
		return
	}
	l := st.at(c)
	l.InStock += change
	st.movements = append(st.movements, movement{int64(len(st.movements) + 1), c, change, l.InStock, kind, cause, now})
	a.emit("current_inventory.product_updated", "current_inventory", c.Variant, "", now)
}

// Adjust is a stock adjustment: it changes what is in stock by so much.
func (a *Account) Adjust(variant, location int64, change Quantity) error {
	return a.do(func(st *state, now time.Time) error {
		if st.variants[variant] == nil || st.locations[location] == nil {
			return unknown("variant or location", variant)
		}
		st.at(cell{variant, location})
		a.move(st, cell{variant, location}, change, "StockAdjustment", "SA", now)
		return nil
	})
}

// Transfer moves stock from one location to another.
func (a *Account) Transfer(variant, from, to int64, q Quantity) error {
	return a.do(func(st *state, now time.Time) error {
		if st.variants[variant] == nil || st.locations[from] == nil || st.locations[to] == nil {
			return unknown("variant or location", variant)
		}
		a.move(st, cell{variant, from}, -q, "StockTransfer", "ST", now)
		a.move(st, cell{variant, to}, q, "StockTransfer", "ST", now)
		return nil
	})
}

// NewOrder describes a sales order.
type NewOrder struct {
	Location int64 `json:"location"`
	// Source is "katana" when empty.
	Source string `json:"source"`
	// Platform, Shop and ShopOrder are the three ecommerce fields; null when empty.
	Platform  string `json:"platform"`
	Shop      string `json:"shop"`
	ShopOrder string `json:"shopOrder"`
	// Quote makes it PENDING.
	Quote bool     `json:"quote"`
	Rows  []NewRow `json:"rows"`
	// ID and No, when set, are the order's.
	ID int64  `json:"id"`
	No string `json:"no"`
}

// NewRow is a row of a new order. Location is the order's when 0, ID a new one.
type NewRow struct {
	ID       int64    `json:"id"`
	Variant  int64    `json:"variant"`
	Quantity Quantity `json:"quantity"`
	Location int64    `json:"location"`
}

// WebOrder is an order as the import from a WooCommerce store makes it.
func WebOrder(location int64, shop, shopOrder string, rows ...NewRow) NewOrder {
	return NewOrder{Location: location, Source: "UNKNOWN-PLACEHOLDER", Platform: "wooCommerce", Shop: shop, ShopOrder: shopOrder, Rows: rows}
}

// CreateOrder makes a sales order and returns its id.
func (a *Account) CreateOrder(n NewOrder) (int64, error) {
	var id int64
	err := a.do(func(st *state, now time.Time) error {
		if st.locations[n.Location] == nil {
			return unknown("location", n.Location)
		}
		if id = n.ID; id == 0 {
			id = st.id()
		}
		o := &order{ID: id, No: n.No, Source: n.Source, Location: n.Location, Initial: "NOT_SHIPPED", Created: now, Updated: now,
			Platform: optional(n.Platform), Shop: optional(n.Shop), ShopOrder: optional(n.ShopOrder)}
		if o.No == "" {
			o.No = "SO-" + strconv.FormatInt(id, 10)
		}
		if o.Source == "" {
			o.Source = "katana"
		}
		if n.Quote {
			o.Initial = "PENDING"
		}
		o.Status = o.Initial
		for _, r := range n.Rows {
			if err := st.addRow(o, r, now); err != nil {
				return err
			}
		}
		st.orders[id] = o
		a.orderEvent(st, o, "created", now)
		return nil
	})
	return id, err
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (st *state) addRow(o *order, r NewRow, now time.Time) error {
	if st.variants[r.Variant] == nil {
		return unknown("variant", r.Variant)
	}
	n := row{ID: r.ID, Variant: r.Variant, Quantity: r.Quantity, Created: now, Updated: now}
	if n.ID == 0 {
		n.ID = st.id()
	}
	if r.Location != 0 {
		n.Location = &r.Location
	}
	o.Rows = append(o.Rows, n)
	return nil
}

// orderEvent announces what happened to an order.
func (a *Account) orderEvent(st *state, o *order, what string, now time.Time) {
	a.emit("sales_order."+what, "sales_order", o.ID, o.Status, now)
	if a.behaviour.CommittedEvents {
		for _, r := range o.Rows {
			a.emit("current_inventory.product_updated", "current_inventory", st.variants[r.Variant].ID, "", now)
		}
	}
}

func (a *Account) editOrder(id int64, fn func(st *state, o *order, now time.Time) error) error {
	return a.do(func(st *state, now time.Time) error {
		o := st.orders[id]
		if o == nil || o.Deleted != nil {
			return unknown("order", id)
		}
		if err := fn(st, o, now); err != nil {
			return err
		}
		o.Updated = now
		a.orderEvent(st, o, "updated", now)
		return nil
	})
}

// TouchOrder edits something of an order that is not stock.
func (a *Account) TouchOrder(id int64) error {
	return a.editOrder(id, func(*state, *order, time.Time) error { return nil })
}

// AddRow adds a row to an order.
func (a *Account) AddRow(id int64, r NewRow) error {
	return a.editOrder(id, func(st *state, o *order, now time.Time) error { return st.addRow(o, r, now) })
}

// EditRow changes the quantity of an order's nth row, from 0; a quantity of 0 removes the row.
func (a *Account) EditRow(id int64, n int, q Quantity) error {
	return a.editOrder(id, func(_ *state, o *order, now time.Time) error {
		if n < 0 || n >= len(o.Rows) {
			return unknown("row", int64(n))
		}
		if q == 0 {
			o.Rows = slices.Delete(o.Rows, n, n+1)
			return nil
		}
		o.Rows[n].Quantity, o.Rows[n].Updated = q, now
		return nil
	})
}

// MoveOrder makes an order come from another location.
func (a *Account) MoveOrder(id, location int64) error {
	return a.editOrder(id, func(st *state, o *order, _ time.Time) error {
		if st.locations[location] == nil {
			return unknown("location", location)
		}
		o.Location = location
		return nil
	})
}

// Confirm makes an order of a quote.
func (a *Account) Confirm(id int64) error {
	return a.editOrder(id, func(_ *state, o *order, _ time.Time) error {
		if o.Status == "PENDING" {
			o.Status = "NOT_SHIPPED"
		}
		o.Initial = "NOT_SHIPPED"
		return nil
	})
}

// DeleteOrder deletes an order. What was fulfilled of it comes back into stock.
func (a *Account) DeleteOrder(id int64) error {
	return a.do(func(st *state, now time.Time) error {
		o := st.orders[id]
		if o == nil || o.Deleted != nil {
			return unknown("order", id)
		}
		for _, f := range st.fulfilled {
			if f.Order == id {
				a.undo(st, o, f, now)
			}
		}
		o.Deleted, o.Updated = &now, now
		a.emit("sales_order.deleted", "sales_order", id, o.Status, now)
		return nil
	})
}

// Pack packs an order: of each row what quantities says, in order of the rows, or all that is outstanding when
// none is given. What is packed leaves the stock.
func (a *Account) Pack(id int64, quantities ...Quantity) error {
	return a.fulfill(id, "PACKED", quantities)
}

// Deliver is like Pack; what was packed before is delivered without moving the stock again.
func (a *Account) Deliver(id int64, quantities ...Quantity) error {
	return a.fulfill(id, "DELIVERED", quantities)
}

func (a *Account) fulfill(id int64, status string, quantities []Quantity) error {
	return a.do(func(st *state, now time.Time) error {
		o := st.orders[id]
		if o == nil || o.Deleted != nil {
			return unknown("order", id)
		}
		if status == "DELIVERED" && len(quantities) == 0 {
			for _, f := range st.fulfilled {
				if f.Order == id {
					f.Status = "DELIVERED"
				}
			}
		}
		a.take(st, o, status, quantities, now)
		before := o.Status
		st.restate(o)
		if before != o.Status || !a.behaviour.SilentFulfillments {
			o.Updated = now
		}
		if before != o.Status {
			a.orderEvent(st, o, "updated", now)
			if o.Status == status {
				a.emit("sales_order."+map[string]string{"PACKED": "packed", "DELIVERED": "delivered"}[status], "sales_order", id, o.Status, now)
			}
		}
		return nil
	})
}

// take takes what is fulfilled of an order from the stock.
func (a *Account) take(st *state, o *order, status string, quantities []Quantity, now time.Time) {
	done := st.done(o.ID)
	f := &fulfillment{Order: o.ID, Status: status, Picked: now}
	for i, r := range o.Rows {
		q := max(0, r.Quantity-done[r.ID])
		if len(quantities) > 0 {
			q = 0
			if i < len(quantities) {
				q = quantities[i]
			}
		}
		if q > 0 {
			f.Rows = append(f.Rows, fulfilledRow{Row: r.ID, Quantity: q})
			a.ship(st, o, r, -q, now)
		}
	}
	if len(f.Rows) == 0 {
		return
	}
	f.ID = st.id()
	for i := range f.Rows {
		f.Rows[i].ID = f.ID*10 + int64(i)
	}
	st.fulfilled[f.ID] = f
	o.Picked = &now
}

// Unpack takes back all that was fulfilled of an order.
func (a *Account) Unpack(id int64) error {
	return a.editOrder(id, func(st *state, o *order, now time.Time) error {
		for _, f := range st.fulfilled {
			if f.Order == id {
				a.undo(st, o, f, now)
			}
		}
		st.restate(o)
		return nil
	})
}

// ship moves the stock for part of a row; a kit's parts go instead of the kit.
func (a *Account) ship(st *state, o *order, r row, change Quantity, now time.Time) {
	v := st.variants[r.Variant]
	if !st.items[v.Item].Kit {
		a.move(st, cell{r.Variant, o.at(r)}, change, "SalesOrderRow", o.No, now)
		return
	}
	for _, b := range st.bom {
		if b.Product == r.Variant {
			a.move(st, cell{b.Ingredient, o.at(r)}, change.times(b.PerUnit), "SalesOrderRow", o.No, now)
		}
	}
}

func (a *Account) undo(st *state, o *order, f *fulfillment, now time.Time) {
	for _, fr := range f.Rows {
		for _, r := range o.Rows {
			if r.ID == fr.Row {
				a.ship(st, o, r, fr.Quantity, now)
			}
		}
	}
	delete(st.fulfilled, f.ID)
}

// restate gives an order the status its fulfilments make.
func (st *state) restate(o *order) {
	done, whole, some := st.done(o.ID), true, false
	for _, r := range o.Rows {
		whole = whole && done[r.ID] >= r.Quantity
		some = some || done[r.ID] > 0
	}
	delivered, all := false, true
	for _, f := range st.fulfilled {
		if f.Order == o.ID {
			delivered = delivered || f.Status == "DELIVERED"
			all = all && f.Status == "DELIVERED"
		}
	}
	switch {
	case !some:
		o.Status = o.Initial
	case whole && all:
		o.Status = "DELIVERED"
	case whole && !delivered:
		o.Status = "PACKED"
	case delivered:
		o.Status = "PARTIALLY_DELIVERED"
	default:
		o.Status = "PARTIALLY_PACKED"
	}
}

// Make opens a manufacturing order by the product's recipe and returns its id. A recipe given here replaces it.
func (a *Account) Make(variant, location int64, planned Quantity, recipe map[int64]Quantity) int64 {
	var id int64
	_ = a.do(func(st *state, now time.Time) error {
		id = st.id()
		m := &manufacturing{ID: id, No: fmt.Sprintf("MO-%d", len(st.making)+1), Variant: variant, Location: location, Planned: planned, Created: now, Updated: now}
		for _, b := range st.bom {
			if b.Product == variant && recipe == nil {
				m.Rows = append(m.Rows, recipeRow{st.id(), b.Ingredient, b.PerUnit})
			}
		}
		for ingredient, per := range recipe {
			m.Rows = append(m.Rows, recipeRow{st.id(), ingredient, per})
		}
		st.making[id] = m
		a.emit("manufacturing_order.created", "manufacturing_order", id, m.status(), now)
		return nil
	})
	return id
}

// Finish completes so many of a manufacturing order: the product comes into stock, its parts go.
func (a *Account) Finish(id int64, q Quantity) error {
	return a.do(func(st *state, now time.Time) error {
		m := st.making[id]
		if m == nil || m.Deleted != nil {
			return unknown("manufacturing order", id)
		}
		q = min(q, m.Planned-m.Done)
		m.Done += q
		m.Updated = now
		a.move(st, cell{m.Variant, m.Location}, q, "Production", m.No, now)
		for _, r := range m.Rows {
			a.move(st, cell{r.Variant, m.Location}, -q.times(r.PerUnit), "ProductionIngredient", m.No, now)
		}
		what := "updated"
		if m.Done >= m.Planned {
			what = "done"
		}
		a.emit("manufacturing_order."+what, "manufacturing_order", id, m.status(), now)
		return nil
	})
}

// CancelMake deletes a manufacturing order.
func (a *Account) CancelMake(id int64) error {
	return a.do(func(st *state, now time.Time) error {
		m := st.making[id]
		if m == nil || m.Deleted != nil {
			return unknown("manufacturing order", id)
		}
		m.Deleted, m.Updated = &now, now
		a.emit("manufacturing_order.deleted", "manufacturing_order", id, m.status(), now)
		return nil
	})
}

// Purchase orders from a supplier and returns the order's id.
func (a *Account) Purchase(variant, location int64, q Quantity) int64 {
	var id int64
	_ = a.do(func(st *state, now time.Time) error {
		id = st.id()
		st.purchases[id] = &purchase{id, variant, location, q, 0}
		a.emit("purchase_order.created", "purchase_order", id, "NOT_RECEIVED", now)
		return nil
	})
	return id
}

// Receive takes in so much of a purchase order.
func (a *Account) Receive(id int64, q Quantity) error {
	return a.do(func(st *state, now time.Time) error {
		p := st.purchases[id]
		if p == nil {
			return unknown("purchase order", id)
		}
		p.Received += q
		a.move(st, cell{p.Variant, p.Location}, q, "PurchaseOrderRow", fmt.Sprintf("PO-%d", id), now)
		a.emit("purchase_order.updated", "purchase_order", id, "RECEIVED", now)
		return nil
	})
}

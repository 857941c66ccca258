package stock

import (
	"maps"
	"slices"
	"time"
)

// A source is a system that knows the stock without being a shop: an inventory or ERP system. It counts
// fractions, keeps stock per location, and holds open orders. What follows are the raw components it gives;
// what a shop is to show is a [SupplyPolicy]'s to say.

// Origin says where an order of a source was made.
type Origin string

// The origins. What a source does not tell counts as made in the source.
const (
	OriginUnknown     Origin = ""
	OriginSource      Origin = "Source"
	OriginWooCommerce Origin = "WooCommerce"
	OriginOther       Origin = "Other"
)

// OrderState says what an order does to stock.
type OrderState string

// The states of an order. The zero value is Open, which never promises too much.
const (
	// OrderOpen: what is outstanding of it is committed, and still part of what is on hand.
	OrderOpen OrderState = ""
	// OrderQuote: an offer; whether it counts is a policy.
	OrderQuote OrderState = "Quote"
	// OrderClosed: fulfilled, cancelled or deleted; it commits nothing.
	OrderClosed OrderState = "Closed"
)

// ShopOrder names an order as the shop knows it in which it was placed.
type ShopOrder struct{ Shop, ID string }

// ImportedOrder is a shop's order that a source has, with the items of its rows; none where it does not tell them.
type ImportedOrder struct {
	Order ShopOrder
	Items []string
}

// SourceOrder is an order in a source: ids, dates and amounts, nothing of the customer.
type SourceOrder struct {
	ID    string
	State OrderState
	// Partly: some of it is fulfilled. What is fulfilled can move without Modified moving.
	Partly bool
	Origin Origin
	// Imported is the shop's order it stands for; zero where there is none.
	Imported ShopOrder
	// Modified is on the source's clock.
	Modified time.Time
	// Rows are there for closed orders, too: one that came and went at once has moved the stock.
	Rows []SourceRow
}

// SourceRow is one row of an order: an item itself, never the parts it is made of.
type SourceRow struct {
	ID, Item, Location  string
	Quantity, Fulfilled Amount
}

// Outstanding is what is not fulfilled yet, never below zero.
func (r SourceRow) Outstanding() Amount {
	left := r.Quantity.Minus(r.Fulfilled)
	if left.Valid() && left.Cmp(Amount{}) < 0 {
		return Amount{}
	}
	return left
}

// SourceItem is something a source keeps stock of.
type SourceItem struct {
	// ID is the source's own, opaque; SKU as spelled there, empty where there is none.
	ID, SKU           string
	Created, Modified time.Time
	// Gone: deleted or archived.
	Gone bool
}

// SourceLocation is a place where a source keeps stock.
type SourceLocation struct {
	ID, Name string
	// Gone: deleted; what is mapped to it must not be written any more.
	Gone bool
}

// Level is what a source says of one item at one location.
type Level struct {
	Item, Location string
	// Absent: the source has no such row; its amounts are zero.
	Absent bool
	OnHand Amount
	// Committed is the source's own figure, for comparison only; HasCommitted that it has one. Incoming is
	// what is on its way, Available a figure the vendor makes himself; both for people.
	Committed    Amount
	HasCommitted bool
	Incoming     Amount
	Available    Amount
	HasAvailable bool
}

// Demand is what open orders hold of one item at one location in their own rows, split as policies need it.
type Demand struct {
	WooCommerce, Elsewhere             Amount
	QuotedWooCommerce, QuotedElsewhere Amount
}

// Open is the demand of all open orders, without quotes.
func (d Demand) Open() Amount { return d.WooCommerce.Plus(d.Elsewhere) }

// CommittedOrders says which open orders lower what a shop shows.
type CommittedOrders string

// The choices, with Katana's names for what the first counts: all open orders, or only those that came from
// WooCommerce, whichever shop. What is left out lowers the stock when it is fulfilled.
const (
	CommittedAll             CommittedOrders = "All"
	CommittedWooCommerceOnly CommittedOrders = "WooCommerceOnly"
)

// SupplyPolicy is how a shop's number is made from the components of a source. The zero value counts all
// open orders and no quotes.
type SupplyPolicy struct {
	// Committed is CommittedAll when empty.
	Committed CommittedOrders
	// Quotes: quotes count like orders.
	Quotes bool
	// Rounding is RoundDown when empty.
	Rounding Rounding
	// Zero: what is below zero is shown as zero.
	Zero bool
	// Available: where the source says how much could be put together from parts, that is the number.
	Available bool
}

// Rounding says how a fraction of a unit is shown.
type Rounding string

// The ways of rounding; the first is what an empty one means. RoundNearest takes a half away from zero.
const (
	RoundDown    Rounding = "Down"
	RoundNearest Rounding = "Nearest"
	RoundUp      Rounding = "Up"
)

// Counted is the part of the demand that lowers what the shop shows.
func (p SupplyPolicy) Counted(d Demand) Amount {
	n := d.WooCommerce
	if p.Quotes {
		n = n.Plus(d.QuotedWooCommerce)
	}
	if p.Committed == CommittedWooCommerceOnly {
		return n
	}
	n = n.Plus(d.Elsewhere)
	if p.Quotes {
		n = n.Plus(d.QuotedElsewhere)
	}
	return n
}

// Synced is what the shop is to show, exactly: on hand less what counts, or what could be put together. Below zero it
// stays as it is.
func (p SupplyPolicy) Synced(s Supply) Amount {
	if p.Available && s.Level.HasAvailable {
		return s.Level.Available
	}
	return s.Level.OnHand.Minus(p.Counted(s.Demand))
}

// Whole is Synced in whole units, rounded; false if there is no such number.
func (p SupplyPolicy) Whole(s Supply) (int64, bool) {
	n := p.Synced(s)
	switch negative := n.Cmp(Amount{}) < 0; {
	case p.Rounding == RoundUp || p.Rounding == RoundNearest && negative:
		if p.Rounding == RoundNearest {
			n = n.Minus(Amount{one / 2})
		}
		// The smallest whole number that is not below n.
		up, ok := Amount{}.Minus(n).Floor()
		return -up, ok
	case p.Rounding == RoundNearest:
		n = n.Plus(Amount{one / 2})
	}
	return n.Floor()
}

// Clamp is a number as the shop is to show it.
func (p SupplyPolicy) Clamp(units int64) int64 {
	if p.Zero {
		return max(0, units)
	}
	return units
}

// Supply is what is known of one item at one location at one moment.
type Supply struct {
	Level  Level
	Demand Demand
	// At is when it was read, on the source's clock.
	At time.Time
}

// Parts is what the source's own figure commits beyond the rows counted here: demand for parts of kits and
// subassemblies. Below zero the figures cannot be from one moment.
func (s Supply) Parts() Amount { return s.Level.Committed.Minus(s.Demand.Open()) }

// Doubt says why a reading is not to be used yet.
type Doubt string

// The doubts about a reading. Of these only DoubtUnmoved may be the truth after all, if it stays.
const (
	NoDoubt Doubt = ""
	// DoubtUnusable: an amount that cannot be computed with.
	DoubtUnusable Doubt = "a quantity is missing, is no decimal number, or is too large to be computed with"
	// DoubtLess: the source commits less than its open orders hold.
	DoubtLess Doubt = "the source commits less than its open orders hold: they were not read at one moment"
	// DoubtUnmoved: the orders moved and the source's own figure did not move with them.
	DoubtUnmoved Doubt = "open orders changed, and the source's own committed figure did not change by as much"
	// DoubtVanished: a row that was there is not there any more. Items and locations that are deleted or hidden
	// look so, and none of them means zero: whether the item is still there is asked elsewhere.
	DoubtVanished Doubt = "the source had a stock row for this item and location and has none now"
)

// Stays tells whether the reading may be used once it has been the same for a while.
func (d Doubt) Stays() bool { return d == DoubtUnmoved }

// Judge says what speaks against using a reading, given the last one used of the same item and location; nil
// where there is none. The source's own committed figure is used for nothing else.
func (s Supply) Judge(before *Supply) Doubt {
	for _, a := range []Amount{s.Level.OnHand, s.Level.Committed, s.Demand.Open(), s.Demand.QuotedWooCommerce.Plus(s.Demand.QuotedElsewhere)} {
		if !a.Valid() {
			return DoubtUnusable
		}
	}
	switch {
	case s.Level.HasCommitted && s.Parts().Cmp(Amount{}) < 0:
		return DoubtLess
	case before == nil:
		return NoDoubt
	case s.Level.Absent && !before.Level.Absent:
		return DoubtVanished
	case s.Level.HasCommitted && before.Level.HasCommitted && s.Demand.Open() != before.Demand.Open() && s.Parts() != before.Parts():
		return DoubtUnmoved
	}
	return NoDoubt
}

// Same tells whether two readings give the same numbers, whatever their time.
func (s Supply) Same(o Supply) bool { return s.Level == o.Level && s.Demand == o.Demand }

// OpenOrders mirrors the open orders of a source, so that only what changes is read. The zero value is empty
// and ready. It is not safe for concurrent use.
type OpenOrders struct {
	orders map[string]SourceOrder
	// holding are the orders with a row of an item.
	holding map[string]map[string]struct{}
	// imported are the orders of shops, with those closed a while ago.
	imported map[ShopOrder]string
	// moved is when an order last changed what is held of an item.
	moved map[string]time.Time
	// news are the imported orders that were put in since they were last asked for.
	news []ImportedOrder
}

// Put takes in one order and returns the items whose demand it may have changed: those of its rows before and
// after, so that a removed row counts, too. They are returned for every newer version, the same numbers or not:
// what was fulfilled and taken back moved the stock in between. An older version than the known one is left aside.
// at is when it was read, on the source's clock.
func (m *OpenOrders) Put(o SourceOrder, at time.Time) []string {
	if m.orders == nil {
		m.orders, m.holding = map[string]SourceOrder{}, map[string]map[string]struct{}{}
		m.imported, m.moved = map[ShopOrder]string{}, map[string]time.Time{}
	}
	old, known := m.orders[o.ID]
	if known && o.Modified.Before(old.Modified) {
		return nil
	}
	if known && o.Modified.Equal(old.Modified) && (old.same(o) || old.State == OrderClosed && o.State == OrderClosed) {
		return nil
	}
	touched := map[string]struct{}{}
	if items := o.items(); o.Imported != (ShopOrder{}) && (!known || len(items) > 0) {
		m.news = append(m.news, ImportedOrder{o.Imported, items})
	}
	if o.State == OrderClosed {
		// It holds nothing, but may have come and gone since the last reading, and moved the stock.
		for _, r := range o.Rows {
			touched[r.Item] = struct{}{}
		}
		o.Rows, o.Partly = nil, false
	}
	for _, r := range old.Rows {
		touched[r.Item] = struct{}{}
		delete(m.holding[r.Item], o.ID)
		if len(m.holding[r.Item]) == 0 {
			delete(m.holding, r.Item)
		}
	}
	for _, r := range o.Rows {
		touched[r.Item] = struct{}{}
		if m.holding[r.Item] == nil {
			m.holding[r.Item] = map[string]struct{}{}
		}
		m.holding[r.Item][o.ID] = struct{}{}
	}
	if known && old.Imported != o.Imported {
		delete(m.imported, old.Imported)
	}
	if o.Imported != (ShopOrder{}) {
		m.imported[o.Imported] = o.ID
	}
	if o.Modified.After(old.Modified) {
		at = o.Modified
	}
	for item := range touched {
		if at.After(m.moved[item]) {
			m.moved[item] = at
		}
	}
	o.Rows = slices.Clone(o.Rows)
	m.orders[o.ID] = o
	return slices.Sorted(maps.Keys(touched))
}

// items are those of the rows, each once.
func (o SourceOrder) items() []string {
	var items []string
	for _, r := range o.Rows {
		if !slices.Contains(items, r.Item) {
			items = append(items, r.Item)
		}
	}
	return items
}

// same tells whether two versions hold the same stock.
func (o SourceOrder) same(p SourceOrder) bool {
	return o.State == p.State && o.Partly == p.Partly && o.Origin == p.Origin && o.Imported == p.Imported && slices.Equal(o.Rows, p.Rows)
}

// Load replaces all that is open by what a full reading found, and returns the items that differ. asOf is when
// that reading began; an order known in a later version stays.
func (m *OpenOrders) Load(orders []SourceOrder, asOf time.Time) []string {
	touched := map[string]struct{}{}
	found := map[string]struct{}{}
	for _, o := range orders {
		found[o.ID] = struct{}{}
		for _, item := range m.Put(o, asOf) {
			touched[item] = struct{}{}
		}
	}
	for id, o := range m.orders {
		if _, ok := found[id]; ok || o.State == OrderClosed || o.Modified.After(asOf) {
			continue
		}
		o.State = OrderClosed
		for _, item := range m.Put(o, asOf) {
			touched[item] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(touched))
}

// Prune forgets orders that were closed before a time.
func (m *OpenOrders) Prune(before time.Time) {
	maps.DeleteFunc(m.moved, func(_ string, at time.Time) bool { return at.Before(before) })
	for id, o := range m.orders {
		if o.State == OrderClosed && o.Modified.Before(before) {
			delete(m.orders, id)
			if m.imported[o.Imported] == id {
				delete(m.imported, o.Imported)
			}
		}
	}
}

// Len is the number of orders that are not closed.
func (m *OpenOrders) Len() int {
	n := 0
	for _, o := range m.orders {
		if o.State != OrderClosed {
			n++
		}
	}
	return n
}

// Demand is what orders hold of an item at a location.
func (m *OpenOrders) Demand(item, location string) Demand {
	var d Demand
	for id := range m.holding[item] {
		o := m.orders[id]
		sum := &d.Elsewhere
		switch {
		case o.State == OrderQuote && o.Origin == OriginWooCommerce:
			sum = &d.QuotedWooCommerce
		case o.State == OrderQuote:
			sum = &d.QuotedElsewhere
		case o.Origin == OriginWooCommerce:
			sum = &d.WooCommerce
		}
		for _, r := range o.Rows {
			if r.Item == item && r.Location == location {
				*sum = sum.Plus(r.Outstanding())
			}
		}
	}
	return d
}

// Moved is when an order last changed what is held of an item, on the source's clock; zero when none did
// since it was pruned.
func (m *OpenOrders) Moved(item string) time.Time { return m.moved[item] }

// Partly are the partly fulfilled orders that hold any of the items, or any at all when none is named; sorted.
func (m *OpenOrders) Partly(items []string) []string {
	ids := map[string]struct{}{}
	if len(items) == 0 {
		for id, o := range m.orders {
			if o.Partly {
				ids[id] = struct{}{}
			}
		}
	}
	for _, item := range items {
		for id := range m.holding[item] {
			if m.orders[id].Partly {
				ids[id] = struct{}{}
			}
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

// Imports are the imported orders that were put in since the last call, each version of them.
func (m *OpenOrders) Imports() []ImportedOrder {
	news := m.news
	m.news = nil
	return news
}

// Imported tells whether the source has an order for this order of a shop, open or closed.
func (m *OpenOrders) Imported(o ShopOrder) bool {
	_, ok := m.imported[o]
	return ok
}

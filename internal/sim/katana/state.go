package katana

import (
	"maps"
	"slices"
	"time"
)

type location struct {
	ID               int64
	Name             string
	Manufacturing    bool
	Primary          bool
	Created, Updated time.Time
	Deleted          *time.Time
}

// item is a product or a material.
type item struct {
	ID               int64
	Name             string
	Material, Kit    bool
	Archived         *time.Time
	Created, Updated time.Time
}

type variant struct {
	ID, Item         int64
	SKU              *string
	Created, Updated time.Time
	Deleted          *time.Time
}

// cell is where a level is kept.
type cell struct{ Variant, Location int64 }

type level struct{ InStock, Safety Quantity }

type order struct {
	ID                        int64
	No, Source                string
	Location                  int64
	Status                    string
	Platform, Shop, ShopOrder *string
	Created, Updated          time.Time
	Deleted, Picked           *time.Time
	Rows                      []row
	// Status before fulfilment: NOT_SHIPPED or PENDING.
	Initial string
}

type row struct {
	ID, Variant      int64
	Quantity         Quantity
	Location         *int64
	Created, Updated time.Time
}

type fulfillment struct {
	ID, Order int64
	Status    string
	Picked    time.Time
	Rows      []fulfilledRow
}

type fulfilledRow struct {
	ID, Row  int64
	Quantity Quantity
}

type bomRow struct {
	ID                  string
	Product, Ingredient int64
	PerUnit             Quantity
	Rank                int
	Created             time.Time
}

type manufacturing struct {
	ID               int64
	No               string
	Variant          int64
	Location         int64
	Planned, Done    Quantity
	Created, Updated time.Time
	Deleted          *time.Time
	Rows             []recipeRow
}

type recipeRow struct {
	ID, Variant int64
	PerUnit     Quantity
}

type purchase struct {
	ID, Variant, Location int64
	Ordered, Received     Quantity
}

type movement struct {
	ID              int64
	Cell            cell
	Change, Balance Quantity
	Type, Cause     string
	At              time.Time
}

// state is all of an account's data.
type state struct {
	next      int64
	locations map[int64]*location
	items     map[int64]*item
	variants  map[int64]*variant
	levels    map[cell]*level
	orders    map[int64]*order
	fulfilled map[int64]*fulfillment
	bom       []bomRow
	making    map[int64]*manufacturing
	purchases map[int64]*purchase
	movements []movement
}

func newState() *state {
	return &state{
		next: 1000, locations: map[int64]*location{}, items: map[int64]*item{}, variants: map[int64]*variant{}, levels: map[cell]*level{},
		orders: map[int64]*order{}, fulfilled: map[int64]*fulfillment{}, making: map[int64]*manufacturing{}, purchases: map[int64]*purchase{},
	}
}

func copies[K comparable, V any](m map[K]*V) map[K]*V {
	out := make(map[K]*V, len(m))
	for k, v := range m {
		c := *v
		out[k] = &c
	}
	return out
}

// frozen is a copy that later changes leave alone.
func (st *state) frozen() *state {
	f := *st
	f.locations, f.items, f.variants, f.levels = copies(st.locations), copies(st.items), copies(st.variants), copies(st.levels)
	f.orders, f.fulfilled, f.making, f.purchases = copies(st.orders), copies(st.fulfilled), copies(st.making), copies(st.purchases)
	for _, o := range f.orders {
		o.Rows = slices.Clone(o.Rows)
	}
	f.bom, f.movements = slices.Clone(st.bom), slices.Clone(st.movements)
	return &f
}

func (st *state) id() int64 {
	st.next++
	return st.next
}

// sorted are the values of a map by id, newest first.
func sorted[V any](m map[int64]*V) []*V {
	ids := slices.Sorted(maps.Keys(m))
	slices.Reverse(ids)
	out := make([]*V, len(ids))
	for i, id := range ids {
		out[i] = m[id]
	}
	return out
}

func (o *order) at(r row) int64 {
	if r.Location != nil {
		return *r.Location
	}
	return o.Location
}

func (o *order) open(quotes bool) bool {
	switch o.Status {
	case "NOT_SHIPPED", "PARTIALLY_PACKED", "PARTIALLY_DELIVERED":
		return o.Deleted == nil
	case "PENDING":
		return quotes && o.Deleted == nil
	}
	return false
}

func (m *manufacturing) open() bool { return m.Deleted == nil && m.Done < m.Planned }

func (m *manufacturing) status() string {
	switch {
	case m.Done >= m.Planned:
		return "DONE"
	case m.Done > 0:
		return "PARTIALLY_COMPLETED"
	}
	return "NOT_STARTED"
}

// done is how much of each row of an order is fulfilled.
func (st *state) done(order int64) map[int64]Quantity {
	sum := map[int64]Quantity{}
	for _, f := range st.fulfilled {
		if f.Order != order {
			continue
		}
		for _, r := range f.Rows {
			sum[r.Row] += r.Quantity
		}
	}
	return sum
}

// figures are what an account shows beside the stock itself.
type figures struct {
	st                  *state
	committed, expected map[cell]Quantity
	// whole holds committed with the parts of what is neither in stock nor expected.
	whole map[cell]Quantity
	users map[int64][]bomRow // by ingredient
	parts map[int64][]bomRow // by product
}

func (st *state) figures(quotes bool) *figures {
	f := &figures{st: st, committed: map[cell]Quantity{}, expected: map[cell]Quantity{}, whole: map[cell]Quantity{}, users: map[int64][]bomRow{}, parts: map[int64][]bomRow{}}
	done := map[int64]Quantity{}
	for _, ff := range st.fulfilled {
		for _, r := range ff.Rows {
			done[r.Row] += r.Quantity
		}
	}
	for _, o := range st.orders {
		if !o.open(quotes) {
			continue
		}
		for _, r := range o.Rows {
			f.committed[cell{r.Variant, o.at(r)}] += max(0, r.Quantity-done[r.ID])
		}
	}
	for _, m := range st.making {
		if !m.open() {
			continue
		}
		left := m.Planned - m.Done
		f.expected[cell{m.Variant, m.Location}] += left
		for _, r := range m.Rows {
			f.committed[cell{r.Variant, m.Location}] += left.times(r.PerUnit)
		}
	}
	for _, p := range st.purchases {
		f.expected[cell{p.Variant, p.Location}] += max(0, p.Ordered-p.Received)
	}
	for _, b := range st.bom {
		f.users[b.Ingredient] = append(f.users[b.Ingredient], b)
		f.parts[b.Product] = append(f.parts[b.Product], b)
	}
	return f
}

func (f *figures) level(c cell) level {
	if l := f.st.levels[c]; l != nil {
		return *l
	}
	return level{}
}

// total is all that is committed of a cell.
func (f *figures) total(c cell) Quantity {
	if q, ok := f.whole[c]; ok {
		return q
	}
	f.whole[c] = f.committed[c] // what a circle of recipes would find
	sum := f.committed[c]
	for _, b := range f.users[c.Variant] {
		if b.Product == c.Variant {
			continue
		}
		above := cell{b.Product, c.Location}
		short := f.total(above) - max(0, f.level(above).InStock) - f.expected[above]
		sum += max(0, short).times(b.PerUnit)
	}
	f.whole[c] = sum
	return sum
}

// potential is how many could be made of the parts that are free; nil for what is not made.
func (f *figures) potential(c cell) *Quantity {
	var least *Quantity
	for _, b := range f.parts[c.Variant] {
		if b.PerUnit <= 0 {
			continue
		}
		part := cell{b.Ingredient, c.Location}
		free := max(0, f.level(part).InStock-f.total(part))
		n := Quantity(int64(free) / int64(b.PerUnit) * 100_000)
		if least == nil || n < *least {
			least = &n
		}
	}
	return least
}

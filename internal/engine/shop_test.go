package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

// shop is a WooCommerce store as measured (docs/algebra.md): orders change the stock atomically, relative
// writes read, pause and set, the marker is committed before the quantity, lists read quantities first and
// markers later, and a request goes on after its client gave up.
type shop struct {
	w      *world
	id     string
	items  map[int64]*item
	orders map[int64]*order
	nextID int64
	down   bool
	// blind refuses to list orders: the key may not read them.
	blind bool
	// own are the changes the shop made by itself, the truth the pool is compared with.
	own []change
	// died are the pushes that ended between their marker and their quantity.
	died []change
	// lost are the changes that pushes wrote over.
	lost []overwritten
	// slowLines delays `_reduced_stock` by this much.
	slowLines time.Duration
	backup    *shop
	// restoredAt is when the shop was restored from its backup: what it did in the moments before, which
	// nobody read, left no evidence anywhere.
	restoredAt, unreadFrom, ordersRead time.Time
	served                             requests
	// jammed is until when writes wait for a lock.
	jammed time.Time
	// slowWrites is how much longer each item of a write takes, refuses answers instead of the shop, unless it is nil
	// or returns nil; dead never answers.
	slowWrites time.Duration
	refuses    func() *engine.Fault
	dead       bool
	// calls are when the shop was asked for anything, pushed the objects of each write that was sent to it.
	calls  []time.Time
	pushed [][]int64
	// plug is set where the plugin is the only way in.
	plug *plug
	// ignores: the shop keeps markers and leaves quantities alone, as one does that knows no relative updates.
	ignores bool
	// names, when set, is what the shop makes of a name it is sent.
	names func(string) string
	// wrote, when set, is told of each quantity that a write of ours left.
	wrote func(*item)
	// givenBack are the units per order that were given back before the restore, and are not any more.
	givenBack map[int64]int64
}

// requests counts what a shop was asked.
type requests struct{ catalogue, modified, read, orders, trash int }

type item struct {
	ref      stock.Ref
	sku      string
	gid      string
	quantity int64
	markers  stock.Markers
	// pushed is what came with each marker, and when.
	pushed [stock.Slots]change
	// created is when the item was made.
	created, modified time.Time
	// fields are what the item says of backorders and low stock, unread what it said before a write of ours of which
	// the agent did not hear yet, heard what an agent was last told.
	fields, unread, heard stock.Values
	deleted               bool
}

func (it *item) skus() []string {
	if it.sku == "" {
		return nil
	}
	return []string{it.sku}
}

// reading is the item as a driver tells it, without its markers.
func (it *item) reading() engine.Item {
	return engine.Item{Ref: it.ref, SKUs: it.skus(), GID: it.gid, Managed: engine.Own, Quantity: it.quantity, Created: it.created, Modified: it.modified,
		Backorders: it.fields[stock.Backorders], LowStockAmount: stock.LowStockAmount(it.fields[stock.LowStock])}
}

// choice is a field that a person set in a shop, read when the shop first told an agent of it. It is lost where our
// write came over it before that, or where it undid what the agent did not hear yet: a write, or another choice.
type choice struct {
	at     time.Time
	read   time.Time
	store  string
	object int64
	field  stock.Field
	value  string
	lost   bool
}

// choose sets a field as a person does.
func (s *shop) choose(object int64) {
	f, values := stock.Backorders, []string{"no", "notify", "yes"}
	if s.w.rng.IntN(2) == 0 {
		f, values = stock.LowStock, []string{stock.None, "0", "2", "5"}
	}
	it, value, n := s.items[object], values[s.w.rng.IntN(len(values))], 0
	for _, c := range s.w.choices {
		if c.object == object && c.field == f {
			n++
		}
	}
	if n >= 6 || it.fields[f] == value {
		return // more would be taken for programs that undo each other
	}
	it.fields[f], it.modified = value, second(s.w.now)
	if it.heard[f] == value {
		for _, c := range s.w.choices {
			c.lost = c.lost || c.store == s.id && c.object == object && c.field == f && c.read.IsZero()
		}
	}
	s.w.choices = append(s.w.choices, &choice{at: s.w.now, store: s.id, object: object, field: f, value: value,
		lost: it.unread[f] == value || it.heard[f] == value})
	s.w.meet("choice", s)
}

// told notes that an agent heard what the shop's items were at a time.
func (s *shop) told(items []engine.Item, at time.Time) {
	for _, c := range s.w.choices {
		if c.store == s.id && c.read.IsZero() && !c.at.After(at) && slices.ContainsFunc(items, func(i engine.Item) bool { return i.Ref.Object() == c.object }) {
			c.read = at
		}
	}
	for _, i := range items {
		it := s.items[i.Ref.Object()]
		it.unread, it.heard = stock.Values{}, stock.Values{stock.Backorders: i.Backorders, stock.LowStock: stock.LowStockValue(i.LowStockAmount)}
	}
}

// write is ours, and may come over a choice that nobody read.
func (s *shop) write(it *item, fields stock.Values) {
	for f, value := range fields {
		if value == "" || it.fields[f] == value {
			continue
		}
		for _, c := range s.w.choices {
			if c.store == s.id && c.object == it.ref.Object() && c.field == stock.Field(f) && c.read.IsZero() {
				c.lost = true
				s.w.meet("choice overwritten", s)
			}
		}
		it.fields[f], it.unread[f] = value, it.fields[f]
	}
}

type order struct {
	id                int64
	created, modified time.Time
	object            int64
	units, reduced    int64
	trashed           bool
}

type change struct {
	at     time.Time
	object int64
	delta  int64
	edit   bool
	// over is when a whole number was written over it before it was read.
	over time.Time
}

// overwritten is what changed while a push was being written, and the units of the push.
type overwritten struct {
	change
	push int64
}

func second(t time.Time) time.Time { return t.Truncate(time.Second) }

func (s *shop) sorted() []*item {
	var out []*item
	for _, it := range s.items {
		if !it.deleted {
			out = append(out, it)
		}
	}
	slices.SortFunc(out, func(a, b *item) int { return int(a.ref.Object() - b.ref.Object()) })
	return out
}

// holder is the item that has a SKU; nil if none has.
func (s *shop) holder(sku string) *item {
	for _, it := range s.sorted() {
		if sku != "" && stock.KeyOf(it.sku) == stock.KeyOf(sku) {
			return it
		}
	}
	return nil
}

// rename gives an item another SKU as a person does, in a shop that refuses one that is in use.
func (s *shop) rename(object int64, sku string) bool {
	if s.holder(sku) != nil {
		return false
	}
	it := s.items[object]
	it.sku, it.modified = sku, second(s.w.now)
	s.w.meet("renaming", s)
	return true
}

// erased tells whether nothing is left of a change after the restore.
func (s *shop) erased(c change) bool {
	return !s.restoredAt.IsZero() && c.at.After(s.unreadFrom.Add(-time.Second)) && c.at.Before(s.restoredAt.Add(time.Second))
}

func (s *shop) moved(it *item, delta int64, edit bool) {
	it.modified = second(s.w.now)
	if s.w.tell {
		fmt.Printf("%s %s %s: %+d on its own\n", s.w.now.Format("15:04:05.000"), s.id, it.sku, delta)
	}
	c := change{at: s.w.now, object: it.ref.Object(), delta: delta, edit: edit}
	s.own = append(s.own, c)
	if !edit {
		return
	}
	for _, d := range s.died {
		if d.object == c.object && d.delta == delta && c.at.Sub(d.at) < 2*time.Minute {
			// The marker is there, and so are its units now: it looks as if the push had arrived after all.
			s.w.meet("edit like a push that died", s)
			s.w.unknowable[c.object] += max(delta, -delta)
			break
		}
	}
}

// edits are the units that people added to an item within a while.
func (s *shop) edits(object int64, after, until time.Time) (units int64) {
	for _, c := range s.own {
		if c.edit && c.object == object && c.at.After(after) && !c.at.After(until) {
			units += c.delta
		}
	}
	return units
}

// undone are the units of losses that people undid before they were judged: the shelf was again what orders and pushes
// make it, with the push that overwrote or without it.
func (s *shop) undone(object int64) (units int64) {
	const while = 10 * time.Minute
	for _, l := range s.lost {
		if l.object != object {
			continue
		}
		var sums []int64 // of the edits in a row that end with the last one
		for _, c := range s.own {
			if !c.edit || c.object != object || c.at.Sub(l.at).Abs() > while {
				continue
			}
			sums = append(sums, 0)
			for i := range sums {
				sums[i] += c.delta
			}
			if slices.Contains(sums, l.delta) || l.delta != l.push && slices.Contains(sums, l.delta-l.push) {
				s.w.meet("edits like a loss", s)
				units += max(l.delta, -l.delta)
				break
			}
		}
	}
	return units
}

// mixed is how far a row of an edit is from what people did where it is what was left of a loss and edits that came
// before the loss was judged. A push that was void by then and came after all adds its own units to what was lost.
func (s *shop) mixed(object int64, r ledger.Row) int64 {
	for _, l := range s.lost {
		edits := s.edits(object, l.at, r.At)
		if l.object == object && l.at.Before(r.At) && edits != 0 && (r.Units == edits-l.delta || r.Units == edits-l.delta+l.push) {
			s.w.meet("edits on a loss", s)
			return max(edits-r.Units, r.Units-edits)
		}
	}
	return 0
}

// sell places an order; its stock falls a little later, and the line says so later still.
func (s *shop) sell(object, units int64) {
	s.nextID++
	o := &order{id: s.nextID, created: second(s.w.now), modified: second(s.w.now), object: object, units: units}
	s.orders[o.id] = o
	s.w.meet("sale", s)
	s.w.after(s.w.between(0, 150*time.Millisecond), func() { s.take(o, units) })
}

func (s *shop) take(o *order, units int64) {
	it := s.items[o.object]
	it.quantity -= units
	s.moved(it, -units, false)
	if s.plug != nil {
		s.plug.changed(o.object, "stock_set", "props_update")
		s.w.after(s.w.between(20*time.Millisecond, 80*time.Millisecond), func() { s.plug.changed(o.object, "order_processing") })
	}
	s.w.after(s.w.between(18*time.Millisecond, 32*time.Millisecond)+s.slowLines, func() { o.reduced += units })
}

// giveBack cancels or refunds units of an order that holds them.
func (s *shop) giveBack(o *order, units int64) {
	o.modified = second(s.w.now)
	s.w.meet("refund", s)
	if again := min(units, s.givenBack[o.id]); again > 0 {
		// Whether the same units are given back a second time, or the refund is only made again, nobody can know.
		s.givenBack[o.id] -= again
		s.w.unknowable[o.object] += again
	}
	s.w.after(s.w.between(0, 100*time.Millisecond), func() { s.take(o, -units) })
}

func (s *shop) trash(o *order) {
	o.trashed, o.modified = true, second(s.w.now)
	s.w.meet("trash", s)
}

// edit sets the quantity as a person or a feed does.
func (s *shop) edit(object, to int64) bool {
	it := s.items[object]
	if it.quantity == to {
		return false
	}
	s.moved(it, to-it.quantity, true)
	it.quantity = to
	if s.plug != nil {
		s.plug.changed(object, "stock_set", "props_update")
	}
	s.w.meet("edit", s)
	return true
}

func (s *shop) snapshot() {
	b := &shop{items: map[int64]*item{}, orders: map[int64]*order{}}
	for id, it := range s.items {
		c := *it
		b.items[id] = &c
	}
	for id, o := range s.orders {
		c := *o
		b.orders[id] = &c
	}
	s.backup = b
}

func (s *shop) restore() {
	b := s.backup
	s.givenBack = map[int64]int64{}
	for id, o := range b.orders {
		s.givenBack[id] = max(0, o.reduced-s.orders[id].reduced)
	}
	s.snapshot()
	s.items, s.orders, s.backup = b.items, b.orders, nil
	s.restoredAt, s.unreadFrom = s.w.now, s.ordersRead
	s.w.meet("restore", s)
}

// link is one agent's way to a shop: an engine.Driver with a network in between.
type link struct {
	w *world
	s *shop
	a *agent
}

var errCut = &engine.Fault{Reason: "ServerError", Message: "the connection was cut"}

// call sends a request: serve runs at the shop when it arrives and calls reply when it is done there, maybe
// long after the caller gave up.
func (l *link) call(ctx context.Context, write bool, serve func(reply func())) (stock.Window, error) {
	w := l.w
	if ctx.Err() != nil {
		return stock.Window{}, &engine.Fault{Reason: "Cancelled", Unsent: true}
	}
	l.s.calls = append(l.s.calls, w.now)
	if l.s.refuses != nil {
		if f := l.s.refuses(); f != nil {
			l.wait(50 * time.Millisecond)
			return stock.Window{}, f
		}
	}
	if l.s.dead {
		l.wait(30 * time.Second)
		return stock.Window{}, errCut
	}
	if l.s.down || w.roll(w.faults.refuse) {
		w.meet("refused", l.s)
		l.wait(w.between(5*time.Millisecond, 50*time.Millisecond))
		return stock.Window{}, &engine.Fault{Reason: "Unreachable", Message: "connection refused", Unsent: true}
	}
	there, back := w.between(5*time.Millisecond, 60*time.Millisecond), w.between(5*time.Millisecond, 60*time.Millisecond)
	lostAnswer := w.roll(w.faults.cut)
	if write && w.roll(w.faults.late) {
		there = w.between(time.Second, 10*time.Minute)
		w.meet("late", l.s)
	}
	if write && l.s.jammed.After(w.now) {
		there = l.s.jammed.Sub(w.now)
		l.s.jammed = l.s.jammed.Add(500 * time.Millisecond)
	}
	if !write && w.roll(w.faults.slow) {
		there = w.between(time.Second, 20*time.Second)
	}
	began := w.now
	answered := false
	var date time.Time
	w.sched.block(func(wake func()) {
		w.after(there, func() {
			serve(func() {
				if lostAnswer {
					w.meet("answer lost", l.s)
					return
				}
				date = second(w.now)
				w.after(back, func() { answered = true; wake() })
			})
		})
		w.after(30*time.Second, wake)
	})
	if ctx.Err() != nil || !answered {
		return stock.Window{}, errCut
	}
	return stock.Window{From: date.Add(began.Sub(w.now)), To: date.Add(time.Second)}, nil
}

func (l *link) wait(d time.Duration) {
	l.w.sched.block(func(wake func()) { l.w.after(d, wake) })
}

// list reads all quantities at once and the markers row by row, later.
func (l *link) list(ctx context.Context, want func(*item) bool) (engine.Page, error) {
	var page engine.Page
	var served time.Time
	w, err := l.call(ctx, false, func(reply func()) {
		served = l.w.now
		pause := 60 * time.Millisecond
		for _, it := range l.s.sorted() {
			if !want(it) {
				continue
			}
			i := len(page.Items)
			page.Items = append(page.Items, it.reading())
			l.w.after(pause, func() { page.Items[i].Markers = it.markers })
			pause += time.Millisecond
		}
		l.w.after(pause, reply)
	})
	if err == nil {
		l.s.told(page.Items, served)
	}
	page.Window = w
	return page, err
}

func (l *link) Catalogue(ctx context.Context, _ string) (engine.Page, error) {
	l.s.served.catalogue++
	return l.list(ctx, func(*item) bool { return true })
}

func (l *link) Modified(ctx context.Context, since time.Time, _ string) (engine.Page, error) {
	l.s.served.modified++
	return l.list(ctx, func(it *item) bool { return it.modified.After(second(since)) })
}

func (l *link) Read(ctx context.Context, refs []stock.Ref) (engine.Page, error) {
	l.s.served.read++
	page, err := l.list(ctx, func(it *item) bool { return slices.Contains(refs, it.ref) })
	for _, ref := range refs {
		if !slices.ContainsFunc(page.Items, func(i engine.Item) bool { return i.Ref == ref }) && err == nil {
			page.Gone = append(page.Gone, ref)
		}
	}
	return page, err
}

func (l *link) Orders(ctx context.Context, q engine.OrderQuery) (engine.OrderPage, error) {
	l.s.served.orders++
	if q.Trashed {
		l.s.served.trash++
	}
	var page engine.OrderPage
	if l.s.blind {
		return page, &engine.Fault{Reason: engine.ReasonOrdersUnreadable, Message: "the key may not read orders"}
	}
	w, err := l.call(ctx, false, func(reply func()) {
		var ids []int64
		for id, o := range l.s.orders {
			if o.trashed == q.Trashed && ((q.IDs == nil && o.modified.After(second(q.Since))) || slices.Contains(q.IDs, id)) {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		if q.IDs == nil && !q.Trashed {
			l.s.ordersRead = l.w.now
		}
		for _, id := range ids {
			o := l.s.orders[id]
			page.Orders = append(page.Orders, engine.Order{ID: id, Created: o.created, Modified: o.modified,
				Lines: []engine.OrderLine{{ID: id, Product: o.object, Units: o.reduced}}})
		}
		l.w.after(40*time.Millisecond, reply)
	})
	page.Window = w
	return page, err
}

// Push runs the batch item by item: read, marker, date, quantity, with pauses between them.
func (l *link) Push(ctx context.Context, pushes []engine.Push) []engine.Result {
	results := make([]engine.Result, len(pushes))
	for i := range results {
		results[i].Err = errCut
	}
	death := -1
	if l.w.roll(l.w.faults.death) {
		death = l.w.rng.IntN(len(pushes))
	}
	if l.a.engine.DryRunning(l.s.id) {
		l.w.t.Errorf("%s was written to during a dry run", l.s.id)
	}
	l.w.writes = append(l.w.writes, write{l.w.now, l.s.id, l.a.ledgerID})
	var objects []int64
	for _, p := range pushes {
		objects = append(objects, p.Ref.Object())
	}
	l.s.pushed = append(l.s.pushed, objects)
	var answers []engine.Result
	w, err := l.call(ctx, true, func(reply func()) { l.serve(pushes, 0, death, &answers, reply) })
	if err != nil {
		var f *engine.Fault
		errors.As(err, &f)
		for i := range results {
			results[i].Err = f
		}
		return results
	}
	for i := range answers {
		answers[i].Window = w
		if it := answers[i].Item; it != nil {
			l.s.told([]engine.Item{*it}, it.Modified)
		}
	}
	return answers
}

func (l *link) serve(pushes []engine.Push, i, death int, answers *[]engine.Result, reply func()) {
	if i == len(pushes) {
		reply()
		return
	}
	p, w := pushes[i], l.w
	it := l.s.items[p.Ref.Object()]
	next := func() { l.serve(pushes, i+1, death, answers, reply) }
	if it == nil || it.deleted {
		*answers = append(*answers, engine.Result{Gone: true})
		w.after(5*time.Millisecond, next)
		return
	}
	if other := l.s.holder(p.Name); p.Name != "" && other != nil && other != it {
		// A SKU in use is refused before anything is saved.
		w.meet("SKU refused", l.s)
		*answers = append(*answers, engine.Result{Taken: true, Holder: other.ref.Object()})
		w.after(5*time.Millisecond, next)
		return
	}
	quantity, seen, read := it.quantity+p.Units, it.markers, w.now
	w.after(w.between(5*time.Millisecond, 15*time.Millisecond), func() {
		numbered := p.Marker.Attempt != 0
		writes := numbered && (p.Units != 0 || p.Fields[stock.Management] != "") && !l.s.ignores
		if old := it.markers[p.Slot]; numbered && old.Ledger != "" && old.Ledger != p.Marker.Ledger && w.now.Sub(it.pushed[p.Slot].at) < 10*time.Second {
			// Two agents write an item before either polled: whose marker is overwritten, the other one never sees.
			w.meet("another agent's marker overwritten", l.s)
			w.unknowable[p.Ref.Object()] += max(it.pushed[p.Slot].delta, -it.pushed[p.Slot].delta)
		}
		if numbered {
			it.pushed[p.Slot] = change{at: w.now, delta: p.Units}
			it.markers[p.Slot] = p.Marker
			seen[p.Slot] = p.Marker
		}
		l.s.write(it, p.Fields)
		if p.GID != "" {
			it.gid = p.GID
		}
		if i == death {
			w.meet("death", l.s)
			l.s.died = append(l.s.died, change{at: w.now, object: p.Ref.Object(), delta: p.Units})
			return
		}
		if p.Name != "" {
			// The SKU is written behind the date, unlike what is in meta data.
			it.sku = p.Name
			if l.s.names != nil {
				it.sku = l.s.names(p.Name)
			}
			w.meet("renamed", l.s)
		}
		lock := l.s.slowWrites
		if w.roll(w.faults.lock) {
			lock += w.between(time.Second, 99*time.Second)
			w.meet("lock", l.s)
		}
		modified := second(w.now)
		w.after(w.between(4*time.Millisecond, 10*time.Millisecond)+lock, func() {
			if racing := it.quantity + p.Units - quantity; racing != 0 && writes {
				w.meet("overwritten", l.s)
				l.s.lost = append(l.s.lost, overwritten{change{at: w.now, object: p.Ref.Object(), delta: racing}, p.Units})
			}
			for _, c := range l.s.own {
				if writes && c.edit && c.object == p.Ref.Object() && c.at.After(read) {
					// No order tells of an edit, so nobody can know of one that WooCommerce itself overwrote.
					w.meet("edit overwritten", l.s)
					w.unknowable[c.object] += max(c.delta, -c.delta)
				}
			}
			if modified.After(it.modified) {
				it.modified = modified
			}
			if writes {
				it.quantity = quantity
				if l.s.wrote != nil {
					l.s.wrote(it)
				}
			}
			answer := it.reading()
			answer.Markers, answer.Modified = seen, modified
			*answers = append(*answers, engine.Result{Item: &answer})
			w.after(2*time.Millisecond, next)
		})
	})
}

// Forget removes the markers.
func (l *link) Forget(ctx context.Context, refs []stock.Ref) error {
	_, err := l.call(ctx, true, func(reply func()) {
		for _, ref := range refs {
			if it := l.s.items[ref.Object()]; it != nil {
				it.markers = stock.Markers{}
			}
		}
		reply()
	})
	return err
}

var _ engine.Driver = (*link)(nil)

func ref(product int64) stock.Ref { return stock.Ref{Product: product} }

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

package stock_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

const ours = "ledger-a"

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fataler is what *testing.T and *rapid.T have in common.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// shelf is one item of one store under test. Quantity, markers and order lines are the shop's, written by the
// test; pool and placement are the algebra's, and every step checks what must hold after all of them.
type shelf struct {
	t    fataler
	pool *stock.Pool
	p    stock.Placement
	pol  stock.Policy
	now  *time.Time
	ids  *int64

	quantity int64
	markers  stock.Markers
	lines    []stock.Line
	// same and asked are what the shop says of the orders known.
	same, asked bool
	// swept is when orders were swept last; now, where it is zero.
	swept time.Time

	samples []stock.Sample
	log     []stock.Entry
}

// newShelf is an item that was never read, in a store of the pool.
func newShelf(t fataler, pool *stock.Pool, store string, pol stock.Policy, quantity int64) *shelf {
	now, ids := noon, int64(0)
	return &shelf{t: t, pool: pool, pol: pol, now: &now, ids: &ids, quantity: quantity, same: true, asked: true,
		p: stock.Placement{Store: store, Pool: pool.ID, SKU: "MUG", Ref: stock.Ref{Product: 7}}}
}

// master is an enrolled master whose first clean sample set the pool.
func master(t *testing.T, quantity int64) *shelf {
	t.Helper()
	s := newShelf(t, &stock.Pool{ID: 1, SKU: "MUG"}, "hq", stock.Policy{Master: true}, quantity)
	s.enrol()
	s.log = nil
	return s
}

// child joins the master's pool and clock.
func (s *shelf) child(store string, pol stock.Policy, quantity int64) *shelf {
	c := newShelf(s.t, s.pool, store, pol, quantity)
	c.now, c.ids = s.now, s.ids
	c.enrol()
	c.log = nil
	return c
}

func (s *shelf) pass(d time.Duration) { *s.now = s.now.Add(d) }

// step runs one transition and checks what holds after every one of them: the history explains the pool, the
// pool moves by what is counted and by nothing else, and the plan says what the rule says.
func (s *shelf) step(what string, fn func() []stock.Entry) []stock.Entry {
	s.t.Helper()
	units, counted := s.pool.Units, s.p.Counted
	entries := fn()
	explained, anew := units, !s.p.Enrolled || !s.pool.Set
	for _, e := range entries {
		explained += e.Delta
		anew = anew || e.Kind == stock.Baselined || e.Kind == stock.RestoredShop
	}
	if explained != s.pool.Units {
		s.t.Fatalf("%s: the pool went from %d to %d, the history explains %d: %v", what, units, s.pool.Units, explained, entries)
	}
	if moved := s.p.Counted - counted; !anew && s.pool.Units-units != moved {
		s.t.Fatalf("%s: the pool moved by %+d, what is counted by %+d", what, s.pool.Units-units, moved)
	}
	s.check(what)
	s.log = append(s.log, entries...)
	return entries
}

func (s *shelf) check(what string) {
	s.t.Helper()
	stock.Plan(*s.pool, &s.p, s.pol, *s.now)
	before := s.p
	stock.Plan(*s.pool, &s.p, s.pol, s.now.Add(time.Hour))
	if s.p.Todo != before.Todo || !s.p.DirtySince.Equal(before.DirtySince) {
		s.t.Fatalf("%s: planning twice made %d since %v of %d since %v", what, s.p.Todo, s.p.DirtySince, before.Todo, before.DirtySince)
	}
	if !s.p.Enrolled {
		return
	}
	counted := min(s.p.ByQuantity(), s.p.ByOrders())
	switch {
	case s.pol.OrdersUnreadable:
		counted = s.p.ByQuantity()
	case s.p.Undecided || s.p.Restored:
		counted = s.p.ByOrders()
	}
	if s.p.Counted != counted {
		s.t.Fatalf("%s: counted %+d, the rule says %+d (by quantity %+d, by orders %+d)", what, s.p.Counted, counted, s.p.ByQuantity(), s.p.ByOrders())
	}
	want := int64(0)
	if s.pool.Set && s.p.Blocked == "" {
		want = f(s.pool.Units, s.pol) - (s.p.Contained + s.p.Counted)
	}
	if s.p.Todo != want {
		s.t.Fatalf("%s: to do %+d, the rule says %+d", what, s.p.Todo, want)
	}
}

// f is the rule for what a store should show, said a second time.
func f(units int64, pol stock.Policy) int64 {
	switch {
	case pol.Master, units <= 0:
		return units
	case units < pol.BufferUnits:
		return 0
	}
	return units - pol.BufferUnits
}

func (s *shelf) reading() stock.Reading {
	r := stock.Reading{Quantity: s.quantity, Markers: s.markers, Window: stock.Window{From: *s.now, To: *s.now}, Swept: *s.now}
	if !s.swept.IsZero() {
		r.Swept = s.swept
	}
	return r
}

// read reads the item as the engine does: a sample is kept where one is needed, and a reading that changes
// what is being judged starts a new series.
func (s *shelf) read() []stock.Entry {
	s.t.Helper()
	r := s.reading()
	return s.step("read", func() []stock.Entry {
		before := s.p
		entries := stock.Merge(s.pool, &s.p, r, ours, s.pol, *s.now)
		s.sample(before, r)
		return entries
	})
}

func (s *shelf) sample(before stock.Placement, r stock.Reading) {
	switch {
	case before.Undecided != s.p.Undecided || before.Restored != s.p.Restored:
		s.samples = nil
	case s.p.Restless():
		s.samples = append(s.samples, stock.SampleOf(s.p, r, ours))
	}
}

// order is a shop order as a sweep finds it: units are what its line holds from now on.
func (s *shelf) order(id, units int64) []stock.Entry {
	s.t.Helper()
	delta := units
	i := slices.IndexFunc(s.lines, func(l stock.Line) bool { return l.Order == id })
	if i < 0 {
		s.lines = append(s.lines, stock.Line{Order: id, Line: id, Ref: s.p.Ref, Units: units, Changes: []stock.Change{{At: *s.now, Units: units}}, Created: *s.now, Modified: *s.now})
	} else {
		l := &s.lines[i]
		delta = units - l.Units
		l.Units, l.Modified, l.Changes = units, *s.now, stock.Changed(l.Changes, stock.Change{At: *s.now, Units: delta})
	}
	return s.step("order", func() []stock.Entry {
		return stock.Order(s.pool, &s.p, delta, s.pol, fmt.Sprintf("order %d", id))
	})
}

// sell is a sale that was read and swept.
func (s *shelf) sell(order, units int64) {
	s.t.Helper()
	s.quantity -= units
	s.read()
	s.order(order, units)
}

// judge sweeps now and judges what turned out clean.
func (s *shelf) judge() []stock.Entry {
	s.t.Helper()
	return s.step("judge", func() []stock.Entry {
		var clean []stock.Sample
		for _, m := range s.samples {
			if m.Clean(*s.now, s.lines, s.p.Taken) {
				clean = append(clean, m)
			}
		}
		entries, done := stock.Judge(s.pool, &s.p, clean, s.lines, s.pol, func() (bool, bool) { return s.same, s.asked }, *s.now)
		if done {
			s.samples = nil
		}
		return entries
	})
}

// prove takes two clean samples far enough apart and judges them.
func (s *shelf) prove() []stock.Entry {
	s.t.Helper()
	s.pass(20 * time.Second)
	s.read()
	s.read()
	s.pass(stock.Apart)
	s.read()
	s.pass(stock.Settle)
	return s.judge()
}

// once takes one clean sample and judges it.
func (s *shelf) once() []stock.Entry {
	s.t.Helper()
	s.pass(20 * time.Second)
	s.read()
	s.pass(stock.Settle)
	return s.judge()
}

func (s *shelf) enrol() []stock.Entry {
	s.t.Helper()
	return s.once()
}

// send begins the push that is due.
func (s *shelf) send() stock.Attempt {
	s.t.Helper()
	if !stock.MayPush(*s.pool, s.p) {
		s.t.Fatalf("no push is due: %+v", s.p)
	}
	*s.ids++
	return stock.Begin(&s.p, *s.ids, *s.now)
}

// mark is the first half of a push inside the shop, write the second.
func (s *shelf) mark(a stock.Attempt) {
	s.markers[a.Slot] = stock.Marker{Ledger: ours, Pool: s.p.Pool, Store: s.p.Store, Product: s.p.Ref.Object(), Attempt: a.ID, At: a.SentAt}
}

func (s *shelf) write(a stock.Attempt) { s.quantity += a.Units }

// answer takes in the shop's answer, as it stands now.
func (s *shelf) answer(a stock.Attempt) []stock.Entry {
	s.t.Helper()
	r := s.reading()
	return s.step("answer", func() []stock.Entry {
		before := s.p
		entries := stock.Answered(s.pool, &s.p, a.ID, r, *s.now, ours, s.pol, *s.now)
		s.sample(before, r)
		return entries
	})
}

// push sends what is due, and the shop writes and answers it at once.
func (s *shelf) push() []stock.Entry {
	s.t.Helper()
	a := s.send()
	s.mark(a)
	s.write(a)
	return s.answer(a)
}

// unanswered sends what is due, and only its marker is seen of it.
func (s *shelf) unanswered() stock.Attempt {
	s.t.Helper()
	a := s.send()
	s.mark(a)
	s.read()
	return a
}

// settle pushes until nothing is due.
func (s *shelf) settle() {
	s.t.Helper()
	s.check("settle")
	for range 10 {
		if s.p.Todo == 0 {
			return
		}
		s.push()
	}
	s.t.Fatalf("pushing does not come to an end: %+v", s.p)
}

// lift makes the pool ask for n more units than the shelf shows.
func (s *shelf) lift(n int64) {
	s.t.Helper()
	s.pool.Units += n
	s.check("lift")
}

func (s *shelf) wants(pool, quantity int64) {
	s.t.Helper()
	if s.pool.Units != pool || s.quantity != quantity {
		s.t.Fatalf("the pool is %d and the shelf shows %d, want %d and %d; history: %v", s.pool.Units, s.quantity, pool, quantity, s.log)
	}
}

// one asserts that exactly one entry of the kind is among the entries, and returns it.
func (s *shelf) one(entries []stock.Entry, k stock.Kind, conflict bool) stock.Entry {
	s.t.Helper()
	var found []stock.Entry
	for _, e := range entries {
		if e.Kind == k {
			found = append(found, e)
		}
	}
	if len(found) != 1 || found[0].Conflict != conflict {
		s.t.Fatalf("want one %s entry with conflict %v, got %+v", k, conflict, entries)
	}
	return found[0]
}

func (s *shelf) none(entries []stock.Entry) {
	s.t.Helper()
	if len(entries) != 0 {
		s.t.Fatalf("want nothing in the history, got %+v", entries)
	}
}

package stock_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stocksync.dev/stocksync/internal/stock"
)

// world is a master, some children and what their shops did, all of it on one clock.
type world struct {
	t     *rapid.T
	pool  *stock.Pool
	shops []*modelShop
	// orders numbers the orders of all shops, did is the sum of what shops did by themselves.
	orders, did int64
}

// modelShop is a shop that never overwrites a sale: what is left are lost answers, late and half-done
// pushes, and orders that are known later than their quantity.
type modelShop struct {
	*shelf
	held    map[int64]int64 // order → units
	unswept []func()
	late    []stock.Attempt // requests on their way
	half    []stock.Attempt // marker written, quantity not
}

func newWorld(t *rapid.T) *world {
	w := &world{t: t, pool: &stock.Pool{ID: 1, SKU: "MUG"}}
	for i := range rapid.IntRange(1, 3).Draw(t, "children") + 1 {
		pol := stock.Policy{Master: i == 0}
		if i > 0 {
			pol.BufferUnits = rapid.Int64Range(0, 3).Draw(t, "buffer")
		}
		s := newShelf(t, w.pool, fmt.Sprintf("s%d", i), pol, f(30, pol))
		if i > 0 {
			s.now, s.ids = w.shops[0].now, w.shops[0].ids
		}
		s.enrol()
		w.shops = append(w.shops, &modelShop{shelf: s, held: map[int64]int64{}})
	}
	return w
}

// each wraps an action so that it strikes one shop, and time goes on.
func (w *world) each(fn func(*modelShop)) func(*rapid.T) {
	return func(t *rapid.T) {
		fn(rapid.SampledFrom(w.shops).Draw(t, "shop"))
		w.shops[0].pass(time.Duration(rapid.IntRange(1, 8).Draw(t, "seconds")) * time.Second)
	}
}

func (w *world) sell(s *modelShop, units int64) {
	w.orders++
	id := w.orders
	s.quantity -= units
	w.did -= units
	s.held[id] = units
	s.later(id, units)
}

func (w *world) refund(s *modelShop) {
	ids := slices.Sorted(maps.Keys(s.held))
	if len(ids) == 0 {
		return
	}
	id := ids[0]
	s.held[id]--
	s.quantity++
	w.did++
	s.later(id, s.held[id])
	if s.held[id] == 0 {
		delete(s.held, id)
	}
}

// later leaves an order for the next sweep, dated now.
func (s *modelShop) later(id, units int64) {
	made := *s.now
	s.unswept = append(s.unswept, func() {
		now := *s.now
		*s.now = made
		s.order(id, units)
		*s.now = now
	})
}

func (s *modelShop) sweep() {
	for _, fn := range s.unswept {
		fn()
	}
	s.unswept = nil
}

// begin checks the rules of ids and slots on the push that is due; ok is false where none is.
func (w *world) begin(s *modelShop) (stock.Attempt, bool) {
	if s.check("plan"); !stock.MayPush(*s.pool, s.p) {
		return stock.Attempt{}, false
	}
	open := map[int]int64{}
	for _, a := range s.p.Attempts {
		if a.State == stock.Open || a.State == stock.Seen {
			open[a.Slot] = a.ID
		}
	}
	a := s.send()
	if a.Units != s.p.Todo {
		w.t.Fatalf("a push of %+d where %+d is due", a.Units, s.p.Todo)
	}
	if old, taken := open[a.Slot]; taken {
		if len(open) < stock.Slots {
			w.t.Fatalf("slot %d of the open attempt %d was reused while %v are open", a.Slot, old, open)
		}
		if old != slices.Min(slices.Collect(maps.Values(open))) {
			w.t.Fatalf("attempt %d gave way, and it is not the oldest of %v", old, open)
		}
	}
	return a, true
}

func (w *world) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"sell": func(t *rapid.T) {
			w.each(func(s *modelShop) { w.sell(s, rapid.Int64Range(1, 12).Draw(t, "units")) })(t)
		},
		"refund": w.each(w.refund),
		"read":   w.each(func(s *modelShop) { s.read() }),
		"sweep":  w.each((*modelShop).sweep),
		"judge":  w.each(func(s *modelShop) { s.sweep(); s.judge() }),
		"prove":  w.each(func(s *modelShop) { s.sweep(); s.prove() }),
		"push answered": w.each(func(s *modelShop) {
			if a, ok := w.begin(s); ok {
				s.mark(a)
				s.write(a)
				s.answer(a)
			}
		}),
		"push, its answer lost": w.each(func(s *modelShop) {
			if a, ok := w.begin(s); ok {
				s.mark(a)
				s.write(a)
			}
		}),
		"push never sent": w.each(func(s *modelShop) {
			if a, ok := w.begin(s); ok {
				stock.Unsent(&s.p, a.ID)
			}
		}),
		"push that arrives late, or never": w.each(func(s *modelShop) {
			if a, ok := w.begin(s); ok {
				s.late = append(s.late, a)
			}
		}),
		"push that stops half-way": w.each(func(s *modelShop) {
			if a, ok := w.begin(s); ok {
				s.mark(a)
				s.half = append(s.half, a)
			}
		}),
		"late push lands": w.each(func(s *modelShop) {
			if len(s.late) > 0 {
				s.mark(s.late[0])
				s.write(s.late[0])
				s.late = s.late[1:]
			}
		}),
		"half a push goes on": w.each(func(s *modelShop) {
			if len(s.half) > 0 {
				s.write(s.half[0])
				s.half = s.half[1:]
			}
		}),
		"": func(*rapid.T) {
			for _, s := range w.shops {
				s.check("after a step")
			}
		},
	}
}

// quiet lets the world come to rest: orders are swept, samples judged, and what is due is pushed.
func (w *world) quiet() {
	w.shops[0].pass(time.Minute)
	for range 30 {
		busy := false
		for _, s := range w.shops {
			s.sweep()
			s.prove()
			if a, ok := w.begin(s); ok {
				s.mark(a)
				s.write(a)
				s.answer(a)
			}
			s.check("quiet")
			busy = busy || s.p.Restless() || s.p.Todo != 0
		}
		for _, s := range w.shops {
			s.check("quiet")
			busy = busy || s.p.Todo != 0
		}
		if !busy {
			return
		}
	}
	w.t.Fatalf("the world does not come to rest")
}

// doubt is what the open rows say the pool may be off by.
func (w *world) doubt() int64 {
	units := int64(0)
	for _, s := range w.shops {
		for _, e := range s.log {
			if e.Conflict && e.Kind != stock.Voided {
				units += max(e.Units, -e.Units)
			}
		}
	}
	return units
}

// TestEverySaleIsInThePoolOnce plays random sequences and then quiet: every shop shows what the pool asks
// for, and the pool is its baseline plus all that the shops did, by as much as rows admit and no more.
func TestEverySaleIsInThePoolOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		t.Repeat(w.actions())
		w.quiet()
		truth := 30 + w.did
		if off := w.pool.Units - truth; max(off, -off) > w.doubt() {
			t.Fatalf("the pool says %d, truth is %d, and rows admit %d", w.pool.Units, truth, w.doubt())
		}
		for _, s := range w.shops {
			if want := f(w.pool.Units, s.pol); s.quantity != want && w.pool.Stopped == "" {
				t.Fatalf("%s shows %d, the pool asks for %d", s.p.Store, s.quantity, want)
			}
		}
	})
}

// TestWithoutUnansweredPushesNothingIsInDoubt is the same where every push is answered: then there is nothing
// to tell a person, whatever order sales, readings, sweeps and pushes come in.
func TestWithoutUnansweredPushesNothingIsInDoubt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		actions := w.actions()
		maps.DeleteFunc(actions, func(name string, _ func(*rapid.T)) bool {
			return slices.Contains([]string{"push, its answer lost", "push that arrives late, or never", "push that stops half-way"}, name)
		})
		t.Repeat(actions)
		w.quiet()
		if truth := 30 + w.did; w.pool.Units != truth {
			t.Fatalf("the pool says %d, truth is %d", w.pool.Units, truth)
		}
		for _, s := range w.shops {
			if s.quantity != f(w.pool.Units, s.pol) {
				t.Fatalf("%s shows %d, the pool asks for %d", s.p.Store, s.quantity, f(w.pool.Units, s.pol))
			}
			if i := slices.IndexFunc(s.log, func(e stock.Entry) bool { return e.Conflict }); i >= 0 {
				t.Fatalf("a row about nothing: %+v", s.log[i])
			}
		}
	})
}

// TestThePoolDoesNotDependOnWhoIsHere removes and enrols children at random: neither moves the pool nor what
// is to do elsewhere.
func TestThePoolDoesNotDependOnWhoIsHere(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		t.Repeat(w.actions())
		units := w.pool.Units
		todo := map[string]int64{}
		for _, s := range w.shops {
			s.check("before")
			todo[s.p.Store] = s.p.Todo
		}
		gone := rapid.SampledFrom(w.shops[1:]).Draw(t, "gone")
		w.shops = slices.DeleteFunc(w.shops, func(s *modelShop) bool { return s == gone })

		back := newShelf(t, w.pool, gone.p.Store, gone.pol, rapid.Int64Range(-20, 60).Draw(t, "shows"))
		back.now, back.ids, back.markers = gone.now, gone.ids, gone.markers
		e := back.one(back.enrol(), stock.Baselined, back.quantity != f(units, back.pol))
		if w.pool.Units != units || back.p.Todo != e.Units {
			t.Fatalf("the pool went from %d to %d; row %+v, to do %+d", units, w.pool.Units, e, back.p.Todo)
		}
		for _, s := range w.shops {
			if s.check("after"); s.p.Todo != todo[s.p.Store] {
				t.Fatalf("%s: to do %+d, was %+d", s.p.Store, s.p.Todo, todo[s.p.Store])
			}
		}
	})
}

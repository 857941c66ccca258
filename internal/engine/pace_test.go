package engine_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

// catalogue is a quiet world of three shops with 50 units of each SKU, enrolled.
func catalogue(t *testing.T, skus int) (*world, *agent) {
	t.Helper()
	w := newWorld(t, 1, story{name: "calm"})
	w.skus, w.shops = skus, nil
	for i := range 3 {
		s := &shop{w: w, id: fmt.Sprintf("s%d", i), items: map[int64]*item{}, orders: map[int64]*order{}, nextID: 1000}
		for k := range skus {
			id := int64(firstObject + k)
			s.items[id] = &item{ref: ref(id), sku: fmt.Sprintf("SKU-%d", k), quantity: 50, modified: start,
				fields: stock.Values{stock.Backorders: "no", stock.LowStock: stock.None}}
		}
		w.shops = append(w.shops, s)
	}
	a := w.boot(oneLedger, ledger.NewMemory(), w.all())
	w.run(start.Add(3 * time.Minute))
	return w, a
}

// settled waits until all shops show a SKU's number.
func (w *world) settled(object, quantity int64, longest time.Duration) bool {
	for end := w.now.Add(longest); w.now.Before(end); {
		w.run(w.now.Add(time.Second))
		if !slices.ContainsFunc(w.shops, func(s *shop) bool { return s.items[object].quantity != quantity }) {
			return true
		}
	}
	return false
}

func sizes(batches [][]int64) (out []int) {
	for _, b := range batches {
		out = append(out, len(b))
	}
	return out
}

// A batch that outlasts the time limit is written all the same but never answered, so sending it again and again
// would never end.
func TestASlowStoreIsWrittenInSmallerBatches(t *testing.T) {
	t.Parallel()
	const skus = 300
	w, _ := catalogue(t, skus)
	s := w.shops[1]
	s.slowWrites = 400 * time.Millisecond
	for k := range int64(skus) {
		w.shops[0].sell(firstObject+k, 1)
	}
	w.run(w.now.Add(time.Hour))
	for k := range int64(skus) {
		if q := s.items[firstObject+k].quantity; q != 49 {
			t.Fatalf("SKU-%d has %d units an hour later; batches %v", k, q, sizes(s.pushed))
		}
	}
	got := sizes(s.pushed)
	if got[0] != 100 || got[1] != 50 || slices.Max(got[4:]) > 25 {
		t.Errorf("batches of a store that takes 40 s for a hundred: %v", got)
	}

	s.slowWrites, s.pushed = 0, nil
	for k := range int64(skus) {
		w.shops[0].sell(firstObject+k, 1)
	}
	w.run(w.now.Add(10 * time.Minute))
	if got := sizes(s.pushed); slices.Max(got) != 100 {
		t.Errorf("batches after it got quick again: %v", got)
	}
}

// What is nearly sold out is what shops can oversell: it does not wait behind hundreds of others.
func TestUrgentGoesFirst(t *testing.T) {
	t.Parallel()
	const skus, rare = 300, firstObject + 299
	w, _ := catalogue(t, skus)
	s := w.shops[1]
	s.down = true
	for k := range int64(skus) {
		w.shops[0].sell(firstObject+k, 1)
	}
	w.run(w.now.Add(time.Minute))
	w.shops[0].sell(rare, 46)
	w.run(w.now.Add(time.Minute))
	s.down, s.pushed = false, nil
	w.run(w.now.Add(10 * time.Minute))
	if len(s.pushed) == 0 || s.pushed[0][0] != rare {
		t.Fatalf("the first batch begins with %v", s.pushed[0][0])
	}
	if s.items[rare].quantity != 3 || s.items[firstObject].quantity != 49 {
		t.Fatalf("%d and %d units", s.items[rare].quantity, s.items[firstObject].quantity)
	}
}

// The backlog is a difference, not a queue: an hour of sales is one write for each SKU.
func TestOneWritePerSKUAfterAnOutage(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]*engine.Fault{
		"refused connections": {Reason: "Unreachable", Unsent: true},
		"errors":              {Reason: "ServerError"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const skus = 5
			w, _ := catalogue(t, skus)
			s := w.shops[1]
			s.refuses = func() *engine.Fault { return f }
			for round := range 20 {
				for k := range int64(skus) {
					w.shops[2*(round%2)].sell(firstObject+k, 1)
				}
				w.run(w.now.Add(3 * time.Minute))
			}
			s.refuses, s.pushed = nil, nil
			w.run(w.now.Add(15 * time.Minute))
			times := map[int64]int{}
			for _, b := range s.pushed {
				for _, object := range b {
					times[object]++
				}
			}
			for k := range int64(skus) {
				if got := s.items[firstObject+k].quantity; got != 30 || times[firstObject+k] != 1 {
					t.Errorf("SKU-%d: %d units after %d writes", k, got, times[firstObject+k])
				}
			}
		})
	}
}

// Who asks to be left alone for a while is, and gets fewer requests afterwards.
func TestAStoreIsLeftAloneForAsLongAsItAsks(t *testing.T) {
	t.Parallel()
	for _, f := range []*engine.Fault{
		{Reason: engine.ReasonRateLimited, RetryAfter: 10 * time.Minute, Unsent: true},
		{Reason: "Maintenance", RetryAfter: 10 * time.Minute},
	} {
		t.Run(f.Reason, func(t *testing.T) {
			t.Parallel()
			w, _ := catalogue(t, 2)
			s := w.shops[1]
			var asked time.Time
			s.refuses = func() *engine.Fault {
				if !asked.IsZero() {
					return nil
				}
				asked = w.now
				return f
			}
			for range 20 {
				w.shops[0].sell(firstObject, 1)
				w.run(w.now.Add(time.Minute))
			}
			for _, at := range s.calls {
				if at.After(asked) && at.Before(asked.Add(f.RetryAfter)) {
					t.Errorf("asked again after %s", at.Sub(asked))
				}
			}
			if !w.settled(firstObject, 30, time.Minute) {
				t.Errorf("%d units", s.items[firstObject].quantity)
			}
		})
	}
}

// A shop that was away for long is asked again in minutes only; an event of it tells that it is back.
func TestAnEventEndsTheBackOff(t *testing.T) {
	t.Parallel()
	// failing is a shop that refused requests for half an hour, and was asked a moment ago.
	failing := func(t *testing.T, f *engine.Fault) (*world, *agent, *shop) {
		w, a := catalogue(t, 2)
		s := w.shops[1]
		s.refuses = func() *engine.Fault { return f }
		w.run(w.now.Add(30 * time.Minute))
		for s.calls = nil; len(s.calls) == 0; {
			w.run(w.now.Add(time.Second))
		}
		s.calls = nil
		return w, a, s
	}
	unreachable := &engine.Fault{Reason: "Unreachable", Unsent: true}
	t.Run("it is back", func(t *testing.T) {
		t.Parallel()
		w, a, s := failing(t, unreachable)
		s.refuses = nil
		s.sell(firstObject, 3)
		w.run(w.now.Add(time.Second))
		if len(s.calls) != 0 {
			t.Fatal("asked already")
		}
		a.engine.Alive(s.id)
		w.run(w.now.Add(3 * time.Second))
		if got := w.shops[0].items[firstObject].quantity; got != 47 {
			t.Errorf("the master shows %d three seconds after the event", got)
		}
	})
	t.Run("it is not", func(t *testing.T) {
		t.Parallel()
		w, a, s := failing(t, unreachable)
		for range 120 {
			a.engine.Alive(s.id)
			w.run(w.now.Add(time.Second))
		}
		if len(s.calls) != 1 {
			t.Errorf("asked %d times in two minutes", len(s.calls))
		}
	})
	t.Run("it asked to be left alone", func(t *testing.T) {
		t.Parallel()
		w, a, s := failing(t, &engine.Fault{Reason: "Maintenance", RetryAfter: 10 * time.Minute})
		a.engine.Alive(s.id)
		w.run(w.now.Add(time.Minute))
		if len(s.calls) != 0 {
			t.Errorf("asked %d times", len(s.calls))
		}
	})
	t.Run("nobody knows it", func(t *testing.T) {
		t.Parallel()
		_, a := catalogue(t, 2)
		a.engine.Alive("nobody")
	})
}

// A dead shop and a slow one cost the others nothing, and the sales they miss wait for them.
func TestSickNeighboursSlowNobody(t *testing.T) {
	t.Parallel()
	for name, sicken := range map[string]func(*shop){
		"dead": func(s *shop) { s.dead = true },
		"slow": func(s *shop) { s.slowWrites = 20 * time.Second },
		"well": func(*shop) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const sales = 40
			w, a := catalogue(t, 3)
			sicken(w.shops[1])
			for n := range int64(sales) {
				w.shops[0].sell(firstObject, 1)
				w.run(w.now.Add(200 * time.Millisecond))
				a.engine.Hint("s0", firstObject)
				w.run(w.now.Add(2 * time.Second))
				if got := w.shops[2].items[firstObject].quantity; got != 50-n-1 {
					t.Fatalf("the shop that is well shows %d units 2 s after sale %d", got, n+1)
				}
				w.run(w.now.Add(10 * time.Second))
			}
			w.shops[1].dead, w.shops[1].slowWrites = false, 0
			if !w.settled(firstObject, 50-sales, 30*time.Minute) {
				t.Errorf("%d units in the shop that was sick", w.shops[1].items[firstObject].quantity)
			}
		})
	}
}

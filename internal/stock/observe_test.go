package stock_test

import (
	"slices"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

func TestASaleTravelsOnceWhicheverAccountSeesItFirst(t *testing.T) {
	t.Parallel()
	t.Run("by quantity", func(t *testing.T) {
		t.Parallel()
		s := master(t, 20)
		s.quantity -= 3
		s.one(s.read(), stock.Read, false)
		s.wants(17, 17)
		s.none(s.order(1, 3))
		s.wants(17, 17)
	})
	t.Run("by orders", func(t *testing.T) {
		t.Parallel()
		s := master(t, 20)
		s.quantity -= 3
		e := s.one(s.order(1, 3), stock.Ordered, false)
		s.wants(17, 17)
		if e.Delta != -3 || e.Evidence != "order 1" {
			t.Fatalf("entry %+v", e)
		}
		s.none(s.read())
		s.wants(17, 17)
	})
}

func TestARefundCountsWhenBothAccountsShowIt(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.sell(1, 3)
	s.quantity += 2
	s.none(s.read())
	if s.pool.Units != 17 {
		t.Fatalf("pool %d: a refund no order tells of is held back", s.pool.Units)
	}
	s.one(s.order(1, 1), stock.Ordered, false)
	s.wants(19, 19)
}

func TestNothingIsCountedBeforeThereIsABaseline(t *testing.T) {
	t.Parallel()
	pool := &stock.Pool{ID: 1, Units: 9, Set: true}
	s := newShelf(t, pool, "fr", stock.Policy{}, 5)
	s.none(s.read())
	s.none(s.order(1, 2))
	if s.pool.Units != 9 || s.p.Shown != 5 || s.p.Taken != 2 || !s.p.ReadAt.Equal(noon) {
		t.Fatalf("pool %d, shown %d, taken %d, read at %v", s.pool.Units, s.p.Shown, s.p.Taken, s.p.ReadAt)
	}
	s.none(s.answer(stock.Attempt{ID: 3}))
}

func TestNoPoolMovesBeforeItIsSet(t *testing.T) {
	t.Parallel()
	pool := &stock.Pool{ID: 1}
	child := newShelf(t, pool, "fr", stock.Policy{}, 5)
	child.none(child.enrol())
	if pool.Units != 0 || pool.Set || child.p.Enrolled || child.p.Todo != 0 {
		t.Fatalf("pool %+v, child %+v: only the master sets it", pool, child.p)
	}
	hq := newShelf(t, pool, "hq", stock.Policy{Master: true}, 20)
	e := hq.one(hq.enrol(), stock.Baselined, false)
	if pool.Units != 20 || !pool.Set || e.Delta != 20 {
		t.Fatalf("pool %+v, entry %+v", pool, e)
	}
	if e := child.one(child.enrol(), stock.Baselined, true); e.Units != 15 || child.p.Todo != 15 {
		t.Fatalf("entry %+v, child's to do %+d", e, child.p.Todo)
	}
}

func TestAPoolThatWaitsForTheMasterDoesNotMove(t *testing.T) {
	t.Parallel()
	hq := master(t, 20)
	fr := hq.child("fr", stock.Policy{}, 20)
	hq.pool.Set = false
	fr.quantity -= 2
	fr.none(fr.read())
	if hq.pool.Units != 20 || fr.p.Counted != -2 || fr.p.Todo != 0 {
		t.Fatalf("pool %+v, counted %+d, to do %+d", hq.pool, fr.p.Counted, fr.p.Todo)
	}
}

func TestAnAnswerThatComesAfterTheBaselineWasDroppedMovesNothing(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.lift(5)
	a := s.send()
	s.p.Disenroll("")
	s.mark(a)
	s.write(a)
	s.none(s.answer(a))
	if len(s.p.Attempts) != 0 || s.p.Contained != 20 || s.p.Known[a.Slot] != 0 {
		t.Fatalf("placement %+v", s.p)
	}
	s.enrol()
	s.wants(25, 25)
}

func TestAnAnsweredPushIsContained(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.lift(5)
	a := s.send()
	s.mark(a)
	s.write(a)
	s.quantity-- // a sale before the answer was made
	entries := s.answer(a)
	e := s.one(entries, stock.Pushed, false)
	if e.Attempt != a.ID || e.Units != 5 || e.Quantity != 24 {
		t.Fatalf("entry %+v", e)
	}
	s.one(entries, stock.Read, false)
	s.wants(24, 24)
	if len(s.p.Attempts) != 0 || s.p.Known[a.Slot] != a.ID || s.p.Todo != 0 {
		t.Fatalf("placement %+v", s.p)
	}
	s.none(s.read()) // the marker is known
	s.none(s.answer(a))
	s.wants(24, 24)
}

func TestAnAnswerWithoutOurMarkerProvesNothing(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.lift(5)
	a := s.send()
	s.write(a)
	s.answer(a)
	if !s.p.Undecided || s.p.Contained != 20 || s.p.Attempts[0].State != stock.Seen || stock.MayPush(*s.pool, s.p) {
		t.Fatalf("placement %+v: the push must be proved first", s.p)
	}
	s.mark(a) // it was a cache: the marker is no news, and no sign of a backup
	s.read()
	if s.p.Restored {
		t.Fatalf("placement %+v", s.p)
	}
	s.one(s.once(), stock.Arrived, false)
	s.wants(25, 25)
}

func TestTheReadingThatFirstShowsAnUnansweredMarkerIsNotMerged(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]func(*shelf, stock.Attempt){
		"torn: the quantity has not come yet": func(*shelf, stock.Attempt) {},
		"whole: it has":                       func(s *shelf, a stock.Attempt) { s.write(a) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := master(t, 20)
			s.pool.Units -= 5
			s.check("less")
			a := s.send()
			s.none(s.read()) // the marker is not there: the attempt is open, nothing is in doubt
			if s.p.Undecided {
				t.Fatal("nothing was seen of the attempt")
			}
			s.mark(a)
			at(s, a)
			s.none(s.read())
			if !s.p.Undecided || s.p.Quantity != 20 || s.p.Shown != s.quantity || !s.p.UnansweredAt.Equal(*s.now) {
				t.Fatalf("placement %+v", s.p)
			}
			if got := s.p.Attempts[0]; got.State != stock.Seen || got.Base != s.quantity || s.p.Known[a.Slot] != a.ID {
				t.Fatalf("attempt %+v", got)
			}
			// Meanwhile orders alone are counted.
			s.quantity--
			s.none(s.read())
			s.one(s.order(1, 1), stock.Ordered, false)
			if s.pool.Units != 14 || stock.MayPush(*s.pool, s.p) {
				t.Fatalf("pool %d, push allowed %v", s.pool.Units, stock.MayPush(*s.pool, s.p))
			}
		})
	}
}

func TestAnAnswerThatShowsALatePushKeepsTheAccountsTogether(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.lift(5)
	late := s.send()
	b := s.send()
	s.mark(late)
	s.write(late)
	s.mark(b)
	s.write(b)
	s.one(s.answer(b), stock.Pushed, false)
	if !s.p.Undecided || s.p.Parted() != 0 {
		t.Fatalf("accounts apart by %+d, placement %+v", s.p.Parted(), s.p)
	}
	s.one(s.once(), stock.Arrived, false)
	s.settle()
	s.wants(25, 25)
}

func TestAMarkerOfAnotherItemIsNotOurs(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*stock.Marker){
		"another ledger":         func(m *stock.Marker) { m.Ledger = "ledger-b" },
		"a cloned shop":          func(m *stock.Marker) { m.Store = "fr" },
		"a duplicated product":   func(m *stock.Marker) { m.Product = 8 },
		"an attempt not open":    func(m *stock.Marker) { m.Attempt = 0 },
		"an empty slot, in fact": func(m *stock.Marker) { *m = stock.Marker{} },
	} {
		s := master(t, 20)
		s.lift(5)
		a := s.send()
		s.mark(a)
		change(&s.markers[a.Slot])
		s.read()
		if s.p.Undecided || s.p.Restored || s.p.Attempts[0].State != stock.Open {
			t.Errorf("%s: %+v", name, s.p)
		}
	}
}

func TestAMarkerGoneOlderOrUnknownMeansARestoredShop(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*shelf, int){
		"gone":    func(s *shelf, slot int) { s.markers[slot] = stock.Marker{} },
		"older":   func(s *shelf, slot int) { s.markers[slot].Attempt-- },
		"unknown": func(s *shelf, slot int) { s.markers[slot].Attempt = 99 },
		"unknown in an empty slot": func(s *shelf, slot int) {
			s.markers[(slot+1)%stock.Slots] = s.markers[slot]
			s.markers[(slot+1)%stock.Slots].Attempt = 99
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := master(t, 20)
			*s.ids = 50
			s.lift(5)
			a := s.send()
			s.mark(a)
			s.write(a)
			s.answer(a)
			s.sell(1, 2)
			change(s, a.Slot)
			s.quantity = 40
			s.none(s.read())
			if !s.p.Restored || s.pool.Units != 23 || s.p.Quantity != 23 || stock.MayPush(*s.pool, s.p) {
				t.Fatalf("pool %d, placement %+v: the number of a backup must not be merged", s.pool.Units, s.p)
			}
			// What was counted stays, and orders go on counting.
			s.one(s.order(2, 1), stock.Ordered, false)
			if s.pool.Units != 22 {
				t.Fatalf("pool %d, want 22", s.pool.Units)
			}
		})
	}
}

func TestWhatWasCountedStaysWhereTheOrderThatProvesItIsGone(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.lift(5)
	s.push()
	s.quantity -= 2 // a sale seen by quantity; before the sweep the shop is restored from a backup
	s.read()
	s.markers, s.quantity = stock.Markers{}, 20
	s.none(s.read())
	if s.pool.Units != 23 {
		t.Fatalf("pool %d: the sale happened", s.pool.Units)
	}
}

func TestBegin(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.lift(1)
	var sent []stock.Attempt
	for i := range stock.Slots {
		a := s.send()
		if a.ID != int64(i+1) || a.Units != 1 || a.State != stock.Open || !a.SentAt.Equal(*s.now) {
			t.Fatalf("attempt %+v", a)
		}
		if slices.ContainsFunc(sent, func(o stock.Attempt) bool { return o.Slot == a.Slot }) {
			t.Fatalf("attempt %d reuses slot %d while a free one is left", a.ID, a.Slot)
		}
		sent = append(sent, a)
	}
	// All are open: the oldest gives way, and is still known.
	a := s.send()
	if a.Slot != sent[0].Slot || s.p.Attempts[0].State != stock.Overwritten {
		t.Fatalf("the fifth took slot %d, the first is %s", a.Slot, s.p.Attempts[0].State)
	}
	// One becomes free: it is used although others are older.
	stock.Unsent(&s.p, sent[2].ID)
	if a := s.send(); a.Slot != sent[2].Slot {
		t.Fatalf("took slot %d, want the free one %d", a.Slot, sent[2].Slot)
	}
	// An overwritten attempt that lands shows itself all the same.
	s.mark(sent[0])
	s.write(sent[0])
	s.read()
	if !s.p.Undecided || s.p.Attempts[0].State != stock.Seen {
		t.Fatalf("attempt %+v", s.p.Attempts[0])
	}
}

func TestBeginSparesAnAttemptUnderJudgement(t *testing.T) {
	t.Parallel()
	p := stock.Placement{Known: [stock.Slots]int64{10, 51, 52, 53}, Attempts: []stock.Attempt{{ID: 10, Slot: 0, State: stock.Seen}}}
	if a := stock.Begin(&p, 60, noon); a.Slot != 1 {
		t.Fatalf("took slot %d, want 1", a.Slot)
	}
}

func TestBeginTakesTheSlotLongestSettled(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	var slots []int
	for range 3 * stock.Slots {
		s.lift(1)
		a := s.send()
		s.mark(a)
		s.write(a)
		s.answer(a)
		slots = append(slots, a.Slot)
	}
	if want := []int{0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3}; !slices.Equal(slots, want) {
		t.Fatalf("slots %v, want %v", slots, want)
	}
}

func TestBeginForgetsWhatCannotLandAnyMore(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.lift(1)
	old := s.send()
	s.pass(stock.AttemptMemory)
	s.send()
	if len(s.p.Attempts) != 2 {
		t.Fatalf("%d attempts: an attempt of three weeks may still land", len(s.p.Attempts))
	}
	s.pass(time.Second)
	s.send()
	if slices.ContainsFunc(s.p.Attempts, func(a stock.Attempt) bool { return a.ID == old.ID }) {
		t.Fatal("an attempt of more than three weeks is still kept")
	}
	for range 2 * stock.MaxAttempts {
		s.send()
	}
	if len(s.p.Attempts) != stock.MaxAttempts || s.p.Attempts[stock.MaxAttempts-1].ID != *s.ids {
		t.Fatalf("%d attempts kept, the newest %d; want %d and %d", len(s.p.Attempts), s.p.Attempts[len(s.p.Attempts)-1].ID, stock.MaxAttempts, *s.ids)
	}
}

func TestUnsentLeavesNoTrace(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.lift(1)
	before := s.p
	a := s.send()
	stock.Unsent(&s.p, a.ID)
	s.check("unsent")
	if len(s.p.Attempts) != 0 || s.p.Todo != before.Todo || s.p.Known != before.Known {
		t.Fatalf("placement %+v", s.p)
	}
}

func TestAnsweredPushesAreKeptAsEvidenceForHalfAnHour(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	for range 170 {
		s.lift(1)
		s.push()
	}
	if len(s.p.Pushes) != 160 {
		t.Fatalf("%d marks kept, want the newest 160", len(s.p.Pushes))
	}
	s.quantity += 3 // apart, so that no agreement makes them obsolete
	s.read()
	s.pass(30*time.Minute + time.Second)
	s.lift(1)
	s.push()
	if len(s.p.Pushes) != 1 {
		t.Fatalf("%d marks kept, want the one of this half hour", len(s.p.Pushes))
	}
}

func TestAKeyThatMayNotReadOrdersCountsByQuantity(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.pol.OrdersUnreadable = true
	s.quantity -= 3
	s.one(s.read(), stock.Read, false)
	s.wants(17, 17)
	s.quantity += 7
	s.one(s.read(), stock.Read, false)
	s.wants(24, 24)
}

func TestAKeyThatMayNotReadOrdersJudgesNothing(t *testing.T) {
	t.Parallel()
	t.Run("a sale is not undone as an edit", func(t *testing.T) {
		t.Parallel()
		s := master(t, 20)
		s.pol.OrdersUnreadable, s.pol.Revert = true, true
		s.quantity -= 3
		s.read()
		s.none(s.prove())
		s.wants(17, 17)
		if s.p.Todo != 0 || s.p.Restless() {
			t.Fatalf("to do %+d, restless %v", s.p.Todo, s.p.Restless())
		}
	})
	t.Run("two stores that sell at once are no feed", func(t *testing.T) {
		t.Parallel()
		hq := master(t, 20)
		fr := hq.child("fr", stock.Policy{OrdersUnreadable: true}, 20)
		hq.pol.OrdersUnreadable = true
		hq.quantity--
		fr.quantity--
		hq.prove()
		fr.prove()
		if hq.pool.Stopped != "" || hq.pool.Units != 18 {
			t.Fatalf("pool %+v", hq.pool)
		}
	})
	t.Run("an unanswered push is still decided", func(t *testing.T) {
		t.Parallel()
		s := master(t, 20)
		s.pol.OrdersUnreadable = true
		s.lift(5)
		a := s.unanswered()
		s.write(a)
		s.one(s.once(), stock.Arrived, false)
		s.wants(25, 25)
	})
}

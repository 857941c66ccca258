package stock_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

func TestClean(t *testing.T) {
	t.Parallel()
	at := func(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }
	old := at(-3600)
	// The reading took from 0 to 1.
	for _, c := range []struct {
		name  string
		swept time.Time
		lines []stock.Line
		clean bool
		taken int64
	}{
		{"no orders", at(11), nil, true, 10},
		{"swept too early", at(10.9), nil, false, 0},
		{"an order long before", at(11), []stock.Line{{Units: 2, Changes: moved(old, 2), Created: old, Modified: old}}, true, 10},
		{"made just before", at(11), []stock.Line{{Units: 2, Changes: moved(at(-2), 2), Created: at(-2), Modified: at(-2)}}, false, 0},
		{"made a little earlier", at(11), []stock.Line{{Units: 2, Changes: moved(at(-2.1), 2), Created: at(-2.1), Modified: at(-2.1)}}, true, 10},
		{"changed just after", at(11), []stock.Line{{Units: 2, Changes: moved(at(3), 2), Created: old, Modified: at(3)}}, false, 0},
		{"made just before, changed since", at(11), []stock.Line{{Units: 2, Changes: moved(at(5), 2), Created: at(0), Modified: at(5)}}, false, 0},
		{"changed long ago, touched in the window", at(11), []stock.Line{{Units: 2, Changes: moved(old, 2), Created: old, Modified: at(0.5)}}, false, 0},
		{"changed long ago, touched later", at(11), []stock.Line{{Units: 2, Changes: moved(old, 2), Created: old, Modified: at(9)}}, true, 10},
		{"changed in the window, touched later", at(11), []stock.Line{{Units: 2, Changes: moved(at(0.5), 2), Created: old, Modified: at(9)}}, false, 0},
		{"made just after", at(11), []stock.Line{{Units: 2, Changes: moved(at(3), 2), Created: at(3), Modified: at(3)}}, false, 0},
		{"made after: not taken yet", at(11), []stock.Line{{Units: 2, Changes: moved(at(3.1), 2), Created: at(3.1), Modified: at(3.1)}}, true, 8},
		{"made and changed after", at(11), []stock.Line{{Units: 3, Changes: moved(at(4.5), 5, at(6), -2), Created: at(4), Modified: at(6)}}, true, 7},
		{"known before, changed after: what it held then is not known", at(11), []stock.Line{{Units: 1, Changes: moved(old, 2, at(4), -1), Created: old, Modified: at(4)}}, false, 0},
	} {
		s := stock.Sample{Reading: stock.Reading{Window: stock.Window{From: at(0), To: at(1)}}}
		clean := s.Clean(c.swept, c.lines, 10)
		if clean != c.clean || (clean && s.Taken != c.taken) {
			t.Errorf("%s: clean %v with %d taken, want %v with %d", c.name, clean, s.Taken, c.clean, c.taken)
		}
	}
}

func TestNothingIsJudgedWithoutSamples(t *testing.T) {
	t.Parallel()
	s := newShelf(t, &stock.Pool{ID: 1}, "hq", stock.Policy{Master: true}, 20)
	s.none(s.judge())
	s.read()
	s.pass(stock.Settle - 1)
	s.none(s.judge())
	if s.p.Enrolled {
		t.Fatal("a sample that no sweep confirmed gave a baseline")
	}
	s.p.Blocked = "Unmanaged"
	s.pass(1)
	if s.none(s.judge()); s.p.Enrolled {
		t.Fatal("an item that does not manage its stock was enrolled")
	}
}

func TestABaselineKeepsThePool(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.sell(1, 5)
	same := newShelf(t, s.pool, "fr", stock.Policy{BufferUnits: 2}, 13)
	if e := same.one(same.enrol(), stock.Baselined, false); e.Units != 0 || e.Quantity != 13 {
		t.Fatalf("entry %+v", e)
	}
	same.wants(15, 13)
	if same.p.Todo != 0 {
		t.Fatalf("to do %+d where numbers agree", same.p.Todo)
	}

	other := newShelf(t, s.pool, "de", stock.Policy{}, 40)
	e := other.one(other.enrol(), stock.Baselined, true)
	if e.Units != -25 || !strings.Contains(e.Evidence, "showed 40 where the pool asks for 15") {
		t.Fatalf("entry %+v", e)
	}
	other.settle()
	other.wants(15, 15)
}

func TestOrdersBeforeTheBaselineAreInTheReading(t *testing.T) {
	t.Parallel()
	pool := &stock.Pool{ID: 1}
	s := newShelf(t, pool, "hq", stock.Policy{Master: true}, 20)
	s.order(1, 4)
	s.pass(20 * time.Second)
	s.read()
	s.pass(5 * time.Second)
	s.quantity -= 3
	s.order(2, 3) // after the reading: not in it
	s.pass(stock.Settle)
	s.one(s.judge(), stock.Ordered, false)
	s.wants(17, 17)
}

func TestAMasterWithAPoolOfItsOwnKeepsIt(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.p.Disenroll("")
	s.quantity = 3
	e := s.one(s.enrol(), stock.Baselined, true)
	if s.pool.Units != 20 || e.Units != 17 {
		t.Fatalf("pool %d, row %+v: only a master's first clean sample sets the pool", s.pool.Units, e)
	}
}

func TestTheAccountsOfABaselineDropWhatWasOpen(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.lift(5)
	s.push()
	s.lift(2)
	a := s.unanswered()
	if len(s.p.Pushes) != 1 || !s.p.Undecided {
		t.Fatalf("placement %+v", s.p)
	}
	s.p.Enrolled = false // as after the management of the item was switched twice
	s.enrol()
	if s.p.Undecided || len(s.p.Pushes) != 0 || s.p.Attempts[0].State != stock.Void || s.p.Known[a.Slot] != a.ID {
		t.Fatalf("placement %+v", s.p)
	}
}

func TestOneAnswerFits(t *testing.T) {
	t.Parallel()
	t.Run("arrived", func(t *testing.T) {
		t.Parallel()
		s := master(t, 20)
		s.lift(5)
		a := s.unanswered()
		s.write(a)
		s.quantity -= 3
		s.order(1, 3)
		e := s.one(s.once(), stock.Arrived, false)
		if e.Units != 5 || e.Attempt != a.ID || s.p.Undecided || s.p.Writing() {
			t.Fatalf("entry %+v, placement %+v", e, s.p)
		}
		s.wants(22, 22)
		s.settle()
		s.wants(22, 22)
	})
	t.Run("void", func(t *testing.T) {
		t.Parallel()
		s := master(t, 20)
		s.lift(5)
		a := s.unanswered()
		s.quantity -= 3
		s.order(1, 3)
		e := s.one(s.once(), stock.Voided, true)
		if e.Units != 5 || e.Attempt != a.ID || s.p.Undecided || s.p.Attempts[0].State != stock.Void {
			t.Fatalf("entry %+v, placement %+v", e, s.p)
		}
		s.read()
		s.wants(22, 17)
		s.settle()
		s.wants(22, 22)
	})
	t.Run("one of two", func(t *testing.T) {
		t.Parallel()
		s := master(t, 20)
		s.lift(5)
		a := s.send()
		s.lift(2)
		b := s.send()
		s.mark(a)
		s.mark(b)
		s.write(b)
		s.read()
		entries := s.once()
		if s.one(entries, stock.Voided, true).Attempt != a.ID || s.one(entries, stock.Arrived, false).Attempt != b.ID {
			t.Fatalf("entries %+v", entries)
		}
		s.wants(27, 27)
		if s.settle(); s.p.Todo != 0 {
			t.Fatalf("to do %+d", s.p.Todo)
		}
		s.wants(27, 27)
	})
	t.Run("an open one that was not seen stays open", func(t *testing.T) {
		t.Parallel()
		s := master(t, 20)
		s.lift(5)
		a := s.send()
		b := s.unanswered()
		s.write(b)
		s.one(s.once(), stock.Arrived, false)
		if len(s.p.Attempts) != 2 || s.p.Attempts[0].ID != a.ID || s.p.Attempts[0].State != stock.Open {
			t.Fatalf("attempts %+v", s.p.Attempts)
		}
	})
	t.Run("one that was not seen explains nothing", func(t *testing.T) {
		t.Parallel()
		s := master(t, 20)
		s.lift(5)
		s.send()
		s.pool.Units -= 3
		s.check("less")
		s.unanswered()
		s.quantity = 25
		s.one(s.prove(), stock.Unclear, true)
	})
	t.Run("measured against accounts that were apart before", func(t *testing.T) {
		t.Parallel()
		s := master(t, 20)
		s.quantity += 7 // a restock by hand, under watch
		s.read()
		s.lift(2)
		a := s.unanswered()
		s.write(a)
		// What was there before may be what this push did, so the row covers both.
		if e := s.one(s.once(), stock.Arrived, true); e.Units != 2+7 {
			t.Fatalf("entry %+v", e)
		}
		if s.p.Parted() != 7 {
			t.Fatalf("the accounts are %+d apart, want the +7 under watch", s.p.Parted())
		}
	})
}

func TestAnUnansweredPushIsDecidedByACleanSampleOnly(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.lift(5)
	a := s.unanswered()
	s.write(a)
	s.pass(20 * time.Second)
	s.read()
	s.order(1, 0) // an order is touched in the same second
	s.pass(stock.Settle)
	s.none(s.judge())
	if !s.p.Undecided {
		t.Fatal("decided by a sample that an order raced")
	}
	s.samples = nil
	s.one(s.once(), stock.Arrived, false)
}

func TestWhatFitsNothingIsTheLowestStockAndARow(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.lift(5)
	s.unanswered()
	s.quantity = 23
	s.pass(20 * time.Second)
	s.read()
	s.pass(stock.Settle)
	s.none(s.judge()) // one sample is no proof
	s.read()
	s.pass(stock.Settle)
	e := s.one(s.judge(), stock.Unclear, true)
	// 23 is 20 and +3 by nobody, or 25 and −2 by nobody: −2 is the lower, and the push itself is in doubt.
	if s.pool.Units != 23 || e.Delta != -2 || e.Units != 5+5 || s.p.Undecided || s.p.Todo != 0 || s.p.Parted() != 0 {
		t.Fatalf("pool %d, entry %+v, placement %+v", s.pool.Units, e, s.p)
	}
	if !strings.Contains(e.Evidence, "1 (+5)") {
		t.Fatalf("evidence %q does not name the push", e.Evidence)
	}
	if s.p.Attempts[0].State != stock.Void {
		t.Fatalf("attempt %+v: it may still land", s.p.Attempts[0])
	}
	s.settle()
	s.wants(23, 23)
}

func TestTheLowestStockMayBeThatOfTheOrders(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.lift(5)
	s.unanswered()
	s.quantity = 23
	s.order(1, 9)
	if e := s.one(s.prove(), stock.Unclear, true); s.pool.Units != 16 || e.Units != 3+9+5 {
		t.Fatalf("pool %d, entry %+v", s.pool.Units, e)
	}
}

func TestWhatFitsSeveralIsTheLowestStockAndARow(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.quantity += 5 // a restock under watch, as large as the push
	s.read()
	s.lift(5)
	a := s.unanswered()
	s.quantity -= 5
	s.write(a) // restock gone and push arrived, or the other way round
	s.none(s.once())
	s.pass(10 * time.Second)
	s.read()
	s.pass(stock.Settle)
	e := s.one(s.judge(), stock.Unclear, true)
	if s.pool.Units != 25 || e.Units != 10 || s.p.Undecided || a.Units != 5 {
		t.Fatalf("pool %d, entry %+v", s.pool.Units, e)
	}
}

func TestARowCoversWhatTheOrdersSayToo(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.lift(5)
	s.unanswered()
	s.quantity = 12
	if e := s.one(s.prove(), stock.Unclear, true); s.pool.Units != 25-13 || e.Units != 13+5 {
		t.Fatalf("pool %d, entry %+v", s.pool.Units, e)
	}
}

func TestAPushHeldUpInTheShopLandsOverEverythingSince(t *testing.T) {
	t.Parallel()
	t.Run("while it is judged", func(t *testing.T) {
		t.Parallel()
		s := master(t, 20)
		s.lift(5)
		a := s.unanswered()
		s.quantity -= 3
		s.order(1, 3)
		s.quantity = 25 // what it read, and its units
		s.pass(20 * time.Second)
		s.read()
		s.pass(6 * time.Second)
		s.read()
		s.pass(4 * time.Second)
		s.order(2, 1) // the shop goes on selling
		s.quantity--
		s.pass(stock.Settle)
		e := s.one(s.judge(), stock.Lost, true)
		if e.Attempt != a.ID || s.p.Undecided || len(s.p.Attempts) != 0 {
			t.Fatalf("entry %+v, placement %+v", e, s.p)
		}
		if want := int64(8 + 5 + 3 + 1); e.Units != want { // S, the push, and the orders since
			t.Fatalf("the row says %d units are in doubt, want %d", e.Units, want)
		}
		s.read()
		s.settle()
		s.wants(21, 21)
	})
	t.Run("after it was judged void", func(t *testing.T) {
		t.Parallel()
		s := master(t, 20)
		s.lift(5)
		a := s.unanswered()
		s.one(s.once(), stock.Voided, true)
		s.read()
		s.settle()
		s.sell(1, 4)
		s.quantity = 25
		e := s.one(s.prove(), stock.Lost, true)
		if e.Attempt != a.ID {
			t.Fatalf("entry %+v", e)
		}
		s.settle()
		s.wants(21, 21)
	})
	t.Run("the other attempts under judgement are void", func(t *testing.T) {
		t.Parallel()
		s := master(t, 20)
		s.lift(5)
		a := s.send()
		s.lift(2)
		b := s.send()
		s.mark(a)
		s.mark(b)
		s.read()
		s.quantity -= 3
		s.order(1, 3)
		s.quantity = 25
		s.pass(20 * time.Second)
		s.read()
		s.pass(6 * time.Second)
		s.read()
		s.pass(4 * time.Second)
		s.order(2, 1)
		s.pass(stock.Settle)
		if e := s.one(s.judge(), stock.Lost, true); e.Attempt != a.ID {
			t.Fatalf("entry %+v", e)
		}
		if len(s.p.Attempts) != 1 || s.p.Attempts[0].ID != b.ID || s.p.Attempts[0].State != stock.Void {
			t.Fatalf("attempts %+v", s.p.Attempts)
		}
	})
}

// An edit by exactly the units of a push that the shop holds up makes it seem to have arrived; then it lands.
func TestAPushThatSeemedToHaveArrivedMayStillLand(t *testing.T) {
	t.Parallel()
	seemed := func(t *testing.T) (*shelf, stock.Attempt) {
		s := master(t, 20)
		s.lift(5)
		a := s.unanswered()
		s.quantity += 5 // by hand
		s.one(s.once(), stock.Arrived, false)
		if !s.p.Pending() || s.p.Writing() {
			t.Fatalf("placement %+v, want one that is watched, and written", s.p)
		}
		return s, a
	}
	t.Run("over what was sold since", func(t *testing.T) {
		t.Parallel()
		s, a := seemed(t)
		s.sell(1, 4)
		s.quantity = 25
		if e := s.one(s.prove(), stock.Lost, true); e.Attempt != a.ID || s.p.Pending() {
			t.Fatalf("entry %+v, attempts %+v", e, s.p.Attempts)
		}
		s.settle()
		s.wants(21, 21)
	})
	t.Run("while another one is judged", func(t *testing.T) {
		t.Parallel()
		s, a := seemed(t)
		s.sell(1, 4)
		s.lift(2)
		s.unanswered()
		s.quantity = 25
		if e := s.one(s.prove(), stock.Lost, true); e.Attempt != a.ID {
			t.Fatalf("entry %+v", e)
		}
		s.settle()
		s.wants(23, 23)
	})
	t.Run("after it was judged void, and to have arrived", func(t *testing.T) {
		t.Parallel()
		s := master(t, 20)
		s.lift(5)
		a := s.unanswered()
		s.one(s.once(), stock.Voided, true)
		s.read()
		s.settle() // another push, of as many
		s.sell(1, 7)
		s.quantity += 5 // by hand
		s.one(s.prove(), stock.Arrived, true)
		s.settle()
		s.quantity = 25
		if e := s.one(s.prove(), stock.Lost, true); e.Attempt != a.ID {
			t.Fatalf("entry %+v", e)
		}
		s.settle()
		s.wants(18, 18)
	})
	t.Run("it explains nothing else", func(t *testing.T) {
		t.Parallel()
		s, _ := seemed(t)
		s.sell(1, 1)
		s.quantity += 5 // by hand, again
		s.one(s.prove(), stock.Edited, true)
		s.wants(29, 29)
	})
	t.Run("an older marker is still an older marker", func(t *testing.T) {
		t.Parallel()
		s, a := seemed(t)
		backup := s.markers
		for range stock.Slots {
			s.lift(1)
			s.push()
		}
		s.markers[a.Slot] = backup[a.Slot]
		s.read()
		if !s.p.Restored {
			t.Fatalf("placement %+v", s.p)
		}
	})
	t.Run("not for ever", func(t *testing.T) {
		t.Parallel()
		s, _ := seemed(t)
		s.pass(14 * time.Minute)
		s.read()
		if !s.p.Pending() {
			t.Fatal("given up too soon")
		}
		s.pass(time.Minute)
		s.read()
		if s.p.Pending() {
			t.Fatalf("attempts %+v", s.p.Attempts)
		}
	})
	t.Run("one that the shop answered is over", func(t *testing.T) {
		t.Parallel()
		s := master(t, 20)
		s.lift(5)
		a := s.send()
		s.write(a)
		s.answer(a) // without its marker
		s.one(s.once(), stock.Arrived, false)
		if s.p.Pending() {
			t.Fatalf("attempts %+v", s.p.Attempts)
		}
	})
}

func TestAHeldUpPushIsRecognisedInQuietToo(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.lift(5)
	s.unanswered()
	s.quantity -= 3
	s.order(1, 3)
	s.quantity = 25
	s.one(s.prove(), stock.Lost, true)
	s.settle()
	s.wants(22, 22)
}

// Orders that were behind the quantity when an unanswered push showed itself catch up while it is judged.
func TestOrdersCloseTheGapWhileAPushIsJudged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edit, order, parted int64
	}{
		"the sale that was read": {-3, 3, 0},
		"that and another":       {-3, 4, 0},
		"another beside an edit": {6, 2, 6},
		"a refund that was read": {2, -2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := master(t, 20)
			s.order(9, 4)
			s.quantity -= 4
			s.read()
			s.quantity += c.edit
			s.read()
			s.lift(20)
			a := s.unanswered()
			s.write(a)
			s.quantity = 20 - 4 + a.Units - c.order + c.parted
			if c.order < 0 {
				s.order(9, 4+c.order)
			} else {
				s.order(1, c.order)
			}
			if e := s.one(s.once(), stock.Arrived, c.parted != 0); e.Attempt != a.ID {
				t.Fatalf("entry %+v", e)
			}
			s.read()
			if s.p.Parted() != c.parted {
				t.Fatalf("apart by %+d, want %+d", s.p.Parted(), c.parted)
			}
		})
	}
}

func TestAnAnsweredPushDoesNotLandLater(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.lift(5)
	a := s.send()
	s.answer(a)          // without its marker
	s.quantity = a.Units // an edit to what a push held up since the shelf was empty would have written
	s.one(s.prove(), stock.Unclear, true)
}

func TestAnOlderPushThatLandsInTheSlotOfANewerOneHidesIt(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.lift(3)
	first := s.send()
	var newest stock.Attempt
	for range stock.Slots {
		newest = s.send()
	}
	if newest.Slot != first.Slot {
		t.Fatalf("slots %d and %d", first.Slot, newest.Slot)
	}
	s.write(newest)
	s.mark(first)
	s.write(first)
	s.read()
	s.pool.Units += 3
	for range 2 {
		s.prove()
	}
	if s.quantity != 26 || s.p.Contained != 26 || s.p.Todo != 0 {
		t.Fatalf("placement %+v; history %v", s.p, s.log)
	}
	for _, e := range s.log {
		if e.Kind == stock.Edited {
			t.Fatalf("nobody edited: %+v", e)
		}
	}
}

func TestAVoidOrOverwrittenPushThatLandsAfterAllIsCounted(t *testing.T) {
	t.Parallel()
	t.Run("void", func(t *testing.T) {
		t.Parallel()
		s := master(t, 20)
		s.lift(5)
		a := s.unanswered()
		s.one(s.once(), stock.Voided, true)
		s.read()
		s.settle()
		s.sell(1, 1)
		s.write(a)
		if e := s.one(s.prove(), stock.Arrived, true); e.Attempt != a.ID || s.p.Writing() {
			t.Fatalf("entry %+v, attempts %v", e, s.p.Attempts)
		}
		s.settle()
		s.wants(24, 24)
	})
	t.Run("another number is another thing", func(t *testing.T) {
		t.Parallel()
		s := master(t, 20)
		s.lift(5)
		s.unanswered()
		s.one(s.once(), stock.Voided, true)
		s.read()
		s.settle()
		s.sell(1, 1)
		s.quantity += 4
		s.one(s.prove(), stock.Edited, true)
	})
	t.Run("one whose marker was never seen is not taken for held up", func(t *testing.T) {
		t.Parallel()
		s := master(t, 20)
		s.lift(5)
		s.send()
		s.quantity = 5 // what it asks for, on an empty shelf
		s.one(s.prove(), stock.Edited, false)
	})
	t.Run("overwritten", func(t *testing.T) {
		t.Parallel()
		s := master(t, 20)
		s.lift(3)
		first := s.send()
		for range stock.Slots {
			a := s.send()
			s.mark(a)
			stock.Unsent(&s.p, a.ID)
			s.markers[a.Slot] = stock.Marker{}
		}
		for range stock.Slots {
			s.send()
		}
		if s.p.Attempts[0].ID != first.ID || s.p.Attempts[0].State != stock.Overwritten {
			t.Fatalf("attempt %+v", s.p.Attempts[0])
		}
		s.write(first)
		if e := s.one(s.prove(), stock.Arrived, true); e.Attempt != first.ID || slices.ContainsFunc(s.p.Attempts, func(a stock.Attempt) bool { return a.ID == first.ID }) {
			t.Fatalf("entry %+v, attempts %+v", e, s.p.Attempts) // what it read is not known, so nothing is to be watched for
		}
		s.wants(23, 23)
		if s.p.Todo != 0 {
			t.Fatalf("to do %+d", s.p.Todo)
		}
	})
}

func TestASaleThatAPushOverwroteIsRepairedWithEvidence(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		units int64 // held by the order
		off   time.Duration
		kind  stock.Kind
	}{
		{"a sale in the same second", 2, 0, stock.Lost},
		{"a sale a second before", 2, -time.Second, stock.Lost},
		{"a sale a second after", 2, time.Second, stock.Lost},
		{"a sale two seconds before is none of it", 2, -2 * time.Second, stock.Edited},
		{"a sale two seconds after is none of it", 2, 2 * time.Second, stock.Edited},
		{"other units are none of it", 3, 0, stock.Edited},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := master(t, 20)
			s.lift(5)
			s.pass(10 * time.Second)
			pushed := *s.now
			s.push()
			*s.now = pushed.Add(c.off)
			s.order(7, c.units)
			s.quantity -= c.units - 2 // two of its units were overwritten
			e := s.one(s.prove(), c.kind, c.kind == stock.Lost || c.off == 0)
			if c.kind == stock.Edited {
				doubt := int64(2)
				if c.off == 0 {
					doubt = c.units // it may have been the order after all
				}
				if e.Units != doubt {
					t.Fatalf("entry %+v", e)
				}
				return
			}
			if e.Units != 2 || !strings.Contains(e.Evidence, "order 7 (-2)") {
				t.Fatalf("entry %+v", e)
			}
			s.wants(23, 25)
			s.settle()
			s.wants(23, 23)
		})
	}
}

func TestAnOrderIsEvidenceByItsCreationOrByItsPayment(t *testing.T) {
	t.Parallel()
	for name, date := range map[string]func(*stock.Line, time.Time){
		"made in the push, paid later":       func(l *stock.Line, at time.Time) { l.Changes[0].At = at.Add(time.Minute) },
		"made long before, paid in the push": func(l *stock.Line, at time.Time) { l.Created = at.Add(-time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := master(t, 20)
			s.lift(5)
			s.pass(10 * time.Minute)
			s.push()
			s.order(7, 2)
			date(&s.lines[0], *s.now)
			s.pass(2 * time.Minute)
			s.one(s.prove(), stock.Lost, true)
		})
	}
}

func TestOfSeveralOrdersThatExplainALossTheNewestIsNamed(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.lift(5)
	s.pass(10 * time.Second)
	s.push()
	s.quantity -= 2
	s.order(7, 2)
	s.pass(time.Second)
	s.order(8, 2)
	e := s.one(s.prove(), stock.Lost, true)
	if e.Units != 4 || !strings.Contains(e.Evidence, "order 8 (-2)") || strings.Contains(e.Evidence, "order 7") {
		t.Fatalf("entry %+v", e)
	}
}

func TestPushesBeforeTheAccountsAgreedExplainNothing(t *testing.T) {
	t.Parallel()
	for ago, kind := range map[time.Duration]stock.Kind{2 * time.Minute: stock.Lost, 2*time.Minute + time.Second: stock.Edited} {
		s := master(t, 20)
		s.lift(5)
		s.push()
		s.quantity -= 2
		s.order(7, 2)
		s.pass(ago)
		s.read() // at one
		s.pass(stock.Settle)
		s.read() // and still, with the orders of that time
		s.quantity += 2
		s.one(s.prove(), kind, kind == stock.Lost)
	}
}

// A sale that was read before its order was swept can hide a loss of the same size for a while: for as long as orders are not
// swept.
func TestAccountsThatAgreeByChanceForgetNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		again time.Duration // when it is read a second time, if that is not 0
		swept time.Duration // when orders were swept after the first time
		kind  stock.Kind
	}{
		{0, 0, stock.Lost}, {stock.Settle - 1, stock.Settle - 1, stock.Lost}, {time.Minute, stock.Settle - 1, stock.Lost},
		{stock.Settle, stock.Settle, stock.Edited}, {time.Minute, stock.Settle, stock.Edited},
	} {
		s := master(t, 20)
		s.lift(5)
		s.push()
		s.order(7, 2) // the push overwrote it
		s.read()
		s.pass(3 * time.Minute)
		s.quantity -= 2
		s.read()
		if c.again != 0 {
			s.swept = s.now.Add(c.swept)
			s.pass(c.again)
			s.read()
			s.swept = time.Time{}
		}
		s.order(8, 2)
		e := s.one(s.prove(), c.kind, c.kind == stock.Lost)
		if lost := c.kind == stock.Lost; e.Units != 2 || lost != strings.Contains(e.Evidence, "order 7") {
			t.Errorf("read again after %v: %+v", c.again, e)
		}
	}
}

// Two refunds of one order are one movement to a sweep after both. Where a push overwrote the first of them, no sum of
// movements tells, but a row does.
func TestALineThatMovedMoreThanOnceIsADoubt(t *testing.T) {
	t.Parallel()
	for before, conflict := range map[time.Duration]bool{-time.Minute: true, time.Minute: false} {
		s := master(t, 20)
		s.sell(7, 3)
		s.lift(5)
		s.pass(5 * time.Minute)
		s.push()
		since := s.now.Add(before)
		s.pass(2 * time.Minute)
		s.quantity++ // of two, one was overwritten
		s.order(7, 1)
		s.lines[0].Changes[1].Since = since
		e := s.one(s.prove(), stock.Edited, conflict)
		if conflict != strings.Contains(e.Evidence, "order 7 may have moved more than once") {
			t.Errorf("known otherwise %v after the push: %+v", before, e)
		}
	}
}

// A push that was given up lands in the very moment of another one, and writes over it.
func TestAPushThatLandsOverAnotherOne(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.lift(-3)
	late := s.unanswered()
	s.one(s.once(), stock.Voided, true)
	s.sell(1, 1) // or it would look like a push held up since
	s.lift(-5)
	s.pass(5 * time.Minute)
	base := s.quantity
	s.push()
	s.quantity = base + late.Units
	if e := s.one(s.prove(), stock.Lost, true); e.Attempt != late.ID || len(s.p.Attempts) != 0 {
		t.Fatalf("entry %+v, attempts %v", e, s.p.Attempts)
	}
	s.wants(11, 16)
	s.settle()
	s.wants(11, 11)
}

// A push that died, when the accounts were apart by as many units, may be what an edit before it did.
func TestAnArrivalThatExplainsWhatWasApartBeforeIsARow(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.quantity -= 3 // by hand
	s.read()
	s.lift(-3)
	a := s.unanswered()
	s.order(7, 2)
	s.quantity -= 2
	if e := s.one(s.once(), stock.Arrived, true); e.Attempt != a.ID || e.Units < 3 {
		t.Fatalf("entry %+v", e)
	}
}

func TestTheLastMovementsOfALineAreKept(t *testing.T) {
	t.Parallel()
	var all []stock.Change
	for i := range 20 {
		before := len(all)
		next := stock.Changed(all, stock.Change{At: noon, Units: int64(i)})
		if other := stock.Changed(all, stock.Change{At: noon, Units: -1}); len(all) != before || next[len(next)-1].Units != int64(i) || other[len(other)-1].Units != -1 {
			t.Fatalf("movements share memory: %v, %v", next, other)
		}
		all = next
	}
	if len(all) != 8 || all[0].Units != 12 || all[7].Units != 19 {
		t.Fatalf("kept %v, want the last eight", all)
	}
}

func TestManyOrdersAreNoExplanation(t *testing.T) {
	t.Parallel()
	for n, kind := range map[int64]stock.Kind{16: stock.Lost, 17: stock.Edited} {
		s := master(t, 20)
		s.lift(5)
		s.push()
		for i := range n {
			s.order(100+i, 1) // none of them moved the shelf
		}
		s.one(s.prove(), kind, true)
	}
}

func TestARestockThatAPushOverwroteIsRepairedToo(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.sell(7, 4)
	s.sell(8, 1)
	s.pass(time.Minute)
	s.pool.Units -= 2
	s.check("sold elsewhere")
	s.push()
	s.order(7, 1) // three given back, and overwritten
	s.order(8, 1) // touched, nothing given back
	e := s.one(s.prove(), stock.Lost, true)
	if e.Units != -3 || !strings.Contains(e.Evidence, "order 7 (+3)") {
		t.Fatalf("entry %+v", e)
	}
	s.settle()
	s.wants(16, 16)
}

func TestAnOrderThatWasMadeInThePushAndChangedLaterIsEvidenceOfBoth(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.lift(1)
	s.pass(10 * time.Second)
	s.push()
	s.order(7, 4) // overwritten
	s.pass(time.Minute)
	s.quantity++
	s.order(7, 3)
	e := s.one(s.prove(), stock.Lost, true)
	if e.Units != 4 {
		t.Fatalf("entry %+v", e)
	}
	s.settle()
	s.wants(18, 18)
}

func TestASlowPushIsEvidenceForAsLongAsItTook(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		took time.Duration
		kind stock.Kind
	}{
		"slow": {12 * time.Second, stock.Lost},
		"fast": {4 * time.Second, stock.Edited},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := master(t, 20)
			s.lift(5)
			s.pass(time.Minute)
			began := *s.now
			a := s.send()
			s.mark(a)
			s.write(a)
			s.order(7, 2) // read before, written over after
			*s.now = began.Add(c.took)
			r := s.reading()
			r.Window.From = began
			s.step("answer", func() []stock.Entry {
				return stock.Answered(s.pool, &s.p, a.ID, r, *s.now, ours, s.pol, *s.now)
			})
			s.one(s.prove(), c.kind, c.kind == stock.Lost)
		})
	}
}

func TestALossIsFoundAmongManyOrders(t *testing.T) {
	t.Parallel()
	s := master(t, 200)
	s.lift(1)
	s.push()
	for i := range int64(17) {
		s.quantity--
		s.order(10+i, 1)
	}
	s.quantity++ // one overwritten
	s.one(s.prove(), stock.Lost, true)
}

func TestEditsAreCountedOnce(t *testing.T) {
	t.Parallel()
	for _, d := range []int64{6, -6} {
		s := master(t, 20)
		s.quantity += d
		e := s.one(s.prove(), stock.Edited, false)
		if e.Units != d {
			t.Fatalf("entry %+v", e)
		}
		s.wants(20+d, 20+d)
		s.none(s.prove())
		s.wants(20+d, 20+d)
		if s.p.Todo != 0 {
			t.Fatalf("to do %+d", s.p.Todo)
		}
	}
}

func TestRevertUndoesEdits(t *testing.T) {
	t.Parallel()
	for _, d := range []int64{6, -6} {
		s := master(t, 20)
		s.pol.Revert = true
		s.quantity += d
		s.one(s.prove(), stock.Edited, false)
		if s.pool.Units != 20 || s.p.Todo != -d {
			t.Fatalf("pool %d, to do %+d", s.pool.Units, s.p.Todo)
		}
		s.settle()
		s.wants(20, 20)
	}
}

func TestAnEditIsJudgedOnProofOnly(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.quantity += 6
	s.read()
	s.pass(20 * time.Second)
	s.read()
	s.pass(stock.Apart - 1)
	s.read()
	s.samples = s.samples[1:]
	s.pass(stock.Settle)
	s.none(s.judge())
	if s.pool.Units != 20 {
		t.Fatalf("pool %d: two samples less than five seconds apart are no proof", s.pool.Units)
	}
	s.quantity++ // still going on: the newest sample disagrees
	s.read()
	s.pass(stock.Settle)
	s.none(s.judge())
	s.one(s.prove(), stock.Edited, false)
	s.wants(27, 27)
}

func TestSamplesOfARestoredShopProveNoEdit(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.quantity += 6
	s.pass(20 * time.Second)
	s.read()
	s.pass(6 * time.Second)
	s.read()
	for i := range s.samples {
		s.samples[i].Older = true
	}
	s.pass(stock.Settle)
	s.none(s.judge())
}

func TestAccountsThatAgreedAtTheReadingAreNotApart(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.sell(1, 3)
	s.pass(time.Minute)
	refunded := *s.now
	s.quantity += 2
	s.pass(5 * time.Second)
	s.read()
	s.pass(6 * time.Second)
	s.read()
	if s.p.Parted() != 2 || len(s.samples) < 2 {
		t.Fatalf("accounts apart by %+d, %d samples", s.p.Parted(), len(s.samples))
	}
	s.pass(10 * time.Second)
	s.quantity--
	s.order(2, 1) // the sweep finds a sale made since
	made := *s.now
	*s.now = refunded
	s.order(1, 1) // and the refund
	*s.now = made.Add(time.Second)
	if s.p.Parted() == 0 {
		t.Fatal("the last sale was not read yet")
	}
	s.none(s.judge())
	if len(s.samples) != 0 {
		t.Fatal("the samples showed that nothing was apart; they are used up")
	}
	s.read()
	s.wants(18, 18)
}

func TestAnEditThatMayHaveBeenSomethingElseGetsARow(t *testing.T) {
	t.Parallel()
	t.Run("an order that nets to zero lies beside a push", func(t *testing.T) {
		t.Parallel()
		s := master(t, 20)
		s.lift(1)
		s.push()
		s.order(7, 0)
		s.quantity += 3
		e := s.one(s.prove(), stock.Edited, true)
		if !strings.Contains(e.Evidence, "orders lay within a second of a push") {
			t.Fatalf("evidence %q", e.Evidence)
		}
	})
	t.Run("a push went unanswered", func(t *testing.T) {
		t.Parallel()
		for since, conflict := range map[time.Duration]bool{10 * time.Minute: true, 31 * time.Minute: false} {
			s := master(t, 20)
			s.lift(1)
			a := s.unanswered()
			s.write(a)
			s.once()
			s.pass(since)
			s.quantity += 3
			s.one(s.prove(), stock.Edited, conflict)
		}
	})
}

func TestOrdersAreAskedForBeforeAnyEditCounts(t *testing.T) {
	t.Parallel()
	for _, d := range []int64{6, -6} {
		s := master(t, 20)
		s.sell(1, 2)
		s.pass(time.Minute)
		s.asked = false
		s.quantity += d
		kept := 0
		s.none(s.prove())
		if kept = len(s.samples); kept < 2 || s.p.Parted() != d {
			t.Fatalf("%d samples kept, accounts apart by %+d", kept, s.p.Parted())
		}
		s.asked, s.same = true, false
		entries := s.judge()
		e := s.one(entries, stock.RestoredShop, true)
		if e.Units != d || s.pool.Units != 18 || len(s.samples) != 0 {
			t.Fatalf("entry %+v, pool %d", e, s.pool.Units)
		}
		s.settle()
		s.wants(18, 18)
	}
}

func TestARestoredShopKeepsThePool(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	backup := s.markers
	s.lift(5)
	s.push()
	s.sell(1, 2)
	s.markers, s.quantity = backup, 20 // the sale and the push are gone
	s.read()
	s.none(s.once()) // one sample is no proof
	s.pass(10 * time.Second)
	s.quantity++ // still being put back: two that disagree are none either
	s.read()
	s.pass(stock.Settle)
	s.none(s.judge())
	s.quantity--
	s.sell(2, 1) // a sale while it is judged
	s.pass(20 * time.Second)
	s.read()
	s.pass(6 * time.Second)
	s.read()
	s.pass(stock.Settle)
	e := s.one(s.judge(), stock.RestoredShop, true)
	if s.p.Restored || e.Units != 19-22 || !strings.Contains(e.Evidence, "a marker of ours is gone") {
		t.Fatalf("entry %+v, placement %+v", e, s.p)
	}
	s.settle()
	s.wants(22, 22)
	s.none(s.prove())
}

func TestOrdersSinceTheReadingOfARestoredShopAreNotCountedTwice(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.lift(5)
	s.push()
	s.markers = stock.Markers{}
	s.quantity = 20
	s.pass(20 * time.Second)
	s.read()
	s.read()
	s.pass(6 * time.Second)
	s.read()
	s.pass(5 * time.Second)
	s.quantity -= 3
	s.order(1, 3)
	s.pass(stock.Settle)
	s.one(s.judge(), stock.RestoredShop, true)
	if s.pool.Units != 22 {
		t.Fatalf("pool %d, want 25 less the 3 sold", s.pool.Units)
	}
	s.read()
	s.settle()
	s.wants(22, 22)
}

func TestOnlyTheMasterSetsAPoolAlsoWhereAChildIsRestored(t *testing.T) {
	t.Parallel()
	hq := master(t, 20)
	fr := hq.child("fr", stock.Policy{}, 20)
	fr.lift(5)
	fr.push()
	hq.pool.Set = false // the master's item is gone
	fr.markers, fr.quantity = stock.Markers{}, 3
	fr.read()
	fr.one(fr.prove(), stock.RestoredShop, true)
	if hq.pool.Set || hq.pool.Units != 25 {
		t.Fatalf("pool %+v", hq.pool)
	}
}

func TestAShopThatShowsTheMarkerAgainIsNotRestored(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.lift(5)
	s.push()
	markers := s.markers
	s.markers = stock.Markers{} // a cache served an older item
	s.read()
	if !s.p.Restored {
		t.Fatal("the marker is gone")
	}
	s.markers = markers
	s.read()
	if s.p.Restored {
		t.Fatal("the marker is there again")
	}
	s.none(s.prove())
	s.wants(25, 25)
}

func TestALostLedgerKnowsItsOwnMarkers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		order time.Duration // relative to the newest push
		row   bool
	}{
		"an order newer than the newest push":            {time.Second, true},
		"an order of the minute before":                  {-time.Minute, true},
		"an order old enough to have reached all stores": {-time.Minute - time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			old := master(t, 20)
			old.lift(5)
			old.pass(10 * time.Minute)
			pushed := *old.now
			old.push()

			s := newShelf(t, &stock.Pool{ID: 1}, "hq", stock.Policy{Master: true}, old.quantity)
			s.markers = old.markers
			*s.now = pushed.Add(c.order)
			s.order(1, 2)
			*s.now = pushed.Add(5 * time.Minute)
			entries := s.enrol()
			s.one(entries, stock.Baselined, false)
			if c.row {
				if e := s.one(entries, stock.Recovered, true); e.Units != 2 {
					t.Fatalf("entry %+v", e)
				}
			} else if len(entries) != 1 {
				t.Fatalf("entries %+v", entries)
			}
			s.wants(25, 25)
			s.none(s.read())
			if s.p.Restored || s.p.Known[0] != 1 {
				t.Fatalf("placement %+v: the markers are ours", s.p)
			}
		})
	}
}

func TestABaselineKnowsOnlyMarkersOfOurOwn(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]stock.Marker{
		"another ledger's":       {Ledger: "ledger-b", Pool: 1, Store: "hq", Product: 7, Attempt: 4, At: noon},
		"a duplicated product's": {Ledger: ours, Pool: 1, Store: "hq", Product: 8, Attempt: 4, At: noon},
	} {
		s := newShelf(t, &stock.Pool{ID: 1}, "hq", stock.Policy{Master: true}, 20)
		s.markers[2] = m
		s.order(1, 1)
		s.enrol()
		s.none(s.read())
		if s.p.Restored || s.p.Known != [stock.Slots]int64{} {
			t.Errorf("%s marker: known %v, the shop looks restored: %v", name, s.p.Known, s.p.Restored)
		}
	}
}

// What a shop sold while the ledger was lost may have reached no other, also where nothing was ever pushed to it.
func TestALostLedgerIsToldWhereNothingWasPushed(t *testing.T) {
	t.Parallel()
	m := master(t, 20)
	for name, c := range map[string]struct {
		pol  stock.Policy
		row  bool
		sold int64
	}{
		"sold":          {stock.Policy{Recovering: true}, true, 5},
		"nothing sold":  {stock.Policy{Recovering: true}, false, 0},
		"a new store":   {stock.Policy{}, false, 5},
		"as the master": {stock.Policy{Recovering: true, Master: true}, false, 5},
	} {
		s := newShelf(t, m.pool, "fr", c.pol, 20)
		if c.sold > 0 {
			s.order(1, c.sold)
		}
		entries := s.enrol()
		s.one(entries, stock.Baselined, false)
		if (len(entries) == 2) != c.row || (c.row && s.one(entries, stock.Recovered, true).Units != c.sold) {
			t.Errorf("%s: %+v", name, entries)
		}
	}
}

func TestAnItemEnrolledAnewIsNoLostLedger(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.lift(5)
	s.push()
	s.sell(1, 2)
	s.p.Disenroll("")
	if entries := s.enrol(); len(entries) != 1 {
		t.Fatalf("entries %+v", entries)
	}
}

func TestAFeedStopsTheSKU(t *testing.T) {
	t.Parallel()
	setTo := func(s *shelf, to int64) []stock.Entry {
		s.quantity = to
		return s.prove()
	}
	t.Run("two stores set to the same number", func(t *testing.T) {
		t.Parallel()
		hq := master(t, 20)
		fr := hq.child("fr", stock.Policy{}, 20)
		hq.quantity, fr.quantity = 50, 50
		hq.one(hq.prove(), stock.Edited, false)
		entries := fr.prove()
		fr.one(entries, stock.Edited, false)
		e := fr.one(entries, stock.Feed, true)
		if hq.pool.Stopped != e.Evidence || stock.MayPush(*fr.pool, fr.p) || !strings.Contains(e.Evidence, "hq and fr were set to about 50") {
			t.Fatalf("pool %+v", hq.pool)
		}
	})
	t.Run("also where a push came between the edit and its proof", func(t *testing.T) {
		t.Parallel()
		hq := master(t, 20)
		fr := hq.child("fr", stock.Policy{}, 20)
		hq.quantity, fr.quantity = 50, 50
		fr.read()
		hq.one(hq.prove(), stock.Edited, false)
		fr.check("the pool moved")
		fr.push()
		entries := fr.prove()
		fr.one(entries, stock.Feed, true)
	})
	t.Run("also where another came after the reading that proves it", func(t *testing.T) {
		t.Parallel()
		hq := master(t, 20)
		fr := hq.child("fr", stock.Policy{}, 20)
		hq.quantity, fr.quantity = 50, 50
		fr.read()
		hq.one(hq.prove(), stock.Edited, false)
		fr.check("the pool moved")
		fr.push()
		fr.pass(20 * time.Second)
		fr.read()
		fr.pass(stock.Apart)
		fr.read()
		fr.pass(stock.Settle / 2)
		fr.lift(2)
		fr.push()
		fr.pass(stock.Settle / 2)
		fr.one(fr.judge(), stock.Feed, true)
	})
	t.Run("also where sales blur the number", func(t *testing.T) {
		t.Parallel()
		hq := master(t, 20)
		fr := hq.child("fr", stock.Policy{}, 20)
		hq.quantity, fr.quantity = 50, 50
		hq.one(hq.prove(), stock.Edited, false)
		fr.read()
		fr.pass(5 * time.Second)
		fr.sell(1, 3)
		fr.one(fr.prove(), stock.Feed, true)
	})
	t.Run("a push long before the edit is none of it", func(t *testing.T) {
		t.Parallel()
		hq := master(t, 20)
		fr := hq.child("fr", stock.Policy{}, 20)
		fr.sell(1, 1) // the accounts were apart for a moment, and agreed again
		fr.read()
		fr.pass(10 * time.Second)
		hq.check("sold elsewhere")
		hq.push()
		hq.lift(5)
		fr.check("more")
		fr.push()
		hq.push()
		hq.pass(10 * time.Minute)
		hq.one(setTo(hq, 50), stock.Edited, false)
		fr.check("more")
		fr.one(setTo(fr, 55), stock.Edited, false)
		if hq.pool.Stopped != "" {
			t.Fatalf("stopped: %s", hq.pool.Stopped)
		}
	})
	t.Run("other numbers are two people at work", func(t *testing.T) {
		t.Parallel()
		hq := master(t, 20)
		fr := hq.child("fr", stock.Policy{}, 20)
		hq.one(setTo(hq, 50), stock.Edited, false)
		fr.one(setTo(fr, 51), stock.Edited, false)
		if hq.pool.Stopped != "" {
			t.Fatalf("stopped: %s", hq.pool.Stopped)
		}
	})
	t.Run("an hour later it is another edit", func(t *testing.T) {
		t.Parallel()
		hq := master(t, 20)
		fr := hq.child("fr", stock.Policy{}, 20)
		setTo(hq, 50)
		hq.pass(time.Hour)
		setTo(fr, 50)
		if hq.pool.Stopped != "" || len(hq.pool.Edits) != 1 {
			t.Fatalf("stopped: %s, edits %v", hq.pool.Stopped, hq.pool.Edits)
		}
	})
	t.Run("one store may be set again and again", func(t *testing.T) {
		t.Parallel()
		hq := master(t, 20)
		for i := range int64(70) {
			setTo(hq, 50+i%2)
		}
		if hq.pool.Stopped != "" || len(hq.pool.Edits) > 64 {
			t.Fatalf("stopped: %s, %d edits kept", hq.pool.Stopped, len(hq.pool.Edits))
		}
	})
	t.Run("edits that keep undoing our pushes", func(t *testing.T) {
		t.Parallel()
		hq := master(t, 20)
		fr := hq.child("fr", stock.Policy{Revert: true}, 20)
		hq.sell(1, 2)
		fr.check("sold elsewhere")
		fr.push()
		fr.pass(time.Minute)
		fr.one(setTo(fr, 20), stock.Edited, false)
		fr.push()
		fr.pass(time.Minute)
		fr.one(setTo(fr, 20), stock.Feed, true)
		if hq.pool.Stopped != "edits keep undoing our pushes" {
			t.Fatalf("stopped: %q", hq.pool.Stopped)
		}
	})
	undo := func(s *shelf) []stock.Entry {
		s.lift(2)
		s.push()
		s.pass(time.Minute)
		return setTo(s, s.quantity-2)
	}
	t.Run("an undone push in each of two stores is chance", func(t *testing.T) {
		t.Parallel()
		hq := master(t, 20)
		fr := hq.child("fr", stock.Policy{BufferUnits: 5}, 15)
		undo(hq)
		fr.check("edited")
		fr.settle()
		undo(fr)
		if hq.pool.Stopped != "" {
			t.Fatalf("stopped: %s", hq.pool.Stopped)
		}
	})
	t.Run("an undone push and another edit are chance too", func(t *testing.T) {
		t.Parallel()
		hq := master(t, 20)
		undo(hq)
		hq.pass(time.Minute)
		setTo(hq, 70)
		if hq.pool.Stopped != "" || len(hq.pool.Edits) != 2 || !hq.pool.Edits[0].Undid || hq.pool.Edits[1].Undid {
			t.Fatalf("stopped: %s, edits %+v", hq.pool.Stopped, hq.pool.Edits)
		}
	})
	t.Run("a stopped SKU is counted all the same", func(t *testing.T) {
		t.Parallel()
		hq := master(t, 20)
		hq.pool.Stopped = "a feed"
		hq.sell(1, 2)
		hq.wants(18, 18)
	})
}

// moved lists movements of an order line: times and units in turn.
func moved(list ...any) []stock.Change {
	var out []stock.Change
	for i := 0; i < len(list); i += 2 {
		out = append(out, stock.Change{At: list[i].(time.Time), Units: int64(list[i+1].(int))})
	}
	return out
}

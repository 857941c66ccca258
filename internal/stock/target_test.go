package stock

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

var fedPolicy = Policy{Source: true}

// aimed is an enrolled placement that shows so much, with a target.
func aimed(shows, target int64) *Placement {
	p := &Placement{Store: "fr", Pool: 1, Enrolled: true, Contained: shows, Quantity: shows, Shown: shows}
	p.Retarget(target, false, fedPolicy)
	return p
}

func todo(p *Placement, pol Policy) int64 {
	Plan(Pool{ID: 1, Set: true}, p, pol, time.Unix(1, 0))
	return p.Todo
}

// TestTargets: what is to be written after each of the things that can happen to a placement that a source feeds.
func TestTargets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(p *Placement) Policy
		want int64
	}{
		{"nothing at first", func(*Placement) Policy { return fedPolicy }, 0},
		{"the item changes", func(p *Placement) Policy { p.Retarget(9, true, fedPolicy); return fedPolicy }, -41},
		{"it changes to the same number", func(p *Placement) Policy { p.Retarget(10, true, fedPolicy); return fedPolicy }, -40},
		{"another location or choice", func(p *Placement) Policy { p.Retarget(77, false, fedPolicy); return fedPolicy }, 0},
		{"another location while a write is due", func(p *Placement) Policy {
			p.Retarget(9, true, fedPolicy)
			p.Retarget(77, false, fedPolicy)
			return fedPolicy
		}, -41},
		{"a change while nothing may be written", func(p *Placement) Policy {
			paused := Policy{Source: true, Paused: true}
			p.Retarget(9, true, paused)
			return fedPolicy
		}, 0},
		{"a pause while a write is due", func(p *Placement) Policy {
			p.Retarget(9, true, fedPolicy)
			return Policy{Source: true, Paused: true}
		}, 0},
		{"a person asks for it", func(p *Placement) Policy { p.Correct(); return fedPolicy }, -40},
		{"the item is blocked", func(p *Placement) Policy {
			p.Retarget(9, true, fedPolicy)
			p.Blocked = string(Fraction)
			return fedPolicy
		}, 0},
	} {
		p := aimed(50, 10)
		pol := c.do(p)
		if got := todo(p, pol); got != c.want {
			t.Errorf("%s: %+d is to be written, want %+d (%+v)", c.name, got, c.want, p.Target)
		}
	}
}

// TestAChangeBeforeTheBaseline: what changes while a placement waits for its baseline is written once it has one; what does
// not, is not.
func TestAChangeBeforeTheBaseline(t *testing.T) {
	t.Parallel()
	for _, moved := range []bool{false, true} {
		p := &Placement{Store: "fr", Pool: 1}
		p.Retarget(10, false, fedPolicy)
		if moved {
			p.Retarget(9, true, fedPolicy)
		}
		pool := Pool{ID: 1, Set: true}
		entries, done := Judge(&pool, p, []Sample{{Reading: Reading{Quantity: 50}}}, nil, fedPolicy, nil, time.Unix(9, 0))
		want := int64(0)
		if moved {
			want = -41
		}
		if got := todo(p, fedPolicy); !done || got != want || entries[0].Conflict {
			t.Errorf("moved %v: %+d is to be written after %+v, want %+d", moved, got, entries, want)
		}
	}
}

// TestTheShopsOwnChangesMoveNoPool: whatever a shop does by itself, its pool stays; a write ends at the target.
func TestTheShopsOwnChangesMoveNoPool(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pool := Pool{ID: 1, Set: true, Units: 10}
		p := aimed(rapid.Int64Range(-5, 50).Draw(t, "shows"), 10)
		pol := fedPolicy
		pol.OrdersUnreadable = rapid.Bool().Draw(t, "unreadable")
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				delta := rapid.Int64Range(-3, 3).Draw(t, "ordered")
				Order(&pool, p, delta, pol, "")
			case 1:
				q := rapid.Int64Range(-5, 60).Draw(t, "read")
				Merge(&pool, p, Reading{Quantity: q}, "ledger", pol, time.Unix(2, 0))
			case 2:
				p.Retarget(rapid.Int64Range(-5, 60).Draw(t, "target"), true, pol)
			}
			if pool.Units != 10 {
				t.Fatalf("the pool became %d", pool.Units)
			}
		}
		p.Retarget(7, true, pol)
		if got := p.Expected() + todo(p, pol); got != 7 {
			t.Fatalf("a write ends at %d, want 7", got)
		}
	})
}

// TestNumber: a location's figure less what is owed there, rounded, clamped and less the buffer, in this order.
func TestNumber(t *testing.T) {
	t.Parallel()
	half, _ := ParseAmount("10.5")
	item := Stocked{SourceItem: SourceItem{ID: "1"}}
	item.Use(Used{Supply: Supply{Level: Level{Item: "1", Location: "a", OnHand: half}, Demand: Demand{WooCommerce: Units(2), Elsewhere: Units(3)}}})
	item.Use(Used{Supply: Supply{Level: Level{Item: "1", Location: "b", OnHand: Units(1)}}})
	if by := item.Owe(Owed{Store: "fr", Location: "a", Order: 1, Line: 1, Units: 2}); by != 2 {
		t.Errorf("owed %+d, want 2", by)
	}
	for _, c := range []struct {
		location string
		counts   SupplyPolicy
		pol      Policy
		want     int64
		known    bool
	}{
		{"a", SupplyPolicy{}, Policy{}, 3, true},
		{"a", SupplyPolicy{Rounding: RoundUp}, Policy{}, 4, true},
		{"a", SupplyPolicy{Committed: CommittedWooCommerceOnly}, Policy{BufferUnits: 2}, 4, true},
		{"a", SupplyPolicy{}, Policy{BufferUnits: 9}, 0, true},
		{"b", SupplyPolicy{}, Policy{}, 1, true},
		{"c", SupplyPolicy{}, Policy{}, 0, false},
	} {
		if n, known := item.Number(c.location, c.counts, c.pol); n != c.want || known != c.known {
			t.Errorf("%+v: %d, %v", c, n, known)
		}
	}
	if by := item.Owe(Owed{Store: "fr", Location: "a", Order: 1, Line: 1, Units: 12}); by != 10 || item.Owes("a") != 12 {
		t.Errorf("owed %+d to %d, want +10 to 12", by, item.Owes("a"))
	}
	if n, _ := item.Number("a", SupplyPolicy{}, Policy{BufferUnits: 2}); n != -7 {
		t.Errorf("below zero: %d, want -7", n)
	}
	if n, _ := item.Number("a", SupplyPolicy{Zero: true}, Policy{}); n != 0 {
		t.Errorf("kept from going below zero: %d", n)
	}
	if by := item.Owe(Owed{Store: "fr", Location: "a", Order: 1, Line: 1}); by != -12 || len(item.Owed) != 0 {
		t.Errorf("owed %+d, %v left", by, item.Owed)
	}
	item.Gone = true
	if _, known := item.Number("b", SupplyPolicy{}, Policy{}); known {
		t.Error("an item that is gone has a number")
	}
}

// TestUse: what counts as a change of an item.
func TestUse(t *testing.T) {
	t.Parallel()
	base := Supply{Level: Level{Item: "1", Location: "a", OnHand: Units(5), Committed: Units(2), HasCommitted: true, Incoming: Units(1)}, Demand: Demand{Elsewhere: Units(2)}}
	var item Stocked
	if item.Use(Used{Supply: base}) {
		t.Error("the first reading is a change")
	}
	for _, c := range []struct {
		change func(*Supply)
		want   bool
	}{
		{func(s *Supply) { s.Level.OnHand = Units(6) }, true},
		{func(s *Supply) { s.Level.Committed = Units(3) }, true},
		{func(s *Supply) { s.Demand = Demand{WooCommerce: Units(2)} }, true},
		{func(s *Supply) { s.Level.Incoming = Units(9) }, false},
		{func(s *Supply) { s.At = time.Unix(5, 0) }, false},
	} {
		next := base
		c.change(&next)
		of := item
		if got := of.Use(Used{Supply: next}); got != c.want {
			t.Errorf("%+v is a change: %v, want %v", next, got, c.want)
		}
	}
}

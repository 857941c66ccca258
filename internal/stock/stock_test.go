package stock_test

import (
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

func TestKeyOfIsTheOneFormForComparison(t *testing.T) {
	t.Parallel()
	for sku, want := range map[string]stock.Key{
		"MUG-Blue": "mug-blue", "  mug-blue\t": "mug-blue", "Ä-1": "ä-1", "two  spaces": "two  spaces", "": "", " \n": "",
	} {
		if got := stock.KeyOf(sku); got != want {
			t.Errorf("KeyOf(%q) = %q, want %q", sku, got, want)
		}
	}
}

func TestRefObjectIsWhatHoldsTheStock(t *testing.T) {
	t.Parallel()
	if got := (stock.Ref{Product: 7}).Object(); got != 7 {
		t.Errorf("a product's object is %d, want 7", got)
	}
	if got := (stock.Ref{Product: 7, Variation: 9}).Object(); got != 9 {
		t.Errorf("a variation's object is %d, want 9", got)
	}
}

func TestWanted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		master      bool
		pool, units int64
		buffer      int64
	}{
		{"the master shows the pool without buffer", true, 5, 5, 2},
		{"the master shows oversold units", true, -3, -3, 2},
		{"a child shows the pool", false, 5, 5, 0},
		{"a child holds its buffer back", false, 5, 3, 2},
		{"the buffer never makes a number negative", false, 1, 0, 2},
		{"an empty pool is shown as it is", false, 0, 0, 2},
		{"oversold units are shown in full", false, -3, -3, 2},
	} {
		if got := stock.Wanted(stock.Pool{Units: c.pool}, stock.Policy{Master: c.master, BufferUnits: c.buffer}); got != c.units {
			t.Errorf("%s: Wanted(%d) = %d, want %d", c.name, c.pool, got, c.units)
		}
	}
}

func TestPoolForIsWhatShowsTheNumber(t *testing.T) {
	t.Parallel()
	for _, pol := range []stock.Policy{{}, {Master: true, BufferUnits: 3}, {BufferUnits: 3}} {
		for shown := int64(-3); shown < 6; shown++ {
			if got := stock.Wanted(stock.Pool{Units: pol.PoolFor(shown)}, pol); got != shown {
				t.Errorf("%+v: with a pool of %d the store shows %d, not %d", pol, pol.PoolFor(shown), got, shown)
			}
		}
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	enrolled := stock.Placement{Enrolled: true, Contained: 10, Counted: -2}
	set := stock.Pool{Units: 13, Set: true}

	p := enrolled
	stock.Plan(set, &p, stock.Policy{}, noon)
	if p.Todo != 5 || !p.DirtySince.Equal(noon) {
		t.Fatalf("to do %+d since %v, want +5 since noon", p.Todo, p.DirtySince)
	}
	set.Units = 14
	stock.Plan(set, &p, stock.Policy{}, noon.Add(time.Minute))
	if p.Todo != 6 || !p.DirtySince.Equal(noon) {
		t.Fatalf("to do %+d since %v: a difference that grows is as old as it was", p.Todo, p.DirtySince)
	}
	set.Units = 8
	stock.Plan(set, &p, stock.Policy{}, noon.Add(time.Minute))
	if p.Todo != 0 || !p.DirtySince.IsZero() {
		t.Fatalf("to do %+d since %v, want nothing", p.Todo, p.DirtySince)
	}

	for name, change := range map[string]func(*stock.Pool, *stock.Placement){
		"the pool was never set": func(l *stock.Pool, _ *stock.Placement) { l.Set = false },
		"there is no baseline":   func(_ *stock.Pool, p *stock.Placement) { p.Enrolled = false },
		"it is blocked":          func(_ *stock.Pool, p *stock.Placement) { p.Blocked = "Unmanaged" },
	} {
		pool, p := stock.Pool{Units: 13, Set: true}, enrolled
		change(&pool, &p)
		if stock.Plan(pool, &p, stock.Policy{}, noon); p.Todo != 0 {
			t.Errorf("%s: to do %+d, want nothing", name, p.Todo)
		}
	}
}

func TestMayPushOnlyWhereNothingIsBeingJudged(t *testing.T) {
	t.Parallel()
	due := stock.Placement{Enrolled: true, Todo: 1}
	if !stock.MayPush(stock.Pool{Set: true}, due) {
		t.Fatal("a push is due and nothing is in its way")
	}
	for name, change := range map[string]func(*stock.Pool, *stock.Placement){
		"nothing to do":              func(_ *stock.Pool, p *stock.Placement) { p.Todo = 0 },
		"no baseline":                func(_ *stock.Pool, p *stock.Placement) { p.Enrolled = false },
		"blocked":                    func(_ *stock.Pool, p *stock.Placement) { p.Blocked = "Renamed" },
		"an attempt is undecided":    func(_ *stock.Pool, p *stock.Placement) { p.Undecided = true },
		"the shop looks restored":    func(_ *stock.Pool, p *stock.Placement) { p.Restored = true },
		"the pool was never set":     func(l *stock.Pool, _ *stock.Placement) { l.Set = false },
		"a person must choose first": func(l *stock.Pool, _ *stock.Placement) { l.Stopped = "a feed" },
	} {
		pool, p := stock.Pool{Set: true}, due
		change(&pool, &p)
		if stock.MayPush(pool, p) {
			t.Errorf("%s: a push would be sent", name)
		}
	}
}

func TestRestlessAndPending(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		p    stock.Placement
		want bool
	}{
		{"accounts that agree", stock.Placement{Enrolled: true, Quantity: 8, Contained: 10, Baseline: 0, Taken: 2}, false},
		{"no baseline", stock.Placement{}, true},
		{"an undecided attempt", stock.Placement{Enrolled: true, Undecided: true}, true},
		{"a restored shop", stock.Placement{Enrolled: true, Restored: true}, true},
		{"accounts apart", stock.Placement{Enrolled: true, Quantity: 1}, true},
		{"blocked", stock.Placement{Blocked: "Unmanaged", Quantity: 1}, false},
	} {
		if got := c.p.Restless(); got != c.want {
			t.Errorf("%s: Restless is %v", c.name, got)
		}
	}
	p := stock.Placement{}
	if p.Pending() {
		t.Error("nothing can land where nothing was sent")
	}
	p.Attempts = []stock.Attempt{{ID: 1, State: stock.Void}}
	if !p.Pending() {
		t.Error("a void attempt may land after all")
	}
}

func TestDisenrollKeepsThePoolAndForgetsTheRest(t *testing.T) {
	t.Parallel()
	s := master(t, 20)
	s.sell(1, 3)
	s.lift(2)
	a := s.unanswered()
	s.p.Disenroll("Unmanaged")
	s.check("disenroll")
	if s.pool.Units != 19 || s.p.Enrolled || s.p.Undecided || s.p.Counted != 0 || s.p.Todo != 0 || s.p.Blocked != "Unmanaged" || s.p.Restless() {
		t.Fatalf("pool %d, placement %+v", s.pool.Units, s.p)
	}
	if s.p.Attempts[0].State != stock.Void {
		t.Fatalf("the attempt is %s: nobody will judge it any more", s.p.Attempts[0].State)
	}
	s.read()
	s.none(s.judge()) // what is blocked is not judged

	// Back again: the accounts are set from the reading, the pool stays, the difference is told.
	s.p.Blocked = ""
	s.write(a)
	s.quantity -= 6
	e := s.one(s.enrol(), stock.Baselined, true)
	if s.pool.Units != 19 || e.Units != 6 || s.p.Todo != 6 {
		t.Fatalf("pool %d, row of %+d, to do %+d; want 19, +6, +6", s.pool.Units, e.Units, s.p.Todo)
	}
}

// TestClaimedStoreIsCountedByItsOrders: what moves the number without an order is another agent's writing; where orders
// cannot be read, nothing is known of the shop's own doing.
func TestClaimedStoreIsCountedByItsOrders(t *testing.T) {
	t.Parallel()
	for name, unreadable := range map[string]bool{"orders": false, "no orders": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pol := stock.Policy{Claimed: true, OrdersUnreadable: unreadable}
			pool, p := stock.Pool{ID: 1, Units: 20, Set: true}, stock.Placement{Store: "fr", Pool: 1, Enrolled: true, Contained: 20, Quantity: 20}
			reads := func(quantity int64) {
				stock.Merge(&pool, &p, stock.Reading{Quantity: quantity}, "ours", pol, time.Time{})
			}
			reads(13)
			if pool.Units != 20 || p.Parted() != 0 {
				t.Errorf("the other's write: the pool says %d, the accounts part by %d", pool.Units, p.Parted())
			}
			want := int64(20)
			if !unreadable {
				stock.Order(&pool, &p, 3, pol, "order 1")
				want = 17
			}
			reads(10)
			if pool.Units != want || p.Parted() != 0 {
				t.Errorf("a sale: the pool says %d, want %d; the accounts part by %d", pool.Units, want, p.Parted())
			}
		})
	}
}

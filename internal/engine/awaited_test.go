package engine_test

import (
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	sim "stocksync.dev/stocksync/internal/sim/katana"
	"stocksync.dev/stocksync/internal/stock"
)

// matched is a world in which every shop shows Katana's 10 of each item.
func matched(t testing.TB, shops, skus int) *fed {
	t.Helper()
	f := newFed(t, shops, skus)
	for _, s := range f.shops {
		for _, it := range s.items {
			it.quantity = 10
		}
	}
	f.boot()
	f.pass(3 * time.Minute)
	return f
}

// below fails when any shop shows more of an item than there is, at any time of the span.
func (f *fed) never(k int, above int64, d time.Duration) {
	f.t.Helper()
	for end := f.now.Add(d); f.now.Before(end); {
		f.pass(100 * time.Millisecond)
		for _, s := range f.shops {
			if q := s.items[int64(firstObject+k)].quantity; q > above {
				f.t.Fatalf("at %s %s shows %d, and there are %d%s", f.now.Format("15:04:05.000"), s.id, q, above, f.story(k))
			}
		}
	}
}

// TestASaleTravelsBeforeItsImport: other shops see a sale in seconds, long before Katana does. When Katana has the order,
// nothing moves: it is counted once. Every number has its reason in the history.
func TestASaleTravelsBeforeItsImport(t *testing.T) {
	t.Parallel()
	f := matched(t, 3, 1)
	o := f.sold(0, 0, 2)
	f.pass(8 * time.Second)
	f.shows(0, 8, 8, 8)
	if s := f.state(); s.Awaited != 1 || s.AwaitedUnits != 2 || s.AwaitedSince.IsZero() {
		t.Errorf("awaited are %d lines with %d units since %v, want one with 2", s.Awaited, s.AwaitedUnits, s.AwaitedSince)
	}
	f.wrote(0, 1, 1)
	n := f.imports(0, o, 0, 2)
	f.never(0, 8, 5*time.Minute)
	f.shows(0, 8, 8, 8)
	if s := f.state(); s.Awaited != 0 {
		t.Errorf("%d lines are still awaited", s.Awaited)
	}
	f.do(f.account.Deliver(n))
	f.never(0, 8, 5*time.Minute)
	f.shows(0, 8, 8, 8)
	f.wrote(0, 0, 0)
	f.quiet()
	story := f.story(0)
	for _, want := range []string{"order 1001: +2 units are held back", "the source has order 1001 of s0 now", "10 in stock at location " + id(f.here) + ", 2 held by open orders (2 of WooCommerce)"} {
		if !strings.Contains(story, want) {
			t.Errorf("the history lacks %q:%s", want, story)
		}
	}
}

// TestAnImportThatComesFirst: Katana may have an order before the shop's own poll finds it, open or delivered already.
func TestAnImportThatComesFirst(t *testing.T) {
	t.Parallel()
	for _, delivered := range []bool{false, true} {
		f := matched(t, 2, 1)
		f.shops[0].slowLines = 4 * time.Second // the line says late what it holds
		o := f.sold(0, 0, 3)
		f.pass(100 * time.Millisecond)
		n := f.imports(0, o, 0, 3)
		if delivered {
			f.do(f.account.Deliver(n))
		}
		f.a.engine.SourceHint(engine.SourceEvent{Order: id(n)})
		f.pass(8 * time.Second)
		f.never(0, 7, 90*time.Second)
		f.shows(0, 7, 7)
		f.pass(20 * time.Minute)
		f.shows(0, 7, 7)
		if s := f.state(); s.Awaited != 0 {
			t.Errorf("%d lines are awaited of an order that Katana has", s.Awaited)
		}
		f.quiet()
	}
}

// TestSalesAreNotResurrected: while sales wait to be imported, whatever else happens to the item, no shop shows more than
// there is; also through restarts, and where Katana is away for a day.
func TestSalesAreNotResurrected(t *testing.T) {
	t.Parallel()
	f := matched(t, 2, 1)
	var orders []int64
	left := int64(10)
	for i := range 5 {
		orders = append(orders, f.sold(i%2, 0, 1))
		left--
		f.pass(10 * time.Second) // until both polled
		f.do(f.account.Adjust(f.variants[0], f.here, -sim.Units(1)))
		f.never(0, left, 90*time.Second)
		left--
	}
	f.shows(0, 0, 0)
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(20)))
	f.follow()
	f.shows(0, 20, 20)
	f.a.crash()
	f.pass(time.Second)
	f.boot()
	f.never(0, 20, 10*time.Minute)
	f.account.SetBehaviour(sim.Behaviour{NoAPI: 503})
	f.pass(26 * time.Hour)
	f.shows(0, 20, 20)
	f.quiet()
	f.account.SetBehaviour(sim.Behaviour{})
	for i, o := range orders {
		f.imports(i%2, o, 0, 1)
	}
	f.never(0, 20, 30*time.Minute)
	f.shows(0, 20, 20)
	f.quiet()
	if s := f.state(); s.Awaited != 0 {
		t.Errorf("%d lines are still awaited", s.Awaited)
	}
}

// TestASaleThatIsNeverImported: after a day a conflict says so, and the units are not held back any more.
func TestASaleThatIsNeverImported(t *testing.T) {
	t.Parallel()
	f := matched(t, 2, 2)
	f.sold(0, 0, 2)
	o := f.sold(1, 1, 1)
	f.pass(time.Minute)
	// Katana's order of the other shop's sale has no row for the item.
	_, err := f.account.CreateOrder(sim.WebOrder(f.here, "s1.example.com", id(o), sim.NewRow{Variant: f.variants[0], Quantity: sim.Units(1)}))
	f.do(err)
	f.pass(23 * time.Hour)
	f.shows(0, 7, 7)
	f.shows(1, 9, 9)
	f.quiet()
	f.pass(2 * time.Hour)
	f.shows(0, 9, 9)
	f.shows(1, 10, 10)
	rows := f.conflicts()
	if len(rows) != 2 || !strings.Contains(rows[0], "order 1001") || !strings.Contains(strings.Join(rows, " "), "s1 Imported SKU-1 +1") {
		t.Errorf("the open rows are %q", rows)
	}
}

// TestSalesThatAreTakenBack: what is cancelled before its import is held back no more; a refund after it stands in its own
// shop until the item changes.
func TestSalesThatAreTakenBack(t *testing.T) {
	t.Parallel()
	f := matched(t, 2, 1)
	o := f.sold(0, 0, 3)
	f.pass(30 * time.Second)
	f.shows(0, 7, 7)
	f.shops[0].giveBack(f.shops[0].orders[o], 3)
	f.pass(30 * time.Second)
	f.shows(0, 10, 10)
	o = f.sold(1, 0, 4)
	f.pass(30 * time.Second)
	f.imports(1, o, 0, 4)
	f.follow()
	f.shows(0, 6, 6)
	f.shops[1].giveBack(f.shops[1].orders[o], 4)
	f.follow()
	f.shows(0, 6, 10)
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(1)))
	f.follow()
	f.shows(0, 7, 7)
	f.quiet()
}

// TestSalesAreHeldBackWhereTheyAreTaken: a sale is held back from the shops that are fed from the same location.
func TestSalesAreHeldBackWhereTheyAreTaken(t *testing.T) {
	t.Parallel()
	f := newFed(t, 3, 1)
	f.terms["s2"].Location = id(f.there)
	f.do(f.account.Adjust(f.variants[0], f.there, sim.Units(10)))
	for _, s := range f.shops {
		s.items[firstObject].quantity = 10
	}
	f.terms["s1"].Counts = wooOnly
	f.boot()
	f.pass(3 * time.Minute)
	f.order(0, 5)
	f.follow()
	f.shows(0, 5, 10, 10)
	f.sold(0, 0, 2)
	f.follow()
	f.shows(0, 3, 8, 10)
}

// TestBadInput: whatever the account does, the state says what is wrong and nothing wrong is written.
func TestBadInput(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		trouble func(f *fed)
		mend    func(f *fed)
		reason  string
	}{
		"a wrong key":        {func(f *fed) { f.client("wrong-key") }, func(f *fed) { f.client(katanaKey) }, "AuthenticationFailed"},
		"a key that expires": {func(f *fed) { f.account.SetKeys("another") }, func(f *fed) { f.account.SetKeys(katanaKey) }, "AuthenticationFailed"},
		"a plan without API": {func(f *fed) { f.account.SetBehaviour(sim.Behaviour{NoAPI: 403}) }, func(f *fed) { f.account.SetBehaviour(sim.Behaviour{}) }, "PlanWithoutAPI"},
		"a storm of 429":     {func(f *fed) { f.account.Inject(sim.Fault{Kind: sim.FaultStatus, Status: 429, RetryAfter: 60}) }, func(f *fed) { f.account.Clear() }, "RateLimited"},
		"a day of 503":       {func(f *fed) { f.account.Inject(sim.Fault{Kind: sim.FaultStatus, Status: 503}) }, func(f *fed) { f.account.Clear() }, "ServerError"},
		"pages of HTML":      {func(f *fed) { f.account.Inject(sim.Fault{Kind: sim.FaultHTML}) }, func(f *fed) { f.account.Clear() }, ""},
		"cut connections":    {func(f *fed) { f.account.Inject(sim.Fault{Kind: sim.FaultCut}) }, func(f *fed) { f.account.Clear() }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := matched(t, 2, 1)
			c.trouble(f)
			f.pass(2 * time.Minute)
			f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(3)))
			f.sold(0, 0, 1)
			f.pass(24 * time.Hour)
			f.shows(0, 9, 9) // the sale travels all the same
			s := f.state()
			if s.Failure == nil || s.LastError == nil || s.FailingSince.IsZero() || c.reason != "" && s.Failure.Reason != c.reason {
				t.Errorf("the failure is %+v since %v, want %s", s.Failure, s.FailingSince, c.reason)
			}
			if s.Failure != nil && strings.Contains(s.Failure.Message, katanaKey) {
				t.Error("the message holds the key")
			}
			c.mend(f)
			f.pass(20 * time.Minute)
			if s := f.state(); s.Failure != nil || s.LastError == nil {
				t.Errorf("after it the failure is %+v, and the last error %+v", s.Failure, s.LastError)
			}
			f.shows(0, 12, 12)
			f.quiet()
		})
	}
}

// TestSKUTwiceInKatana: nothing tells which of two items a shop sells, so neither is synced until one has another SKU.
func TestSKUTwiceInKatana(t *testing.T) {
	t.Parallel()
	f := matched(t, 1, 2)
	twin := f.account.AddProduct("SKU-0")
	f.do(f.account.Adjust(twin, f.here, sim.Units(77)))
	f.pass(10 * time.Minute)
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(1)))
	f.do(f.account.Adjust(f.variants[1], f.here, sim.Units(1)))
	f.follow()
	f.shows(0, 10)
	f.shows(1, 11)
	if rows := f.conflicts(); len(rows) != 1 || !strings.Contains(rows[0], "give each its own") {
		t.Errorf("the open rows are %q", rows)
	}
	if s := f.state(); s.SharedCount != 1 || len(s.Shared) != 1 || s.Shared[0] != "SKU-0" {
		t.Errorf("shared are %d: %q", s.SharedCount, s.Shared)
	}
	f.do(f.account.SetSKU(twin, nil))
	f.pass(20 * time.Minute)
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(1)))
	f.follow()
	f.shows(0, 12)
	if s := f.state(); s.SharedCount != 0 {
		t.Errorf("shared are still %q", s.Shared)
	}
}

// TestFractionsAndBelowZero: fractions are rounded down, what is below zero is written as it is.
func TestFractionsAndBelowZero(t *testing.T) {
	t.Parallel()
	f := matched(t, 1, 2)
	half, err := sim.ParseQuantity("0.50000")
	f.do(err)
	f.do(f.account.Adjust(f.variants[0], f.here, half))
	f.do(f.account.Adjust(f.variants[1], f.here, -sim.Units(14)))
	f.follow()
	f.shows(0, 10)
	f.shows(1, -4)
	f.do(f.account.Adjust(f.variants[0], f.here, -sim.Units(11)))
	f.follow()
	f.shows(0, -1)
	f.quiet()
}

// TestItemsThatGo: an item that is deleted or archived in Katana is written no more, and never to zero.
func TestItemsThatGo(t *testing.T) {
	t.Parallel()
	f := matched(t, 1, 3)
	f.do(f.account.DeleteVariant(f.variants[0]))
	f.do(f.account.Archive(f.variants[1], true))
	f.pass(3 * time.Hour)
	f.wrote(0)
	f.do(f.account.Archive(f.variants[1], false))
	f.pass(3 * time.Hour)
	f.do(f.account.Adjust(f.variants[1], f.here, sim.Units(1)))
	f.follow()
	f.shows(0, 10)
	f.shows(1, 11)
	f.wrote(1)
}

// TestEventsLostForAnHour: what no event told is found by polling; what no poll tells, by comparing everything.
func TestEventsLostForAnHour(t *testing.T) {
	t.Parallel()
	f := matched(t, 1, 2)
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(1)))
	f.pass(70 * time.Second)
	f.shows(0, 11)
	// The feed of movements is silent, too.
	f.account.Inject(sim.Fault{Kind: sim.FaultStatus, Path: "inventory_movements", Status: 500})
	f.do(f.account.Adjust(f.variants[1], f.here, sim.Units(1)))
	f.pass(time.Hour)
	f.account.Clear()
	f.pass(2 * time.Hour)
	f.shows(1, 11)
	f.quiet()
}

// TestTornReadings: levels that are older than the orders read before them are not used.
func TestTornReadings(t *testing.T) {
	t.Parallel()
	f := matched(t, 1, 1)
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(10)))
	f.follow()
	f.shows(0, 20)
	stale := f.account.Inject(sim.Fault{Kind: sim.FaultStaleLevels, Path: "inventory"})
	o := f.order(0, 5)
	f.do(f.account.Deliver(o))
	p := f.order(0, 2)
	f.pass(3 * time.Minute)
	// In stock is told as 20 and is 15; with 2 held by an order the truth is 13.
	f.shows(0, 20)
	if s := f.state(); s.DoubtedCount != 1 || s.Doubted[0].SKU != "SKU-0" || s.Doubted[0].Why == stock.NoDoubt {
		t.Errorf("doubted are %+v", s.Doubted)
	}
	f.account.Clear(stale)
	f.follow()
	f.shows(0, 13)
	f.do(f.account.Deliver(p))
	f.follow()
	f.shows(0, 13)
	f.quiet()
}

// TestTheStateTellsThePlan: how the requests are spent is told, and the limit is kept to.
func TestTheStateTellsThePlan(t *testing.T) {
	t.Parallel()
	f := newFed(t, 1, 700)
	f.boot()
	most, from := 0, f.account.Requests()
	for range 90 {
		f.pass(time.Minute)
		n := f.account.Requests()
		most, from = max(most, n-from), n
	}
	if most > 60 {
		t.Errorf("%d requests in a minute, and 60 are allowed", most)
	}
	s := f.state()
	if s.Items != 700 || !s.Loaded || s.Plan.Poll != time.Minute || s.Plan.Polling == 0 || s.Budget.Limit != 60 || s.ComparedAt.IsZero() {
		t.Errorf("the state is %+v", s)
	}
	f.wrote(0)
}

// TestItemsThatWereNeverStocked: where Katana has no row for an item it has none of it, and the first stock it gets is written.
func TestItemsThatWereNeverStocked(t *testing.T) {
	t.Parallel()
	f := newFed(t, 1, 1)
	f.variants = append(f.variants, f.account.AddProduct("NEVER"))
	f.shops[0].add(firstObject+1, "NEVER", 5)
	f.boot()
	f.pass(10 * time.Minute)
	f.wrote(0)
	states, err := f.a.engine.Status(t.Context())
	if f.do(err); states[0].Stats.Waiting != 0 || states[0].Stats.Enrolled != 2 {
		t.Errorf("the store waits for a number: %+v", states[0].Stats)
	}
	f.do(f.account.Adjust(f.variants[1], f.here, sim.Units(3)))
	f.follow()
	f.shows(1, 3)
	f.wrote(1)
}

// TestBreakerHoldsAnAccountThatIsEmptied: a mistake in Katana that would bring everything to zero waits for a person.
func TestBreakerHoldsAnAccountThatIsEmptied(t *testing.T) {
	t.Parallel()
	f := newFed(t, 1, 60)
	for k := range f.variants {
		f.shops[0].items[int64(firstObject+k)].quantity = 10
	}
	f.boot()
	f.pass(3 * time.Minute)
	for _, v := range f.variants {
		f.do(f.account.Adjust(v, f.here, -sim.Units(10)))
	}
	f.pass(10 * time.Minute)
	f.wrote(0)
	b, err := f.a.engine.Breaker(t.Context())
	f.do(err)
	if b == nil || b.Zeroed != 60 || b.Of != 60 {
		t.Fatalf("the breaker says %+v", b)
	}
	f.do(f.a.engine.ApproveTrip(t.Context(), b.TripID))
	f.pass(10 * time.Minute)
	f.shows(7, 0)
	f.wrote(60)
}

// TestAListThatShrinks: a list of items that lacks most of them is not believed at once.
func TestAListThatShrinks(t *testing.T) {
	t.Parallel()
	f := matched(t, 1, 30)
	for _, v := range f.variants {
		f.do(f.account.Archive(v, true))
	}
	f.pass(time.Hour + 5*time.Minute)
	if s := f.state(); s.Items != 30 {
		t.Errorf("%d items are left after one list, want 30", s.Items)
	}
	for _, v := range f.variants[5:] {
		f.do(f.account.Archive(v, false))
	}
	f.pass(time.Hour)
	if s := f.state(); s.Items != 25 {
		t.Errorf("%d items are left, want 25", s.Items)
	}
	f.do(f.account.Adjust(f.variants[7], f.here, sim.Units(1)))
	f.follow()
	f.shows(7, 11)
	f.wrote(1)
}

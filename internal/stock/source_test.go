package stock

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// amount reads a quantity a test wrote.
func amount(t testing.TB, s string) Amount {
	t.Helper()
	a, err := ParseAmount(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// sourceOrders are a source's orders at location "here", under a clock that ticks with each change.
type sourceOrders struct {
	t    testing.TB
	open OpenOrders
	now  time.Time
}

func newSourceOrders(t testing.TB) *sourceOrders {
	return &sourceOrders{t: t, now: time.Date(2026, 1, 12, 9, 0, 0, 0, time.UTC)}
}

// put takes in an order whose rows are "item quantity [fulfilled]".
func (s *sourceOrders) put(id string, origin Origin, state OrderState, rows ...string) []string {
	s.t.Helper()
	s.now = s.now.Add(time.Second)
	o := SourceOrder{ID: id, State: state, Origin: origin, Modified: s.now}
	for i, row := range rows {
		f := strings.Fields(row + " 0")
		r := SourceRow{ID: id + "-" + string(rune('a'+i)), Item: f[0], Location: "here", Quantity: amount(s.t, f[1]), Fulfilled: amount(s.t, f[2])}
		o.Partly = o.Partly || r.Fulfilled != Amount{}
		o.Rows = append(o.Rows, r)
	}
	return s.open.Put(o, s.now)
}

// whole is what a shop shows of an item with so much on hand.
func (s *sourceOrders) whole(p SupplyPolicy, item, onHand string) int64 {
	s.t.Helper()
	n, ok := p.Whole(Supply{Level: Level{Item: item, Location: "here", OnHand: amount(s.t, onHand)}, Demand: s.open.Demand(item, "here")})
	if !ok {
		s.t.Fatal("no number")
	}
	return n
}

func (s *sourceOrders) shows(p SupplyPolicy, item, onHand string, want int64) {
	s.t.Helper()
	if got := s.whole(p, item, onHand); got != want {
		s.t.Errorf("%s with %s on hand shows %d, want %d", item, onHand, got, want)
	}
}

var allOrders, webOrders = SupplyPolicy{}, SupplyPolicy{Committed: CommittedWooCommerceOnly}

// TestK01: synced quantity = in stock − committed, for the store's location.
func TestK01(t *testing.T) {
	t.Parallel()
	s := newSourceOrders(t)
	s.put("1", OriginSource, OrderOpen, "V 3")
	s.shows(allOrders, "V", "10", 7)
	if d := s.open.Demand("V", "there"); d != (Demand{}) {
		t.Errorf("another location commits %v", d)
	}
}

// TestK02: what is packed or delivered has left the stock and commits nothing.
func TestK02(t *testing.T) {
	t.Parallel()
	s := newSourceOrders(t)
	s.shows(allOrders, "V", "10", 10)
	s.put("1", OriginSource, OrderOpen, "V 3")
	s.shows(allOrders, "V", "10", 7)
	s.put("1", OriginSource, OrderOpen, "V 3 1") // partly packed
	s.shows(allOrders, "V", "9", 7)
	s.put("1", OriginSource, OrderClosed)
	s.shows(allOrders, "V", "7", 7)
	s.put("2", OriginSource, OrderOpen, "V 1 5") // more fulfilled than ordered
	s.shows(allOrders, "V", "7", 7)
}

// TestK03: a sale in the shop and its import give the number the shop shows by itself.
func TestK03(t *testing.T) {
	t.Parallel()
	s := newSourceOrders(t)
	shop := s.whole(allOrders, "V", "10") - 1
	s.put("1", OriginWooCommerce, OrderOpen, "V 1")
	s.shows(allOrders, "V", "10", shop)
	s.shows(webOrders, "V", "10", shop)
}

// TestK04: per store, orders that were not made in WooCommerce count or not.
func TestK04(t *testing.T) {
	t.Parallel()
	s := newSourceOrders(t)
	s.put("1", OriginWooCommerce, OrderOpen, "V 2")
	s.put("2", OriginSource, OrderOpen, "V 5")
	s.shows(allOrders, "V", "10", 3)
	s.shows(webOrders, "V", "10", 8)
	s.put("3", OriginOther, OrderOpen, "V 1")   // another channel
	s.put("4", OriginUnknown, OrderOpen, "V 1") // nobody knows
	s.shows(allOrders, "V", "10", 1)
	s.shows(webOrders, "V", "10", 8)
}

// TestK05: with the option off, fulfilling such an order still lowers the number, by what is on hand.
func TestK05(t *testing.T) {
	t.Parallel()
	s := newSourceOrders(t)
	s.put("1", OriginWooCommerce, OrderOpen, "V 2")
	s.put("2", OriginSource, OrderOpen, "V 5")
	s.shows(webOrders, "V", "10", 8)
	s.put("2", OriginSource, OrderClosed)
	s.shows(webOrders, "V", "5", 3)
}

// TestK06: only rows of the product itself count, whatever the source commits for parts of kits.
func TestK06(t *testing.T) {
	t.Parallel()
	s := newSourceOrders(t)
	s.put("1", OriginWooCommerce, OrderOpen, "KIT 2") // and a manufacturing order for 4, each with one V
	supply := Supply{Level: Level{Item: "V", Location: "here", OnHand: Units(20), Committed: Units(4), HasCommitted: true}, Demand: s.open.Demand("V", "here")}
	if got, _ := allOrders.Whole(supply); got != 20 {
		t.Errorf("a part of a kit shows %d, want 20", got)
	}
	s.shows(allOrders, "KIT", "0", -2)
	if supply.Parts() != Units(4) || supply.Judge(nil) != NoDoubt {
		t.Errorf("parts %v, doubt %q", supply.Parts(), supply.Judge(nil))
	}
}

// TestQuotes: quotes count where that is asked for, under the same option.
func TestQuotes(t *testing.T) {
	t.Parallel()
	s := newSourceOrders(t)
	s.put("1", OriginSource, OrderQuote, "V 4")
	s.put("2", OriginWooCommerce, OrderQuote, "V 1")
	s.shows(allOrders, "V", "10", 10)
	s.shows(SupplyPolicy{Quotes: true}, "V", "10", 5)
	s.shows(SupplyPolicy{Quotes: true, Committed: CommittedWooCommerceOnly}, "V", "10", 9)
}

// TestRounding: fractions are summed exactly and rounded down once, below zero, too.
func TestRounding(t *testing.T) {
	t.Parallel()
	s := newSourceOrders(t)
	for _, id := range []string{"1", "2", "3"} {
		s.put(id, OriginSource, OrderOpen, "V 0.1")
	}
	s.shows(allOrders, "V", "1.3", 1)
	s.shows(allOrders, "V", "1.29999", 0)
	s.shows(allOrders, "V", "0", -1)
	s.shows(allOrders, "V", "-2.7", -3)
}

// TestOpenOrders: what a change touches, in what order changes arrive, and what a full reading sets right.
func TestOpenOrders(t *testing.T) {
	t.Parallel()
	s := newSourceOrders(t)
	touches := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s touches %v, want %v", what, got, want)
		}
	}
	touches("a new order", s.put("1", OriginSource, OrderOpen, "A 1", "B 2", "A 3"), "A", "B")
	touches("the same again", s.open.Put(s.open.orders["1"], s.now))
	touches("a newer version with the same numbers", s.put("1", OriginSource, OrderOpen, "A 1", "B 2", "A 3"), "A", "B")
	if d := s.open.Demand("A", "here"); d.Elsewhere != Units(4) {
		t.Errorf("two rows of A hold %v, want 4", d.Elsewhere)
	}
	touches("a removed row", s.put("1", OriginSource, OrderOpen, "B 2", "C 1"), "A", "B", "C")
	old := SourceOrder{ID: "1", Modified: s.now.Add(-time.Second), Rows: []SourceRow{{Item: "A", Location: "here", Quantity: Units(9)}}}
	touches("an old version", s.open.Put(old, s.now))
	touches("more of it fulfilled", s.put("1", OriginSource, OrderOpen, "B 2 1", "C 1"), "B", "C")
	if got := s.open.Partly([]string{"B", "X"}); !slices.Equal(got, []string{"1"}) {
		t.Errorf("partly fulfilled are %v", got)
	}
	touches("another origin", s.put("1", OriginWooCommerce, OrderOpen, "B 2 1", "C 1"), "B", "C")
	touches("an order of a shop", s.open.Put(SourceOrder{ID: "2", Imported: ShopOrder{"fr", "77"}, Modified: s.now, Rows: []SourceRow{{Item: "D", Location: "here", Quantity: Units(1)}}}, s.now), "D")
	touches("its deletion", s.put("2", OriginSource, OrderClosed), "D")
	touches("an order that came and went", s.put("9", OriginSource, OrderClosed, "G 1"), "G")
	touches("the same again", s.open.Put(SourceOrder{ID: "9", State: OrderClosed, Modified: s.now, Rows: []SourceRow{{Item: "G"}}}, s.now))
	if s.open.Len() != 1 {
		t.Errorf("%d orders are open, want 1", s.open.Len())
	}

	// A full reading that began before order 3 was made does not know it; order 1 is gone.
	began := s.now
	s.put("3", OriginSource, OrderOpen, "E 1")
	touches("a full reading", s.open.Load([]SourceOrder{{ID: "4", Modified: began, Rows: []SourceRow{{Item: "F", Location: "here", Quantity: Units(1)}}}}, began), "B", "C", "F")
	if s.open.Len() != 2 || s.open.Demand("E", "here").Elsewhere != Units(1) || s.open.Demand("B", "here") != (Demand{}) {
		t.Errorf("after a full reading: %d open, E %v, B %v", s.open.Len(), s.open.Demand("E", "here"), s.open.Demand("B", "here"))
	}
	// An order closed by a full reading that missed it comes back with its next version.
	touches("an order that was missed", s.put("1", OriginSource, OrderOpen, "B 2"), "B")
}

// TestImported: an order of a shop is known while it is open and for a while after.
func TestImported(t *testing.T) {
	t.Parallel()
	s := newSourceOrders(t)
	o := SourceOrder{ID: "2", Imported: ShopOrder{"fr", "77"}, Modified: s.now, Rows: []SourceRow{{Item: "D", Quantity: Units(1)}}}
	s.open.Put(o, s.now)
	if !s.open.Imported(ShopOrder{"fr", "77"}) || s.open.Imported(ShopOrder{"de", "77"}) || s.open.Imported(ShopOrder{}) {
		t.Error("orders are known by shop and id")
	}
	o.State = OrderClosed
	s.open.Put(o, s.now)
	s.open.Prune(s.now)
	if !s.open.Imported(o.Imported) {
		t.Error("a closed order is forgotten at once")
	}
	s.open.Prune(s.now.Add(time.Second))
	if s.open.Imported(o.Imported) || !s.open.Moved("D").IsZero() {
		t.Error("a pruned order is still known")
	}
}

// TestJudge: what speaks against a reading, with the source's own figure as a cross-check only.
func TestJudge(t *testing.T) {
	t.Parallel()
	at := func(onHand, committed, open int64) Supply {
		return Supply{Level: Level{OnHand: Units(onHand), Committed: Units(committed), HasCommitted: true}, Demand: Demand{Elsewhere: Units(open)}}
	}
	absent := Supply{Level: Level{Absent: true}}
	for name, tc := range map[string]struct {
		before, now Supply
		want        Doubt
	}{
		"nothing moved":                {at(10, 3, 3), at(10, 3, 3), NoDoubt},
		"packed, both read":            {at(10, 3, 3), at(7, 0, 0), NoDoubt},
		"packed, level from before":    {at(10, 3, 3), at(10, 3, 0), DoubtUnmoved},
		"ordered, level from before":   {at(10, 3, 3), at(10, 3, 5), DoubtLess},
		"one of two packed is missing": {at(10, 5, 5), at(7, 2, 0), DoubtUnmoved},
		"kits ordered":                 {at(10, 3, 3), at(10, 8, 3), NoDoubt},
		"kit and item ordered at once": {at(10, 3, 3), at(10, 6, 4), DoubtUnmoved},
		"adjusted":                     {at(10, 3, 3), at(4, 3, 3), NoDoubt},
		"row vanished":                 {at(10, 0, 0), absent, DoubtVanished},
		"row came":                     {absent, at(10, 0, 0), NoDoubt},
		"too large":                    {at(1, 0, 0), Supply{Level: Level{OnHand: notAnAmount}}, DoubtUnusable},
	} {
		if got := tc.now.Judge(&tc.before); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	if got := at(10, 3, 0); got.Judge(nil) != NoDoubt {
		t.Errorf("a first reading: %q", got.Judge(nil))
	}
	if DoubtLess.Stays() || DoubtVanished.Stays() || DoubtUnusable.Stays() || !DoubtUnmoved.Stays() {
		t.Error("only a change that others explain may be believed in time")
	}
}

func TestSupplyRounding(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		onHand                    string
		down, nearest, up, bundle int64
	}{
		{"7", 7, 7, 7, 3}, {"7.4", 7, 7, 8, 3}, {"7.5", 7, 8, 8, 3}, {"0.00001", 0, 0, 1, 3}, {"0", 0, 0, 0, 3},
		{"-0.4", -1, 0, 0, 3}, {"-2.5", -3, -3, -2, 3}, {"-2.6", -3, -3, -2, 3}, {"-3", -3, -3, -3, 3},
	} {
		s := Supply{Level: Level{OnHand: amount(t, tc.onHand), Available: Units(3), HasAvailable: true}}
		for p, want := range map[SupplyPolicy]int64{
			{}: tc.down, {Rounding: RoundDown}: tc.down, {Rounding: RoundNearest}: tc.nearest, {Rounding: RoundUp}: tc.up, {Available: true}: tc.bundle,
		} {
			if got, ok := p.Whole(s); !ok || got != want {
				t.Errorf("%s under %+v: %d %v, want %d", tc.onHand, p, got, ok, want)
			}
		}
	}
	for _, r := range []Rounding{RoundDown, RoundNearest, RoundUp} {
		if n, ok := (SupplyPolicy{Rounding: r}).Whole(Supply{Level: Level{OnHand: notAnAmount}}); ok {
			t.Errorf("%s: what is no amount became %d", r, n)
		}
	}
	if n, _ := (SupplyPolicy{Available: true}).Whole(Supply{Level: Level{OnHand: Units(5)}}); n != 5 {
		t.Errorf("no kit: %d", n)
	}
	if (SupplyPolicy{}).Clamp(-2) != -2 || (SupplyPolicy{Zero: true}).Clamp(-2) != 0 || (SupplyPolicy{Zero: true}).Clamp(4) != 4 {
		t.Error("below zero")
	}
}

package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

// numbers are what a reading gives, "item=whole", and "item?" for what was not used.
func numbers(r engine.Reading) string {
	var out []string
	for _, s := range r.Supplies {
		n, _ := stock.SupplyPolicy{}.Whole(s)
		out = append(out, fmt.Sprintf("%s=%d", s.Level.Item, n))
	}
	for _, u := range r.Unsettled {
		out = append(out, u.Item+"?")
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func readAll(t *testing.T, s *engine.Supply, items ...string) engine.Reading {
	t.Helper()
	r, err := s.Read(t.Context(), "here", items)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wants(t *testing.T, r engine.Reading, want string) {
	t.Helper()
	if got := numbers(r); got != want {
		t.Errorf("read %q, want %q", got, want)
	}
}

// TestSupplyFollows: orders and levels as they change, read by what changed alone.
func TestSupplyFollows(t *testing.T) {
	t.Parallel()
	m := newMemorySource()
	m.receive("A", 10)
	m.receive("B", 5)
	m.order("1", stock.OriginSource, map[string]int64{"A": 3})
	s := engine.NewSupply(m, engine.SupplyOptions{})
	polled := func(want ...string) {
		t.Helper()
		got, err := s.Poll(context.Background())
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("poll says %v %v, want %v", got, err, want)
		}
	}
	polled("A")
	wants(t, readAll(t, s, "A", "B", "X"), "A=7 B=5 X=0")
	wants(t, readAll(t, s), "A=7 B=5")
	polled()
	m.receive("B", 2)
	polled("B")
	m.order("1", stock.OriginSource, map[string]int64{"B": 1}) // A's row was taken out
	polled("A", "B")
	wants(t, readAll(t, s, "A", "B"), "A=10 B=6")
	m.pack("1", -1, false)
	polled("B")
	wants(t, readAll(t, s, "A", "B"), "A=10 B=6")
}

// TestSupplyOneMoment: an order that moves between the readings of orders and levels makes the item be read
// again, others not; one that moves all the time is not used.
func TestSupplyOneMoment(t *testing.T) {
	t.Parallel()
	m := newMemorySource()
	m.receive("A", 10)
	m.receive("B", 5)
	m.order("1", stock.OriginSource, map[string]int64{"A": 3})
	s := engine.NewSupply(m, engine.SupplyOptions{})
	readAll(t, s, "A", "B")
	m.reads = nil
	m.between = func(call string) {
		if call == "levels" {
			m.between = nil
			m.pack("1", -1, false)
		}
	}
	wants(t, readAll(t, s, "A", "B"), "A=7 B=5")
	if got := strings.Join(m.reads, " "); got != "orders levels orders levels orders" {
		t.Errorf("requests: %s", got)
	}
	n := int64(0)
	m.between = func(call string) {
		if call == "levels" {
			n++
			m.order("2", stock.OriginSource, map[string]int64{"A": n})
		}
	}
	r := readAll(t, s, "A", "B")
	wants(t, r, "A? B=5")
	if !slices.Contains(r.Dirty, "A") {
		t.Errorf("dirty are %v, want A among them", r.Dirty)
	}
}

// TestSupplyTakenBack: what was read before its orders moved is not used with what was read after, although another item of
// the same reading is the reason that it took so long.
func TestSupplyTakenBack(t *testing.T) {
	t.Parallel()
	m := newMemorySource()
	m.receive("A", 10)
	m.receive("B", 5)
	m.order("1", stock.OriginSource, map[string]int64{"A": 1})
	s := engine.NewSupply(m, engine.SupplyOptions{})
	readAll(t, s, "A", "B")
	levels := 0
	m.between = func(call string) {
		if call != "levels" {
			return
		}
		if levels++; levels == 1 {
			m.order("2", stock.OriginSource, map[string]int64{"A": 2}) // A is read again
		} else if levels == 2 {
			m.order("3", stock.OriginSource, map[string]int64{"B": 1}) // and B is an old story by then
		}
	}
	r := readAll(t, s, "A", "B")
	wants(t, r, "A=7 B?")
	if !slices.Contains(r.Dirty, "B") || !slices.Contains(r.Moved, "A") {
		t.Errorf("dirty are %v, moved %v; want B and A among them", r.Dirty, r.Moved)
	}
}

// TestSupplyPartly: what is fulfilled of an order moves without its date moving.
func TestSupplyPartly(t *testing.T) {
	t.Parallel()
	m := newMemorySource()
	m.receive("A", 10)
	m.order("1", stock.OriginSource, map[string]int64{"A": 5})
	m.pack("1", 1, false)
	s := engine.NewSupply(m, engine.SupplyOptions{})
	wants(t, readAll(t, s, "A"), "A=5")
	m.pack("1", 1, true)
	wants(t, readAll(t, s, "A"), "A=5")
	m.between = func(call string) {
		if call == "levels" {
			m.between = nil
			m.pack("1", 1, true)
		}
	}
	wants(t, readAll(t, s), "A=5")
}

// lagging answers levels as they were a while ago.
type lagging struct {
	*memorySource
	old *memorySource
}

func (l *lagging) Capabilities() engine.SourceCapabilities {
	c := l.memorySource.Capabilities()
	c.Eventual = true
	return c
}

func (l *lagging) Levels(ctx context.Context, location string, items []string) (engine.SourceLevels, error) {
	if l.old == nil {
		return l.memorySource.Levels(ctx, location, items)
	}
	now, err := l.memorySource.Levels(ctx, location, items)
	if err != nil {
		return now, err
	}
	old, err := l.old.Levels(ctx, location, items)
	old.Window = now.Window
	return old, err
}

// TestSupplyStale: levels older than the orders are not used, however long they stay old; and what looks old
// but stays is used in the end.
func TestSupplyStale(t *testing.T) {
	t.Parallel()
	m := newMemorySource()
	m.receive("A", 10)
	m.receive("B", 4)
	m.order("1", stock.OriginSource, map[string]int64{"A": 3})
	m.now = m.now.Add(time.Hour)
	l := &lagging{memorySource: m}
	s := engine.NewSupply(l, engine.SupplyOptions{})
	wants(t, readAll(t, s, "A", "B"), "A=7 B=4")

	l.old = newMemorySource()
	l.old.receive("A", 10)
	l.old.receive("B", 4)
	l.old.order("1", stock.OriginSource, map[string]int64{"A": 3})
	m.pack("1", -1, false)
	wants(t, readAll(t, s, "A", "B"), "A? B=4") // too soon after the packing
	m.now = m.now.Add(10 * time.Second)
	r := readAll(t, s, "A", "B")
	wants(t, r, "A? B=4") // 10 − 0 would sell three that are packed
	if r.Unsettled[0].Why != stock.DoubtUnmoved || len(s.Doubted("here")) != 1 {
		t.Errorf("why: %q, doubted %v", r.Unsettled[0].Why, s.Doubted("here"))
	}
	l.old = nil
	m.now = m.now.Add(10 * time.Second)
	wants(t, readAll(t, s, "A", "B"), "A=7 B=4")
	if len(s.Doubted("here")) != 0 {
		t.Errorf("still doubted: %v", s.Doubted("here"))
	}

	// A kit with A in it is ordered together with A: the source's own figure moves by more, and stays.
	m.order("2", stock.OriginSource, map[string]int64{"A": 1})
	kit := &committing{lagging: l, more: stock.Units(2)}
	s2 := engine.NewSupply(kit, engine.SupplyOptions{})
	m.now = m.now.Add(time.Minute)
	wants(t, readAll(t, s2, "A"), "A=6")
	kit.more = stock.Units(4)
	m.order("2", stock.OriginSource, map[string]int64{"A": 2})
	m.now = m.now.Add(10 * time.Second)
	wants(t, readAll(t, s2, "A"), "A?")
	m.now = m.now.Add(50 * time.Second)
	wants(t, readAll(t, s2, "A"), "A?")
	m.now = m.now.Add(10 * time.Second)
	wants(t, readAll(t, s2, "A"), "A=5")

	// Committing less than its open orders hold is never believed.
	kit.more = stock.Units(-1)
	for range 5 {
		m.now = m.now.Add(time.Hour)
		wants(t, readAll(t, s2, "A"), "A?")
	}
}

// committing adds to the source's own committed figure.
type committing struct {
	*lagging
	more stock.Amount
}

func (c *committing) Levels(ctx context.Context, location string, items []string) (engine.SourceLevels, error) {
	out, err := c.lagging.Levels(ctx, location, items)
	for i := range out.Levels {
		out.Levels[i].Committed = out.Levels[i].Committed.Plus(c.more)
	}
	return out, err
}

// TestSupplyReload: a change that was lost for good is found by reading all orders.
func TestSupplyReload(t *testing.T) {
	t.Parallel()
	m := newMemorySource()
	m.receive("A", 10)
	m.order("1", stock.OriginSource, map[string]int64{"A": 3})
	s := engine.NewSupply(m, engine.SupplyOptions{})
	wants(t, readAll(t, s, "A"), "A=7")
	m.work(func() { delete(m.orders, "1") })
	m.now = m.now.Add(time.Hour)
	if got, err := s.Reload(t.Context()); err != nil || !slices.Equal(got, []string{"A"}) {
		t.Errorf("reload says %v %v, want A", got, err)
	}
	wants(t, readAll(t, s, "A"), "A=10")
	if s.OpenOrders() != 0 {
		t.Errorf("%d orders are open", s.OpenOrders())
	}
}

// TestSupplyRestart: a reader that goes on where another stopped finds what changed meanwhile, knows orders that
// were imported and fulfilled meanwhile, and takes no vanished row for zero.
func TestSupplyRestart(t *testing.T) {
	t.Parallel()
	m := newMemorySource()
	m.receive("A", 10)
	m.receive("B", 5)
	m.now = m.now.Add(time.Minute)
	s := engine.NewSupply(m, engine.SupplyOptions{})
	if _, err := s.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := readAll(t, s, "A", "B")
	wants(t, r, "A=10 B=5")
	cursor := s.Cursor()

	m.now = m.now.Add(24 * time.Hour)
	m.order("1", stock.OriginWooCommerce, map[string]int64{"A": 2})
	m.work(func() {
		o := m.orders["1"]
		o.Imported = stock.ShopOrder{Shop: "fr", ID: "77"}
		m.orders["1"] = o
	})
	m.pack("1", -1, false)
	s = engine.NewSupply(m, engine.SupplyOptions{From: cursor})
	for _, used := range r.Supplies {
		s.Recall(used)
	}
	if dirty, err := s.Poll(t.Context()); err != nil || !slices.Equal(dirty, []string{"A"}) {
		t.Errorf("after the restart %v %v changed, want A", dirty, err)
	}
	if !s.Imported(stock.ShopOrder{Shop: "fr", ID: "77"}) {
		t.Error("an order that was imported and packed meanwhile is not known")
	}
	wants(t, readAll(t, s, "A", "B"), "A=8 B=5")
	m.work(func() { delete(m.levels, [2]string{"B", "here"}) })
	for range 3 {
		m.now = m.now.Add(time.Hour)
		r = readAll(t, s, "A", "B")
		wants(t, r, "A=8 B?")
	}
	if r.Unsettled[0].Why != stock.DoubtVanished {
		t.Errorf("why: %q", r.Unsettled[0].Why)
	}
}

// TestSupplySeeds: a warehouse that works between all requests. Every number that is used was true at a moment of
// its reading, and once it is quiet every number is the last one.
func TestSupplySeeds(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 1))
		m := newMemorySource()
		items := []string{"A", "B", "C"}
		for _, i := range items {
			m.receive(i, 100)
		}
		truth := map[string][]int64{}
		record := func() {
			var open stock.OpenOrders
			for _, o := range m.orders {
				open.Put(o, m.now)
			}
			for _, i := range items {
				n, _ := stock.SupplyPolicy{}.Whole(stock.Supply{Level: stock.Level{OnHand: m.levels[[2]string{i, "here"}]}, Demand: open.Demand(i, "here")})
				truth[i] = append(truth[i], n)
			}
		}
		made := 0
		desk := make([]string, 4) // the orders under way
		work := func(string) {
			for range random.IntN(3) {
				item, place := items[random.IntN(3)], random.IntN(4)
				if o, known := m.orders[desk[place]]; !known || o.State == stock.OrderClosed {
					made++
					desk[place] = fmt.Sprint(made)
				}
				id := desk[place]
				o, known := m.orders[id]
				switch {
				case random.IntN(4) == 0:
					m.receive(item, int64(random.IntN(9)-4))
				case !known || random.IntN(4) == 0 && !o.Partly:
					m.order(id, stock.OriginSource, map[string]int64{item: int64(1 + random.IntN(5)), "A": 2})
				default:
					m.pack(id, int64(random.IntN(4)-1), random.IntN(2) == 0)
				}
				record()
			}
		}
		s := engine.NewSupply(m, engine.SupplyOptions{})
		used := 0
		for round := range 20 {
			m.between = work
			if round%4 == 3 {
				m.between = nil
			}
			clear(truth)
			record()
			ask := items
			if random.IntN(3) == 0 {
				ask = nil
			}
			r := readAll(t, s, ask...)
			for _, p := range r.Supplies {
				used++
				if n, _ := (stock.SupplyPolicy{}).Whole(p); !slices.Contains(truth[p.Level.Item], n) {
					t.Fatalf("seed %d, round %d: %s=%d was never true: %v", seed, round, p.Level.Item, n, truth)
				}
			}
			if m.between == nil && len(r.Supplies) != 3 {
				// What looks torn is believed once it stayed for a minute.
				m.now = m.now.Add(time.Minute)
				r = readAll(t, s, items...)
			}
			if m.between == nil && len(r.Supplies) != 3 {
				t.Fatalf("seed %d: in quiet %d of 3 items are read: %+v", seed, len(r.Supplies), r.Unsettled)
			}
		}
		if used < 20 {
			t.Fatalf("seed %d: only %d numbers in 20 rounds", seed, used)
		}
	}
}

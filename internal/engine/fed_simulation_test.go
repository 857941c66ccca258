package engine_test

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	sim "stocksync.dev/stocksync/internal/sim/katana"
	"stocksync.dev/stocksync/internal/sim/katana/oracle"
	"stocksync.dev/stocksync/internal/stock"
)

// fedStory is a kind of world with a Katana account.
type fedStory struct {
	name    string
	faults  faults
	exact   bool // no row excuses anything
	crashes bool
	edits   bool
	account bool // the account is slow, limits, fails and tells old levels
	late    bool // orders reach Katana by up to ten minutes late, or are packed before anybody read them
	mixed   bool // stores differ in location, in the choice of orders, and in units held back
	hints   bool
}

var fedStories = []fedStory{
	{name: "calm", exact: true, hints: true},
	{name: "late imports", exact: true, late: true, hints: true},
	{name: "account in trouble", exact: true, account: true, late: true},
	{name: "mixed", exact: true, mixed: true, late: true, hints: true},
	{name: "network", faults: faults{late: .02, cut: .02, death: .01, lock: .005, refuse: .03, slow: .02}, late: true, hints: true},
	{name: "crash", crashes: true, exact: true, late: true, hints: true},
	{name: "edits", edits: true, late: true},
	{name: "everything", faults: faults{late: .02, cut: .02, death: .01, refuse: .02, slow: .02}, crashes: true, edits: true, account: true, late: true, mixed: true, hints: true},
}

// fedRun is one simulated run.
type fedRun struct {
	*fed
	story fedStory
	end   time.Time
	web   []int64 // sales orders of shops
	hand  []int64
	// awaited are units of an item, sold in shops at a location, that Katana does not have yet.
	awaited map[[2]int64]int64
	known   map[*order]bool
	// was is what each shop could have shown at most of each item, when; silent what was written beyond that.
	was    map[string][]could
	silent []string
}

// could is the most a shop could rightly show at a time: what Katana says, less what was sold and it does not know of.
type could struct {
	at    time.Time
	units int64
}

// record notes what the shops could show now.
func (r *fedRun) record() {
	account, err := oracle.Read(r.account.State())
	if err != nil {
		r.t.Error(err)
		return
	}
	for _, s := range r.shops {
		location, c := r.choiceOf(s)
		for k, v := range r.variants {
			q, err := account.Quantity(v, location, c)
			if err != nil {
				r.t.Error(err)
				return
			}
			name := fmt.Sprint(s.id, "/", k)
			r.was[name] = append(r.was[name], could{r.now, oracle.Whole(q) - r.awaited[[2]int64{location, int64(k)}]})
		}
	}
}

// watch checks a quantity that was written: it was right at a moment of the last minutes, or is less. More would bring back
// what was sold.
func (r *fedRun) watch(s *shop, it *item) {
	known := 4 * time.Minute
	if r.story.account {
		known = 14 * time.Minute // the account is away for minutes
	}
	k := int(it.ref.Product - firstObject)
	past := r.was[fmt.Sprint(s.id, "/", k)]
	most, seen := int64(0), false
	for i, c := range past {
		if i+1 < len(past) && past[i+1].at.Before(r.now.Add(-known)) {
			continue
		}
		if !seen || c.units > most {
			most, seen = c.units, true
		}
	}
	if it.quantity > most {
		r.silent = append(r.silent, fmt.Sprintf("at %s %s was made to show %d of SKU-%d, and the most there was is %d%s", r.now.Format("15:04:05.000"), s.id, it.quantity, k, most, r.fed.story(k)))
	}
}

// shopper sells in a shop until the end; each order reaches Katana after a while.
func (r *fedRun) shopper(i int) {
	if !r.now.Before(r.end) {
		return
	}
	s := r.shops[i]
	k := r.rng.IntN(r.skus)
	object := int64(firstObject + k)
	it := s.items[object]
	switch {
	case it.quantity > 0:
		units := 1 + r.rng.Int64N(min(3, it.quantity))
		s.sell(object, units)
		o := s.orders[s.nextID]
		// By then every agent that is up has read it.
		r.after(20*time.Second, func() {
			if location, _ := r.choiceOf(s); !r.known[o] {
				r.known[o] = true
				r.awaited[[2]int64{location, int64(k)}] += units
				r.record()
			}
		})
		wait := time.Second
		if r.story.late {
			wait = r.between(0, 10*time.Minute)
		}
		r.after(wait+r.between(0, 2*time.Second), func() { r.imported(i, o, k, units) })
	}
	if r.story.edits && r.rng.IntN(12) == 0 {
		s.edit(object, it.quantity+r.rng.Int64N(21)-10)
	}
	r.after(r.between(2*time.Second, 50*time.Second), func() { r.shopper(i) })
}

// imported makes Katana's order of a shop's, and may pack it at once.
func (r *fedRun) imported(i int, o *order, k int, units int64) {
	location := r.here
	if r.terms[r.shops[i].id].Location == id(r.there) {
		location = r.there
	}
	n, err := r.account.CreateOrder(sim.WebOrder(location, r.shops[i].id+".example.com", id(o.id), sim.NewRow{Variant: r.variants[k], Quantity: sim.Units(units)}))
	if err != nil {
		r.t.Error(err)
	}
	if r.known[o] {
		r.awaited[[2]int64{location, int64(k)}] -= units
	}
	r.known[o] = true
	r.record()
	r.met["import"]++
	if r.rng.IntN(4) == 0 {
		_ = r.account.Deliver(n)
	} else {
		r.web = append(r.web, n)
	}
	r.hint(engine.SourceEvent{Order: id(n)})
}

func (r *fedRun) hint(ev engine.SourceEvent) {
	if r.story.hints && r.rng.IntN(3) > 0 && r.a.ctx.Err() == nil {
		r.a.engine.SourceHint(ev)
	}
}

// office works in Katana until the end.
func (r *fedRun) office() {
	if !r.now.Before(r.end) {
		return
	}
	n, a := r.rng.IntN, r.account
	k := n(r.skus)
	v := r.variants[k]
	location := []int64{r.here, r.here, r.there}[n(3)]
	switch what := n(12); {
	case what < 2:
		_ = a.Adjust(v, location, sim.Units(int64(n(12)-3)))
	case what == 2:
		_ = a.Transfer(v, r.here, r.there, sim.Units(int64(1+n(3))))
	case what == 3:
		quantity, _ := sim.ParseQuantity(fmt.Sprintf("%d.%05d", n(3), n(100_000)))
		_ = a.Adjust(v, location, quantity)
	case what < 7:
		o, err := a.CreateOrder(sim.NewOrder{Location: location, Platform: []string{"", "", "shopify"}[n(3)], Quote: n(8) == 0,
			Rows: []sim.NewRow{{Variant: v, Quantity: sim.Units(int64(1 + n(4)))}, {Variant: r.variants[n(r.skus)], Quantity: sim.Units(1)}}})
		if err != nil {
			r.t.Error(err)
		}
		r.hand = append(r.hand, o)
	case what == 7:
		_ = a.Receive(a.Purchase(v, location, sim.Units(5)), sim.Units(int64(1+n(5))))
	case len(r.hand)+len(r.web) > 0:
		all := slices.Concat(r.hand, r.web)
		o := all[n(len(all))]
		switch n(5) {
		case 0:
			_ = a.Pack(o)
		case 1:
			_ = a.Pack(o, sim.Units(1))
		case 2:
			_ = a.Deliver(o)
		case 3:
			if slices.Contains(r.hand, o) {
				_ = a.DeleteOrder(o)
			}
		case 4:
			if slices.Contains(r.hand, o) {
				_ = a.EditRow(o, 0, sim.Units(int64(n(5))))
			}
		}
	}
	r.record()
	r.hint(engine.SourceEvent{Item: id(v)})
	r.after(r.between(time.Second, 40*time.Second), r.office)
}

// trouble strikes the account until the end.
func (r *fedRun) trouble() {
	if !r.now.Before(r.end) {
		r.account.Clear()
		r.account.SetBehaviour(sim.Behaviour{})
		return
	}
	r.account.Clear()
	switch r.rng.IntN(7) {
	case 0:
		r.account.Inject(sim.Fault{Kind: sim.FaultStatus, Status: 503, Times: 1 + r.rng.IntN(20)})
	case 1:
		r.account.Inject(sim.Fault{Kind: sim.FaultStatus, Status: 429, RetryAfter: 5 + r.rng.IntN(40), Times: 1 + r.rng.IntN(6)})
	case 2:
		r.account.Inject(sim.Fault{Kind: sim.FaultCut, Times: 1 + r.rng.IntN(6)})
	case 3:
		r.account.Inject(sim.Fault{Kind: sim.FaultSlow, Delay: r.between(time.Second, 20*time.Second), Times: 1 + r.rng.IntN(5)})
	case 4:
		// Old levels, for as long as a replica may lag.
		n := r.account.Inject(sim.Fault{Kind: sim.FaultStaleLevels, Path: "inventory"})
		r.after(r.between(500*time.Millisecond, 1500*time.Millisecond), func() { r.account.Clear(n) })
	case 5:
		r.account.SetBehaviour(sim.Behaviour{SilentFulfillments: true, QuantityStrings: r.rng.IntN(2) == 0, FlatErrors: r.rng.IntN(2) == 0})
	}
	r.met["trouble"]++
	r.after(r.between(20*time.Second, 2*time.Minute), r.trouble)
}

// choiceOf is what the oracle is told of a shop.
func (r *fedRun) choiceOf(s *shop) (int64, oracle.Choice) {
	t := r.terms[s.id]
	location := r.here
	if t.Location == id(r.there) {
		location = r.there
	}
	return location, oracle.Choice{WooCommerceOnly: t.Counts.Committed == stock.CommittedWooCommerceOnly}
}

// playFed runs one world: connection, a quarter of an hour of trade and trouble, quiet, and one change of every item, so that
// whatever was edited is overwritten. It returns what is wrong without a row.
func playFed(t testing.TB, seed uint64, st fedStory, open func() books) (silent []string, r *fedRun) {
	w := newFedSeed(t, seed, 2, 1)
	n := 2 + w.rng.IntN(3)
	skus := 1 + w.rng.IntN(3)
	w = newFedSeed(t, seed, n, skus)
	w.rng = newRand(seed + 1<<32)
	w.books = open()
	r = &fedRun{fed: w, story: st, awaited: map[[2]int64]int64{}, known: map[*order]bool{}, was: map[string][]could{}}
	for k, v := range r.variants {
		r.do(r.account.Adjust(v, r.here, sim.Units(int64(20*(k+1)))))
		r.do(r.account.Adjust(v, r.there, sim.Units(int64(30*(k+1)))))
	}
	for i, s := range r.shops {
		if st.mixed {
			s.slowLines = w.between(0, 3*time.Second)
			if r.rng.IntN(3) == 0 {
				r.terms[s.id].Location = id(r.there)
			}
			if r.rng.IntN(3) == 0 {
				r.terms[s.id].Counts = wooOnly
			}
		}
		for k := range r.skus {
			location, c := r.choiceOf(s)
			s.items[int64(firstObject+k)].quantity = r.truth(k, location, c)
			if i == 1 && r.rng.IntN(3) == 0 {
				s.items[int64(firstObject+k)].quantity += 7
			}
		}
	}
	r.boot()
	r.pass(3 * time.Minute)
	for _, s := range r.shops {
		if len(s.pushed) > 0 {
			silent = append(silent, fmt.Sprintf("%s was written to before anything changed", s.id))
		}
	}
	r.record()
	if st.exact {
		for _, s := range r.shops {
			s.wrote = func(it *item) { r.watch(s, it) }
		}
	}
	r.faults = st.faults
	r.end = r.now.Add(15 * time.Minute)
	for i := range r.shops {
		r.shopper(i)
	}
	r.office()
	if st.account {
		r.trouble()
	}
	if st.crashes {
		for range 1 + r.rng.IntN(4) {
			r.at(r.now.Add(r.between(0, 14*time.Minute)), func() {
				if r.a.ctx.Err() != nil {
					return
				}
				r.a.crash()
				r.after(r.between(time.Second, time.Minute), r.boot)
			})
		}
	}
	r.pass(16 * time.Minute)
	r.faults = faults{}
	r.pass(40 * time.Minute)
	if st.exact {
		silent = append(silent, r.followed()...)
	}
	for _, v := range r.variants {
		r.do(r.account.Adjust(v, r.here, sim.Units(1)))
		r.do(r.account.Adjust(v, r.there, sim.Units(1)))
	}
	r.record()
	r.pass(30 * time.Minute)
	silent = append(silent, r.silent...)
	rows := r.conflicts()
	for k := range r.skus {
		excused := !st.exact && slices.ContainsFunc(rows, func(row string) bool { return strings.Contains(row, fmt.Sprintf("SKU-%d ", k)) })
		for _, s := range r.shops {
			location, c := r.choiceOf(s)
			want, got := r.truth(k, location, c), s.items[int64(firstObject+k)].quantity
			if want != got && !excused && r.unknowable[int64(firstObject+k)] == 0 {
				silent = append(silent, fmt.Sprintf("%s shows %d of SKU-%d and should show %d%s", s.id, got, k, want, r.fed.story(k)))
			}
		}
	}
	if state := r.state(); state.Awaited != 0 || state.Failure != nil {
		silent = append(silent, fmt.Sprintf("after quiet the state is %+v", state))
	}
	for _, row := range rows {
		// A sale that a shop itself overwrote is told wherever it happens.
		if st.exact && !strings.Contains(row, string(stock.Lost)) {
			silent = append(silent, "a row where everything can be known: "+row)
		}
	}
	r.met["rows"] += len(rows)
	r.a.crash()
	r.pass(time.Second)
	return silent, r
}

// followed checks that every shop shows what it should of all that changed, before anything else changes.
func (r *fedRun) followed() (silent []string) {
	for _, s := range r.shops {
		location, c := r.choiceOf(s)
		for k := range r.skus {
			var p stock.Placement
			r.do(r.books.View(context.Background(), func(tx engine.Tx) (err error) {
				p, _, err = tx.PlacementAt(s.id, int64(firstObject+k))
				return err
			}))
			if want, got := r.truth(k, location, c), s.items[int64(firstObject+k)].quantity; p.Target.Followed && want != got {
				silent = append(silent, fmt.Sprintf("in quiet %s shows %d of SKU-%d and should show %d%s", s.id, got, k, want, r.fed.story(k)))
			}
		}
	}
	return silent
}

// TestFedSimulation runs seeds of every story of a topology that Katana feeds, in virtual time: after quiet every shop shows
// what the oracle says, or a row names the SKU.
func TestFedSimulation(t *testing.T) {
	t.Parallel()
	for _, st := range fedStories {
		if *storyFlag != "" && *storyFlag != st.name {
			continue
		}
		t.Run(st.name, func(t *testing.T) {
			t.Parallel()
			first, last := seedsOf(t, len(fedStories), 10)
			var mu sync.Mutex
			met := map[string]int{}
			failed := 0
			eachSeed(t, first, last, max(1, runtime.GOMAXPROCS(0)/2), func(seed uint64) {
				silent, r := playFed(t, seed, st, inMemory)
				mu.Lock()
				defer mu.Unlock()
				for what, n := range r.met {
					met[what] += n
				}
				if len(silent) > 0 {
					failed++
					t.Errorf("seed %d: %s\n  replay: go test ./internal/engine -run 'TestFedSimulation' -story '%s' -seed %d -v", seed, strings.Join(silent, "\n  "), st.name, seed)
				}
			})
			var counts []string
			for _, what := range slices.Sorted(maps.Keys(met)) {
				if !strings.Contains(what, "×") {
					counts = append(counts, fmt.Sprintf("%d %s", met[what], what))
				}
			}
			t.Logf("%d seeds, %d silent errors: %s", last-first+1, failed, strings.Join(counts, ", "))
		})
	}
}

// TestFedSimulationOnDisk runs two worlds on the ledger of the product; crashes and all.
func TestFedSimulationOnDisk(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"crash", "everything"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := fedStories[slices.IndexFunc(fedStories, func(s fedStory) bool { return s.name == name })]
			silent, _ := playFed(t, 3, st, onDisk(t))
			if len(silent) > 0 {
				t.Error(strings.Join(silent, "\n"))
			}
		})
	}
}

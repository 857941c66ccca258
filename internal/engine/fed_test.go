package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"

	driver "stocksync.dev/stocksync/internal/driver/katana"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
	sim "stocksync.dev/stocksync/internal/sim/katana"
	"stocksync.dev/stocksync/internal/sim/katana/oracle"
	"stocksync.dev/stocksync/internal/stock"
)

const katanaKey = "a-key-of-the-account"

// fed is a world whose stock comes from a simulated Katana account: shops s0, s1, … fed from the location here.
type fed struct {
	*world
	account     *sim.Account
	here, there int64
	variants    []int64
	source      engine.SourceStore
	terms       map[string]*engine.SourceTerms
	modes       map[string]engine.Mode
	a           *agent
	books       books
	// before, when set, is called before the account works on a request; latency is how long it takes.
	before  func(path string)
	latency time.Duration
}

// katanaClock is the account's time.
type katanaClock struct{ *sched }

func (c katanaClock) Now() time.Time { return c.now }

func (c katanaClock) Sleep(_ context.Context, d time.Duration) error {
	c.block(func(wake func()) { c.after(d, wake) })
	return nil
}

// newFed makes shops that show 50 of each SKU, where Katana has 10. Nothing runs yet.
func newFed(t testing.TB, shops, skus int) *fed {
	t.Helper()
	return newFedSeed(t, 1, shops, skus)
}

func newFedSeed(t testing.TB, seed uint64, shops, skus int) *fed {
	t.Helper()
	w := &world{sched: newSched(start), t: t, rng: newRand(seed), skus: skus, met: map[string]int{}, joined: map[string]time.Time{},
		based: map[string]time.Time{}, fed: map[int64]bool{}, unknowable: map[int64]int64{}, tell: *seedFlag != 0}
	f := &fed{world: w, terms: map[string]*engine.SourceTerms{}, modes: map[string]engine.Mode{}, latency: 100 * time.Millisecond, books: ledger.NewMemory()}
	f.account = sim.New(sim.Options{Clock: katanaClock{w.sched}, Keys: []string{katanaKey}, OnRequest: func(_, path, _ string) {
		if f.cur != nil {
			f.block(func(wake func()) { f.after(f.latency, wake) })
		}
		if f.before != nil {
			f.before(path)
		}
	}})
	f.here, f.there = f.account.AddLocation("Here"), f.account.AddLocation("There")
	for k := range skus {
		f.variants = append(f.variants, f.account.AddProduct(fmt.Sprintf("SKU-%d", k)))
		f.do(f.account.Adjust(f.variants[k], f.here, sim.Units(10)))
	}
	for i := range shops {
		s := &shop{w: w, id: fmt.Sprintf("s%d", i), items: map[int64]*item{}, orders: map[int64]*order{}, nextID: 1000}
		for k := range skus {
			s.add(int64(firstObject+k), fmt.Sprintf("SKU-%d", k), 50)
		}
		w.shops = append(w.shops, s)
		f.terms[s.id] = &engine.SourceTerms{Location: id(f.here), Names: []string{s.id + ".example.com"}}
	}
	f.source = engine.SourceStore{ID: "katana"}
	return f
}

func id(n int64) string { return strconv.FormatInt(n, 10) }

func (f *fed) do(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// add lists a product.
func (s *shop) add(object int64, sku string, quantity int64) *item {
	it := &item{ref: stock.Ref{Product: object}, sku: sku, quantity: quantity, created: start.Add(-time.Hour), modified: second(s.w.now),
		fields: stock.Values{stock.Backorders: "no", stock.LowStock: stock.None}}
	s.items[object] = it
	return it
}

// boot starts an agent on the ledger.
func (f *fed) boot() {
	f.t.Helper()
	f.a = &agent{w: f.world, ledgerID: "00000000000000000000000000000001", ledger: f.books}
	f.a.ctx, f.a.cancel = context.WithCancel(context.Background())
	f.a.engine = engine.New(fenced{f.books, f.a}, f.a.ledgerID, clock{f.sched, f.a}, logr.Discard())
	f.agents = append(f.agents, f.a)
	f.client(katanaKey)
	f.configure()
	f.a.engine.Start(f.a.ctx)
}

// client speaks to the account with a key.
func (f *fed) client(key string) {
	f.t.Helper()
	c := clock{f.sched, f.a}
	client, err := driver.New(driver.Options{Token: key, Budgets: driver.NewBudgets(c), HTTP: f.account.Transport(), Clock: c})
	f.do(err)
	f.source.Driver = client
	f.a.engine.SetSource(&f.source)
}

// configure puts terms and modes into force.
func (f *fed) configure() {
	f.t.Helper()
	var list []engine.Store
	for _, s := range f.shops {
		terms := f.terms[s.id]
		if terms == nil {
			continue
		}
		copied := *terms
		mode := f.modes[s.id]
		if mode == "" {
			mode = engine.Sync
		}
		list = append(list, engine.Store{ID: s.id, Mode: mode, Source: &copied, MinInterval: 5 * time.Second, MaxLoad: .02, Revision: fmt.Sprint("of ", mode),
			Driver: &link{w: f.world, s: s, a: f.a}})
	}
	f.do(f.a.engine.Configure(f.a.ctx, list))
}

// started is a world that runs, with everything connected and nothing written.
func started(t testing.TB, shops, skus int) *fed {
	t.Helper()
	f := newFed(t, shops, skus)
	f.boot()
	f.pass(3 * time.Minute)
	return f
}

// pass lets time go by.
func (f *fed) pass(d time.Duration) {
	f.run(f.now.Add(d))
}

// follow lets enough time go by for a change to be found by polling alone, proved and written.
func (f *fed) follow() { f.pass(4 * time.Minute) }

// shows says what the shops show of an item.
func (f *fed) shows(k int, want ...int64) {
	f.t.Helper()
	var got []int64
	for _, s := range f.shops {
		got = append(got, s.items[int64(firstObject+k)].quantity)
	}
	if !slices.Equal(got, want) {
		f.t.Errorf("at %s the shops show %d of SKU-%d, want %d%s", f.now.Format("15:04:05"), got, k, want, f.story(k))
	}
}

// story is the history of an item, for failures.
func (f *fed) story(k int) string {
	var b strings.Builder
	for _, r := range f.history(k) {
		fmt.Fprintf(&b, "\n    %s %-9s %-6s %s L%+d units %+d q %d attempt %d conflict %v %s", r.At.Format("15:04:05.000"), r.Kind, r.Store, r.SKU, r.Delta, r.Units, r.Quantity, r.Attempt, r.Conflict, r.Evidence)
	}
	return b.String()
}

func (f *fed) history(k int) []ledger.Row {
	f.t.Helper()
	var pool int64
	f.do(f.books.View(context.Background(), func(tx engine.Tx) error {
		item, _, err := tx.SourceItem(id(f.variants[k]))
		pool = item.Pool
		return err
	}))
	rows, err := f.books.History(context.Background(), pool, 0)
	f.do(err)
	slices.Reverse(rows)
	return rows
}

// written counts the items written to a shop.
func (f *fed) written(shop int) int {
	n := 0
	for _, objects := range f.shops[shop].pushed {
		n += len(objects)
	}
	return n
}

// writes says how many items were written to each shop since the last call.
func (f *fed) wrote(want ...int) {
	f.t.Helper()
	var got []int
	for i, s := range f.shops {
		got = append(got, f.written(i))
		s.pushed = nil
	}
	if !slices.Equal(got, want) {
		f.t.Errorf("at %s items written to the shops: %d, want %d%s", f.now.Format("15:04:05"), got, want, f.story(0))
	}
}

// conflicts are the open rows.
func (f *fed) conflicts() []string {
	f.t.Helper()
	rows, err := f.books.Conflicts(context.Background())
	f.do(err)
	var out []string
	for _, r := range rows {
		out = append(out, fmt.Sprintf("%s %s %s %+d: %s", r.Store, r.Kind, r.SKU, r.Units, r.Evidence))
	}
	return out
}

// quiet demands that no conflict is open.
func (f *fed) quiet() {
	f.t.Helper()
	if rows := f.conflicts(); len(rows) > 0 {
		f.t.Errorf("open conflicts:\n%s", strings.Join(rows, "\n"))
	}
}

// order makes a sales order by hand in Katana and returns its id.
func (f *fed) order(k int, units int64) int64 {
	f.t.Helper()
	n, err := f.account.CreateOrder(sim.NewOrder{Location: f.here, Rows: []sim.NewRow{{Variant: f.variants[k], Quantity: sim.Units(units)}}})
	f.do(err)
	return n
}

// imports makes the sales order that Katana's import makes of a shop's order.
func (f *fed) imports(shop int, o int64, k int, units int64) int64 {
	f.t.Helper()
	n, err := f.account.CreateOrder(sim.WebOrder(f.here, strings.ToUpper(f.shops[shop].id)+".example.com", id(o), sim.NewRow{Variant: f.variants[k], Quantity: sim.Units(units)}))
	f.do(err)
	return n
}

// sold places an order in a shop and returns its id.
func (f *fed) sold(shop, k int, units int64) int64 {
	f.shops[shop].sell(int64(firstObject+k), units)
	return f.shops[shop].nextID
}

// truth is what the oracle says a shop should show.
func (f *fed) truth(k int, location int64, c oracle.Choice) int64 {
	f.t.Helper()
	account, err := oracle.Read(f.account.State())
	f.do(err)
	q, err := account.Quantity(f.variants[k], location, c)
	f.do(err)
	return oracle.Whole(q)
}

// state is what the source lane says of itself.
func (f *fed) state() engine.SourceState {
	f.t.Helper()
	s, _, err := f.a.engine.SourceStatus(context.Background())
	f.do(err)
	return s
}

// Package performance measures the agent with its real parts: engine, WooCommerce driver and SQLite ledger, over
// simulated shops in the same process. `make bench` runs it; docs/performance.md holds the figures.
package performance

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/internal/driver/woocommerce"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
	sim "stocksync.dev/stocksync/internal/sim/woocommerce"
	"stocksync.dev/stocksync/internal/stock"
)

// clock goes as many times faster than the world as it is told: enrolment waits for seconds in every shop.
type clock struct {
	mu      sync.Mutex
	then    time.Time // real time of the last change of rate
	at      time.Time // ours at that moment
	rate    float64
	changed chan struct{}
}

func newClock(rate float64) *clock {
	now := time.Now()
	return &clock{then: now, at: now, rate: rate, changed: make(chan struct{})}
}

func (c *clock) now() time.Time {
	return c.at.Add(time.Duration(float64(time.Since(c.then)) * c.rate))
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

func (c *clock) setRate(rate float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.then, c.rate = c.now(), time.Now(), rate
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *clock) Go(fn func()) { go fn() }

func (c *clock) NewSignal() engine.Signal { return &signal{c, make(chan struct{}, 1)} }

// Sleep is how the simulator waits.
func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.wait(ctx, nil, c.Now().Add(d))
	return ctx.Err()
}

func (c *clock) wait(ctx context.Context, set <-chan struct{}, until time.Time) {
	for {
		c.mu.Lock()
		left, changed := time.Duration(float64(until.Sub(c.now()))/c.rate), c.changed
		c.mu.Unlock()
		if left <= 0 {
			return
		}
		t := time.NewTimer(left)
		select {
		case <-t.C:
		case <-changed:
		case <-set:
			t.Stop()
			return
		case <-ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
	}
}

type signal struct {
	clock *clock
	set   chan struct{}
}

func (s *signal) Set() {
	select {
	case s.set <- struct{}{}:
	default:
	}
}

func (s *signal) Wait(ctx context.Context, until time.Time) { s.clock.wait(ctx, s.set, until) }

// event is when something was seen to be done, and how long the shop took for the request that did it.
type event struct {
	at   time.Time
	shop time.Duration
}

// book tells who waits for it that something came to pass: that a pool or a shop has a number.
type book struct {
	mu      sync.Mutex
	waiting map[string]chan event
}

func (b *book) expect(where, sku string, units int64) <-chan event {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := make(chan event, 1)
	b.waiting[fmt.Sprint(where, " ", sku, " ", units)] = c
	return c
}

func (b *book) seen(where, sku string, units int64, e event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := fmt.Sprint(where, " ", sku, " ", units)
	if c := b.waiting[key]; c != nil {
		c <- e
		delete(b.waiting, key)
	}
}

// inPool is where the pools are, beside the shops.
const inPool = "pool"

// watchedLedger notes in the book what pools durably have.
type watchedLedger struct {
	engine.Ledger
	w *world
}

func (l watchedLedger) Update(ctx context.Context, fn func(engine.Tx) error) error {
	var put []stock.Pool
	err := l.Ledger.Update(ctx, func(tx engine.Tx) error {
		put = put[:0]
		return fn(watchedTx{tx, &put})
	})
	if err == nil {
		now := l.w.clock.Now()
		for _, p := range put {
			l.w.book.seen(inPool, p.SKU, p.Units, event{at: now})
		}
	}
	return err
}

type watchedTx struct {
	engine.Tx
	put *[]stock.Pool
}

func (tx watchedTx) PutPool(p stock.Pool) error {
	*tx.put = append(*tx.put, p)
	return tx.Tx.PutPool(p)
}

// shop is a simulated store and the way to it.
type shop struct {
	*sim.Store
	id   string
	w    *world
	wire *wire
}

// watchedDriver notes in the book what its shop durably has.
type watchedDriver struct {
	engine.Driver
	s *shop
}

// wire measures how long the shop takes. A lane sends one request at a time.
type wire struct {
	http.RoundTripper
	clock *clock
	mu    sync.Mutex
	last  time.Duration
	ill   func(ctx context.Context) error // of a shop that is not well: what a request meets first
}

func (t *wire) fall(ill func(ctx context.Context) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ill = ill
}

func (t *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	began := t.clock.Now()
	t.mu.Lock()
	ill := t.ill
	t.mu.Unlock()
	if ill != nil {
		if err := ill(r.Context()); err != nil {
			return nil, err
		}
	}
	res, err := t.RoundTripper.RoundTrip(r)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = t.clock.Now().Sub(began)
	return res, err
}

func (t *wire) took() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

func (d watchedDriver) Push(ctx context.Context, pushes []engine.Push) []engine.Result {
	results := d.Driver.Push(ctx, pushes)
	e := event{at: d.s.w.clock.Now(), shop: d.s.wire.took()}
	for _, r := range results {
		if r.Item != nil {
			d.s.w.book.seen(d.s.id, r.Item.SKUs[0], r.Item.Quantity, e)
		}
	}
	return results
}

// world is a running engine with a master and children, all of them enrolled.
type world struct {
	b      *testing.B
	clock  *clock
	book   *book
	engine *engine.Engine
	shops  []*shop // the master first
	items  map[string]int64
	units  map[string]int64
}

type worldOptions struct {
	children, skus int
	pauses         sim.Pauses
	// load is the share of a shop's time that polling may take once all is enrolled; 0 is no limit.
	load float64
	// rate of the clock once all is enrolled; 1 when 0.
	rate float64
	// sync is what each write to the disk takes longer than on this machine.
	sync time.Duration
}

const firstUnits = 1_000_000

func sku(n int) string { return fmt.Sprintf("SKU-%04d", n+1) }

// newWorld returns when all is enrolled.
func newWorld(b *testing.B, o worldOptions) *world {
	b.Helper()
	w := &world{b: b, clock: newClock(50), book: &book{waiting: map[string]chan event{}}, items: map[string]int64{}, units: map[string]int64{}}
	l, err := ledger.Open(b.Context(), filepath.Join(b.TempDir(), "ledger.db"), ledger.Options{Synced: func() { time.Sleep(o.sync) }})
	if err != nil {
		b.Fatal(err)
	}
	w.engine = engine.New(watchedLedger{l, w}, "0123456789abcdef0123456789abcdef", w.clock, logr.Discard())
	var stores []engine.Store
	for n := range o.children + 1 {
		s, driver := w.open(n, o)
		w.shops = append(w.shops, s)
		stores = append(stores, engine.Store{ID: s.id, Mode: engine.Sync, Policy: stock.Policy{Master: n == 0}, Driver: driver,
			MinInterval: 5 * time.Second, Revision: "1"})
	}
	for _, it := range w.shops[0].Items() {
		w.items[it.SKU], w.units[it.SKU] = it.ID, firstUnits
	}
	ctx, cancel := context.WithCancel(b.Context())
	if err := w.engine.Configure(ctx, stores); err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- w.engine.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	w.settle(o.skus)
	w.clock.setRate(max(1, o.rate))
	for i := range stores {
		stores[i].MaxLoad = o.load
	}
	if err := w.engine.Configure(ctx, stores); err != nil {
		b.Fatal(err)
	}
	return w
}

func (w *world) open(n int, o worldOptions) (*shop, engine.Driver) {
	id := "hq"
	if n > 0 {
		id = fmt.Sprintf("child-%02d", n)
	}
	store := sim.New(sim.Options{HomeURL: "https://" + id + ".example", Clock: w.clock, Seed: uint64(n), Pauses: o.pauses,
		Keys: []sim.Key{{ConsumerKey: "ck", ConsumerSecret: "cs"}}})
	w.b.Cleanup(store.Close)
	if err := store.Seed(sim.SeedOptions{Products: o.skus, Plain: true, Quantity: func(int) float64 { return firstUnits }}); err != nil {
		w.b.Fatal(err)
	}
	s := &shop{Store: store, id: id, w: w, wire: &wire{RoundTripper: store.Transport(), clock: w.clock}}
	client, err := woocommerce.New(woocommerce.Options{URL: "https://" + id + ".example", ConsumerKey: "ck", ConsumerSecret: "cs",
		StoreID: id, HTTP: s.wire, Now: w.clock.Now})
	if err != nil {
		w.b.Fatal(err)
	}
	return s, watchedDriver{client, s}
}

// settle waits until every shop has everything enrolled and nothing is left to do.
func (w *world) settle(skus int) {
	w.b.Helper()
	limit := time.Now().Add(5 * time.Minute)
	for {
		states, err := w.engine.Status(w.b.Context())
		if err != nil {
			w.b.Fatal(err)
		}
		if !slices.ContainsFunc(states, func(s engine.StoreState) bool { return s.Stats.Enrolled != skus || s.Stats.Backlog != 0 }) {
			return
		}
		if time.Now().After(limit) {
			w.b.Fatalf("not settled: %+v", states)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// sale is one unit sold, and the events to wait for.
type sale struct {
	shop    *shop
	sku     string
	at      time.Time
	merged  <-chan event
	written []<-chan event
}

// expect prepares for a unit less of an SKU because of a shop.
func (w *world) expect(n int, sku string) sale {
	s := sale{shop: w.shops[n], sku: sku}
	w.units[sku]--
	s.merged = w.book.expect(inPool, sku, w.units[sku])
	for _, other := range w.shops {
		if other != s.shop {
			s.written = append(s.written, w.book.expect(other.id, sku, w.units[sku]))
		}
	}
	return s
}

// buy is the shopper.
func (w *world) buy(s *sale) {
	w.b.Helper()
	s.at = w.clock.Now()
	if _, err := s.shop.PlaceOrder(w.b.Context(), sim.Line{SKU: s.sku, Quantity: 1}); err != nil {
		w.b.Error(err)
	}
}

// sell sells a unit in a shop, which is not hinted at.
func (w *world) sell(n int, sku string) sale {
	w.b.Helper()
	s := w.expect(n, sku)
	w.buy(&s)
	return s
}

// hint is what a webhook of the shop does; it returns when.
func (s sale) hint() time.Time {
	at := s.shop.w.clock.Now()
	s.shop.w.engine.Hint(s.shop.id, s.shop.w.items[s.sku])
	return at
}

// wait returns the event; the limit only ends a broken run.
func (w *world) wait(c <-chan event) event {
	w.b.Helper()
	select {
	case e := <-c:
		return e
	case <-time.After(2 * time.Minute):
		w.b.Fatal("a sale did not arrive")
		return event{}
	}
}

// last is the last of the writes.
func (w *world) last(s sale) event {
	w.b.Helper()
	var last event
	for _, c := range s.written {
		if e := w.wait(c); e.at.After(last.at) {
			last = e
		}
	}
	return last
}

// percentiles reports the median and the 99th percentile under a name.
func percentiles(b *testing.B, name string, unit time.Duration, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	suffix := map[time.Duration]string{time.Millisecond: "ms", time.Second: "s"}[unit]
	for _, p := range []int{50, 99} {
		b.ReportMetric(float64(took[(len(took)-1)*p/100])/float64(unit), fmt.Sprintf("%s-p%d-%s", name, p, suffix))
	}
}

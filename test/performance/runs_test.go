package performance

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

var runSKUs = flag.Int("run-skus", 100_000, "how many SKUs BenchmarkRuns and BenchmarkEnrolment read in each store")

// vastShop holds many items, answers at once and counts what it is asked. Nothing tells when an item changed.
type vastShop struct {
	clock  *clock
	mu     sync.Mutex
	units  []int64
	listed int
	marks  map[int64]stock.Markers
	reads  int
	writes int
}

func (s *vastShop) window() stock.Window {
	now := s.clock.Now()
	return stock.Window{From: now.Add(-time.Second), To: now}
}

func (s *vastShop) item(n int) engine.Item {
	return engine.Item{Ref: stock.Ref{Product: int64(n + 1)}, SKUs: []string{sku(n)}, Managed: engine.Own, Quantity: s.units[n], Markers: s.marks[int64(n+1)]}
}

func (s *vastShop) Catalogue(_ context.Context, cursor string) (engine.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	s.listed++
	from, _ := strconv.Atoi(cursor)
	page := engine.Page{Window: s.window()}
	for n := from; n < min(from+engine.BatchSize, len(s.units)); n++ {
		page.Items = append(page.Items, s.item(n))
	}
	if from += engine.BatchSize; from < len(s.units) {
		page.Next = strconv.Itoa(from)
	}
	return page, nil
}

func (s *vastShop) Modified(context.Context, time.Time, string) (engine.Page, error) {
	return engine.Page{Window: s.window()}, nil
}

func (s *vastShop) Orders(context.Context, engine.OrderQuery) (engine.OrderPage, error) {
	return engine.OrderPage{Window: s.window()}, nil
}

func (s *vastShop) Read(_ context.Context, refs []stock.Ref) (engine.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	page := engine.Page{Window: s.window()}
	for _, r := range refs {
		page.Items = append(page.Items, s.item(int(r.Product-1)))
	}
	return page, nil
}

func (s *vastShop) Push(_ context.Context, pushes []engine.Push) []engine.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	out := make([]engine.Result, len(pushes))
	for i, p := range pushes {
		s.units[p.Ref.Product-1] += p.Units
		m := s.marks[p.Ref.Product]
		m[p.Slot] = p.Marker
		s.marks[p.Ref.Product] = m
		it := s.item(int(p.Ref.Product - 1))
		it.Modified = s.clock.Now()
		out[i] = engine.Result{Item: &it, Window: s.window()}
	}
	return out
}

func (s *vastShop) Forget(context.Context, []stock.Ref) error { return nil }

// BenchmarkRuns audits and reconciles 100,000 SKUs in a master and five children that answer at once, after one SKU in a
// hundred was edited in each child unseen. requests-per-100 is what a child was asked by each 100 of its SKUs, all that
// judging and writing the edits of the others takes included.
func BenchmarkRuns(b *testing.B) {
	const children = 5
	skus := *runSKUs
	edited := skus / 100
	w := newVast(b, skus, children)
	for _, kind := range []agentapi.RunKind{agentapi.KindAudit, agentapi.KindReconcile} {
		b.Run(string(kind), func(b *testing.B) {
			for range b.N {
				for c, s := range w.shops[1:] {
					s.mu.Lock()
					for n := range edited {
						s.units[c+n*children] += 7
					}
					s.reads, s.writes = 0, 0
					s.mu.Unlock()
				}
				peak := watchHeap(b.Context())
				began := time.Now()
				r, err := w.engine.StartRun(b.Context(), agentapi.RunRequest{Kind: kind})
				if err != nil {
					b.Fatal(err)
				}
				for r.State == agentapi.Running {
					if r, err = w.engine.WaitRun(b.Context(), r.ID, r.Sequence); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(time.Since(began).Seconds(), "took-s")
				b.ReportMetric(peak(), "heap-peak-MB")
				if r.Done != skus*(children+1) || r.Counts[agentapi.QuantityDiffers] < edited*children {
					b.Fatalf("%+v", r)
				}
				most := 0.0
				for _, s := range w.shops[1:] {
					s.mu.Lock()
					most = max(most, float64(s.reads+s.writes)/float64(skus)*100)
					s.mu.Unlock()
				}
				b.ReportMetric(most, "requests-per-100")
				if kind == agentapi.KindReconcile {
					w.agree(b)
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

type vast struct {
	engine *engine.Engine
	shops  []*vastShop
}

func newVast(b *testing.B, skus, children int) *vast {
	b.Helper()
	w := &vast{}
	clock := newClock(5)
	var stores []engine.Store
	for n := range children + 1 {
		s := &vastShop{clock: clock, units: slices.Repeat([]int64{largeUnits}, skus), marks: map[int64]stock.Markers{}}
		w.shops = append(w.shops, s)
		stores = append(stores, engine.Store{ID: fmt.Sprintf("shop-%02d", n), Mode: engine.Sync, Policy: stock.Policy{Master: n == 0},
			Driver: s, MinInterval: 5 * time.Second, Revision: "1"})
	}
	path := filepath.Join(b.TempDir(), "ledger.db")
	if err := fillLedger(b.Context(), path, skus, stores); err != nil {
		b.Fatal(err)
	}
	l, err := ledger.Open(b.Context(), path, ledger.Options{})
	if err != nil {
		b.Fatal(err)
	}
	w.engine = engine.New(l, "0123456789abcdef0123456789abcdef", clock, logr.Discard())
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
	// Every lane reads its catalogue once when it starts.
	for _, s := range w.shops {
		for limit := time.Now().Add(40 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
			s.mu.Lock()
			done := s.listed >= skus/engine.BatchSize
			s.mu.Unlock()
			if done {
				break
			}
			if time.Now().After(limit) {
				b.Fatal("the catalogues were not read")
			}
		}
	}
	time.Sleep(time.Second)
	return w
}

// agree checks that all shops show the same.
func (w *vast) agree(b *testing.B) {
	b.Helper()
	for n := range w.shops[0].units {
		for _, s := range w.shops[1:] {
			if s.units[n] != w.shops[0].units[n] {
				b.Fatalf("%s is %d in one shop and %d in another", sku(n), s.units[n], w.shops[0].units[n])
			}
		}
	}
}

// heapNow is what the heap holds after what nobody needs is gone, in MB.
func heapNow() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapInuse) / 1e6
}

// watchHeap looks at the heap until it is asked for the most it has seen, in MB.
func watchHeap(ctx context.Context) func() float64 {
	ctx, cancel := context.WithCancel(ctx)
	most := make(chan float64, 1)
	go func() {
		peak := 0.0
		for ctx.Err() == nil {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, float64(m.HeapInuse)/1e6)
			time.Sleep(100 * time.Millisecond)
		}
		most <- peak
	}()
	return func() float64 {
		cancel()
		return <-most
	}
}

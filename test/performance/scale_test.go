package performance

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

// BenchmarkNeighbours sells in the well ones of eleven shops while of the other two one is dead (it takes connections
// and never answers) and one takes 20 s for each request: how long from the hint until all others that are well are
// written. It must be what it is while all are well.
func BenchmarkNeighbours(b *testing.B) {
	for _, sick := range []int{0, 2} {
		b.Run(fmt.Sprint("sick=", sick), func(b *testing.B) {
			const children, skus, sales = 10, 100, 500
			random := rand.New(rand.NewPCG(1, 2))
			var written []time.Duration
			for range b.N {
				w := newWorld(b, worldOptions{children: children, skus: skus})
				well := len(w.shops) - 2
				if sick > 0 {
					w.shops[well].wire.fall(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
					w.shops[well+1].wire.fall(func(ctx context.Context) error { return w.clock.Sleep(ctx, 20*time.Second) })
				}
				for n := range sales {
					time.Sleep(time.Duration(random.Int64N(int64(100 * time.Millisecond))))
					s := w.sell(random.IntN(well), sku(n%skus))
					s.written = s.written[:len(s.written)-2]
					at := s.hint()
					w.wait(s.merged)
					written = append(written, w.last(s).at.Sub(at))
				}
			}
			percentiles(b, "written", time.Millisecond, written)
			b.ReportMetric(0, "ns/op")
		})
	}
}

// slowPages is a shop whose pages take a while.
type slowPages struct {
	*vastShop
	takes time.Duration
}

func (s slowPages) Catalogue(ctx context.Context, cursor string) (engine.Page, error) {
	if err := s.clock.Sleep(ctx, s.takes); err != nil {
		return engine.Page{}, &engine.Fault{Reason: "Timeout", Message: err.Error()}
	}
	return s.vastShop.Catalogue(ctx, cursor)
}

// BenchmarkEnrolment enrols SKUs in a master and a child that take 50 ms a page, from nothing, five times as many in the
// second run: how long it takes, and the most heap it holds meanwhile beyond what it holds at the beginning.
func BenchmarkEnrolment(b *testing.B) {
	for _, skus := range []int{*runSKUs / 5, *runSKUs} {
		b.Run(fmt.Sprint("skus=", skus), func(b *testing.B) {
			for range b.N {
				l, err := ledger.Open(b.Context(), filepath.Join(b.TempDir(), "ledger.db"), ledger.Options{})
				if err != nil {
					b.Fatal(err)
				}
				clock := newClock(2)
				var stores []engine.Store
				for n := range 2 {
					s := &vastShop{clock: clock, units: slices.Repeat([]int64{largeUnits}, skus), marks: map[int64]stock.Markers{}}
					stores = append(stores, engine.Store{ID: fmt.Sprintf("shop-%02d", n), Mode: engine.Sync, Policy: stock.Policy{Master: n == 0},
						Driver: slowPages{s, 50 * time.Millisecond}, MinInterval: 5 * time.Second, Revision: "1"})
				}
				e := engine.New(l, "0123456789abcdef0123456789abcdef", clock, logr.Discard())
				ctx, cancel := context.WithCancel(b.Context())
				if err := e.Configure(ctx, stores); err != nil {
					b.Fatal(err)
				}
				before := heapNow()
				peak, began, ended := watchHeap(b.Context()), time.Now(), make(chan error, 1)
				go func() { ended <- e.Run(ctx) }()
				for enrolled := 0; enrolled < 2*skus; time.Sleep(time.Second) {
					states, err := e.Status(ctx)
					if err != nil {
						b.Fatal(err)
					}
					enrolled = 0
					for _, s := range states {
						enrolled += s.Stats.Enrolled
					}
				}
				b.ReportMetric(time.Since(began).Seconds(), "took-s")
				b.ReportMetric(peak()-before, "heap-peak-MB")
				cancel()
				if err := errors.Join(<-ended, l.Close()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

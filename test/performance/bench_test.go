package performance

import (
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	sim "stocksync.dev/stocksync/internal/sim/woocommerce"
)

// The loops count to b.N: go1.26.8's compiler crashes on b.Loop in this package.

// BenchmarkHint sells in one of eleven shops, now here, now there, about 20 times a second, and hints at it:
// how long until the ledger has it for good, and until all the others are written. shop-* is what the shops
// took of that: the read where it was sold and the slowest write; own-* is the rest.
func BenchmarkHint(b *testing.B) {
	for name, o := range map[string]struct {
		pauses sim.Pauses
		sales  int
	}{
		"shops=instant": {nil, 1000},
		"shops=real":    {sim.RealisticPauses(), 300},
	} {
		b.Run(name, func(b *testing.B) {
			const skus = 500
			random := rand.New(rand.NewPCG(1, 2))
			var durable, written, shops, own []time.Duration
			for range b.N {
				w := newWorld(b, worldOptions{children: 10, skus: skus, pauses: o.pauses})
				for n := range o.sales {
					time.Sleep(time.Duration(random.Int64N(int64(100 * time.Millisecond))))
					s := w.sell(random.IntN(len(w.shops)), sku(n%skus))
					at := s.hint()
					merged := w.wait(s.merged)
					read := s.shop.wire.took()
					last := w.last(s)
					durable = append(durable, merged.at.Sub(at)-read)
					written = append(written, last.at.Sub(at))
					shops = append(shops, read+last.shop)
					own = append(own, last.at.Sub(at)-read-last.shop)
				}
			}
			percentiles(b, "durable", time.Millisecond, durable)
			percentiles(b, "written", time.Millisecond, written)
			percentiles(b, "shop", time.Millisecond, shops)
			percentiles(b, "own", time.Millisecond, own)
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkPolling sells in shops that send no hints: how long until the ledger has it. The shops' time, and
// the agent's, goes faster than the world's; what the machine computes therefore weighs as many times more.
func BenchmarkPolling(b *testing.B) {
	for name, o := range map[string]struct {
		page time.Duration
		rate float64
	}{
		"page=50ms":  {50 * time.Millisecond, 2},
		"page=300ms": {300 * time.Millisecond, 10},
	} {
		b.Run(name, func(b *testing.B) {
			const children, sales = 8, 25
			var mu sync.Mutex
			var found []time.Duration
			for range b.N {
				w := newWorld(b, worldOptions{children: children, skus: children * sales, pauses: sim.Pauses{sim.StepStart: o.page}, load: 0.02, rate: o.rate})
				interval := 2 * max(5*time.Second, 100*o.page)
				var wg sync.WaitGroup
				for c := range children {
					wg.Go(func() {
						random := rand.New(rand.NewPCG(1, uint64(c)))
						for n := range sales {
							// Long enough to forget when the last poll was.
							_ = w.clock.Sleep(b.Context(), time.Duration(random.Int64N(int64(interval))))
							mu.Lock()
							s := w.expect(c+1, sku(c*sales+n))
							mu.Unlock()
							w.buy(&s)
							e := w.wait(s.merged)
							mu.Lock()
							found = append(found, e.at.Sub(s.at))
							mu.Unlock()
						}
					})
				}
				wg.Wait()
			}
			percentiles(b, "found", time.Second, found)
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkThroughput changes 1,000 SKUs, each in one of ten children that answer at once, and hints at all of
// them: how many changes a second are observed, merged and pushed to the ten other shops; on this machine's disk, and on
// one whose every sync takes 2 ms longer.
func BenchmarkThroughput(b *testing.B) {
	const children, skus, rounds = 10, 1000, 3
	for name, sync := range map[string]time.Duration{"disk=own": 0, "disk=2ms": 2 * time.Millisecond} {
		b.Run(name, func(b *testing.B) {
			var took time.Duration
			changes := 0
			for range b.N {
				w := newWorld(b, worldOptions{children: children, skus: skus, sync: sync})
				for range rounds {
					sales := make([]sale, skus)
					for n := range sales {
						sales[n] = w.sell(1+n%children, sku(n))
					}
					began := time.Now()
					for _, s := range sales {
						s.hint()
					}
					for _, s := range sales {
						w.last(s)
					}
					took += time.Since(began)
					changes += skus
				}
			}
			b.ReportMetric(float64(changes)/took.Seconds(), "changes/s")
			b.ReportMetric(float64(changes*children)/took.Seconds(), "writes/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkRequests changes 100 simple SKUs in one child at the same time and counts what the shops are asked
// because of it until a minute later: changed-* in that child, written-* in each of the others. Polls, which go on whether
// anything changes or not, are apart.
func BenchmarkRequests(b *testing.B) {
	for _, by := range []string{"orders", "edits"} {
		b.Run("by="+by, func(b *testing.B) {
			const children, skus = 3, 100
			var changed, written, polls float64
			for range b.N {
				w := newWorld(b, worldOptions{children: children, skus: skus})
				before := make([]int64, children+1)
				for i, s := range w.shops {
					if log := s.AccessLog(0); len(log) > 0 {
						before[i] = log[len(log)-1].Number
					}
				}
				var sales []sale
				for n := range skus {
					s := w.expect(1, sku(n))
					sales = append(sales, s)
					if by == "orders" {
						w.buy(&s)
					} else if err := s.shop.EditStock(s.sku, firstUnits-1); err != nil {
						b.Fatal(err)
					}
				}
				for _, s := range sales {
					w.last(s)
				}
				w.clock.setRate(20)
				_ = w.clock.Sleep(b.Context(), time.Minute)
				changed, written, polls = 0, 0, 0
				for i, s := range w.shops[1:] {
					for _, a := range s.AccessLog(before[i+1]) {
						switch {
						case strings.Contains(a.Query, "modified_after"):
							polls++
						case i == 0:
							changed++
						default:
							written++
						}
					}
				}
			}
			b.ReportMetric(changed, "changed-requests")
			b.ReportMetric(written/(children-1), "written-requests")
			b.ReportMetric(polls/children, "polls")
			b.ReportMetric(0, "ns/op")
		})
	}
}

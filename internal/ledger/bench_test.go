package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

const benchStores = 10

// benchLedger has SKUs in ten stores, all enrolled.
func benchLedger(b *testing.B, skus int) *SQLite {
	b.Helper()
	s := openTest(b, ledgerPath(b), Options{})
	for from := 0; from < skus; from += 500 {
		err := s.Update(b.Context(), func(tx engine.Tx) error {
			for i := from; i < min(from+500, skus); i++ {
				p, err := tx.NewPool(fmt.Sprint("SKU-", i), stock.Key(fmt.Sprint("sku-", i)))
				if err != nil {
					return err
				}
				p.Set, p.Units = true, 100
				err = tx.PutPool(p)
				for store := range benchStores {
					err = errors.Join(err, tx.PutPlacement(stock.Placement{Store: fmt.Sprint("store-", store), Pool: p.ID, SKU: p.SKU, Enrolled: true,
						Ref: stock.Ref{Product: p.ID + 1000}, Contained: 100, Quantity: 100, Shown: 100, ReadAt: time.Unix(1_700_000_000, 0)}))
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// sale is what the merge of one sale does to the ledger: the pool moves, its own placement and a line are
// written, and every other store's placement has something to do.
func sale(tx engine.Tx, pool, order int64, now time.Time) error {
	p, err := tx.Pool(pool)
	if err != nil {
		return err
	}
	p.Units--
	all, err := tx.Placements(pool)
	if err != nil {
		return err
	}
	err = errors.Join(tx.PutPool(p),
		tx.PutLine("store-0", stock.Line{Order: order, Line: 1, Ref: all[0].Ref, Units: 1, Created: now, Changes: []stock.Change{{At: now, Units: 1}}, Modified: now}),
		tx.Append(stock.Entry{Kind: stock.Ordered, Store: "store-0", Pool: pool, SKU: p.SKU, Delta: -1, Evidence: "order 1", At: now}))
	for i := range all {
		if i == 0 {
			all[i].Quantity--
			all[i].Counted--
		}
		stock.Plan(p, &all[i], stock.Policy{}, now)
		err = errors.Join(err, tx.PutPlacement(all[i]))
	}
	return err
}

func report(b *testing.B, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "updates/s")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkSale is one sale of a SKU sold in ten stores, from call to durable.
func BenchmarkSale(b *testing.B) {
	for _, callers := range []int{1, 32} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			const skus = 1000
			s := benchLedger(b, skus)
			took := make([]time.Duration, b.N)
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range callers {
				wg.Go(func() {
					for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
						start := time.Now()
						if err := s.Update(context.Background(), func(tx engine.Tx) error { return sale(tx, i%skus+1, i, start) }); err != nil {
							b.Error(err)
							return
						}
						took[i] = time.Since(start)
					}
				})
			}
			wg.Wait()
			report(b, took)
		})
	}
}

// BenchmarkSmall is the least an update can be, so what it costs to be durable.
func BenchmarkSmall(b *testing.B) {
	for _, callers := range []int{1, 32} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			s := openTest(b, ledgerPath(b), Options{})
			took := make([]time.Duration, b.N)
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range callers {
				wg.Go(func() {
					for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
						start := time.Now()
						if err := s.Update(context.Background(), func(tx engine.Tx) error { return tx.SetValue("fr", "cursor", fmt.Sprint(i)) }); err != nil {
							b.Error(err)
							return
						}
						took[i] = time.Since(start)
					}
				})
			}
			wg.Wait()
			report(b, took)
		})
	}
}

// BenchmarkRead is what status and lanes ask again and again, on 50,000 SKUs in ten stores.
func BenchmarkRead(b *testing.B) {
	s := benchLedger(b, 50_000)
	for name, read := range map[string]func(engine.Tx) error{
		"Stats": func(tx engine.Tx) error { _, err := tx.Stats("store-3"); return err },
		"Due":   func(tx engine.Tx) error { _, err := tx.Due("store-3", 100); return err },
		"PoolOf+Placement": func(tx engine.Tx) error {
			id, err := tx.PoolOf("sku-4711")
			_, _, err2 := tx.Placement("store-3", id)
			return errors.Join(err, err2)
		},
		"Stores": func(tx engine.Tx) error { _, err := tx.Stores(); return err },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := s.View(b.Context(), read); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOffers is a buyer's question of five SKUs while sales are merged and others look through the whole ledger.
func BenchmarkOffers(b *testing.B) {
	s := benchLedger(b, 50_000)
	ctx, cancel := context.WithCancel(b.Context())
	var busy sync.WaitGroup
	defer busy.Wait()
	defer cancel()
	busy.Go(func() {
		for n := int64(1); ctx.Err() == nil; n++ {
			_ = s.Update(ctx, func(tx engine.Tx) error { return sale(tx, n%50_000+1, n, time.Unix(1_700_000_000, 0)) })
			time.Sleep(10 * time.Millisecond) // a hundred sales a second
		}
	})
	for range 2 {
		busy.Go(func() {
			for ctx.Err() == nil {
				_ = s.View(ctx, func(tx engine.Tx) error {
					_, err := tx.Stats("store-1")
					return err
				})
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
	took := make([]time.Duration, 0, b.N)
	for n := 0; b.Loop(); n++ {
		keys := make([]stock.Key, 5)
		for i := range keys {
			keys[i] = stock.Key(fmt.Sprint("sku-", (n*7919+i*104729)%50_000))
		}
		began := time.Now()
		offers, err := s.Offers(ctx, "store-0", "store-1", keys)
		if err != nil || len(offers) != len(keys) {
			b.Fatal(offers, err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

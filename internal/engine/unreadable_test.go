package engine_test

import (
	"context"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
)

func poolUnits(t *testing.T, a *agent) int64 {
	t.Helper()
	units := int64(0)
	err := a.ledger.View(context.Background(), func(tx engine.Tx) error {
		pool, err := tx.Pool(1)
		units = pool.Units
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return units
}

// A key that may read orders at last must not count the orders of the last month as sales of today.
func TestOrdersThatBecomeReadableAreNotSoldAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, story{name: "calm"})
	for _, s := range w.shops {
		s.blind = true
	}
	a := w.boot("00000000000000000000000000000001", ledger.NewMemory(), w.all())
	w.run(start.Add(70 * time.Second))
	for range 3 {
		for _, s := range w.shops {
			s.sell(firstObject, 2)
		}
		w.run(w.now.Add(30 * time.Second))
	}
	w.run(w.now.Add(time.Minute))
	truth := 20 - 6*int64(len(w.shops))
	if got := poolUnits(t, a); got != truth {
		t.Fatalf("the pool says %d, truth is %d", got, truth)
	}
	for _, s := range w.shops {
		s.blind = false
	}
	a.configure(w.all())
	for range 120 {
		w.run(w.now.Add(time.Second))
		if got := poolUnits(t, a); got != truth {
			t.Fatalf("at %v the pool says %d, truth is %d", w.now.Sub(start), got, truth)
		}
	}
	for _, s := range w.shops {
		s.sell(firstObject, 1)
	}
	w.run(w.now.Add(2 * time.Minute))
	if got, want := poolUnits(t, a), truth-int64(len(w.shops)); got != want {
		t.Fatalf("after a sale in each shop the pool says %d, truth is %d", got, want)
	}
}

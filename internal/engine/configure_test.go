package engine_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

// frozen is a clock that stands still.
type frozen struct{}

func (frozen) Now() time.Time           { return time.Unix(1_800_000_000, 0) }
func (frozen) NewSignal() engine.Signal { return frozen{} }
func (frozen) Go(func())                {}
func (frozen) Set()                     {}
func (frozen) Wait(context.Context, time.Time) {
}

// counting counts the transactions that write.
type counting struct {
	*ledger.Memory
	updates int
}

func (c *counting) Update(ctx context.Context, fn func(engine.Tx) error) error {
	c.updates++
	return c.Memory.Update(ctx, fn)
}

// A restart with the configuration of before goes through no placements; a changed one goes through those of
// its own store only, and takes effect.
func TestConfigureLooksAtPlacementsOnlyWhenItMust(t *testing.T) {
	t.Parallel()
	l := &counting{Memory: ledger.NewMemory()}
	err := l.Update(t.Context(), func(tx engine.Tx) error {
		pool, err := tx.NewPool("A", "a")
		if err != nil {
			return err
		}
		pool.Set, pool.Units = true, 10
		if err := tx.PutPool(pool); err != nil {
			return err
		}
		for _, store := range []string{"hq", "fr"} {
			p := stock.Placement{Store: store, Pool: pool.ID, Ref: stock.Ref{Product: 1}, SKU: "A", Enrolled: true, Contained: 10, Quantity: 10}
			if err := tx.PutPlacement(p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	hq := engine.Store{ID: "hq", Mode: engine.Sync, Policy: stock.Policy{Master: true}, Revision: "1"}
	fr := engine.Store{ID: "fr", Mode: engine.Sync, Revision: "1"}
	start := func(stores ...engine.Store) int {
		t.Helper()
		l.updates = 0
		if err := engine.New(l, "id", frozen{}, logr.Discard()).Configure(t.Context(), stores); err != nil {
			t.Fatal(err)
		}
		return l.updates
	}
	first := start(hq, fr)
	if again := start(hq, fr); first == 0 || again != 0 {
		t.Errorf("%d transactions at first, %d at a restart", first, again)
	}
	placement := func() (p stock.Placement, ok bool) {
		err := l.View(t.Context(), func(tx engine.Tx) (err error) {
			p, ok, err = tx.Placement("fr", 1)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return p, ok
	}
	fr.Policy.BufferUnits, fr.Revision = 3, "2"
	if one := start(hq, fr); one == 0 || one >= first {
		t.Errorf("%d transactions for one changed store, %d for both", one, first)
	}
	if p, _ := placement(); p.Todo != -3 {
		t.Errorf("with three units held back the store should give up 3, not %d", -p.Todo)
	}
	fr.Mode, fr.Revision = engine.Off, "3"
	start(hq, fr)
	if p, _ := placement(); p.Enrolled {
		t.Error("a store that is off is still counted")
	}
	fr.Mode, fr.Revision, fr.Excluded = engine.Sync, "4", func(k stock.Key) bool { return k == "a" }
	start(hq, fr)
	if _, ok := placement(); ok {
		t.Error("an excluded SKU is still bound")
	}
	// Without a revision nothing is taken for granted.
	fr.Revision = ""
	if start(hq, fr) == 0 {
		t.Error("a store without revision was passed over")
	}
}

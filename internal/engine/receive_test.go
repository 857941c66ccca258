package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

// TestReceive: an event is taken once, whatever process it reaches, and of a store in mode Off not at all.
func TestReceive(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := newSched(start)
	books := ledger.NewMemory()
	boot := func(modes map[string]engine.Mode) *engine.Engine {
		e := engine.New(books, "00000000000000000000000000000001", clock{w, nil}, logr.Discard())
		var stores []engine.Store
		for id, mode := range modes {
			stores = append(stores, engine.Store{ID: id, Mode: mode, Policy: stock.Policy{Master: id == "hq"}})
		}
		if err := e.Configure(ctx, stores); err != nil {
			t.Fatal(err)
		}
		return e
	}
	modes := map[string]engine.Mode{"hq": engine.Sync, "fr": engine.Observe, "de": engine.Off}
	units := int64(7)
	ev := engine.PeerEvent{ID: "one", Seconds: start.Unix(), Items: []engine.PeerItem{{SKU: "MUG", Quantity: &units}}}
	until := start.Add(48 * time.Hour)
	e := boot(modes)
	for i, want := range []bool{false, true} {
		if seen, err := e.Receive(ctx, "fr", ev, until); seen != want || err != nil {
			t.Errorf("delivery %d: seen %v, %v", i+1, seen, err)
		}
	}
	e = boot(modes)
	if seen, err := e.Receive(ctx, "fr", ev, until); !seen || err != nil {
		t.Errorf("after a restart: seen %v, %v", seen, err)
	}
	if seen, err := e.Receive(ctx, "hq", ev, until); seen || err != nil {
		t.Errorf("the same id from another store: seen %v, %v", seen, err)
	}
	if _, err := e.Receive(ctx, "de", ev, until); !errors.Is(err, engine.ErrOff) {
		t.Errorf("from a store in mode Off: %v", err)
	}
	if _, err := e.Receive(ctx, "es", ev, until); !errors.Is(err, engine.ErrUnknown) {
		t.Errorf("from a store that is not configured: %v", err)
	}
	w.run(until)
	if seen, err := e.Receive(ctx, "fr", ev, until.Add(time.Hour)); seen || err != nil {
		t.Errorf("when its time has passed: seen %v, %v", seen, err)
	}
}

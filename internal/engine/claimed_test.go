package engine_test

import (
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

func stateOf(t *testing.T, a *agent, store string) engine.StoreState {
	t.Helper()
	states, err := a.engine.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range states {
		if s.StoreID == store {
			return s
		}
	}
	t.Fatalf("there is no store %s", store)
	return engine.StoreState{}
}

// Each of two agents writes one of two shops and finds the other's marker in the other shop. Would each count what the
// other writes there, every sale would come back to them for ever.
func TestTwoAgentsDoNotCountEachOthersWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, story{name: "calm"})
	first := w.boot(oneLedger, ledger.NewMemory(), w.all())
	second := w.boot("00000000000000000000000000000002", ledger.NewMemory(), w.all())
	w.run(start.Add(3 * time.Minute))
	for i, s := range w.shops {
		for slot := range s.items[firstObject].markers {
			s.items[firstObject].markers[slot] = stock.Marker{Ledger: []string{oneLedger, second.ledgerID}[i%2], Store: s.id, Pool: 1, Product: firstObject, Attempt: 1}
		}
	}
	w.run(w.now.Add(2 * time.Minute))
	for range 3 {
		w.shops[0].sell(firstObject, 2)
		w.shops[1].sell(firstObject, 1)
		w.run(w.now.Add(2 * time.Minute))
	}
	w.run(w.now.Add(10 * time.Minute))
	for _, a := range []*agent{first, second} {
		if got := poolUnits(t, a); got != 11 {
			t.Errorf("the pool of ledger %s says %d, want 11", a.ledgerID, got)
		}
	}
	if stateOf(t, first, "s1").ClaimedBy != second.ledgerID || stateOf(t, second, "s0").ClaimedBy != oneLedger {
		t.Error("a claim was not noticed")
	}
}

// A shop that keeps markers and ignores what is to be added is found by two pushes; one that seems to, because an edit of the
// same size met the first push, is not.
func TestStoreThatIgnoresRelativeUpdates(t *testing.T) {
	t.Parallel()
	for name, ignores := range map[string]bool{"ignores them": true, "does not": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, a := catalogue(t, 2)
			shop := w.shops[1]
			shop.ignores = true
			w.shops[0].sell(firstObject, 6)
			for shop.pushed = nil; len(shop.pushed) == 0; {
				w.run(w.now.Add(time.Second))
			}
			shop.ignores = ignores
			w.run(w.now.Add(15 * time.Minute))
			if got := stateOf(t, a, shop.id).RelativeUnsupported; got != ignores {
				t.Errorf("RelativeUnsupported is %v", got)
			}
			if got := shop.items[firstObject].quantity; !ignores && got != 44 {
				t.Errorf("the shop shows %d, want 44", got)
			}
		})
	}
}

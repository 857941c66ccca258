package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

// A person may choose the number while an edit is being proved: what was read before still means the same.
func TestANumberChosenWhileAnEditIsProvedLeavesTheEditAsItIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, story{name: "calm"})
	b := ledger.NewMemory()
	a := w.boot(oneLedger, b, w.all())
	w.run(start.Add(70 * time.Second))
	s := w.shops[0]
	s.sell(firstObject, 4)
	w.run(w.now.Add(time.Minute))
	s.edit(firstObject, s.items[firstObject].quantity+6)
	for s.served = (requests{}); s.served.read == 0; {
		w.run(w.now.Add(time.Second))
	}
	w.run(w.now.Add(2 * time.Second)) // the second reading is answered, and no orders were read since
	if err := a.engine.Resolve(context.Background(), s.items[firstObject].sku, 16); err != nil {
		t.Fatal(err)
	}
	w.run(w.now.Add(2 * time.Minute))
	rows, err := b.History(t.Context(), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.Kind == stock.Edited && r.Units != 6 {
			t.Errorf("an edit of %+d where 6 were added", r.Units)
		}
	}
	if got := poolUnits(t, a); got != 22 {
		t.Errorf("the pool says %d, want the 16 chosen and the 6 added", got)
	}
}

// What a store shows cannot be chosen while it is being written: it was read before.
func TestANumberThatIsBeingWrittenIsNotAccepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, story{name: "calm"})
	a := w.boot(oneLedger, ledger.NewMemory(), w.all())
	w.run(start.Add(70 * time.Second))
	sku, slow := w.shops[1].items[firstObject].sku, w.shops[1]
	slow.slowWrites = 10 * time.Second
	w.shops[0].sell(firstObject, 4)
	for slow.pushed = nil; len(slow.pushed) == 0; {
		w.run(w.now.Add(time.Second))
	}
	accept := func() error { return a.engine.Accept(context.Background(), slow.id, sku) }
	if err := accept(); !errors.Is(err, engine.ErrInvalidRequest) || !strings.Contains(err.Error(), sku) || !strings.Contains(err.Error(), slow.id) {
		t.Errorf("while it is written: %v", err)
	}
	w.run(w.now.Add(time.Minute))
	if err := accept(); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if got := poolUnits(t, a); got != 16 {
		t.Errorf("the pool says %d, want 16", got)
	}
}

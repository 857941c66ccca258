package engine_test

import (
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

// Orders that nobody has touched for more than a year are forgotten. What is given back of one is counted once all
// the same, as an edit with a row; an order that is known stays known, however old it is.
func TestOldOrdersAreForgottenAndCountedOnce(t *testing.T) {
	t.Parallel()
	const old, touched = 1, 2
	w := newWorld(t, 1, story{name: "calm"})
	s := w.shops[0]
	made := start.Add(-450 * 24 * time.Hour)
	b := ledger.NewMemory()
	err := b.Update(t.Context(), func(tx engine.Tx) error {
		if err := tx.SetValue(s.id, "horizon", made.Add(-time.Hour).Format(time.RFC3339Nano)); err != nil {
			return err
		}
		for id, modified := range map[int64]time.Time{old: made, touched: start.Add(-24 * time.Hour)} {
			s.orders[id] = &order{id: id, created: made, modified: modified, object: firstObject, units: 3, reduced: 3}
			l := stock.Line{Order: id, Line: id, Ref: stock.Ref{Product: firstObject}, Units: 3, Created: made, Modified: modified,
				Changes: []stock.Change{{At: made, Units: 3}}}
			if err := tx.PutLine(s.id, l); err != nil {
				return err
			}
		}
		return tx.SetValue(s.id, "orders", start.Format(time.RFC3339Nano))
	})
	if err != nil {
		t.Fatal(err)
	}
	a := w.boot(oneLedger, b, w.all())
	w.run(start.Add(2 * time.Minute))
	known := func(id int64) int {
		n := 0
		err := b.View(t.Context(), func(tx engine.Tx) error {
			lines, err := tx.OrderLines(s.id, id)
			n = len(lines)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if known(old) != 0 || known(touched) != 1 {
		t.Fatalf("%d lines of the order nobody touched, %d of the other", known(old), known(touched))
	}

	s.giveBack(s.orders[touched], 1)
	w.run(w.now.Add(2 * time.Minute))
	if got := poolUnits(t, a); got != 21 {
		t.Fatalf("the pool says %d after 1 of a known order was given back", got)
	}
	s.giveBack(s.orders[old], 2)
	w.run(w.now.Add(2 * time.Minute))
	if got := poolUnits(t, a); got != 23 {
		t.Fatalf("the pool says %d after 2 more were given back", got)
	}
	rows, err := b.Conflicts(t.Context())
	if err != nil || len(rows) != 1 || rows[0].Kind != stock.Edited || rows[0].Units != 2 {
		t.Fatalf("rows %+v, %v", rows, err)
	}
	// From now on it is known again.
	s.giveBack(s.orders[old], 1)
	w.run(w.now.Add(2 * time.Minute))
	if got := poolUnits(t, a); got != 24 {
		t.Fatalf("the pool says %d after another", got)
	}
	if rows, err := b.Conflicts(t.Context()); err != nil || len(rows) != 1 {
		t.Fatalf("rows %+v, %v", rows, err)
	}
}

package ledger

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

// TestMemoryUndoLeavesNoTrace: an update that fails late has changed nothing, whatever it did before.
func TestMemoryUndoLeavesNoTrace(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	change := func(tx engine.Tx) error {
		pool, err := tx.NewPool("A-1", "a-1")
		if err != nil {
			return err
		}
		pool.Set, pool.Units = true, 7
		return errors.Join(
			tx.PutPool(pool),
			tx.Alias("a-2", pool.ID),
			tx.PutPlacement(stock.Placement{Store: "fr", Pool: pool.ID, Ref: stock.Ref{Product: 9}, Enrolled: true, Todo: 7, DirtySince: now,
				Attempts: []stock.Attempt{{ID: 1, State: stock.Open}}}),
			tx.PutLine("fr", stock.Line{Order: 1, Line: 2, Ref: stock.Ref{Product: 9}, Units: 3, Created: now}),
			tx.SetValue("fr", "cursor", "x"),
			tx.RaiseAttempt(12),
			tx.Append(stock.Entry{Kind: stock.Lost, Store: "fr", Pool: pool.ID, Conflict: true}),
		)
	}
	m := NewMemory()
	boom := errors.New("boom")
	if err := m.Update(t.Context(), func(tx engine.Tx) error { return errors.Join(change(tx), boom) }); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = m.Update(t.Context(), func(tx engine.Tx) error { _ = change(tx); panic("boom") })
	}()
	once := NewMemory()
	if err := m.Update(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	if err := once.Update(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(m, once) {
		t.Errorf("failed updates left traces:\n%+v\nwant\n%+v", m, once)
	}
	err := m.View(t.Context(), func(tx engine.Tx) error {
		due, err := tx.Due("fr", 10)
		if err != nil || len(due) != 1 || due[0].Todo != 7 {
			t.Errorf("due %+v, %v", due, err)
		}
		due[0].Attempts[0].Units = 99
		again, _ := tx.Pending("fr", 0, 10)
		if len(again) != 1 || again[0].Attempts[0].Units != 0 {
			t.Errorf("a caller changed the ledger's copy: %+v", again)
		}
		return tx.SetValue("fr", "cursor", "y")
	})
	if !errors.Is(err, ErrReadOnly) {
		t.Errorf("write within View: %v", err)
	}
}

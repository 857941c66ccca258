package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"testing"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/event"
	"stocksync.dev/stocksync/internal/stock"
)

// TestEvents: the log is paged from the old end or shows its newest lines, and can be narrowed to a store, a SKU
// and what is serious.
func TestEvents(t *testing.T) {
	both(t, func(t *testing.T, l peopleLedger) {
		err := l.Update(t.Context(), func(tx engine.Tx) error {
			mug, err := tx.NewPool("MUG", "mug")
			if err != nil {
				return err
			}
			for _, e := range []stock.Entry{
				{Kind: event.Started}, // 1
				{Kind: stock.Ordered, Store: "fr", Pool: mug.ID, SKU: "MUG"},
				{Kind: event.Disconnected, Store: "de", Cause: "Timeout", Evidence: "no answer"},
				{Kind: stock.Lost, Store: "de", Pool: mug.ID, SKU: "mug", Conflict: true},
				{Kind: stock.Unclear, Store: "fr", Pool: mug.ID, SKU: "MUG", Conflict: true},
				{Kind: event.WebhooksRepaired, Store: "fr"}, // 6
			} {
				if err := tx.Append(e); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			q    EventQuery
			want []int64
		}{
			"all":                {EventQuery{}, []int64{1, 2, 3, 4, 5, 6}},
			"a page":             {EventQuery{After: 2, Limit: 2}, []int64{3, 4}},
			"newest":             {EventQuery{Newest: true, Limit: 2}, []int64{5, 6}},
			"nothing new":        {EventQuery{After: 6}, nil},
			"of a store":         {EventQuery{Store: "de"}, []int64{3, 4}},
			"of a SKU":           {EventQuery{SKU: " Mug"}, []int64{2, 4, 5}},
			"of an unknown SKU":  {EventQuery{SKU: "cup"}, nil},
			"warnings":           {EventQuery{Level: event.Warning}, []int64{3, 4, 5, 6}},
			"newest warning":     {EventQuery{Level: event.Warning, Newest: true, Limit: 1}, []int64{6}},
			"errors":             {EventQuery{Level: event.Error}, []int64{3, 5}},
			"errors of a SKU":    {EventQuery{Level: event.Error, SKU: "MUG"}, []int64{5}},
			"warnings of a shop": {EventQuery{Level: event.Warning, Store: "fr", After: 5}, []int64{6}},
		} {
			rows, err := l.Events(t.Context(), c.q)
			if err != nil {
				t.Fatal(name, err)
			}
			var got []int64
			for _, r := range rows {
				got = append(got, r.ID)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: lines %v, want %v", name, got, c.want)
			}
		}
		rows, err := l.Events(t.Context(), EventQuery{After: 2, Limit: 1})
		if err != nil || rows[0].Cause != "Timeout" || rows[0].Evidence != "no answer" {
			t.Errorf("the line came back as %+v, %v", rows, err)
		}
	})
}

// TestSeriousIsRare: the index that finds warnings holds every kind of them.
func TestSeriousIsRare(t *testing.T) {
	t.Parallel()
	s := openTest(t, t.TempDir()+"/ledger.db", Options{})
	for _, kind := range event.Kinds(event.Warning, false) {
		var in bool
		err := s.view(context.Background(), func(tx *sqliteTx) error {
			return tx.s.one(`SELECT `+rare+` FROM (SELECT ? AS kind, 0 AS conflict)`, []any{string(kind)}, &in)
		})
		if err != nil || !in {
			t.Errorf("%s is not found among the warnings (%v)", kind, err)
		}
	}
}

// TestOldLedger: a ledger written before lines had a cause keeps its lines, and finds the serious ones.
func TestOldLedger(t *testing.T) {
	t.Parallel()
	path := ledgerPath(t)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range slices.Concat(migrations[0], []string{
		fmt.Sprintf(`PRAGMA application_id = %d`, applicationID), `PRAGMA user_version = 1`,
		`INSERT INTO history VALUES (7, 0, 'Ordered', 'fr', 0, '', -1, 0, 0, 0, 'order 3', 0), (8, 0, 'Lost', 'fr', 0, '', 0, 1, 0, 0, 'order 4', 1)`,
		`INSERT INTO conflicts SELECT * FROM history WHERE conflict = 1`,
	}) {
		if _, err := db.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := openTest(t, path, Options{})
	rows, err := s.Events(t.Context(), EventQuery{Level: event.Warning})
	if err != nil || len(rows) != 1 || rows[0].ID != 8 || rows[0].Evidence != "order 4" {
		t.Errorf("the warnings of an old ledger are %+v, %v", rows, err)
	}
	if waiting, err := s.Conflicts(t.Context()); err != nil || len(waiting) != 1 || waiting[0] != rows[0] {
		t.Errorf("the conflicts of an old ledger are %+v, %v", waiting, err)
	}
}

package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
)

// backedUp is a ledger of which a backup is made while it is in use, at its nth change.
type backedUp struct {
	*ledger.SQLite
	t    *testing.T
	file string
	n    int
}

func (b *backedUp) Update(ctx context.Context, fn func(engine.Tx) error) error {
	if b.n--; b.n == 0 {
		if err := b.Backup(ctx, b.file); err != nil {
			b.t.Error(err)
		}
	}
	return b.SQLite.Update(ctx, fn)
}

// openBackedUp opens a ledger in a directory, backed up after so many changes; where there is a backup already, that one
// takes its place.
func openBackedUp(t *testing.T, dir string, changes int) *backedUp {
	t.Helper()
	b := &backedUp{t: t, file: filepath.Join(dir, "backup"), n: changes}
	path := filepath.Join(dir, "ledger.db")
	if f, err := os.Open(b.file); err == nil {
		// The process whose ledger this was is gone, its lock is not: another file stands for the volume.
		path = filepath.Join(dir, "restored.db")
		_, err := ledger.Stage(t.Context(), f, path, "", start)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	var err error
	if b.SQLite, err = ledger.Open(t.Context(), path, ledger.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// Shops sell all the time; a backup is made, they sell on, the agent dies and is started with the backup. In the end
// every shop shows the pool, and it is right or a row says that it may not be.
func TestRestoredLedgerCountsOnceOrSaysSo(t *testing.T) {
	t.Parallel()
	seeds := uint64(6)
	if *perFlag > 0 {
		seeds = *perFlag
	}
	st := storyNamed("lost ledger")
	for seed := uint64(1); seed <= seeds; seed++ {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			opened := 0
			v, _ := simulate(t, seed, st, func() books {
				b := openBackedUp(t, dir, 60+200*int(seed%4))
				opened++
				if opened > 1 {
					rows, err := b.Events(t.Context(), ledger.EventQuery{Newest: true, Limit: 1})
					if err != nil || len(rows) != 1 || rows[0].Kind != "LedgerRestored" {
						t.Errorf("seed %d: it is not a restored ledger: %v %v", seed, rows, err)
					}
				}
				return b
			})
			if opened < 2 {
				t.Errorf("seed %d: no ledger was restored", seed)
			}
			if len(v.silent) > 0 {
				t.Errorf("seed %d: %s", seed, strings.Join(v.silent, "\n"))
			}
		})
	}
}

// A backup that is older than sales and pushes does not bring back what was sold.
func TestRestoreBringsNothingSoldBack(t *testing.T) {
	t.Parallel()
	w, _ := settled(t, 2, 1)
	w.agents[0].crash()
	dir := t.TempDir()
	first := openBackedUp(t, dir, 0)
	a := w.boot(testLedger, first, w.all())
	if _, err := first.ID(t.Context(), testLedger); err != nil {
		t.Fatal(err)
	}
	w.run(w.now.Add(2 * time.Minute))
	if err := first.Backup(t.Context(), first.file); err != nil {
		t.Fatal(err)
	}
	w.shops[1].sell(firstObject, 3)
	w.run(w.now.Add(5 * time.Minute))
	a.crash()
	w.run(w.now.Add(time.Hour))
	a = w.boot(testLedger, openBackedUp(t, dir, 0), w.all())
	w.run(w.now.Add(2 * time.Minute))
	w.shops[0].sell(firstObject, 2)
	w.run(w.now.Add(5 * time.Minute))
	for _, s := range w.shops {
		if q := s.items[firstObject].quantity; q != 15 {
			t.Errorf("%s shows %d after 20 − 3 − 2", s.id, q)
		}
	}
	if units := poolUnits(t, a); units != 15 {
		t.Errorf("the pool is %d", units)
	}
	if rows, err := a.ledger.Conflicts(t.Context()); err != nil || len(rows) > 0 {
		t.Errorf("conflicts: %v %v", rows, err)
	}
}

package ledger

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

const backupID = "0123456789abcdef0123456789abcdef"

var restoredAt = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

// filled is an open ledger with a pool of 7, its placement, an order line and values.
func filled(t *testing.T, path string) *SQLite {
	t.Helper()
	s := openTest(t, path, Options{})
	if _, err := s.ID(t.Context(), backupID); err != nil {
		t.Fatal(err)
	}
	err := s.Update(t.Context(), func(tx engine.Tx) error {
		p, err := tx.NewPool("MUG", stock.KeyOf("mug"))
		p.Units, p.Set, p.Stopped = 7, true, "a feed"
		return errors.Join(err, tx.PutPool(p),
			tx.PutPlacement(stock.Placement{Store: "fr", Pool: p.ID, Ref: stock.Ref{Product: 1}, SKU: "MUG", Enrolled: true, Quantity: 7, Contained: 7, Known: [stock.Slots]int64{4}}),
			tx.PutLine("fr", stock.Line{Order: 1, Line: 1, Ref: stock.Ref{Product: 1}, Units: 2}),
			tx.SetValue("fr", "orders", "cursor"), tx.SetValue("fr", "taken over", "somebody"),
			tx.Append(stock.Entry{Kind: stock.Lost, Pool: p.ID, SKU: "MUG", Conflict: true, At: restoredAt.Add(-time.Hour)}),
			tx.RaiseAttempt(4))
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func backupOf(t *testing.T, s *SQLite) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy")
	if err := s.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read the copy: %v %v", info.Mode(), err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A backup that is made while others write holds a state that was, whole; and says what it is.
func TestBackupWhileOthersWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := filled(t, filepath.Join(dir, "ledger.db"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var writers sync.WaitGroup
	for caller := range int64(4) {
		writers.Go(func() {
			for id := caller * 1_000_000; ctx.Err() == nil; id++ {
				if err := s.Update(ctx, func(tx engine.Tx) error { return change(tx, id) }); err != nil && !errors.Is(err, errUnwanted) && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	copied := filepath.Join(dir, "copy")
	for range 5 {
		if err := s.Backup(t.Context(), copied); err != nil {
			t.Fatal(err)
		}
		info, err := Inspect(t.Context(), copied)
		if err != nil || info.ID != backupID || info.Schema != len(migrations) || info.Pools != 1 {
			t.Fatalf("the copy is %+v: %v", info, err)
		}
	}
	cancel()
	writers.Wait()
	c := openTest(t, copied, Options{})
	err := c.view(t.Context(), func(tx *sqliteTx) error {
		p, err := tx.Pool(1)
		var lines, rows int64
		err = errors.Join(err, tx.s.one(`SELECT count(*) FROM lines WHERE order_id <> 1 OR store <> 'fr' OR units = 1`, nil, &lines),
			tx.s.one(`SELECT count(*) FROM history WHERE kind = 'Ordered'`, nil, &rows))
		if p.Units-7 != rows || lines != rows {
			t.Errorf("%d units, %d lines, %d rows: half a change is in the copy", p.Units-7, lines, rows)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// What a restored ledger knows: SKUs, history and conflicts; what it must not know: anything of a store.
func TestRestoredLedger(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.db")
	s := filled(t, path)
	backup := backupOf(t, s)
	err := s.Update(t.Context(), func(tx engine.Tx) error {
		_, err := tx.NewPool("NEWER", stock.KeyOf("newer"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// The agent still runs.
	if err := Unused(path); !errors.Is(err, ErrInUse) {
		t.Errorf("the ledger in use is said to be %v", err)
	}
	info, err := Stage(t.Context(), bytes.NewReader(backup), path, "", restoredAt)
	if err != nil || info.ID != backupID || info.Pools != 1 || !info.Last.Equal(restoredAt.Add(-time.Hour)) {
		t.Fatalf("staged %+v: %v", info, err)
	}
	if totals, err := s.Totals(t.Context()); err != nil || totals.Pools != 2 {
		t.Errorf("staging touched the ledger in use: %+v %v", totals, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = openTest(t, path, Options{})
	if id, err := s.ID(t.Context(), backupID); err != nil || id != backupID {
		t.Errorf("id %s: %v", id, err)
	}
	err = s.Update(t.Context(), func(tx engine.Tx) error {
		p, err := tx.Pool(1)
		if p.Set || p.Units != 7 || p.SKU != "MUG" || p.Stopped == "" {
			t.Errorf("pool %+v", p)
		}
		if pool, err := tx.PoolOf(stock.KeyOf("newer")); pool != 0 || err != nil {
			t.Errorf("the newer ledger is still there: %v", err)
		}
		placements, err1 := tx.Placements(1)
		lines, err2 := tx.Lines("fr", 1, time.Time{})
		orders, err3 := tx.Value("fr", "orders")
		if len(placements)+len(lines) > 0 || orders != "" {
			t.Errorf("of a store it knows %v %v %q", placements, lines, orders)
		}
		over, err4 := tx.Value("fr", "taken over")
		recovering, err5 := tx.Value("", "recovering")
		if over != "somebody" || recovering != restoredAt.Format(time.RFC3339) {
			t.Errorf("taken over %q, recovering %q", over, recovering)
		}
		attempt, err6 := tx.NextAttempt()
		if attempt <= 1_000_000 {
			t.Errorf("attempt %d may be used already", attempt)
		}
		return errors.Join(err, err1, err2, err3, err4, err5, err6)
	})
	if err != nil {
		t.Error(err)
	}
	if rows, err := s.Conflicts(t.Context()); err != nil || len(rows) != 1 || rows[0].Kind != stock.Lost {
		t.Errorf("conflicts %v: %v", rows, err)
	}
	if rows, err := s.Events(t.Context(), EventQuery{}); err != nil || len(rows) != 2 || rows[1].Kind != "LedgerRestored" {
		t.Errorf("events %v: %v", rows, err)
	}
	// The replaced one is whole, and newer.
	if info, err := Inspect(t.Context(), Replaced(path, restoredAt)); err != nil || info.Pools != 2 {
		t.Errorf("the replaced ledger is %+v: %v", info, err)
	}
	if gone, err := Discard(path); err != nil || len(gone) == 0 {
		t.Errorf("discarded %v: %v", gone, err)
	}
	if left, err := filepath.Glob(path + replaced + "*"); err != nil || len(left) > 0 {
		t.Errorf("not discarded: %v %v", left, err)
	}
	if totals, err := s.Totals(t.Context()); err != nil || totals.Pools != 1 {
		t.Errorf("the ledger in use after discarding is %+v: %v", totals, err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"+incoming+".*"))
	if err != nil || len(names) > 1 {
		t.Errorf("left behind: %v %v", names, err)
	}
}

// What may not take the ledger's place is refused, and the ledger stays.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	whole := backupOf(t, filled(t, filepath.Join(dir, "ledger.db")))
	altered := func(statements ...string) []byte {
		path := filepath.Join(t.TempDir(), "altered.db")
		s := openTest(t, path, Options{})
		if _, err := s.ID(t.Context(), backupID); err != nil {
			t.Fatal(err)
		}
		for _, text := range statements {
			if _, err := s.db.Exec(text); err != nil {
				t.Fatal(err)
			}
		}
		return backupAsIs(t, s)
	}
	torn := bytes.Clone(whole)
	for i := len(torn) / 2; i < len(torn); i++ {
		torn[i] ^= 0x5a
	}
	for name, tc := range map[string]struct {
		backup []byte
		given  string
		want   string
	}{
		"another's id":       {whole, strings.Repeat("a", 32), "the backup is of the ledger " + backupID},
		"not an id":          {whole, "mine", "32 lower-case"},
		"empty":              {nil, "", ErrNoBackup.Error()},
		"text":               {[]byte(strings.Repeat("not a database\n", 500)), "", ErrNoBackup.Error()},
		"cut off":            {whole[:len(whole)/2], "", ErrNoBackup.Error()},
		"damaged":            {torn, "", ErrNoBackup.Error()},
		"newer schema":       {altered(`PRAGMA user_version = 99`), "", ErrNewerSchema.Error()},
		"of another program": {altered(`PRAGMA application_id = 1`), "", ErrNoBackup.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "ledger.db")
			s := filled(t, path)
			_, err := Stage(t.Context(), bytes.NewReader(tc.backup), path, tc.given, restoredAt)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("it was refused with %v", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openTest(t, path, Options{})
			if totals, err := s.Totals(t.Context()); err != nil || totals.Pools != 1 || totals.Stopped != 1 {
				t.Errorf("the ledger in place is %+v: %v", totals, err)
			}
			if left, _ := filepath.Glob(path + ".*"); len(left) > 2 { // the two locks
				t.Errorf("left behind: %v", left)
			}
		})
	}
	t.Run("reading fails", func(t *testing.T) {
		t.Parallel()
		cut := io.MultiReader(bytes.NewReader(whole[:1000]), failing{})
		if _, err := Stage(t.Context(), cut, filepath.Join(t.TempDir(), "ledger.db"), "", restoredAt); !errors.Is(err, errCut) {
			t.Errorf("%v", err)
		}
	})
}

// A person who gives up while the backup does not come is not kept waiting.
func TestRestoreGivenUp(t *testing.T) {
	t.Parallel()
	silent, end := io.Pipe()
	defer func() { _ = end.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = end.Write([]byte("SQLite"))
		cancel()
	}()
	path := filepath.Join(t.TempDir(), "ledger.db")
	if _, err := Stage(ctx, silent, path, "", restoredAt); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if left, err := filepath.Glob(path + incoming + ".db*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

var errCut = errors.New("cut off")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errCut }

// backupAsIs copies a ledger that Backup would refuse.
func backupAsIs(t *testing.T, s *SQLite) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy")
	if _, err := s.db.Exec(`VACUUM INTO ?`, path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Whatever is killed when: there is the old ledger or the new one, and the replaced one keeps its own log.
func TestKilledWhileABackupTakesThePlace(t *testing.T) {
	t.Parallel()
	// The files as they are between any two steps of adopt: which of them were moved already.
	for steps := range 4 {
		dir := t.TempDir()
		path := filepath.Join(dir, "ledger.db")
		s := filled(t, path)
		backup := backupOf(t, s)
		err := s.Update(t.Context(), func(tx engine.Tx) error {
			_, err := tx.NewPool("NEWER", stock.KeyOf("newer"))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		// The agent is killed: its log was not folded in.
		dead := filepath.Join(dir, "dead")
		if err := os.Mkdir(dead, 0o700); err != nil {
			t.Fatal(err)
		}
		place := filepath.Join(dead, "ledger.db")
		for _, part := range []string{"", "-wal", "-shm"} {
			b, err := os.ReadFile(path + part)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(place+part, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Stage(t.Context(), bytes.NewReader(backup), place, backupID, restoredAt); err != nil {
			t.Fatal(err)
		}
		old := Replaced(place, restoredAt)
		moves := []func() error{
			func() error { return os.Rename(place, old) },
			func() error { return os.Rename(place+"-wal", old+"-wal") },
			func() error { return os.Remove(place + "-shm") },
		}
		for _, move := range moves[:steps] {
			if err := move(); err != nil {
				t.Fatal(err)
			}
		}
		n := openTest(t, place, Options{})
		if totals, err := n.Totals(t.Context()); err != nil || totals.Pools != 1 {
			t.Errorf("after %d steps the ledger has %+v: %v", steps, totals, err)
		}
		if info, err := Inspect(t.Context(), old); err != nil || info.Pools != 2 {
			t.Errorf("after %d steps the replaced ledger is %+v: %v", steps, info, err)
		}
	}
}

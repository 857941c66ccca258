package ledger

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

// crashEnv makes the test binary a process that works on a ledger until it is killed: path, point, hit.
const crashEnv = "STOCKSYNC_LEDGER_CRASH"

func TestMain(m *testing.M) {
	if spec := os.Getenv(crashEnv); spec != "" {
		fmt.Fprintln(os.Stderr, work(strings.Split(spec, "\n")))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// work updates a ledger from several goroutines, names on stdout every update that was acknowledged, and
// kills itself at the given hit of a point. It returns only if something went wrong.
func work(spec []string) error {
	path, point := spec[0], spec[1]
	at, err := strconv.ParseInt(spec[2], 10, 64)
	if err != nil {
		return err
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	var hits atomic.Int64
	s, err := Open(context.Background(), path, Options{point: func(name string) {
		if name == point && hits.Add(1) == at {
			// Whoever was told too early has the time to say so.
			for range 1000 {
				runtime.Gosched()
			}
			_ = self.Kill()
			select {}
		}
	}})
	if err != nil {
		return err
	}
	failed := make(chan error)
	for caller := range 8 {
		go func() {
			for i := range 100_000 {
				id := int64(caller*100_000 + i)
				if err := s.Update(context.Background(), func(tx engine.Tx) error { return change(tx, id) }); err == nil {
					fmt.Println(id)
				} else if !errors.Is(err, errUnwanted) {
					failed <- err
				}
			}
		}()
	}
	return <-failed
}

var errUnwanted = errors.New("every fifth update fails")

// change makes one change in three places.
func change(tx engine.Tx, id int64) error {
	p, err := tx.Pool(1)
	if err != nil {
		return err
	}
	p.Units++
	err = errors.Join(tx.PutPool(p), tx.PutLine("fr", stock.Line{Order: id, Line: 1, Ref: stock.Ref{Product: 1}, Units: 1}),
		tx.Append(stock.Entry{Kind: stock.Ordered, Store: "fr", Pool: 1, Delta: 1, Attempt: id, Evidence: strings.Repeat("e", 300)}))
	if id%5 == 4 {
		return errUnwanted
	}
	return err
}

// verify opens a ledger left behind, checks that it is whole, that every change is in all its places and that
// all the acknowledged ones are there, and returns how many changes it has.
func verify(t *testing.T, path string, acknowledged []int64) int {
	t.Helper()
	s := openTest(t, path, Options{})
	units, lines := int64(0), 0
	err := s.view(t.Context(), func(tx *sqliteTx) error {
		whole, err := list(tx.s, func(from scanner) (r string, err error) { return r, from.Scan(&r) }, `PRAGMA integrity_check`)
		if err != nil || len(whole) != 1 || whole[0] != "ok" {
			t.Errorf("integrity: %v, %v", whole, err)
		}
		p, err1 := tx.Pool(1)
		units = p.Units
		all, err2 := tx.Lines("fr", 1, moment(-1<<60))
		lines = len(all)
		return errors.Join(err1, err2)
	})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := s.History(t.Context(), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	there := map[int64]bool{}
	for _, r := range rows {
		there[r.Attempt] = true
		if r.Attempt%5 == 4 {
			t.Errorf("update %d failed and is there", r.Attempt)
		}
	}
	if len(there) != len(rows) || lines != len(rows) || units != int64(len(rows)) {
		t.Errorf("%d rows of %d updates, %d lines, %d units: they should be equal", len(rows), len(there), lines, units)
	}
	for _, id := range acknowledged {
		if !there[id] {
			t.Errorf("update %d was acknowledged and is gone", id)
		}
	}
	if err := s.Update(t.Context(), func(tx engine.Tx) error { return tx.SetValue("fr", "after", "crash") }); err != nil {
		t.Errorf("an update after the crash: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	return len(rows)
}

// TestKilled: a process killed without warning loses nothing it acknowledged and leaves nothing half done.
func TestKilled(t *testing.T) {
	t.Parallel()
	const anywhere = "anywhere"
	for _, point := range []string{midTransaction, beforeCommit, afterCommit, anywhere} {
		for _, hit := range []int{1, 5, 33} {
			t.Run(fmt.Sprint(point, " ", hit), func(t *testing.T) {
				t.Parallel()
				path := ledgerPath(t)
				s := openTest(t, path, Options{})
				if err := s.Update(t.Context(), func(tx engine.Tx) error { _, err := tx.NewPool("a", "a"); return err }); err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				killAfter := 0
				if point == anywhere {
					killAfter = 7 * hit
				}
				acknowledged := killed(t, path, point, hit, killAfter)
				changes := verify(t, path, acknowledged)
				if point == afterCommit && changes <= len(acknowledged) {
					t.Errorf("%d changes, %d acknowledged: the commit before the crash is not there", changes, len(acknowledged))
				}
				if point == anywhere && len(acknowledged) < killAfter {
					t.Errorf("only %d updates were acknowledged", len(acknowledged))
				}
			})
		}
	}
	for _, hit := range []int{1, 7, len(migrations[0])} {
		t.Run(fmt.Sprint(midMigration, " ", hit), func(t *testing.T) {
			t.Parallel()
			path := ledgerPath(t)
			killed(t, path, midMigration, hit, 0)
			s := openTest(t, path, Options{})
			err := s.Update(t.Context(), func(tx engine.Tx) error { _, err := tx.NewPool("a", "a"); return err })
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			verify(t, path, nil)
		})
	}
}

// killed runs work in a process of its own until it is killed, and returns what was acknowledged. While it
// runs, its ledger cannot be opened.
func killed(t *testing.T, path, point string, hit, killAfter int) []int64 {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s\n%s\n%d", crashEnv, path, point, hit))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var acknowledged []int64
	for lines := bufio.NewScanner(out); lines.Scan(); {
		id, err := strconv.ParseInt(lines.Text(), 10, 64)
		if err != nil {
			t.Fatalf("the process said %q", lines.Text())
		}
		if acknowledged = append(acknowledged, id); len(acknowledged) == killAfter {
			if s, err := Open(t.Context(), path, Options{}); !errors.Is(err, ErrInUse) {
				t.Errorf("opened beside a running process: %v, %v", s, err)
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("the process was not killed: %v\n%s", err, stderr.String())
	}
	return acknowledged
}

// TestDiskFull: when nothing more fits, updates are refused by name, all that was acknowledged can still be
// read, and work goes on when there is space.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	t.Run("page limit", func(t *testing.T) {
		t.Parallel()
		s := openTest(t, ledgerPath(t), Options{})
		limit := func(pages int) {
			t.Helper()
			err := s.update(t.Context(), func(tx *sqliteTx) error {
				return tx.s.one(fmt.Sprintf(`PRAGMA max_page_count = %d`, pages), nil, new(int))
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		testDiskFull(t, s, func() { limit(1) }, func() { limit(1 << 30) })
	})
	dir := t.TempDir()
	unmount, err := mountSmall(dir, 12<<20)
	if err != nil {
		t.Logf("a small file system is not tried as well: %v", err)
		return
	}
	t.Cleanup(func() {
		if err := unmount(); err != nil {
			t.Error(err)
		}
	})
	filler := filepath.Join(dir, "filler")
	full := func() {
		f, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{64 << 10, 4096, 1} {
			for err == nil {
				_, err = f.Write(make([]byte, size))
			}
			err = nil
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	free := func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("small file system", func(t *testing.T) {
		path := filepath.Join(dir, "ledger.db")
		s := openTest(t, path, Options{})
		testDiskFull(t, s, full, free)
		rows, err := s.History(t.Context(), 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		var acknowledged []int64
		for _, r := range rows {
			acknowledged = append(acknowledged, r.Attempt)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		full()
		if s, err := Open(t.Context(), path, Options{}); err == nil {
			err = s.Update(t.Context(), func(tx engine.Tx) error { return tx.Append(stock.Entry{Evidence: strings.Repeat("e", 100_000)}) })
			if !errors.Is(err, ErrDiskFull) {
				t.Errorf("an update after opening on a full disk: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		} else if !errors.Is(err, ErrDiskFull) {
			t.Errorf("opening on a full disk: %v", err)
		}
		if s, err := Open(t.Context(), filepath.Join(dir, "new.db"), Options{}); !errors.Is(err, ErrDiskFull) {
			t.Errorf("a new ledger on a full disk: %v, %v", s, err)
		}
		free()
		verify(t, path, acknowledged)
	})
}

func testDiskFull(t *testing.T, s *SQLite, full, free func()) {
	t.Helper()
	if err := s.Update(t.Context(), func(tx engine.Tx) error { _, err := tx.NewPool("a", "a"); return err }); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	acknowledged, refused := 0, 0
	// burst has several callers work until each was refused, or did its share.
	burst := func(from, updates int) {
		var wg sync.WaitGroup
		for caller := range 4 {
			wg.Go(func() {
				for i := range updates {
					id := int64(from + 10*(caller*updates+i))
					err := s.Update(context.Background(), func(tx engine.Tx) error { return change(tx, id) })
					mu.Lock()
					if err == nil {
						acknowledged++
					} else {
						refused++
					}
					mu.Unlock()
					if err != nil {
						if !errors.Is(err, ErrDiskFull) {
							t.Errorf("the error does not say that the disk is full: %v", err)
						}
						return
					}
				}
			})
		}
		wg.Wait()
	}
	check := func() {
		t.Helper()
		rows, err := s.History(t.Context(), 1, 0)
		if err != nil || len(rows) != acknowledged {
			t.Errorf("%d rows, %v; %d were acknowledged", len(rows), err, acknowledged)
		}
	}
	burst(0, 20)
	if refused > 0 {
		t.Fatal("refused before the disk was full")
	}
	full()
	burst(1_000_000, 10_000)
	if refused == 0 {
		t.Error("nothing was refused on a full disk")
	}
	check()
	free()
	refused = 0
	burst(2_000_000, 20)
	if refused > 0 {
		t.Error("still refused although there is space again")
	}
	check()
}

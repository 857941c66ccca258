package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

func ledgerPath(t testing.TB) string { return filepath.Join(t.TempDir(), "ledger.db") }

// fill sets every field of a value to something that is not zero.
func fill(v reflect.Value, n *int64) {
	*n++
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(1_700_000_000+*n, 1000**n).UTC()))
	case v.Kind() == reflect.Struct:
		for _, field := range v.Fields() {
			fill(field, n)
		}
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fallthrough
	case v.Kind() == reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case v.Kind() == reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(*n)
	default:
		panic("no value for " + v.Type().String())
	}
}

// TestEveryFieldIsKept: nothing the algebra knows is lost on the way to the disk and back, a field that is
// added to it later included.
func TestEveryFieldIsKept(t *testing.T) {
	both(t, func(t *testing.T, l peopleLedger) {
		var pool stock.Pool
		var placement stock.Placement
		var line stock.Line
		var entry stock.Entry
		n := int64(0)
		for _, v := range []any{&pool, &placement, &line, &entry} {
			fill(reflect.ValueOf(v).Elem(), &n)
		}
		pool.ID, placement.Pool = 1, 1
		same := func(got, want any) {
			t.Helper()
			if !reflect.DeepEqual(got, want) {
				t.Errorf("kept\n%+v\nwant\n%+v", got, want)
			}
		}
		err := l.Update(t.Context(), func(tx engine.Tx) error {
			_, err := tx.NewPool("x", "x")
			return errors.Join(err, tx.PutPool(pool), tx.PutPlacement(placement), tx.PutLine("fr", line), tx.Append(entry))
		})
		if err != nil {
			t.Fatal(err)
		}
		err = l.View(t.Context(), func(tx engine.Tx) error {
			gotPool, err1 := tx.Pool(1)
			same(gotPool, pool)
			gotPlacement, ok, err2 := tx.Placement(placement.Store, 1)
			same(gotPlacement, placement)
			gotLines, err3 := tx.OrderLines("fr", line.Order)
			same(gotLines, []stock.Line{line})
			if !ok {
				t.Error("placement not found")
			}
			return errors.Join(err1, err2, err3)
		})
		if err != nil {
			t.Fatal(err)
		}
		rows, err := l.Conflicts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		same(rows, []Row{{ID: 1, Entry: entry}})
		rows, err = l.History(t.Context(), entry.Pool, 0)
		if err != nil {
			t.Fatal(err)
		}
		same(rows, []Row{{ID: 1, Entry: entry}})
	})
}

// TestConcurrency: many callers at once, some failing and some panicking: each change is there once, and a
// reader never sees half of one.
func TestConcurrency(t *testing.T) {
	both(t, func(t *testing.T, l peopleLedger) {
		var a, b stock.Pool
		err := l.Update(t.Context(), func(tx engine.Tx) (err error) {
			if a, err = tx.NewPool("a", "a"); err != nil {
				return err
			}
			b, err = tx.NewPool("b", "b")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		boom := errors.New("boom")
		move := func(tx engine.Tx, fail func()) error {
			p, err := tx.Pool(a.ID)
			if err != nil {
				return err
			}
			p.Units++
			if err := tx.PutPool(p); err != nil {
				return err
			}
			fail()
			q, err := tx.Pool(b.ID)
			if err != nil {
				return err
			}
			q.Units--
			_, err = tx.NextAttempt()
			return errors.Join(err, tx.PutPool(q), tx.Append(stock.Entry{Kind: stock.Read, Pool: a.ID, Delta: 1}))
		}
		const callers, rounds = 12, 9
		var wg sync.WaitGroup
		stop := make(chan struct{})
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				err := l.View(context.Background(), func(tx engine.Tx) error {
					p, err1 := tx.Pool(a.ID)
					q, err2 := tx.Pool(b.ID)
					if p.Units+q.Units != 0 {
						t.Errorf("a reader saw half an update: %d and %d", p.Units, q.Units)
					}
					return errors.Join(err1, err2)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
		var callersDone sync.WaitGroup
		for range callers {
			callersDone.Go(func() {
				for round := range rounds {
					switch round % 3 {
					case 0:
						if err := l.Update(context.Background(), func(tx engine.Tx) error { return move(tx, func() {}) }); err != nil {
							t.Error(err)
						}
					case 1:
						if err := l.Update(context.Background(), func(tx engine.Tx) error { return errors.Join(move(tx, func() {}), boom) }); !errors.Is(err, boom) {
							t.Errorf("another caller's error: %v", err)
						}
					case 2:
						func() {
							defer func() {
								if recover() != boom { //nolint:errorlint // this very value, unwrapped
									t.Error("the panic did not reach its caller")
								}
							}()
							_ = l.Update(context.Background(), func(tx engine.Tx) error { return move(tx, func() { panic(boom) }) })
						}()
					}
				}
			})
		}
		callersDone.Wait()
		close(stop)
		wg.Wait()
		rows, err := l.History(t.Context(), a.ID, 0)
		if err != nil {
			t.Fatal(err)
		}
		if want := callers * rounds / 3; len(rows) != want {
			t.Errorf("%d rows in the history, want %d", len(rows), want)
		}
	})
}

// TestClose: what is under way ends as always, what comes later is told.
func TestClose(t *testing.T) {
	t.Parallel()
	path := ledgerPath(t)
	s := openTest(t, path, Options{})
	running, wait := make(chan struct{}), make(chan error, 1)
	go func() {
		wait <- s.Update(context.Background(), func(tx engine.Tx) error {
			close(running)
			<-s.closing
			return tx.SetValue("fr", "cursor", "1")
		})
	}()
	<-running
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-wait; err != nil {
		t.Errorf("the update under way: %v", err)
	}
	nothing := func(engine.Tx) error { return nil }
	if err := s.Update(t.Context(), nothing); !errors.Is(err, ErrClosed) {
		t.Errorf("Update: %v", err)
	}
	if err := s.View(t.Context(), nothing); !errors.Is(err, ErrClosed) {
		t.Errorf("View: %v", err)
	}
	again := openTest(t, path, Options{})
	_ = again.View(t.Context(), func(tx engine.Tx) error {
		if v, err := tx.Value("fr", "cursor"); v != "1" || err != nil {
			t.Errorf("after reopening: %q, %v", v, err)
		}
		return nil
	})
}

func TestOpenTwice(t *testing.T) {
	t.Parallel()
	path := ledgerPath(t)
	s := openTest(t, path, Options{})
	if second, err := Open(t.Context(), path, Options{}); !errors.Is(err, ErrInUse) {
		t.Errorf("a second Open: %v, %v", second, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	openTest(t, path, Options{})
}

// TestFiles: nobody but the owner can read what is stored, and a commit reaches the disk before it is told.
func TestFiles(t *testing.T) {
	t.Parallel()
	path := ledgerPath(t)
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	s := openTest(t, path, Options{})
	if err := s.Update(t.Context(), func(tx engine.Tx) error { return tx.SetValue("a", "b", "c") }); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) != 4 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if perm := info.Mode().Perm(); perm != 0o600 {
			t.Errorf("%s has mode %o", filepath.Base(f), perm)
		}
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		var got string
		if err := s.writer.one(`PRAGMA `+pragma, nil, &got); err != nil || got != want {
			t.Errorf("%s = %q, %v; want %q", pragma, got, err, want)
		}
	}
}

// TestUnusableFiles: a file that is not a ledger of this version is refused by name, and not touched.
func TestUnusableFiles(t *testing.T) {
	t.Parallel()
	other := func(statements ...string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			db, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range statements {
				if _, err := db.Exec(text); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		make func(t *testing.T, path string)
		want error
	}{
		"newer schema": {func(t *testing.T, path string) {
			s := openTest(t, path, Options{})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			other(fmt.Sprintf(`PRAGMA user_version = %d`, len(migrations)+1))(t, path)
		}, ErrNewerSchema},
		"another program's": {other(`CREATE TABLE photos (name TEXT)`), ErrDamaged},
		"no database": {func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(strings.Repeat("not a database ", 500)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, ErrDamaged},
		"cut short": {func(t *testing.T, path string) {
			if err := openTest(t, path, Options{}).Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, 6000); err != nil {
				t.Fatal(err)
			}
		}, ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := ledgerPath(t)
			c.make(t, path)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), path, Options{})
			if !errors.Is(err, c.want) {
				t.Fatalf("Open: %v, %v; want %v", s, err, c.want)
			}
			if !strings.Contains(err.Error(), path) {
				t.Errorf("the error does not name the file: %v", err)
			}
			after, err := os.ReadFile(path)
			if err != nil || string(before) != string(after) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
	t.Run("a directory", func(t *testing.T) {
		t.Parallel()
		if s, err := Open(t.Context(), t.TempDir(), Options{}); err == nil {
			t.Errorf("opened: %v", s)
		}
	})
}

// TestDamageFoundLater: rubbish in the middle of the file is an error that says so, not a wrong number.
func TestDamageFoundLater(t *testing.T) {
	t.Parallel()
	path := ledgerPath(t)
	s := openTest(t, path, Options{})
	put := func(s *SQLite, from, to int64) error {
		return s.Update(t.Context(), func(tx engine.Tx) error {
			for i := from; i < to; i++ {
				if err := tx.PutLine("fr", stock.Line{Order: i, Line: 1}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := put(s, 0, 2000); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	// Everything behind the schema.
	const schema = 40 * 4096
	if _, err := f.WriteAt([]byte(strings.Repeat("\xaa", int(info.Size())-schema)), schema); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, path, Options{})
	if err := put(s, 1, 2000); !errors.Is(err, ErrDamaged) {
		t.Errorf("Update: %v", err)
	}
}

// TestPrune: the history is kept short in both ways, and open conflicts stay.
func TestPrune(t *testing.T) {
	both(t, func(t *testing.T, l peopleLedger) {
		start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		const rows = 3*pruneStep + 7
		err := l.Update(t.Context(), func(tx engine.Tx) error {
			for i := range rows {
				if err := tx.Append(stock.Entry{Kind: stock.Lost, Pool: 1, Conflict: i < 2, At: start.Add(time.Duration(i) * time.Minute)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			older time.Time
			max   int
			want  int
		}{
			{start, 0, rows},
			{start.Add(5 * time.Minute), 0, rows - 5},
			{start, 1000, 1000},
			{start.Add(24 * 365 * time.Hour), 5000, 0},
		} {
			before, err := l.History(t.Context(), 1, 0)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := l.Prune(t.Context(), c.older, c.max); err != nil || n != len(before)-c.want {
				t.Fatalf("%d of %d rows deleted, %v; %d were to stay", n, len(before), err, c.want)
			}
			if got, err := l.History(t.Context(), 1, 0); err != nil || len(got) != c.want {
				t.Errorf("%d rows left, %v; want %d", len(got), err, c.want)
			}
		}
		if open, err := l.Conflicts(t.Context()); err != nil || len(open) != 2 {
			t.Errorf("conflicts %v, %v", open, err)
		}
		if err := l.Update(t.Context(), func(tx engine.Tx) error { return tx.Append(stock.Entry{Conflict: true}) }); err != nil {
			t.Fatal(err)
		}
		if open, err := l.Conflicts(t.Context()); err != nil || len(open) != 3 || open[2].ID != rows+1 {
			t.Errorf("the next row's number was used before: %v, %v", open, err)
		}
	})
}

// TestStatementsUseIndexes: no statement of the daily work reads a whole table.
func TestStatementsUseIndexes(t *testing.T) {
	t.Parallel()
	s := openTest(t, ledgerPath(t), Options{Readers: 1})
	use := func(tx engine.Tx) error {
		p, err := tx.NewPool("a", "a")
		look(tx, 1, time.Time{})
		_, err2 := tx.NextAttempt()
		return errors.Join(err, err2, tx.PutPool(p), tx.PutPlacement(stock.Placement{Store: "fr", Pool: p.ID}), tx.DeletePlacement("fr", p.ID),
			tx.PutLine("fr", stock.Line{}), tx.PruneLines("fr", time.Time{}), tx.RaiseAttempt(3), tx.SetValue("fr", "a", "b"), tx.DropStore("fr"), tx.Append(stock.Entry{Conflict: true}),
			tx.PutSourceItem(stock.Stocked{Pool: p.ID}), tx.PutLink(stock.Link{}), tx.DeleteLink("fr", 1), tx.PutImport(stock.Import{}), tx.PruneImports(time.Time{}))
	}
	if err := s.Update(t.Context(), use); err != nil {
		t.Fatal(err)
	}
	_, err1 := s.History(t.Context(), 1, 1)
	_, err2 := s.Totals(t.Context())
	_, err3 := s.Prune(t.Context(), time.Now(), 1)
	if err := errors.Join(err1, err2, err3, s.ResolveConflicts(t.Context(), 1)); err != nil {
		t.Fatal(err)
	}
	// Reading all of these is what the statement is for, or they have one row, or (history) it ends at the first hit.
	allowed := []string{"SCAN ledger", "SCAN step", "SCAN CONSTANT ROW", "SCAN conflicts", "SCAN sqlite_master", "SCAN history", "SCAN pools USING INDEX pools_stopped", "SCAN items USING INDEX items_owed",
		"SCAN imports",
		"SCAN pools USING COVERING INDEX pools_oversold"}
	reader := <-s.readers
	defer func() { s.readers <- reader }()
	for _, session := range []*session{s.writer, reader} {
		texts := []string{}
		for text := range session.stmts {
			texts = append(texts, text)
		}
		for _, text := range texts {
			if verb, _, _ := strings.Cut(text, " "); !strings.Contains("SELECT INSERT UPDATE DELETE WITH", verb) {
				continue
			}
			args := make([]any, strings.Count(text, "?"))
			switch {
			case strings.Contains(text, "?2"):
				args = args[:2]
			case strings.Contains(text, "?1"):
				args = args[:1]
			}
			plan, err := list(session, func(from scanner) (detail string, err error) {
				var skip any
				return detail, from.Scan(&skip, &skip, &skip, &detail)
			}, `EXPLAIN QUERY PLAN `+text, args...)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			for _, line := range plan {
				// The lists of work come in the order of their index; only these two sort the little they found.
				ok := !strings.HasPrefix(line, "SCAN") && (!strings.HasPrefix(line, "USE TEMP B-TREE FOR ORDER BY") ||
					strings.Contains(text, "max(todo") || strings.Contains(text, "FROM lines"))
				// The first of its order, and the one after.
				ok = ok || strings.Contains(text, "RECURSIVE") && strings.HasPrefix(line, "SCAN placements USING COVERING INDEX")
				for _, a := range allowed {
					ok = ok || strings.HasPrefix(line, a)
				}
				if !ok {
					t.Errorf("%s\nin %s", line, text)
				}
			}
		}
	}
}

// TestUrgentIsDueFirst: what is to show few units does not wait behind a backlog, however young it is.
func TestUrgentIsDueFirst(t *testing.T) {
	if !strings.HasSuffix(urgent, fmt.Sprintf(" <= %d", stock.FewUnits)) {
		t.Fatalf("the ledger's %q is not stock.FewUnits %d", urgent, stock.FewUnits)
	}
	both(t, func(t *testing.T, l peopleLedger) {
		err := l.Update(t.Context(), func(tx engine.Tx) error {
			for i := range int64(6) {
				p, err := tx.NewPool(fmt.Sprint(i), stock.Key(fmt.Sprint(i)))
				if err != nil {
					return err
				}
				p.Set = true
				shows := []int64{90, 90, stock.FewUnits, 90, stock.FewUnits + 1, 0}[i]
				err = errors.Join(tx.PutPool(p), tx.PutPlacement(stock.Placement{Store: "fr", Pool: p.ID, Ref: stock.Ref{Product: p.ID}, Enrolled: true,
					Contained: shows + 1, Todo: -1, DirtySince: time.Unix(100+i, 0)}))
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for limit, want := range map[int][]int64{0: {3, 6, 1, 2, 4, 5}, 1: {3}, 3: {3, 6, 1}} {
			err := l.View(t.Context(), func(tx engine.Tx) error {
				due, err := tx.Due("fr", limit)
				var got []int64
				for _, p := range due {
					got = append(got, p.Pool)
				}
				if !slices.Equal(got, want) {
					t.Errorf("the first %d due are %v, want %v", limit, got, want)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
}

// TestVolumeOfALostNode: a volume that is attached to another node while nobody closed the ledger on it holds all that
// was acknowledged, and the lock of the process that is gone keeps nobody out.
func TestVolumeOfALostNode(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	lost := openTest(t, filepath.Join(from, "ledger.db"), Options{})
	for n := range int64(50) {
		if err := lost.Update(t.Context(), func(tx engine.Tx) error { return tx.Append(stock.Entry{Kind: stock.Ordered, Units: n}) }); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		content, err := os.ReadFile(filepath.Join(from, f.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, f.Name()), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	found := openTest(t, filepath.Join(to, "ledger.db"), Options{})
	rows, err := found.History(t.Context(), 0, 0)
	if err != nil || len(rows) != 50 {
		t.Fatalf("%d of 50 lines, %v", len(rows), err)
	}
	if err := found.Update(t.Context(), func(tx engine.Tx) error { return tx.Append(stock.Entry{Kind: stock.Ordered}) }); err != nil {
		t.Error(err)
	}
}

// TestEverySchemaIsBroughtUp: a ledger of any version before this one keeps what it holds, and can be written.
func TestEverySchemaIsBroughtUp(t *testing.T) {
	t.Parallel()
	for version := 1; version < len(migrations); version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			t.Parallel()
			path := ledgerPath(t)
			db, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			texts := slices.Concat(migrations[:version]...)
			texts = append(texts, fmt.Sprintf(`PRAGMA application_id = %d`, applicationID), fmt.Sprintf(`PRAGMA user_version = %d`, version),
				`INSERT INTO pools (id, sku, units, is_set) VALUES (3, 'TSHIRT-M', 7, 1)`, `INSERT INTO keys VALUES ('tshirt-m', 3)`,
				`UPDATE ledger SET id = '00112233445566778899aabbccddeeff', attempt = 41`,
				`INSERT INTO store_values VALUES ('fr', 'products', 'here')`)
			for _, text := range texts {
				if _, err := db.Exec(text); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			s := openTest(t, path, Options{})
			if id, err := s.ID(t.Context(), ""); err != nil || id != "00112233445566778899aabbccddeeff" {
				t.Errorf("the id is %q, %v", id, err)
			}
			err = s.Update(t.Context(), func(tx engine.Tx) error {
				id, err1 := tx.PoolOf("tshirt-m")
				pool, err2 := tx.Pool(id)
				value, err3 := tx.Value("fr", "products")
				attempt, err4 := tx.NextAttempt()
				if pool.Units != 7 || !pool.Set || value != "here" || attempt != 42 {
					t.Errorf("pool %+v, value %q, attempt %d", pool, value, attempt)
				}
				return errors.Join(err1, err2, err3, err4, tx.PutPlacement(stock.Placement{Store: "fr", Pool: id, Ref: stock.Ref{Product: 9}}))
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

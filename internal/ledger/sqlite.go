package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

// Options of [Open]. The zero value is good.
type Options struct {
	// Readers is how many View can run at once; 0 means 2.
	Readers int
	// Synced, if set, is called each time changes have reached the disk, before anybody is told and before the next
	// are written: a benchmark makes a slower disk of it.
	Synced func()

	// point is called where a crash would be most telling; for tests.
	point func(name string)
}

// The points at which tests kill the process.
const (
	midMigration   = "mid-migration"
	midTransaction = "mid-transaction"
	beforeCommit   = "before-commit"
	afterCommit    = "after-commit-before-ack"
)

// A group commit takes in what waits, up to so many callers or statements: the first of them should not wait
// much longer than its own work and one sync of the disk.
const (
	groupCallers    = 64
	groupStatements = 500
)

// pruneStep is how many rows Prune deletes at a time, so that it never keeps others waiting for long.
const pruneStep = 500

// SQLite is a ledger in a file. All methods may be called at any time from any goroutine.
type SQLite struct {
	point   func(string)
	synced  func()
	lock    *os.File
	db      *sql.DB
	writer  *session
	readers chan *session
	// counter is the connection of [SQLite.Offers].
	counter  chan *session
	requests chan *request
	closing  chan struct{}
	closed   sync.WaitGroup
	once     sync.Once
	closeErr error
}

var _ engine.Ledger = (*SQLite)(nil)

// Open opens the ledger in a file, made if it is missing (readable by the owner alone), and brings its schema
// up to date. Beside it SQLite keeps two files, -wal and -shm, and the ledger a third, .lock; they belong
// together. A backup that [Stage] made ready takes the ledger's place first. Errors: [ErrInUse], [ErrNewerSchema], [ErrDamaged], [ErrDiskFull] and those of the file system.
func Open(ctx context.Context, path string, o Options) (*SQLite, error) {
	s, err := open(ctx, path, o)
	if err != nil {
		return nil, fmt.Errorf("open the ledger %s: %w", path, err)
	}
	return s, nil
}

func open(ctx context.Context, path string, o Options) (_ *SQLite, err error) {
	if o.point == nil {
		o.point = func(string) {}
	}
	if o.Synced == nil {
		o.Synced = func() {}
	}
	if o.Readers <= 0 {
		o.Readers = 2
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	s := &SQLite{
		point:    o.point,
		synced:   o.Synced,
		readers:  make(chan *session, o.Readers),
		counter:  make(chan *session, 1),
		requests: make(chan *request),
		closing:  make(chan struct{}),
	}
	if s.lock, err = lock(path + ".lock"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.release(len(s.readers), len(s.counter))
		}
	}()
	if err := adopt(path); err != nil {
		return nil, fmt.Errorf("put the restored ledger in place: %w", err)
	}
	if err := private(path); err != nil {
		return nil, err
	}
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{
		"_dqs":    {"0"},
		"_pragma": {"busy_timeout(10000)", "synchronous(FULL)", "foreign_keys(1)", "temp_store(MEMORY)", "journal_size_limit(16777216)"},
	}.Encode()}
	if s.db, err = sql.Open("sqlite", dsn.String()); err != nil {
		return nil, err
	}
	if s.writer, err = newSession(ctx, s.db); err != nil {
		return nil, err
	}
	version, err := check(s.writer)
	if err != nil {
		return nil, err
	}
	var mode string
	if err := s.writer.one(`PRAGMA journal_mode = WAL`, nil, &mode); err != nil {
		return nil, err
	}
	if mode != "wal" {
		return nil, fmt.Errorf("the file system cannot do write-ahead logging (journal mode %q): use a local one", mode)
	}
	if err := s.writer.exec(`PRAGMA cache_size = -8192`); err != nil {
		return nil, err
	}
	if err := migrate(s.writer, version, migrations, s.point); err != nil {
		return nil, err
	}
	for n := range o.Readers + 1 {
		r, err := newSession(ctx, s.db)
		if err != nil {
			return nil, err
		}
		if n < o.Readers {
			s.readers <- r
		} else {
			s.counter <- r
		}
		if err := r.exec(`PRAGMA query_only = 1`); err != nil {
			return nil, err
		}
	}
	s.closed.Go(s.write)
	return s, nil
}

// private makes the file, or takes it away from everyone but its owner.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return &fs.PathError{Op: "open", Path: path, Err: errors.New("is not a regular file")}
	}
	if info.Mode().Perm()&0o077 != 0 {
		return os.Chmod(path, 0o600)
	}
	return nil
}

// Close waits for what is under way and closes the ledger. What comes later gets [ErrClosed].
func (s *SQLite) Close() error {
	s.once.Do(func() {
		close(s.closing)
		s.closed.Wait()
		s.closeErr = s.release(cap(s.readers), cap(s.counter))
	})
	return s.closeErr
}

// release closes everything that is open, so many readers and counters among it.
func (s *SQLite) release(readers, counters int) error {
	var errs []error
	for range readers {
		errs = append(errs, (<-s.readers).close())
	}
	for range counters {
		errs = append(errs, (<-s.counter).close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	return errors.Join(append(errs, unlock(s.lock))...)
}

// request is one Update. The writer gives it its turn, the caller says how its function ended, the writer
// says how it is with the disk. The function runs in its caller's goroutine, so that a panic in it is the
// caller's.
type request struct {
	turn chan turn
	ran  chan error
	done chan error
}

type turn struct {
	tx  *sqliteTx
	err error
}

var errAbandoned = errors.New("the update did not return")

// Update implements [engine.Ledger]. Several calls may share one transaction of SQLite and one sync of the
// disk; each keeps or loses its own changes. It waits for its turn as long as ctx allows, then for the disk
// whatever ctx says: otherwise the caller would not know what happened.
func (s *SQLite) Update(ctx context.Context, fn func(engine.Tx) error) error {
	return s.update(ctx, func(tx *sqliteTx) error { return fn(tx) })
}

func (s *SQLite) update(ctx context.Context, fn func(*sqliteTx) error) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	r := &request{turn: make(chan turn, 1), ran: make(chan error, 1), done: make(chan error, 1)}
	select {
	case s.requests <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return ErrClosed
	}
	t := <-r.turn
	if t.err != nil {
		return t.err
	}
	err := errAbandoned
	func() {
		defer func() { r.ran <- err }()
		err = fn(t.tx)
	}()
	return <-r.done
}

func (s *SQLite) usable(ctx context.Context) error {
	select {
	case <-s.closing:
		return ErrClosed
	default:
		return ctx.Err()
	}
}

// write is the one goroutine that changes the ledger.
func (s *SQLite) write() {
	for {
		select {
		case r := <-s.requests:
			s.group(r)
		case <-s.closing:
			return
		}
	}
}

// group runs one request and those that wait behind it, and commits them together.
func (s *SQLite) group(first *request) {
	w := s.writer
	w.reset()
	if err := w.exec(`BEGIN IMMEDIATE`); err != nil {
		first.turn <- turn{err: err}
		return
	}
	var members []*request
	for r := first; r != nil; r = s.next(len(members)) {
		if s.run(r) {
			members = append(members, r)
		}
	}
	if len(members) == 0 {
		w.rollback()
		return
	}
	err := w.broken
	if err == nil {
		s.point(beforeCommit)
		err = w.exec(`COMMIT`)
	}
	if err != nil {
		w.rollback()
	} else {
		s.synced()
		s.point(afterCommit)
	}
	for _, r := range members {
		r.done <- err
	}
}

// next is a request that waits and still fits into the group; nil if there is none.
func (s *SQLite) next(members int) *request {
	if members >= groupCallers || s.writer.work >= groupStatements || s.writer.broken != nil {
		return nil
	}
	select {
	case r := <-s.requests:
		return r
	default:
		return nil
	}
}

// run gives one request its turn and tells whether its changes wait for the commit.
func (s *SQLite) run(r *request) bool {
	w := s.writer
	if err := w.exec(`SAVEPOINT member`); err != nil {
		r.turn <- turn{err: err}
		return false
	}
	tx := &sqliteTx{s: w}
	r.turn <- turn{tx: tx}
	err := <-r.ran
	tx.s = nil
	s.point(midTransaction)
	if err != nil {
		// If this fails too, the session is broken and nothing of the group is committed.
		_ = w.exec(`ROLLBACK TO member`)
	}
	err = cmp.Or(err, w.exec(`RELEASE member`))
	if err != nil {
		r.done <- err
		return false
	}
	return true
}

// View implements [engine.Ledger]. It does not wait for Update, nor Update for it.
func (s *SQLite) View(ctx context.Context, fn func(engine.Tx) error) error {
	return s.view(ctx, func(tx *sqliteTx) error { return fn(tx) })
}

func (s *SQLite) view(ctx context.Context, fn func(*sqliteTx) error) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	var r *session
	select {
	case r = <-s.readers:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return ErrClosed
	}
	defer func() { s.readers <- r }()
	r.reset()
	if err := r.exec(`BEGIN`); err != nil {
		return err
	}
	tx := &sqliteTx{s: r, readOnly: true}
	defer func() {
		tx.s = nil
		r.rollback()
	}()
	return fn(tx)
}

// ID returns the ledger's id: 32 lower-case hexadecimal digits that stand in every marker it writes. given is
// the one the operator keeps, adopted by a new ledger; it is an error if the ledger has another. Without one
// the ledger makes its own, once.
func (s *SQLite) ID(ctx context.Context, given string) (id string, err error) {
	err = s.update(ctx, func(tx *sqliteTx) error {
		var stored string
		if err := tx.s.one(`SELECT id FROM ledger`, nil, &stored); err != nil {
			return err
		}
		if id, err = chooseID(stored, given); err != nil || id == stored {
			return err
		}
		return tx.s.exec(`UPDATE ledger SET id = ?`, id)
	})
	if err != nil {
		return "", err
	}
	return id, nil
}

// Conflicts are the rows that wait for a person, oldest first.
func (s *SQLite) Conflicts(ctx context.Context) (rows []Row, err error) {
	err = s.view(ctx, func(tx *sqliteTx) error {
		rows, err = list(tx.s, scanRow, `SELECT `+rowColumns+` FROM conflicts ORDER BY id`)
		return err
	})
	return rows, err
}

// ResolveConflicts takes rows from the list of those that wait; they stay in the history. Ids that are not in
// the list are no error.
func (s *SQLite) ResolveConflicts(ctx context.Context, ids ...int64) error {
	return s.update(ctx, func(tx *sqliteTx) error {
		for _, id := range ids {
			if err := tx.s.exec(`DELETE FROM conflicts WHERE id = ?`, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// History is what happened to a pool, newest first; with pool 0, what concerns a whole store.
func (s *SQLite) History(ctx context.Context, pool int64, limit int) (rows []Row, err error) {
	err = s.view(ctx, func(tx *sqliteTx) error {
		rows, err = list(tx.s, scanRow, `SELECT `+rowColumns+` FROM history WHERE pool = ? ORDER BY id DESC LIMIT ?`, pool, all(limit))
		return err
	})
	return rows, err
}

// Events is what the event log shows, oldest first.
func (s *SQLite) Events(ctx context.Context, q EventQuery) (rows []Row, err error) {
	err = s.view(ctx, func(tx *sqliteTx) error {
		where, args := `id > ?`, []any{q.After}
		if q.Store != "" {
			where, args = where+` AND store = ?`, append(args, q.Store)
		}
		if q.SKU != "" {
			pool, err := tx.PoolOf(stock.KeyOf(q.SKU))
			if err != nil || pool == 0 {
				return err
			}
			where, args = where+` AND pool = ?`, append(args, pool)
		}
		from := `history`
		if serious := q.seriously(); serious != "" {
			from, where = `history INDEXED BY history_rare`, where+` AND `+rare+` AND `+serious
		}
		order := `id`
		if q.Newest {
			order = `id DESC`
		}
		rows, err = list(tx.s, scanRow, `SELECT `+rowColumns+` FROM `+from+` WHERE `+where+` ORDER BY `+order+` LIMIT ?`, append(args, all(q.Limit))...)
		return err
	})
	if q.Newest {
		slices.Reverse(rows)
	}
	return rows, err
}

// Prune shortens the history from its old end: up to the first row that is not older than olderThan, and
// further until maxRows are left (0: as many as there are). Conflicts that wait are kept. It counts the rows it
// has deleted.
func (s *SQLite) Prune(ctx context.Context, olderThan time.Time, maxRows int) (deleted int, err error) {
	var upTo int64
	err = s.view(ctx, func(tx *sqliteTx) error {
		var last int64
		if err := tx.s.one(`SELECT coalesce(max(id), 0) FROM history`, nil, &last); err != nil {
			return err
		}
		err := tx.s.one(`SELECT id - 1 FROM history WHERE at >= ? ORDER BY id LIMIT 1`, []any{olderThan.UnixMicro()}, &upTo)
		if errors.Is(err, sql.ErrNoRows) {
			upTo, err = last, nil
		}
		if maxRows > 0 {
			// Rows go at the old end only, so their numbers have no gaps.
			upTo = max(upTo, last-int64(maxRows))
		}
		return err
	})
	for n := int64(1); n > 0 && err == nil; {
		err = s.update(ctx, func(tx *sqliteTx) (err error) {
			n, err = tx.s.change(`DELETE FROM history WHERE id IN (SELECT id FROM history WHERE id <= ? ORDER BY id LIMIT ?)`, upTo, pruneStep)
			return err
		})
		if err == nil {
			deleted += int(n)
		}
	}
	return deleted, err
}

// Totals are the counts over all stores.
func (s *SQLite) Totals(ctx context.Context) (t Totals, err error) {
	err = s.view(ctx, func(tx *sqliteTx) error {
		// Pools are never removed, so their last number is their count.
		return tx.s.one(`SELECT (SELECT coalesce(max(id), 0) FROM pools),
			(SELECT count(*) FROM pools WHERE stopped <> ''),
			(SELECT count(*) FROM conflicts),
			(SELECT count(*) FROM pools WHERE units < 0),
			(SELECT CAST(-total(units) AS INTEGER) FROM pools WHERE units < 0)`, nil,
			&t.Pools, &t.Stopped, &t.Conflicts, &t.Oversold, &t.OversoldUnits)
	})
	return t, err
}

// Exposure is how many units the stores still show beyond the shared stock, by store; those that show none are
// left out. It looks at placements that wait to be lowered, and at nothing else.
func (s *SQLite) Exposure(ctx context.Context) (units map[string]int64, err error) {
	type exposed struct {
		store string
		units int64
	}
	var all []exposed
	err = s.view(ctx, func(tx *sqliteTx) error {
		all, err = list(tx.s, func(from scanner) (e exposed, err error) { return e, from.Scan(&e.store, &e.units) },
			`SELECT store, sum(shown - max(0, units)) FROM placements INDEXED BY placements_todo JOIN pools ON id = pool
			WHERE todo <> 0 AND todo < 0 AND shown > max(0, units) GROUP BY store`)
		return err
	})
	units = map[string]int64{}
	for _, e := range all {
		units[e.store] = e.units
	}
	return units, err
}

// all turns a limit that means none into SQLite's.
func all(limit int) int {
	if limit <= 0 {
		return -1
	}
	return limit
}

// row is the form of an entry in the tables history and conflicts.
const rowColumns = `id, at, kind, store, pool, sku, delta, units, quantity, attempt, evidence, conflict, cause`

func scanRow(from scanner) (Row, error) {
	var r Row
	var when int64
	err := from.Scan(&r.ID, &when, &r.Kind, &r.Store, &r.Pool, &r.SKU, &r.Delta, &r.Units, &r.Quantity, &r.Attempt, &r.Evidence, &r.Conflict, &r.Cause)
	r.At = moment(when)
	return r, err
}

func rowValues(e stock.Entry) []any {
	return []any{e.At.UnixMicro(), string(e.Kind), e.Store, e.Pool, e.SKU, e.Delta, e.Units, e.Quantity, e.Attempt, e.Evidence, e.Conflict, e.Cause}
}

func moment(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

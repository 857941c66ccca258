package ledger

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

// sqliteTx is one member of the writer's transaction, or one View.
type sqliteTx struct {
	// s is nil when the transaction has ended.
	s        *session
	readOnly bool
}

func (tx *sqliteTx) readable() error {
	if tx.s == nil {
		return ErrDone
	}
	return nil
}

func (tx *sqliteTx) writable() error {
	if tx.s == nil {
		return ErrDone
	}
	if tx.readOnly {
		return ErrReadOnly
	}
	return nil
}

// NewPool implements [engine.Tx].
func (tx *sqliteTx) NewPool(sku string, key stock.Key) (stock.Pool, error) {
	if err := tx.writable(); err != nil {
		return stock.Pool{}, err
	}
	switch old, err := tx.PoolOf(key); {
	case err != nil:
		return stock.Pool{}, err
	case old != 0:
		return stock.Pool{}, takenError(fmt.Sprintf("SKU %q", key), old)
	}
	p := stock.Pool{SKU: sku}
	if err := tx.s.one(`INSERT INTO pools (sku) VALUES (?) RETURNING id`, []any{sku}, &p.ID); err != nil {
		return stock.Pool{}, err
	}
	return p, tx.Alias(key, p.ID)
}

// Pool implements [engine.Tx].
func (tx *sqliteTx) Pool(id int64) (stock.Pool, error) {
	if err := tx.readable(); err != nil {
		return stock.Pool{}, err
	}
	p := stock.Pool{ID: id}
	var edits, registers, former string
	err := tx.s.one(`SELECT sku, units, is_set, stopped, edits, registers, gid, former, renamed FROM pools WHERE id = ?`, []any{id},
		&p.SKU, &p.Units, &p.Set, &p.Stopped, &edits, &registers, &p.GID, &former, &p.Renamed)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return stock.Pool{}, poolError(id)
	case err != nil:
		return stock.Pool{}, err
	}
	return p, errors.Join(unpack(edits, &p.Edits), unpackOne(registers, &p.Registers), unpack(former, &p.Former))
}

// PutPool implements [engine.Tx].
func (tx *sqliteTx) PutPool(p stock.Pool) error {
	if err := tx.writable(); err != nil {
		return err
	}
	p = copyPool(p)
	edits, err := pack(p.Edits)
	if err != nil {
		return err
	}
	registers, err := packOne(p.Registers)
	if err != nil {
		return err
	}
	former, err := pack(p.Former)
	if err != nil {
		return err
	}
	n, err := tx.s.change(`UPDATE pools SET sku = ?, units = ?, is_set = ?, stopped = ?, edits = ?, registers = ?, gid = ?, former = ?, renamed = ? WHERE id = ?`,
		p.SKU, p.Units, p.Set, p.Stopped, edits, registers, p.GID, former, p.Renamed, p.ID)
	switch {
	case err == nil && n == 0:
		return poolError(p.ID)
	case code(err) == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
		other, err := tx.PoolOfGID(p.GID)
		return errors.Join(takenError("GID "+p.GID, other), err)
	}
	return err
}

// PoolOf implements [engine.Tx].
func (tx *sqliteTx) PoolOf(key stock.Key) (int64, error) {
	if err := tx.readable(); err != nil {
		return 0, err
	}
	var id int64
	err := tx.s.one(`SELECT pool FROM keys WHERE key = ?`, []any{string(key)}, &id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return id, err
}

// PoolOfGID implements [engine.Tx].
func (tx *sqliteTx) PoolOfGID(gid string) (int64, error) {
	if err := tx.readable(); err != nil || gid == "" {
		return 0, err
	}
	var id int64
	err := tx.s.one(`SELECT id FROM pools WHERE gid = ? AND gid <> ''`, []any{gid}, &id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return id, err
}

// Release implements [engine.Tx].
func (tx *sqliteTx) Release(key stock.Key) error {
	if err := tx.writable(); err != nil {
		return err
	}
	return tx.s.exec(`DELETE FROM keys WHERE key = ?`, string(key))
}

// Alias implements [engine.Tx].
func (tx *sqliteTx) Alias(key stock.Key, pool int64) error {
	if err := tx.writable(); err != nil {
		return err
	}
	if _, err := tx.Pool(pool); err != nil {
		return err
	}
	switch old, err := tx.PoolOf(key); {
	case err != nil:
		return err
	case old == pool:
		return nil
	case old != 0:
		return takenError(fmt.Sprintf("SKU %q", key), old)
	}
	return tx.s.exec(`INSERT INTO keys (key, pool) VALUES (?, ?)`, string(key), pool)
}

// Rekey implements [engine.Tx].
func (tx *sqliteTx) Rekey(key stock.Key, pool int64) error {
	if err := tx.writable(); err != nil {
		return err
	}
	if _, err := tx.Pool(pool); err != nil {
		return err
	}
	return tx.s.exec(`UPDATE keys SET pool = ? WHERE key = ?`, pool, string(key))
}

// Keys implements [engine.Tx].
func (tx *sqliteTx) Keys(pool int64) ([]stock.Key, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	return list(tx.s, func(from scanner) (k stock.Key, err error) { return k, from.Scan(&k) },
		`SELECT key FROM keys WHERE pool = ? ORDER BY key`, pool)
}

const placementColumns = `store, pool, product, variation, sku, enrolled, blocked, contained, baseline, taken, counted, quantity, shown,
	read_at, undecided, restored, known, attempts, pushes, parted_since, unanswered_at, todo, dirty_since, shelf, absolute, target, naming`

func scanPlacement(from scanner) (stock.Placement, error) {
	var p stock.Placement
	var read, parted, unanswered, dirty int64
	var known, attempts, pushes, shelf, absolute, target, naming string
	err := from.Scan(&p.Store, &p.Pool, &p.Ref.Product, &p.Ref.Variation, &p.SKU, &p.Enrolled, &p.Blocked, &p.Contained, &p.Baseline, &p.Taken,
		&p.Counted, &p.Quantity, &p.Shown, &read, &p.Undecided, &p.Restored, &known, &attempts, &pushes, &parted, &unanswered, &p.Todo, &dirty, &shelf, &absolute,
		&target, &naming)
	if err != nil {
		return stock.Placement{}, err
	}
	p.ReadAt, p.PartedSince, p.UnansweredAt, p.DirtySince = moment(read), moment(parted), moment(unanswered), moment(dirty)
	if known != "" {
		err = json.Unmarshal([]byte(known), &p.Known)
	}
	return p, errors.Join(err, unpack(attempts, &p.Attempts), unpack(pushes, &p.Pushes), unpackOne(shelf, &p.Shelf), unpackOne(absolute, &p.Absolute), unpackOne(target, &p.Target), unpackOne(naming, &p.Naming))
}

func (tx *sqliteTx) placement(where string, args ...any) (stock.Placement, bool, error) {
	if err := tx.readable(); err != nil {
		return stock.Placement{}, false, err
	}
	found, err := list(tx.s, scanPlacement, `SELECT `+placementColumns+` FROM placements WHERE `+where, args...)
	if err != nil || len(found) == 0 {
		return stock.Placement{}, false, err
	}
	return found[0], true, nil
}

func (tx *sqliteTx) placements(where string, args ...any) ([]stock.Placement, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	return list(tx.s, scanPlacement, `SELECT `+placementColumns+` FROM placements WHERE `+where, args...)
}

// Placement implements [engine.Tx].
func (tx *sqliteTx) Placement(store string, pool int64) (stock.Placement, bool, error) {
	return tx.placement(`store = ? AND pool = ?`, store, pool)
}

// PlacementAt implements [engine.Tx].
func (tx *sqliteTx) PlacementAt(store string, object int64) (stock.Placement, bool, error) {
	return tx.placement(`store = ? AND object = ?`, store, object)
}

// Placements implements [engine.Tx].
func (tx *sqliteTx) Placements(pool int64) ([]stock.Placement, error) {
	return tx.placements(`pool = ? ORDER BY store`, pool)
}

// StorePlacements implements [engine.Tx].
func (tx *sqliteTx) StorePlacements(store string, after int64, limit int) ([]stock.Placement, error) {
	return tx.placements(`store = ? AND pool > ? ORDER BY pool LIMIT ?`, store, after, all(limit))
}

// Due implements [engine.Tx].
func (tx *sqliteTx) Due(store string, limit int) ([]stock.Placement, error) {
	const may = ` AND todo <> 0 AND pushable = 1
		AND EXISTS (SELECT 1 FROM pools WHERE id = placements.pool AND is_set = 1 AND stopped = '')
		ORDER BY dirty_since, pool LIMIT ?`
	first, err := tx.placements(`store = ? AND `+urgent+may, store, all(limit))
	if err != nil || (limit > 0 && len(first) == limit) {
		return first, err
	}
	rest, err := tx.placements(`store = ? AND NOT (`+urgent+`)`+may, store, all(limit-len(first)))
	return append(first, rest...), err
}

// Unlike implements [engine.Tx].
func (tx *sqliteTx) Unlike(store string, limit int) ([]stock.Placement, error) {
	return tx.placements(`store = ? AND unlike = 1
		AND EXISTS (SELECT 1 FROM pools WHERE id = placements.pool AND stopped = '') ORDER BY pool LIMIT ?`, store, all(limit))
}

// Misnamed implements [engine.Tx].
func (tx *sqliteTx) Misnamed(store string, after int64, limit int) ([]stock.Placement, error) {
	return tx.placements(`store = ? AND misnamed = 1 AND pool > ? ORDER BY pool LIMIT ?`, store, after, all(limit))
}

// Restless implements [engine.Tx].
func (tx *sqliteTx) Restless(store string, after int64, limit int) ([]stock.Placement, error) {
	return tx.placements(`store = ? AND restless = 1 AND pool > ? ORDER BY pool LIMIT ?`, store, after, all(limit))
}

// Pending implements [engine.Tx].
func (tx *sqliteTx) Pending(store string, after int64, limit int) ([]stock.Placement, error) {
	return tx.placements(`store = ? AND pending = 1 AND pool > ? ORDER BY pool LIMIT ?`, store, after, all(limit))
}

// PutPlacement implements [engine.Tx].
func (tx *sqliteTx) PutPlacement(p stock.Placement) error {
	if err := tx.writable(); err != nil {
		return err
	}
	p = copyPlacement(p)
	known := ""
	if p.Known != [stock.Slots]int64{} {
		b, err := json.Marshal(p.Known)
		if err != nil {
			return err
		}
		known = string(b)
	}
	attempts, err := pack(p.Attempts)
	if err != nil {
		return err
	}
	pushes, err := pack(p.Pushes)
	if err != nil {
		return err
	}
	shelf, err := packOne(p.Shelf)
	if err != nil {
		return err
	}
	absolute, err := packOne(p.Absolute)
	if err != nil {
		return err
	}
	target, err := packOne(p.Target)
	if err != nil {
		return err
	}
	naming, err := packOne(p.Naming)
	if err != nil {
		return err
	}
	err = tx.s.exec(`INSERT INTO placements (`+placementColumns+`, object, pushable, restless, pending, unlike, misnamed)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (store, pool) DO UPDATE SET product = excluded.product, variation = excluded.variation, sku = excluded.sku,
			enrolled = excluded.enrolled, blocked = excluded.blocked, contained = excluded.contained, baseline = excluded.baseline,
			taken = excluded.taken, counted = excluded.counted, quantity = excluded.quantity, shown = excluded.shown,
			read_at = excluded.read_at, undecided = excluded.undecided, restored = excluded.restored, known = excluded.known,
			attempts = excluded.attempts, pushes = excluded.pushes, parted_since = excluded.parted_since, unanswered_at = excluded.unanswered_at, todo = excluded.todo,
			dirty_since = excluded.dirty_since, shelf = excluded.shelf, absolute = excluded.absolute, target = excluded.target, naming = excluded.naming, misnamed = excluded.misnamed, unlike = excluded.unlike, object = excluded.object, pushable = excluded.pushable,
			restless = excluded.restless, pending = excluded.pending`,
		p.Store, p.Pool, p.Ref.Product, p.Ref.Variation, p.SKU, p.Enrolled, p.Blocked, p.Contained, p.Baseline, p.Taken, p.Counted, p.Quantity,
		p.Shown, p.ReadAt.UnixMicro(), p.Undecided, p.Restored, known, attempts, pushes, p.PartedSince.UnixMicro(), p.UnansweredAt.UnixMicro(), p.Todo,
		p.DirtySince.UnixMicro(), shelf, absolute, target, naming, p.Ref.Object(), pushable(p), p.Restless(), p.Pending(), p.Shelf.Due(), p.Naming.Due())
	switch code(err) {
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return poolError(p.Pool)
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE:
		other, _, err := tx.PlacementAt(p.Store, p.Ref.Object())
		return errors.Join(takenError(fmt.Sprintf("item %d of store %s", p.Ref.Object(), p.Store), other.Pool), err)
	}
	return err
}

// DeletePlacement implements [engine.Tx].
func (tx *sqliteTx) DeletePlacement(store string, pool int64) error {
	if err := tx.writable(); err != nil {
		return err
	}
	return tx.s.exec(`DELETE FROM placements WHERE store = ? AND pool = ?`, store, pool)
}

// Stores implements [engine.Tx]. It steps from store to store instead of reading every placement.
func (tx *sqliteTx) Stores() ([]string, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	return list(tx.s, func(from scanner) (name string, err error) { return name, from.Scan(&name) },
		`WITH RECURSIVE step (name) AS (
			SELECT (SELECT store FROM placements ORDER BY store LIMIT 1)
			UNION ALL
			SELECT (SELECT store FROM placements WHERE store > step.name ORDER BY store LIMIT 1) FROM step WHERE step.name IS NOT NULL)
		SELECT name FROM step WHERE name IS NOT NULL`)
}

// Stats implements [engine.Tx].
func (tx *sqliteTx) Stats(store string) (engine.Stats, error) {
	if err := tx.readable(); err != nil {
		return engine.Stats{}, err
	}
	var st engine.Stats
	var unenrolled int
	var dirty sql.NullInt64
	err := tx.s.one(`SELECT (SELECT count(*) FROM placements WHERE store = ?1),
		(SELECT count(*) FROM placements WHERE store = ?1 AND enrolled = 0 AND blocked <> 'Unmanaged'),
		(SELECT count(*) FROM placements WHERE store = ?1 AND enrolled = 0 AND blocked = ''),
		(SELECT count(*) FROM placements p WHERE store = ?1 AND enrolled = 0 AND blocked = ''
			AND EXISTS (SELECT 1 FROM pools WHERE id = p.pool AND is_set = 0)),
		(SELECT count(*) FROM placements WHERE store = ?1 AND todo <> 0),
		(SELECT min(dirty_since) FROM placements WHERE store = ?1 AND todo <> 0),
		(SELECT count(*) FROM conflicts WHERE store = ?1),
		(SELECT count(*) FROM pools WHERE stopped <> '' AND EXISTS (SELECT 1 FROM placements WHERE store = ?1 AND pool = pools.id))`,
		[]any{store}, &st.Placements, &unenrolled, &st.Waiting, &st.Unset, &st.Backlog, &dirty, &st.Conflicts, &st.Stopped)
	if err != nil {
		return engine.Stats{}, err
	}
	st.Enrolled = st.Placements - unenrolled
	if dirty.Valid {
		st.DirtySince = moment(dirty.Int64)
	}
	// The rows are chosen in the index, which is much smaller than they are.
	st.Worst, err = tx.placements(`store = ?1 AND pool IN (
			SELECT pool FROM placements WHERE store = ?1 AND todo <> 0 ORDER BY max(todo, -todo) DESC, pool LIMIT ?2)
		ORDER BY max(todo, -todo) DESC, pool`, store, worst)
	return st, err
}

const lineColumns = `order_id, line_id, product, variation, units, changes, created, modified`

func scanLine(from scanner) (stock.Line, error) {
	var l stock.Line
	var created, modified int64
	var changes string
	if err := from.Scan(&l.Order, &l.Line, &l.Ref.Product, &l.Ref.Variation, &l.Units, &changes, &created, &modified); err != nil {
		return stock.Line{}, err
	}
	l.Created, l.Modified = moment(created), moment(modified)
	return l, unpack(changes, &l.Changes)
}

// OrderLines implements [engine.Tx].
func (tx *sqliteTx) OrderLines(store string, order int64) ([]stock.Line, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	return list(tx.s, scanLine, `SELECT `+lineColumns+` FROM lines WHERE store = ? AND order_id = ? ORDER BY line_id`, store, order)
}

// PutLine implements [engine.Tx].
func (tx *sqliteTx) PutLine(store string, l stock.Line) error {
	if err := tx.writable(); err != nil {
		return err
	}
	l = copyLine(l)
	changes, err := pack(l.Changes)
	if err != nil {
		return err
	}
	return tx.s.exec(`INSERT INTO lines (store, `+lineColumns+`, newest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (store, order_id, line_id) DO UPDATE SET product = excluded.product, variation = excluded.variation, units = excluded.units,
			changes = excluded.changes, created = excluded.created, modified = excluded.modified, newest = excluded.newest`,
		store, l.Order, l.Line, l.Ref.Product, l.Ref.Variation, l.Units, changes,
		l.Created.UnixMicro(), l.Modified.UnixMicro(), newest(l).UnixMicro())
}

// PruneLines implements [engine.Tx].
func (tx *sqliteTx) PruneLines(store string, before time.Time) error {
	if err := tx.writable(); err != nil {
		return err
	}
	return tx.s.exec(`DELETE FROM lines WHERE store = ? AND newest < ?`, store, before.UnixMicro())
}

// Lines implements [engine.Tx].
func (tx *sqliteTx) Lines(store string, product int64, since time.Time) ([]stock.Line, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	return list(tx.s, scanLine, `SELECT `+lineColumns+` FROM lines WHERE store = ? AND product = ? AND newest >= ? ORDER BY order_id, line_id`,
		store, product, since.UnixMicro())
}

// NextAttempt implements [engine.Tx].
func (tx *sqliteTx) NextAttempt() (int64, error) {
	if err := tx.writable(); err != nil {
		return 0, err
	}
	var id int64
	err := tx.s.one(`UPDATE ledger SET attempt = attempt + 1 RETURNING attempt`, nil, &id)
	return id, err
}

// RaiseAttempt implements [engine.Tx].
func (tx *sqliteTx) RaiseAttempt(id int64) error {
	if err := tx.writable(); err != nil {
		return err
	}
	return tx.s.exec(`UPDATE ledger SET attempt = ?1 WHERE attempt < ?1`, id)
}

// Remember implements [engine.Tx].
func (tx *sqliteTx) Remember(text string, until, now time.Time) (bool, error) {
	if err := tx.writable(); err != nil {
		return false, err
	}
	// A few at a time, more than come; what is remembered is bounded also where nothing passes.
	err := errors.Join(
		tx.s.exec(`DELETE FROM remembered WHERE id IN (SELECT id FROM remembered WHERE until <= ? ORDER BY until LIMIT 4)`, now.UnixMicro()),
		tx.s.exec(`DELETE FROM remembered WHERE id IN (SELECT id FROM remembered
			WHERE id <= (SELECT max(id) FROM remembered) - ? ORDER BY id LIMIT 4)`, maxRemembered))
	if err != nil {
		return false, err
	}
	n, err := tx.s.change(`INSERT INTO remembered (text, until) VALUES (?1, ?2)
		ON CONFLICT (text) DO UPDATE SET until = excluded.until WHERE until <= ?3`, digest(text), until.UnixMicro(), now.UnixMicro())
	return n > 0, err
}

// maxRemembered bounds what is remembered: some hundred bytes each.
const maxRemembered = 1_000_000

// digest stands for a text of any length.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// Value implements [engine.Tx].
func (tx *sqliteTx) Value(store, name string) (string, error) {
	if err := tx.readable(); err != nil {
		return "", err
	}
	var v string
	err := tx.s.one(`SELECT value FROM store_values WHERE store = ? AND name = ?`, []any{store, name}, &v)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return v, err
}

// SetValue implements [engine.Tx].
func (tx *sqliteTx) SetValue(store, name, value string) error {
	if err := tx.writable(); err != nil {
		return err
	}
	return tx.s.exec(`INSERT INTO store_values (store, name, value) VALUES (?, ?, ?)
		ON CONFLICT (store, name) DO UPDATE SET value = excluded.value`, store, name, value)
}

// DropStore implements [engine.Tx].
func (tx *sqliteTx) DropStore(store string) error {
	if err := tx.writable(); err != nil {
		return err
	}
	if err := tx.s.exec(`DELETE FROM store_values WHERE store = ?`, store); err != nil {
		return err
	}
	return tx.s.exec(`DELETE FROM lines WHERE store = ?`, store)
}

// Append implements [engine.Tx].
func (tx *sqliteTx) Append(e stock.Entry) error {
	if err := tx.writable(); err != nil {
		return err
	}
	values := rowValues(e)
	var id int64
	err := tx.s.one(`INSERT INTO history (at, kind, store, pool, sku, delta, units, quantity, attempt, evidence, conflict, cause)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`, values, &id)
	if err != nil || !e.Conflict {
		return err
	}
	return tx.s.exec(`INSERT INTO conflicts (`+rowColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, append([]any{id}, values...)...)
}

// pack and unpack keep short lists in a column; an empty one is an empty text.

func pack[T any](list []T) (string, error) {
	if len(list) == 0 {
		return "", nil
	}
	b, err := json.Marshal(list)
	return string(b), err
}

func unpack[T any](text string, to *[]T) error {
	if text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), to)
}

// packOne and unpackOne keep a value in a column; its zero is an empty text.

func packOne(v any) (string, error) {
	if reflect.ValueOf(v).IsZero() {
		return "", nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}

func unpackOne[T any](text string, to *T) error {
	if text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), to)
}

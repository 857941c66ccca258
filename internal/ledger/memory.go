package ledger

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/event"
	"stocksync.dev/stocksync/internal/stock"
)

// Memory is a ledger that lives as long as the process.
type Memory struct {
	mu        sync.Mutex
	id        string
	pools     map[int64]stock.Pool
	keys      map[stock.Key]int64
	keysOf    map[int64][]stock.Key
	gids      map[string]int64
	stores    map[string]*memoryStore
	attempt   int64
	rows      int64
	history   []Row
	conflicts []Row
	nonces    map[[16]byte]time.Time
	// remembered are texts with the time they are kept until.
	remembered map[string]time.Time
	memoryRuns
	memorySource
}

// memoryStore is what belongs to one store. The sets hold pool ids.
type memoryStore struct {
	placements map[int64]stock.Placement
	objects    map[int64]int64
	pushable   map[int64]bool
	restless   map[int64]bool
	pending    map[int64]bool
	dirty      map[int64]bool
	unlike     map[int64]bool
	misnamed   map[int64]bool
	values     map[string]string
	lines      map[lineKey]stock.Line
	products   map[int64]map[lineKey]bool
	orders     map[int64]map[int64]bool
}

type lineKey struct{ order, line int64 }

var _ engine.Ledger = (*Memory)(nil)

// NewMemory returns an empty ledger.
func NewMemory() *Memory {
	return &Memory{
		pools:  map[int64]stock.Pool{},
		keys:   map[stock.Key]int64{},
		keysOf: map[int64][]stock.Key{},
		gids:   map[string]int64{},
		stores: map[string]*memoryStore{},
		nonces: map[[16]byte]time.Time{},

		remembered: map[string]time.Time{},
		memorySource: memorySource{
			items:   map[string]stock.Stocked{},
			skus:    map[string]map[string]bool{},
			pooled:  map[int64]string{},
			links:   map[linkKey]stock.Link{},
			imports: map[importKey]stock.Import{},
		},
	}
}

// Update implements [engine.Ledger].
func (m *Memory) Update(ctx context.Context, fn func(engine.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	tx := &memoryTx{m: m, write: true}
	ok := false
	// Deferred, so that a panic in fn leaves no trace either.
	defer func() {
		if !ok {
			for _, undo := range slices.Backward(tx.undo) {
				undo()
			}
		}
		tx.m = nil
	}()
	if err := fn(tx); err != nil {
		return err
	}
	ok = true
	return nil
}

// View implements [engine.Ledger].
func (m *Memory) View(ctx context.Context, fn func(engine.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	tx := &memoryTx{m: m}
	defer func() { tx.m = nil }()
	return fn(tx)
}

// ID is [SQLite.ID].
func (m *Memory) ID(_ context.Context, given string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id, err := chooseID(m.id, given)
	if err == nil {
		m.id = id
	}
	return id, err
}

// Conflicts is [SQLite.Conflicts].
func (m *Memory) Conflicts(context.Context) ([]Row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return clone(m.conflicts), nil
}

// ResolveConflicts is [SQLite.ResolveConflicts].
func (m *Memory) ResolveConflicts(_ context.Context, ids ...int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conflicts = slices.DeleteFunc(m.conflicts, func(r Row) bool { return slices.Contains(ids, r.ID) })
	return nil
}

// History is [SQLite.History].
func (m *Memory) History(_ context.Context, pool int64, limit int) ([]Row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Row
	for _, r := range slices.Backward(m.history) {
		if r.Pool == pool {
			out = append(out, r)
		}
		if limit > 0 && len(out) == limit {
			break
		}
	}
	return out, nil
}

// Events is [SQLite.Events].
func (m *Memory) Events(_ context.Context, q EventQuery) ([]Row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	pool := m.keys[stock.KeyOf(q.SKU)]
	var out []Row
	for _, r := range m.history {
		if r.ID <= q.After || (q.Store != "" && r.Store != q.Store) || (q.SKU != "" && (pool == 0 || r.Pool != pool)) ||
			!event.Of(r.Kind, r.Conflict).Level.AtLeast(q.Level) {
			continue
		}
		out = append(out, r)
	}
	switch {
	case q.Limit <= 0 || len(out) <= q.Limit:
	case q.Newest:
		out = out[len(out)-q.Limit:]
	default:
		out = out[:q.Limit]
	}
	return out, nil
}

// Prune is [SQLite.Prune].
func (m *Memory) Prune(_ context.Context, olderThan time.Time, maxRows int) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	olderThan = at(olderThan)
	n := slices.IndexFunc(m.history, func(r Row) bool { return !r.At.Before(olderThan) })
	if n < 0 {
		n = len(m.history)
	}
	if maxRows > 0 {
		n = max(n, len(m.history)-maxRows)
	}
	m.history = slices.Clone(m.history[n:])
	return n, nil
}

// Totals is [SQLite.Totals].
func (m *Memory) Totals(context.Context) (Totals, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := Totals{Pools: len(m.pools), Conflicts: len(m.conflicts)}
	for _, p := range m.pools {
		if p.Units < 0 {
			t.Oversold++
			t.OversoldUnits -= p.Units
		}
		if p.Stopped != "" {
			t.Stopped++
		}
	}
	return t, nil
}

// Exposure is [SQLite.Exposure].
func (m *Memory) Exposure(context.Context) (map[string]int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]int64{}
	for name, s := range m.stores {
		for pool := range s.dirty {
			p := s.placements[pool]
			if beyond := p.Shown - max(0, m.pools[pool].Units); p.Todo < 0 && beyond > 0 {
				out[name] += beyond
			}
		}
	}
	return out, nil
}

// store returns the part of one store, made when it is first named: empty, it answers like none.
func (m *Memory) store(name string) *memoryStore {
	s := m.stores[name]
	if s == nil {
		s = &memoryStore{
			placements: map[int64]stock.Placement{},
			objects:    map[int64]int64{},
			pushable:   map[int64]bool{},
			restless:   map[int64]bool{},
			pending:    map[int64]bool{},
			dirty:      map[int64]bool{},
			unlike:     map[int64]bool{},
			misnamed:   map[int64]bool{},
			values:     map[string]string{},
			lines:      map[lineKey]stock.Line{},
			products:   map[int64]map[lineKey]bool{},
			orders:     map[int64]map[int64]bool{},
		}
		m.stores[name] = s
	}
	return s
}

// memoryTx changes the ledger in place and remembers how to take that back.
type memoryTx struct {
	m     *Memory
	write bool
	undo  []func()
}

func (tx *memoryTx) readable() error {
	if tx.m == nil {
		return ErrDone
	}
	return nil
}

func (tx *memoryTx) writable() error {
	if tx.m == nil {
		return ErrDone
	}
	if !tx.write {
		return ErrReadOnly
	}
	return nil
}

func put[K comparable, V any](tx *memoryTx, m map[K]V, k K, v V) {
	old, had := m[k]
	tx.undo = append(tx.undo, func() {
		if had {
			m[k] = old
		} else {
			delete(m, k)
		}
	})
	m[k] = v
}

func remove[K comparable, V any](tx *memoryTx, m map[K]V, k K) {
	if old, had := m[k]; had {
		tx.undo = append(tx.undo, func() { m[k] = old })
		delete(m, k)
	}
}

// mark puts k in the set, or takes it out.
func mark(tx *memoryTx, set map[int64]bool, k int64, in bool) {
	switch {
	case in && !set[k]:
		put(tx, set, k, true)
	case !in:
		remove(tx, set, k)
	}
}

func assign[T any](tx *memoryTx, to *T, v T) {
	old := *to
	tx.undo = append(tx.undo, func() { *to = old })
	*to = v
}

// NewPool implements [engine.Tx].
func (tx *memoryTx) NewPool(sku string, key stock.Key) (stock.Pool, error) {
	if err := tx.writable(); err != nil {
		return stock.Pool{}, err
	}
	// Pools are never removed, so their number is the last id.
	p := stock.Pool{ID: int64(len(tx.m.pools)) + 1, SKU: sku}
	if old, had := tx.m.keys[key]; had {
		return stock.Pool{}, takenError(fmt.Sprintf("SKU %q", key), old)
	}
	put(tx, tx.m.pools, p.ID, p)
	return p, tx.Alias(key, p.ID)
}

// Pool implements [engine.Tx].
func (tx *memoryTx) Pool(id int64) (stock.Pool, error) {
	if err := tx.readable(); err != nil {
		return stock.Pool{}, err
	}
	p, ok := tx.m.pools[id]
	if !ok {
		return stock.Pool{}, poolError(id)
	}
	return copyPool(p), nil
}

// PutPool implements [engine.Tx].
func (tx *memoryTx) PutPool(p stock.Pool) error {
	if err := tx.writable(); err != nil {
		return err
	}
	old, ok := tx.m.pools[p.ID]
	if !ok {
		return poolError(p.ID)
	}
	if old.GID != p.GID {
		if other := tx.m.gids[p.GID]; other != 0 {
			return takenError("GID "+p.GID, other)
		}
		remove(tx, tx.m.gids, old.GID)
		if p.GID != "" {
			put(tx, tx.m.gids, p.GID, p.ID)
		}
	}
	put(tx, tx.m.pools, p.ID, copyPool(p))
	return nil
}

// PoolOf implements [engine.Tx].
func (tx *memoryTx) PoolOf(key stock.Key) (int64, error) {
	if err := tx.readable(); err != nil {
		return 0, err
	}
	return tx.m.keys[key], nil
}

// PoolOfGID implements [engine.Tx].
func (tx *memoryTx) PoolOfGID(gid string) (int64, error) {
	if err := tx.readable(); err != nil {
		return 0, err
	}
	return tx.m.gids[gid], nil
}

// Release implements [engine.Tx].
func (tx *memoryTx) Release(key stock.Key) error {
	if err := tx.writable(); err != nil {
		return err
	}
	if pool, had := tx.m.keys[key]; had {
		remove(tx, tx.m.keys, key)
		put(tx, tx.m.keysOf, pool, slices.DeleteFunc(slices.Clone(tx.m.keysOf[pool]), func(k stock.Key) bool { return k == key }))
	}
	return nil
}

// Alias implements [engine.Tx].
func (tx *memoryTx) Alias(key stock.Key, pool int64) error {
	if err := tx.writable(); err != nil {
		return err
	}
	if _, ok := tx.m.pools[pool]; !ok {
		return poolError(pool)
	}
	old, had := tx.m.keys[key]
	switch {
	case had && old == pool:
		return nil
	case had:
		return takenError(fmt.Sprintf("SKU %q", key), old)
	}
	put(tx, tx.m.keys, key, pool)
	keys := append(slices.Clone(tx.m.keysOf[pool]), key)
	slices.Sort(keys)
	put(tx, tx.m.keysOf, pool, keys)
	return nil
}

// Rekey implements [engine.Tx].
func (tx *memoryTx) Rekey(key stock.Key, pool int64) error {
	if err := tx.writable(); err != nil {
		return err
	}
	if _, ok := tx.m.pools[pool]; !ok {
		return poolError(pool)
	}
	old, had := tx.m.keys[key]
	if !had || old == pool {
		return nil
	}
	put(tx, tx.m.keys, key, pool)
	put(tx, tx.m.keysOf, old, slices.DeleteFunc(slices.Clone(tx.m.keysOf[old]), func(k stock.Key) bool { return k == key }))
	keys := append(slices.Clone(tx.m.keysOf[pool]), key)
	slices.Sort(keys)
	put(tx, tx.m.keysOf, pool, keys)
	return nil
}

// Keys implements [engine.Tx].
func (tx *memoryTx) Keys(pool int64) ([]stock.Key, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	return clone(tx.m.keysOf[pool]), nil
}

// Placement implements [engine.Tx].
func (tx *memoryTx) Placement(store string, pool int64) (stock.Placement, bool, error) {
	if err := tx.readable(); err != nil {
		return stock.Placement{}, false, err
	}
	p, ok := tx.m.store(store).placements[pool]
	return copyPlacement(p), ok, nil
}

// PlacementAt implements [engine.Tx].
func (tx *memoryTx) PlacementAt(store string, object int64) (stock.Placement, bool, error) {
	if err := tx.readable(); err != nil {
		return stock.Placement{}, false, err
	}
	s := tx.m.store(store)
	pool, ok := s.objects[object]
	return copyPlacement(s.placements[pool]), ok, nil
}

// Placements implements [engine.Tx].
func (tx *memoryTx) Placements(pool int64) ([]stock.Placement, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	var out []stock.Placement
	for _, name := range slices.Sorted(maps.Keys(tx.m.stores)) {
		if p, ok := tx.m.stores[name].placements[pool]; ok {
			out = append(out, copyPlacement(p))
		}
	}
	return out, nil
}

// StorePlacements implements [engine.Tx].
func (tx *memoryTx) StorePlacements(store string, after int64, limit int) ([]stock.Placement, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	s := tx.m.store(store)
	return pick(s, s.placements, after, limit), nil
}

// Misnamed implements [engine.Tx].
func (tx *memoryTx) Misnamed(store string, after int64, limit int) ([]stock.Placement, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	s := tx.m.store(store)
	return pick(s, s.misnamed, after, limit), nil
}

// Restless implements [engine.Tx].
func (tx *memoryTx) Restless(store string, after int64, limit int) ([]stock.Placement, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	s := tx.m.store(store)
	return pick(s, s.restless, after, limit), nil
}

// Pending implements [engine.Tx].
func (tx *memoryTx) Pending(store string, after int64, limit int) ([]stock.Placement, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	s := tx.m.store(store)
	return pick(s, s.pending, after, limit), nil
}

// pick copies the placements of a set of pools, ordered by pool.
func pick[V any](s *memoryStore, set map[int64]V, after int64, limit int) []stock.Placement {
	var ids []int64
	for id := range set {
		if id > after {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	var out []stock.Placement
	for _, id := range cut(ids, limit) {
		out = append(out, copyPlacement(s.placements[id]))
	}
	return out
}

func cut[T any](s []T, limit int) []T {
	if limit > 0 && len(s) > limit {
		return s[:limit]
	}
	return s
}

// Due implements [engine.Tx].
func (tx *memoryTx) Due(store string, limit int) ([]stock.Placement, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	s := tx.m.store(store)
	var due []stock.Placement
	for id := range s.pushable {
		if p := s.placements[id]; stock.MayPush(tx.m.pools[id], p) {
			due = append(due, p)
		}
	}
	slices.SortFunc(due, func(a, b stock.Placement) int {
		if a.Urgent() != b.Urgent() {
			if a.Urgent() {
				return -1
			}
			return 1
		}
		return cmp.Or(a.DirtySince.Compare(b.DirtySince), cmp.Compare(a.Pool, b.Pool))
	})
	due = cut(due, limit)
	for i := range due {
		due[i] = copyPlacement(due[i])
	}
	return due, nil
}

// Unlike implements [engine.Tx].
func (tx *memoryTx) Unlike(store string, limit int) ([]stock.Placement, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	s := tx.m.store(store)
	running := map[int64]bool{}
	for id := range s.unlike {
		if tx.m.pools[id].Stopped == "" {
			running[id] = true
		}
	}
	return pick(s, running, 0, limit), nil
}

// PutPlacement implements [engine.Tx].
func (tx *memoryTx) PutPlacement(p stock.Placement) error {
	if err := tx.writable(); err != nil {
		return err
	}
	p = copyPlacement(p)
	s := tx.m.store(p.Store)
	object := p.Ref.Object()
	if pool, had := s.objects[object]; had && pool != p.Pool {
		return takenError(fmt.Sprintf("item %d of store %s", object, p.Store), pool)
	}
	if _, ok := tx.m.pools[p.Pool]; !ok {
		return poolError(p.Pool)
	}
	if old, had := s.placements[p.Pool]; had && old.Ref.Object() != object {
		remove(tx, s.objects, old.Ref.Object())
	}
	put(tx, s.objects, object, p.Pool)
	put(tx, s.placements, p.Pool, p)
	mark(tx, s.pushable, p.Pool, pushable(p))
	mark(tx, s.restless, p.Pool, p.Restless())
	mark(tx, s.pending, p.Pool, p.Pending())
	mark(tx, s.dirty, p.Pool, p.Todo != 0)
	mark(tx, s.unlike, p.Pool, p.Shelf.Due())
	mark(tx, s.misnamed, p.Pool, p.Naming.Due())
	return nil
}

// DeletePlacement implements [engine.Tx].
func (tx *memoryTx) DeletePlacement(store string, pool int64) error {
	if err := tx.writable(); err != nil {
		return err
	}
	s := tx.m.store(store)
	if old, had := s.placements[pool]; had {
		remove(tx, s.objects, old.Ref.Object())
		remove(tx, s.placements, pool)
		for _, set := range []map[int64]bool{s.pushable, s.restless, s.pending, s.dirty, s.unlike, s.misnamed} {
			remove(tx, set, pool)
		}
	}
	return nil
}

// Stores implements [engine.Tx].
func (tx *memoryTx) Stores() ([]string, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	var out []string
	for name, s := range tx.m.stores {
		if len(s.placements) > 0 {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Stats implements [engine.Tx].
func (tx *memoryTx) Stats(store string) (engine.Stats, error) {
	if err := tx.readable(); err != nil {
		return engine.Stats{}, err
	}
	s := tx.m.store(store)
	st := engine.Stats{Placements: len(s.placements), Backlog: len(s.dirty)}
	for id, p := range s.placements {
		if !waits(p) {
			st.Enrolled++
		}
		if !p.Enrolled && p.Blocked == "" {
			st.Waiting++
			if !tx.m.pools[id].Set {
				st.Unset++
			}
		}
		if tx.m.pools[id].Stopped != "" {
			st.Stopped++
		}
	}
	for _, r := range tx.m.conflicts {
		if r.Store == store {
			st.Conflicts++
		}
	}
	var dirty []stock.Placement
	for id := range s.dirty {
		p := s.placements[id]
		if len(dirty) == 0 || p.DirtySince.Before(st.DirtySince) {
			st.DirtySince = p.DirtySince
		}
		dirty = append(dirty, p)
	}
	slices.SortFunc(dirty, func(a, b stock.Placement) int {
		return cmp.Or(cmp.Compare(max(b.Todo, -b.Todo), max(a.Todo, -a.Todo)), cmp.Compare(a.Pool, b.Pool))
	})
	for _, p := range cut(dirty, worst) {
		st.Worst = append(st.Worst, copyPlacement(p))
	}
	return st, nil
}

// OrderLines implements [engine.Tx].
func (tx *memoryTx) OrderLines(store string, order int64) ([]stock.Line, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	s := tx.m.store(store)
	var out []stock.Line
	for _, id := range slices.Sorted(maps.Keys(s.orders[order])) {
		out = append(out, s.lines[lineKey{order, id}])
	}
	return out, nil
}

// PutLine implements [engine.Tx].
func (tx *memoryTx) PutLine(store string, l stock.Line) error {
	if err := tx.writable(); err != nil {
		return err
	}
	s, k := tx.m.store(store), lineKey{l.Order, l.Line}
	if old, had := s.lines[k]; had && old.Ref.Product != l.Ref.Product {
		remove(tx, s.products[old.Ref.Product], k)
	}
	of := s.products[l.Ref.Product]
	if of == nil {
		of = map[lineKey]bool{}
		s.products[l.Ref.Product] = of
	}
	put(tx, of, k, true)
	if s.orders[l.Order] == nil {
		s.orders[l.Order] = map[int64]bool{}
	}
	put(tx, s.orders[l.Order], l.Line, true)
	put(tx, s.lines, k, copyLine(l))
	return nil
}

// PruneLines implements [engine.Tx].
func (tx *memoryTx) PruneLines(store string, before time.Time) error {
	if err := tx.writable(); err != nil {
		return err
	}
	s, before := tx.m.store(store), at(before)
	for k, l := range s.lines {
		if newest(l).Before(before) {
			remove(tx, s.lines, k)
			remove(tx, s.products[l.Ref.Product], k)
			remove(tx, s.orders[k.order], k.line)
		}
	}
	return nil
}

// Lines implements [engine.Tx].
func (tx *memoryTx) Lines(store string, product int64, since time.Time) ([]stock.Line, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	s, since := tx.m.store(store), at(since)
	var out []stock.Line
	for k := range s.products[product] {
		if l := s.lines[k]; !newest(l).Before(since) {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b stock.Line) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Line, b.Line))
	})
	return out, nil
}

// NextAttempt implements [engine.Tx].
func (tx *memoryTx) NextAttempt() (int64, error) {
	if err := tx.writable(); err != nil {
		return 0, err
	}
	assign(tx, &tx.m.attempt, tx.m.attempt+1)
	return tx.m.attempt, nil
}

// RaiseAttempt implements [engine.Tx].
func (tx *memoryTx) RaiseAttempt(id int64) error {
	if err := tx.writable(); err != nil {
		return err
	}
	assign(tx, &tx.m.attempt, max(id, tx.m.attempt))
	return nil
}

// Remember implements [engine.Tx].
func (tx *memoryTx) Remember(text string, until, now time.Time) (bool, error) {
	if err := tx.writable(); err != nil {
		return false, err
	}
	key := digest(text)
	if at(now).Before(tx.m.remembered[key]) {
		return false, nil
	}
	if len(tx.m.remembered) >= maxRemembered {
		for k, passes := range tx.m.remembered {
			if !at(now).Before(passes) {
				remove(tx, tx.m.remembered, k)
			}
		}
	}
	put(tx, tx.m.remembered, key, at(until))
	return true, nil
}

// Value implements [engine.Tx].
func (tx *memoryTx) Value(store, name string) (string, error) {
	if err := tx.readable(); err != nil {
		return "", err
	}
	return tx.m.store(store).values[name], nil
}

// SetValue implements [engine.Tx].
func (tx *memoryTx) SetValue(store, name, value string) error {
	if err := tx.writable(); err != nil {
		return err
	}
	put(tx, tx.m.store(store).values, name, value)
	return nil
}

// DropStore implements [engine.Tx].
func (tx *memoryTx) DropStore(store string) error {
	if err := tx.writable(); err != nil {
		return err
	}
	s := tx.m.store(store)
	assign(tx, &s.values, map[string]string{})
	assign(tx, &s.lines, map[lineKey]stock.Line{})
	assign(tx, &s.products, map[int64]map[lineKey]bool{})
	assign(tx, &s.orders, map[int64]map[int64]bool{})
	return nil
}

// Append implements [engine.Tx].
func (tx *memoryTx) Append(e stock.Entry) error {
	if err := tx.writable(); err != nil {
		return err
	}
	assign(tx, &tx.m.rows, tx.m.rows+1)
	r := Row{ID: tx.m.rows, Entry: copyEntry(e)}
	assign(tx, &tx.m.history, append(tx.m.history, r))
	if e.Conflict {
		assign(tx, &tx.m.conflicts, append(tx.m.conflicts, r))
	}
	return nil
}

func poolError(id int64) error { return fmt.Errorf("pool %d: %w", id, engine.ErrNotFound) }

package engine

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

// effects are what a transaction wants done once it is durable: a transaction may run more than once.
type effects struct {
	wake    map[string]bool
	samples map[int64]*stock.Sample // nil: forget what was kept
	seen    []int64                 // the pools of the items read
	recheck map[int64]stock.Ref     // by pool, what is to be read again
	foreign string
	changed bool
	ignored bool
	listed  bool
	// rescan are stores whose catalogue is to be gone through for items that may be bound now.
	rescan []string
	// unbound are SKUs met that no pool is for, follow the pools to be read again after a while.
	unbound []string
	follow  map[int64]time.Duration
	// restored: something here was judged to be from a backup.
	restored bool
}

func newEffects() *effects {
	return &effects{wake: map[string]bool{}, samples: map[int64]*stock.Sample{}, recheck: map[int64]stock.Ref{}, follow: map[int64]time.Duration{}}
}

// take is the store's turn in one ledger transaction, and then what the turn wants done. The transaction may run more than
// once: what f sets outside of the turn it sets anew.
func (l *lane) take(ctx context.Context, st Store, f func(*turn) error) error {
	var out *effects
	err := l.e.ledger.Update(ctx, func(tx Tx) error {
		out = newEffects()
		return f(l.turn(tx, st, out))
	})
	if err != nil {
		return err
	}
	l.apply(out)
	return nil
}

// observe takes in a page of readings.
func (l *lane) observe(ctx context.Context, st Store, page Page) error {
	return l.take(ctx, st, func(t *turn) error { return t.page(page) })
}

// page takes in what was read.
func (t *turn) page(page Page) error {
	for _, item := range page.Items {
		if err := t.item(item, page.Window); err != nil {
			return err
		}
	}
	if err := t.moves(); err != nil {
		return err
	}
	for _, ref := range page.Gone {
		if err := t.gone(ref); err != nil {
			return err
		}
	}
	// Names that are given up in this page are free now.
	waiting := t.waiting
	t.waiting, t.settled = nil, true
	for _, item := range waiting {
		if err := t.item(item, page.Window); err != nil {
			return err
		}
	}
	return t.moves()
}

func (l *lane) apply(out *effects) {
	maps.Copy(l.recheck, out.recheck)
	if l.catalogue.active {
		for _, pool := range out.seen {
			l.catalogue.seen.add(pool)
		}
	}
	for pool, s := range out.samples {
		switch {
		case s == nil:
			delete(l.samples, pool)
			delete(l.verified, pool)
		case len(l.samples[pool]) < maxSamples:
			l.samples[pool] = append(l.samples[pool], *s)
		default:
			kept := l.samples[pool]
			copy(kept[1:], kept[2:]) // the oldest stays: it is the one far enough away
			kept[len(kept)-1] = *s
		}
	}
	for pool, wait := range out.follow {
		l.watch(pool, l.e.clock.Now().Add(wait))
	}
	l.e.offer(out.unbound...)
	if out.foreign != "" {
		l.catalogue.foreign = out.foreign
		l.note(func(s *StoreState) { s.ClaimedBy = out.foreign })
	}
	if out.ignored {
		l.note(func(s *StoreState) { s.RelativeUnsupported = true })
	}
	l.catalogue.again = l.catalogue.again || out.restored
	switch {
	case out.listed && l.catalogue.active:
		l.listed = true // told once, when the scan ends
	case out.listed:
		l.e.listed()
	}
	if out.changed {
		now := l.e.clock.Now()
		l.note(func(s *StoreState) { s.LastInbound = now })
	}
	l.e.rescan(out.rescan)
	l.e.wake(out.wake)
}

// turn is one store's turn within a ledger transaction.
type turn struct {
	e   *Engine
	tx  Tx
	st  Store
	now time.Time
	// skew is how far the store's clock is ahead of ours.
	skew time.Duration
	// clock is the same where the store tells whole seconds only.
	clock stock.PeerClock
	out   *effects
	// swept is when the last sweep that was taken in began, on the store's clock.
	swept time.Time
	// moved are pools whose items the master calls otherwise now. waiting are items whose SKU is another's until that
	// is settled.
	moved   []int64
	waiting []Item
	settled bool
}

func (l *lane) turn(tx Tx, st Store, out *effects) *turn {
	l.e.mu.Lock()
	st.Policy.Claimed = l.state.ClaimedBy != ""
	l.e.mu.Unlock()
	return &turn{e: l.e, tx: tx, st: st, now: l.e.clock.Now(), skew: l.skew(), swept: l.sweptAt, clock: l.peer.clock, out: out}
}

// item binds, merges and samples one row.
func (t *turn) item(item Item, w stock.Window) error {
	if err := t.markers(item); err != nil {
		return err
	}
	p, bound, err := t.tx.PlacementAt(t.st.ID, item.Ref.Object())
	if err != nil {
		return err
	}
	if bound && t.st.Source != nil {
		if p, bound, err = t.stillSells(p, item); err != nil {
			return err
		}
	}
	if !bound {
		var found bool
		if p, found, err = t.bind(item); err != nil || !found {
			return err
		}
	}
	t.out.seen = append(t.out.seen, p.Pool)
	if err := t.recovering(p, item); err != nil {
		return err
	}
	pool, err := t.tx.Pool(p.Pool)
	if err != nil {
		return err
	}
	before := p
	var entries []stock.Entry
	readAt := p.ReadAt
	block := func(k stock.Kind, units int64, why string, conflict bool) {
		if p.Blocked == string(k) {
			return
		}
		p.Disenroll(string(k))
		entries = append(entries, stock.Entry{Kind: k, Store: p.Store, Pool: p.Pool, SKU: p.SKU, Units: units, Quantity: item.Quantity, Evidence: why, Conflict: conflict})
		t.out.samples[p.Pool] = nil
	}
	gid, renamed := pool.GID, pool.Renamed
	wrong, err := t.carries(&pool, &p, item)
	if err != nil {
		return err
	}
	if wrong == "" && t.st.Source == nil {
		if err := t.identify(&pool, item); err != nil {
			return err
		}
	}
	switch {
	case wrong != "":
		block(wrong, 0, fmt.Sprintf("the item bound to %q now sells %q", p.SKU, item.SKUs), true)
	case item.Managed == Unmanaged:
		block(stock.Unmanaged, 0, "the shop stopped managing stock for the item", false)
	case item.Fractional:
		block(stock.Fraction, 0, "the quantity is not a whole number", true)
	case t.st.Absolute != nil:
		p.Blocked = ""
		entries = append(entries, t.mergeAbsolute(&pool, &p, &item, w)...)
	default:
		p.Blocked = ""
		entries = append(entries, stock.Merge(&pool, &p, t.reading(item, w), t.e.ledgerID, t.st.Policy, t.now)...)
		t.sample(before, p, item, w)
	}
	if wrong == "" {
		entries = append(entries, t.fields(&pool, &p, item, readAt)...)
	}
	p.ReadAt = t.now
	if bound && len(entries) == 0 && pool.GID == gid && pool.Renamed == renamed && t.known(pool, before, p) {
		return nil
	}
	return t.save(pool, p, entries)
}

// known tells that a reading changed nothing that anybody will ask the ledger for: most polls find what they
// found before. Of items that wait to be read again the time of the reading matters too.
func (t *turn) known(pool stock.Pool, before, p stock.Placement) bool {
	if p.Pending() || (p.Restless() && t.wanted(p)) {
		return false
	}
	stock.Plan(pool, &p, t.st.Policy, t.now)
	before.ReadAt, before.Shelf.Modified = p.ReadAt, p.Shelf.Modified
	return reflect.DeepEqual(before, p)
}

// reading is what an item shows.
func (t *turn) reading(item Item, w stock.Window) stock.Reading {
	return stock.Reading{Quantity: item.Quantity, Markers: item.Markers, Window: w, Swept: t.swept}
}

// wanted tells whether clean samples of the placement are of use here: what never was enrolled is only looked
// at unless the store is written to.
func (t *turn) wanted(p stock.Placement) bool { return p.Enrolled || t.st.Mode == Sync }

// sample keeps the reading where a clean sample is needed. The one that first shows an unanswered marker, or
// that a marker is gone, starts a new series and is not part of it.
func (t *turn) sample(before, p stock.Placement, item Item, w stock.Window) {
	if before.Undecided != p.Undecided || before.Restored != p.Restored {
		t.out.samples[p.Pool] = nil
		return
	}
	if p.Restless() && t.wanted(p) {
		s := stock.SampleOf(p, t.reading(item, w), t.e.ledgerID)
		t.out.samples[p.Pool] = &s
	}
}

// markers keeps attempt ids above everything seen, also after a lost ledger, and finds markers of others.
func (t *turn) markers(item Item) error {
	for _, m := range item.Markers {
		switch {
		case m.Ledger == t.e.ledgerID:
			// Whatever stands in a shop's meta, numbers must not run out.
			if err := t.tx.RaiseAttempt(min(m.Attempt, 1<<60)); err != nil {
				return err
			}
		case m.Ledger != "" && m.Product == item.Ref.Object():
			if past, err := t.past(m); past || err != nil {
				if err != nil {
					return err
				}
				continue
			}
			t.out.foreign, t.st.Policy.Claimed = m.Ledger, true
			was, err := t.tx.Value(t.st.ID, valueClaimed)
			if err != nil || was == m.Ledger {
				return err
			}
			if err := t.tx.SetValue(t.st.ID, valueClaimed, m.Ledger); err != nil {
				return err
			}
			e := stock.Entry{Kind: stock.Claimed, Store: t.st.ID, SKU: strings.Join(item.SKUs, ", "), At: t.now, Conflict: true,
				Evidence: fmt.Sprintf("the shop carries markers of ledger %s; nothing is written to it until a person decides", m.Ledger)}
			if err := t.tx.Append(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// recovering notes that the ledger was lost: an item that is not enrolled yet carries markers of ours that
// nobody here wrote. What is enrolled within a day of that is recovered, whether it carries a marker or not.
func (t *turn) recovering(p stock.Placement, item Item) error {
	if p.Enrolled || p.Known != [stock.Slots]int64{} || !slices.ContainsFunc(item.Markers[:], func(m stock.Marker) bool {
		return m.Ledger == t.e.ledgerID && m.Store == t.st.ID && m.Product == item.Ref.Object()
	}) {
		return nil
	}
	if since, err := t.recoveredAt(); err != nil || t.now.Sub(since) < time.Hour {
		return err
	}
	return t.tx.SetValue("", valueRecovering, t.now.UTC().Format(time.RFC3339))
}

func (t *turn) recoveredAt() (time.Time, error) {
	text, err := t.tx.Value("", valueRecovering)
	if err != nil || text == "" {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339, text)
}

// valueRecovering, of no store, is when a lost ledger was last noticed.
const valueRecovering = "recovering"

// carries tells whether the item still sells what it is bound to; an empty text means it does.
func (t *turn) carries(of *stock.Pool, p *stock.Placement, item Item) (stock.Kind, error) {
	if t.st.Source != nil {
		return "", nil // stillSells has seen to it
	}
	found := false
	if t.st.Policy.Master && len(item.SKUs) > 1 {
		of.Renamed = false // what shares one stock has no name of its own
	}
	for _, sku := range item.SKUs {
		key := stock.KeyOf(sku)
		if key == "" {
			continue
		}
		pool, err := t.tx.PoolOf(key)
		if err != nil {
			return "", err
		}
		switch {
		case pool == p.Pool:
			found = true
			if len(item.SKUs) == 1 {
				p.SKU, p.Naming.Open = sku, false
			}
		case pool != 0 && item.Managed == Shared:
			if ok, err := t.absorb(pool, p.Pool); !ok {
				return stock.Structure, err
			}
		case pool == 0 && item.Managed == Shared && t.st.Policy.Master:
			if err := t.tx.Alias(key, p.Pool); err != nil {
				return "", err
			}
		}
	}
	if found {
		return "", nil
	}
	if ok, err := t.named(*of, p, item); ok || err != nil {
		return "", err
	}
	return stock.Renamed, nil
}

// bind finds the pool for an item that is not bound yet. A binding is sticky: a second item with the SKU
// never takes it over.
//
//nolint:gocognit // one table of what an item may be bound to
func (t *turn) bind(item Item) (stock.Placement, bool, error) {
	if t.st.Source != nil {
		return t.match(item)
	}
	var keys []stock.Key
	var sku string
	id := int64(0)
	for _, s := range item.SKUs {
		key := stock.KeyOf(s)
		if key == "" || (item.Managed == Unmanaged && item.StockStatus == "") || (t.st.Excluded != nil && t.st.Excluded(key)) {
			continue
		}
		pool, err := t.tx.PoolOf(key)
		if err != nil {
			return stock.Placement{}, false, err
		}
		if sku == "" || (id == 0 && pool != 0) {
			sku = s
		}
		if pool != 0 && id != 0 && pool != id && item.Managed == Shared {
			ok, err := t.absorb(pool, id)
			if err != nil {
				return stock.Placement{}, false, err
			}
			if ok {
				pool = id
			}
		}
		if pool != 0 && id != 0 && pool != id {
			return stock.Placement{}, false, t.once(stock.Placement{Store: t.st.ID, Pool: id, SKU: sku}, stock.Structure, item.Ref, "SKUs that hold stock of their own elsewhere share one here")
		}
		id = max(id, pool)
		keys = append(keys, key)
	}
	given, err := t.identified(item)
	if err != nil || len(keys) == 0 {
		return stock.Placement{}, false, err
	}
	if p, ok, err := t.rebind(given, id, item); ok || err != nil {
		return p, ok, err
	}
	if id == 0 && !t.st.Policy.Master {
		t.out.unbound = append(t.out.unbound, sku)
		return stock.Placement{}, false, nil
	}
	if id == 0 {
		pool, err := t.tx.NewPool(sku, keys[0])
		if err != nil {
			return stock.Placement{}, false, err
		}
		id = pool.ID
		t.out.listed = true
	}
	if t.st.Absolute != nil {
		item.Ref = absoluteRef(id)
	}
	p := stock.Placement{Store: t.st.ID, Pool: id, Ref: item.Ref, SKU: sku, Shown: item.Quantity, ReadAt: t.now}
	if item.Managed == Unmanaged {
		// What shares its stock with others elsewhere cannot get it for itself here.
		of, err := t.tx.Keys(id)
		if err != nil || len(of) > 1 {
			return p, false, err
		}
		p.Blocked = string(stock.Unmanaged)
	}
	old, taken, err := t.tx.Placement(t.st.ID, id)
	if err != nil || !taken {
		return p, err == nil, err
	}
	switch {
	case item.Managed == Unmanaged:
		// It holds no stock, so it disputes nobody's place.
		return p, false, nil
	case old.Blocked == string(stock.Unmanaged) && !counted(old):
		return p, true, t.unbind(old, fmt.Sprintf("product %d holds the stock of the SKU", item.Ref.Object()))
	}
	if old.Ref.Product == item.Ref.Product {
		// The stock moved between a variation and its parent, or both hold some.
		of, err := t.tx.Keys(id)
		if err != nil {
			return p, false, err
		}
		if len(of) == 1 {
			return p, true, t.unbind(old, "the stock moved between the variation and its parent")
		}
		return p, false, t.once(old, stock.Structure, item.Ref, "variations that share one stock elsewhere hold stock of their own here")
	}
	if t.unsettled(old, item) {
		return p, false, nil
	}
	return p, false, t.once(old, stock.Duplicate, item.Ref, fmt.Sprintf("product %d carries the SKU too; the binding stays with %d", item.Ref.Object(), old.Ref.Object()))
}

// once writes a conflict row about an item that is not bound, the first time it is seen.
func (t *turn) once(p stock.Placement, k stock.Kind, ref stock.Ref, why string) error {
	name := fmt.Sprintf("%s:%d", k, ref.Object())
	was, err := t.tx.Value(t.st.ID, name)
	if err != nil || was != "" {
		return err
	}
	if err := t.tx.SetValue(t.st.ID, name, p.SKU); err != nil {
		return err
	}
	return t.tx.Append(stock.Entry{Kind: k, Store: p.Store, Pool: p.Pool, SKU: p.SKU, Evidence: why, Conflict: true, At: t.now})
}

// gone unbinds what the store does not have any more.
func (t *turn) gone(ref stock.Ref) error {
	p, bound, err := t.tx.PlacementAt(t.st.ID, ref.Object())
	if err != nil || !bound {
		return err
	}
	return t.unbind(p, "the item is gone from the shop")
}

// unbind removes a placement; the pool keeps what the shop did. Without a master placement the pool waits
// for the number of the master's next item.
func (t *turn) unbind(p stock.Placement, why string) error {
	if err := t.tx.DeletePlacement(p.Store, p.Pool); err != nil {
		return err
	}
	t.out.samples[p.Pool] = nil
	if err := t.tx.Append(stock.Entry{Kind: stock.Removed, Store: p.Store, Pool: p.Pool, SKU: p.SKU, Quantity: p.Shown, Evidence: why, At: t.now}); err != nil {
		return err
	}
	if t.st.Source != nil {
		// Another item may carry the SKU, and is the one to be written now.
		t.out.rescan = append(t.out.rescan, t.st.ID)
	}
	if !t.st.Policy.Master {
		return nil
	}
	pool, err := t.tx.Pool(p.Pool)
	if err != nil {
		return err
	}
	pool.Set = false
	if err := t.tx.PutPool(pool); err != nil {
		return err
	}
	return t.replan(pool)
}

// save writes what a transition left and plans every store of the pool when the pool moved.
func (t *turn) save(pool stock.Pool, p stock.Placement, entries []stock.Entry) error {
	for _, e := range entries {
		if e.At.IsZero() {
			e.At = t.now
		}
		if e.Kind == stock.Baselined && e.Conflict {
			told, err := t.enrolmentTold()
			if err != nil {
				return err
			}
			if e.Conflict = !told; e.Conflict {
				e.Evidence += "; this row stands for every SKU of the shop that showed another number, their histories name each"
			}
		}
		if err := t.tx.Append(e); err != nil {
			return err
		}
		t.out.restored = t.out.restored || e.Kind == stock.RestoredShop
	}
	t.out.changed = t.out.changed || len(entries) > 0
	was, err := t.tx.Pool(pool.ID)
	if err != nil {
		return err
	}
	stock.Plan(pool, &p, t.st.Policy, t.now)
	if err := t.tx.PutPlacement(p); err != nil {
		return err
	}
	if was.Units == pool.Units && was.Set == pool.Set && was.Stopped == pool.Stopped && len(was.Edits) == len(pool.Edits) && was.Registers == pool.Registers && was.GID == pool.GID && was.Renamed == pool.Renamed {
		return nil
	}
	if err := t.tx.PutPool(pool); err != nil {
		return err
	}
	return t.replan(pool)
}

// enrolmentTold tells whether a row about this store's enrolment was written lately: one row stands for the
// store, and the history names each SKU whose number was another.
func (t *turn) enrolmentTold() (bool, error) {
	const name = "enrolment told"
	was, err := t.tx.Value(t.st.ID, name)
	if err != nil {
		return false, err
	}
	if at, err := time.Parse(time.RFC3339, was); err == nil && t.now.Sub(at) < time.Hour {
		return true, nil
	}
	return false, t.tx.SetValue(t.st.ID, name, t.now.UTC().Format(time.RFC3339))
}

// replan brings the plan of every placement of a pool up to date.
func (t *turn) replan(pool stock.Pool) error {
	all, err := t.tx.Placements(pool.ID)
	if err != nil {
		return err
	}
	for _, p := range all {
		was := planOf(p)
		before, planned := p.Contained+p.Counted+p.Todo, p.Enrolled && p.Blocked == "" && pool.Set
		stock.Plan(pool, &p, t.e.policy(p.Store), t.now)
		if planned {
			t.e.drastic(p, before, t.now, t.st.ID)
		}
		if planOf(p) == was {
			continue
		}
		if err := t.tx.PutPlacement(p); err != nil {
			return err
		}
		if p.Todo != 0 || p.Shelf.Due() || p.Naming.Todo != "" {
			t.out.wake[p.Store] = true
		}
	}
	return nil
}

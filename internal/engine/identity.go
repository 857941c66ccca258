package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

// nameAgain is the pause before a name is written again that may be free by then.
const nameAgain = 10 * time.Second

// identify gives the pool of a master's item its id: the one the item carries, made by the plugin, or a new one. An id
// that another pool has came with a copy of that one's item, and is written over.
func (t *turn) identify(pool *stock.Pool, item Item) error {
	if !t.st.Policy.Master || (pool.GID != "" && (item.GID == pool.GID || !stock.IsGID(item.GID))) {
		return nil
	}
	if stock.IsGID(item.GID) {
		owner, err := t.tx.PoolOfGID(item.GID)
		if err != nil {
			return err
		}
		if owner == 0 {
			pool.GID = item.GID
			return nil
		}
	}
	if pool.GID == "" {
		pool.GID = stock.NewGID()
	}
	return nil
}

// identified finds the pool of an item by the id it carries; 0 if there is none. The id alone proves little, for a
// copied product carries it too: it takes a marker of ours that names this very item, or the name that only we give.
func (t *turn) identified(item Item) (int64, error) {
	if !stock.IsGID(item.GID) {
		return 0, nil
	}
	if t.st.Absolute != nil {
		return t.identifiedAbsolute(item)
	}
	own := slices.ContainsFunc(item.Markers[:], func(m stock.Marker) bool {
		return m.Ledger == t.e.ledgerID && m.Store == t.st.ID && m.Product == item.Ref.Object()
	}) || slices.ContainsFunc(item.SKUs, stock.IsTemporary)
	id, err := t.tx.PoolOfGID(item.GID)
	if err != nil || id == 0 || own {
		return id, err
	}
	p, taken, err := t.tx.Placement(t.st.ID, id)
	if err != nil || !taken || p.Ref.Object() == item.Ref.Object() {
		return 0, err
	}
	return 0, t.once(p, stock.Copied, item.Ref, fmt.Sprintf("product %d carries the id of product %d, as a copied product does: it gets no stock of that one", item.Ref.Object(), p.Ref.Object()))
}

// rebind binds an item to the pool whose id it proves to carry, whatever its SKU is by now. The pool known by the SKU is
// another one, or none.
func (t *turn) rebind(given, bySKU int64, item Item) (stock.Placement, bool, error) {
	if given == 0 || given == bySKU || len(item.SKUs) != 1 || item.Managed == Shared {
		return stock.Placement{}, false, nil
	}
	if _, taken, err := t.tx.Placement(t.st.ID, given); taken || err != nil {
		return stock.Placement{}, false, err
	}
	keys, err := t.tx.Keys(given)
	if err != nil || len(keys) != 1 || t.st.excludes(string(keys[0])) {
		return stock.Placement{}, false, err
	}
	if t.st.Absolute != nil {
		item.Ref = absoluteRef(given)
	}
	p := stock.Placement{Store: t.st.ID, Pool: given, Ref: item.Ref, SKU: item.SKUs[0], Shown: item.Quantity, ReadAt: t.now}
	if item.Managed == Unmanaged {
		p.Blocked = string(stock.Unmanaged)
	}
	if t.st.Policy.Master {
		return p, true, nil
	}
	pool, err := t.tx.Pool(given)
	if err != nil {
		return p, false, err
	}
	pool.Renamed = true
	return p, true, t.tx.PutPool(pool)
}

// unsettled tells whether a second item with a SKU of the master's may be the only one in truth: the first, which was
// not read with it, may have another name by now. Both are read together then.
func (t *turn) unsettled(first stock.Placement, item Item) bool {
	if !t.st.Policy.Master {
		return false
	}
	if !t.settled {
		t.waiting = append(t.waiting, item)
		return true
	}
	if slices.Contains(t.out.seen, first.Pool) {
		return false
	}
	name := fmt.Sprintf("%s:%d", stock.Duplicate, item.Ref.Object())
	if told, err := t.tx.Value(t.st.ID, name); err != nil || told != "" {
		return false // a failing ledger shows itself at the next call
	}
	t.out.recheck[first.Pool], t.out.recheck[-item.Ref.Object()] = first.Ref, item.Ref
	return true
}

// named tells whether the item bound to a pool still goes by a name of the pool's, and takes in what the master calls it.
// Items that share one stock under several SKUs have no name of their own.
func (t *turn) named(pool stock.Pool, p *stock.Placement, item Item) (bool, error) {
	if len(item.SKUs) != 1 || stock.KeyOf(item.SKUs[0]) == "" {
		return false, nil
	}
	keys, err := t.tx.Keys(pool.ID)
	if err != nil || len(keys) != 1 {
		return false, err
	}
	sku := item.SKUs[0]
	key := stock.KeyOf(sku)
	switch {
	case t.st.Policy.Master:
		p.SKU = sku
		t.moved = append(t.moved, pool.ID)
		return true, nil
	case key == stock.KeyOf(p.SKU), pool.Knows(key):
		p.SKU, p.Naming.Open = sku, false
		return true, nil
	}
	return false, nil
}

// moves has the pools whose items the master renamed take on their new names, and all other stores follow.
func (t *turn) moves() error {
	for _, id := range t.moved {
		if err := t.move(id); err != nil {
			return err
		}
	}
	t.moved = nil
	return nil
}

func (t *turn) move(id int64) error {
	var failed error
	shows := func(pool int64) (stock.Key, bool) {
		p, bound, err := t.tx.Placement(t.st.ID, pool)
		failed = errors.Join(failed, err)
		keys, err := t.tx.Keys(pool)
		failed = errors.Join(failed, err)
		return stock.KeyOf(p.SKU), bound && len(keys) == 1
	}
	owner := func(key stock.Key) int64 {
		pool, err := t.tx.PoolOf(key)
		failed = errors.Join(failed, err)
		return pool
	}
	if key, bound := shows(id); !bound || owner(key) == id || failed != nil {
		return failed
	}
	moving, holder := stock.Movers(id, shows, owner)
	if failed != nil {
		return failed
	}
	if holder == 0 {
		return t.rename(moving)
	}
	return t.disputed(moving, holder)
}

// rename gives pools the names that their items have at the master, all in one transaction.
func (t *turn) rename(pools []int64) error {
	for _, id := range pools {
		keys, err := t.tx.Keys(id)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if err := t.tx.Release(key); err != nil {
				return err
			}
		}
	}
	for _, id := range pools {
		p, _, err := t.tx.Placement(t.st.ID, id)
		if err != nil {
			return err
		}
		pool, err := t.tx.Pool(id)
		if err != nil {
			return err
		}
		was, key := pool.SKU, stock.KeyOf(p.SKU)
		if err := t.tx.Alias(key, id); err != nil {
			return err
		}
		stock.Rename(&pool, p.SKU)
		p.Naming = p.Naming.Anew()
		if err := errors.Join(t.tx.PutPool(pool), t.tx.PutPlacement(p)); err != nil {
			return err
		}
		e := stock.Entry{Kind: stock.Renamed, Store: t.st.ID, Pool: id, SKU: p.SKU, Quantity: p.Shown, At: t.now,
			Evidence: fmt.Sprintf("the master renamed %q to %q; the other stores follow", was, p.SKU)}
		if err := t.tx.Append(e); err != nil {
			return err
		}
		if err := t.leaveExcluded(pool, key); err != nil {
			return err
		}
		if err := t.replan(pool); err != nil {
			return err
		}
	}
	t.out.changed, t.out.listed = true, true
	return nil
}

// leaveExcluded takes the pool out of the stores that leave its new name alone: there the item keeps its old one.
func (t *turn) leaveExcluded(pool stock.Pool, key stock.Key) error {
	all, err := t.tx.Placements(pool.ID)
	if err != nil {
		return err
	}
	for _, p := range all {
		if !t.e.excluded(p.Store, key) {
			continue
		}
		if err := t.tx.DeletePlacement(p.Store, p.Pool); err != nil {
			return err
		}
		e := stock.Entry{Kind: stock.Removed, Store: p.Store, Pool: p.Pool, SKU: p.SKU, Quantity: p.Shown, At: t.now,
			Evidence: fmt.Sprintf("its new name %q is excluded", pool.SKU)}
		if err := t.tx.Append(e); err != nil {
			return err
		}
	}
	return nil
}

// excluded tells whether a store that is configured leaves a SKU alone.
func (e *Engine) excluded(store string, key stock.Key) bool {
	e.mu.Lock()
	l := e.lanes[store]
	var st Store
	if l != nil {
		st = l.store
	}
	e.mu.Unlock()
	return st.Excluded != nil && st.Excluded(key)
}

// disputed deals with a name that another pool has. Where the items from the first of moving to that one were not read
// together, they are; if it has the name then, a person must decide. The item is counted on under its old name.
func (t *turn) disputed(moving []int64, holder int64) error {
	id := moving[0]
	p, _, err := t.tx.Placement(t.st.ID, id)
	if err != nil {
		return err
	}
	other, bound, err := t.tx.Placement(t.st.ID, holder)
	if err != nil {
		return err
	}
	if bound && !slices.Contains(moving, holder) {
		moving = append(moving, holder)
	}
	unread := func(pool int64) bool { return !slices.Contains(t.out.seen, pool) }
	if p.Naming.Refused != p.SKU && slices.ContainsFunc(moving, unread) {
		for _, pool := range moving {
			p, _, err := t.tx.Placement(t.st.ID, pool)
			if err != nil {
				return err
			}
			t.out.recheck[pool] = p.Ref
		}
		return nil
	}
	if !bound {
		// Its item is gone from the master. If no store sells it any more, its name is free.
		left, err := t.tx.Placements(holder)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			keys, err := t.tx.Keys(holder)
			if err != nil {
				return err
			}
			if len(keys) == 1 {
				if err := t.tx.Release(keys[0]); err != nil {
					return err
				}
				return t.move(id)
			}
		}
	}
	sku := p.SKU
	if !p.Naming.Refuse(sku, t.now) {
		return nil
	}
	pool, err := t.tx.Pool(id)
	if err != nil {
		return err
	}
	why := fmt.Sprintf("%q was renamed to %q, which is product %d: nothing is renamed until one of both has another SKU", pool.SKU, sku, other.Ref.Object())
	if !bound {
		why = fmt.Sprintf("%q was renamed to %q, which other stores still sell as another product that the master has no more: nothing is renamed until that is gone there", pool.SKU, sku)
	}
	if err := t.tx.PutPlacement(p); err != nil {
		return err
	}
	return t.tx.Append(stock.Entry{Kind: stock.Renamed, Store: p.Store, Pool: p.Pool, SKU: sku, Quantity: p.Shown, Evidence: why, Conflict: true, At: t.now})
}

// toRename tells whether an item is to be given another name, and which.
func toRename(st Store, pool stock.Pool, p stock.Placement, now time.Time) (item stock.Misnamed, due bool) {
	if p.Naming.Todo == "" || st.excludes(p.SKU) || st.excludes(p.Naming.Todo) {
		return item, false
	}
	return stock.Misnamed{Pool: p.Pool, Has: p.SKU, Wanted: p.Naming.Todo, Temporary: stock.TemporaryName(pool), Refused: now.Before(p.Naming.Again)}, true
}

// renameItems gives items the names that the master gave them, in an order in which none meets a name that is still
// in use. It tells whether there was something to write.
func (l *lane) renameItems(ctx context.Context, st Store) (bool, error) {
	if st.Mode != Sync || !l.mayWrite() || !l.e.beginWriting(st.ID) {
		return false, nil
	}
	defer l.e.endWriting(st.ID)
	now := l.e.clock.Now()
	if now.Before(l.pace.until) {
		return false, nil
	}
	var pools []int64
	var pushes []Push
	err := l.e.ledger.View(ctx, func(tx Tx) error {
		pools, pushes = nil, nil
		bound := map[int64]stock.Placement{}
		gids := map[int64]string{}
		var items []stock.Misnamed
		for p, err := range placements(tx, st.ID, Tx.Misnamed) {
			if err != nil {
				return err
			}
			pool, err := tx.Pool(p.Pool)
			if err != nil {
				return err
			}
			if item, due := toRename(st, pool, p, now); due {
				bound[p.Pool], gids[p.Pool] = p, pool.GID
				items = append(items, item)
			}
		}
		if len(items) == 0 {
			return nil
		}
		if held, _, err := l.e.held(tx, now); held || err != nil {
			return err
		}
		steps := stock.NameSteps(items)
		for _, s := range steps[:min(len(steps), l.pace.size())] {
			p := bound[s.Pool]
			pools, pushes = append(pools, s.Pool), append(pushes, Push{Ref: p.Ref, Name: s.SKU, GID: gids[s.Pool]})
		}
		return nil
	})
	if err != nil || len(pushes) == 0 {
		return false, err
	}
	results := st.Driver.Push(ctx, pushes)
	ended := l.e.clock.Now()
	l.pace.learn(len(pushes), ended.Sub(now), faultOf(results), ended)
	return true, l.renamed(ctx, st, pools, pushes, results)
}

// renamed takes in the outcome. What was not answered is read again: a name is there or it is not.
func (l *lane) renamed(ctx context.Context, st Store, pools []int64, pushes []Push, results []Result) error {
	var failure error
	acked := false
	err := l.take(context.WithoutCancel(ctx), st, func(t *turn) error {
		failure, acked = nil, false
		for i, r := range results {
			p, bound, err := t.tx.Placement(st.ID, pools[i])
			if err != nil {
				return err
			}
			if !bound || p.Ref != pushes[i].Ref {
				continue
			}
			switch {
			case r.Gone:
				err = t.gone(p.Ref)
			case r.Taken:
				acked = true
				err = t.refusedName(p, pushes[i].Name, r.Holder)
			case r.Err != nil || r.Item == nil:
				if r.Err != nil {
					failure = r.Err
				}
				// What cannot be written for a reason of its own must not keep all else from being written.
				t.out.recheck[p.Pool], p.Naming.Again = p.Ref, t.now.Add(nameAgain)
				err = t.tx.PutPlacement(p)
			default:
				acked = true
				err = t.renamedTo(p, pushes[i].Name, *r.Item)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if acked {
		now := l.e.clock.Now()
		l.note(func(s *StoreState) { s.LastOutbound = now })
		l.succeeded(results[0].Window)
	}
	return failure
}

// renamedTo takes in that the store gave the item a name.
func (t *turn) renamedTo(p stock.Placement, name string, item Item) error {
	pool, err := t.tx.Pool(p.Pool)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(item.SKUs, func(s string) bool { return stock.KeyOf(s) == stock.KeyOf(name) }) {
		switch {
		case name != p.Naming.Todo && !stock.IsTemporary(name):
			return t.save(pool, p, nil)
		case p.Naming.Denied != name:
			// It may have been an older write of ours that landed in that moment.
			p.Naming.Denied, p.Naming.Again = name, t.now.Add(nameAgain)
			t.out.recheck[p.Pool] = p.Ref
			return t.save(pool, p, nil)
		case !p.Naming.Refuse(p.Naming.Todo, t.now):
			return t.save(pool, p, nil)
		}
		return t.save(pool, p, []stock.Entry{{Kind: stock.Renamed, Store: p.Store, Pool: p.Pool, SKU: p.SKU, Quantity: p.Shown, Conflict: true,
			Evidence: fmt.Sprintf("the master renamed it to %q; the shop took that and shows %q: a plugin of the shop keeps it so", name, item.SKUs)}})
	}
	was := p.SKU
	p.SKU, p.Naming.Open, p.Naming.Denied = name, false, ""
	var entries []stock.Entry
	if stock.KeyOf(name) == stock.KeyOf(pool.SKU) {
		p.Naming = p.Naming.Anew()
		entries = append(entries, stock.Entry{Kind: stock.Renamed, Store: p.Store, Pool: p.Pool, SKU: p.SKU, Quantity: p.Shown,
			Evidence: fmt.Sprintf("renamed from %q to %q, as in the master", was, name)})
	}
	return t.save(pool, p, entries)
}

// refusedName takes in that another item of the store has the name. One that is to give it up itself, or was not read
// since, is read again; of any other a person is told.
func (t *turn) refusedName(p stock.Placement, name string, holder int64) error {
	pool, err := t.tx.Pool(p.Pool)
	if err != nil {
		return err
	}
	other, bound, err := t.tx.PlacementAt(t.st.ID, holder)
	if err != nil {
		return err
	}
	t.out.recheck[p.Pool] = p.Ref
	if name != p.Naming.Todo {
		return nil // the master has given it another name meanwhile
	}
	news := p.Naming.Refuse(name, t.now)
	if bound && holder != 0 && other.Blocked != string(stock.Renamed) {
		theirs, err := t.tx.Pool(other.Pool)
		if err != nil {
			return err
		}
		if theirs.Renamed && stock.KeyOf(theirs.SKU) != stock.KeyOf(name) && theirs.Knows(stock.KeyOf(name)) {
			t.out.recheck[other.Pool] = other.Ref
			p.Naming.Refused, p.Naming.Again = "", t.now.Add(nameAgain)
			return t.save(pool, p, nil)
		}
	}
	if !news {
		return t.save(pool, p, nil)
	}
	which := "another product"
	if holder != 0 {
		which = fmt.Sprintf("product %d", holder)
	}
	return t.save(pool, p, []stock.Entry{{Kind: stock.Renamed, Store: p.Store, Pool: p.Pool, SKU: p.SKU, Quantity: p.Shown, Conflict: true,
		Evidence: fmt.Sprintf("the master renamed it to %q, which is the SKU of %s of this shop: nothing was overwritten, and it is tried again every hour", name, which)}})
}

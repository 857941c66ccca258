package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"stocksync.dev/stocksync/internal/stock"
)

// A store whose plugin is the only way in names no objects: an item is its SKU there, and the plugin's id where that is
// told. So a name is given to one item at a time, only where it is known to be free, and looked at before another is.

// names is what is known of a pool's names in such a store.
type names struct {
	// gid is the pool's id; foreign are ids in the answers that are other pools'.
	gid     string
	foreign map[string]bool
	// renamed: the item may go by another name than it was asked for.
	renamed bool
}

// naming chooses the SKU a renamed pool is asked about: the one its item had last. skip tells that it cannot be asked.
func (a *asked) naming(tx Tx, st Store, pool stock.Pool, keys []stock.Key) (skip bool, err error) {
	a.gid, a.renamed = pool.GID, pool.Renamed && len(keys) == 1
	p, bound, err := tx.Placement(st.ID, pool.ID)
	if err != nil {
		return true, err
	}
	if bound && len(keys) == 1 && stock.KeyOf(p.SKU) != keys[0] {
		a.renamed = true
		a.skus = []string{p.SKU}
		return st.excludes(p.SKU), nil
	}
	if bound {
		return false, nil
	}
	// What another item is called here until it gets its new name is not this one.
	holder, err := misnamedAs(tx, st, keys, true)
	return holder != 0, err
}

// misnamedAs finds the pool whose item goes by one of the keys in a store until it is renamed, or with tried may do so since
// it was sent the name; 0 if there is none.
func misnamedAs(tx Tx, st Store, keys []stock.Key, tried bool) (int64, error) {
	known := func(name string) bool { return slices.Contains(keys, stock.KeyOf(name)) }
	for p, err := range placements(tx, st.ID, Tx.Misnamed) {
		if err != nil {
			return 0, err
		}
		if known(p.SKU) || tried && slices.ContainsFunc(p.Naming.Tried, known) {
			return p.Pool, nil
		}
	}
	return 0, nil
}

// heardOf finds the pool that a store's event is about: by the id, where the store told one that is bound there, else by
// what the items of the store are called there. 0 if there is none.
func heardOf(tx Tx, st Store, key stock.Key, gid string) (int64, error) {
	if stock.IsGID(gid) {
		id, err := tx.PoolOfGID(gid)
		if err != nil {
			return 0, err
		}
		if _, bound, err := tx.Placement(st.ID, id); bound || err != nil {
			return id, err
		}
	}
	if st.Absolute != nil {
		if id, err := misnamedAs(tx, st, []stock.Key{key}, false); id != 0 || err != nil {
			return id, err
		}
	}
	id, err := tx.PoolOf(key)
	if err != nil || id == 0 || st.Absolute == nil {
		return id, err
	}
	if p, bound, err := tx.Placement(st.ID, id); err != nil || (bound && p.Naming.Todo != "" && stock.KeyOf(p.SKU) != key) {
		return 0, err
	}
	return id, nil
}

// identifiedAbsolute is [turn.identified] where no object is named: the item was asked for as that of the pool, or nothing
// is bound to that yet.
func (t *turn) identifiedAbsolute(item Item) (int64, error) {
	id, err := t.tx.PoolOfGID(item.GID)
	if err != nil || id == 0 || item.Ref == absoluteRef(id) {
		return id, err
	}
	if _, taken, err := t.tx.Placement(t.st.ID, id); taken || err != nil {
		return 0, err
	}
	return id, nil
}

// byOtherNames asks once more for the items that did not answer to their name: one that was renamed goes by the new name,
// one of before, or the temporary one. What carries another pool's id is that one's.
//
//nolint:gocognit // two looks at one list
func (l *lane) byOtherNames(ctx context.Context, st Store, list []asked, states map[string]PeerState) ([]asked, error) {
	missing := func(a asked) bool {
		return a.renamed && len(a.skus) == 1 && (!states[a.skus[0]].Exists || a.foreign[states[a.skus[0]].GID])
	}
	candidates := map[int64][]string{}
	var more []string
	err := l.e.ledger.View(ctx, func(tx Tx) error {
		more = nil
		for i := range list {
			a := &list[i]
			if err := a.judge(tx, states); err != nil {
				return err
			}
			if _, answered := states[a.skus[0]]; !answered || !missing(*a) {
				continue
			}
			names, err := otherNames(tx, st, *a)
			if err != nil {
				return err
			}
			candidates[a.pool] = names
			more = append(more, names...)
		}
		return nil
	})
	if err != nil || len(more) == 0 {
		return list, err
	}
	for part := range slices.Chunk(more, AskSize) {
		answer, err := st.Absolute.States(ctx, part)
		if err != nil {
			return nil, err
		}
		maps.Copy(states, answer)
	}
	err = l.e.ledger.View(ctx, func(tx Tx) error {
		for i := range list {
			a := &list[i]
			if candidates[a.pool] == nil || !missing(*a) {
				continue
			}
			for _, sku := range candidates[a.pool] {
				s := states[sku]
				if !s.Exists {
					continue
				}
				own, err := a.owns(tx, st, sku, s)
				if err != nil {
					return err
				}
				if own {
					a.skus = []string{sku}
					break
				}
			}
		}
		return nil
	})
	return list, err
}

// judge finds the ids in the answers that are other pools'.
func (a *asked) judge(tx Tx, states map[string]PeerState) error {
	for _, sku := range a.skus {
		gid := states[sku].GID
		if gid == "" || gid == a.gid {
			continue
		}
		owner, err := tx.PoolOfGID(gid)
		if err != nil {
			return err
		}
		if owner != 0 && owner != a.pool {
			if a.foreign == nil {
				a.foreign = map[string]bool{}
			}
			a.foreign[gid] = true
		}
	}
	return nil
}

// otherNames are the names a renamed item may go by, the likeliest first.
func otherNames(tx Tx, st Store, a asked) ([]string, error) {
	pool, err := tx.Pool(a.pool)
	if err != nil {
		return nil, err
	}
	p, _, err := tx.Placement(st.ID, a.pool)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, list := range [][]string{p.Naming.Tried, {stock.TemporaryName(pool), pool.SKU}, pool.Former} {
		for _, name := range slices.Backward(list) {
			if !st.excludes(name) && !slices.Contains(a.skus, name) && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out, nil
}

// owns tells whether an item found under another name is the pool's: by the id where one is told, and where none is, by a
// name that is no other's, of an item that was bound here.
func (a *asked) owns(tx Tx, st Store, sku string, s PeerState) (bool, error) {
	if s.GID != "" && a.gid != "" && s.GID == a.gid {
		return true, nil
	}
	if s.GID != "" {
		if owner, err := tx.PoolOfGID(s.GID); owner != 0 || err != nil {
			return false, err
		}
	}
	key := stock.KeyOf(sku)
	owner, err := tx.PoolOf(key)
	if err != nil {
		return false, err
	}
	own, bound, err := tx.Placement(st.ID, a.pool)
	if err != nil || !bound {
		return false, err
	}
	tried := slices.Contains(own.Naming.Tried, sku)
	if owner != 0 && owner != a.pool {
		// We gave it the name before that became another's, who has not got it yet.
		if !tried {
			return false, nil
		}
		other, bound, err := tx.Placement(st.ID, owner)
		return !bound || stock.KeyOf(other.SKU) != key, err
	}
	other, err := misnamedAs(tx, st, []stock.Key{key}, !tried)
	return other == 0 || other == a.pool, err
}

// nameAsked is one item to be renamed.
type nameAsked struct {
	pool     int64
	has, sku string
	gid      string
}

// renameAbsolute gives items the names that the master gave them. It tells whether there was something to do.
func (l *lane) renameAbsolute(ctx context.Context, st Store) (bool, error) {
	if st.Mode != Sync || st.Policy.Master || !l.e.beginWriting(st.ID) {
		return false, nil
	}
	defer l.e.endWriting(st.ID)
	steps, err := l.nameSteps(ctx, st)
	if err != nil || len(steps) == 0 {
		return false, err
	}
	var skus []string
	for _, s := range steps {
		skus = append(skus, s.has, s.sku)
	}
	before, err := st.Absolute.States(ctx, skus)
	if err != nil {
		return false, err
	}
	l.succeeded(stock.Window{})
	var send []nameAsked
	for _, s := range steps {
		if before[s.has].Exists && !before[s.sku].Exists {
			send = append(send, s)
		}
	}
	after := before
	var sendErr error
	if len(send) > 0 {
		if sendErr = l.sendNames(ctx, st, send); sendErr == nil {
			if after, err = st.Absolute.States(ctx, skus); err != nil {
				return false, err
			}
		}
	}
	if err := l.namesSeen(ctx, st, steps, before, after); err != nil {
		return false, err
	}
	return true, sendErr
}

// nameSteps are the items to rename now, each to a name that no other is known to have.
func (l *lane) nameSteps(ctx context.Context, st Store) (steps []nameAsked, err error) {
	now := l.e.clock.Now()
	err = l.e.ledger.View(ctx, func(tx Tx) error {
		steps = nil
		var items []stock.Misnamed
		gids, has := map[int64]string{}, map[int64]string{}
		used := map[stock.Key]bool{}
		for p, err := range placements(tx, st.ID, Tx.Misnamed) {
			if err != nil {
				return err
			}
			pool, err := tx.Pool(p.Pool)
			if err != nil {
				return err
			}
			used[stock.KeyOf(p.SKU)] = true
			if item, due := toRename(st, pool, p, now); due {
				gids[p.Pool], has[p.Pool] = pool.GID, p.SKU
				items = append(items, item)
			}
		}
		if len(items) == 0 {
			return nil
		}
		if held, _, err := l.e.held(tx, now); held || err != nil {
			return err
		}
		for _, s := range stock.NameSteps(items) {
			if !used[stock.KeyOf(s.SKU)] && len(steps) < SendSize {
				steps = append(steps, nameAsked{pool: s.Pool, has: has[s.Pool], sku: s.SKU, gid: gids[s.Pool]})
			}
		}
		return nil
	})
	return steps, err
}

// sendNames sends the renamings as one event.
func (l *lane) sendNames(ctx context.Context, st Store, steps []nameAsked) error {
	var event PeerEvent
	err := l.e.ledger.Update(ctx, func(tx Tx) error {
		id, err := tx.NextAttempt()
		if err != nil {
			return err
		}
		event = PeerEvent{ID: fmt.Sprintf("%s%s-%d", ownEventID, l.e.ledgerID, id), Rename: true, Context: "sku_rename", Seconds: l.e.clock.Now().Unix()}
		for _, s := range steps {
			p, bound, err := tx.Placement(st.ID, s.pool)
			if err != nil {
				return err
			}
			if bound {
				p.Naming.Try(s.sku)
				if err := tx.PutPlacement(p); err != nil {
					return err
				}
			}
			event.Items = append(event.Items, PeerItem{GID: s.gid, SKU: s.sku, OldSKU: s.has})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return st.Absolute.Send(ctx, event)
}

// namesSeen takes in what the store shows after it was told the names.
func (l *lane) namesSeen(ctx context.Context, st Store, steps []nameAsked, before, after map[string]PeerState) error {
	return l.take(context.WithoutCancel(ctx), st, func(t *turn) error {
		for _, s := range steps {
			p, bound, err := t.tx.Placement(st.ID, s.pool)
			if err != nil {
				return err
			}
			if !bound || p.SKU != s.has {
				continue
			}
			a := asked{pool: s.pool, skus: []string{s.sku}, names: names{gid: s.gid}}
			if err := a.judge(t.tx, after); err != nil {
				return err
			}
			there, was := after[s.sku], before[s.sku]
			switch {
			case there.Exists && !a.foreign[there.GID] && (!was.Exists || !before[s.has].Exists):
				err = t.renamedTo(p, s.sku, Item{SKUs: []string{s.sku}})
			case was.Exists && before[s.has].Exists:
				var holder int64
				if holder, err = t.lateHolder(stock.KeyOf(s.sku), s.pool, was.GID); holder != 0 && err == nil {
					t.out.recheck[holder], p.Naming.Again = absoluteRef(holder), t.now.Add(nameAgain)
					err = t.tx.PutPlacement(p)
				} else if err == nil {
					err = t.refusedName(p, s.sku, 0)
				}
			default:
				// Not done, or not there at all: it is read again, and then tried again.
				p.Naming.Again = t.now.Add(nameAgain)
				t.out.recheck[p.Pool] = p.Ref
				err = t.tx.PutPlacement(p)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// lateHolder finds the pool whose item may have a name by a renaming that landed late; 0 if there is none.
func (t *turn) lateHolder(key stock.Key, but int64, gid string) (int64, error) {
	if id, err := t.tx.PoolOfGID(gid); err != nil || (id != 0 && id != but) {
		return id, err
	}
	for p, err := range placements(t.tx, t.st.ID, Tx.Misnamed) {
		if err != nil {
			return 0, err
		}
		pool, err := t.tx.Pool(p.Pool)
		if err != nil {
			return 0, err
		}
		if p.Pool != but && pool.Knows(key) {
			return p.Pool, nil
		}
	}
	return 0, nil
}

// renamedAtMaster takes in that a master which names no objects renamed an item, at a second of its clock: what comes late
// renames nothing. It returns what is to be read again.
func (t *turn) renamedAtMaster(item PeerItem, second int64) ([]int64, error) {
	key, old := stock.KeyOf(item.SKU), stock.KeyOf(item.OldSKU)
	if key == "" || t.st.excludes(item.SKU) || t.st.excludes(item.OldSKU) {
		return nil, nil
	}
	id := int64(0)
	var err error
	if stock.IsGID(item.GID) {
		if id, err = t.tx.PoolOfGID(item.GID); err != nil {
			return nil, err
		}
	}
	if id == 0 && old != "" {
		if id, err = t.tx.PoolOf(old); err != nil {
			return nil, err
		}
	}
	if id == 0 {
		return nil, nil
	}
	keys, err := t.tx.Keys(id)
	if err != nil || len(keys) != 1 {
		return []int64{id}, err
	}
	p, bound, err := t.tx.Placement(t.st.ID, id)
	if err != nil {
		return nil, err
	}
	if !bound {
		p = stock.Placement{Store: t.st.ID, Pool: id, Ref: absoluteRef(id), ReadAt: t.now}
	}
	if second < p.Naming.Second {
		return []int64{id}, nil
	}
	p.SKU, p.Naming.Second = item.SKU, second
	if err := t.tx.PutPlacement(p); err != nil {
		return nil, err
	}
	t.moved = append(t.moved, id)
	if err := t.moves(); err != nil {
		return nil, err
	}
	again := []int64{id}
	for other := range t.out.recheck {
		again = append(again, other)
	}
	slices.Sort(again)
	return slices.Compact(again), nil
}

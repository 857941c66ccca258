package agent

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/event"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

func entriesOf(rows []ledger.Row) []agentapi.Entry {
	out := make([]agentapi.Entry, 0, len(rows))
	for _, r := range rows {
		code := event.Of(r.Kind, r.Conflict)
		out = append(out, agentapi.Entry{ID: r.ID, Kind: string(r.Kind), Store: r.Store, SKU: r.SKU, Delta: r.Delta, Units: r.Units,
			Quantity: r.Quantity, Evidence: r.Evidence, Conflict: r.Conflict, At: r.At,
			Level: string(code.Level), Code: code.Name, Cause: cmp.Or(r.Cause, code.Cause)})
	}
	return out
}

// conflicts are the open ones of a store and a SKU, where these are named.
func (a *Agent) conflicts(ctx context.Context, store, sku string) ([]ledger.Row, error) {
	pool := int64(0)
	if strings.TrimSpace(sku) != "" {
		p, err := a.pool(ctx, sku)
		if err != nil {
			return nil, err
		}
		pool = p.ID
	}
	rows, err := a.ledger.Conflicts(ctx)
	return slices.DeleteFunc(rows, func(r ledger.Row) bool {
		return store != "" && r.Store != store || pool != 0 && r.Pool != pool
	}), err
}

// resolve sets a SKU's number and closes its conflicts: the person who chose it has seen them.
func (a *Agent) resolve(ctx context.Context, q agentapi.ResolveRequest) (closed int, err error) {
	if q.Units == nil {
		err = a.engine.Accept(ctx, q.Store, q.SKU)
	} else {
		err = a.engine.Resolve(ctx, q.SKU, *q.Units)
	}
	if err != nil {
		return 0, err
	}
	return a.settled(ctx, q.SKU)
}

// accept makes what a store shows the numbers of SKUs, and closes their conflicts.
func (a *Agent) accept(ctx context.Context, store string, skus []string) error {
	if err := a.engine.Accept(ctx, store, skus...); err != nil {
		return err
	}
	_, err := a.settled(ctx, skus...)
	return err
}

// settled closes the conflicts of SKUs whose numbers a person has chosen.
func (a *Agent) settled(ctx context.Context, skus ...string) (closed int, err error) {
	pools := map[int64]bool{}
	for _, sku := range skus {
		pool, err := a.pool(ctx, sku)
		if err != nil {
			return 0, err
		}
		pools[pool.ID] = true
		a.log.Info("a person chose the number of a SKU", "sku", pool.SKU, "units", pool.Units)
	}
	rows, err := a.ledger.Conflicts(ctx)
	if err != nil {
		return 0, err
	}
	var ids []int64
	for _, r := range rows {
		if pools[r.Pool] {
			ids = append(ids, r.ID)
		}
	}
	return len(ids), a.ledger.ResolveConflicts(ctx, ids...)
}

func (a *Agent) dismiss(ctx context.Context, ids []int64) error {
	rows, err := a.ledger.Conflicts(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !slices.ContainsFunc(rows, func(r ledger.Row) bool { return r.ID == id }) {
			return fmt.Errorf("conflict %d: %w; `conflicts list` names the open ones", id, engine.ErrNotFound)
		}
	}
	if err := a.ledger.ResolveConflicts(ctx, ids...); err != nil {
		return err
	}
	a.tell(stock.Entry{Kind: event.Dismissed, Units: int64(len(ids)), Evidence: "conflicts " + strings.Trim(fmt.Sprint(ids), "[]")})
	return nil
}

func (a *Agent) pool(ctx context.Context, sku string) (stock.Pool, error) {
	var pool stock.Pool
	err := a.ledger.View(ctx, func(tx engine.Tx) error {
		id, err := tx.PoolOf(stock.KeyOf(sku))
		if err != nil {
			return err
		}
		if id == 0 {
			return fmt.Errorf("SKU %q: %w; it must be the SKU of an item of the master", strings.TrimSpace(sku), engine.ErrNotFound)
		}
		pool, err = tx.Pool(id)
		return err
	})
	return pool, err
}

func (a *Agent) history(ctx context.Context, sku string, limit int) (agentapi.SKUHistory, error) {
	pool, err := a.pool(ctx, sku)
	if err != nil {
		return agentapi.SKUHistory{}, err
	}
	h := agentapi.SKUHistory{SKU: pool.SKU, Units: pool.Units, Set: pool.Set, Stopped: pool.Stopped}
	err = a.ledger.View(ctx, func(tx engine.Tx) error {
		placements, err := tx.Placements(pool.ID)
		h.Shelves = nil
		for _, p := range placements {
			h.Shelves = append(h.Shelves, agentapi.Shelf{Store: p.Store, Shown: p.Shown, Todo: p.Todo, ReadAt: p.ReadAt, Note: note(p)})
		}
		return err
	})
	if err != nil {
		return agentapi.SKUHistory{}, err
	}
	rows, err := a.ledger.History(ctx, pool.ID, limit)
	h.Entries = entriesOf(rows)
	return h, err
}

func note(p stock.Placement) string {
	switch {
	case p.Blocked != "":
		return "not synced: " + p.Blocked
	case !p.Enrolled:
		return "not enrolled yet"
	case p.Target.Known && p.Target.Aside != 0 && p.Todo == 0:
		return fmt.Sprintf("left as it is, %+d from %d: it follows when the item changes next, or by a reconcile", p.Target.Aside, p.Target.Units)
	case p.Undecided:
		return "waits: an unanswered push showed itself"
	case p.Restored:
		return "waits: the shop looks restored from a backup"
	case p.Parted() != 0:
		return fmt.Sprintf("waits: the quantity and the orders differ by %+d", p.Parted())
	}
	return ""
}

// backlog lists placements that differ from what they should show, of one store or of all, after a cursor.
func (a *Agent) backlog(ctx context.Context, store, cursor string, limit int) ([]agentapi.BacklogItem, error) {
	after := int64(0)
	from, pool, found := strings.Cut(cursor, "/")
	if cursor != "" {
		var err error
		if after, err = strconv.ParseInt(pool, 10, 64); err != nil || !found {
			return nil, badRequest("after must be the cursor of the last item, as it was answered")
		}
	}
	a.mu.Lock()
	conf := a.conf
	a.mu.Unlock()
	holds, err := a.holds(ctx)
	if err != nil {
		return nil, err
	}
	var items []agentapi.BacklogItem
	err = a.ledger.View(ctx, func(tx engine.Tx) error {
		items = nil
		at := after
		reached := cursor == ""
		for _, st := range conf.Stores {
			if reached = reached || st.ID == from; !reached {
				continue
			}
			if st.ID != from {
				at = 0
			}
			if store != "" && st.ID != store {
				continue
			}
			more, err := differing(tx, st, conf.Stores[0].ID, at, limit-len(items))
			if err != nil {
				return err
			}
			for i := range more {
				if more[i].Note == "" {
					more[i].Note = holds[st.ID]
				}
			}
			if items = append(items, more...); len(items) >= limit {
				return nil
			}
		}
		return nil
	})
	return items, err
}

// differing lists placements of one store that differ, after a pool. In mode Observe those are among them that
// would differ in Sync.
func differing(tx engine.Tx, st Store, master string, after int64, limit int) ([]agentapi.BacklogItem, error) {
	const page = 1000
	var items []agentapi.BacklogItem
	for len(items) < limit {
		placements, err := tx.StorePlacements(st.ID, after, page)
		if err != nil {
			return nil, err
		}
		for _, p := range placements {
			after = p.Pool
			wanted, note := p.Shown+p.Todo, note(p)
			if st.Mode == engine.Observe && st.Settings != nil {
				w, known, err := wouldShow(tx, p, master, st.Settings.Policy)
				if err != nil {
					return nil, err
				}
				if known {
					wanted = w
				}
			}
			if wanted == p.Shown {
				continue
			}
			if pool, err := tx.Pool(p.Pool); err != nil {
				return nil, err
			} else if pool.Stopped != "" {
				note = "stopped until a person chooses the number: " + pool.Stopped
			}
			items = append(items, agentapi.BacklogItem{Store: st.ID, SKU: p.SKU, Shown: p.Shown, Wanted: wanted, Since: p.DirtySince.UTC(), Note: note,
				Cursor: fmt.Sprintf("%s/%d", st.ID, p.Pool)})
			if len(items) == limit {
				break
			}
		}
		if len(placements) < page {
			break
		}
	}
	return items, nil
}

// holds says for each store why nothing is written there at present, where that is so.
func (a *Agent) holds(ctx context.Context) (map[string]string, error) {
	states, err := a.engine.Status(ctx)
	if err != nil {
		return nil, err
	}
	b, err := a.runs.Breaker(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, s := range states {
		switch {
		case s.Mode != engine.Sync:
			out[s.StoreID] = "nothing is written in mode " + string(s.Mode)
		case s.ClaimedBy != "":
			out[s.StoreID] = "the shop carries the marks of another ledger"
		case b != nil:
			out[s.StoreID] = "held by the circuit breaker, trip " + b.TripID
		case s.Failure != nil:
			out[s.StoreID] = "the store fails: " + s.Failure.Reason
		}
	}
	return out, nil
}

// ping tests the connections of a store, or of every one.
func (a *Agent) ping(ctx context.Context, store string) []agentapi.Ping {
	a.mu.Lock()
	conf, shops := a.conf, a.shops
	a.mu.Unlock()
	var out []agentapi.Ping
	var all sync.WaitGroup
	for _, st := range conf.Stores {
		if store == "" || st.ID == store {
			out = append(out, agentapi.Ping{StoreID: st.ID})
		}
	}
	for i := range out {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, pingWithin)
			defer cancel()
			r := shops[out[i].StoreID]
			out[i].Checks = r.probe(ctx)
			if r.account != nil && !slices.ContainsFunc(out[i].Checks, func(c agentapi.PingCheck) bool { return !c.OK }) {
				out[i].Checks = append(out[i].Checks, r.account.locations(ctx, conf))
			}
			out[i].OK = !slices.ContainsFunc(out[i].Checks, func(c agentapi.PingCheck) bool { return !c.OK })
		})
	}
	all.Wait()
	return out
}

// pluginCheck sums up the checks of a plugin beside a REST API: the one that failed, if any.
func pluginCheck(checks []agentapi.PingCheck) agentapi.PingCheck {
	out := agentapi.PingCheck{Name: agentapi.CheckPlugin, OK: true}
	for _, c := range checks {
		out.Milliseconds += c.Milliseconds
		if !c.OK {
			out.OK, out.Reason, out.Message = false, c.Reason, c.Message
		}
	}
	return out
}

// pingWithin bounds the test of one store.
const pingWithin = 45 * time.Second

func (r *running) probe(ctx context.Context) []agentapi.PingCheck {
	if p := r.store.Invalid; p != nil && r.store.Settings == nil {
		return []agentapi.PingCheck{{Name: "Configuration", Reason: p.Reason, Message: p.Message}}
	}
	if r.store.Mode == engine.Off {
		return []agentapi.PingCheck{{Name: "Mode", Reason: v1alpha1.ReasonOff, Message: offMessage + "; set it to Observe to test the connection"}}
	}
	advise := view{store: r.store}.advise
	var checks []agentapi.PingCheck
	if r.account != nil {
		advise = sourceView{store: r.store}.advise
		checks = r.account.Probe(ctx)
	} else {
		checks = r.shop.Probe(ctx)
	}
	if r.link != nil && !r.store.Settings.pluginAlone() {
		checks = append(checks, pluginCheck(r.link.client.Probe(ctx)))
	}
	for i, c := range checks {
		if !c.OK {
			checks[i].Message = advise(&engine.Fault{Reason: c.Reason, Message: c.Message})
		}
	}
	return checks
}

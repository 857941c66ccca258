package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/stock"
)

const (
	// maxDoubts bounds what is looked at once more; what is beyond is judged by what the ledger knows of it.
	maxDoubts = 5_000
	// maxLooks is how often something that keeps changing is looked at.
	maxLooks = 5
	// missingStep is how many pools are searched for at a time in the ledger.
	missingStep = 500
)

// doubt is a placement to be looked at once more. An audit does not merge what it reads, so what a shop has just
// sold, or what was just written to it, differs until the lane has seen it.
type doubt struct {
	pool int64
	at   time.Time
	// seen is what was found, in one text; looks how often.
	seen  string
	looks int
}

// auditSome compares the next part of a store with what it should show. It merges nothing.
func (l *lane) auditSome(ctx context.Context, st Store, r *activeRun, w *walk, room int) error {
	switch {
	case !w.read && r.pools == nil:
		return l.auditPage(ctx, st, w, room)
	case !w.read:
		return l.auditNamed(ctx, st, r, w, room)
	case !w.searched:
		return l.auditMissing(ctx, st, r, w, room)
	}
	return l.auditAgain(ctx, st, w, room)
}

// compared does fn in one transaction, on a copy of the walk that takes its place when it succeeds.
func (l *lane) compared(ctx context.Context, st Store, w *walk, fn func(t *turn, w *walk) error) error {
	start := w.clone()
	return l.e.ledger.Update(ctx, func(tx Tx) error {
		*w = *start.clone()
		w.again = slices.Clone(start.again)
		if err := fn(l.turn(tx, st, newEffects()), w); err != nil {
			return err
		}
		if w.read && w.searched {
			w.Ended = len(w.again) == 0
			if !w.Ended {
				w.next = w.again[0].at.Add(l.e.lagObjective())
			}
		}
		return nil
	})
}

// auditPage looks at the next page of the whole catalogue, which also shows what is not bound.
func (l *lane) auditPage(ctx context.Context, st Store, w *walk, room int) error {
	page, err := l.asking(w, func() (Page, error) { return l.list(ctx, st, w.cursor) })
	if err != nil {
		return err
	}
	return l.compared(ctx, st, w, func(t *turn, w *walk) error {
		for _, it := range page.Items {
			p, bound, err := t.tx.PlacementAt(st.ID, it.Ref.Object())
			if err != nil {
				return err
			}
			if !bound {
				if err := t.unbound(w, room, it); err != nil {
					return err
				}
				continue
			}
			w.met.add(p.Pool)
			w.Done++
			if err := t.audit(w, room, p, &it); err != nil {
				return err
			}
		}
		w.cursor, w.read = page.Next, page.Next == ""
		return nil
	})
}

// unbound looks at an item that is not kept the same, because another item has its SKU.
func (t *turn) unbound(w *walk, room int, it Item) error {
	if t.st.Source != nil {
		return nil // only what is in both is synced, and of several with one SKU the newest
	}
	for _, sku := range it.SKUs {
		key := stock.KeyOf(sku)
		if key == "" || (t.st.Excluded != nil && t.st.Excluded(key)) {
			continue
		}
		id, err := t.tx.PoolOf(key)
		if err != nil || id == 0 {
			if err != nil {
				return err
			}
			continue
		}
		p, bound, err := t.tx.Placement(t.st.ID, id)
		switch {
		case err != nil:
			return err
		case bound && it.Managed == Unmanaged:
			// It holds no stock, so it disputes nobody's place: a variation whose stock is its parent's, for one.
		case bound:
			return w.found(t.tx, room, agentapi.Finding{Class: agentapi.DuplicateSKU, SKU: sku,
				Message: fmt.Sprintf("products %d and %d carry the SKU, and only %d is kept in step: give the other one another SKU", p.Ref.Object(), it.Ref.Object(), p.Ref.Object())})
		default:
			// It is about to be bound.
			w.met.add(id)
		}
	}
	return nil
}

func unmanaged(sku string) agentapi.Finding {
	return agentapi.Finding{Class: agentapi.ManagementDiffers, SKU: sku, Shown: "not managed", Wanted: "managed",
		Message: "the shop does not track the item's stock, so it sells without end: switch stock management on, or exclude the SKU"}
}

// auditNamed reads the next of the placements the request names.
func (l *lane) auditNamed(ctx context.Context, st Store, r *activeRun, w *walk, room int) error {
	var page []stock.Placement
	var last int64
	err := l.e.ledger.View(ctx, func(tx Tx) (err error) {
		page, last, err = r.batch(tx, st.ID, w.After)
		return err
	})
	if err != nil {
		return err
	}
	items, err := l.readItems(ctx, st, w, page)
	if err != nil {
		return err
	}
	return l.compared(ctx, st, w, func(t *turn, w *walk) error {
		for _, p := range page {
			w.met.add(p.Pool)
			w.Done++
			if err := t.audit(w, room, p, items[p.Ref]); err != nil {
				return err
			}
		}
		w.After, w.read = last, len(page) < BatchSize
		return nil
	})
}

func (l *lane) readItems(ctx context.Context, st Store, w *walk, page []stock.Placement) (map[stock.Ref]*Item, error) {
	items := map[stock.Ref]*Item{}
	if len(page) == 0 {
		return items, nil
	}
	refs := make([]stock.Ref, 0, len(page))
	for _, p := range page {
		refs = append(refs, p.Ref)
	}
	read, err := l.asking(w, func() (Page, error) { return l.fetch(ctx, st, refs) })
	if err != nil {
		return nil, err
	}
	for i := range read.Items {
		items[read.Items[i].Ref] = &read.Items[i]
	}
	return items, nil
}

// auditMissing searches the ledger for what the store should sell and does not: what is bound and was not met,
// and what the master sells and nothing here is bound to.
func (l *lane) auditMissing(ctx context.Context, st Store, r *activeRun, w *walk, room int) error {
	return l.compared(ctx, st, w, func(t *turn, w *walk) error {
		page, last, err := r.batchOf(t.tx, r.master, w.missing, missingStep)
		if err != nil {
			return err
		}
		for _, m := range page {
			if w.met.has(m.Pool) {
				continue
			}
			p, bound, err := t.tx.Placement(st.ID, m.Pool)
			if err != nil {
				return err
			}
			if bound {
				// It may have slipped between two pages.
				w.Done++
				w.again = append(w.again, doubt{pool: p.Pool, at: t.now, seen: string(agentapi.MissingProduct), looks: 1})
				continue
			}
			if err := t.lacks(w, room, m); err != nil {
				return err
			}
		}
		w.missing, w.searched = last, len(page) < missingStep
		return nil
	})
}

func (t *turn) lacks(w *walk, room int, m stock.Placement) error {
	keys, err := t.tx.Keys(m.Pool)
	if err != nil {
		return err
	}
	if t.st.Excluded != nil && slices.ContainsFunc(keys, t.st.Excluded) {
		return nil
	}
	return w.found(t.tx, room, agentapi.Finding{Class: agentapi.MissingProduct, SKU: m.SKU,
		Message: "the master sells it and no item of this store carries the SKU: make one, or exclude the SKU"})
}

// audit compares one placement with the item read, nil where there is none. What differs is looked at once more.
func (t *turn) audit(w *walk, room int, p stock.Placement, it *Item) error {
	found, err := t.compare(p, it)
	if err != nil || len(found) == 0 {
		return err
	}
	w.Differing++
	if len(w.again) < maxDoubts {
		w.again = append(w.again, doubt{pool: p.Pool, at: t.now, seen: text(found), looks: 1})
		return nil
	}
	if p.Todo != 0 && t.now.Sub(p.DirtySince) < t.e.lagObjective() {
		return w.found(t.tx, room, inFlight(p))
	}
	return w.all(t, room, found)
}

func (w *walk) all(t *turn, room int, found []agentapi.Finding) error {
	w.Waiting++
	for _, f := range found {
		if err := w.found(t.tx, room, f); err != nil {
			return err
		}
	}
	return nil
}

func inFlight(p stock.Placement) agentapi.Finding {
	return agentapi.Finding{Class: agentapi.InFlight, SKU: p.SKU, Message: "it differed for a moment only: a change was on its way"}
}

// text tells two looks at an item apart.
func text(found []agentapi.Finding) string {
	var parts []string
	for _, f := range found {
		if f.Class == agentapi.QuantityDiffers {
			// Both numbers move with every sale; what a stuck difference keeps is its size.
			parts = append(parts, fmt.Sprint(f.Class, f.Units))
			continue
		}
		parts = append(parts, fmt.Sprint(f.Class, " ", f.Shown, " ", f.Wanted))
	}
	return strings.Join(parts, "; ")
}

// compare tells how an item differs from what it should be.
func (t *turn) compare(p stock.Placement, it *Item) ([]agentapi.Finding, error) {
	if it == nil {
		return []agentapi.Finding{{Class: agentapi.MissingProduct, SKU: p.SKU,
			Message: "the item is gone from the shop: make it again, or exclude the SKU"}}, nil
	}
	var found []agentapi.Finding
	for _, m := range it.Markers {
		if m.Ledger != "" && m.Ledger != t.e.ledgerID && m.Product == it.Ref.Object() {
			found = append(found, agentapi.Finding{Class: agentapi.IdentityMismatch, SKU: p.SKU, Shown: m.Ledger, Wanted: t.e.ledgerID,
				Message: "the item carries the marker of another ledger: take the store out of one of the two topologies"})
			break
		}
	}
	sells, err := t.sells(p, *it)
	if err != nil {
		return nil, err
	}
	if !sells {
		return append(found, agentapi.Finding{Class: agentapi.IdentityMismatch, SKU: p.SKU, Shown: strings.Join(it.SKUs, ", "), Wanted: p.SKU,
			Message: fmt.Sprintf("product %d is bound to this SKU and carries another: put the SKU back, or delete the product", it.Ref.Object())}), nil
	}
	pool, err := t.tx.Pool(p.Pool)
	if err != nil {
		return nil, err
	}
	found = append(found, t.besides(pool, p, fieldsOf(*it), it.Quantity)...)
	if it.Fractional {
		return append(found, agentapi.Finding{Class: agentapi.QuantityDiffers, SKU: p.SKU, Shown: "no whole number",
			Message: "the quantity is not a whole number, so it is not counted: set one, and look for the plugin that made it"}), nil
	}
	want, known, err := t.expected(pool, p)
	if err != nil {
		return nil, err
	}
	if known && it.Managed != Unmanaged && it.Quantity != want {
		f := quantity(p, it.Quantity, want)
		if pool.Stopped != "" || p.Restless() {
			f.Message += "; " + waitsFor(pool, p, "")
		}
		found = append(found, f)
	}
	return found, nil
}

// besides are the differences in fields other than the quantity.
func (t *turn) besides(pool stock.Pool, p stock.Placement, shown stock.Values, units int64) []agentapi.Finding {
	var found []agentapi.Finding
	if t.st.Source != nil {
		if shown[stock.Management] == stock.No {
			found = append(found, unmanaged(p.SKU))
		}
		return found
	}
	for _, d := range stock.FieldDifferences(pool, shown, units, t.st.Policy) {
		f := agentapi.Finding{SKU: p.SKU, Shown: d.Shown, Wanted: d.Wanted, Message: fmt.Sprintf("%s is %s and should be %s", d.Field, d.Shown, d.Wanted)}
		switch d.Field {
		case stock.Backorders:
			f.Class = agentapi.BackordersDiffer
		case stock.LowStock:
			f.Class = agentapi.LowStockDiffers
		case stock.Status:
			f.Class = agentapi.StatusDiffers
		case stock.Management:
			f.Class = agentapi.ManagementDiffers
			if d.Shown == stock.No {
				f = unmanaged(p.SKU)
			}
		}
		found = append(found, f)
	}
	return found
}

// sells tells whether one of the item's SKUs is the placement's.
func (t *turn) sells(p stock.Placement, it Item) (bool, error) {
	if t.st.Source != nil {
		item, _, ok, err := t.itemSold(it)
		return ok && item.Pool == p.Pool, err
	}
	for _, sku := range it.SKUs {
		id, err := t.tx.PoolOf(stock.KeyOf(sku))
		if err != nil || id == p.Pool {
			return id == p.Pool, err
		}
	}
	return false, nil
}

// auditAgain looks once more, after the lag objective, at what differed. Only what differs in the same way then
// is a finding.
func (l *lane) auditAgain(ctx context.Context, st Store, w *walk, room int) error {
	now, lag := l.e.clock.Now(), l.e.lagObjective()
	n := 0
	for n < min(len(w.again), BatchSize) && !now.Before(w.again[n].at.Add(lag)) {
		n++
	}
	var page []stock.Placement
	err := l.e.ledger.View(ctx, func(tx Tx) error {
		page = page[:0]
		for _, d := range w.again[:n] {
			p, bound, err := tx.Placement(st.ID, d.pool)
			if err != nil {
				return err
			}
			if bound {
				page = append(page, p)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	items, err := l.readItems(ctx, st, w, page)
	if err != nil {
		return err
	}
	return l.compared(ctx, st, w, func(t *turn, w *walk) error {
		due := slices.Clone(w.again[:n])
		w.again = w.again[n:]
		for _, d := range due {
			i := slices.IndexFunc(page, func(p stock.Placement) bool { return p.Pool == d.pool })
			if i < 0 {
				continue // unbound meanwhile: the lane has told
			}
			if err := t.auditDoubt(w, room, page[i], items[page[i].Ref], d); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *turn) auditDoubt(w *walk, room int, p stock.Placement, it *Item, d doubt) error {
	p, bound, err := t.tx.Placement(t.st.ID, p.Pool)
	if err != nil || !bound {
		return err
	}
	found, err := t.compare(p, it)
	if err != nil {
		return err
	}
	seen := text(found)
	switch {
	case len(found) == 0:
		return w.found(t.tx, room, inFlight(p))
	case seen == d.seen || strings.HasPrefix(seen, d.seen) || d.looks >= maxLooks:
		return w.all(t, room, found)
	}
	w.again = append(w.again, doubt{pool: d.pool, at: t.now, seen: seen, looks: d.looks + 1})
	return nil
}

// concludeAudit ends an audit: whether anybody need look at it.
func (e *Engine) concludeAudit(ctx context.Context, r *activeRun) error {
	run := e.assemble(r)
	alarms := 0
	var classes, failed []string
	for _, class := range gravity {
		if n := run.Counts[class]; n > 0 && class != agentapi.InFlight {
			alarms += n
			classes = append(classes, fmt.Sprintf("%d %s", n, class))
		}
	}
	for _, s := range run.Stores {
		if s.Error != "" {
			failed = append(failed, s.StoreID)
		}
	}
	var parts []string
	if n := run.Counts[agentapi.InFlight]; n > 0 {
		parts = append(parts, fmt.Sprintf("%d were in flight", n))
	}
	parts = append(parts, capped(run, e.keptOf(r))...)
	switch {
	case len(failed) == len(run.Stores):
		return e.end(ctx, r, agentapi.Failed, "no store could be read: "+run.Stores[0].Error)
	case alarms == 0:
		return e.end(ctx, r, agentapi.Succeeded, strings.Join(append([]string{fmt.Sprintf("%d compared, all as they should be", run.Done)}, parts...), "; "))
	}
	return e.end(ctx, r, agentapi.NeedsAttention, strings.Join(append([]string{fmt.Sprintf("%d compared: %s", run.Done, strings.Join(classes, ", "))}, parts...), "; "))
}

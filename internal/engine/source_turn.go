package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

// sourceTurn is the source's turn within a ledger transaction.
type sourceTurn struct {
	e   *Engine
	tx  Tx
	cfg SourceStore
	now time.Time
	out *effects
}

// itemKey is what a pool of a source's item is found by, beside its SKU.
func itemKey(id string) stock.Key { return stock.Key("\x1f" + id) }

// recount counts the items anew.
func (s *sourceLane) recount(ctx context.Context) error {
	var items []stock.Stocked
	err := s.e.ledger.View(ctx, func(tx Tx) error {
		items = nil
		for after := ""; ; {
			page, err := tx.SourceItems(after, 1000)
			if err != nil {
				return err
			}
			for _, i := range page {
				after = i.ID
				items = append(items, i)
			}
			if len(page) < 1000 {
				return nil
			}
		}
	})
	if err == nil {
		s.count(items)
	}
	return err
}

// locations writes down which locations went away and came back.
func (t *sourceTurn) locations(before, now []stock.SourceLocation) error {
	if len(before) == 0 {
		return nil
	}
	for _, id := range t.e.terms().locations() {
		was, is := locationGone(before, id), locationGone(now, id)
		if was == is {
			continue
		}
		e := stock.Entry{Kind: stock.Supplied, Store: t.cfg.ID, At: t.now, Conflict: is, Cause: ReasonLocationGone,
			Evidence: fmt.Sprintf("location %s is not there any more: nothing is written to the stores mapped to it; map them to another one", id)}
		if !is {
			e.Evidence = fmt.Sprintf("location %s is there again", id)
		}
		if err := t.tx.Append(e); err != nil {
			return err
		}
		for _, store := range t.e.terms().at(id) {
			t.out.wake[store] = true
		}
	}
	return nil
}

// items takes in a list of items; what is not in a whole list is gone. Where that is most of them, it is believed only of
// a list that shrunk before.
func (t *sourceTurn) items(items []stock.SourceItem, whole, before bool) (shrunk bool, err error) {
	skus := map[string]bool{}
	seen := map[string]bool{}
	for _, i := range items {
		seen[i.ID] = true
		if err := t.item(i, skus); err != nil {
			return before, err
		}
	}
	if shrunk = before; whole {
		lacking, of, err := t.lacking(seen)
		if err != nil {
			return before, err
		}
		if shrunk = len(lacking) > fewItems && 2*len(lacking) > of && !before; !shrunk {
			for _, i := range lacking {
				i.Gone = true
				if err := t.item(i, skus); err != nil {
					return before, err
				}
			}
		}
	}
	for sku := range skus {
		if err := t.sharing(sku); err != nil {
			return shrunk, err
		}
	}
	return shrunk, nil
}

// fewItems may go at once without being most of what there is.
const fewItems = 10

// lacking are the items that are there as far as is known and are not in a list, of so many.
func (t *sourceTurn) lacking(seen map[string]bool) (out []stock.SourceItem, of int, err error) {
	for after := ""; ; {
		page, err := t.tx.SourceItems(after, 500)
		if err != nil {
			return nil, 0, err
		}
		for _, i := range page {
			after = i.ID
			if i.Gone {
				continue
			}
			if of++; !seen[i.ID] {
				out = append(out, i.SourceItem)
			}
		}
		if len(page) < 500 {
			return out, of, nil
		}
	}
}

// item takes in what an item is called, and whether it is there.
func (t *sourceTurn) item(i stock.SourceItem, skus map[string]bool) error {
	was, known, err := t.tx.SourceItem(i.ID)
	if err != nil {
		return err
	}
	if known && was.SKU == i.SKU && was.Gone == i.Gone {
		return nil
	}
	now := was
	now.SourceItem = i
	if !known {
		if i.Gone {
			return nil
		}
		if now.Pool, err = t.pool(i); err != nil {
			return err
		}
	} else if was.SKU != i.SKU {
		pool, err := t.tx.Pool(now.Pool)
		if err != nil {
			return err
		}
		pool.SKU = i.SKU
		if err := t.tx.PutPool(pool); err != nil {
			return err
		}
		if err := t.alias(i.SKU, now.Pool); err != nil {
			return err
		}
	}
	skus[was.SKU], skus[i.SKU] = true, true
	if i.Gone {
		// Its sales are nobody's to wait for any more.
		now.Owed = nil
	}
	if err := t.tx.PutSourceItem(now); err != nil {
		return err
	}
	// New items, and old ones under new names, are to be looked for in the shops.
	t.out.listed = true
	why := ""
	switch {
	case i.Gone && known:
		why = "the item is gone from the source, deleted or archived"
	case known && was.SKU != i.SKU:
		why = fmt.Sprintf("the item's SKU in the source is %q now, and was %q", i.SKU, was.SKU)
	default:
		return nil
	}
	return t.unbindAll(now.Pool, why, func(p stock.Placement) bool { return i.Gone || !p.Target.Linked })
}

// pool is the pool of a new item: one that the SKU had before the source was there, or a new one.
func (t *sourceTurn) pool(i stock.SourceItem) (int64, error) {
	id, err := t.tx.PoolOf(itemKey(i.ID))
	if err != nil || id != 0 {
		return id, err
	}
	if key := stock.KeyOf(i.SKU); key != "" {
		if id, err = t.tx.PoolOf(key); err != nil {
			return 0, err
		}
		if _, taken, err := t.tx.SourceItemOf(id); id != 0 && !taken || err != nil {
			return id, err
		}
	}
	sku := i.SKU
	if sku == "" {
		sku = "item " + i.ID
	}
	pool, err := t.tx.NewPool(sku, itemKey(i.ID))
	if err != nil {
		return 0, err
	}
	return pool.ID, t.alias(i.SKU, pool.ID)
}

// alias lets people find a pool by its SKU; of those that differ in case only, the first.
func (t *sourceTurn) alias(sku string, pool int64) error {
	key := stock.KeyOf(sku)
	if key == "" {
		return nil
	}
	if taken, err := t.tx.PoolOf(key); err != nil || taken != 0 {
		return err
	}
	return t.tx.Alias(key, pool)
}

// unbindAll takes the placements of a pool away that are not what the item sells any more.
func (t *sourceTurn) unbindAll(pool int64, why string, which func(stock.Placement) bool) error {
	all, err := t.tx.Placements(pool)
	if err != nil {
		return err
	}
	for _, p := range all {
		if !which(p) {
			continue
		}
		if err := t.tx.DeletePlacement(p.Store, p.Pool); err != nil {
			return err
		}
		if err := t.tx.Append(stock.Entry{Kind: stock.Removed, Store: p.Store, Pool: p.Pool, SKU: p.SKU, Quantity: p.Shown, Evidence: why, At: t.now}); err != nil {
			return err
		}
		t.out.rescan = append(t.out.rescan, p.Store)
	}
	return nil
}

// valueShared, with a SKU, is set while several items carry it.
const valueShared = "shared "

// sharing tells of a SKU that several items carry: nothing says which of them a shop sells, so none is synced.
func (t *sourceTurn) sharing(sku string) error {
	if sku == "" {
		return nil
	}
	live, err := live(t.tx, sku)
	if err != nil {
		return err
	}
	was, err := t.tx.Value("", valueShared+sku)
	if err != nil || (was != "") == (len(live) > 1) {
		return err
	}
	if len(live) < 2 {
		return t.tx.SetValue("", valueShared+sku, "")
	}
	var ids []string
	for _, i := range live {
		ids = append(ids, i.ID)
		if err := t.unbindAll(i.Pool, "several items of the source carry the SKU", func(p stock.Placement) bool { return !p.Target.Linked }); err != nil {
			return err
		}
	}
	if err := t.tx.SetValue("", valueShared+sku, strings.Join(ids, " ")); err != nil {
		return err
	}
	return t.tx.Append(stock.Entry{Kind: stock.Duplicate, Store: t.cfg.ID, Pool: live[0].Pool, SKU: sku, Conflict: true, At: t.now,
		Evidence: fmt.Sprintf("items %s of the source carry the SKU, and nothing tells which of them a shop sells: none is synced; give each its own", strings.Join(ids, ", "))})
}

// live are the items with a SKU that are there.
func live(tx Tx, sku string) ([]stock.Stocked, error) {
	if sku == "" {
		return nil, nil
	}
	all, err := tx.SourceItemsOf(sku)
	return slices.DeleteFunc(all, func(i stock.Stocked) bool { return i.Gone }), err
}

// supplied takes in a reading. asked: something was said to have changed; known: everything at the location was read
// before, so that what had no level then had none.
func (t *sourceTurn) supplied(u stock.Used, asked, known bool) error {
	item, ok, err := t.tx.SourceItem(u.Level.Item)
	if err != nil {
		return err
	}
	if !ok {
		t.out.listed = t.out.listed || asked
		return nil
	}
	before, had := item.Supply(u.Level.Location)
	if had && !asked && before.Same(u.Supply) {
		return nil
	}
	moved := item.Use(u) || !had && asked && known
	reflected, err := t.reflected(&item, u.Level.Location)
	if err != nil {
		return err
	}
	if err := t.tx.PutSourceItem(item); err != nil {
		return err
	}
	if had && !moved && len(reflected) == 0 {
		return t.aim(item, u.Level.Location, false, "")
	}
	t.out.changed = t.out.changed || moved
	why := evidence(item, u)
	if len(reflected) > 0 {
		why += "; the source has " + strings.Join(reflected, ", ") + " now"
	}
	return t.aim(item, u.Level.Location, moved || len(reflected) > 0, why)
}

// evidence says how the number at a location came about.
func evidence(item stock.Stocked, u stock.Used) string {
	text := fmt.Sprintf("%s in stock", u.Level.OnHand)
	if u.Level.Location != "" {
		text += " at location " + u.Level.Location
	}
	text += fmt.Sprintf(", %s held by open orders (%s of WooCommerce)", u.Demand.Open(), u.Demand.WooCommerce)
	if u.Level.HasCommitted && u.Parts() != (stock.Amount{}) {
		text += fmt.Sprintf("; the source itself commits %s, with parts of kits and subassemblies, which do not count", u.Level.Committed)
	}
	if owed := item.Owes(u.Level.Location); owed != 0 {
		text += fmt.Sprintf("; %d sold in shops, of which the source has no order yet", owed)
	}
	return text
}

// reflected ends what is owed at a location of orders that are in its last reading.
func (t *sourceTurn) reflected(item *stock.Stocked, location string) ([]string, error) {
	u, ok := item.Supply(location)
	if !ok {
		return nil, nil
	}
	var ended []string
	for _, o := range slices.Clone(item.Owed) {
		if o.Location != location {
			continue
		}
		has, err := imported(t.tx, o.Store, o.Order, item.ID, u.Step)
		if err != nil {
			return nil, err
		}
		if has {
			o.Units = 0
			item.Owe(o)
			ended = append(ended, fmt.Sprintf("order %d of %s", o.Order, o.Store))
		}
	}
	return ended, nil
}

// imported tells whether a reading of that step holds what a shop's order took of an item.
func imported(tx Tx, store string, order int64, item string, step int64) (bool, error) {
	for _, of := range []string{item, ""} {
		i, ok, err := tx.Import(stock.ShopOrder{Shop: store, ID: fmt.Sprint(order)}, of)
		if err != nil || (ok && i.Step <= step) {
			return err == nil, err
		}
	}
	return false, nil
}

// expire ends the wait for orders that the source should have long since, and says so.
func (t *sourceTurn) expire() error {
	all, err := t.tx.Owing()
	if err != nil {
		return err
	}
	for _, item := range all {
		locations := map[string]bool{}
		for _, o := range slices.Clone(item.Owed) {
			if t.now.Sub(o.Since) < t.cfg.ImportWithin {
				continue
			}
			e := stock.Entry{Kind: stock.Imported, Store: o.Store, Pool: item.Pool, SKU: item.SKU, Units: o.Units, Conflict: true, At: t.now,
				Evidence: fmt.Sprintf("order %d, of %s, is no order of the source after %v, or has no row for the item there: its %d units are not held back any more, and the number goes up by them; enter the order in the source, or take the units off its stock",
					o.Order, o.Created.UTC().Format(time.RFC3339), t.cfg.ImportWithin, o.Units)}
			if err := t.tx.Append(e); err != nil {
				return err
			}
			o.Units = 0
			item.Owe(o)
			locations[o.Location] = true
		}
		if len(locations) == 0 {
			continue
		}
		if err := t.tx.PutSourceItem(item); err != nil {
			return err
		}
		for location := range locations {
			if err := t.aim(item, location, true, "sold units are not held back any more"); err != nil {
				return err
			}
		}
	}
	return nil
}

// aim gives the stores at a location their number, and the pool its own. moved: the item changed there. why says how the
// number came about; without, nothing is written down.
func (t *sourceTurn) aim(item stock.Stocked, location string, moved bool, why string) error {
	return aim(t.e, t.tx, t.out, t.now, t.cfg.ID, item, location, moved, why)
}

func aim(e *Engine, tx Tx, out *effects, now time.Time, cause string, item stock.Stocked, location string, moved bool, why string) error {
	pool, err := tx.Pool(item.Pool)
	if err != nil {
		return err
	}
	terms := e.terms()
	before := pool
	pool.Units, pool.Set = terms.units(item), true
	if pool.Units != before.Units || pool.Set != before.Set {
		if err := tx.PutPool(pool); err != nil {
			return err
		}
	}
	all, err := tx.Placements(item.Pool)
	if err != nil {
		return err
	}
	for _, p := range all {
		st, ok := terms[p.Store]
		if !ok || st.Source == nil || st.Source.Location != location {
			continue
		}
		number, ok := item.Number(location, st.Source.Counts, st.Policy)
		if !ok {
			continue
		}
		shown, planned, was := p.Expected()+p.Todo, p.Enrolled && p.Blocked == "" && p.Target.Known, planOf(p)
		before := p.Target
		p.Retarget(number, moved, st.Policy)
		stock.Plan(pool, &p, st.Policy, now)
		if planned {
			e.drastic(p, shown, now, cause)
		}
		if p.Target == before && planOf(p) == was {
			continue
		}
		if err := tx.PutPlacement(p); err != nil {
			return err
		}
		if p.Todo != 0 {
			out.wake[p.Store] = true
		}
	}
	if why == "" || pool.Units == before.Units && before.Set && !moved {
		return nil
	}
	return tx.Append(stock.Entry{Kind: stock.Supplied, Store: cause, Pool: item.Pool, SKU: pool.SKU, Delta: pool.Units - before.Units, Units: pool.Units,
		Quantity: pool.Units, Evidence: why, At: now})
}

// termsOf are the stores as they are configured.
type termsOf map[string]Store

// terms are the stores that a source feeds, with the policies in force.
func (e *Engine) terms() termsOf {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := termsOf{}
	for id, l := range e.lanes {
		if l.store.Source != nil {
			out[id] = l.store
		}
	}
	return out
}

func (t termsOf) locations() []string {
	var out []string
	for _, st := range t {
		if !slices.Contains(out, st.Source.Location) {
			out = append(out, st.Source.Location)
		}
	}
	slices.Sort(out)
	return out
}

func (t termsOf) at(location string) []string {
	var out []string
	for id, st := range t {
		if st.Source.Location == location {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// units is the pool's number, for people: what all locations that stores are fed from have of an item, less all that open
// orders hold and what is owed.
func (t termsOf) units(item stock.Stocked) int64 {
	sum := int64(0)
	for _, location := range t.locations() {
		if n, ok := item.Number(location, stock.SupplyPolicy{}, stock.Policy{Master: true}); ok {
			sum += n
		}
	}
	return sum
}

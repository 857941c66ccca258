package engine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

// sourced tells whether stock comes from a source.
func (e *Engine) sourced() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.source != nil
}

// sourceSize is how many items the source has.
func (e *Engine) sourceSize() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.source == nil {
		return 0
	}
	return e.source.state.Items
}

// reconfigured lets the source be read for what the stores are set to now.
func (e *Engine) reconfigured() {
	e.mu.Lock()
	s := e.source
	if s != nil {
		if f := e.feeding(); !f.same(s.fed) {
			s.fed, s.fresh = f, true
		}
	}
	e.mu.Unlock()
	if s != nil {
		s.signal.Set()
	}
}

// rescan asks for the catalogues of stores to be gone through: at once, or when they are through with the scan under way.
func (e *Engine) rescan(stores []string) {
	if len(stores) == 0 {
		return
	}
	e.mu.Lock()
	wake := map[string]bool{}
	for _, id := range stores {
		if l := e.lanes[id]; l != nil {
			l.rescan, wake[id] = true, true
		}
	}
	e.mu.Unlock()
	e.wake(wake)
}

// sourceListed follows a list of the source's items.
func (e *Engine) sourceListed(ctx context.Context, out *effects) error {
	if out.listed {
		for _, st := range e.terms() {
			if err := e.configureLinks(ctx, st); err != nil {
				return err
			}
		}
		e.listed()
	}
	e.rescan(out.rescan)
	e.wake(out.wake)
	return nil
}

// untold is an order of the source that stands for a shop's, and its items.
type untold struct {
	items []string
	since time.Time
}

// untoldFor is how long the lines of such an order are waited for.
const untoldFor = time.Hour

// learn links what orders show to be the same: of an order that a shop and the source have, the one product that is
// matched with nothing sells the one item that is. It returns the orders that it need not be asked about again.
func (s *sourceLane) learn(tx Tx, out *effects) (told []stock.ShopOrder, err error) {
	now := s.e.clock.Now()
	for order, u := range s.untold {
		number, err := strconv.ParseInt(order.ID, 10, 64)
		if err != nil {
			told = append(told, order)
			continue
		}
		lines, err := tx.OrderLines(order.Shop, number)
		if err != nil {
			return nil, err
		}
		if len(lines) == 0 && now.Sub(u.since) < untoldFor {
			continue
		}
		told = append(told, order)
		var products []stock.Ref
		for _, l := range lines {
			_, bound, err := tx.PlacementAt(order.Shop, l.Ref.Object())
			if err != nil {
				return nil, err
			}
			if !bound && l.Units != 0 && !slices.Contains(products, l.Ref) {
				products = append(products, l.Ref)
			}
		}
		items, err := unmatched(tx, order.Shop, u.items)
		if err != nil {
			return nil, err
		}
		if len(products) != 1 || len(items) != 1 || len(lines) != len(u.items) {
			continue
		}
		_, linked, err := tx.LinkAt(order.Shop, products[0].Object())
		if err != nil {
			return nil, err
		}
		if _, taken, err := tx.LinkOf(order.Shop, items[0]); linked || taken || err != nil {
			if err != nil {
				return nil, err
			}
			continue
		}
		if err := tx.PutLink(stock.Link{Store: order.Shop, Ref: products[0], Item: items[0], By: stock.LinkedByOrder}); err != nil {
			return nil, err
		}
		out.rescan = append(out.rescan, order.Shop)
	}
	return told, nil
}

// unmatched are those of some items that no item of a store sells.
func unmatched(tx Tx, store string, items []string) ([]string, error) {
	var out []string
	for _, id := range items {
		item, known, err := tx.SourceItem(id)
		if err != nil {
			return nil, err
		}
		if !known {
			continue
		}
		if _, bound, err := tx.Placement(store, item.Pool); err != nil {
			return nil, err
		} else if !bound {
			out = append(out, id)
		}
	}
	return out, nil
}

// itemSold is the item of the source that an item of the shop sells: the one with its SKU, exactly as spelled; or else
// the one it is linked with. None where several items carry the SKU, or the shop's item sells several.
func (t *turn) itemSold(item Item) (found stock.Stocked, linked, ok bool, err error) {
	var bySKU []stock.Stocked
	for _, sku := range item.SKUs {
		if t.st.Excluded != nil && sku != "" && t.st.Excluded(stock.KeyOf(sku)) {
			return stock.Stocked{}, false, false, nil
		}
		live, err := live(t.tx, spelledIn(sku, t.e.ignoresCase()))
		if err != nil {
			return stock.Stocked{}, false, false, err
		}
		if len(live) == 1 && !slices.ContainsFunc(bySKU, func(i stock.Stocked) bool { return i.ID == live[0].ID }) {
			bySKU = append(bySKU, live[0])
		}
	}
	switch len(bySKU) {
	case 0:
	case 1:
		return bySKU[0], false, true, nil
	default:
		return stock.Stocked{}, false, false, t.once(stock.Placement{Store: t.st.ID, Pool: bySKU[0].Pool, SKU: bySKU[0].SKU}, stock.Structure, item.Ref,
			"SKUs that are items of their own in the source share one stock here: give the variations stock of their own, or only one of them a SKU")
	}
	link, there, err := t.tx.LinkAt(t.st.ID, item.Ref.Object())
	if err != nil || !there {
		return stock.Stocked{}, false, false, err
	}
	found, known, err := t.tx.SourceItem(link.Item)
	if err != nil || !known || found.Gone {
		return stock.Stocked{}, false, false, err
	}
	if t.st.Excluded != nil && t.st.Excluded(stock.KeyOf(found.SKU)) {
		return stock.Stocked{}, false, false, nil
	}
	return found, true, true, nil
}

// stillSells keeps a binding in step with what the shop's item is called now. What sells another item of the source, or
// none, is unbound; its twins are looked for.
func (t *turn) stillSells(p stock.Placement, item Item) (stock.Placement, bool, error) {
	found, linked, ok, err := t.itemSold(item)
	if err != nil {
		return p, false, err
	}
	if ok && found.Pool == p.Pool {
		if linked && !p.Target.Linked {
			t.out.rescan = append(t.out.rescan, t.st.ID) // it lost the SKU, and another may have it
		}
		was := p
		p.Target.Linked, p.Target.Created, p.SKU = linked, item.Created, spelled(item, found.SKU)
		if p.Target != was.Target || p.SKU != was.SKU {
			err = t.tx.PutPlacement(p)
		}
		return p, true, err
	}
	return stock.Placement{}, false, t.unbind(p, fmt.Sprintf("product %d does not sell the item any more", item.Ref.Object()))
}

// spelled is the SKU by which people know the item in the shop.
func spelled(item Item, sku string) string {
	if slices.Contains(item.SKUs, sku) || len(item.SKUs) == 0 {
		return sku
	}
	return item.SKUs[0]
}

// match binds an item of the shop to the source's item that it sells; of several with its SKU the one created last, and
// a linked one only where none has the SKU.
func (t *turn) match(item Item) (stock.Placement, bool, error) {
	none := stock.Placement{}
	if item.Managed == Unmanaged && item.StockStatus == "" {
		return none, false, nil // a variable product that holds no stock
	}
	found, linked, ok, err := t.itemSold(item)
	if err != nil || !ok {
		return none, false, err
	}
	p := stock.Placement{Store: t.st.ID, Pool: found.Pool, Ref: item.Ref, SKU: spelled(item, found.SKU), Shown: item.Quantity, ReadAt: t.now,
		Target: stock.Target{Created: item.Created, Linked: linked}}
	if item.Managed == Unmanaged {
		p.Blocked = string(stock.Unmanaged)
	}
	why := "by its SKU"
	if linked {
		why = "by its link: no item here has the SKU"
	}
	old, taken, err := t.tx.Placement(t.st.ID, found.Pool)
	if err != nil {
		return none, false, err
	}
	if taken {
		twins := []stock.Twin{twin(old, found.SKU), twin(p, found.SKU)}
		var link *stock.Ref
		if l, ok, err := t.tx.LinkOf(t.st.ID, found.ID); err != nil {
			return none, false, err
		} else if ok {
			link = &l.Ref
		}
		if chosen, _ := stock.Match(found.SKU, twins, link); chosen != item.Ref {
			return none, false, nil
		}
		why += fmt.Sprintf("; it takes the place of product %d", old.Ref.Object())
		if err := t.tx.DeletePlacement(old.Store, old.Pool); err != nil {
			return none, false, err
		}
		t.out.samples[old.Pool] = nil
	}
	if number, known := found.Number(t.st.Source.Location, t.st.Source.Counts, t.st.Policy); known {
		p.Retarget(number, false, t.st.Policy)
	}
	return p, true, t.tx.Append(stock.Entry{Kind: stock.Matched, Store: t.st.ID, Pool: found.Pool, SKU: p.SKU, Quantity: item.Quantity, At: t.now,
		Evidence: fmt.Sprintf("product %d sells it, matched %s", item.Ref.Object(), why)})
}

// twin is a placement as [stock.Match] compares it.
func twin(p stock.Placement, sku string) stock.Twin {
	if p.Target.Linked {
		sku = ""
	}
	return stock.Twin{Ref: p.Ref, SKU: sku, Created: p.Target.Created}
}

// sold takes in, where a source gives the numbers, that an order holds another number of units. Until the source has an
// order for it, the sale is held back from every shop that is fed from the location. fresh: the line held none before.
func (t *turn) sold(pool stock.Pool, p stock.Placement, l stock.Line, delta int64, fresh bool) error {
	item, known, err := t.tx.SourceItemOf(p.Pool)
	if err != nil {
		return err
	}
	owed, held := int64(0), false
	if known {
		if owed, held, err = t.owe(&item, l, fresh); err != nil {
			return err
		}
	}
	stock.Order(&pool, &p, delta, t.st.Policy, "")
	if !t.st.Policy.OrdersUnreadable && !held {
		// What the source never hears of stands in this shop until the item's next change.
		p.Target.Aside -= delta - owed
	}
	if err := t.save(pool, p, nil); err != nil || owed == 0 {
		return err
	}
	if err := t.tx.PutSourceItem(item); err != nil {
		return err
	}
	if err := aim(t.e, t.tx, t.out, t.now, t.st.ID, item, t.st.Source.Location, true, ""); err != nil {
		return err
	}
	now, err := t.tx.Pool(p.Pool)
	if err != nil {
		return err
	}
	t.out.changed = true
	return t.tx.Append(stock.Entry{Kind: stock.Awaited, Store: t.st.ID, Pool: p.Pool, SKU: p.SKU, Delta: now.Units - pool.Units, Units: owed, Quantity: p.Shown, At: t.now,
		Evidence: fmt.Sprintf("order %d: %+d units are held back from all shops until the source has the order", l.Order, owed)})
}

// owe changes what is owed of a line, and tells by how much. held: a new sale that the source's number holds already.
func (t *turn) owe(item *stock.Stocked, l stock.Line, fresh bool) (change int64, held bool, err error) {
	units := l.Units
	is := func(o stock.Owed) bool { return o.Store == t.st.ID && o.Order == l.Order && o.Line == l.Line }
	location := t.st.Source.Location
	if i := slices.IndexFunc(item.Owed, is); i >= 0 {
		location = item.Owed[i].Location
	} else if !fresh || t.st.Policy.OrdersUnreadable || item.Gone || !t.e.awaitsImports() {
		return 0, false, nil
	}
	u, _ := item.Supply(location)
	has, err := imported(t.tx, t.st.ID, l.Order, item.ID, u.Step)
	if err != nil {
		return 0, false, err
	}
	if has {
		units = 0
	}
	change = item.Owe(stock.Owed{Store: t.st.ID, Location: location, Order: l.Order, Line: l.Line, Units: units, Created: l.Created, Since: t.now})
	return change, has && fresh, nil
}

// ignoresCase tells whether SKUs are compared without regard to case.
func (e *Engine) ignoresCase() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.source != nil && e.source.cfg.IgnoreCase
}

// spelledIn is a SKU as it is kept and compared.
func spelledIn(sku string, ignoreCase bool) string {
	if ignoreCase {
		return strings.ToUpper(strings.TrimSpace(sku))
	}
	return sku
}

// awaitsImports tells whether sales are held back until the source has an order for them.
func (e *Engine) awaitsImports() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.source != nil && e.source.cfg.ImportWithin > 0
}

// configureLinks makes the links that the configuration names, and takes those away that it named before.
func (e *Engine) configureLinks(ctx context.Context, st Store) error {
	if st.Source == nil {
		return nil
	}
	changed := false
	err := e.ledger.Update(ctx, func(tx Tx) error {
		changed = false
		had, err := tx.Links(st.ID)
		if err != nil {
			return err
		}
		wanted := map[int64]stock.Link{}
		for _, c := range st.Source.Links {
			item, ok, err := named(tx, c.Item, c.SKU)
			if err != nil {
				return err
			}
			if ok {
				wanted[c.Ref.Object()] = stock.Link{Store: st.ID, Ref: c.Ref, Item: item.ID, By: stock.LinkedByConfig}
			}
		}
		for _, l := range had {
			if _, still := wanted[l.Ref.Object()]; l.By == stock.LinkedByConfig && !still {
				changed = true
				if err := tx.DeleteLink(st.ID, l.Ref.Object()); err != nil {
					return err
				}
			}
		}
		for _, l := range wanted {
			if slices.Contains(had, l) {
				continue
			}
			changed = true
			if err := tx.PutLink(l); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && changed {
		e.rescan([]string{st.ID})
	}
	return err
}

// named finds an item of the source that is there, by id or else by SKU.
func named(tx Tx, id, sku string) (stock.Stocked, bool, error) {
	if id != "" {
		item, ok, err := tx.SourceItem(id)
		return item, ok && !item.Gone, err
	}
	items, err := live(tx, strings.TrimSpace(sku))
	if err != nil || len(items) != 1 {
		return stock.Stocked{}, false, err
	}
	return items[0], true, nil
}

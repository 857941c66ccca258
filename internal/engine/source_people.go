package engine

import (
	"context"
	"fmt"
	"strconv"

	"stocksync.dev/stocksync/internal/stock"
)

// Difference is one item of the source in one store, for people and spreadsheets. Amounts are decimal, and empty where
// there is none.
type Difference struct {
	Store, Location string
	// Item is the source's id, SKU as spelled there.
	Item, SKU string
	// Matched is SKU or Link, by which Product and Variation sell it; empty where none does.
	Matched            string
	Product, Variation int64
	// InStock and Committed are the source's own figures, Counted the part of open orders that counts for the store, Awaited
	// what was sold in shops and is no order of the source yet. Target is what they make.
	InStock, Committed, Counted, Awaited, Target string
	// Shown is what the store was last seen to show; Difference what a full push would change it by.
	Shown, Difference string
	// Why says why nothing is written, where that is so.
	Why string
}

// Differences tells of every item of the source what a store should show and shows, in the order of the source's ids. It
// reads nothing but the ledger. [ErrUnknown] where no source feeds the store.
func (e *Engine) Differences(ctx context.Context, store string, tell func(Difference) error) error {
	st, ok := e.terms()[store]
	if !ok {
		return refuse(ErrUnknown, "no source feeds a store %q", store)
	}
	for after := ""; ; {
		var page []Difference
		n := 0
		err := e.ledger.View(ctx, func(tx Tx) error {
			page, n = nil, 0
			items, err := tx.SourceItems(after, 500)
			if err != nil {
				return err
			}
			n = len(items)
			for _, i := range items {
				after = i.ID
				if i.Gone {
					continue
				}
				d, err := e.difference(tx, st, i)
				if err != nil {
					return err
				}
				page = append(page, d)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, d := range page {
			if err := tell(d); err != nil {
				return err
			}
		}
		if n < 500 {
			return nil
		}
	}
}

func (e *Engine) difference(tx Tx, st Store, i stock.Stocked) (Difference, error) {
	d := Difference{Store: st.ID, Location: st.Source.Location, Item: i.ID, SKU: i.SKU}
	if u, ok := i.Supply(st.Source.Location); ok {
		d.InStock, d.Counted = u.Level.OnHand.String(), st.Source.Counts.Counted(u.Demand).String()
		if u.Level.HasCommitted {
			d.Committed = u.Level.Committed.String()
		}
		d.Awaited = strconv.FormatInt(i.Owes(st.Source.Location), 10)
	}
	number, known := i.Number(st.Source.Location, st.Source.Counts, st.Policy)
	if known {
		d.Target = strconv.FormatInt(number, 10)
	}
	p, bound, err := tx.Placement(st.ID, i.Pool)
	if err != nil {
		return d, err
	}
	if !bound {
		d.Why, err = e.unmatched(tx, st, i)
		return d, err
	}
	d.Matched, d.Product, d.Variation = "SKU", p.Ref.Product, p.Ref.Variation
	if p.Target.Linked {
		d.Matched = "Link"
	}
	d.Shown = strconv.FormatInt(p.Shown, 10)
	switch {
	case !known:
		d.Why = "the source has given no number for it at this location yet"
		return d, nil
	case p.Blocked != "":
		d.Why = "the item is not counted in the shop (" + p.Blocked + ")"
		return d, nil
	}
	d.Difference = strconv.FormatInt(number-p.Shown, 10)
	switch {
	case number == p.Shown:
	case st.Mode != Sync:
		d.Why = fmt.Sprintf("the store is in mode %s", st.Mode)
	case p.Todo == 0 && !p.Target.Followed:
		d.Why = "it has not changed in the source since it was connected"
	case p.Todo == 0:
		d.Why = "it was changed in the shop, and not in the source since"
	default:
		d.Why = "it is about to be written"
	}
	return d, nil
}

// unmatched says why no item of a store sells an item of the source.
func (e *Engine) unmatched(tx Tx, st Store, i stock.Stocked) (string, error) {
	if i.SKU == "" {
		return "it has no SKU in the source, and no item of the store is linked with it", nil
	}
	same, err := live(tx, i.SKU)
	switch {
	case err != nil:
		return "", err
	case len(same) > 1:
		return "several items of the source carry the SKU: give each its own", nil
	case st.Excluded != nil && st.Excluded(stock.KeyOf(i.SKU)):
		return "the SKU is excluded", nil
	}
	return "no item of the store carries the SKU exactly as spelled, and none is linked with it", nil
}

// Link says which item of a store sells an item of the source where no SKU does, in place of any link of both. The item may
// be named by its id or by its SKU. [ErrUnknown] where there is no such store or item.
func (e *Engine) Link(ctx context.Context, l stock.Link) error {
	if _, ok := e.terms()[l.Store]; !ok {
		return refuse(ErrUnknown, "no source feeds a store %q", l.Store)
	}
	if l.Ref.Product <= 0 || l.Ref.Variation < 0 {
		return refuse(ErrInvalidRequest, "a link names the product by its id, and the variation where there is one")
	}
	err := e.ledger.Update(ctx, func(tx Tx) error {
		item, ok, err := named(tx, l.Item, "")
		if err == nil && !ok {
			item, ok, err = named(tx, "", l.Item)
		}
		if err != nil {
			return err
		}
		if !ok {
			return refuse(ErrUnknown, "the source has no item with the id or, once, the SKU %q", l.Item)
		}
		link := l
		link.Item = item.ID
		return tx.PutLink(link)
	})
	if err == nil {
		e.rescan([]string{l.Store})
	}
	return err
}

// Unlink takes a link away; the item is written no more unless it has the SKU.
func (e *Engine) Unlink(ctx context.Context, store string, ref stock.Ref) error {
	err := e.ledger.Update(ctx, func(tx Tx) error {
		if _, ok, err := tx.LinkAt(store, ref.Object()); err != nil || !ok {
			if err == nil {
				err = refuse(ErrUnknown, "store %s has no link of product %d", store, ref.Object())
			}
			return err
		}
		return tx.DeleteLink(store, ref.Object())
	})
	if err == nil {
		e.rescan([]string{store})
	}
	return err
}

// Links are those of a store, by product or variation id.
func (e *Engine) Links(ctx context.Context, store string) ([]stock.Link, error) {
	var links []stock.Link
	err := e.ledger.View(ctx, func(tx Tx) (err error) {
		links, err = tx.Links(store)
		return err
	})
	return links, err
}

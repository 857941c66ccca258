package engine

import (
	"context"

	"stocksync.dev/stocksync/internal/stock"
)

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

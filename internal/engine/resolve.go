package engine

import (
	"context"
	"fmt"
	"strings"

	"stocksync.dev/stocksync/internal/stock"
)

// Resolve sets a SKU's pool to a number a person chose, and lets it be written again. What shops do from now
// on is counted on top.
func (e *Engine) Resolve(ctx context.Context, sku string, units int64) error {
	return e.settle(ctx, []string{sku}, func(Tx, stock.Pool) (int64, string, error) {
		return units, "a person chose the number", nil
	})
}

// Accept sets the pools of SKUs so that what the store showed last is what it should show: all of them, or none
// where that cannot be for one, or while one is being written there. They may be written again, as after [Engine.Resolve].
func (e *Engine) Accept(ctx context.Context, store string, skus ...string) error {
	policy := e.policy(store)
	return e.settle(ctx, skus, func(tx Tx, pool stock.Pool) (int64, string, error) {
		p, found, err := tx.Placement(store, pool.ID)
		switch {
		case err != nil:
			return 0, "", err
		case !found || p.ReadAt.IsZero():
			return 0, "", fmt.Errorf("SKU %q in store %q: %w; choose a store that has the SKU, or give the number", pool.SKU, store, ErrNotFound)
		case p.Blocked != "":
			return 0, "", fmt.Errorf("SKU %q in store %q: %w: it has no number there (%s); choose another store, or give the number", pool.SKU, store, ErrNotFound, p.Blocked)
		case p.Writing():
			return 0, "", refuse(ErrInvalidRequest, "SKU %q is being written in store %s, so what it shows will change: ask again when `history` shows the answer, or give the number", pool.SKU, store)
		}
		return policy.PoolFor(p.Shown), "a person chose the number " + store + " shows", nil
	})
}

// settle sets pools to numbers people chose, in one transaction.
func (e *Engine) settle(ctx context.Context, skus []string, choose func(Tx, stock.Pool) (units int64, why string, err error)) error {
	if e.sourced() {
		return refuse(ErrInvalidRequest, "the numbers come from the source: change the stock there, and dismiss the row")
	}
	var out *effects
	err := e.ledger.Update(ctx, func(tx Tx) error {
		out = newEffects()
		t := &turn{e: e, tx: tx, now: e.clock.Now(), out: out}
		for _, sku := range skus {
			id, err := tx.PoolOf(stock.KeyOf(sku))
			if err != nil {
				return err
			}
			if id == 0 {
				return fmt.Errorf("SKU %q: %w; it must be the SKU of an item of the master", strings.TrimSpace(sku), ErrNotFound)
			}
			pool, err := tx.Pool(id)
			if err != nil {
				return err
			}
			units, why, err := choose(tx, pool)
			if err != nil {
				return err
			}
			if err := t.choose(id, units, why); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.wake(out.wake)
	return nil
}

// choose sets a pool to a number, whatever it was, and lets it be written again.
func (t *turn) choose(id, units int64, why string) error {
	pool, err := t.tx.Pool(id)
	if err != nil {
		return err
	}
	entry := stock.Entry{Kind: stock.Resolved, Pool: id, SKU: pool.SKU, Delta: units - pool.Units, Units: units, Evidence: why, At: t.now}
	pool.Units, pool.Set, pool.Stopped, pool.Edits = units, true, "", nil
	if err := t.tx.PutPool(pool); err != nil {
		return err
	}
	if err := t.tx.Append(entry); err != nil {
		return err
	}
	return t.replan(pool)
}

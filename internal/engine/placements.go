package engine

import (
	"context"
	"iter"

	"stocksync.dev/stocksync/internal/stock"
)

// pageSize bounds what is read of a list at once.
const pageSize = 100

// listing is a query of the ledger that lists placements of a store, by pool, after one.
type listing func(tx Tx, store string, after int64, limit int) ([]stock.Placement, error)

// placements are all of a listing. An error is the last of them.
func placements(tx Tx, store string, list listing) iter.Seq2[stock.Placement, error] {
	return paged(func(after int64) ([]stock.Placement, error) { return list(tx, store, after, pageSize) })
}

// placements are all of a listing, each page of it in a transaction of its own.
func (l *lane) placements(ctx context.Context, st Store, list listing) iter.Seq2[stock.Placement, error] {
	return paged(func(after int64) (page []stock.Placement, err error) {
		err = l.e.ledger.View(ctx, func(tx Tx) error {
			page, err = list(tx, st.ID, after, pageSize)
			return err
		})
		return page, err
	})
}

func paged(next func(after int64) ([]stock.Placement, error)) iter.Seq2[stock.Placement, error] {
	return func(yield func(stock.Placement, error) bool) {
		for after := int64(0); ; {
			page, err := next(after)
			if err != nil {
				yield(stock.Placement{}, err)
				return
			}
			for _, p := range page {
				if after = p.Pool; !yield(p, nil) {
					return
				}
			}
			if len(page) < pageSize {
				return
			}
		}
	}
}

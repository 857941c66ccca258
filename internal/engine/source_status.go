package engine

import (
	"context"
	"maps"
	"slices"
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

// SourceStatus is what is known of the source; false where a store is the master.
func (e *Engine) SourceStatus(ctx context.Context) (SourceState, bool, error) {
	e.mu.Lock()
	if e.source == nil {
		e.mu.Unlock()
		return SourceState{}, false, nil
	}
	s, driver := e.source.state, e.source.cfg.Driver
	e.mu.Unlock()
	s.Budget = driver.Budget()
	s.Locations, s.Doubted = slices.Clone(s.Locations), slices.Clone(s.Doubted)
	err := e.ledger.View(ctx, func(tx Tx) error { return s.count(tx) })
	return s, true, err
}

// count fills in what the ledger knows.
func (s *SourceState) count(tx Tx) error {
	s.Awaited, s.AwaitedUnits, s.AwaitedSince = 0, 0, time.Time{}
	for i, d := range s.Doubted {
		item, _, err := tx.SourceItem(d.Item)
		if err != nil {
			return err
		}
		s.Doubted[i].SKU = item.SKU
	}
	owing, err := tx.Owing()
	for _, i := range owing {
		for _, o := range i.Owed {
			s.Awaited++
			s.AwaitedUnits += o.Units
			s.AwaitedSince = earlier(s.AwaitedSince, o.Since)
		}
	}
	return err
}

// count puts into the state how many items there are, which SKUs several carry, and of how many more is committed than
// orders hold.
func (s *sourceLane) count(items []stock.Stocked) {
	there, elsewhere := 0, 0
	named := make([]stock.SourceItem, 0, len(items))
	for _, i := range items {
		if i.Gone {
			continue
		}
		there++
		named = append(named, i.SourceItem)
		if slices.ContainsFunc(i.Supplies, committedElsewhere) {
			elsewhere++
		}
	}
	shared := slices.Sorted(maps.Keys(stock.SharedSKUs(named)))
	s.note(func(st *SourceState) {
		st.Items, st.CommittedElsewhere = there, elsewhere
		st.SharedCount, st.Shared = len(shared), shared[:min(len(shared), maxNamed)]
	})
}

// committedElsewhere tells whether the source commits more than open orders hold of the item itself.
func committedElsewhere(u stock.Used) bool {
	return u.Level.HasCommitted && u.Parts().Cmp(stock.Amount{}) > 0
}

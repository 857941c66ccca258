package engine

import (
	"context"
	"maps"
	"slices"

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
	s.Items, s.CommittedElsewhere, s.Awaited, s.AwaitedUnits = 0, 0, 0, 0
	bySKU := map[string]int{}
	for after := ""; ; {
		page, err := tx.SourceItems(after, 1000)
		if err != nil {
			return err
		}
		for _, i := range page {
			after = i.ID
			if i.Gone {
				continue
			}
			s.Items++
			if i.SKU != "" {
				bySKU[i.SKU]++
			}
			if slices.ContainsFunc(i.Supplies, committedElsewhere) {
				s.CommittedElsewhere++
			}
		}
		if len(page) < 1000 {
			break
		}
	}
	maps.DeleteFunc(bySKU, func(_ string, items int) bool { return items < 2 })
	shared := slices.Sorted(maps.Keys(bySKU))
	s.SharedCount, s.Shared = len(shared), shared[:min(len(shared), maxNamed)]
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

// committedElsewhere tells whether the source commits more than open orders hold of the item itself.
func committedElsewhere(u stock.Used) bool {
	return u.Level.HasCommitted && u.Parts().Cmp(stock.Amount{}) > 0
}

package engine

import (
	"context"
	"slices"
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

// fieldsOf are the fields of an item beside its quantity. A store that does not say how it takes backorders says
// nothing of them at all.
func fieldsOf(item Item) stock.Values {
	v := stock.Values{stock.Status: item.StockStatus}
	switch {
	case item.Fractional, item.Backorders == "" && item.StockStatus == "":
		return stock.Values{}
	case item.Managed == Unmanaged && item.StockStatus == "":
		// A variable product: neither its stock nor its status is its own.
	case item.Managed == Unmanaged:
		v[stock.Management] = stock.No
	default:
		v[stock.Management] = stock.Yes
		if item.Backorders != "" {
			v[stock.Backorders], v[stock.LowStock] = item.Backorders, stock.LowStockValue(item.LowStockAmount)
		}
	}
	return v
}

// fieldReading dates an item's fields on our clock; before is when it was read the last time.
func (t *turn) fieldReading(item Item, before time.Time) stock.FieldReading {
	r := stock.FieldReading{Values: fieldsOf(item), Quantity: item.Quantity, Modified: item.Modified, Before: before}
	if !item.Modified.IsZero() {
		r.At = item.Modified.Add(-t.skew)
	}
	return r
}

// fields takes in what a reading shows beside the quantity.
func (t *turn) fields(pool *stock.Pool, p *stock.Placement, item Item, before time.Time) []stock.Entry {
	if t.st.Source != nil {
		return nil // a source has numbers only
	}
	return stock.MergeFields(pool, p, t.fieldReading(item, before), t.st.Mode == Sync, t.st.Policy, t.now)
}

// answeredFields is [turn.fields] for the answer to a write.
func (t *turn) answeredFields(pool *stock.Pool, p *stock.Placement, wrote stock.Values, item Item, before stock.Placement) []stock.Entry {
	if t.st.Source != nil {
		p.Shelf.Rewrite = false
		return nil
	}
	return stock.AnsweredFields(pool, p, wrote, before.Shelf.Rederive, t.fieldReading(item, before.ReadAt), t.st.Mode == Sync, t.st.Policy, t.now)
}

// due are the placements to write now: first those whose quantity differs, then those that differ in a field. Where
// there are some and the store is given a rest it returns until when.
func (l *lane) due(ctx context.Context, st Store, now time.Time) (batch []stock.Placement, until time.Time, err error) {
	err = l.e.ledger.View(ctx, func(tx Tx) error {
		for looked := BatchSize; ; looked *= lookAhead {
			due, err := tx.Due(st.ID, looked)
			if err != nil {
				return err
			}
			more := len(due) == looked
			if !more {
				unlike, err := tx.Unlike(st.ID, BatchSize)
				if err != nil {
					return err
				}
				for _, p := range unlike {
					if !slices.ContainsFunc(due, func(d stock.Placement) bool { return d.Pool == p.Pool }) {
						due = append(due, p)
					}
				}
			}
			batch, until = l.pace.next(due, now)
			if len(batch) == 0 || len(batch) == l.pace.size() || !more || looked > BatchSize {
				return nil
			}
		}
	})
	return batch, until, err
}

// fieldsDue records what is about to be written of the fields.
func fieldsDue(pool stock.Pool, p *stock.Placement, st Store, now time.Time) stock.Values {
	stock.Plan(pool, p, st.Policy, now)
	if !stock.MayWriteFields(pool, *p) {
		return stock.Values{}
	}
	return stock.BeginFields(p, now)
}

// unitsDue are the units of the numbered push to send, if one is. An item that begins to manage its stock gets all
// of it that way, so that a request which lands twice or late is known again; enrolment does the rest. One that
// stops gets none.
func unitsDue(pool stock.Pool, p stock.Placement, fields stock.Values, st Store) (units int64, numbered bool) {
	switch fields[stock.Management] {
	case stock.Yes:
		return stock.Wanted(pool, st.Policy), true
	case stock.No:
		return 0, false
	}
	// What is written once more gets a marker again, and no units where none are due.
	return p.Todo, stock.MayPush(pool, p) || (p.Shelf.Rewrite && p.Blocked == "")
}

// told takes in the answer to a write that was no push of a counted item: of fields alone, or of one that begins or
// stops to manage its stock. Its quantity waits for a reading: only the answer to a numbered push of a counted item
// proves anything.
func (t *turn) told(p *stock.Placement, sent stock.Attempt, item Item) []stock.Entry {
	if !p.Enrolled {
		stock.Unsent(p, sent.ID)
	}
	switch {
	case item.Managed == Unmanaged && p.Blocked == "":
		p.Disenroll(string(stock.Unmanaged))
		t.out.samples[p.Pool] = nil
		return []stock.Entry{{Kind: stock.Unmanaged, Store: p.Store, Pool: p.Pool, SKU: p.SKU, Quantity: p.Shown, Evidence: "it manages no stock any more, as in the master"}}
	case item.Managed != Unmanaged && p.Blocked == string(stock.Unmanaged):
		p.Blocked, p.Shown, p.ReadAt = "", item.Quantity, t.now
	}
	return nil
}

// plan is what is to be written to a placement.
type plan struct {
	units    int64
	fields   stock.Values
	rederive bool
	name     string
}

func planOf(p stock.Placement) plan {
	return plan{p.Todo, p.Shelf.Todo, p.Shelf.Rederive, p.Naming.Todo}
}

// counted tells whether the placement ever held a quantity of the pool's.
func counted(p stock.Placement) bool {
	return p.Enrolled || p.Contained != 0 || p.Known != [stock.Slots]int64{} || len(p.Attempts) > 0
}

// absorb moves the SKUs of a pool that never had a number to another: items that managed no stock share one now.
// It tells whether that could be done.
func (t *turn) absorb(from, to int64) (bool, error) {
	pool, err := t.tx.Pool(from)
	if err != nil || pool.Set {
		return false, err
	}
	all, err := t.tx.Placements(from)
	if err != nil || slices.ContainsFunc(all, counted) {
		return false, err
	}
	keys, err := t.tx.Keys(from)
	if err != nil {
		return false, err
	}
	for _, p := range all {
		if err := t.tx.DeletePlacement(p.Store, p.Pool); err != nil {
			return false, err
		}
	}
	for _, key := range keys {
		if err := t.tx.Rekey(key, to); err != nil {
			return false, err
		}
	}
	return true, nil
}

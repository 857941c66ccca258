package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/event"
	"stocksync.dev/stocksync/internal/stock"
)

const (
	// surgeWindow is how long drastic changes count as one. While one gathers, writes wait until none has come
	// for surgeQuiet, so that it is judged as a whole; not longer than surgeLongest, for it may be a rush of sales.
	surgeWindow  = 5 * time.Minute
	surgeQuiet   = 15 * time.Second
	surgeLongest = time.Minute
	// countSKUs is how often the SKUs are counted anew.
	countSKUs = time.Minute

	valueBreaker = "breaker"
)

// surge is what changed drastically lately: one mark for each pool. Guarded by the engine's mutex.
type surge struct {
	seen      map[int64]drastic
	last      time.Time
	heldSince time.Time
	of        int
	countedAt time.Time
}

type drastic struct {
	kind  stock.Drastic
	at    time.Time
	store string
}

// Breaker is the trip that holds the writes of all stores, nil if none does.
func (e *Engine) Breaker(ctx context.Context) (*agentapi.Breaker, error) {
	var b *agentapi.Breaker
	err := e.ledger.View(ctx, func(tx Tx) (err error) {
		b, err = tripped(tx)
		return err
	})
	return b, err
}

func tripped(tx Tx) (*agentapi.Breaker, error) {
	text, err := tx.Value("", valueBreaker)
	if err != nil || text == "" {
		return nil, err
	}
	b := &agentapi.Breaker{}
	return b, json.Unmarshal([]byte(text), b)
}

// ApproveTrip lets through what the trip of this id holds, and nothing else: the id of another trip, past or
// made up, is [ErrUnknown].
func (e *Engine) ApproveTrip(ctx context.Context, id string) error {
	err := e.ledger.Update(ctx, func(tx Tx) error {
		b, err := tripped(tx)
		switch {
		case err != nil:
			return err
		case b == nil:
			return refuse(ErrUnknown, "the circuit breaker has not tripped: nothing is held, and there is nothing to approve")
		case b.TripID != id:
			return refuse(ErrUnknown, "%q is not the trip that holds the writes: that one is %s, since %s", id, b.TripID, b.Since.Format(time.RFC3339))
		}
		if err := tx.SetValue("", valueBreaker, ""); err != nil {
			return err
		}
		return tx.Append(stock.Entry{Kind: event.BreakerApproved, Store: b.Store, Units: int64(b.Zeroed + b.Multiplied), At: e.clock.Now(),
			Evidence: fmt.Sprintf("a person approved trip %s: %d SKUs to zero, %d multiplied", b.TripID, b.Zeroed, b.Multiplied)})
	})
	if err != nil {
		return err
	}
	e.mu.Lock()
	clear(e.surge.seen)
	all := map[string]bool{}
	for id := range e.lanes {
		all[id] = true
	}
	e.mu.Unlock()
	e.wake(all)
	return nil
}

// drastic notes that a placement, planned to show so much before, is planned anew, within the transaction that
// does so: no lane can write it before it is known here. A restart forgets what was noted.
func (e *Engine) drastic(p stock.Placement, before int64, now time.Time, cause string) {
	after := p.Contained + p.Counted + p.Todo
	if p.Shelf.Todo[stock.Management] == stock.No {
		after = 0 // the shop is about to forget its quantity
	}
	kind := stock.DrasticChange(before, after)
	if kind == stock.Ordinary {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.surge.seen[p.Pool] = drastic{kind, now, cause}
	e.surge.last = now
}

// held tells whether writes are held at present, and if only for a while until when. It is asked in the
// transaction that begins them. When what gathered is too large it trips.
func (e *Engine) held(tx Tx, now time.Time) (held bool, until time.Time, err error) {
	b, err := tripped(tx)
	if err != nil || b != nil {
		return b != nil, now.Add(idle), err
	}
	e.mu.Lock()
	if len(e.surge.seen) == 0 {
		e.mu.Unlock()
		return false, now, nil
	}
	limit, last := e.limits.Breaker, e.surge.last
	seen := maps.Clone(e.surge.seen)
	master := ""
	for id, l := range e.lanes {
		if l.store.Policy.Master {
			master = id
		}
	}
	for pool, d := range seen {
		if limit.Disabled || now.Sub(d.at) > surgeWindow {
			delete(e.surge.seen, pool)
			delete(seen, pool)
		}
	}
	of, counted := e.surge.of, e.surge.countedAt
	e.mu.Unlock()
	if !limit.Gathers(len(seen), 0) {
		e.mu.Lock()
		e.surge.heldSince = time.Time{}
		e.mu.Unlock()
		return false, now, nil
	}
	if now.Sub(counted) >= countSKUs || of == 0 {
		if master == "" {
			of = e.sourceSize()
		} else {
			var stats Stats
			stats, err = tx.Stats(master)
			of = stats.Placements
		}
		if err != nil {
			return false, now, err
		}
		e.mu.Lock()
		e.surge.of, e.surge.countedAt = of, now
		e.mu.Unlock()
	}
	if limit.Trips(len(seen), of) {
		return true, now.Add(idle), e.trip(tx, seen, of, now)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !limit.Gathers(len(seen), of) {
		e.surge.heldSince = time.Time{}
		return false, now, nil
	}
	if e.surge.heldSince.IsZero() {
		e.surge.heldSince = now
	}
	until = earlier(last.Add(surgeQuiet), e.surge.heldSince.Add(surgeLongest))
	return now.Before(until), until, nil
}

// trip keeps what was seen, under an id that was never given before.
func (e *Engine) trip(tx Tx, seen map[int64]drastic, of int, now time.Time) error {
	attempt, err := tx.NextAttempt()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", e.ledgerID, attempt, now.UnixNano()))
	b := agentapi.Breaker{TripID: hex.EncodeToString(sum[:6]), Since: now.UTC(), Of: of}
	stores := map[string]bool{}
	for _, d := range seen {
		stores[d.store] = true
		if d.kind == stock.Zeroed {
			b.Zeroed++
		} else {
			b.Multiplied++
		}
	}
	from := ""
	if len(stores) == 1 {
		for id := range stores {
			b.Store, from = id, " at store "+id
		}
	}
	b.Message = fmt.Sprintf("a change%s would bring %d of %d SKUs to zero and multiply %d by %d or more: nothing is written to any store, and sales go on being counted. "+
		"Undo the change in the shop if it is wrong; then, or if it is right, approve trip %s", from, b.Zeroed, of, b.Multiplied, stock.BreakerFactor, b.TripID)
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	if err := tx.SetValue("", valueBreaker, string(text)); err != nil {
		return err
	}
	e.log.Info("the circuit breaker has tripped", "trip", b.TripID, "zeroed", b.Zeroed, "multiplied", b.Multiplied, "of", of, "from", b.Store)
	return tx.Append(stock.Entry{Kind: event.BreakerTripped, Store: b.Store, Units: int64(b.Zeroed + b.Multiplied), Evidence: fmt.Sprintf("trip %s: %s", b.TripID, b.Message), At: now})
}

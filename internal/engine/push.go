package engine

import (
	"context"
	"errors"
	"maps"
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

// push writes the most urgent of what is due, in one request. Every attempt is durable before its request is sent.
// Where writes are held for a while it returns until when.
func (l *lane) push(ctx context.Context, st Store) (pushed bool, until time.Time, err error) {
	if st.Mode != Sync || !l.mayWrite() || !l.e.beginWriting(st.ID) {
		return false, time.Time{}, nil
	}
	defer l.e.endWriting(st.ID)
	var sent []stock.Attempt
	var pushes []Push
	var pools []int64
	now := l.e.clock.Now()
	due, until, err := l.due(ctx, st, now)
	if err != nil || len(due) == 0 {
		return false, until, err
	}
	err = l.e.ledger.Update(ctx, func(tx Tx) error {
		sent, pushes, pools, until = nil, nil, nil, time.Time{}
		if held, next, err := l.e.held(tx, now); held || err != nil {
			until = next
			return err
		}
		for _, d := range due {
			push, a, ok, err := l.begin(tx, st, d.Pool, now)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			sent, pools, pushes = append(sent, a), append(pools, d.Pool), append(pushes, push)
		}
		return nil
	})
	if err != nil || len(pushes) == 0 {
		return false, until, err
	}
	began := l.e.clock.Now()
	results := st.Driver.Push(ctx, pushes)
	ended := l.e.clock.Now()
	l.tell(due, pools, pushes, results)
	l.pace.learn(len(pushes), ended.Sub(began), faultOf(results), ended)
	return true, time.Time{}, l.answered(ctx, st, pools, sent, pushes, results)
}

// begin records what is about to be written to a placement; false where nothing is.
func (l *lane) begin(tx Tx, st Store, id int64, now time.Time) (push Push, a stock.Attempt, ok bool, err error) {
	p, bound, err := tx.Placement(st.ID, id)
	if err != nil {
		return push, a, false, err
	}
	pool, err := tx.Pool(id)
	if err != nil || !bound {
		return push, a, false, err
	}
	fields := fieldsDue(pool, &p, st, now)
	units, numbered := unitsDue(pool, p, fields, st)
	if !numbered && !p.Shelf.Due() {
		return push, a, false, nil
	}
	if pool.GID == "" && st.Source == nil {
		pool.GID = stock.NewGID()
		if err := tx.PutPool(pool); err != nil {
			return push, a, false, err
		}
	}
	push = Push{Ref: p.Ref, Fields: fields, GID: pool.GID}
	if numbered {
		attempt, err := tx.NextAttempt()
		if err != nil {
			return push, a, false, err
		}
		todo := p.Todo
		p.Todo = units
		a = stock.Begin(&p, attempt, now)
		p.Todo = todo
		push.Units, push.Slot = a.Units, a.Slot
		push.Marker = stock.Marker{Ledger: l.e.ledgerID, Pool: p.Pool, Store: st.ID, Product: p.Ref.Object(), Attempt: attempt, At: now}
	}
	return push, a, true, tx.PutPlacement(p)
}

// tell has the log say of each SKU what was sent, and what came of it unless it was answered: the history says that.
func (l *lane) tell(due []stock.Placement, pools []int64, pushes []Push, results []Result) {
	if !l.log.V(1).Enabled() {
		return
	}
	skus := map[int64]string{}
	for _, p := range due {
		skus[p.Pool] = p.SKU
	}
	for i, p := range pushes {
		sku := skus[pools[i]]
		log := l.log.V(1).WithValues("key", stock.KeyOf(sku), "sku", sku, "pool", pools[i], "units", p.Units, "attempt", p.Marker.Attempt)
		if err := results[i].Err; err != nil {
			log.Info("sent, not answered", "error", err.Error())
			continue
		}
		log.Info("sent")
	}
}

// faultOf is the fault of a request of which no item was answered.
func faultOf(results []Result) (f *Fault) {
	for _, r := range results {
		if r.Item != nil || r.Gone || !r.Window.To.IsZero() {
			return nil
		}
		if f == nil {
			_ = errors.As(r.Err, &f)
		}
	}
	return f
}

// answered takes in the outcome of a batch. What was not answered is read again before anything else is
// pushed there.
//
//nolint:gocognit // one table of what an answer can mean
func (l *lane) answered(ctx context.Context, st Store, pools []int64, sent []stock.Attempt, pushes []Push, results []Result) error {
	var failure error
	var recheck map[int64]stock.Ref
	moved, acked := false, false
	ends := map[PushResult]int{}
	err := l.take(context.WithoutCancel(ctx), st, func(t *turn) error {
		failure, recheck, moved, acked = nil, map[int64]stock.Ref{}, false, false
		clear(ends)
		relative, err := t.tx.Value(st.ID, valueRelative)
		if err != nil {
			return err
		}
		proven := relative == relativeWorks
		for i, r := range results {
			p, bound, err := t.tx.Placement(st.ID, pools[i])
			if err != nil {
				return err
			}
			if !bound || p.Ref != pushes[i].Ref {
				continue
			}
			pool, err := t.tx.Pool(p.Pool)
			if err != nil {
				return err
			}
			var f *Fault
			switch {
			case r.Gone:
				ends[Gone]++
				if err := t.gone(p.Ref); err != nil {
					return err
				}
				continue
			case r.Err != nil && errors.As(r.Err, &f) && f.Unsent:
				failure = r.Err
				ends[Unsent]++
				stock.Unsent(&p, sent[i].ID)
				stock.UnsentFields(&p, pushes[i].Fields)
				if err := t.save(pool, p, nil); err != nil {
					return err
				}
				continue
			case r.Err != nil || r.Item == nil:
				if r.Err != nil {
					failure = r.Err
				}
				ends[Unanswered]++
				recheck[p.Pool] = p.Ref
				continue
			}
			acked = true
			ends[Acknowledged]++
			before := p
			reading := t.reading(*r.Item, r.Window)
			var entries []stock.Entry
			switch {
			case sent[i].ID == 0 || pushes[i].Fields[stock.Management] != "":
				entries = t.told(&p, sent[i], *r.Item)
				entries = append(entries, t.answeredFields(&pool, &p, pushes[i].Fields, *r.Item, before)...)
				if err := t.save(pool, p, entries); err != nil {
					return err
				}
				continue
			case r.Item.Managed == Unmanaged || r.Item.Fractional:
				// The marker is there and the quantity is not ours: read it again to say why.
				stock.Unsent(&p, sent[i].ID)
				p.Disenroll(string(stock.Unmanaged))
				recheck[p.Pool] = p.Ref
			case !proven && sent[i].Units != 0 && r.Item.Quantity == before.Shown:
				// Until a push has moved a quantity here, this store may ignore relative updates: proof decides.
				if err := t.tx.SetValue(st.ID, valueRelative, suspect(sent[i].ID, again(relative))); err != nil {
					return err
				}
				entries = stock.Merge(&pool, &p, reading, t.e.ledgerID, t.st.Policy, t.now)
			default:
				moved = moved || sent[i].Units != 0
				entries = stock.Answered(&pool, &p, sent[i].ID, reading, r.Item.Modified, t.e.ledgerID, t.st.Policy, t.now)
			}
			entries = append(entries, t.answeredFields(&pool, &p, pushes[i].Fields, *r.Item, before)...)
			t.sample(before, p, *r.Item, r.Window)
			if err := t.save(pool, p, entries); err != nil {
				return err
			}
		}
		if moved && !proven {
			return t.tx.SetValue(st.ID, valueRelative, relativeWorks)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for how, n := range ends {
		l.e.observer.Pushed(l.id, how, n)
	}
	maps.Copy(l.recheck, recheck)
	if acked {
		now := l.e.clock.Now()
		l.note(func(s *StoreState) { s.LastOutbound = now })
		l.succeeded(results[0].Window)
	}
	return failure
}

// mayWrite tells whether the store as a whole may be written: another ledger's markers pause it, and so does
// proof that it ignores relative updates, and so does the end of the location it is mapped to.
func (l *lane) mayWrite() bool {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	if src := l.e.source; src != nil && l.store.Source != nil && locationGone(src.state.Locations, l.store.Source.Location) {
		return false
	}
	return l.state.ClaimedBy == "" && !l.state.RelativeUnsupported
}

func (l *lane) succeeded(w stock.Window) {
	l.contact.succeeded()
	now := l.e.clock.Now()
	l.note(func(s *StoreState) {
		if !w.To.IsZero() && !l.peer.clock.Known() {
			s.Skew = w.To.Sub(now)
		}
	})
}

func (l *lane) note(change func(*StoreState)) {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	change(&l.state)
}

// skew is how far the store's clock is ahead of ours.
func (l *lane) skew() time.Duration {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	return l.state.Skew
}

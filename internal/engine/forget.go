package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"stocksync.dev/stocksync/internal/event"
	"stocksync.dev/stocksync/internal/stock"
)

// forget is the removal of our markers from a store. Guarded by the engine's mutex.
type forget struct {
	cursor string
	count  int
	next   time.Time
	done   bool
	err    error
	signal Signal
}

// Rescan has whole catalogues read again, of all stores or of those named, which finds new items and duplicate
// SKUs. [ErrUnknown] names the stores there are.
func (e *Engine) Rescan(stores ...string) error {
	return e.nudge(stores, func(l *lane) { l.rescan = true })
}

// Retry ends the back-off of all stores, or of those named, and polls them at once. [ErrUnknown] names the
// stores there are.
func (e *Engine) Retry(stores ...string) error {
	return e.nudge(stores, func(l *lane) { l.retry = true })
}

// nudge changes lanes and wakes them.
func (e *Engine) nudge(stores []string, change func(*lane)) error {
	e.mu.Lock()
	ids := e.ids()
	for _, id := range stores {
		if e.lanes[id] == nil {
			e.mu.Unlock()
			return refuse(ErrUnknown, "there is no store %q: the stores are %s", id, strings.Join(ids, ", "))
		}
	}
	if len(stores) == 0 {
		stores = ids
	}
	wake := map[string]bool{}
	for _, id := range stores {
		change(e.lanes[id])
		wake[id] = true
	}
	e.mu.Unlock()
	e.wake(wake)
	return nil
}

// Forget removes our markers from every item of a store in mode Off or Observe and forgets what the ledger knows
// of the store, so that it would be taken up anew. The pools keep what the store did. It returns the number of
// items that carried markers. When ctx ends the removal stops; asked again it finishes.
func (e *Engine) Forget(ctx context.Context, store string) (int, error) {
	f := &forget{signal: e.clock.NewSignal()}
	e.mu.Lock()
	l, ids := e.lanes[store], e.ids()
	err := error(nil)
	switch {
	case l == nil:
		err = refuse(ErrUnknown, "there is no store %q: the stores are %s", store, strings.Join(ids, ", "))
	case l.store.Mode == Sync:
		err = refuse(ErrInvalidRequest, "store %s is in mode Sync and would be marked again at once: set it to Observe or Off first", store)
	case e.current != nil:
		err = refuse(ErrRunInProgress, "run %d is in progress: wait for it, or cancel it", e.current.id)
	case l.forget != nil:
		err = refuse(ErrInvalidRequest, "the markers of store %s are being removed already", store)
	default:
		l.forget, l.retry = f, true
	}
	e.mu.Unlock()
	if err != nil {
		return 0, err
	}
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		l.forget = nil
	}()
	l.signal.Set()
	for {
		f.signal.Wait(ctx, e.clock.Now().Add(publishEvery))
		e.mu.Lock()
		done, n, err, mode, gone := f.done, f.count, f.err, l.store.Mode, e.lanes[store] != l
		e.mu.Unlock()
		switch {
		case done:
			return n, err
		case mode == Sync || gone:
			return n, refuse(ErrInvalidRequest, "the configuration of store %s changed while its markers were being removed", store)
		case ctx.Err() != nil:
			return n, ctx.Err()
		}
	}
}

func (l *lane) mustForget() bool {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	return l.forget != nil && !l.forget.done && l.store.Mode != Sync
}

// forgetSome removes the markers of a page of the catalogue, paced as polling is. First the ledger forgets the
// store, so that no marker is missed; at the end what it learnt meanwhile.
func (l *lane) forgetSome(ctx context.Context, st Store) (time.Time, error) {
	l.e.mu.Lock()
	f := l.forget
	l.e.mu.Unlock()
	began := l.e.clock.Now()
	if f == nil {
		return time.Time{}, nil
	}
	if began.Before(f.next) {
		return f.next, nil
	}
	if f.cursor == "" && st.Absolute == nil {
		if err := l.e.drop(ctx, st.ID, "our markers were removed from the store"); err != nil {
			return time.Time{}, err
		}
	}
	if st.Absolute != nil {
		return time.Time{}, l.handBack(ctx, st, f)
	}
	page, err := st.Driver.Catalogue(ctx, f.cursor)
	if err != nil {
		return time.Time{}, l.forgot(f, err)
	}
	l.succeeded(page.Window)
	var refs []stock.Ref
	for _, it := range page.Items {
		for _, m := range it.Markers {
			if m.Ledger == l.e.ledgerID {
				refs = append(refs, it.Ref)
				break
			}
		}
	}
	for len(refs) > 0 {
		part := refs[:min(len(refs), l.pace.size())]
		refs = refs[len(part):]
		sent := l.e.clock.Now()
		err := st.Driver.Forget(ctx, part)
		var fault *Fault
		_ = errors.As(err, &fault)
		l.pace.learn(len(part), l.e.clock.Now().Sub(sent), fault, l.e.clock.Now())
		if err != nil {
			return time.Time{}, l.forgot(f, err)
		}
		l.e.mu.Lock()
		f.count += len(part)
		l.e.mu.Unlock()
	}
	now := l.e.clock.Now()
	f.next = now.Add(pause(now.Sub(began), st))
	if f.cursor = page.Next; page.Next != "" {
		return time.Time{}, nil
	}
	return time.Time{}, l.forgotten(ctx, st, f, fmt.Sprintf("our markers were removed from %d items", f.count))
}

// forgotten ends the removal: the ledger forgets the store, too.
func (l *lane) forgotten(ctx context.Context, st Store, f *forget, what string) error {
	now := l.e.clock.Now()
	if err := l.e.drop(ctx, st.ID, "our markers were removed from the store"); err != nil {
		return err
	}
	err := l.e.ledger.Update(ctx, func(tx Tx) error {
		return tx.Append(stock.Entry{Kind: event.MarkersForgotten, Store: st.ID, Units: int64(f.count), At: now,
			Evidence: what})
	})
	if err != nil {
		return err
	}
	clear(l.samples)
	clear(l.recheck)
	l.started = false
	l.e.mu.Lock()
	f.done = true
	l.e.mu.Unlock()
	f.signal.Set()
	return nil
}

// forgot ends the removal with an error: the person who asked decides whether to try again.
func (l *lane) forgot(f *forget, err error) error {
	l.e.mu.Lock()
	f.done, f.err = true, err
	l.e.mu.Unlock()
	f.signal.Set()
	return err
}

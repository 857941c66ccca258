package engine_test

import (
	"context"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

const oneLedger = "00000000000000000000000000000001"

// watched is a ledger whose commits take time and whose placements are counted as they are written.
type watched struct {
	books
	w       *world
	takes   time.Duration
	written int
}

type watchedTx struct {
	engine.Tx
	written *int
}

func (t watchedTx) PutPlacement(p stock.Placement) error {
	*t.written++
	return t.Tx.PutPlacement(p)
}

func (l *watched) Update(ctx context.Context, fn func(engine.Tx) error) error {
	if l.takes > 0 && l.w.cur != nil {
		l.w.block(func(wake func()) { l.w.after(l.takes, wake) })
	}
	return l.books.Update(ctx, func(tx engine.Tx) error { return fn(watchedTx{tx, &l.written}) })
}

// The share of a store's time that polling may take is a share of the store's time, not of ours.
func TestASlowLedgerDoesNotMakePollsRare(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, story{name: "calm"})
	w.boot(oneLedger, &watched{books: ledger.NewMemory(), w: w, takes: time.Second}, w.all())
	w.run(start.Add(2 * time.Minute))
	s := w.shops[0]
	s.served = requests{}
	w.run(w.now.Add(10 * time.Minute))
	// Two requests of some 0.2 s are 2 % of 20 s.
	if s.served.modified < 25 {
		t.Fatalf("%d polls in ten minutes", s.served.modified)
	}
}

// A poll asks for the trash only when there is something to judge: every request counts against the share.
func TestAQuietPollIsTwoRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, story{name: "calm"})
	w.boot(oneLedger, ledger.NewMemory(), w.all())
	w.run(start.Add(2 * time.Minute))
	s := w.shops[0]
	s.served = requests{}
	for range 5 {
		s.sell(firstObject, 1)
		w.run(w.now.Add(time.Minute))
	}
	if s.served.trash > s.served.modified/4 || s.served.modified == 0 {
		t.Fatalf("%+v", s.served)
	}
}

// What a poll finds as it was is not written again, and neither does a scan write it or ask for it once more.
func TestWhatIsKnownIsNotWrittenAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, story{name: "calm"})
	l := &watched{books: ledger.NewMemory(), w: w}
	w.boot(oneLedger, l, w.all())
	w.run(start.Add(2 * time.Minute))
	l.written = 0
	s := w.shops[0]
	s.served = requests{}
	for range 70 {
		w.run(w.now.Add(time.Minute))
		s.items[firstObject].modified = w.now
	}
	if l.written != 0 || s.served.read != 0 || s.served.catalogue == 0 {
		t.Fatalf("%d placements written, requests %+v", l.written, s.served)
	}

	s.items[firstObject].deleted = true
	w.run(w.now.Add(70 * time.Minute))
	err := l.View(t.Context(), func(tx engine.Tx) error {
		if _, bound, err := tx.PlacementAt(s.id, firstObject); err != nil || bound {
			t.Errorf("an item that is gone from the catalogue is still bound: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

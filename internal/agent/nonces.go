package agent

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
)

// nonceKeeper is where nonces outlive the process.
type nonceKeeper interface {
	Nonces(ctx context.Context, now time.Time) ([]ledger.Nonce, error)
	KeepNonces(ctx context.Context, now time.Time, nonces []ledger.Nonce) error
}

// nonces remembers which signed requests came. Memory decides, so that of two copies at the same moment one is
// refused and a buyer's question need not wait for the disk; the ledger follows.
type nonces struct {
	ledger nonceKeeper
	clock  engine.Clock
	log    logr.Logger
	wake   engine.Signal
	// writing is held while some are written.
	writing sync.Mutex

	mu    sync.Mutex
	known map[[16]byte]time.Time
	// sweepAt is how many may be known before those that are over are forgotten.
	sweepAt int
	// behind wait for the ledger.
	behind []ledger.Nonce
}

const (
	// sweepNonces is the least number of nonces at which it is worth looking for those that are over.
	sweepNonces = 10_000
	// nonceRetry is how long a ledger that took none is left alone.
	nonceRetry = time.Second
)

func newNonces(ctx context.Context, l nonceKeeper, clock engine.Clock, log logr.Logger) (*nonces, error) {
	n := &nonces{ledger: l, clock: clock, log: log, wake: clock.NewSignal(), known: map[[16]byte]time.Time{}, sweepAt: sweepNonces}
	kept, err := l.Nonces(ctx, clock.Now())
	if err != nil {
		return nil, fmt.Errorf("read the nonces of the ledger: %w", err)
	}
	for _, k := range kept {
		n.known[k.Sum] = k.Until
	}
	return n, nil
}

// fresh remembers a text until a time and tells whether it was not known. With durable set it returns once the ledger
// has it.
func (n *nonces) fresh(ctx context.Context, text string, until time.Time, durable bool) (bool, error) {
	full := sha256.Sum256([]byte(text))
	sum, now := [16]byte(full[:16]), n.clock.Now()
	n.mu.Lock()
	if old, ok := n.known[sum]; ok && old.After(now) {
		n.mu.Unlock()
		return false, nil
	}
	if len(n.known) >= n.sweepAt {
		for k, old := range n.known {
			if !old.After(now) {
				delete(n.known, k)
			}
		}
		n.sweepAt = max(sweepNonces, 2*len(n.known))
	}
	n.known[sum] = until
	n.behind = append(n.behind, ledger.Nonce{Sum: sum, Until: until})
	n.mu.Unlock()
	if durable {
		return true, n.write(ctx)
	}
	n.wake.Set()
	return true, nil
}

// write brings what is behind to the ledger. Whatever was behind when it was called is there when it returns nil.
func (n *nonces) write(ctx context.Context) error {
	n.writing.Lock()
	defer n.writing.Unlock()
	now := n.clock.Now()
	n.mu.Lock()
	batch := n.behind
	n.behind = nil
	n.mu.Unlock()
	if len(batch) == 0 {
		return nil // another call took them along
	}
	err := n.ledger.KeepNonces(ctx, now, batch)
	if err != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, k := range batch {
			if k.Until.After(now) {
				n.behind = append(n.behind, k)
			}
		}
	}
	return err
}

// run writes until ctx is done, and once more then.
func (n *nonces) run(ctx context.Context) {
	failing := false
	for {
		err := n.write(context.WithoutCancel(ctx))
		if err != nil && !failing {
			n.log.Error(err, "nonces could not be written; it is tried again")
		}
		failing = err != nil
		if ctx.Err() != nil {
			return
		}
		if failing {
			retry := n.clock.NewSignal()
			retry.Wait(ctx, n.clock.Now().Add(nonceRetry))
			continue
		}
		n.wake.Wait(ctx, n.clock.Now().Add(time.Hour))
	}
}

package agent

import (
	"context"
	"time"

	"stocksync.dev/stocksync/internal/engine"
)

// SystemClock is the machine's clock.
type SystemClock struct{}

// Now is the current time.
func (SystemClock) Now() time.Time { return time.Now() }

// NewSignal returns a signal of this process.
func (SystemClock) NewSignal() engine.Signal { return make(signal, 1) }

// Go starts a goroutine.
func (SystemClock) Go(fn func()) { go fn() }

type signal chan struct{}

func (s signal) Set() {
	select {
	case s <- struct{}{}:
	default:
	}
}

func (s signal) Wait(ctx context.Context, until time.Time) {
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-s:
	case <-t.C:
	case <-ctx.Done():
	}
}

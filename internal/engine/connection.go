package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/go-logr/logr"
)

const (
	firstBackoff = time.Second
	maxBackoff   = 5 * time.Minute
	// reviveAfter is the least time between two tries that events of a peer bring about.
	reviveAfter = 10 * time.Second
)

// Connection is how the requests to a store or a source fare.
type Connection struct {
	// Failure is the error requests end with at present, nil while they work; FailingSince when it began.
	Failure                      *Fault
	FailingSince, ConnectedSince time.Time
	// LastError stays after recovery.
	LastError   *Fault
	LastErrorAt time.Time
	// LastSeen is the last answer.
	LastSeen time.Time
}

// contact is what the loops of the stores and of the source have in common: each alone speaks to its peer, and backs off
// from one that fails.
type contact struct {
	e      *Engine
	id     string
	log    logr.Logger
	signal Signal
	cancel context.CancelFunc
	rand   *rand.Rand

	// Guarded by the engine's mutex. fares is the part of the loop's state that others see.
	fares *Connection
	// revived asks for one try at once; revivedAt is when that was last done.
	revived   bool
	revivedAt time.Time

	// The loop's own. told is the reason the observer was told, while requests fail.
	failures int
	retryAt  time.Time
	told     string
}

func newContact(e *Engine, id string, log logr.Logger, r *rand.Rand, fares *Connection) contact {
	return contact{e: e, id: id, log: log, signal: e.clock.NewSignal(), rand: r, fares: fares}
}

// failed backs off: longer each time, spread, and never less than the peer asked for. It never gives up.
func (c *contact) failed(ctx context.Context, err error) time.Time {
	now := c.e.clock.Now()
	if ctx.Err() != nil {
		return now
	}
	c.failures++
	wait := min(maxBackoff, firstBackoff<<min(c.failures-1, 16))
	wait = wait/2 + time.Duration(c.rand.Int64N(int64(wait)))
	f := &Fault{Reason: "LedgerError", Message: err.Error()}
	if errors.As(err, &f) {
		wait = max(wait, f.RetryAfter)
	}
	c.retryAt = now.Add(wait)
	c.log.V(1).Info("request failed", "error", err.Error(), "retryAt", c.retryAt)
	c.e.mu.Lock()
	if k := c.fares; k.Failure == nil || k.Failure.Reason != f.Reason {
		k.FailingSince = now
	}
	c.fares.Failure, c.fares.LastError, c.fares.LastErrorAt = f, f, now
	c.e.mu.Unlock()
	// One failure alone is everyday business.
	if c.failures > 1 && c.told != f.Reason {
		c.told = f.Reason
		c.e.observer.Disconnected(c.id, f)
	}
	return c.retryAt
}

func (c *contact) succeeded() {
	now := c.e.clock.Now()
	c.failures = 0
	if c.told != "" {
		c.told = ""
		c.e.observer.Connected(c.id)
	}
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	c.fares.LastSeen = now
	if c.fares.Failure != nil || c.fares.ConnectedSince.IsZero() {
		c.fares.Failure, c.fares.ConnectedSince = nil, now
	}
}

// forgive ends the back-off.
func (c *contact) forgive() { c.retryAt, c.failures = time.Time{}, 0 }

// revive asks for one try at once if requests fail, unless the peer asked to be left alone. Where it does not help, the
// longer they fail the less often. It needs the engine's mutex.
func (c *contact) revive(now time.Time) bool {
	f := c.fares.Failure
	if f == nil || f.RetryAfter > 0 || now.Sub(c.revivedAt) < min(max(now.Sub(c.fares.FailingSince)/10, reviveAfter), maxBackoff) {
		return false
	}
	c.revived, c.revivedAt = true, now
	return true
}

// tryAgain ends the wait, once, for a peer that was revived. It needs the engine's mutex.
func (c *contact) tryAgain() {
	if c.revived {
		c.revived, c.retryAt = false, time.Time{}
	}
}

// Alive tells that a store, or the source, is at work: it sent an event. If requests to it fail it is tried again at once,
// instead of when its turn comes, minutes later perhaps.
func (e *Engine) Alive(id string) {
	e.mu.Lock()
	var c *contact
	switch {
	case e.lanes[id] != nil:
		c = &e.lanes[id].contact
	case e.source != nil && e.source.id == id:
		c = &e.source.contact
	}
	revived := c != nil && c.revive(e.clock.Now())
	e.mu.Unlock()
	if revived {
		c.signal.Set()
	}
}

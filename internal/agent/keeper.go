package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/driver/woocommerce"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/event"
	"stocksync.dev/stocksync/internal/stock"
)

const (
	// keepEvery is how often the webhooks of a store are looked at, first after firstKeep and then longer
	// each time while that fails.
	keepEvery = 5 * time.Minute
	firstKeep = 10 * time.Second
	// versionsEvery is how often a shop is asked what it runs.
	versionsEvery = time.Hour
	// removeWithin bounds the removal of webhooks from a store that left.
	removeWithin = 10 * time.Second
)

// hooked is a peer that can be asked to send webhooks.
type hooked interface {
	EnsureWebhooks(ctx context.Context, deliveryURL, secret string) ([]woocommerce.Repair, error)
	RemoveWebhooks(ctx context.Context, deliveryURL string) error
	Versions(ctx context.Context) (woocommerce.Versions, error)
}

// Shop is a store's REST API: what the engine needs of it, and what keeps hints coming.
type Shop interface {
	engine.Driver
	hooked
	// Probe tests the connection, writes nothing, and ends with the first check that fails.
	Probe(ctx context.Context) []agentapi.PingCheck
	Close()
}

// hooks is the state of a store's webhooks.
type hooks struct {
	// since is when they were first seen in place, ensuredAt when last.
	since, ensuredAt time.Time
	// repairedAt is when some were found amiss that had been in place, repaired which.
	repairedAt time.Time
	repaired   []string
	// paused are those somebody paused in the shop.
	paused []string
	fault  *engine.Fault

	versions   woocommerce.Versions
	versionsAt time.Time
}

// keeper keeps the webhooks of one store alive and asks for its versions now and then.
type keeper struct {
	peer hooked
	// url and secret of the webhooks; url is empty when none are wanted.
	url, secret string
	// ours tells whether the shop may be written to: not before it is known that no other ledger keeps it.
	ours  func(context.Context) (bool, error)
	clock engine.Clock
	log   logr.Logger
	// tell adds a line to the event log.
	tell func(kind stock.Kind, cause, evidence string)

	mu    sync.Mutex
	state hooks
}

func (k *keeper) run(ctx context.Context) {
	wake := k.clock.NewSignal()
	failures := 0
	for ctx.Err() == nil {
		wait := keepEvery
		switch err := k.keep(ctx); {
		case err == nil:
			failures = 0
		case errors.Is(err, errNotOurs):
			wait = firstKeep
		default:
			wait = min(keepEvery, firstKeep<<min(failures, 8))
			failures++
		}
		// Spread, so that many stores of one host are not asked in the same moment.
		wake.Wait(ctx, k.clock.Now().Add(wait-rand.N(wait/5)))
	}
}

// errNotOurs: it is not known yet that the shop is ours, or known that it is not.
var errNotOurs = errors.New("the shop may not be written to")

// keep does one round.
func (k *keeper) keep(ctx context.Context) error {
	if k.versionsDue() {
		if v, err := k.peer.Versions(ctx); err == nil {
			k.mu.Lock()
			k.state.versions, k.state.versionsAt = v, k.clock.Now()
			k.mu.Unlock()
		}
	}
	if k.url == "" {
		return nil
	}
	if ours, err := k.ours(ctx); err != nil || !ours {
		return errors.Join(err, errNotOurs)
	}
	repairs, err := k.peer.EnsureWebhooks(ctx, k.url, k.secret)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	tell := func() {}
	defer func() { tell() }() // without the lock
	now := k.clock.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	was := k.state.fault
	k.state.fault = nil
	if err != nil {
		if f, ok := errors.AsType[*engine.Fault](err); ok {
			k.state.fault = f
			if was == nil || was.Reason != f.Reason {
				tell = func() { k.tell(event.WebhooksRefused, f.Reason, f.Message) }
			}
		}
		k.log.Info("the webhooks could not be kept", "cause", err.Error())
		return err
	}
	first := k.state.ensuredAt.IsZero()
	var repaired []string
	k.state.paused = nil
	for _, r := range repairs {
		switch {
		case r.Why == woocommerce.Paused:
			k.state.paused = append(k.state.paused, r.Topic)
		case r.Why == woocommerce.Disabled || (r.Why == woocommerce.Missing && !first):
			repaired = append(repaired, r.Topic)
		}
	}
	if len(repaired) > 0 {
		k.state.repairedAt, k.state.repaired = now, repaired
		k.log.Info("webhooks were found disabled or deleted and put back", "topics", repaired)
		tell = func() { k.tell(event.WebhooksRepaired, "", "put back "+strings.Join(repaired, ", ")) }
	}
	k.state.ensuredAt = now
	if first {
		k.state.since = now
	}
	return nil
}

func (k *keeper) versionsDue() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state.versionsAt.IsZero() || k.clock.Now().Sub(k.state.versionsAt) >= versionsEvery
}

func (k *keeper) snapshot() hooks {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state
}

// remove takes the webhooks away, within a time limit that a stopping agent can afford.
func (k *keeper) remove(ctx context.Context) {
	if k.url == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeWithin)
	defer cancel()
	if err := k.peer.RemoveWebhooks(ctx, k.url); err != nil {
		k.log.Info("webhooks were left behind; the shop switches them off after seven failures", "cause", err.Error())
		cause := ""
		if f, ok := errors.AsType[*engine.Fault](err); ok {
			cause = f.Reason
		}
		k.tell(event.WebhooksLeft, cause, err.Error())
		return
	}
	k.tell(event.WebhooksRemoved, "", "")
}

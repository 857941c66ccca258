package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/event"
	"stocksync.dev/stocksync/internal/stock"
)

// tellWithin bounds how long the ledger is waited for by what is told.
const tellWithin = 10 * time.Second

// tell adds lines about stores, or the agent as a whole, to the event log. They are lost where the ledger cannot take
// them, and the log says so: nothing that counts stock rests on them.
func (a *Agent) tell(entries ...stock.Entry) {
	if len(entries) == 0 {
		return
	}
	// What happened has happened, also when the agent is about to stop.
	ctx, cancel := context.WithTimeout(context.Background(), tellWithin)
	defer cancel()
	err := a.ledger.Update(ctx, func(tx engine.Tx) error {
		for _, e := range entries {
			e.At = a.clock.Now()
			if err := tx.Append(e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		a.log.Info("the event log could not be written", "cause", err.Error(), "first", string(entries[0].Kind))
	}
}

// countingLedger counts the lines of the history once they are durable, whoever writes them, and tells the log of each.
type countingLedger struct {
	Ledger
	metrics *metrics
	log     logr.Logger
}

// Update implements [engine.Ledger].
func (l countingLedger) Update(ctx context.Context, fn func(engine.Tx) error) error {
	var lines []stock.Entry
	err := l.Ledger.Update(ctx, func(tx engine.Tx) error {
		// It may run more than once.
		lines = lines[:0]
		return fn(countingTx{tx, &lines})
	})
	if err == nil && len(lines) > 0 {
		l.metrics.recorded(lines)
		for _, e := range lines {
			// The key is the same however the shops spell the SKU.
			l.log.V(1).Info(string(e.Kind), "key", stock.KeyOf(e.SKU), "sku", e.SKU, "store", e.Store, "pool", e.Pool, "delta", e.Delta,
				"units", e.Units, "quantity", e.Quantity, "attempt", e.Attempt, "evidence", e.Evidence, "conflict", e.Conflict)
		}
	}
	return err
}

type countingTx struct {
	engine.Tx
	lines *[]stock.Entry
}

// Append implements [engine.Tx].
func (tx countingTx) Append(e stock.Entry) error {
	*tx.lines = append(*tx.lines, e)
	return tx.Tx.Append(e)
}

// observer tells metrics and event log what the engine does.
type observer struct{ agent *Agent }

// Pushed implements [engine.Observer].
func (o observer) Pushed(store string, how engine.PushResult, n int) {
	o.agent.metrics.pushed(store, how, n)
}

// Disconnected implements [engine.Observer].
func (o observer) Disconnected(store string, f *engine.Fault) {
	o.agent.tell(stock.Entry{Kind: event.Disconnected, Store: store, Cause: f.Reason, Evidence: f.Message})
}

// Connected implements [engine.Observer].
func (o observer) Connected(store string) {
	o.agent.tell(stock.Entry{Kind: event.Connected, Store: store})
}

// observable is a store whose requests can be counted.
type observable interface {
	Observe(fn func(write bool, took time.Duration, err error))
}

// measured has the requests of a store counted from the first one on.
func (m *metrics) measured(store string, shop Shop) Shop {
	if s, ok := shop.(observable); ok {
		s.Observe(func(write bool, took time.Duration, err error) { m.requested(store, write, took, err) })
	}
	return shop
}

// measuredSource is [metrics.measured] for a source.
func (m *metrics) measuredSource(store string, source Source) Source {
	if s, ok := source.(observable); ok {
		s.Observe(func(write bool, took time.Duration, err error) { m.requested(store, write, took, err) })
	}
	return source
}

// toldOf are the lines about a configuration that was put into use, or parts of it.
func toldOf(conf Config, revision string) []stock.Entry {
	out := []stock.Entry{{Kind: event.ConfigApplied, Evidence: strings.TrimSpace(fmt.Sprintf("topology %s, %d stores %s", conf.Topology, len(conf.Stores), revision))}}
	for _, p := range conf.Problems {
		out = append(out, stock.Entry{Kind: event.ConfigRefused, Evidence: p})
	}
	for _, s := range conf.Stores {
		if s.Invalid != nil {
			out = append(out, stock.Entry{Kind: event.StoreRefused, Store: s.ID, Cause: s.Invalid.Reason, Evidence: s.Invalid.Message})
		}
	}
	return out
}

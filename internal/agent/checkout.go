package agent

import (
	"context"
	"errors"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/driver/kitgenix"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

// answered is how a question at checkout was answered, a label of a metric.
type answered string

const (
	fromLedger   answered = "ledger"
	lastKnown    answered = "last_known"
	tooOld       answered = "too_old"
	failedOpen   answered = "failed_open"
	failedClosed answered = "failed_closed"
)

var allAnswered = []answered{fromLedger, lastKnown, tooOld, failedOpen, failedClosed}

// open tells that every sale passes.
func (a answered) open() bool { return a == failedOpen || a == tooOld }

// errPluginLeft: between its signature and its request the store left the configuration.
var errPluginLeft = errors.New("the store has left the configuration")

// answering is how a store is answered now, and since when the master was not heard.
func (ps *plugins) answering(p *plugin) (how answered, silent time.Duration) {
	ps.mu.RLock()
	master := ps.master
	ps.mu.RUnlock()
	silent = ps.now().Sub(ps.heard(master))
	return p.checkout.answer(silent), silent
}

// answer is how a question is answered when the master was last heard so long ago.
func (c Checkout) answer(silent time.Duration) answered {
	switch {
	case silent <= c.Grace:
		return fromLedger
	case c.Policy == v1alpha1.FailOpen:
		return failedOpen
	case c.Policy == v1alpha1.FailClosed:
		return failedClosed
	case silent <= c.MaxAge:
		return lastKnown
	}
	return tooOld
}

// validate answers what a store may sell of these SKUs. What is not answered for passes: so do excluded and unmanaged
// items, and those nothing is known of, whatever the policy says.
func (ps *plugins) validate(ctx context.Context, p *plugin, skus []string) (map[string]kitgenix.State, answered, error) {
	how, _ := ps.answering(p)
	if how.open() {
		return nil, how, nil
	}
	found, err := ps.offersOf(ctx, p, skus)
	if err != nil {
		return nil, "", err
	}
	states := make(map[string]kitgenix.State, len(found))
	for sku, o := range found {
		if !p.shares(o) {
			continue
		}
		s := kitgenix.State{Exists: true, Quantity: new(stock.Wanted(o.Pool, p.policy)), Backorders: backordersOf(o.Pool)}
		if how == failedClosed {
			s.Quantity, s.Backorders = new(int64(0)), "no"
		}
		s.Status = statusOf(*s.Quantity, s.Backorders)
		states[sku] = s
	}
	return states, how, nil
}

// statesOf answers what the topology holds of these SKUs, to a master that compares it with its own.
func (ps *plugins) statesOf(ctx context.Context, p *plugin, skus []string) (map[string]kitgenix.State, error) {
	found, err := ps.offersOf(ctx, p, skus)
	if err != nil {
		return nil, err
	}
	states := make(map[string]kitgenix.State, len(found))
	for sku, o := range found {
		if !o.Pool.Set {
			continue
		}
		s := kitgenix.State{Exists: true, GID: o.Pool.GID, Quantity: new(stock.Wanted(o.Pool, p.policy)), Backorders: backordersOf(o.Pool), Management: kitgenix.ManagesStock,
			LowStockAmount: new(int64(0))}
		s.Status = statusOf(*s.Quantity, s.Backorders)
		if low := stock.LowStockAmount(o.Pool.Registers[stock.LowStock].Value); low != nil {
			s.LowStockAmount = low
		}
		if o.Pool.Registers[stock.Management].Value == stock.No {
			s.Management, s.Quantity = kitgenix.NoManagement, new(int64(0))
			if status := o.Pool.Registers[stock.Status].Value; status != "" {
				s.Status = status
			}
		}
		states[sku] = s
	}
	return states, nil
}

// offersOf asks the ledger about those SKUs that are not excluded, and answers by the spelling of the question.
func (ps *plugins) offersOf(ctx context.Context, p *plugin, skus []string) (map[string]ledger.Offer, error) {
	keys := make([]stock.Key, 0, len(skus))
	for _, sku := range skus {
		if key := stock.KeyOf(sku); key != "" && !p.excluded(key) {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	ps.mu.RLock()
	master := ps.master
	ps.mu.RUnlock()
	known, err := ps.ledger.Offers(ctx, master, p.store, keys)
	if err != nil {
		return nil, err
	}
	out := make(map[string]ledger.Offer, len(known))
	for _, sku := range skus {
		if o, ok := known[stock.KeyOf(sku)]; ok {
			out[sku] = o
		}
	}
	return out, nil
}

// shares tells whether the shared stock decides what the store may sell of a SKU: it has a number nobody doubts, both
// items manage their stock, and the shop takes part. In mode Observe nothing is refused that was not enrolled before.
func (p *plugin) shares(o ledger.Offer) bool {
	return o.Pool.Set && o.Pool.Stopped == "" && o.Leading == "" && o.Bound && o.Blocked == "" && (p.mode == engine.Sync || o.Enrolled)
}

func backordersOf(pool stock.Pool) string {
	if v := pool.Registers[stock.Backorders].Value; v != "" {
		return v
	}
	return "no"
}

// statusOf is the status WooCommerce derives from a quantity.
func statusOf(quantity int64, backorders string) string {
	switch {
	case quantity > 0:
		return stock.InStock
	case backorders != "no":
		return stock.OnBackorder
	}
	return stock.OutOfStock
}

package engine_test

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

// memorySource is the smallest source there can be: a warehouse in memory. docs/drivers.md walks through it.
type memorySource struct {
	mu     sync.Mutex
	now    time.Time
	items  map[string]stock.SourceItem
	levels map[[2]string]stock.Amount
	orders map[string]stock.SourceOrder
	moved  map[string]time.Time
	// between, when set, is called before each answer: the warehouse goes on working.
	between func(call string)
	reads   []string
}

func newMemorySource() *memorySource {
	return &memorySource{
		now:   time.Date(2026, 1, 12, 9, 0, 0, 0, time.UTC),
		items: map[string]stock.SourceItem{}, levels: map[[2]string]stock.Amount{},
		orders: map[string]stock.SourceOrder{}, moved: map[string]time.Time{},
	}
}

// answer lets the warehouse work, then takes the moment of the answer.
func (m *memorySource) answer(call string) (stock.Window, func()) {
	if m.between != nil {
		m.between(call)
	}
	m.mu.Lock()
	m.reads = append(m.reads, call)
	return stock.Window{From: m.now, To: m.now}, m.mu.Unlock
}

// Capabilities: no feed of levels would be Changes false, no orders Orders false, and so on.
func (m *memorySource) Capabilities() engine.SourceCapabilities {
	return engine.SourceCapabilities{Committed: true, Orders: true, Origins: true, Changes: true, Locations: true, LevelBatch: 100, PageRows: 1000, OrderLists: 1, RequestsPerMinute: 600}
}

func (m *memorySource) Health(context.Context) error { return nil }

func (m *memorySource) Budget() engine.SourceBudget {
	return engine.SourceBudget{Limit: 600, Remaining: 600}
}

func (m *memorySource) Locations(context.Context) ([]stock.SourceLocation, error) {
	return []stock.SourceLocation{{ID: "here", Name: "Here"}}, nil
}

func (m *memorySource) Items(_ context.Context, since time.Time) (engine.SourceItems, error) {
	window, done := m.answer("items")
	defer done()
	out := engine.SourceItems{Window: window}
	for _, i := range m.items {
		if !i.Modified.Before(since) {
			out.Items = append(out.Items, i)
		}
	}
	return out, nil
}

func (m *memorySource) Levels(_ context.Context, location string, items []string) (engine.SourceLevels, error) {
	window, done := m.answer("levels")
	defer done()
	if len(items) == 0 {
		for at := range m.levels {
			if at[1] == location {
				items = append(items, at[0])
			}
		}
	}
	out := engine.SourceLevels{Window: window}
	for _, item := range items {
		onHand, known := m.levels[[2]string{item, location}]
		level := stock.Level{Item: item, Location: location, OnHand: onHand, Absent: !known, HasCommitted: known}
		for _, o := range m.orders {
			for _, r := range o.Rows {
				if o.State == stock.OrderOpen && r.Item == item && r.Location == location {
					level.Committed = level.Committed.Plus(r.Outstanding())
				}
			}
		}
		out.Levels = append(out.Levels, level)
	}
	return out, nil
}

func (m *memorySource) OpenOrders(_ context.Context, since time.Time) (engine.SourceOrders, error) {
	window, done := m.answer("orders")
	defer done()
	out := engine.SourceOrders{Window: window}
	for _, o := range m.orders {
		if since.IsZero() && o.State != stock.OrderClosed || !since.IsZero() && !o.Modified.Before(since) {
			out.Orders = append(out.Orders, o)
		}
	}
	return out, nil
}

func (m *memorySource) Orders(_ context.Context, ids []string) (engine.SourceOrders, error) {
	window, done := m.answer("order")
	defer done()
	out := engine.SourceOrders{Window: window}
	for _, id := range ids {
		o, known := m.orders[id]
		if !known {
			o = stock.SourceOrder{ID: id, State: stock.OrderClosed, Modified: m.now}
		}
		out.Orders = append(out.Orders, o)
	}
	return out, nil
}

// Changes: the cursor is whatever the source can begin from again; here a time.
func (m *memorySource) Changes(_ context.Context, cursor string) (engine.SourceChanges, error) {
	_, done := m.answer("changes")
	defer done()
	since, err := time.Parse(time.RFC3339Nano, cmp.Or(cursor, m.now.Format(time.RFC3339Nano)))
	if err != nil {
		return engine.SourceChanges{}, &engine.Fault{Reason: "UnexpectedContent", Message: "the cursor must be one that was given out"}
	}
	out := engine.SourceChanges{Next: m.now.Format(time.RFC3339Nano)}
	for item, at := range m.moved {
		if cursor != "" && !at.Before(since) {
			out.Items = append(out.Items, item)
		}
	}
	return out, nil
}

// A source without events refuses to subscribe; polling goes on.
func (m *memorySource) Subscribe(context.Context, string) (engine.Subscription, error) {
	return engine.Subscription{}, &engine.Fault{Reason: "WebhooksRefused", Message: "this source sends no events, polling goes on"}
}

func (m *memorySource) Unsubscribe(context.Context, string) error { return nil }

func (m *memorySource) VerifyEvent(engine.Subscription, []byte, func(string) string) (engine.SourceEvent, error) {
	return engine.SourceEvent{}, errors.New("this source sends no events")
}

// What follows is the warehouse at work, for tests.

func (m *memorySource) work(fn func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(time.Second)
	fn()
}

// receive takes so many of an item in, or out.
func (m *memorySource) receive(item string, units int64) {
	m.work(func() {
		at := [2]string{item, "here"}
		m.levels[at] = m.levels[at].Plus(stock.Units(units))
		m.moved[item] = m.now
	})
}

// order takes or changes an order.
func (m *memorySource) order(id string, origin stock.Origin, rows map[string]int64) {
	m.work(func() {
		o := stock.SourceOrder{ID: id, Origin: origin, Modified: m.now}
		for _, item := range slices.Sorted(maps.Keys(rows)) {
			o.Rows = append(o.Rows, stock.SourceRow{ID: id + item, Item: item, Location: "here", Quantity: stock.Units(rows[item])})
		}
		m.orders[id] = o
	})
}

// pack fulfils so many of each row of an order; all when units is below zero. quiet leaves its date alone if it
// was partly fulfilled and still is.
func (m *memorySource) pack(id string, units int64, quiet bool) {
	m.work(func() {
		o := m.orders[id]
		quiet = quiet && o.Partly
		o.Rows, o.Partly = slices.Clone(o.Rows), false
		for i := range o.Rows {
			r := &o.Rows[i]
			n := r.Outstanding()
			if units >= 0 && stock.Units(units).Cmp(n) < 0 {
				n = stock.Units(units)
			}
			r.Fulfilled = r.Fulfilled.Plus(n)
			o.Partly = o.Partly || r.Outstanding() != stock.Amount{}
			at := [2]string{r.Item, r.Location}
			m.levels[at] = m.levels[at].Minus(n)
			m.moved[r.Item] = m.now
		}
		if !o.Partly {
			o.State = stock.OrderClosed
		}
		if !quiet || !o.Partly {
			o.Modified = m.now
		}
		m.orders[id] = o
	})
}

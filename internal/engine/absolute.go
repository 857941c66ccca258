package engine

import (
	"context"
	"strings"
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

// Absolute speaks to a store whose plugin is the only way in. It is asked SKU by SKU and written whole numbers, and tells
// by events what it does itself. Errors are [*Fault]. Methods may be called concurrently.
type Absolute interface {
	// Ping asks who the store is and for its clock.
	Ping(ctx context.Context) (Pulse, error)
	// States reads what the store shows of these SKUs, at most [AskSize]. What it does not answer for is left out.
	States(ctx context.Context, skus []string) (map[string]PeerState, error)
	// Send delivers an event of at most [SendSize] items. Success says only that the store took it; what became of it
	// tells States.
	Send(ctx context.Context, e PeerEvent) error
}

const (
	// AskSize is the most SKUs one question names.
	AskSize = 100
	// SendSize is the most items one event carries.
	SendSize = 30
)

// Pulse is a store's answer to a ping.
type Pulse struct {
	// Generation of the plugin: 1 knows no versions, and holds everything for managed.
	Generation int
	// Seconds is the store's clock in Unix seconds; 0 if it gave none.
	Seconds int64
	// Name is what the store calls itself; the versions are empty in generation 1.
	Name, WooCommerce, Plugin string
}

// PeerState is what such a store shows of one SKU.
type PeerState struct {
	Exists bool
	// GID is the plugin's stable id of the item; empty where it does not say.
	GID string
	// Managed is Own where the SKU holds its stock itself, Shared where its parent does.
	Managed Managed
	// Unreadable: the quantity is missing or not a whole number, and means nothing.
	Unreadable bool
	Quantity   int64
	// Backorders and StockStatus are as in [Item]. LowStockAmount is nil, too, where the plugin says 0: it has no other
	// way to say that none is set.
	Backorders, StockStatus string
	LowStockAmount          *int64
}

// PeerEvent is what one store tells another, in either direction.
type PeerEvent struct {
	// ID is the same for every delivery of the event.
	ID string
	// Rename: the items carry new SKUs and no numbers.
	Rename bool
	// Context says why, in the plugin's words.
	Context string
	// Seconds is when it was captured, in Unix seconds of the sender's clock; 0 if it does not say.
	Seconds int64
	Items   []PeerItem
}

// PeerItem is one item of an event.
type PeerItem struct {
	GID, SKU string
	// OldSKU is set in a renaming only.
	OldSKU string
	// Managed is Unmanaged where the sender says so; Own otherwise.
	Managed Managed
	// Quantity is nil where the item carries none, or none that can be read.
	Quantity *int64
	// Backorders, StockStatus and LowStockAmount are left alone where they are empty or nil.
	Backorders, StockStatus string
	LowStockAmount          *int64
	// Version is what a receiver of generation 2 tells older states by; 0 ends that, nil leaves it out.
	Version *int64
}

// Receive takes in an event of a store. When it returns without an error, the event is durable, and its id is remembered
// until a time: seen tells that it had been taken before. What it says is judged later, by the store's lane. An event of a
// store in mode Off is [ErrOff]; of one that is not configured, [ErrUnknown].
func (e *Engine) Receive(ctx context.Context, store string, ev PeerEvent, until time.Time) (seen bool, err error) {
	e.mu.Lock()
	l := e.lanes[store]
	var st Store
	if l != nil {
		st = l.store
	}
	e.mu.Unlock()
	switch {
	case l == nil:
		return false, refuse(ErrUnknown, "there is no store %q", store)
	case st.Mode == Off:
		return false, refuse(ErrOff, "store %s is in mode Off: nothing is taken from it", store)
	}
	now := e.clock.Now()
	var objects []int64
	var offered []string
	var out *effects
	err = e.ledger.Update(ctx, func(tx Tx) error {
		objects, offered, out = nil, nil, newEffects()
		fresh, err := tx.Remember("event|"+store+"|"+ev.ID, until, now)
		if seen = !fresh; seen || err != nil {
			return err
		}
		for _, item := range ev.Items {
			if ev.Rename && st.Absolute != nil && st.Policy.Master {
				t := &turn{e: e, tx: tx, st: st, now: now, out: out}
				pools, err := t.renamedAtMaster(item, ev.Seconds)
				if err != nil {
					return err
				}
				for _, id := range pools {
					objects = append(objects, absoluteRef(id).Object())
				}
				if len(pools) > 0 {
					continue
				}
			}
			object, known, err := hear(tx, st, ev, item, now)
			if err != nil {
				return err
			}
			switch {
			case known:
				objects = append(objects, object)
			case item.SKU != "" && !st.excludes(item.SKU):
				offered = append(offered, item.SKU)
			}
		}
		return nil
	})
	if err != nil || seen {
		return seen, err
	}
	e.Hint(store, objects...)
	e.offer(offered...)
	if out.listed {
		e.listed()
	}
	e.wake(out.wake)
	return false, nil
}

// hear keeps what an event says of one item. It returns the object the item is bound to in the store.
func hear(tx Tx, st Store, ev PeerEvent, item PeerItem, now time.Time) (object int64, known bool, err error) {
	if st.excludes(item.SKU) || st.excludes(item.OldSKU) {
		return 0, false, nil
	}
	for _, key := range []stock.Key{stock.KeyOf(item.SKU), stock.KeyOf(item.OldSKU)} {
		if key == "" {
			continue
		}
		pool, err := heardOf(tx, st, key, item.GID)
		if err != nil {
			return 0, false, err
		}
		if pool == 0 {
			continue
		}
		p, bound, err := tx.Placement(st.ID, pool)
		if err != nil || !bound {
			return absoluteRef(pool).Object(), st.Absolute != nil, err
		}
		if st.Absolute == nil || ev.Rename || item.Quantity == nil || ownEvent(ev.ID) {
			return p.Ref.Object(), true, nil
		}
		p.Absolute.Hear(stock.Hearing{Quantity: *item.Quantity, Seconds: ev.Seconds, At: now})
		return p.Ref.Object(), true, tx.PutPlacement(p)
	}
	return 0, false, nil
}

// absoluteRef stands for the object of a store that names none.
func absoluteRef(pool int64) stock.Ref { return stock.Ref{Product: pool} }

// ownEventID begins the ids of events that are sent. Generation 1 sends them back, with what it made of them: a
// confirmation, which says nothing of the shop itself.
const ownEventID = "stocksync-"

func ownEvent(id string) bool { return strings.HasPrefix(id, ownEventID) }

// excludes tells whether a SKU is left alone in the store.
func (s Store) excludes(sku string) bool {
	key := stock.KeyOf(sku)
	return key != "" && s.Excluded != nil && s.Excluded(key)
}

// offer names SKUs that were met somewhere and that no pool is for. A master that cannot list what it sells is asked
// about them.
func (e *Engine) offer(skus ...string) {
	if len(skus) == 0 {
		return
	}
	e.mu.Lock()
	var wake Signal
	for _, id := range e.ids() {
		l := e.lanes[id]
		if !l.store.Policy.Master || l.store.Absolute == nil {
			continue
		}
		for _, sku := range skus {
			if len(l.offered) < maxOffered && !l.store.excludes(sku) {
				l.offered[stock.KeyOf(sku)] = strings.TrimSpace(sku)
				wake = l.signal
			}
		}
	}
	e.mu.Unlock()
	if wake != nil {
		wake.Set()
	}
}

// maxOffered bounds the SKUs a master waits to be asked about; what is left out is met again.
const maxOffered = 100_000

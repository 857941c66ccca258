package engine

import (
	"context"
	"errors"
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

// ReasonInconsistentRead is the reason of a fault that says what was read is not of one moment. It is read
// again, never used.
const ReasonInconsistentRead = "InconsistentRead"

// ReasonLocationGone is the reason of a fault that says a location was deleted: what is mapped to it must not be
// written.
const ReasonLocationGone = "LocationGone"

// ErrForgedEvent says that an event does not carry the signature of its subscription.
var ErrForgedEvent = errors.New("the signature is not that of the source's own events")

// SourceCapabilities say what a source can do, so that a setting that needs more is refused when it is made
// and never silently wrong.
type SourceCapabilities struct {
	// Committed: levels carry the source's own committed figure.
	Committed bool
	// Orders: open orders can be read row by row, so that demand for an item itself is told from demand for
	// parts. Origins: they say where they were made.
	Orders, Origins bool
	// Changes: there is a feed of items whose level changed. Events: the source sends events.
	Changes, Events bool
	// Locations: stock is kept per location; without, everything is at the location with the empty id.
	Locations bool
	// Eventual: a level may be older than an order read before it.
	Eventual bool
	// LevelBatch is how many items one request for levels names, PageRows how many rows one page has, OrderLists
	// how many lists make up all open orders, RequestsPerMinute how many requests the credential is good for.
	LevelBatch, PageRows, OrderLists, RequestsPerMinute int
}

// SourceItems is an answer with items; Window is when it was read, on the source's clock. This holds for all
// answers of a source.
type SourceItems struct {
	Items  []stock.SourceItem
	Window stock.Window
}

// SourceLevels is an answer with levels: one for each item and location asked for.
type SourceLevels struct {
	Levels []stock.Level
	Window stock.Window
}

// SourceOrders is an answer with orders.
type SourceOrders struct {
	Orders []stock.SourceOrder
	Window stock.Window
}

// SourceChanges are items whose level may have changed; Next asks for what comes after.
type SourceChanges struct {
	Items []string
	Next  string
}

// SourceEvent is what an event hints at. The truth is read.
type SourceEvent struct {
	// Item and Order are what changed; empty when the event does not say.
	Item, Order string
}

// Subscription is what a source sends events under.
type Subscription struct {
	// ID is the source's own. Secret signs its events, and stays in memory.
	ID, Secret string
	// Repaired says that events were missing, off or for something else before.
	Repaired bool
}

// SourceBudget is what is left of a credential's requests.
type SourceBudget struct {
	// Limit is how many requests a minute there may be, Remaining how many are left of them.
	Limit, Remaining int
	// Reset is when all of them are there again; ThrottledUntil when the source lets anything through again,
	// zero when it does. Both on the agent's clock.
	Reset, ThrottledUntil time.Time
}

// Source is a system that knows the stock without being a shop. It gives raw components; what a shop shows is
// a [stock.SupplyPolicy]'s to say. Errors are [*Fault]; one whose reason is [ReasonInconsistentRead] says
// that the source moved too fast to be read. Lists are complete or an error. Methods may be called
// concurrently. docs/drivers.md shows how to write one.
type Source interface {
	Capabilities() SourceCapabilities
	// Health asks whether the source is there and takes the credential.
	Health(ctx context.Context) error
	// Budget is what is known of the credential's requests, without asking.
	Budget() SourceBudget
	// Locations lists all locations, with those that are gone where the source still tells of them.
	Locations(ctx context.Context) ([]stock.SourceLocation, error)
	// Items lists what was modified since a time on the source's clock, with what is gone; all items that are
	// there when since is zero.
	Items(ctx context.Context, since time.Time) (SourceItems, error)
	// Levels reads the named items at one location; all items it has rows for when none is named. A location that
	// is gone is a fault with [ReasonLocationGone], never a location without stock.
	Levels(ctx context.Context, location string, items []string) (SourceLevels, error)
	// OpenOrders lists all orders that are not closed; when since is not zero, those of any state that were
	// modified since then, with deleted ones.
	OpenOrders(ctx context.Context, since time.Time) (SourceOrders, error)
	// Orders reads the named orders. Those that are not there any more come as closed.
	Orders(ctx context.Context, ids []string) (SourceOrders, error)
	// Changes lists items whose level may have changed. The cursor is opaque; an empty one asks for nothing
	// but the cursor of now.
	Changes(ctx context.Context, cursor string) (SourceChanges, error)
	// Subscribe makes the source send its events to a URL and keeps it so; Unsubscribe ends it.
	Subscribe(ctx context.Context, url string) (Subscription, error)
	Unsubscribe(ctx context.Context, url string) error
	// VerifyEvent reads an event received for a subscription; header looks up the request's headers. The error
	// says why it is of no use; it is [ErrForgedEvent] where the signature is wrong.
	VerifyEvent(s Subscription, body []byte, header func(name string) string) (SourceEvent, error)
}

// Package engine is the loop around the algebra of package stock: one lane per store observes, merges and
// pushes, and a ledger remembers. It knows no HTTP, no SQL and no clock of its own.
package engine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/stock"
)

// Managed says who holds the stock of an item.
type Managed int

// The ways an item can hold stock.
const (
	// Unmanaged: the store counts nothing here.
	Unmanaged Managed = iota
	// Own: the item holds its quantity itself.
	Own
	// Shared: the item is a variable product that holds the stock of its variations.
	Shared
)

// Item is one object of a store that holds stock: a product, a variation with stock of its own, or a
// variable product that manages the stock of its variations.
type Item struct {
	Ref stock.Ref
	// SKUs as spelled in the store, those that sell from this stock: one, or for a Shared item its own (if
	// any) and those of every variation without stock of its own. None where there is none.
	SKUs    []string
	Managed Managed
	// Fractional: the quantity is not a whole number, or not a number; Quantity means nothing.
	Fractional bool
	Quantity   int64
	Markers    stock.Markers
	// Modified is date_modified_gmt.
	Modified time.Time
	// Backorders is no, notify or yes; empty where the store does not say.
	Backorders string
	// Created is date_created_gmt; zero where the store does not say.
	Created time.Time
	// LowStockAmount is nil where the shop-wide one holds; 0 is a value of its own.
	LowStockAmount *int64
	// StockStatus is instock, outofstock or onbackorder; empty where it is not the item's own, as that of a
	// variable product which holds no stock.
	StockStatus string
	// GID is the Kitgenix plugin's stable id of the item; empty where it has none.
	GID string
}

// Page is a part of a store's catalogue.
type Page struct {
	Items []Item
	// Gone are those asked for that the store does not have any more.
	Gone []stock.Ref
	// Next asks for the following page; empty on the last one.
	Next string
	// Window is when the page was read, on the store's clock.
	Window stock.Window
}

// Order is what is read of a shop order: ids, dates and units, nothing else.
type Order struct {
	ID                int64
	Created, Modified time.Time
	Lines             []OrderLine
}

// OrderLine is the units one line holds (`_reduced_stock`).
type OrderLine struct {
	ID, Product, Variation, Units int64
}

// OrderQuery selects orders modified since a time on the store's clock, or by id.
type OrderQuery struct {
	Since time.Time
	// Trashed asks for orders in the trash instead of all others.
	Trashed bool
	// IDs, when set, asks for these orders whatever their time.
	IDs []int64
	// Cursor is the Next of the page before.
	Cursor string
}

// OrderPage is a part of a store's orders, oldest modification first.
type OrderPage struct {
	Orders []Order
	Next   string
	Window stock.Window
}

// Push is one write: a relative quantity with its marker, fields beside it, or both. No units, and a marker without
// an attempt, stand for no quantity; without fields too it is an empty update, which makes the store derive the status again.
type Push struct {
	Ref    stock.Ref
	Units  int64
	Slot   int
	Marker stock.Marker
	Fields stock.Values
	// Name is the SKU to give the item; empty leaves it alone. GID is written beside the marker, where it is not empty.
	Name, GID string
}

// Result is the outcome of one push.
type Result struct {
	// Item is the answer: marker and quantity in it belong together. Nil when Err is set.
	Item *Item
	// Window is when it was answered.
	Window stock.Window
	Err    error
	// Gone: the store says the item does not exist.
	Gone bool
	// Taken: the store gave the item no new SKU, nor changed anything else of it, because another item has that SKU.
	// Holder is that object, 0 if the store does not say.
	Taken  bool
	Holder int64
}

// Driver speaks to one store. Errors are [*Fault].
type Driver interface {
	// Catalogue lists everything that exists, page by page; the first cursor is empty.
	Catalogue(ctx context.Context, cursor string) (Page, error)
	// Modified lists what changed after a time on the store's clock.
	Modified(ctx context.Context, since time.Time, cursor string) (Page, error)
	// Read reads the named items, at most [BatchSize]. Those that are not there any more, or whose stock is
	// held by another object now, are named in Gone.
	Read(ctx context.Context, refs []stock.Ref) (Page, error)
	// Orders lists orders, those of a page oldest modification first.
	Orders(ctx context.Context, q OrderQuery) (OrderPage, error)
	// Push writes, at most [BatchSize], variations of one parent or products; one result for each push, in order.
	Push(ctx context.Context, pushes []Push) []Result
	// Forget removes our markers, all slots, from the named items, at most [BatchSize], and writes nothing else.
	// Items that are not there any more are no error.
	Forget(ctx context.Context, refs []stock.Ref) error
}

// BatchSize is the most items one request names: WooCommerce's own limit.
const BatchSize = 100

// Fault is an error of a store, sorted by what helps against it.
type Fault struct {
	// Reason is a condition reason of api/v1alpha1.
	Reason string
	// Message says what was seen and what to do about it.
	Message string
	// RetryAfter is what the store asked for, 0 if nothing.
	RetryAfter time.Duration
	// Unsent: the request is known to have had no effect.
	Unsent bool
	// TooLarge: fewer items at once may pass.
	TooLarge bool
}

// ReasonOrdersUnreadable is the one reason the engine itself acts on: it goes on without orders.
const ReasonOrdersUnreadable = "OrdersUnreadable"

// Error implements error.
func (f *Fault) Error() string { return f.Reason + ": " + f.Message }

// Clock is time, injected so that a simulation can make it.
type Clock interface {
	Now() time.Time
	NewSignal() Signal
	// Go starts a concurrent activity.
	Go(func())
}

// Signal wakes one waiter. Setting it before the wait is remembered.
type Signal interface {
	Set()
	// Wait returns when the signal is set, the time has come, or ctx is done.
	Wait(ctx context.Context, until time.Time)
}

// Ledger is the durable state. Update's function may run more than once and must not keep what it was given.
type Ledger interface {
	// Update runs fn in one atomic transaction; when it returns nil, all of it is durable.
	Update(ctx context.Context, fn func(Tx) error) error
	// View runs fn on a consistent state.
	View(ctx context.Context, fn func(Tx) error) error
}

// Observer is told what the ledger does not hold, for metrics and the event log. It is called from the lanes, outside of any
// transaction, and must not wait for them.
type Observer interface {
	// Pushed tells how many pushes of a batch ended so.
	Pushed(store string, how PushResult, n int)
	// Disconnected tells that a store's requests fail, two in a row or more; again when the reason changes.
	// Connected tells that they work again.
	Disconnected(store string, f *Fault)
	Connected(store string)
}

// PushResult is how a push ended.
type PushResult string

// The ends of a push.
const (
	// Acknowledged: the store answered with the item as it is now.
	Acknowledged PushResult = "acknowledged"
	// Unanswered: whether it arrived is found out by reading.
	Unanswered PushResult = "unanswered"
	// Unsent: it is known to have had no effect, and is tried again.
	Unsent PushResult = "unsent"
	// Gone: the item does not exist any more.
	Gone PushResult = "gone"
)

// unobserved is an [Observer] that does nothing.
type unobserved struct{}

func (unobserved) Pushed(string, PushResult, int) {}
func (unobserved) Disconnected(string, *Fault)    {}
func (unobserved) Connected(string)               {}

// ErrNotFound is returned for a pool that does not exist.
var ErrNotFound = errors.New("not found in the ledger")

// Tx reads and writes the ledger within one transaction.
type Tx interface {
	// NewPool makes an unset pool under its first key.
	NewPool(sku string, key stock.Key) (stock.Pool, error)
	Pool(id int64) (stock.Pool, error)
	PutPool(stock.Pool) error
	// PoolOf finds a pool by any of its keys; 0 if there is none.
	PoolOf(key stock.Key) (int64, error)
	// PoolOfGID finds a pool by its GID; 0 if there is none.
	PoolOfGID(gid string) (int64, error)
	// Alias adds a key to a pool, Rekey takes one from the pool that has it, Release from whichever has it, so that it
	// is nobody's; Keys lists a pool's.
	Alias(key stock.Key, pool int64) error
	Rekey(key stock.Key, pool int64) error
	Release(key stock.Key) error
	Keys(pool int64) ([]stock.Key, error)

	// Placement finds a placement by pool, PlacementAt by the object it is bound to ([stock.Ref.Object]).
	Placement(store string, pool int64) (stock.Placement, bool, error)
	PlacementAt(store string, object int64) (stock.Placement, bool, error)
	// Placements are those of one pool, ordered by store; StorePlacements those of one store after a pool id.
	Placements(pool int64) ([]stock.Placement, error)
	StorePlacements(store string, after int64, limit int) ([]stock.Placement, error)
	PutPlacement(stock.Placement) error
	DeletePlacement(store string, pool int64) error

	// Due are placements that may be pushed, the urgent before all others, longest waiting first. Unlike are those that differ in a field beside
	// the quantity, by pool, but for stopped pools. Restless are those that need a clean
	// sample, Pending those with an attempt that may still land, Misnamed those to be given another SKU, or sent one.
	Due(store string, limit int) ([]stock.Placement, error)
	Unlike(store string, limit int) ([]stock.Placement, error)
	Restless(store string, after int64, limit int) ([]stock.Placement, error)
	Pending(store string, after int64, limit int) ([]stock.Placement, error)
	Misnamed(store string, after int64, limit int) ([]stock.Placement, error)
	// Stores names every store that has placements.
	Stores() ([]string, error)
	Stats(store string) (Stats, error)

	// OrderLines are the known lines of one order, by line id.
	OrderLines(store string, order int64) ([]stock.Line, error)
	PutLine(store string, l stock.Line) error
	// PruneLines forgets the lines of a store that were neither made nor modified since a time.
	PruneLines(store string, before time.Time) error
	// Lines are those of a product and its variations whose Created or Modified is not before since.
	Lines(store string, product int64, since time.Time) ([]stock.Line, error)

	// NextAttempt returns an id never returned before; RaiseAttempt keeps later ones above id.
	NextAttempt() (int64, error)
	RaiseAttempt(id int64) error

	// Remember keeps a text until a time, and tells whether it was not known at now; what has passed is forgotten.
	Remember(text string, until, now time.Time) (fresh bool, err error)

	// Value and SetValue keep small texts (cursors) per store.
	Value(store, name string) (string, error)
	SetValue(store, name, value string) error
	// DropStore forgets all values and order lines of a store; its placements are deleted one by one.
	DropStore(store string) error

	// SourceItem, SourceItemOf and SourceItemsOf find items of the source by id, by pool, and by SKU as spelled, those that are
	// gone too; SourceItems are all after an id, Owing those with units owed, both by id.
	SourceItem(id string) (stock.Stocked, bool, error)
	SourceItemOf(pool int64) (stock.Stocked, bool, error)
	SourceItemsOf(sku string) ([]stock.Stocked, error)
	SourceItems(after string, limit int) ([]stock.Stocked, error)
	Owing() ([]stock.Stocked, error)
	// PutSourceItem keeps an item; each has a pool of its own.
	PutSourceItem(stock.Stocked) error
	// LinkAt finds what an object of a store is linked with, LinkOf what an item is; Links are those of a store. PutLink
	// replaces those of its object and of its item.
	LinkAt(store string, object int64) (stock.Link, bool, error)
	LinkOf(store, item string) (stock.Link, bool, error)
	Links(store string) ([]stock.Link, error)
	PutLink(stock.Link) error
	DeleteLink(store string, object int64) error
	// Import finds a row of the source's order for a shop's; the shop is the store's id. PutImport keeps one, unless it is kept
	// already; PruneImports forgets those found before a time.
	Import(o stock.ShopOrder, item string) (stock.Import, bool, error)
	PutImport(stock.Import) error
	PruneImports(before time.Time) error

	// Append adds to the history and, for a conflict, to the open rows.
	Append(stock.Entry) error

	// NewRun keeps a run under an id never used before and returns it with that; PutRun keeps what became of it.
	NewRun(agentapi.Run) (agentapi.Run, error)
	PutRun(agentapi.Run) error
	// Runs are those kept, newest first.
	Runs(limit int) ([]agentapi.Run, error)
	// DropRun forgets a run and its findings, DropFindings the findings alone.
	DropRun(id int64) error
	DropFindings(run int64) error
	// AddFinding keeps a finding of a run; Findings are those after an id, oldest first.
	AddFinding(run int64, f agentapi.Finding) error
	Findings(run, after int64, limit int) ([]agentapi.Finding, error)
}

// Stats are the counts of one store's placements. Those that manage no stock have no baseline to wait for and count
// as enrolled.
type Stats struct {
	Placements, Enrolled, Backlog, Conflicts, Stopped int
	// Waiting are neither enrolled nor blocked; Unset are those of them whose pool has no number yet.
	Waiting, Unset int
	// DirtySince is when the oldest placement that differs began to; zero when none does.
	DirtySince time.Time
	// Worst are the largest differences.
	Worst []stock.Placement
}

// Mode says what may be done with a store.
type Mode string

// The modes, from the least to the most cautious.
const (
	Sync    Mode = "Sync"
	Observe Mode = "Observe"
	Off     Mode = "Off"
)

// Store is the configuration of one store.
type Store struct {
	ID     string
	Mode   Mode
	Policy stock.Policy
	// TakeOver is the id of another ledger whose claim of this store a person lifts; empty for none.
	TakeOver string
	// Excluded tells whether a SKU is left alone here.
	Excluded func(stock.Key) bool
	// MinInterval is the shortest time between polls, MaxLoad the share of the store's time polling may take
	// (0.02 is two percent).
	MinInterval time.Duration
	MaxLoad     float64
	// Driver speaks to the store, or Absolute where the plugin is the only way in; one of both is set. Where the plugin
	// is beside a Driver, its events are hints.
	Driver   Driver
	Absolute Absolute
	// Source says how the store takes part where stock comes from a source; nil elsewhere.
	Source *SourceTerms
	// Revision changes with all that matters to the placements of the store: Off or not, policy, exclusions. As
	// long as it stays the same they need not be gone through one by one; while empty they always are.
	Revision string
}

// sameAs tells that a lane need not begin anew.
func (s Store) sameAs(o Store) bool {
	return s.Revision != "" && s.Revision == o.Revision && s.Mode == o.Mode && s.Policy == o.Policy && s.TakeOver == o.TakeOver &&
		s.MinInterval == o.MinInterval && s.MaxLoad == o.MaxLoad && s.Driver == o.Driver && s.Absolute == o.Absolute && reflect.DeepEqual(s.Source, o.Source)
}

// revision is Revision with what the engine itself adds to it: of a store that a source feeds, all that its numbers depend
// on, and whether it is written to.
func (s Store) revision() string {
	if s.Source == nil || s.Revision == "" {
		return s.Revision
	}
	return fmt.Sprintf("%s, location %q, counting %v, holding back %d, paused %v", s.Revision, s.Source.Location, s.Source.Counts, s.Policy.BufferUnits, s.Policy.Paused)
}

func (s Store) String() string { return fmt.Sprintf("store %s", s.ID) }

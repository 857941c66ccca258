package engine

import (
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

// SourceStore is the configuration of a topology whose stock comes from a source instead of a master store.
type SourceStore struct {
	// ID names the source in status and history; no store may have it.
	ID     string
	Driver Source
	// ImportWithin is how long a shop's sale may take to become an order of the source (24 h when 0; below 0 nothing is waited
	// for). Until then it is held
	// back from every shop that is fed from the location; afterwards it is not, and a conflict row says so.
	ImportWithin time.Duration
	// Poll and Compare are how often people want what changed to be asked for, and everything to be compared; see [SourceSize].
	Poll, Compare time.Duration
	// IgnoreCase: SKUs are compared without regard to case. They are kept in capitals then.
	IgnoreCase bool
	// Debounce is how long events of the source gather before what they name is read (2 s when 0).
	Debounce time.Duration
	// Reading are the waiting times of readings. Its From is the ledger's to say.
	Reading SupplyOptions
}

// SourceTerms are how a store takes part where stock comes from a source.
type SourceTerms struct {
	// Location is where the source keeps what the store sells; empty for a source without locations.
	Location string
	// Counts says which orders of the source lower what the store shows.
	Counts stock.SupplyPolicy
	// Names are what the source's orders call the store, compared without case: its host name, for one.
	Names []string
	// Correct: a reconcile of what differs writes what the shop changed by itself, too.
	Correct bool
	// Links are made by people in the configuration: which item of the store sells an item of the source where no SKU
	// does. They hold against links that web orders told.
	Links []ConfiguredLink
}

// ConfiguredLink names an item of a store and the item of the source it sells, by the source's id or else by its SKU.
type ConfiguredLink struct {
	Ref       stock.Ref
	Item, SKU string
}

// SourceState is what is known of the source.
type SourceState struct {
	ID string
	Connection
	// LastInbound is the last change found, LastHint the last event.
	LastInbound, LastHint time.Time
	// Loaded: items, locations and open orders were read at least once, if not by this process then by one before.
	Loaded bool
	// ComparedAt is when everything was last compared.
	ComparedAt time.Time
	// Plan is how the requests are spent, Budget what is left of them.
	Plan   SourcePlan
	Budget SourceBudget
	// Locations are those of the source, with those that are gone as far as it tells.
	Locations []stock.SourceLocation
	// Items are those that are there, OpenOrders the orders that are not closed.
	Items, OpenOrders int
	// CommittedElsewhere are items of which the source commits more than open orders hold of the item itself: parts of kits
	// and of subassemblies. No error.
	CommittedElsewhere int
	// Shared are SKUs that several items carry, so that none is synced; the first ones of SharedCount, by name.
	Shared      []string
	SharedCount int
	// Waiting are items to be read; Doubted those of them whose reading could not be used, with the reason, the first ones of
	// DoubtedCount.
	Waiting      int
	Doubted      []DoubtedItem
	DoubtedCount int
	// Awaited are lines of shops' orders that the source does not have yet, AwaitedUnits their units, AwaitedSince when the
	// oldest of them was found.
	Awaited, AwaitedUnits int64
	AwaitedSince          time.Time
}

// DoubtedItem is an item of the source whose last reading could not be used.
type DoubtedItem struct {
	Item, SKU, Location string
	// Why is empty when its orders merely moved during the reading.
	Why stock.Doubt
}

// maxNamed bounds the lists of [SourceState].
const maxNamed = 20

const (
	importWithin = 24 * time.Hour
	debounce     = 2 * time.Second
)

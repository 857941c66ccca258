package engine

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

// SupplyOptions are the waiting times of a [Supply]; zero stands for the default in brackets.
type SupplyOptions struct {
	// Overlap is by how much readings of changes overlap (2 min).
	Overlap time.Duration
	// Settle is how long the orders of an item must have been still before its level is believed, where a
	// source's levels lag behind its orders (2 s).
	Settle time.Duration
	// Patience is how long a reading that may be torn must stay the same before it is used (1 min).
	Patience time.Duration
	// Remember is how long closed orders are known (14 days).
	Remember time.Duration
	// From is where a reader of an earlier process stopped; what changed meanwhile is read, too.
	From SupplyCursor
}

// SupplyCursor is where the reading of changes stands. It may be kept as JSON.
type SupplyCursor struct {
	// Orders is on the source's clock, Levels opaque.
	Orders time.Time `json:"orders"`
	Levels string    `json:"levels,omitempty"`
}

// tries is how often a reading that moved is made again at once.
const tries = 3

// Supply reads the stock of a [Source] at one moment: orders, levels, orders again. What moved meanwhile is
// read again; what looks torn is not used. It is not safe for concurrent use.
type Supply struct {
	source Source
	o      SupplyOptions
	open   stock.OpenOrders
	loaded bool
	cursor SupplyCursor
	used   map[spot]stock.Supply
	doubt  map[spot]doubted
}

type spot struct{ item, location string }

type doubted struct {
	supply stock.Supply
	since  time.Time
}

// NewSupply makes a reader that has read nothing yet.
func NewSupply(source Source, o SupplyOptions) *Supply {
	o.Overlap = cmp.Or(o.Overlap, 2*time.Minute)
	o.Settle = cmp.Or(o.Settle, 2*time.Second)
	o.Patience = cmp.Or(o.Patience, time.Minute)
	o.Remember = cmp.Or(o.Remember, 14*24*time.Hour)
	return &Supply{source: source, o: o, cursor: o.From, used: map[spot]stock.Supply{}, doubt: map[spot]doubted{}}
}

// Unsettled is an item whose reading was not used; it is to be read again.
type Unsettled struct {
	Item string
	// Why is empty when its orders merely moved during the reading, or a moment before.
	Why stock.Doubt
}

// Reading is what one call of [Supply.Read] found.
type Reading struct {
	Supplies  []stock.Supply
	Unsettled []Unsettled
	// Dirty are items of other readings whose orders were seen to change; after an error all of those. Moved are all whose
	// orders were: at other locations they are to be read again.
	Dirty, Moved []string
}

// Cursor is where the reading of changes stands, to be kept with what was made of them.
func (s *Supply) Cursor() SupplyCursor { return s.cursor }

// Recall tells what an earlier process used last, so that later readings are judged by it.
func (s *Supply) Recall(used stock.Supply) {
	s.used[spot{used.Level.Item, used.Level.Location}] = used
}

// Reload reads all open orders anew and returns the items whose demand differs from what was known. It heals
// what a lost change would have left.
func (s *Supply) Reload(ctx context.Context) ([]string, error) {
	answer, err := s.source.OpenOrders(ctx, time.Time{})
	if err != nil {
		return nil, err
	}
	dirty := s.open.Load(answer.Orders, answer.Window.From)
	s.loaded = true
	if s.cursor.Orders.IsZero() {
		s.cursor.Orders = answer.Window.From
	}
	return dirty, nil
}

// Poll returns the items that may have changed since the last poll, by the orders and by the source's feed of
// levels. The first one reads all open orders, and only begins the feed.
func (s *Supply) Poll(ctx context.Context) ([]string, error) {
	dirty, err := s.orders(ctx)
	if err != nil || !s.source.Capabilities().Changes {
		return dirty, err
	}
	changes, err := s.source.Changes(ctx, s.cursor.Levels)
	if err != nil {
		return dirty, err
	}
	s.cursor.Levels = changes.Next
	return unique(append(dirty, changes.Items...)), nil
}

// orders reads what changed in the orders.
func (s *Supply) orders(ctx context.Context) ([]string, error) {
	switch {
	case !s.source.Capabilities().Orders:
		return nil, nil
	case !s.loaded && s.cursor.Orders.IsZero():
		return s.Reload(ctx)
	}
	var dirty []string
	if !s.loaded {
		var err error
		if dirty, err = s.Reload(ctx); err != nil {
			return nil, err
		}
	}
	answer, err := s.source.OpenOrders(ctx, s.cursor.Orders.Add(-s.o.Overlap))
	if err != nil {
		return dirty, err
	}
	dirty = unique(append(dirty, s.put(answer)...))
	if answer.Window.From.After(s.cursor.Orders) {
		s.cursor.Orders = answer.Window.From
		s.open.Prune(s.cursor.Orders.Add(-s.o.Remember))
	}
	return dirty, nil
}

// held reads the orders and, of those that hold the items and can move unseen, the rows.
func (s *Supply) held(ctx context.Context, items []string) ([]string, error) {
	dirty, err := s.orders(ctx)
	if err != nil {
		return dirty, err
	}
	partly := s.open.Partly(items)
	if len(partly) == 0 {
		return dirty, nil
	}
	answer, err := s.source.Orders(ctx, partly)
	if err != nil {
		return dirty, err
	}
	return unique(append(dirty, s.put(answer)...)), nil
}

func (s *Supply) put(answer SourceOrders) []string {
	var dirty []string
	for _, o := range answer.Orders {
		dirty = append(dirty, s.open.Put(o, answer.Window.From)...)
	}
	return unique(dirty)
}

// Read reads items at one location; all it has rows for when none is named. Every item named is in the result
// once, as a supply or as unsettled. After an error nothing of it may be used but what is dirty.
func (s *Supply) Read(ctx context.Context, location string, items []string) (Reading, error) {
	var out Reading
	dirty, err := s.held(ctx, items)
	if err != nil {
		return Reading{Dirty: unique(dirty)}, err
	}
	asked := unique(slices.Clone(items))
	for try := 1; ; try++ {
		answer, err := s.source.Levels(ctx, location, asked)
		if err != nil {
			return Reading{Dirty: unique(dirty)}, err
		}
		moved, err := s.held(ctx, asked)
		dirty = append(dirty, moved...)
		if err != nil {
			return Reading{Dirty: unique(dirty)}, err
		}
		out.moved(moved)
		var again []string
		for _, level := range answer.Levels {
			if _, unstill := slices.BinarySearch(moved, level.Item); unstill {
				again = append(again, level.Item)
				continue
			}
			s.take(&out, stock.Supply{Level: level, Demand: s.open.Demand(level.Item, location), At: answer.Window.From})
		}
		if asked = unique(again); len(asked) == 0 {
			break
		}
		if try == tries {
			for _, item := range asked {
				out.Unsettled = append(out.Unsettled, Unsettled{Item: item})
			}
			break
		}
	}
	settled := map[string]struct{}{}
	for _, p := range out.Supplies {
		settled[p.Level.Item] = struct{}{}
	}
	out.Moved = unique(dirty)
	for _, item := range out.Moved {
		if _, ok := settled[item]; !ok {
			out.Dirty = append(out.Dirty, item)
		}
	}
	return out, nil
}

// moved takes back what was read before the orders of these items moved: it is not of one moment with the rest.
func (r *Reading) moved(items []string) {
	r.Supplies = slices.DeleteFunc(r.Supplies, func(s stock.Supply) bool {
		_, again := slices.BinarySearch(items, s.Level.Item)
		if again {
			r.Unsettled = append(r.Unsettled, Unsettled{Item: s.Level.Item})
		}
		return again
	})
}

// take decides whether a reading whose orders stood still may be used.
func (s *Supply) take(out *Reading, now stock.Supply) {
	at := spot{now.Level.Item, now.Level.Location}
	if s.source.Capabilities().Eventual && now.At.Before(s.open.Moved(at.item).Add(s.o.Settle)) {
		out.Unsettled = append(out.Unsettled, Unsettled{Item: at.item})
		return
	}
	var before *stock.Supply
	if used, ok := s.used[at]; ok {
		before = &used
	}
	if why := now.Judge(before); why != stock.NoDoubt {
		first, known := s.doubt[at]
		if !known || !first.supply.Same(now) {
			first = doubted{now, now.At}
			s.doubt[at] = first
		}
		if !why.Stays() || now.At.Before(first.since.Add(s.o.Patience)) {
			out.Unsettled = append(out.Unsettled, Unsettled{Item: at.item, Why: why})
			return
		}
	}
	delete(s.doubt, at)
	s.used[at] = now
	out.Supplies = append(out.Supplies, now)
}

// Imported tells whether the source has an order for this order of a shop, open or closed, as far as its
// orders were read.
func (s *Supply) Imported(o stock.ShopOrder) bool { return s.open.Imported(o) }

// Imports are the orders of shops that were found in the source since the last call. What is read of their items from now
// on holds them.
func (s *Supply) Imports() []stock.ImportedOrder { return s.open.Imports() }

// OpenOrders is how many orders are open, for people.
func (s *Supply) OpenOrders() int { return s.open.Len() }

// Doubted are the items at a location that wait to be believed, and why; for people.
func (s *Supply) Doubted(location string) []Unsettled {
	var out []Unsettled
	for _, at := range slices.SortedFunc(maps.Keys(s.doubt), func(a, b spot) int { return cmp.Compare(a.item, b.item) }) {
		if at.location == location {
			before, known := s.used[at]
			previous := &before
			if !known {
				previous = nil
			}
			out = append(out, Unsettled{at.item, s.doubt[at].supply.Judge(previous)})
		}
	}
	return out
}

// Inconsistent tells whether an error says that the source moved too fast to be read.
func Inconsistent(err error) bool {
	var f *Fault
	return errors.As(err, &f) && f.Reason == ReasonInconsistentRead
}

func unique(items []string) []string {
	slices.Sort(items)
	return slices.Compact(items)
}

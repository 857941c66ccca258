package engine

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/internal/stock"
)

// Engine runs one lane per store over one ledger.
type Engine struct {
	ledger   Ledger
	ledgerID string
	clock    Clock
	log      logr.Logger
	observer Observer

	mu    sync.Mutex
	lanes map[string]*lane
	// listings counts how often the master listed something new: a child binds nothing before that.
	listings int
	// source reads the source of stock; nil where a store is the master.
	source  *sourceLane
	running context.Context
	active  sync.WaitGroup
	limits  Limits
	// current is the run under way, watchers wait for news of runs.
	current  *activeRun
	watchers map[Signal]bool
	// writing counts the lanes that are writing to their store.
	writing map[string]bool
	surge   surge

	// starting is held while a run is begun, telling while its state is written.
	starting, telling sync.Mutex
}

// Limits are the settings that hold for all stores.
type Limits struct {
	// LagObjective: what differs for less is in flight. 0 means a minute.
	LagObjective time.Duration
	Breaker      stock.Breaker
}

// SetLimits replaces the limits.
func (e *Engine) SetLimits(l Limits) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.limits = l
}

func (e *Engine) lagObjective() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.limits.LagObjective > 0 {
		return e.limits.LagObjective
	}
	return time.Minute
}

// New returns an engine without stores. ledgerID goes into every marker it writes.
func New(ledger Ledger, ledgerID string, clock Clock, log logr.Logger) *Engine {
	return &Engine{ledger: ledger, ledgerID: ledgerID, clock: clock, log: log, observer: unobserved{}, lanes: map[string]*lane{},
		watchers: map[Signal]bool{}, writing: map[string]bool{}, surge: surge{seen: map[int64]drastic{}}}
}

// Observe has o told of everything from now on. Call it before Start.
func (e *Engine) Observe(o Observer) { e.observer = o }

// Run starts the lanes and blocks until ctx is done and every lane has stopped. Call it once.
func (e *Engine) Run(ctx context.Context) error {
	e.Start(ctx)
	<-ctx.Done()
	e.active.Wait()
	return nil
}

// Start starts the lanes and returns; they stop when ctx is done.
func (e *Engine) Start(ctx context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running = ctx
	for _, id := range e.ids() {
		e.launch(e.lanes[id])
	}
	if e.source != nil {
		e.launchSource()
	}
	e.active.Add(1)
	e.clock.Go(func() {
		defer e.active.Done()
		e.resume(ctx)
	})
}

func (e *Engine) launch(l *lane) {
	ctx, cancel := context.WithCancel(e.running)
	l.cancel = cancel
	e.active.Add(1)
	e.clock.Go(func() {
		defer e.active.Done()
		l.run(ctx)
	})
}

func (e *Engine) ids() []string {
	ids := make([]string, 0, len(e.lanes))
	for id := range e.lanes {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// policy of a store; that of a store that is not configured plans nothing that matters.
func (e *Engine) policy(store string) stock.Policy {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.lanes[store]; l != nil {
		return l.store.Policy
	}
	return stock.Policy{}
}

// Configure makes stores the full list. A store that left loses its placements, and the pool keeps what it
// did; one that is Off is set from the reading when it comes back.
func (e *Engine) Configure(ctx context.Context, stores []Store) error {
	e.mu.Lock()
	stores = slices.Clone(stores)
	old := e.lanes
	e.lanes = map[string]*lane{}
	for i := range stores {
		stores[i].Policy.Source, stores[i].Policy.Paused = stores[i].Source != nil, stores[i].Mode != Sync
		// A store whose plugin is the only way in tells nothing of its orders.
		stores[i].Policy.OrdersUnreadable = stores[i].Policy.OrdersUnreadable || stores[i].Absolute != nil
		st := stores[i]
		l := old[st.ID]
		if l == nil {
			l = newLane(e, st)
			if e.running != nil {
				e.launch(l)
			}
		}
		if !l.store.sameAs(st) {
			l.fresh = true
		}
		l.store = st
		e.lanes[st.ID] = l
	}
	for id, l := range old {
		if e.lanes[id] == nil && l.cancel != nil {
			l.cancel()
		}
	}
	e.mu.Unlock()

	var known []string
	err := e.ledger.View(ctx, func(tx Tx) (err error) {
		known, err = tx.Stores()
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range known {
		if !slices.ContainsFunc(stores, func(s Store) bool { return s.ID == id }) {
			if err := e.drop(ctx, id, "the store left the topology"); err != nil {
				return err
			}
		}
	}
	wake := map[string]bool{}
	for _, st := range stores {
		if err := e.adopt(ctx, st); err != nil {
			return err
		}
		wake[st.ID] = true
	}
	e.wake(wake)
	e.reconfigured()
	return nil
}

// drop forgets all that is known of a store; the pools keep what it did.
func (e *Engine) drop(ctx context.Context, store, why string) error {
	err := e.eachPlacement(ctx, store, func(tx Tx, p stock.Placement) error {
		if err := tx.DeletePlacement(store, p.Pool); err != nil {
			return err
		}
		return tx.Append(stock.Entry{Kind: stock.Removed, Store: store, Pool: p.Pool, SKU: p.SKU, Quantity: p.Shown, Evidence: why, At: e.clock.Now()})
	})
	if err != nil {
		return err
	}
	return e.ledger.Update(ctx, func(tx Tx) error { return tx.DropStore(store) })
}

const (
	// valueAdopted names the revision a store's placements were last brought in line with.
	valueAdopted = "adopted"
	// valueScanned is set once a store's catalogue was read to its end.
	valueScanned = "scanned"
)

// adopt brings the placements of a store in line with its configuration.
func (e *Engine) adopt(ctx context.Context, st Store) error {
	if err := e.takeOvers(ctx, st); err != nil {
		return err
	}
	var adopted string
	err := e.ledger.View(ctx, func(tx Tx) (err error) {
		if adopted, err = tx.Value(st.ID, valueAdopted); err != nil {
			return err
		}
		claimed, err := tx.Value(st.ID, valueClaimed)
		if err != nil {
			return err
		}
		relative, err := tx.Value(st.ID, valueRelative)
		if err != nil {
			return err
		}
		scanned, err := tx.Value(st.ID, valueScanned)
		if err != nil {
			return err
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if l := e.lanes[st.ID]; l != nil {
			l.state.Scanned = l.state.Scanned || scanned != ""
			l.state.ClaimedBy, l.state.RelativeUnsupported = claimed, relative == relativeIgnored
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := e.configureLinks(ctx, st); err != nil {
		return err
	}
	revision := st.revision()
	if revision != "" && adopted == revision {
		return nil
	}
	err = e.eachPlacement(ctx, st.ID, func(tx Tx, p stock.Placement) error { return e.adoptOne(tx, st, p) })
	if err != nil || adopted == revision {
		return err
	}
	return e.ledger.Update(ctx, func(tx Tx) error { return tx.SetValue(st.ID, valueAdopted, revision) })
}

// adoptOne is [Engine.adopt] of one placement.
func (e *Engine) adoptOne(tx Tx, st Store, p stock.Placement) error {
	keys, err := tx.Keys(p.Pool)
	if err != nil {
		return err
	}
	if st.Excluded != nil && (slices.ContainsFunc(keys, st.Excluded) || st.excludes(p.SKU)) {
		return tx.DeletePlacement(st.ID, p.Pool)
	}
	pool, err := tx.Pool(p.Pool)
	if err != nil {
		return err
	}
	was, aimed := planOf(p), p.Target
	if st.Source != nil {
		// Another location or choice of orders: the number is another, and what was to do stays as it is.
		item, ok, err := tx.SourceItemOf(p.Pool)
		if err != nil {
			return err
		}
		if number, known := item.Number(st.Source.Location, st.Source.Counts, st.Policy); ok && known {
			p.Retarget(number, false, st.Policy)
		}
	}
	if st.Mode == Off && (p.Enrolled || p.Shelf.Joined) {
		if p.Enrolled {
			p.Disenroll("")
		}
		p.Shelf = stock.Shelf{Writes: p.Shelf.Writes}
	} else {
		before, planned := p.Contained+p.Counted+p.Todo, p.Enrolled && p.Blocked == "" && pool.Set
		stock.Plan(pool, &p, st.Policy, e.clock.Now())
		if planOf(p) == was && p.Target == aimed {
			return nil
		}
		if planned {
			e.drastic(p, before, e.clock.Now(), st.ID)
		}
	}
	return tx.PutPlacement(p)
}

func (e *Engine) eachPlacement(ctx context.Context, store string, fn func(Tx, stock.Placement) error) error {
	after := int64(0)
	for {
		n := 0
		last := after
		err := e.ledger.Update(ctx, func(tx Tx) error {
			page, err := tx.StorePlacements(store, after, 500)
			if err != nil {
				return err
			}
			n = len(page)
			for _, p := range page {
				last = p.Pool
				if err := fn(tx, p); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if after = last; n < 500 {
			return nil
		}
	}
}

// Hint tells that a store's webhook named these products. Hints are never trusted, only followed.
func (e *Engine) Hint(store string, products ...int64) {
	e.mu.Lock()
	l := e.lanes[store]
	if l != nil {
		for _, id := range products {
			l.hints[id] = true
		}
		l.state.LastHint = e.clock.Now()
	}
	e.mu.Unlock()
	if l != nil {
		l.signal.Set()
	}
}

func (e *Engine) wake(stores map[string]bool) {
	e.mu.Lock()
	var signals []Signal
	for _, id := range e.ids() {
		if stores[id] {
			signals = append(signals, e.lanes[id].signal)
		}
	}
	e.mu.Unlock()
	for _, s := range signals {
		s.Set()
	}
}

// listed counts a listing and wakes every lane, which then looks whether it has what is new.
func (e *Engine) listed() {
	e.mu.Lock()
	e.listings++
	all := map[string]bool{}
	for id := range e.lanes {
		all[id] = true
	}
	e.mu.Unlock()
	e.wake(all)
}

// StoreState is what a lane knows of its store.
type StoreState struct {
	StoreID string
	Mode    Mode
	Master  bool
	Connection
	// LastInbound is the last change found, LastOutbound the last acknowledged write, LastHint the last webhook delivery.
	LastInbound, LastOutbound, LastHint time.Time
	// Skew is how far the store's clock is ahead of the agent's.
	Skew time.Duration
	// ClaimedBy is the ledger whose markers were found here; empty when it is ours.
	ClaimedBy string
	// RelativeUnsupported: the store was proved to ignore inventory_delta.
	RelativeUnsupported bool
	OrdersUnreadable    bool
	// LocationGone: the source does not have the location any more that the store is mapped to, so nothing is written.
	LocationGone bool
	// Unmatched are items of the source that no item of the store sells.
	Unmatched int
	// Scanned: the whole catalogue was read at least once, if not by this process then by one before.
	Scanned bool
	// Pulse is the last answer of a store whose plugin is the only way in, and PingedAt when it came.
	Pulse    Pulse
	PingedAt time.Time
	Stats    Stats
}

// LastSeen is when a store last answered in this process; zero if it did not, or there is no such store.
func (e *Engine) LastSeen(store string) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.lanes[store]; l != nil {
		return l.state.LastSeen
	}
	return time.Time{}
}

// Status reports every store, the master first, then by id.
func (e *Engine) Status(ctx context.Context) ([]StoreState, error) {
	e.mu.Lock()
	var states []StoreState
	var sourced []int
	for _, id := range e.ids() {
		l := e.lanes[id]
		s := l.state
		s.Mode, s.Master, s.OrdersUnreadable = l.store.Mode, l.store.Policy.Master, l.store.Policy.OrdersUnreadable && l.store.Absolute == nil
		if e.source != nil && l.store.Source != nil {
			s.LocationGone = locationGone(e.source.state.Locations, l.store.Source.Location)
			sourced = append(sourced, len(states))
		}
		states = append(states, s)
	}
	e.mu.Unlock()
	slices.SortStableFunc(states, func(a, b StoreState) int {
		switch {
		case a.Master == b.Master:
			return 0
		case a.Master:
			return -1
		}
		return 1
	})
	err := e.ledger.View(ctx, func(tx Tx) error {
		items := e.sourceSize()
		for i := range states {
			stats, err := tx.Stats(states[i].StoreID)
			if err != nil {
				return err
			}
			states[i].Stats = stats
			if slices.Contains(sourced, i) {
				states[i].Unmatched = max(0, items-stats.Placements)
			}
		}
		return nil
	})
	return states, err
}

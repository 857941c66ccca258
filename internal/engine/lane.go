package engine

import (
	"context"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/stock"
)

// The rhythm of a lane. None of it decides what is right, only how soon it is known.
const (
	// orderHistory is how far back the first order sweep looks.
	orderHistory = 30 * 24 * time.Hour
	// orderMemory is how long an order that nobody touches is known. It is as if the first sweep had looked no
	// further back: what a forgotten order held moves nothing when it is met again.
	orderMemory = 400 * 24 * time.Hour
	// An order's units are written behind the stock, by seconds where plugins are slow; a product's date before
	// its quantity, by milliseconds, or by the time a write is held up, and those items are read anyway. So far
	// behind the last poll the cursors stay.
	orderOverlap   = time.Minute
	productOverlap = 10 * time.Second
	rescanEvery    = time.Hour
	// rescanAfter is the least time between two scans, however often the master lists something new.
	rescanAfter  = 5 * time.Minute
	rescanSoon   = 20 * time.Second
	pendingEvery = 30 * time.Second
	maxSamples   = 8
	idle         = time.Hour
)

// lane is the loop of one store: it alone speaks to the store, one request at a time, so no store can hold
// up another and at most one write is in flight for any placement.
type lane struct {
	contact

	// Guarded by the engine's mutex.
	store Store
	hints map[int64]bool
	state StoreState
	// peer is used where the plugin is the only way into the store.
	peer absoluteLane
	// offered are SKUs that a master which cannot list them is to be asked about.
	offered map[stock.Key]string
	// fresh asks the lane to look at everything again: the configuration changed.
	fresh bool
	// rescan asks for the whole catalogue, retry to end the back-off; forget is the removal of our markers.
	rescan, retry bool
	forget        *forget

	// The lane's own; all of it can be lost in a crash and is found again.
	samples   map[int64][]stock.Sample
	recheck   map[int64]stock.Ref
	verified  map[int64]bool
	ask       map[int64]bool
	started   bool
	catalogue catalogueScan
	listed    bool // during a scan: something no pool was for
	nextPoll  time.Time
	nextPend  time.Time
	sweptAt   time.Time
	// walked: the last step was a run's, so the next is not.
	walked bool
	// sweepAgain is the earliest time for the next sweep that is not part of a poll, on our clock.
	sweepAgain time.Time
	// asked is the time the store has spent on the requests of the poll under way.
	asked time.Duration
	pace  pace
}

type catalogueScan struct {
	cursor  string
	active  bool
	began   time.Time
	next    time.Time
	foreign string
	// listings is what the engine had counted when the scan began.
	listings int
	// again asks for another scan: since this one began the shop turned out to be restored from a backup, and what
	// it put back carries the dates of the backup, which no poll finds.
	again bool
	// seen are the pools of the items met since the scan began.
	seen bits
}

// bits is a set of small numbers, such as pool ids.
type bits []uint64

func (b *bits) add(n int64) {
	for int64(len(*b)) <= n/64 {
		*b = append(*b, 0)
	}
	(*b)[n/64] |= 1 << (n % 64)
}

func (b bits) has(n int64) bool { return n/64 < int64(len(b)) && b[n/64]>>(n%64)&1 == 1 }

func newLane(e *Engine, st Store) *lane {
	h := fnv.New64a()
	h.Write([]byte(st.ID))
	l := &lane{
		store: st, hints: map[int64]bool{}, offered: map[stock.Key]string{}, peer: absoluteLane{follow: map[int64]time.Time{}},
		samples: map[int64][]stock.Sample{}, recheck: map[int64]stock.Ref{}, verified: map[int64]bool{}, ask: map[int64]bool{},
		state: StoreState{StoreID: st.ID},
	}
	l.contact = newContact(e, st.ID, e.log.WithValues("store", st.ID), rand.New(rand.NewPCG(h.Sum64(), 1)), &l.state.Connection)
	return l
}

func (l *lane) run(ctx context.Context) {
	for ctx.Err() == nil {
		st := l.config()
		until, err := l.step(ctx, st)
		if err != nil {
			until = l.failed(ctx, err)
		}
		if !until.IsZero() {
			l.signal.Wait(ctx, until)
		}
	}
}

func (l *lane) config() Store {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	if l.fresh {
		l.fresh = false
		l.forgive()
		l.catalogue = catalogueScan{}
		clear(l.samples)
	}
	if l.rescan {
		l.rescan = false
		l.catalogue = catalogueScan{}
	}
	if l.retry {
		l.retry = false
		l.forgive()
		l.nextPoll = time.Time{}
	}
	l.tryAgain()
	return l.store
}

func (l *lane) failed(ctx context.Context, err error) time.Time {
	until := l.contact.failed(ctx, err)
	if ctx.Err() == nil {
		l.giveUpFailing(ctx, l.e.clock.Now())
	}
	return until
}

// step does one piece of work and returns when to look for the next; the zero time means at once.
func (l *lane) step(ctx context.Context, st Store) (time.Time, error) {
	now := l.e.clock.Now()
	if now.Before(l.retryAt) {
		return l.retryAt, nil
	}
	if l.mustForget() {
		return l.forgetSome(ctx, st)
	}
	switch {
	case st.Mode == Off:
		l.giveUp(ctx, agentapi.Finding{Class: agentapi.StoreUnreachable, Message: "the store's mode is Off: nothing is read or written there"})
		return now.Add(idle), nil
	case st.Absolute != nil:
		return l.absolute(ctx, st)
	case !l.started:
		return time.Time{}, l.start(ctx, st)
	case len(l.recheck) > 0:
		return time.Time{}, l.readRecheck(ctx, st)
	case !now.Before(l.nextPoll):
		return time.Time{}, l.poll(ctx, st)
	}
	r, walkAt := l.e.walkOf(st, now)
	if r != nil && !now.Before(walkAt) && !l.walked {
		l.walked = true
		return time.Time{}, l.walk(ctx, st, r)
	}
	l.walked = false
	if refs, err := l.takeHints(ctx, st); len(refs) > 0 || err != nil {
		if err == nil {
			err = l.read(ctx, st, refs)
		}
		return time.Time{}, err
	}
	if renamed, err := l.renameItems(ctx, st); renamed || err != nil {
		return time.Time{}, err
	}
	pushed, held, err := l.push(ctx, st)
	if pushed || err != nil {
		return time.Time{}, err
	}
	refs, next, err := l.wantSamples(ctx, st, now)
	if err != nil {
		return time.Time{}, err
	}
	next = earlier(next, held)
	if len(refs) > 0 {
		return time.Time{}, l.read(ctx, st, refs)
	}
	if due := l.sweepDue(); !due.IsZero() {
		if !now.Before(due) {
			return time.Time{}, l.sweepAndJudge(ctx, st)
		}
		next = earlier(next, due)
	}
	scanAt := l.scanAt(st, now)
	if l.catalogue.active || !now.Before(scanAt) {
		return time.Time{}, l.scan(ctx, st)
	}
	if !now.Before(l.nextPend) {
		return time.Time{}, l.readPending(ctx, st)
	}
	if r != nil {
		if !now.Before(walkAt) {
			return time.Time{}, nil
		}
		next = earlier(next, walkAt)
	}
	return earlier(earlier(earlier(next, l.nextPoll), l.nextPend), scanAt), nil
}

// scanAt is when the next scan may begin. A child can bind only what the master has listed, so it waits for the
// master's first scan, and looks again when the master lists something new. A restored shop is looked at anew.
func (l *lane) scanAt(st Store, now time.Time) time.Time {
	again, wait := l.catalogue.again, rescanAfter
	if !st.Policy.Master {
		l.e.mu.Lock()
		defer l.e.mu.Unlock()
		if l.e.source != nil && !l.e.source.state.Loaded {
			return now.Add(idle)
		}
		for _, other := range l.e.lanes {
			if other.store.Policy.Master && !other.state.Scanned {
				return now.Add(idle)
			}
			if other.store.Policy.Master && other.store.Absolute != nil {
				// It is asked about what was met here, and lists it only then.
				wait = rescanSoon
			}
		}
		again = again || l.e.listings != l.catalogue.listings
	}
	if again {
		return earlier(l.catalogue.next, l.catalogue.began.Add(wait))
	}
	return l.catalogue.next
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// start takes the first look at orders, so that there is something to measure baselines against, and finds
// the attempts a crash left open: they are looked at before anything is pushed.
func (l *lane) start(ctx context.Context, st Store) error {
	if err := l.sweep(ctx, st, false); err != nil {
		if err := l.unreadable(ctx, st, err); err != nil {
			return err
		}
	}
	for p, err := range l.placements(ctx, st, Tx.Pending) {
		if err != nil {
			return err
		}
		l.recheck[p.Pool] = p.Ref
	}
	l.started = true
	return nil
}

func (l *lane) readRecheck(ctx context.Context, st Store) error {
	pools := slices.Sorted(maps.Keys(l.recheck))
	pools = pools[:min(len(pools), BatchSize)]
	refs := make([]stock.Ref, 0, len(pools))
	for _, id := range pools {
		refs = append(refs, l.recheck[id])
	}
	if err := l.read(ctx, st, refs); err != nil {
		return err
	}
	for _, id := range pools {
		delete(l.recheck, id)
	}
	return nil
}

// readPending looks now and then at items where a request may still land unseen: a shop can write a
// modification date long before it writes the quantity, so no cursor is sure to find it.
func (l *lane) readPending(ctx context.Context, st Store) error {
	now := l.e.clock.Now()
	l.nextPend = now.Add(pendingEvery)
	for p, err := range l.placements(ctx, st, Tx.Pending) {
		if err != nil {
			return err
		}
		age := time.Duration(1<<62 - 1)
		for _, t := range p.Attempts {
			age = min(age, now.Sub(t.SentAt))
		}
		if now.Sub(p.ReadAt) >= min(max(age/4, pendingEvery), rescanEvery) {
			l.recheck[p.Pool] = p.Ref
		}
	}
	return nil
}

// takeHints turns product ids that webhooks named into items to read. An id that is not bound may be a new
// product; an unknown variation is found by the poll.
func (l *lane) takeHints(ctx context.Context, st Store) ([]stock.Ref, error) {
	l.e.mu.Lock()
	ids := slices.Sorted(maps.Keys(l.hints))
	ids = ids[:min(len(ids), BatchSize)]
	for _, id := range ids {
		delete(l.hints, id)
	}
	l.e.mu.Unlock()
	if len(ids) == 0 {
		return nil, nil
	}
	var refs []stock.Ref
	err := l.e.ledger.View(ctx, func(tx Tx) error {
		refs = refs[:0]
		for _, id := range ids {
			p, bound, err := tx.PlacementAt(st.ID, id)
			if err != nil {
				return err
			}
			if !bound {
				p.Ref = stock.Ref{Product: id}
			}
			refs = append(refs, p.Ref)
		}
		return nil
	})
	return refs, err
}

// poll reads what changed since the last poll, products and orders. It is the truth; hints only come sooner.
func (l *lane) poll(ctx context.Context, st Store) error {
	began := l.e.clock.Now()
	l.asked = 0
	since, err := l.cursor(ctx, st, "products")
	if err != nil {
		return err
	}
	if since.IsZero() {
		since = began.Add(-productOverlap)
	}
	var first time.Time
	for cursor := ""; ; {
		sent := l.e.clock.Now()
		page, err := st.Driver.Modified(ctx, since.Add(-productOverlap), cursor)
		if err != nil {
			return err
		}
		l.asked += l.e.clock.Now().Sub(sent)
		l.succeeded(page.Window)
		if first.IsZero() {
			first = page.Window.From
		}
		if err := l.observe(ctx, st, page); err != nil {
			return err
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if err := l.setCursor(ctx, st, "products", first); err != nil {
		return err
	}
	if err := l.sweepAndJudge(ctx, st); err != nil {
		return err
	}
	now := l.e.clock.Now()
	wait := st.MinInterval
	if st.MaxLoad > 0 {
		// Only the store's own time is its load; what the ledger takes is ours.
		wait = max(wait, time.Duration(float64(l.asked)/st.MaxLoad))
	}
	l.nextPoll = began.Add(wait)
	if l.nextPoll.Before(now) {
		l.nextPoll = now.Add(wait)
	}
	return nil
}

// scan reads the next page of the whole catalogue: at first sight of the store, and now and then after, for
// what no modification date tells (deleted items, imports that write past WooCommerce).
func (l *lane) scan(ctx context.Context, st Store) error {
	now := l.e.clock.Now()
	if !l.catalogue.active {
		l.e.mu.Lock()
		listings := l.e.listings
		l.e.mu.Unlock()
		l.catalogue = catalogueScan{active: true, began: now, listings: listings}
	}
	page, err := st.Driver.Catalogue(ctx, l.catalogue.cursor)
	if err != nil {
		return err
	}
	l.succeeded(page.Window)
	if err := l.observe(ctx, st, page); err != nil {
		return err
	}
	if l.catalogue.cursor = page.Next; page.Next != "" {
		return nil
	}
	l.catalogue.active = false
	l.catalogue.next = now.Add(rescanEvery)
	return l.scanned(ctx, st)
}

// scanned follows a complete scan: what was bound but not seen is read by id, and a claim by another ledger
// that no item shows any more is lifted.
func (l *lane) scanned(ctx context.Context, st Store) error {
	for p, err := range l.placements(ctx, st, Tx.StorePlacements) {
		if err != nil {
			return err
		}
		if !l.catalogue.seen.has(p.Pool) {
			l.recheck[p.Pool] = p.Ref
		}
	}
	foreign, listed := l.catalogue.foreign, l.listed
	err := l.e.ledger.Update(ctx, func(tx Tx) error {
		for name, value := range map[string]string{valueClaimed: foreign, valueScanned: "yes"} {
			was, err := tx.Value(st.ID, name)
			if err == nil && was != value {
				err = tx.SetValue(st.ID, name, value)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	l.catalogue.seen = nil
	if err := l.prune(ctx, st); err != nil {
		return err
	}
	first := false
	l.note(func(s *StoreState) {
		first = !s.Scanned
		s.ClaimedBy, s.Scanned = foreign, true
	})
	if st.Policy.Master && (first || listed) {
		l.listed = false
		l.e.listed()
	}
	return nil
}

// prune forgets old orders, once a day.
func (l *lane) prune(ctx context.Context, st Store) error {
	horizon, err := l.cursor(ctx, st, valueHorizon)
	to := l.e.clock.Now().Add(-orderMemory)
	if err != nil || horizon.IsZero() || to.Sub(horizon) < 24*time.Hour {
		return err
	}
	return l.e.ledger.Update(ctx, func(tx Tx) error {
		if err := tx.PruneLines(st.ID, to); err != nil {
			return err
		}
		return tx.SetValue(st.ID, valueHorizon, to.UTC().Format(time.RFC3339Nano))
	})
}

func (l *lane) cursor(ctx context.Context, st Store, name string) (time.Time, error) {
	var text string
	err := l.e.ledger.View(ctx, func(tx Tx) (err error) {
		text, err = tx.Value(st.ID, name)
		return err
	})
	if err != nil || text == "" {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339Nano, text)
}

func (l *lane) setCursor(ctx context.Context, st Store, name string, t time.Time) error {
	return l.e.ledger.Update(ctx, func(tx Tx) error {
		return tx.SetValue(st.ID, name, t.UTC().Format(time.RFC3339Nano))
	})
}

// read reads the named items; those that are not there any more are unbound.
func (l *lane) read(ctx context.Context, st Store, refs []stock.Ref) error {
	page, err := st.Driver.Read(ctx, refs)
	if err != nil {
		return err
	}
	l.succeeded(page.Window)
	return l.observe(ctx, st, page)
}

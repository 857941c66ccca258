package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

const (
	// listEvery is how often new and renamed items are asked for, beside those that events and changes name.
	listEvery = 5 * time.Minute
	// unsettledAfter is when an item whose reading was not used is read again; longer each time, up to unsettledMost.
	unsettledAfter, unsettledMost = 3 * time.Second, time.Minute
	// settledIn is how long the source must have worked before a sale counts as not imported.
	settledIn = time.Hour
	// importMemory is how long it is known which orders of shops the source has.
	importMemory = 30 * 24 * time.Hour

	// valueSource, of no store, is what is kept of the reading of the source.
	valueSource = "source"
)

// sourceLane is the loop that reads the source. It alone speaks to it.
type sourceLane struct {
	contact

	// Guarded by the engine's mutex.
	cfg      SourceStore
	fresh    bool
	hinted   map[string]bool
	hintedAt time.Time
	retry    bool
	state    SourceState
	// fed is what the stores were last set to.
	fed feeding

	// The lane's own; what matters of it is in kept.
	supply  *Supply
	kept    sourceBook
	imports []stock.Import
	dirty   map[spot]*waiting
	// comparedIn are the locations at which everything was read, knownIn those where that was ever done.
	comparedIn, knownIn map[string]bool
	// untold are orders that the source has and of whose lines nothing is known here yet.
	untold                        map[stock.ShopOrder]untold
	nextPoll, nextList, nextWhole time.Time
	// polledAt is when changes were last asked for, gap how long events wait from then on.
	polledAt time.Time
	gap      time.Duration
}

// waiting is an item at a location that is to be read.
type waiting struct {
	at    time.Time
	tries int
	why   stock.Doubt
	// baseline: nothing changed; the source has no row of it, and it is read by its name once.
	baseline bool
}

// sourceBook is what the ledger keeps of the reading: where it stands, and what was seen to change but not read yet.
type sourceBook struct {
	Cursor     SupplyCursor `json:"cursor"`
	Step       int64        `json:"step"`
	Dirty      []string     `json:"dirty,omitempty"`
	Listed     time.Time    `json:"listed,omitzero"`
	ComparedAt time.Time    `json:"comparedAt,omitzero"`
	// Locations as they were last listed.
	Locations []stock.SourceLocation `json:"locations,omitempty"`
	Loaded    bool                   `json:"loaded,omitempty"`
	// Fed are the locations that were in use.
	Fed []string `json:"fed,omitempty"`
	// Shrunk: the last whole list of items lacked most of those known. It takes another to believe that.
	Shrunk bool `json:"shrunk,omitempty"`
	// IgnoreCase tells how the SKUs were taken in.
	IgnoreCase bool `json:"ignoreCase,omitempty"`
}

// SetSource says that stock comes from a source; nil that it comes from a master store. It holds from the next
// [Engine.Configure] on.
func (e *Engine) SetSource(src *SourceStore) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if src == nil {
		if e.source != nil && e.source.cancel != nil {
			e.source.cancel()
		}
		e.source = nil
		return
	}
	cfg := *src
	cfg.ImportWithin, cfg.Debounce = cmp.Or(cfg.ImportWithin, importWithin), cmp.Or(cfg.Debounce, debounce)
	if e.source != nil && e.source.cfg.ID != cfg.ID {
		if e.source.cancel != nil {
			e.source.cancel()
		}
		e.source = nil
	}
	if e.source == nil {
		s := &sourceLane{cfg: cfg, fresh: true, hinted: map[string]bool{}, state: SourceState{ID: cfg.ID}}
		s.contact = newContact(e, cfg.ID, e.log.WithValues("source", cfg.ID), rand.New(rand.NewPCG(1, 2)), &s.state.Connection)
		e.source = s
		if e.running != nil {
			e.launchSource()
		}
	}
	e.source.fresh = e.source.fresh || e.source.cfg != cfg
	e.source.cfg = cfg
}

func (e *Engine) launchSource() {
	s := e.source
	ctx, cancel := context.WithCancel(e.running)
	s.cancel = cancel
	e.active.Add(1)
	e.clock.Go(func() {
		defer e.active.Done()
		s.run(ctx)
	})
}

// SourceHint tells that the source sent an event. Hints are never trusted, only followed.
func (e *Engine) SourceHint(ev SourceEvent) {
	e.mu.Lock()
	s := e.source
	if s != nil {
		now := e.clock.Now()
		if s.hintedAt.IsZero() {
			s.hintedAt = now
		}
		if ev.Item != "" {
			s.hinted[ev.Item] = true
		}
		s.state.LastHint = now
	}
	e.mu.Unlock()
	if s != nil {
		s.signal.Set()
	}
}

func (s *sourceLane) run(ctx context.Context) {
	for ctx.Err() == nil {
		cfg, terms := s.config()
		until, err := s.step(ctx, cfg, terms)
		if err != nil {
			until = s.failed(ctx, err)
		}
		if !until.IsZero() {
			s.signal.Wait(ctx, until)
		}
	}
}

// config is the source's and the locations that stores are fed from, with what the source calls the stores.
func (s *sourceLane) config() (SourceStore, feeding) {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	if s.fresh {
		s.fresh, s.supply = false, nil
		s.forgive()
	}
	if s.retry {
		s.retry = false
		s.forgive()
	}
	s.tryAgain()
	return s.cfg, s.e.feeding()
}

// feeding says which stores are fed from where.
type feeding struct {
	locations []string
	names     map[string]string
}

func (f feeding) same(o feeding) bool {
	return slices.Equal(f.locations, o.locations) && maps.Equal(f.names, o.names)
}

// feeding needs the engine's mutex.
func (e *Engine) feeding() feeding {
	f := feeding{names: map[string]string{}}
	for _, id := range e.ids() {
		st := e.lanes[id].store
		if st.Source == nil || st.Mode == Off {
			continue
		}
		if !slices.Contains(f.locations, st.Source.Location) {
			f.locations = append(f.locations, st.Source.Location)
		}
		for _, name := range st.Source.Names {
			f.names[shopName(name)] = id
		}
	}
	slices.Sort(f.locations)
	return f
}

func shopName(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

func (s *sourceLane) note(change func(*SourceState)) {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	change(&s.state)
}

// step does one piece of work and returns when to look for the next; the zero time means at once.
func (s *sourceLane) step(ctx context.Context, cfg SourceStore, f feeding) (time.Time, error) {
	now := s.e.clock.Now()
	switch {
	case now.Before(s.retryAt):
		return s.retryAt, nil
	case len(f.locations) == 0:
		return now.Add(idle), s.rest(ctx)
	case s.supply == nil:
		return time.Time{}, s.start(ctx, cfg, f)
	case !now.Before(s.nextList):
		return time.Time{}, s.list(ctx, cfg, now)
	}
	if s.takeHints(now, cfg, f) || !now.Before(s.nextPoll) {
		return time.Time{}, s.poll(ctx, cfg, f, now)
	}
	for _, location := range f.locations {
		if !s.comparedIn[location] {
			return time.Time{}, s.compareOne(ctx, cfg, f, location)
		}
		if batch := s.due(location, now); len(batch) > 0 {
			return time.Time{}, s.read(ctx, cfg, f, location, batch)
		}
	}
	if !now.Before(s.nextWhole) {
		// Everything anew: items and locations, all open orders, and every level.
		s.kept.Listed = time.Time{}
		if err := s.list(ctx, cfg, now); err != nil {
			return time.Time{}, err
		}
		if cfg.Driver.Capabilities().Orders {
			dirty, err := s.supply.Reload(ctx)
			for _, item := range dirty {
				s.mark(item, f.locations)
			}
			if err != nil {
				return time.Time{}, err
			}
		}
		clear(s.comparedIn)
		s.nextWhole = now.Add(s.plan().CompareEvery)
		return time.Time{}, nil
	}
	return s.next(cfg, f), nil
}

// rest notes that no store is fed: what changes meanwhile is not made up for.
func (s *sourceLane) rest(ctx context.Context) error {
	return s.e.ledger.Update(ctx, func(tx Tx) error {
		var book sourceBook
		text, err := tx.Value("", valueSource)
		if err != nil || text == "" {
			return err
		}
		if err := json.Unmarshal([]byte(text), &book); err != nil || len(book.Fed) == 0 {
			return err
		}
		book.Fed = nil
		b, err := json.Marshal(book)
		if err != nil {
			return err
		}
		return tx.SetValue("", valueSource, string(b))
	})
}

// next is when there is something to do again.
func (s *sourceLane) next(cfg SourceStore, f feeding) time.Time {
	next := earlier(earlier(s.nextPoll, s.nextList), s.nextWhole)
	for at, w := range s.dirty {
		if slices.Contains(f.locations, at.location) && !s.gone(at.location) {
			next = earlier(next, w.at)
		}
	}
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	if !s.hintedAt.IsZero() {
		next = earlier(next, s.hintsDue(cfg))
	}
	return next
}

// hintsDue is when events are followed: when no more come with them, and no more often than there are requests for that.
func (s *sourceLane) hintsDue(cfg SourceStore) time.Time {
	return later(s.hintedAt.Add(cfg.Debounce), s.polledAt.Add(s.gap))
}

// start takes up the reading where the ledger says it stood.
func (s *sourceLane) start(ctx context.Context, cfg SourceStore, f feeding) error {
	s.kept, s.dirty, s.imports = sourceBook{}, map[spot]*waiting{}, nil
	s.comparedIn, s.knownIn = map[string]bool{}, map[string]bool{}
	s.nextPoll, s.nextList = time.Time{}, time.Time{}
	s.untold = map[stock.ShopOrder]untold{}
	items, err := s.recall(ctx, f)
	if err != nil {
		return err
	}
	o := cfg.Reading
	o.From = s.kept.Cursor
	s.supply = NewSupply(cfg.Driver, o)
	for _, i := range items {
		for _, u := range i.Supplies {
			s.supply.Recall(u.Supply)
			s.comparedIn[u.Level.Location], s.knownIn[u.Level.Location] = s.kept.Loaded, s.kept.Loaded
		}
	}
	every := cmp.Or(cfg.Compare, compareEvery)
	if s.nextWhole = s.kept.ComparedAt.Add(every); s.kept.ComparedAt.IsZero() {
		s.nextWhole = s.e.clock.Now().Add(every)
	}
	if s.kept.Loaded && s.kept.IgnoreCase == cfg.IgnoreCase {
		s.nextList = s.kept.Listed.Add(listEvery)
	}
	for _, item := range s.kept.Dirty {
		s.mark(item, f.locations)
	}
	s.kept.Fed = f.locations
	s.count(items)
	s.note(func(st *SourceState) {
		st.Loaded, st.ComparedAt, st.Locations = s.kept.Loaded, s.kept.ComparedAt, s.kept.Locations
	})
	return nil
}

// recall reads what the ledger kept. A location that comes into use, or does so again, begins with a baseline: what changed
// meanwhile is not made up for.
func (s *sourceLane) recall(ctx context.Context, f feeding) (items []stock.Stocked, err error) {
	err = s.e.ledger.Update(ctx, func(tx Tx) error {
		items, s.kept = nil, sourceBook{}
		text, err := tx.Value("", valueSource)
		if err != nil {
			return err
		}
		if text != "" {
			if err := json.Unmarshal([]byte(text), &s.kept); err != nil {
				return err
			}
		}
		for after := ""; ; {
			page, err := tx.SourceItems(after, 500)
			if err != nil {
				return err
			}
			for _, i := range page {
				after = i.ID
				if s.forget(&i, f) {
					if err := tx.PutSourceItem(i); err != nil {
						return err
					}
				}
				items = append(items, i)
			}
			if len(page) < 500 {
				return nil
			}
		}
	})
	return items, err
}

// forget drops the readings of locations that were not in use.
func (s *sourceLane) forget(i *stock.Stocked, f feeding) (forgot bool) {
	for _, location := range f.locations {
		if !slices.Contains(s.kept.Fed, location) && i.Forget(location) {
			forgot = true
		}
	}
	return forgot
}

func (s *sourceLane) locations() []string {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	return s.e.feeding().locations
}

// mark asks for an item to be read.
func (s *sourceLane) mark(item string, locations []string) {
	for _, location := range locations {
		if at := (spot{item, location}); s.dirty[at] == nil {
			s.dirty[at] = &waiting{}
		} else {
			s.dirty[at].at, s.dirty[at].baseline = time.Time{}, false
		}
	}
}

// takeHints marks the items that events named, once no more come; it tells whether the orders are to be read.
func (s *sourceLane) takeHints(now time.Time, cfg SourceStore, f feeding) bool {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	if s.hintedAt.IsZero() || now.Before(s.hintsDue(cfg)) {
		return false
	}
	for item := range s.hinted {
		s.mark(item, f.locations)
	}
	s.hintedAt = time.Time{}
	clear(s.hinted)
	return true
}

// due are the items to be read at a location, as many as one request names.
func (s *sourceLane) due(location string, now time.Time) []string {
	if s.gone(location) {
		return nil
	}
	var items []string
	for at, w := range s.dirty {
		if at.location == location && !now.Before(w.at) {
			items = append(items, at.item)
		}
	}
	slices.Sort(items)
	return items[:min(len(items), max(1, s.supply.source.Capabilities().LevelBatch))]
}

// gone tells whether a location was deleted, or is none of the source's.
func (s *sourceLane) gone(location string) bool { return locationGone(s.kept.Locations, location) }

func locationGone(all []stock.SourceLocation, id string) bool {
	i := slices.IndexFunc(all, func(l stock.SourceLocation) bool { return l.ID == id })
	return len(all) > 0 && (i < 0 || all[i].Gone)
}

// list reads items and locations: everything, or what changed since.
func (s *sourceLane) list(ctx context.Context, cfg SourceStore, now time.Time) error {
	var locations []stock.SourceLocation
	if cfg.Driver.Capabilities().Locations {
		var err error
		if locations, err = cfg.Driver.Locations(ctx); err != nil {
			return err
		}
	}
	since := s.kept.Listed
	if s.kept.IgnoreCase != cfg.IgnoreCase {
		since = time.Time{}
	}
	if !since.IsZero() {
		since = since.Add(-cmp.Or(cfg.Reading.Overlap, 2*time.Minute))
	}
	answer, err := cfg.Driver.Items(ctx, since)
	if err != nil {
		return err
	}
	for i := range answer.Items {
		answer.Items[i].SKU = spelledIn(answer.Items[i].SKU, cfg.IgnoreCase)
	}
	var out *effects
	book := s.kept
	book.Locations, book.Listed, book.IgnoreCase = locations, answer.Window.From, cfg.IgnoreCase
	err = s.e.ledger.Update(ctx, func(tx Tx) (err error) {
		out = newEffects()
		t := s.turn(tx, cfg, out)
		if err := t.locations(s.kept.Locations, locations); err != nil {
			return err
		}
		if book.Shrunk, err = t.items(answer.Items, since.IsZero(), s.kept.Shrunk); err != nil {
			return err
		}
		if since.IsZero() {
			if err := tx.PruneImports(now.Add(-importMemory)); err != nil {
				return err
			}
		}
		return s.save(tx, &book, nil)
	})
	if err != nil {
		return err
	}
	s.kept = book
	s.nextList = now.Add(listEvery)
	s.succeeded()
	s.note(func(st *SourceState) { st.Locations = locations })
	if len(answer.Items) > 0 || since.IsZero() {
		if err := s.recount(ctx); err != nil {
			return err
		}
	}
	return s.e.sourceListed(ctx, out)
}

// save keeps the book and the imports found since it was last kept.
func (s *sourceLane) save(tx Tx, book *sourceBook, imports []stock.Import) error {
	items := map[string]struct{}{}
	for at, w := range s.dirty {
		if !w.baseline {
			items[at.item] = struct{}{}
		}
	}
	book.Dirty = slices.Sorted(maps.Keys(items))
	book.Cursor = s.supply.Cursor()
	if len(imports) > 0 {
		book.Step++
	}
	for _, i := range imports {
		i.Step = book.Step
		if err := tx.PutImport(i); err != nil {
			return err
		}
	}
	b, err := json.Marshal(book)
	if err != nil {
		return err
	}
	return tx.SetValue("", valueSource, string(b))
}

// found takes in which orders of the stores the source has.
func (s *sourceLane) found(f feeding, now time.Time) {
	for _, o := range s.supply.Imports() {
		store, ours := f.names[shopName(o.Order.Shop)]
		if !ours {
			continue
		}
		order := stock.ShopOrder{Shop: store, ID: strings.TrimSpace(o.Order.ID)}
		if len(o.Items) > 0 {
			s.untold[order] = untold{o.Items, now}
		}
		for _, item := range o.Items {
			s.imports = append(s.imports, stock.Import{Order: order, Item: item, At: now})
		}
		if len(o.Items) == 0 {
			s.imports = append(s.imports, stock.Import{Order: order, At: now})
		}
	}
}

// poll reads what may have changed, and ends what has waited too long.
func (s *sourceLane) poll(ctx context.Context, cfg SourceStore, f feeding, now time.Time) error {
	dirty, err := s.supply.Poll(ctx)
	for _, item := range dirty {
		s.mark(item, f.locations)
	}
	s.found(f, now)
	if err != nil {
		return err
	}
	plan := s.plan()
	s.nextPoll, s.polledAt, s.gap = now.Add(plan.Poll), now, plan.Delay
	s.succeeded()
	s.e.mu.Lock()
	connected := s.state.ConnectedSince
	s.e.mu.Unlock()
	var out *effects
	var book sourceBook
	var told []stock.ShopOrder
	err = s.e.ledger.Update(ctx, func(tx Tx) (err error) {
		out, book = newEffects(), s.kept
		if err := s.save(tx, &book, s.imports); err != nil {
			return err
		}
		if told, err = s.learn(tx, out); err != nil {
			return err
		}
		if now.Sub(connected) < min(settledIn, cfg.ImportWithin) {
			return nil
		}
		return s.turn(tx, cfg, out).expire()
	})
	if err != nil {
		return err
	}
	s.kept, s.imports = book, nil
	for _, order := range told {
		delete(s.untold, order)
	}
	s.e.rescan(out.rescan)
	s.e.wake(out.wake)
	return s.unlisted(ctx, dirty)
}

// unlisted asks for the items at once where something changed of one that is not known yet.
func (s *sourceLane) unlisted(ctx context.Context, items []string) error {
	return s.e.ledger.View(ctx, func(tx Tx) error {
		for _, id := range items {
			if _, known, err := tx.SourceItem(id); err != nil {
				return err
			} else if !known {
				s.nextList = time.Time{}
			}
		}
		return nil
	})
}

// read reads items at a location and takes in what is settled.
func (s *sourceLane) read(ctx context.Context, cfg SourceStore, f feeding, location string, items []string) error {
	now := s.e.clock.Now()
	r, err := s.supply.Read(ctx, location, items)
	s.moved(f, location, r, err)
	if err != nil {
		return s.lostLocation(ctx, cfg, location, err)
	}
	s.succeeded()
	for _, u := range r.Unsettled {
		s.unsettled(location, u, now)
	}
	return s.use(ctx, cfg, f, location, r, true)
}

// moved marks what a reading saw to change.
func (s *sourceLane) moved(f feeding, location string, r Reading, err error) {
	s.found(f, s.e.clock.Now())
	for _, item := range r.Dirty {
		s.mark(item, f.locations)
	}
	others := slices.DeleteFunc(slices.Clone(f.locations), func(l string) bool { return l == location && err == nil })
	for _, item := range r.Moved {
		s.mark(item, others)
	}
}

func (s *sourceLane) unsettled(location string, u Unsettled, now time.Time) {
	at := spot{u.Item, location}
	w := s.dirty[at]
	if w == nil {
		w = &waiting{}
		s.dirty[at] = w
	}
	w.why, w.at = u.Why, now.Add(min(unsettledMost, unsettledAfter<<min(w.tries, 10)))
	w.tries++
}

// lostLocation makes the locations be listed anew where one turns out to be gone: only what is mapped there stops.
func (s *sourceLane) lostLocation(ctx context.Context, cfg SourceStore, location string, err error) error {
	var f *Fault
	if !errors.As(err, &f) || f.Reason != ReasonLocationGone || !cfg.Driver.Capabilities().Locations {
		return err
	}
	if again := s.list(ctx, cfg, s.e.clock.Now()); again != nil || !s.gone(location) {
		return errors.Join(err, again)
	}
	return nil
}

// useAtOnce is how many readings are taken in by one transaction.
const useAtOnce = 500

// use takes in readings, each transaction with where the reading stands. asked: the items were named because something
// changed.
func (s *sourceLane) use(ctx context.Context, cfg SourceStore, f feeding, location string, r Reading, asked bool) error {
	changed := false
	now := s.e.clock.Now()
	for supplies := range slices.Chunk(append(r.Supplies, stock.Supply{}), useAtOnce) {
		was := map[spot]*waiting{}
		for _, u := range supplies {
			at := spot{u.Level.Item, location}
			was[at] = s.dirty[at]
			delete(s.dirty, at)
		}
		var out *effects
		var book sourceBook
		err := s.e.ledger.Update(ctx, func(tx Tx) error {
			out, book = newEffects(), s.kept
			book.Step++
			if err := s.save(tx, &book, s.imports); err != nil {
				return err
			}
			t := s.turn(tx, cfg, out)
			for _, u := range supplies {
				if u.Level.Item == "" {
					continue
				}
				w := was[spot{u.Level.Item, location}]
				known := s.knownIn[location] && (w == nil || !w.baseline)
				if err := t.supplied(stock.Used{Supply: u, Step: book.Step}, asked || w != nil, known); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			for at, w := range was {
				if w != nil {
					s.dirty[at] = w
				}
			}
			return err
		}
		s.kept, s.imports = book, nil
		changed = changed || out.changed
		if out.listed {
			s.nextList = time.Time{}
		}
		s.e.wake(out.wake)
	}
	s.tell(f)
	if changed {
		s.note(func(st *SourceState) { st.LastInbound = now })
	}
	return nil
}

// compareOne reads everything at one location.
func (s *sourceLane) compareOne(ctx context.Context, cfg SourceStore, f feeding, location string) error {
	now := s.e.clock.Now()
	if !s.gone(location) {
		r, err := s.supply.Read(ctx, location, nil)
		s.moved(f, location, r, err)
		if err != nil {
			return s.lostLocation(ctx, cfg, location, err)
		}
		s.succeeded()
		for _, u := range r.Unsettled {
			s.unsettled(location, u, now)
		}
		if err := s.use(ctx, cfg, f, location, r, false); err != nil {
			return err
		}
		if err := s.absent(ctx, location); err != nil {
			return err
		}
		s.knownIn[location] = true
	}
	s.comparedIn[location] = true
	for _, l := range f.locations {
		if !s.comparedIn[l] {
			return nil
		}
	}
	book := s.kept
	book.ComparedAt, book.Loaded = now, true
	if err := s.e.ledger.Update(ctx, func(tx Tx) error { return s.save(tx, &book, nil) }); err != nil {
		return err
	}
	s.kept = book
	if err := s.recount(ctx); err != nil {
		return err
	}
	first := false
	s.note(func(st *SourceState) {
		first = !st.Loaded
		st.Loaded, st.ComparedAt = true, now
	})
	if first {
		s.e.listed()
	}
	return nil
}

// absent asks for the items that the source has no row of at a location, by name: that is no stock, and a level like any other.
func (s *sourceLane) absent(ctx context.Context, location string) error {
	return s.e.ledger.View(ctx, func(tx Tx) error {
		for after := ""; ; {
			page, err := tx.SourceItems(after, 500)
			if err != nil {
				return err
			}
			for _, i := range page {
				after = i.ID
				if _, read := i.Supply(location); read || i.Gone {
					continue
				}
				if at := (spot{i.ID, location}); s.dirty[at] == nil {
					s.dirty[at] = &waiting{baseline: true}
				}
			}
			if len(page) < 500 {
				return nil
			}
		}
	})
}

// plan is how the requests are spent at the size things have.
func (s *sourceLane) plan() SourcePlan {
	size := SourceSize{Locations: len(s.locations()), OpenOrders: s.supply.OpenOrders(), PartlyFulfilled: len(s.supply.open.Partly(nil))}
	s.e.mu.Lock()
	size.Items, size.Poll, size.Compare = s.state.Items, s.cfg.Poll, s.cfg.Compare
	s.e.mu.Unlock()
	p := PlanSource(s.supply.source.Capabilities(), size)
	s.note(func(st *SourceState) { st.Plan, st.OpenOrders = p, size.OpenOrders })
	return p
}

// tell puts into the state what waits to be read.
func (s *sourceLane) tell(f feeding) {
	items := map[string]struct{}{}
	var doubted []DoubtedItem
	for at, w := range s.dirty {
		if !slices.Contains(f.locations, at.location) {
			continue
		}
		items[at.item] = struct{}{}
		if w.why != stock.NoDoubt {
			doubted = append(doubted, DoubtedItem{Item: at.item, Location: at.location, Why: w.why})
		}
	}
	slices.SortFunc(doubted, func(a, b DoubtedItem) int {
		return cmp.Or(strings.Compare(a.Item, b.Item), strings.Compare(a.Location, b.Location))
	})
	s.note(func(st *SourceState) {
		st.Waiting, st.DoubtedCount = len(items), len(doubted)
		st.Doubted = doubted[:min(len(doubted), maxNamed)]
	})
}

func (s *sourceLane) turn(tx Tx, cfg SourceStore, out *effects) *sourceTurn {
	return &sourceTurn{e: s.e, tx: tx, cfg: cfg, now: s.e.clock.Now(), out: out}
}

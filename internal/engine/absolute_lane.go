package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

const (
	// pingEvery is how often a store is asked for its clock; until it is known to within clockEnough more often, a few times.
	pingEvery   = 15 * time.Minute
	clockEnough = 400 * time.Millisecond
	firstPings  = 6
	// lookAgain is when an item is read again after an event: the plugin drops the next change within two seconds.
	lookAgain = 3 * time.Second
)

// absoluteLane is what a lane knows of a store whose plugin is the only way in. All of it can be lost in a crash.
type absoluteLane struct {
	clock    stock.PeerClock
	pulse    Pulse
	nextPing time.Time
	pings    int
	// follow are the pools to be read at a time.
	follow map[int64]time.Time
	// list and after say how far the round through all items has come: those bound here, then the master's.
	list    int
	after   int64
	roundAt time.Time
}

// debounces tells whether the plugin drops a change that follows another within two seconds.
func (l *lane) debounces() bool { return l.peer.pulse.Generation == 1 }

// fences tells whether the store drops a write that arrives after a newer one. A child sends no versions.
func (l *lane) fences(st Store) bool { return l.peer.pulse.Generation != 1 && !st.Policy.Master }

// absolute does one piece of work in a store whose plugin is the only way in, and returns when to look for the next.
func (l *lane) absolute(ctx context.Context, st Store) (time.Time, error) {
	now := l.e.clock.Now()
	for id := range l.recheck {
		if id > 0 {
			l.watch(id, now)
		}
	}
	clear(l.recheck)
	switch {
	case !now.Before(l.peer.nextPing):
		return time.Time{}, l.ping(ctx, st)
	case !l.started:
		return time.Time{}, l.startAbsolute(ctx, st)
	}
	r, walkAt := l.e.walkOf(st, now)
	if r != nil && !now.Before(walkAt) && !l.walked {
		l.walked = true
		return time.Time{}, l.walk(ctx, st, r)
	}
	l.walked = false
	if pools := l.takePools(now); len(pools) > 0 {
		return time.Time{}, l.readPools(ctx, st, pools)
	}
	if renamed, err := l.renameAbsolute(ctx, st); renamed || err != nil {
		return time.Time{}, err
	}
	wrote, next, err := l.write(ctx, st)
	if wrote || err != nil {
		return time.Time{}, err
	}
	if offered := l.takeOffered(); len(offered) > 0 {
		return time.Time{}, l.readOffered(ctx, st, offered)
	}
	if !now.Before(l.peer.roundAt) {
		return time.Time{}, l.round(ctx, st)
	}
	for _, at := range l.peer.follow {
		next = earlier(next, at)
	}
	if r != nil {
		if !now.Before(walkAt) {
			return time.Time{}, nil
		}
		next = earlier(next, walkAt)
	}
	return earlier(earlier(next, l.peer.roundAt), l.peer.nextPing), nil
}

// ping compares the clocks and asks for the generation.
func (l *lane) ping(ctx context.Context, st Store) error {
	sent := l.e.clock.Now()
	pulse, err := st.Absolute.Ping(ctx)
	if err != nil {
		return err
	}
	now := l.e.clock.Now()
	l.peer.pulse = pulse
	if pulse.Seconds != 0 {
		l.peer.clock = l.peer.clock.Ping(sent, now, pulse.Seconds)
	}
	l.peer.nextPing = now.Add(pingEvery)
	if l.peer.pings++; l.peer.pings < firstPings && pulse.Seconds != 0 && l.peer.clock.Most-l.peer.clock.Least > clockEnough {
		l.peer.nextPing = now.Add(time.Duration(l.rand.Int64N(int64(time.Second))))
	}
	l.succeeded(stock.Window{})
	l.note(func(s *StoreState) {
		s.Pulse, s.PingedAt = pulse, now
		if l.peer.clock.Known() {
			s.Skew = l.peer.clock.Skew()
		}
	})
	return nil
}

// startAbsolute finds what a crash left open: it is looked at before anything is written.
func (l *lane) startAbsolute(ctx context.Context, st Store) error {
	now := l.e.clock.Now()
	for p, err := range l.placements(ctx, st, Tx.StorePlacements) {
		if err != nil {
			return err
		}
		if _, open := p.Absolute.Watch(now); open {
			l.peer.follow[p.Pool] = now
		}
	}
	l.started = true
	return nil
}

// takePools takes the pools that are to be read now: those that events named, and those that are being watched.
func (l *lane) takePools(now time.Time) []int64 {
	l.e.mu.Lock()
	hinted := slices.Sorted(maps.Keys(l.hints))
	hinted = hinted[:min(len(hinted), AskSize)]
	for _, id := range hinted {
		delete(l.hints, id)
	}
	l.e.mu.Unlock()
	pools := slices.Clone(hinted)
	for _, id := range slices.Sorted(maps.Keys(l.peer.follow)) {
		if at := l.peer.follow[id]; !now.Before(at) && len(pools) < AskSize {
			delete(l.peer.follow, id)
			if !slices.Contains(pools, id) {
				pools = append(pools, id)
			}
		}
	}
	for _, id := range hinted {
		l.watch(id, now.Add(lookAgain))
	}
	return pools
}

// watch has a pool read again at a time, or sooner if it is watched already.
func (l *lane) watch(pool int64, at time.Time) {
	l.peer.follow[pool] = earlier(l.peer.follow[pool], at)
}

func (l *lane) takeOffered() []string {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	keys := slices.Sorted(maps.Keys(l.offered))
	keys = keys[:min(len(keys), AskSize)]
	skus := make([]string, len(keys))
	for i, k := range keys {
		skus[i] = l.offered[k]
		delete(l.offered, k)
	}
	return skus
}

// asked is a pool with the SKUs it is asked about.
type asked struct {
	pool int64
	skus []string
	names
}

// skusOf are the SKUs of a pool, as spelled where that is known.
func skusOf(tx Tx, st Store, id int64) (asked, error) {
	a := asked{pool: id}
	pool, err := tx.Pool(id)
	if errors.Is(err, ErrNotFound) {
		return a, nil
	}
	if err != nil {
		return a, err
	}
	keys, err := tx.Keys(id)
	if err != nil || st.Excluded != nil && slices.ContainsFunc(keys, st.Excluded) {
		return a, err
	}
	if skip, err := a.naming(tx, st, pool, keys); skip || err != nil || len(a.skus) > 0 {
		return a, err
	}
	for _, k := range keys {
		sku := string(k)
		if k == stock.KeyOf(pool.SKU) {
			sku = pool.SKU
		}
		a.skus = append(a.skus, sku)
	}
	return a, nil
}

// showing reads what the store shows of pools. What it did not answer for is left out of the page.
func (l *lane) showing(ctx context.Context, st Store, pools []int64) (Page, error) {
	var list []asked
	err := l.e.ledger.View(ctx, func(tx Tx) error {
		list = list[:0]
		for _, id := range pools {
			a, err := skusOf(tx, st, id)
			if err != nil {
				return err
			}
			if len(a.skus) > 0 {
				list = append(list, a)
			}
		}
		return nil
	})
	if err != nil {
		return Page{}, err
	}
	var page Page
	page.Window.From = l.e.clock.Now()
	states := map[string]PeerState{}
	var skus []string
	for _, a := range list {
		skus = append(skus, a.skus...)
	}
	for part := range slices.Chunk(skus, AskSize) {
		answer, err := st.Absolute.States(ctx, part)
		if err != nil {
			return Page{}, err
		}
		maps.Copy(states, answer)
	}
	if list, err = l.byOtherNames(ctx, st, list, states); err != nil {
		return Page{}, err
	}
	page.Window.To = l.e.clock.Now()
	for _, a := range list {
		item, exists, answered := a.item(states)
		switch {
		case !answered:
		case exists:
			page.Items = append(page.Items, item)
		default:
			page.Gone = append(page.Gone, absoluteRef(a.pool))
		}
	}
	return page, nil
}

// item makes one of the answers about a pool's SKUs: the holder of the stock is the one that manages it.
func (a asked) item(states map[string]PeerState) (item Item, exists, answered bool) {
	item = Item{Ref: absoluteRef(a.pool), Managed: Unmanaged}
	holders := 0
	for _, sku := range a.skus {
		s, ok := states[sku]
		if !ok {
			return item, false, false
		}
		if !s.Exists || a.foreign[s.GID] {
			continue
		}
		exists = true
		if s.Managed != Own {
			item.SKUs = append(item.SKUs, sku)
			if item.StockStatus == "" && holders == 0 && s.Managed == Unmanaged {
				item.StockStatus = s.StockStatus
			}
			continue
		}
		if holders++; holders > 1 {
			continue
		}
		item.SKUs = append([]string{sku}, item.SKUs...)
		item.Managed, item.Quantity, item.Fractional = Own, s.Quantity, s.Unreadable
		item.Backorders, item.StockStatus, item.LowStockAmount, item.GID = s.Backorders, s.StockStatus, s.LowStockAmount, s.GID
	}
	if holders > 1 {
		// Each holds its own here, and they share one elsewhere: none of them is the one.
		item.Managed, item.StockStatus = Unmanaged, ""
	}
	return item, exists, true
}

// readPools reads and merges pools.
func (l *lane) readPools(ctx context.Context, st Store, pools []int64) error {
	page, err := l.showing(ctx, st, pools)
	if err != nil {
		for _, id := range pools {
			l.watch(id, l.e.clock.Now())
		}
		return err
	}
	l.succeeded(stock.Window{})
	return l.observe(ctx, st, page)
}

// readOffered asks a master that cannot list what it sells about SKUs that other stores have.
func (l *lane) readOffered(ctx context.Context, st Store, skus []string) error {
	var pools []int64
	var known []stock.Key
	err := l.e.ledger.View(ctx, func(tx Tx) error {
		pools, known = nil, nil
		for _, sku := range skus {
			id, err := tx.PoolOf(stock.KeyOf(sku))
			if err != nil {
				return err
			}
			if id != 0 {
				pools, known = append(pools, id), append(known, stock.KeyOf(sku))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(pools) > 0 {
		if err := l.readPools(ctx, st, pools); err != nil {
			return err
		}
	}
	from := l.e.clock.Now()
	states, err := st.Absolute.States(ctx, skus)
	if err != nil {
		l.e.offer(skus...)
		return err
	}
	l.succeeded(stock.Window{})
	page := Page{Window: stock.Window{From: from, To: l.e.clock.Now()}}
	for _, sku := range skus {
		item, exists, _ := asked{skus: []string{sku}}.item(states)
		if exists && item.Managed == Own && !slices.Contains(known, stock.KeyOf(sku)) {
			page.Items = append(page.Items, item)
		}
	}
	return l.observe(ctx, st, page)
}

// round reads the next part of all there is: events get lost, and the last change of a burst is never told.
func (l *lane) round(ctx context.Context, st Store) error {
	began := l.e.clock.Now()
	pools, last, err := l.nextPart(ctx, st)
	if err != nil {
		return err
	}
	if len(pools) > 0 {
		if err := l.readPools(ctx, st, pools); err != nil {
			return err
		}
	}
	wait := st.MinInterval
	if st.MaxLoad > 0 {
		wait = max(wait, time.Duration(float64(l.e.clock.Now().Sub(began))/st.MaxLoad))
	}
	l.peer.roundAt = began.Add(cmp.Or(wait, time.Second))
	if !last {
		return nil
	}
	return l.rounded(ctx, st)
}

// nextPart are the pools the round reads next; last tells that it ends with them.
func (l *lane) nextPart(ctx context.Context, st Store) (pools []int64, last bool, err error) {
	lists := []string{st.ID}
	if master := l.e.master(); !st.Policy.Master && master != "" {
		lists = append(lists, master)
	}
	var list int
	var after int64
	err = l.e.ledger.View(ctx, func(tx Tx) error {
		pools, list, after = nil, l.peer.list, l.peer.after
		for list < len(lists) && len(pools) < AskSize {
			page, err := tx.StorePlacements(lists[list], after, AskSize-len(pools))
			if err != nil {
				return err
			}
			if len(page) == 0 {
				list, after = list+1, 0
				continue
			}
			for _, p := range page {
				after = p.Pool
				if list > 0 {
					// Those that are bound here were read.
					if _, bound, err := tx.Placement(st.ID, p.Pool); bound || err != nil {
						if err != nil {
							return err
						}
						continue
					}
				}
				pools = append(pools, p.Pool)
			}
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	if last = list >= len(lists); last {
		list, after = 0, 0
	}
	l.peer.list, l.peer.after = list, after
	return pools, last, nil
}

// rounded follows a complete round.
func (l *lane) rounded(ctx context.Context, st Store) error {
	first := false
	l.note(func(s *StoreState) { first, s.Scanned = !s.Scanned, true })
	if !first {
		return nil
	}
	err := l.e.ledger.Update(ctx, func(tx Tx) error { return tx.SetValue(st.ID, valueScanned, "yes") })
	if st.Policy.Master {
		l.e.listed()
	}
	return err
}

// master is the id of the master; empty if there is none.
func (e *Engine) master() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, l := range e.lanes {
		if l.store.Policy.Master {
			return id
		}
	}
	return ""
}

// sending is one item of an event under way.
type sending struct {
	pool   int64
	write  stock.Write
	fields stock.Values
	before stock.Placement
	item   PeerItem
}

// write writes what is due: it reads first, records what it writes over what in the transaction that merges the reading,
// sends one event, and reads back.
func (l *lane) write(ctx context.Context, st Store) (wrote bool, until time.Time, err error) {
	if st.Mode != Sync || !l.e.beginWriting(st.ID) {
		return false, time.Time{}, nil
	}
	defer l.e.endWriting(st.ID)
	pools, until, err := l.dueAbsolute(ctx, st)
	if err != nil || len(pools) == 0 {
		return false, until, err
	}
	page, err := l.showing(ctx, st, pools)
	if err != nil {
		return false, time.Time{}, err
	}
	l.succeeded(stock.Window{})
	event, sent, held, err := l.beginEvent(ctx, st, page)
	if err != nil || len(sent) == 0 {
		// What was due may have been put right by what was just read.
		return err == nil && held.IsZero(), held, err
	}
	began := l.e.clock.Now()
	sendErr := st.Absolute.Send(ctx, event)
	ended := l.e.clock.Now()
	var fault *Fault
	_ = errors.As(sendErr, &fault)
	l.pace.learn(len(sent), ended.Sub(began), fault, ended)
	if err := l.sentEvent(ctx, st, sent, sendErr); err != nil {
		return true, time.Time{}, err
	}
	if sendErr != nil {
		return true, time.Time{}, sendErr
	}
	pools = pools[:0]
	for _, s := range sent {
		pools = append(pools, s.pool)
	}
	return true, time.Time{}, l.readPools(ctx, st, pools)
}

// dueAbsolute are the pools to write now, or when to look again.
func (l *lane) dueAbsolute(ctx context.Context, st Store) (pools []int64, until time.Time, err error) {
	now := l.e.clock.Now()
	err = l.e.ledger.View(ctx, func(tx Tx) error {
		pools, until = nil, time.Time{}
		due, err := tx.Due(st.ID, 10*SendSize)
		if err != nil {
			return err
		}
		unlike, err := tx.Unlike(st.ID, SendSize)
		if err != nil {
			return err
		}
		for _, p := range append(due, unlike...) {
			may, at := stock.MayWrite(p, l.debounces(), now)
			switch {
			case !may:
				until = earlier(until, at)
			case now.Before(l.pace.until) && !p.Urgent():
				until = earlier(until, l.pace.until)
			case len(pools) < min(SendSize, l.pace.size()) && !slices.Contains(pools, p.Pool):
				pools = append(pools, p.Pool)
			}
		}
		return nil
	})
	return pools, until, err
}

// beginEvent merges what was read of what is due, and records what is to be written, in one transaction.
func (l *lane) beginEvent(ctx context.Context, st Store, page Page) (event PeerEvent, sent []sending, held time.Time, err error) {
	err = l.take(ctx, st, func(t *turn) error {
		sent, held, event = nil, time.Time{}, PeerEvent{}
		if err := t.page(page); err != nil {
			return err
		}
		if is, until, err := l.e.held(t.tx, t.now); is || err != nil {
			held = until
			return err
		}
		for _, item := range page.Items {
			s, is, err := t.beginWrite(item, page.Window, l)
			if err != nil {
				return err
			}
			if is {
				sent = append(sent, s)
			}
		}
		if len(sent) == 0 {
			return nil
		}
		id, err := t.tx.NextAttempt()
		if err != nil {
			return err
		}
		event = PeerEvent{ID: fmt.Sprintf("%s%s-%d", ownEventID, l.e.ledgerID, id), Context: "stock_set", Seconds: t.now.Unix()}
		version, err := t.version()
		if err != nil {
			return err
		}
		for _, s := range sent {
			s.item.Version = &version
			event.Items = append(event.Items, s.item)
		}
		return nil
	})
	if err != nil {
		return PeerEvent{}, nil, time.Time{}, err
	}
	return event, sent, held, nil
}

// version is above every one that was given before, and above what any plugin's own counter reaches.
func (t *turn) version() (int64, error) {
	text, err := t.tx.Value("", valueVersion)
	if err != nil {
		return 0, err
	}
	last := int64(0)
	if text != "" {
		if last, err = strconv.ParseInt(text, 10, 64); err != nil {
			return 0, err
		}
	}
	next := max(t.now.UnixMicro(), last+1)
	return next, t.tx.SetValue("", valueVersion, strconv.FormatInt(next, 10))
}

// valueVersion, of no store, is the last version that was sent.
const valueVersion = "version"

// beginWrite records a write of one item, if one is due after the reading that was just merged.
func (t *turn) beginWrite(item Item, w stock.Window, l *lane) (sending, bool, error) {
	p, bound, err := t.tx.PlacementAt(t.st.ID, item.Ref.Object())
	if err != nil || !bound {
		return sending{}, false, err
	}
	pool, err := t.tx.Pool(p.Pool)
	if err != nil {
		return sending{}, false, err
	}
	s := sending{pool: p.Pool, before: p}
	s.item = PeerItem{SKU: item.SKUs[0], Managed: Own, Backorders: item.Backorders}
	if s.item.GID = item.GID; pool.GID != "" && !t.st.Policy.Master {
		// A master's ids are its own.
		s.item.GID = pool.GID
	}
	var entries []stock.Entry
	s.fields = absoluteFields(pool, &p, t.st, t.now)
	if v := s.fields[stock.Backorders]; v != "" {
		s.item.Backorders = v
	}
	s.item.LowStockAmount = stock.LowStockAmount(s.fields[stock.LowStock])
	may, _ := stock.MayWrite(p, l.debounces(), t.now)
	due := stock.MayPush(pool, p) && may && !item.Fractional && item.Managed == Own
	if !due && s.fields == (stock.Values{}) && !p.Shelf.Rederive {
		return sending{}, false, t.tx.PutPlacement(p)
	}
	if due {
		id, err := t.tx.NextAttempt()
		if err != nil {
			return sending{}, false, err
		}
		s.write, entries = stock.BeginWrite(&p, id, l.look(item, w), l.debounces(), l.fences(t.st), t.now)
		s.item.Quantity, s.item.StockStatus = &s.write.To, derived(s.write.To, s.item.Backorders)
		if s.item.LowStockAmount == nil {
			// All fields, but for a threshold that is not set: the plugin would make it 0.
			s.item.LowStockAmount = item.LowStockAmount
		}
	}
	return s, true, t.save(pool, p, entries)
}

// derived is the status WooCommerce makes of a quantity.
func derived(quantity int64, backorders string) string {
	switch {
	case quantity > 0:
		return stock.InStock
	case backorders == "notify" || backorders == "yes":
		return stock.OnBackorder
	}
	return stock.OutOfStock
}

// absoluteFields are the fields to write beside the quantity. What the plugin has no word for is not tried.
func absoluteFields(pool stock.Pool, p *stock.Placement, st Store, now time.Time) stock.Values {
	stock.Plan(pool, p, st.Policy, now)
	if p.Shelf.Todo[stock.LowStock] == stock.None {
		p.Shelf.Refused[stock.LowStock] = stock.None
	}
	for _, f := range []stock.Field{stock.Status, stock.Management} {
		if v := p.Shelf.Todo[f]; v != "" {
			p.Shelf.Refused[f] = v
		}
	}
	stock.Plan(pool, p, st.Policy, now)
	if !stock.MayWriteFields(pool, *p) {
		return stock.Values{}
	}
	return stock.BeginFields(p, now)
}

// sentEvent takes in whether the event was taken.
func (l *lane) sentEvent(ctx context.Context, st Store, sent []sending, sendErr error) error {
	var f *Fault
	end := Acknowledged
	switch {
	case errors.As(sendErr, &f) && f.Unsent:
		end = Unsent
	case sendErr != nil:
		end = Unanswered
	}
	now := l.e.clock.Now()
	err := l.take(context.WithoutCancel(ctx), st, func(t *turn) error {
		for _, s := range sent {
			p, bound, err := t.tx.Placement(st.ID, s.pool)
			if err != nil {
				return err
			}
			if !bound {
				continue
			}
			pool, err := t.tx.Pool(s.pool)
			if err != nil {
				return err
			}
			switch end {
			case Acknowledged:
				stock.Written(&p, s.write.ID, now)
				if s.before.Shelf.Rederive {
					p.Shelf.Rederived = now
				}
			case Unsent:
				stock.Unwritten(&p, s.write.ID)
				stock.UnsentFields(&p, s.fields)
			}
			if err := t.save(pool, p, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	l.e.observer.Pushed(l.id, end, len(sent))
	if end != Unsent {
		for _, s := range sent {
			l.watch(s.pool, now)
		}
	}
	if end == Acknowledged {
		l.note(func(s *StoreState) { s.LastOutbound = now })
		l.succeeded(stock.Window{})
	}
	return nil
}

// mergeAbsolute takes in a reading of an item of such a store. A child waits for the pool's number; what never was enrolled
// is only looked at unless the store is written to.
func (t *turn) mergeAbsolute(pool *stock.Pool, p *stock.Placement, item *Item, w stock.Window) []stock.Entry {
	if item.LowStockAmount == nil && pool.Registers[stock.LowStock].Value == "0" {
		// The plugin says 0 for an amount that is not set, too.
		item.LowStockAmount = new(int64)
	}
	r := stock.Look{Quantity: item.Quantity, From: w.From, To: w.To, Clock: t.clock}
	if !p.Enrolled && t.st.Mode == Sync && (pool.Set || t.st.Policy.Master) {
		p.ReadAt = t.now
		return stock.EnrolAbsolute(pool, p, r, t.st.Policy)
	}
	entries := stock.MergeAbsolute(pool, p, r, t.st.Policy, t.now)
	if wait, open := p.Absolute.Watch(t.now); open {
		t.out.follow[p.Pool] = wait
	}
	return entries
}

// look is a reading on the agent's clock.
func (l *lane) look(item Item, w stock.Window) stock.Look {
	return stock.Look{Quantity: item.Quantity, From: w.From, To: w.To, Clock: l.peer.clock}
}

// fetch reads items by what they are bound to.
func (l *lane) fetch(ctx context.Context, st Store, refs []stock.Ref) (Page, error) {
	if st.Absolute == nil {
		return st.Driver.Read(ctx, refs)
	}
	pools := make([]int64, len(refs))
	for i, ref := range refs {
		pools[i] = ref.Object()
	}
	return l.showing(ctx, st, pools)
}

// list reads a page of all there is. A store that cannot list it is asked about what is bound in it.
func (l *lane) list(ctx context.Context, st Store, cursor string) (Page, error) {
	if st.Absolute == nil {
		return st.Driver.Catalogue(ctx, cursor)
	}
	pools, next, err := l.bound(ctx, st, cursor)
	if err != nil {
		return Page{}, err
	}
	page, err := l.showing(ctx, st, pools)
	page.Next = next
	return page, err
}

// bound are the next pools bound in the store; next is empty after the last.
func (l *lane) bound(ctx context.Context, st Store, cursor string) (pools []int64, next string, err error) {
	after := int64(0)
	if cursor != "" {
		if after, err = strconv.ParseInt(cursor, 10, 64); err != nil {
			return nil, "", err
		}
	}
	err = l.e.ledger.View(ctx, func(tx Tx) error {
		page, err := tx.StorePlacements(st.ID, after, AskSize)
		pools, next = nil, ""
		for _, p := range page {
			pools = append(pools, p.Pool)
		}
		if len(page) == AskSize {
			next = strconv.FormatInt(pools[len(pools)-1], 10)
		}
		return err
	})
	return pools, next, err
}

// handBack ends the fence of the next items, so that another master may write them: each is sent once with version 0 and
// no number, which changes nothing else.
func (l *lane) handBack(ctx context.Context, st Store, f *forget) error {
	began := l.e.clock.Now()
	if l.peer.pulse == (Pulse{}) {
		if err := l.ping(ctx, st); err != nil {
			return l.forgot(f, err)
		}
	}
	pools, next, err := l.bound(ctx, st, f.cursor)
	if err != nil {
		return l.forgot(f, err)
	}
	if l.fences(st) && len(pools) > 0 {
		page, err := l.showing(ctx, st, pools)
		if err != nil {
			return l.forgot(f, err)
		}
		if err := l.unfence(ctx, st, page, f); err != nil {
			return l.forgot(f, err)
		}
	}
	f.next = l.e.clock.Now().Add(pause(l.e.clock.Now().Sub(began), st))
	if f.cursor = next; next != "" {
		return nil
	}
	return l.forgotten(ctx, st, f, fmt.Sprintf("%d items were handed back: the store takes the numbers of any master again", f.count))
}

func (l *lane) unfence(ctx context.Context, st Store, page Page, f *forget) error {
	none := int64(0)
	for part := range slices.Chunk(page.Items, SendSize) {
		var id int64
		err := l.e.ledger.Update(ctx, func(tx Tx) (err error) {
			id, err = tx.NextAttempt()
			return err
		})
		if err != nil {
			return err
		}
		e := PeerEvent{ID: fmt.Sprintf("%s%s-%d", ownEventID, l.e.ledgerID, id), Context: "props_update", Seconds: l.e.clock.Now().Unix()}
		for _, item := range part {
			if item.Managed == Own {
				e.Items = append(e.Items, PeerItem{GID: item.GID, SKU: item.SKUs[0], Managed: Own, Backorders: item.Backorders, Version: &none})
			}
		}
		if len(e.Items) == 0 {
			continue
		}
		if err := st.Absolute.Send(ctx, e); err != nil {
			return err
		}
		l.e.mu.Lock()
		f.count += len(e.Items)
		l.e.mu.Unlock()
	}
	return nil
}

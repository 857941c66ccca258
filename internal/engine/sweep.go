package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

// sweepMargin covers the second that a store's Date is cut to, and the time a request takes.
const sweepMargin = 2 * time.Second

// evidenceSpan is how far back order lines are looked up when samples are judged.
const evidenceSpan = time.Hour

// recovery is how long after a lost ledger was noticed what is enrolled counts as recovered.
const recovery = 24 * time.Hour

// wantSamples names what should be read now to judge it, and when to look again if nothing should.
func (l *lane) wantSamples(ctx context.Context, st Store, now time.Time) (refs []stock.Ref, next time.Time, err error) {
	for p, err := range l.placements(ctx, st, Tx.Restless) {
		if err != nil {
			return nil, time.Time{}, err
		}
		if !p.Enrolled && st.Mode != Sync {
			continue
		}
		due := l.sampleDue(p)
		switch {
		case due.IsZero():
		case now.Before(due):
			next = earlier(next, due)
		default:
			if refs = append(refs, p.Ref); len(refs) == BatchSize {
				return refs, next, nil
			}
		}
	}
	return refs, next, nil
}

// sampleDue is when the next sample of the placement should be taken; zero when those at hand suffice until
// the next sweep.
func (l *lane) sampleDue(p stock.Placement) time.Time {
	kept := l.samples[p.Pool]
	if len(kept) == 0 {
		return p.ReadAt.Add(time.Nanosecond)
	}
	if (len(kept) >= maxSamples || !p.Enrolled) && !l.judged(kept[len(kept)-1]) {
		return time.Time{}
	}
	return p.ReadAt.Add(stock.Apart + time.Second)
}

// judgeable tells whether a sweep late enough has looked at any sample.
func (l *lane) judgeable() bool {
	for _, kept := range l.samples {
		if slices.ContainsFunc(kept, l.judged) {
			return true
		}
	}
	return false
}

// judged tells whether a sweep late enough has looked at the sample.
func (l *lane) judged(s stock.Sample) bool {
	return !l.sweptAt.Before(s.Window.To.Add(stock.Settle))
}

// sweepDue is when the next sweep can judge something; zero when nothing waits. Times of the store's clock
// are carried over by its distance from ours.
func (l *lane) sweepDue() time.Time {
	if len(l.ask) > 0 {
		return l.e.clock.Now()
	}
	var due time.Time
	for _, kept := range l.samples {
		for _, s := range kept {
			if !l.judged(s) {
				due = earlier(due, s.Window.To.Add(stock.Settle+sweepMargin))
				break
			}
		}
	}
	if due.IsZero() {
		return due
	}
	// A sweep that came a moment too early is not repeated at once.
	return later(due.Add(-l.skew()), l.sweepAgain)
}

// sweepAndJudge reads the orders that changed, then judges the samples that are old enough.
func (l *lane) sweepAndJudge(ctx context.Context, st Store) error {
	if st.Policy.OrdersUnreadable {
		return l.judge(ctx, st)
	}
	if err := l.sweep(ctx, st, false); err != nil {
		return l.unreadable(ctx, st, err)
	}
	if len(l.samples) == 0 {
		return nil
	}
	if !l.judgeable() {
		// Mostly the orders explained what was apart, and the samples are not needed any more.
		return l.judge(ctx, st)
	}
	// An order can be made and trashed between two sweeps; it keeps its units.
	if err := l.sweep(ctx, st, true); err != nil {
		return err
	}
	if err := l.judge(ctx, st); err != nil {
		return err
	}
	if len(l.ask) == 0 {
		return nil
	}
	if err := l.verify(ctx, st); err != nil {
		return err
	}
	return l.judge(ctx, st)
}

// unreadable goes on without orders where the key may not read them: c = o, and nothing can be proved. A new
// configuration tries again; what it then finds was counted by quantity.
func (l *lane) unreadable(ctx context.Context, st Store, err error) error {
	var f *Fault
	if !errors.As(err, &f) || f.Reason != ReasonOrdersUnreadable {
		return err
	}
	err = l.e.ledger.Update(ctx, func(tx Tx) error {
		for _, name := range []string{valueOrders, valueTrashed} {
			if err := tx.SetValue(st.ID, unread+name, "yes"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	l.store.Policy.OrdersUnreadable = true
	return nil
}

// sweep reads orders modified since the cursor, which stays a minute behind: the units of a line are written
// after the stock, by seconds where plugins are slow.
func (l *lane) sweep(ctx context.Context, st Store, trashed bool) error {
	name := valueOrders
	if trashed {
		name = valueTrashed
	}
	since, err := l.cursor(ctx, st, name)
	if err != nil {
		return err
	}
	err = l.e.ledger.View(ctx, func(tx Tx) error {
		counted, err := tx.Value(st.ID, unread+name)
		st.Policy.OrdersUnreadable = st.Policy.OrdersUnreadable || counted != ""
		return err
	})
	if err != nil {
		return err
	}
	horizon, err := l.cursor(ctx, st, valueHorizon)
	if err != nil {
		return err
	}
	if horizon.IsZero() {
		horizon = l.e.clock.Now().Add(-orderHistory)
		if err := l.setCursor(ctx, st, valueHorizon, horizon); err != nil {
			return err
		}
	}
	if since.IsZero() {
		since = horizon
	}
	var began time.Time
	for cursor := ""; ; {
		sent := l.e.clock.Now()
		page, err := st.Driver.Orders(ctx, OrderQuery{Since: since.Add(-orderOverlap), Trashed: trashed, Cursor: cursor})
		if err != nil {
			return err
		}
		l.asked += l.e.clock.Now().Sub(sent)
		l.succeeded(page.Window)
		if began.IsZero() {
			began = page.Window.From
		}
		if err := l.orders(ctx, st, page, since, horizon); err != nil {
			return err
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if !trashed {
		l.sweptAt, l.sweepAgain = began, l.e.clock.Now().Add(sweepMargin)
	}
	if err := l.setCursor(ctx, st, name, began); err != nil || !st.Policy.OrdersUnreadable {
		return err
	}
	return l.e.ledger.Update(ctx, func(tx Tx) error { return tx.SetValue(st.ID, unread+name, "") })
}

// The cursors of the two sweeps, and what stands before their names while orders could not be read.
const (
	valueOrders  = "orders"
	valueTrashed = "trashed orders"
	unread       = "unread "
	// valueHorizon is how far back the orders are known: one made before it moves nothing when it is first seen.
	valueHorizon = "horizon"
)

// orders takes in a page of orders; all that was modified before since is known.
func (l *lane) orders(ctx context.Context, st Store, page OrderPage, since, horizon time.Time) error {
	if len(page.Orders) == 0 {
		return nil
	}
	return l.take(ctx, st, func(t *turn) error {
		t.swept = since
		for _, o := range page.Orders {
			if err := t.order(o, horizon); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *turn) order(o Order, horizon time.Time) error {
	known, err := t.tx.OrderLines(t.st.ID, o.ID)
	if err != nil {
		return err
	}
	lines := map[int64]stock.Line{}
	for _, k := range known {
		switch {
		case !k.Created.Equal(o.Created):
			// Another order under the same id: the shop was restored. What the first one took stays counted.
			continue
		case o.Modified.Before(k.Modified):
			return nil
		}
		lines[k.Line] = k
	}
	if len(lines) > 0 {
		horizon = time.Time{} // however old it is, it is known: what is new in it is new
	}
	for _, ol := range o.Lines {
		if err := t.line(o, ol, lines, horizon); err != nil {
			return err
		}
		delete(lines, ol.ID)
	}
	// A line removed from its order gives everything back.
	for _, id := range slices.Sorted(maps.Keys(lines)) {
		k := lines[id]
		if err := t.line(o, OrderLine{ID: id, Product: k.Ref.Product, Variation: k.Ref.Variation}, lines, horizon); err != nil {
			return err
		}
	}
	return nil
}

func (t *turn) line(o Order, ol OrderLine, known map[int64]stock.Line, horizon time.Time) error {
	was, ok := known[ol.ID]
	l := stock.Line{Order: o.ID, Line: ol.ID, Ref: stock.Ref{Product: ol.Product, Variation: ol.Variation},
		Units: ol.Units, Changes: was.Changes, Created: o.Created, Modified: o.Modified}
	delta := ol.Units
	switch {
	case ok && was.Units == ol.Units:
		if !o.Modified.After(was.Modified) {
			return nil
		}
		delta = 0
	case ok:
		delta = ol.Units - was.Units
		l.Changes = stock.Changed(was.Changes, moved(delta, later(was.Modified, t.swept), o.Modified))
	case o.Created.Before(horizon):
		// Older than the first sweep looked: what it held before is not known, so it moves nothing.
		delta = 0
	default:
		l.Changes = []stock.Change{moved(delta, o.Created, o.Modified)}
	}
	if err := t.tx.PutLine(t.st.ID, l); err != nil || delta == 0 {
		return err
	}
	p, bound, err := t.holder(l.Ref)
	if err != nil || !bound {
		return err
	}
	pool, err := t.tx.Pool(p.Pool)
	if err != nil {
		return err
	}
	if t.st.Source != nil {
		return t.sold(pool, p, l, delta, !ok || was.Units == 0)
	}
	entries := stock.Order(&pool, &p, delta, t.st.Policy, fmt.Sprintf("order %d", o.ID))
	if ok && delta < 0 && !o.Modified.After(was.Modified) {
		entries = append(entries, stock.Unmodified(p, delta, o.ID))
	}
	return t.save(pool, p, entries)
}

// moved is a movement found at a time, of a line known to be otherwise since another.
func moved(units int64, since, at time.Time) stock.Change {
	c := stock.Change{At: at, Units: units}
	if since.Before(at) {
		c.Since = since
	}
	return c
}

// holder is the placement an order line takes its units from: the variation's own, or its parent's.
func (t *turn) holder(ref stock.Ref) (stock.Placement, bool, error) {
	if ref.Variation != 0 {
		if p, ok, err := t.tx.PlacementAt(t.st.ID, ref.Variation); ok || err != nil {
			return p, ok, err
		}
	}
	return t.tx.PlacementAt(t.st.ID, ref.Product)
}

// lines are the recent order lines that draw on the placement.
func (t *turn) lines(p stock.Placement, since time.Time) ([]stock.Line, error) {
	all, err := t.tx.Lines(t.st.ID, p.Ref.Product, since)
	if err != nil {
		return nil, err
	}
	var mine []stock.Line
	drawsOnIt := map[stock.Ref]bool{} // what sells has many lines of few items
	for _, l := range all {
		draws, known := drawsOnIt[l.Ref]
		if !known {
			h, ok, err := t.holder(l.Ref)
			if err != nil {
				return nil, err
			}
			draws = ok && h.Pool == p.Pool
			drawsOnIt[l.Ref] = draws
		}
		if draws {
			mine = append(mine, l)
		}
	}
	return mine, nil
}

// judge drops the samples that turn out unclean and decides what the clean ones prove.
func (l *lane) judge(ctx context.Context, st Store) error {
	pools := slices.Sorted(maps.Keys(l.samples))
	for start := 0; start < len(pools); start += BatchSize {
		batch := pools[start:min(start+BatchSize, len(pools))]
		var out *effects
		kept, ask := map[int64][]stock.Sample{}, map[int64]bool{}
		err := l.e.ledger.Update(ctx, func(tx Tx) error {
			out = newEffects()
			clear(kept)
			clear(ask)
			t := l.turn(tx, st, out)
			for _, id := range batch {
				samples, asked, err := l.judgeOne(t, id)
				if err != nil {
					return err
				}
				kept[id], ask[id] = samples, asked
			}
			return nil
		})
		if err != nil {
			return err
		}
		for id, samples := range kept {
			l.samples[id] = samples
			if len(samples) == 0 {
				delete(l.samples, id)
			}
			delete(l.ask, id)
			if ask[id] {
				l.ask[id] = true
			}
		}
		l.apply(out) // last: what was proved forgets the samples
	}
	return nil
}

func (l *lane) judgeOne(t *turn, id int64) (kept []stock.Sample, ask bool, err error) {
	p, bound, err := t.tx.Placement(t.st.ID, id)
	if err != nil || !bound || !p.Restless() {
		return nil, false, err
	}
	samples := l.samples[id]
	since := samples[0].Window.From.Add(-evidenceSpan)
	lines, err := t.lines(p, since)
	if err != nil {
		return nil, false, err
	}
	var clean []stock.Sample
	for _, s := range samples {
		switch {
		case t.st.Policy.OrdersUnreadable:
			s.Taken = p.Taken
			clean = append(clean, s)
		case !l.judged(s):
		case !s.Clean(l.sweptAt, lines, p.Taken):
			continue
		default:
			clean = append(clean, s)
		}
		kept = append(kept, s)
	}
	pool, err := t.tx.Pool(id)
	if err != nil {
		return nil, false, err
	}
	pol := t.st.Policy
	if !p.Enrolled {
		lost, err := t.recoveredAt()
		if err != nil {
			return nil, false, err
		}
		pol.Recovering = t.now.Sub(lost) < recovery
	}
	entries, done := stock.Judge(&pool, &p, clean, lines, pol, func() (bool, bool) {
		same, asked := l.verified[id]
		ask = ask || !asked
		return same, asked
	}, t.now)
	if done {
		t.out.samples[id] = nil
		kept = nil
	}
	if len(entries) == 0 && !done {
		return kept, ask, nil
	}
	if err := t.relative(entries); err != nil {
		return nil, false, err
	}
	return kept, ask, t.save(pool, p, entries)
}

// relative concludes that a store ignores relative updates when two pushes that it answered with their markers in
// place and the quantity unmoved are proved not to have arrived: one alone may have met an edit of its size.
func (t *turn) relative(entries []stock.Entry) error {
	for _, e := range entries {
		if e.Kind != stock.Voided && e.Kind != stock.Arrived {
			continue
		}
		state, err := t.tx.Value(t.st.ID, valueRelative)
		if err != nil {
			return err
		}
		if state != suspect(e.Attempt, false) && state != suspect(e.Attempt, true) {
			continue
		}
		verdict := relativeWorks
		switch {
		case e.Kind == stock.Voided && again(state):
			verdict, t.out.ignored = relativeIgnored, true
		case e.Kind == stock.Voided:
			verdict = relativeDoubted
		}
		if err := t.tx.SetValue(t.st.ID, valueRelative, verdict); err != nil {
			return err
		}
	}
	return nil
}

// What the ledger knows of a store's relative updates: nothing, that an attempt's answer looked ignored, that one was,
// that another's looked so, too, or the proof.
const (
	valueRelative   = "relative"
	relativeWorks   = "works"
	relativeDoubted = "doubted"
	relativeIgnored = "ignored"
)

func suspect(attempt int64, again bool) string {
	if again {
		return fmt.Sprintf("%s, suspect %d", relativeDoubted, attempt)
	}
	return fmt.Sprintf("suspect %d", attempt)
}

// again tells whether a push was ignored before.
func again(state string) bool { return strings.HasPrefix(state, relativeDoubted) }

// verify asks the store for the newest orders known of what is to be judged as an increase: in a shop
// restored from a backup they are gone or older.
func (l *lane) verify(ctx context.Context, st Store) error {
	pools := slices.Sorted(maps.Keys(l.ask))
	clear(l.ask)
	for _, id := range pools {
		var known []stock.Line
		err := l.e.ledger.View(ctx, func(tx Tx) error {
			t := l.turn(tx, st, newEffects())
			p, bound, err := tx.Placement(st.ID, id)
			if err != nil || !bound {
				return err
			}
			known, err = t.lines(p, t.now.Add(-orderHistory))
			return err
		})
		if err != nil {
			return err
		}
		slices.SortFunc(known, func(a, b stock.Line) int { return b.Modified.Compare(a.Modified) })
		known = known[:min(len(known), 20)]
		same, err := l.unchanged(ctx, st, known)
		if err != nil {
			return err
		}
		l.verified[id] = same
	}
	return nil
}

func (l *lane) unchanged(ctx context.Context, st Store, known []stock.Line) (bool, error) {
	if len(known) == 0 {
		return true, nil
	}
	var ids []int64
	for _, k := range known {
		if !slices.Contains(ids, k.Order) {
			ids = append(ids, k.Order)
		}
	}
	found := map[int64]Order{}
	for _, trashed := range []bool{false, true} {
		page, err := st.Driver.Orders(ctx, OrderQuery{IDs: ids, Trashed: trashed})
		if err != nil {
			return false, err
		}
		for _, o := range page.Orders {
			found[o.ID] = o
		}
	}
	for _, k := range known {
		o, ok := found[k.Order]
		if !ok || o.Modified.Before(k.Modified) || !o.Created.Equal(k.Created) {
			return false, nil
		}
	}
	return true, nil
}

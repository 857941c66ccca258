package engine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/stock"
)

// calmWithin is how long a reconcile waits, after the last progress, for what it found to be judged and written.
const calmWithin = 3 * time.Minute

// walkOf is the run that has something to read in a store, and when its next batch may be read.
func (e *Engine) walkOf(st Store, now time.Time) (*activeRun, time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.current
	if r == nil || st.Mode == Off {
		return nil, time.Time{}
	}
	w := r.walks[st.ID]
	if w == nil || w.Ended {
		return nil, time.Time{}
	}
	if m := r.walks[r.master]; r.req.Strategy == agentapi.Reset && st.ID != r.master && m != nil && !m.Ended {
		// The master's numbers first: the others are compared with them.
		return r, now.Add(publishEvery)
	}
	if r.req.Strategy == agentapi.DryRun && e.busyWriting(r) {
		return r, now.Add(publishEvery)
	}
	return r, w.next
}

// busyWriting tells whether a store of the run has a write under way that began before it.
func (e *Engine) busyWriting(r *activeRun) bool {
	return slices.ContainsFunc(r.listed, func(id string) bool { return e.writing[id] })
}

// beginWriting asks to write to a store: not while a dry run looks at it.
func (e *Engine) beginWriting(store string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dry(store) {
		return false
	}
	e.writing[store] = true
	return true
}

func (e *Engine) dry(store string) bool {
	r := e.current
	return r != nil && r.req.Strategy == agentapi.DryRun && r.walks[store] != nil
}

func (e *Engine) endWriting(store string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.writing, store)
}

// DryRunning tells whether a dry run keeps a store from being written to at present.
func (e *Engine) DryRunning(store string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.dry(store)
}

// walk does the next piece of the run's way through the store.
func (l *lane) walk(ctx context.Context, st Store, r *activeRun) error {
	l.e.mu.Lock()
	w := r.walks[st.ID].clone()
	room := maxFindings - kept(r.walks)
	l.e.mu.Unlock()
	w.asked = 0
	var err error
	switch {
	case r.req.Kind == agentapi.KindAudit:
		err = l.auditSome(ctx, st, r, w, w.Kept+room)
	default:
		err = l.reconcileSome(ctx, st, r, w, w.Kept+room)
	}
	now := l.e.clock.Now()
	if err != nil {
		l.e.mu.Lock()
		if was := r.walks[st.ID]; was.failing.IsZero() {
			was.failing = now
		}
		l.e.mu.Unlock()
		return err
	}
	w.failing = time.Time{}
	if w.asked > 0 {
		w.next = later(w.next, now.Add(pause(w.asked, st)))
	}
	l.replaceWalk(r, w)
	return nil
}

// pause is how long a store is left alone by a run after requests that took so long.
func pause(asked time.Duration, st Store) time.Duration {
	if st.MaxLoad <= 0 {
		return 0
	}
	return time.Duration(float64(asked) * max(0, 1/(runLoad*st.MaxLoad)-1))
}

func (l *lane) replaceWalk(r *activeRun, w *walk) {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	r.walks[w.StoreID] = w
	if w.Ended {
		r.signal.Set()
	}
}

// kept is how many findings the ledger holds of a run.
func kept(walks map[string]*walk) int {
	n := 0
	for _, w := range walks {
		n += w.Kept
	}
	return n
}

func (e *Engine) keptOf(r *activeRun) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return kept(r.walks)
}

// giveUpFailing ends the run's part in a store that has failed for too long.
func (l *lane) giveUpFailing(ctx context.Context, now time.Time) {
	l.e.mu.Lock()
	s, r := l.state, l.e.current
	var failing time.Time
	if r != nil && r.walks[s.StoreID] != nil {
		failing = r.walks[s.StoreID].failing
	}
	l.e.mu.Unlock()
	if s.Failure == nil || r == nil || (now.Sub(s.FailingSince) < giveUpAfter && (failing.IsZero() || now.Sub(failing) < giveUpAfter)) {
		return
	}
	class := agentapi.StoreUnreachable
	if s.Failure.Reason == "AuthenticationFailed" || s.Failure.Reason == "ReadOnlyKey" {
		class = agentapi.AuthenticationFailed
	}
	l.giveUp(ctx, agentapi.Finding{Class: class, Shown: s.Failure.Reason, Message: s.Failure.Message})
}

// giveUp ends the run's part in the store with a finding that says why.
func (l *lane) giveUp(ctx context.Context, why agentapi.Finding) {
	l.e.mu.Lock()
	r, id := l.e.current, l.state.StoreID
	var w *walk
	if r != nil && r.walks[id] != nil && !r.walks[id].Ended {
		w = r.walks[id].clone()
	}
	l.e.mu.Unlock()
	if w == nil {
		return
	}
	w.Ended, w.Error = true, why.Message
	next := w
	err := l.e.ledger.Update(ctx, func(tx Tx) error {
		next = w.clone()
		if err := next.found(tx, next.Kept+1, why); err != nil {
			return err
		}
		return next.keep(tx)
	})
	if err != nil {
		// Told all the same; the ledger's trouble shows elsewhere.
		l.log.Error(err, "a finding could not be kept")
	}
	l.replaceWalk(r, next)
}

// batch are the placements of the store a run deals with next, and the last pool it covers.
func (r *activeRun) batch(tx Tx, store string, after int64) ([]stock.Placement, int64, error) {
	return r.batchOf(tx, store, after, BatchSize)
}

func (r *activeRun) batchOf(tx Tx, store string, after int64, limit int) ([]stock.Placement, int64, error) {
	if r.pools == nil {
		page, err := tx.StorePlacements(store, after, limit)
		if len(page) > 0 {
			after = page[len(page)-1].Pool
		}
		return page, after, err
	}
	var page []stock.Placement
	at, _ := slices.BinarySearch(r.pools, after+1)
	for _, id := range r.pools[at:] {
		p, bound, err := tx.Placement(store, id)
		if err != nil {
			return nil, 0, err
		}
		after = id
		if bound {
			page = append(page, p)
		}
		if len(page) == limit {
			break
		}
	}
	return page, after, nil
}

// asking sends a request of the run and counts it.
func (l *lane) asking(w *walk, send func() (Page, error)) (Page, error) {
	began := l.e.clock.Now()
	page, err := send()
	w.asked += l.e.clock.Now().Sub(began)
	if err != nil {
		return Page{}, err
	}
	w.Requests++
	l.succeeded(page.Window)
	return page, nil
}

// reconcileSome reads a batch, merges it as any reading is merged, and notes what differs.
func (l *lane) reconcileSome(ctx context.Context, st Store, r *activeRun, w *walk, room int) error {
	if len(w.again) > 0 && w.read {
		return l.resetAgain(ctx, st, r, w)
	}
	var page []stock.Placement
	var last int64
	err := l.e.ledger.View(ctx, func(tx Tx) (err error) {
		page, last, err = r.batch(tx, st.ID, w.After)
		return err
	})
	if err != nil {
		return err
	}
	var read Page
	if len(page) > 0 {
		refs := make([]stock.Ref, 0, len(page))
		for _, p := range page {
			refs = append(refs, p.Ref)
		}
		if read, err = l.asking(w, func() (Page, error) { return l.fetch(ctx, st, refs) }); err != nil {
			return err
		}
	}
	start := w.clone()
	return l.take(ctx, st, func(t *turn) error {
		*w = *start.clone()
		// What it should show by what was known before: merging may move the pool to what it shows.
		wanted := make([]int64, len(page))
		for i, p := range page {
			var err error
			if wanted[i], err = t.should(p); err != nil {
				return err
			}
		}
		if err := t.page(read); err != nil {
			return err
		}
		for i, p := range page {
			if err := t.reconciled(r, w, room, p, wanted[i]); err != nil {
				return err
			}
		}
		w.Done += len(page)
		w.After = last
		w.read = len(page) < BatchSize
		w.Ended = w.read && len(w.again) == 0
		if w.read && !w.Ended {
			w.next = t.now.Add(stock.Apart)
		}
		return w.keep(t.tx)
	})
}

// should is what a placement should show; where that is not known, what it shows.
func (t *turn) should(p stock.Placement) (int64, error) {
	pool, err := t.tx.Pool(p.Pool)
	if err != nil {
		return 0, err
	}
	want, known, err := t.expected(pool, p)
	if !known {
		want = p.Shown
	}
	return want, err
}

// reconciled notes what a placement shows, now that its reading was merged, and should have shown.
func (t *turn) reconciled(r *activeRun, w *walk, room int, was stock.Placement, want int64) error {
	p, bound, err := t.tx.Placement(t.st.ID, was.Pool)
	if err != nil {
		return err
	}
	if !bound {
		w.Differing++
		return w.found(t.tx, room, agentapi.Finding{Class: agentapi.MissingProduct, SKU: was.SKU, Message: "the item is gone from the shop: make it again, or exclude the SKU"})
	}
	if r.req.Strategy == agentapi.Reset && t.st.Policy.Master {
		done, err := t.reset(r.id, p)
		if err != nil {
			return err
		}
		if !done && len(w.again) < maxDoubts {
			w.again = append(slices.Clone(w.again), doubt{pool: p.Pool, at: t.now})
		}
	}
	pool, err := t.tx.Pool(p.Pool)
	if err != nil {
		return err
	}
	found := t.besides(pool, p, p.Shelf.Seen, p.Shown)
	if p.Blocked != string(stock.Unmanaged) && p.Shown != want {
		found = append(found, quantity(p, p.Shown, want))
	}
	if t.st.Source != nil && t.st.Mode == Sync && len(found) > 0 && (r.req.Strategy == agentapi.Push || r.req.Strategy == agentapi.DifferencesOnly && p.Target.Followed && t.st.Source.Correct) {
		p.Correct()
		stock.Plan(pool, &p, t.st.Policy, t.now)
		if err := t.tx.PutPlacement(p); err != nil {
			return err
		}
	}
	if r.req.Strategy == agentapi.Push && t.st.Mode == Sync && len(found) == 0 {
		p.Shelf.Rewrite = true
		stock.Plan(pool, &p, t.st.Policy, t.now)
		return t.tx.PutPlacement(p)
	}
	if len(found) > 0 {
		w.Differing++
	}
	for _, f := range found {
		if err := w.found(t.tx, room, f); err != nil {
			return err
		}
	}
	return nil
}

func quantity(p stock.Placement, shown, want int64) agentapi.Finding {
	return agentapi.Finding{Class: agentapi.QuantityDiffers, SKU: p.SKU, Shown: strconv.FormatInt(shown, 10), Wanted: strconv.FormatInt(want, 10),
		Units: want - shown, Message: fmt.Sprintf("shows %d and should show %d", shown, want)}
}

// expected is what the store should show: the pool's number or, before the pool has one, the master's.
func (t *turn) expected(pool stock.Pool, p stock.Placement) (int64, bool, error) {
	if t.st.Source != nil {
		want, known := stock.Should(pool, p, t.st.Policy)
		return want, known, nil
	}
	if pool.Set {
		return stock.Wanted(pool, t.st.Policy), true, nil
	}
	all, err := t.tx.Placements(pool.ID)
	if err != nil {
		return 0, false, err
	}
	for _, p := range all {
		if t.e.policy(p.Store).Master && p.Blocked == "" {
			pool.Units = p.Shown
			return stock.Wanted(pool, t.st.Policy), true, nil
		}
	}
	return 0, false, nil
}

// reset makes the master's number the pool's, unless the master's accounts are being judged.
func (t *turn) reset(run int64, p stock.Placement) (bool, error) {
	if !p.Enrolled || p.Restless() || p.Blocked != "" {
		return false, nil
	}
	pool, err := t.tx.Pool(p.Pool)
	if units := p.Contained + p.Counted; err != nil || (pool.Set && pool.Stopped == "" && pool.Units == units) {
		return true, err
	}
	return true, t.choose(p.Pool, p.Contained+p.Counted, fmt.Sprintf("reset to the master's number by run %d", run))
}

// resetAgain tries those again whose accounts were being judged.
func (l *lane) resetAgain(ctx context.Context, st Store, r *activeRun, w *walk) error {
	start := w.clone()
	return l.take(ctx, st, func(t *turn) error {
		*w = *start.clone()
		var left []doubt
		for _, d := range start.again {
			p, bound, err := t.tx.Placement(st.ID, d.pool)
			if err != nil {
				return err
			}
			done := !bound
			if bound {
				if done, err = t.reset(r.id, p); err != nil {
					return err
				}
			}
			if !done && t.now.Sub(d.at) < calmWithin {
				left = append(left, d)
			}
		}
		w.again, w.next = left, t.now.Add(stock.Apart)
		w.Ended = len(left) == 0
		return w.keep(t.tx)
	})
}

// calm tells whether nothing that the run found is still on its way to be judged or written.
func (e *Engine) calm(ctx context.Context, r *activeRun) (bool, error) {
	if r.req.Kind == agentapi.KindAudit || r.req.Strategy == agentapi.DryRun {
		return true, nil
	}
	now := e.clock.Now()
	if r.calmBy.IsZero() {
		r.calmBy = now.Add(calmWithin)
	}
	calm, backlog := true, 0
	err := e.ledger.View(ctx, func(tx Tx) error {
		for _, id := range r.listed {
			st, state, ok := e.stateOf(id)
			if e.walkIn(r, id).Error != "" || !ok || e.reason(tx, st, state) != "" {
				continue
			}
			stats, err := tx.Stats(id)
			if err != nil {
				return err
			}
			backlog += stats.Backlog
			moving, err := e.moving(tx, id, r.walkedAt)
			if err != nil {
				return err
			}
			calm = calm && !moving
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	if r.least < 0 || backlog < r.least {
		r.least, r.calmBy = backlog, now.Add(calmWithin)
	}
	return calm || !now.Before(r.calmBy), nil
}

// moving tells whether something that was found until then is about to be judged or written.
func (e *Engine) moving(tx Tx, store string, until time.Time) (bool, error) {
	due, err := tx.Due(store, 1)
	if err != nil || (len(due) > 0 && !due[0].DirtySince.After(until)) {
		return err == nil, err
	}
	if unlike, err := tx.Unlike(store, 1); err != nil || len(unlike) > 0 {
		return err == nil, err
	}
	for p, err := range placements(tx, store, Tx.Restless) {
		if err != nil {
			return false, err
		}
		if !p.PartedSince.After(until) {
			return true, nil
		}
	}
	return false, nil
}

func (e *Engine) stateOf(store string) (Store, StoreState, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.lanes[store]
	if l == nil {
		return Store{}, StoreState{}, false
	}
	return l.store, l.state, true
}

// reason says why nothing is written to a store at present; empty when it is written to.
func (e *Engine) reason(tx Tx, st Store, state StoreState) string {
	trip, err := tripped(tx)
	switch {
	case st.Mode != Sync:
		return fmt.Sprintf("the store is in mode %s: nothing is written to it", st.Mode)
	case state.ClaimedBy != "":
		return "the store carries the markers of another ledger: nothing is written to it until a person decides"
	case state.RelativeUnsupported:
		return "the store ignores relative updates: nothing is written to it"
	case err == nil && trip != nil:
		return "the circuit breaker holds all writes: approve trip " + trip.TripID
	case state.Failure != nil && e.clock.Now().Sub(state.FailingSince) >= giveUpAfter:
		return "the store cannot be reached: " + state.Failure.Message
	}
	return ""
}

// waitsFor says why a placement that differs is not written.
func waitsFor(pool stock.Pool, p stock.Placement, store string) string {
	switch {
	case pool.Stopped != "":
		return "its writing is stopped until a person chooses the number: " + pool.Stopped
	case p.Blocked != "" && p.Blocked != string(stock.Unmanaged):
		return "the item is not counted here (" + p.Blocked + ")"
	case store != "":
		return store
	case !p.Enrolled:
		return "it has no baseline yet"
	case p.Target.Known && p.Target.Aside != 0 && !p.Target.Followed:
		return "it has not changed in the source since it was connected: the strategy Push writes it"
	case p.Target.Known && p.Target.Aside != 0:
		return "the shop changed it by itself, which stands until the item changes in the source: the strategy Push writes it, and so does any reconcile with `drift: Correct`"
	case p.Undecided, p.Restored, p.Parted() != 0:
		return "what happened in the shop is being judged"
	case p.Shelf.Refused != stock.Values{}:
		return "the shop answers with another value: a plugin or a setting of it keeps it so"
	}
	return "it is about to be written"
}

// conclude counts what still waits, and ends the run.
func (e *Engine) conclude(ctx context.Context, r *activeRun) error {
	if r.req.Kind == agentapi.KindAudit {
		return e.concludeAudit(ctx, r)
	}
	paused := 0
	for _, id := range r.listed {
		w := e.walkIn(r, id)
		st, state, ok := e.stateOf(id)
		if ok && w.Error == "" {
			n, err := e.waiting(ctx, r, w, st, state)
			if err != nil {
				return err
			}
			w = n
			if st.Mode != Sync {
				paused += w.Waiting
			}
		}
		w.Written = max(0, w.Differing-w.Waiting)
		e.mu.Lock()
		r.walks[id] = w
		e.mu.Unlock()
	}
	run := e.assemble(r)
	differing, written, waiting := 0, 0, 0
	var failed []string
	for _, s := range run.Stores {
		differing, written, waiting = differing+s.Differing, written+s.Written, waiting+s.Waiting
		if s.Error != "" {
			failed = append(failed, s.StoreID)
		}
	}
	var text []string
	switch {
	case len(failed) == len(run.Stores):
		return e.end(ctx, r, agentapi.Failed, "no store could be read: "+run.Stores[0].Error)
	case differing == 0:
		text = append(text, fmt.Sprintf("%d read, nothing differs", run.Done))
	case run.Request.Strategy == agentapi.DryRun:
		text = append(text, fmt.Sprintf("%d of %d differ and would be written; nothing was", differing, run.Done))
	default:
		text = append(text, fmt.Sprintf("%d of %d differed, %d were put right", differing, run.Done, written))
	}
	if run.Request.Strategy != agentapi.DryRun && paused > 0 {
		text = append(text, fmt.Sprintf("%d wait because their store is not in mode Sync", paused))
	}
	state := agentapi.Succeeded
	if left := waiting - paused; left > 0 && run.Request.Strategy != agentapi.DryRun {
		state = agentapi.NeedsAttention
		text = append(text, fmt.Sprintf("%d still wait: the findings say for what", left))
	}
	if len(failed) > 0 {
		state = agentapi.NeedsAttention
		text = append(text, "could not be read: "+strings.Join(failed, ", "))
	}
	return e.end(ctx, r, state, strings.Join(append(text, capped(run, e.keptOf(r))...), "; "))
}

// walkIn is a copy of the run's way through a store.
func (e *Engine) walkIn(r *activeRun, store string) *walk {
	e.mu.Lock()
	defer e.mu.Unlock()
	return r.walks[store].clone()
}

// capped says that not all findings were kept.
func capped(run agentapi.Run, kept int) []string {
	all := 0
	for _, n := range run.Counts {
		all += n
	}
	if kept >= maxFindings && all > kept {
		return []string{fmt.Sprintf("only the first %d findings are kept", maxFindings)}
	}
	return nil
}

// waiting counts the placements of a store that still do not show what they should, beside what came up since.
func (e *Engine) waiting(ctx context.Context, r *activeRun, start *walk, st Store, state StoreState) (*walk, error) {
	w := start.clone()
	e.mu.Lock()
	room := w.Kept + maxFindings - kept(r.walks)
	e.mu.Unlock()
	for after := int64(0); ; {
		n, last := 0, after
		before := w
		err := e.ledger.Update(ctx, func(tx Tx) error {
			w = before.clone()
			t := &turn{e: e, tx: tx, st: st, now: e.clock.Now(), out: newEffects()}
			why := e.reason(tx, st, state)
			page, end, err := r.batch(tx, st.ID, after)
			if err != nil {
				return err
			}
			n, last = len(page), end
			for _, p := range page {
				if err := t.waits(r, w, room, p, why); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if after = last; n < BatchSize {
			return w, nil
		}
	}
}

// waits notes a placement that still does not show what it should, unless that came up after everything was read.
func (t *turn) waits(r *activeRun, w *walk, room int, p stock.Placement, why string) error {
	pool, err := t.tx.Pool(p.Pool)
	if err != nil {
		return err
	}
	want, known, err := t.expected(pool, p)
	if err != nil {
		return err
	}
	found := t.besides(pool, p, p.Shelf.Seen, p.Shown)
	if known && p.Blocked != string(stock.Unmanaged) && p.Shown != want && (p.Todo == 0 || !p.DirtySince.After(r.walkedAt)) {
		found = append(found, quantity(p, p.Shown, want))
	}
	if len(found) == 0 {
		return nil
	}
	w.Waiting++
	if r.req.Strategy == agentapi.DryRun {
		return nil
	}
	for _, f := range found {
		f.Message += "; it waits: " + waitsFor(pool, p, why)
		if err := w.report(t.tx, room, f); err != nil {
			return err
		}
	}
	return nil
}

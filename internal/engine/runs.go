package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/event"
	"stocksync.dev/stocksync/internal/stock"
)

const (
	// keepRuns is how many runs are kept, keepReports how many of them with their findings; maxFindings bounds
	// those of one run, maxNames the SKUs and stores a request may name.
	keepRuns    = 100
	keepReports = 10
	maxFindings = 10_000
	maxNames    = 10_000
	// publishEvery is how often a run tells its progress.
	publishEvery = time.Second
	// giveUpAfter is how long a store may fail before a run goes on without it.
	giveUpAfter = time.Minute
	// runLoad is how much more of a store's time a run may take than polling: a run is rare, polling is always.
	runLoad = 10
)

// What a request can be refused for; the error's text says what is allowed.
var (
	// ErrInvalidRequest: what was asked for cannot be done.
	ErrInvalidRequest = errors.New("invalid request")
	// ErrRunInProgress: one run at a time.
	ErrRunInProgress = errors.New("a run is in progress")
	// ErrUnknown: there is no such run, store or trip.
	ErrUnknown = errors.New("unknown")
	// ErrOff: the store is in mode Off.
	ErrOff = errors.New("the store is switched off")
)

// refusal is one of the errors above with a text of its own.
type refusal struct {
	is  error
	why string
}

func (r *refusal) Error() string { return r.why }
func (r *refusal) Unwrap() error { return r.is }

func refuse(is error, format string, args ...any) error {
	return &refusal{is, fmt.Sprintf(format, args...)}
}

// activeRun is the run under way. What can change is guarded by the engine's mutex.
type activeRun struct {
	// id and req say what was asked for; they do not change.
	id  int64
	req agentapi.RunRequest
	// run as it was last published.
	run agentapi.Run
	// pools are those the request names, in order; nil means all.
	pools  []int64
	signal Signal
	walks  map[string]*walk
	// listed are the stores in the order they are told: the master first.
	listed []string
	master string
	// walkedAt is when every store had been read; calmBy when to stop waiting for what was found.
	walkedAt, calmBy time.Time
	// least is the smallest backlog seen since, below zero before the first look.
	least int
}

// walk is a run's way through one store. Only the store's lane changes it, by replacing it as a whole.
type walk struct {
	Run int64 `json:"run"`
	// After is the last pool that was dealt with.
	After int64 `json:"after"`
	agentapi.RunStore
	Counts map[agentapi.FindingClass]int `json:"counts,omitempty"`
	Worst  []agentapi.Finding            `json:"worst,omitempty"`
	Kept   int                           `json:"kept,omitempty"`
	Ended  bool                          `json:"ended,omitempty"`
	// cursor is the next page of a catalogue, read that there is none; missing is where the search for what the
	// store lacks stands, searched that it is over; met are the pools met before.
	cursor         string
	read, searched bool
	missing        int64
	met            bits
	// again are those to be looked at once more.
	again []doubt
	next  time.Time
	// asked is the time the store has spent on the requests of the last step.
	asked time.Duration
	// failing is since when the walk's own requests fail.
	failing time.Time
}

// valueWalk keeps a walk with its store, so that a restart goes on where it was.
const valueWalk = "walk"

func (w *walk) clone() *walk {
	c := *w
	c.Counts, c.Worst = maps.Clone(w.Counts), slices.Clone(w.Worst)
	if c.Counts == nil {
		c.Counts = map[agentapi.FindingClass]int{}
	}
	return &c
}

func (w *walk) keep(tx Tx) error {
	b, err := json.Marshal(w)
	if err != nil {
		return err
	}
	return tx.SetValue(w.StoreID, valueWalk, string(b))
}

// found takes in a finding: counted always, kept while there is room.
func (w *walk) found(tx Tx, room int, f agentapi.Finding) error {
	f.Store = w.StoreID
	w.Counts[f.Class]++
	w.Worst = worst(append(w.Worst, f))
	return w.report(tx, room, f)
}

// report keeps a finding without counting it.
func (w *walk) report(tx Tx, room int, f agentapi.Finding) error {
	f.Store = w.StoreID
	if w.Kept >= room {
		return nil
	}
	w.Kept++
	return tx.AddFinding(w.Run, f)
}

// gravity orders the classes for [agentapi.Run.Worst], the gravest first.
var gravity = []agentapi.FindingClass{
	agentapi.AuthenticationFailed, agentapi.StoreUnreachable, agentapi.IdentityMismatch, agentapi.DuplicateSKU, agentapi.QuantityDiffers,
	agentapi.StatusDiffers, agentapi.MissingProduct, agentapi.ManagementDiffers, agentapi.BackordersDiffer, agentapi.LowStockDiffers, agentapi.InFlight,
}

// worst keeps the gravest findings, of one class those with the most units.
func worst(all []agentapi.Finding) []agentapi.Finding {
	slices.SortStableFunc(all, func(a, b agentapi.Finding) int {
		if d := slices.Index(gravity, a.Class) - slices.Index(gravity, b.Class); d != 0 {
			return d
		}
		return int(min(max(abs(b.Units)-abs(a.Units), -1), 1))
	})
	return all[:min(len(all), agentapi.MaxWorst)]
}

func abs(n int64) int64 { return max(n, -n) }

// StartRun begins a reconcile or an audit. Asked again with a RequestID it knows it answers that run. Errors:
// [ErrInvalidRequest], [ErrRunInProgress], [ErrUnknown] and those of the ledger.
func (e *Engine) StartRun(ctx context.Context, req agentapi.RunRequest) (agentapi.Run, error) {
	e.starting.Lock()
	defer e.starting.Unlock()
	var known []agentapi.Run
	err := e.ledger.View(ctx, func(tx Tx) (err error) {
		known, err = tx.Runs(0)
		return err
	})
	if err != nil {
		return agentapi.Run{}, err
	}
	for _, r := range known {
		if req.RequestID != "" && r.Request.RequestID == req.RequestID && r.Request.Kind == req.Kind {
			return r, nil
		}
	}
	if len(known) > 0 && known[0].State == agentapi.Running {
		return agentapi.Run{}, refuse(ErrRunInProgress, "run %d (%s) is in progress, and only one can be: wait for it, or cancel it", known[0].ID, known[0].Request.Kind)
	}
	e.mu.Lock()
	running := e.running
	e.mu.Unlock()
	if running == nil || running.Err() != nil {
		return agentapi.Run{}, refuse(ErrInvalidRequest, "the agent is starting or stopping: ask again in a moment")
	}
	if req.Kind == agentapi.KindReconcile && req.Strategy == "" {
		req.Strategy = agentapi.DifferencesOnly
	}
	r, err := e.prepare(ctx, req)
	if err != nil {
		return agentapi.Run{}, err
	}
	now := e.clock.Now()
	r.req = req
	r.run = agentapi.Run{Request: req, State: agentapi.Running, Sequence: 1, StartedAt: now.UTC(), Message: "the stores are being read"}
	for _, id := range r.listed {
		w := r.walks[id]
		r.run.Stores = append(r.run.Stores, w.RunStore)
		r.run.Total += w.Total
	}
	err = e.ledger.Update(ctx, func(tx Tx) error {
		made, err := tx.NewRun(r.run)
		if err != nil {
			return err
		}
		r.run, r.id = made, made.ID
		if err := tx.Append(r.entry(event.RunStarted, now, fmt.Sprintf("of %d placements in %s", made.Total, strings.Join(r.listed, ", ")))); err != nil {
			return err
		}
		for _, id := range r.listed {
			w := r.walks[id]
			w.Run = made.ID
			if err := w.keep(tx); err != nil {
				return err
			}
		}
		for i, old := range known {
			switch {
			case i >= keepRuns-1:
				err = tx.DropRun(old.ID)
			case i == keepReports-1:
				err = tx.DropFindings(old.ID)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return agentapi.Run{}, err
	}
	begun := r.run
	e.begin(running, r)
	return begun, nil
}

// ends are the lines of history of the final states.
var ends = map[agentapi.RunState]stock.Kind{agentapi.Succeeded: event.RunSucceeded, agentapi.NeedsAttention: event.RunNeedsAttention,
	agentapi.Failed: event.RunFailed, agentapi.Cancelled: event.RunCancelled}

// entry is a line of the history about the run.
func (r *activeRun) entry(k stock.Kind, now time.Time, what string) stock.Entry {
	name := string(r.req.Kind)
	if s := r.req.Strategy; s != "" {
		name += " (" + string(s) + ")"
	}
	return stock.Entry{Kind: k, Evidence: fmt.Sprintf("run %d, %s: %s", r.id, name, what), At: now}
}

// begin lets the lanes see the run and starts what looks after it.
func (e *Engine) begin(ctx context.Context, r *activeRun) {
	r.signal = e.clock.NewSignal()
	e.mu.Lock()
	e.current = r
	e.mu.Unlock()
	e.log.Info("a run begins", "run", r.id, "kind", r.req.Kind, "strategy", r.req.Strategy)
	_ = e.nudge(r.listed, func(l *lane) {
		// A store that fails is tried at once, unless it asked to be left alone.
		l.retry = l.retry || (l.state.Failure != nil && l.state.Failure.RetryAfter == 0)
	})
	e.changed()
	e.active.Add(1)
	e.clock.Go(func() {
		defer e.active.Done()
		e.drive(ctx, r)
	})
}

// prepare checks a request against what there is, and says what is allowed.
func (e *Engine) prepare(ctx context.Context, req agentapi.RunRequest) (*activeRun, error) {
	if err := validate(req); err != nil {
		return nil, err
	}
	e.mu.Lock()
	stores := map[string]Store{}
	for id, l := range e.lanes {
		stores[id] = l.store
	}
	e.mu.Unlock()
	known := slices.Sorted(maps.Keys(stores))
	if len(known) == 0 {
		return nil, refuse(ErrInvalidRequest, "there is no store in the configuration yet")
	}
	for _, id := range req.Stores {
		st, ok := stores[id]
		switch {
		case !ok:
			return nil, refuse(ErrUnknown, "there is no store %q: the stores are %s", id, strings.Join(known, ", "))
		case st.Mode == Off:
			return nil, refuse(ErrInvalidRequest, "store %s is in mode Off, where nothing is read or written: set it to Observe or Sync first", id)
		}
	}
	r := &activeRun{least: -1, walks: map[string]*walk{}}
	for _, id := range known {
		st := stores[id]
		if st.Policy.Master {
			r.master = id
		}
		if st.Mode == Off || (len(req.Stores) > 0 && !slices.Contains(req.Stores, id)) {
			continue
		}
		r.walks[id] = &walk{RunStore: agentapi.RunStore{StoreID: id}}
		r.listed = append(r.listed, id)
	}
	slices.SortStableFunc(r.listed, func(a, b string) int {
		switch {
		case a == r.master:
			return -1
		case b == r.master:
			return 1
		}
		return 0
	})
	if len(r.listed) == 0 {
		return nil, refuse(ErrInvalidRequest, "every store is in mode Off: there is nothing to read")
	}
	if req.Strategy == agentapi.Reset && e.sourced() {
		return nil, refuse(ErrInvalidRequest, "stock comes from a source, and no store is the master: the strategy %s writes the source's numbers", agentapi.Push)
	}
	if req.Strategy == agentapi.Reset && r.walks[r.master] == nil {
		return nil, refuse(ErrInvalidRequest, "the strategy Reset takes the master's numbers, and there is no master that can be read")
	}
	return r, e.ledger.View(ctx, func(tx Tx) error {
		var err error
		if r.pools, err = poolsOf(tx, req.SKUs); err != nil {
			return err
		}
		for _, id := range r.listed {
			if r.walks[id].Total, err = countPlacements(tx, id, r.pools); err != nil {
				return err
			}
		}
		return nil
	})
}

func validate(req agentapi.RunRequest) error {
	switch {
	case req.Kind != agentapi.KindReconcile && req.Kind != agentapi.KindAudit:
		return refuse(ErrInvalidRequest, "the kind %q is not known: it is %s or %s", req.Kind, agentapi.KindReconcile, agentapi.KindAudit)
	case req.Kind == agentapi.KindAudit && req.Strategy != "":
		return refuse(ErrInvalidRequest, "an audit has no strategy: it reads and reports, and writes nothing")
	case req.Kind == agentapi.KindAudit && req.ConfirmReset, req.Strategy != agentapi.Reset && req.ConfirmReset:
		return refuse(ErrInvalidRequest, "confirmReset belongs to the strategy %s alone", agentapi.Reset)
	case len(req.SKUs) > maxNames || len(req.Stores) > maxNames:
		return refuse(ErrInvalidRequest, "at most %d SKUs and stores can be named; name none for all", maxNames)
	case len(req.RequestID) > 300:
		return refuse(ErrInvalidRequest, "the requestID may have 300 characters")
	}
	if req.Kind == agentapi.KindAudit {
		return nil
	}
	strategies := []agentapi.Strategy{agentapi.DifferencesOnly, agentapi.Push, agentapi.DryRun, agentapi.Reset}
	switch {
	case !slices.Contains(strategies, req.Strategy):
		return refuse(ErrInvalidRequest, "the strategy %q is not known: it is one of %v", req.Strategy, strategies)
	case req.Strategy == agentapi.Reset && !req.ConfirmReset:
		return refuse(ErrInvalidRequest, "the strategy Reset sets the stock of every SKU to the master's number, and sales that are not in that number are forgotten: set confirmReset if that is meant")
	case req.Strategy == agentapi.Reset && len(req.Stores) > 0:
		return refuse(ErrInvalidRequest, "the strategy Reset changes the stock that all stores share: name SKUs if it is to be narrowed, and no stores")
	}
	return nil
}

// poolsOf finds the pools of SKUs, in order; nil for none named.
func poolsOf(tx Tx, skus []string) ([]int64, error) {
	var pools []int64
	var unknown []string
	for _, sku := range skus {
		id, err := tx.PoolOf(stock.KeyOf(sku))
		if err != nil {
			return nil, err
		}
		if id == 0 {
			unknown = append(unknown, fmt.Sprintf("%q", strings.TrimSpace(sku)))
			continue
		}
		pools = append(pools, id)
	}
	if len(unknown) > 0 {
		more := ""
		if len(unknown) > 10 {
			more = fmt.Sprintf(" and %d more", len(unknown)-10)
			unknown = unknown[:10]
		}
		return nil, refuse(ErrUnknown, "no stock is known for SKU %s%s: it must be the SKU of an item of the master that manages its stock and is not excluded", strings.Join(unknown, ", "), more)
	}
	slices.Sort(pools)
	return slices.Compact(pools), nil
}

func countPlacements(tx Tx, store string, pools []int64) (int, error) {
	if pools == nil {
		stats, err := tx.Stats(store)
		return stats.Placements, err
	}
	n := 0
	for _, id := range pools {
		_, bound, err := tx.Placement(store, id)
		if err != nil {
			return 0, err
		}
		if bound {
			n++
		}
	}
	return n, nil
}

// Runs are the recent runs, newest first, at most 100.
func (e *Engine) Runs(ctx context.Context) ([]agentapi.Run, error) {
	var runs []agentapi.Run
	err := e.ledger.View(ctx, func(tx Tx) (err error) {
		runs, err = tx.Runs(keepRuns)
		return err
	})
	return runs, err
}

// GetRun is a run as it stands; [ErrUnknown] if there is none of this id, or not any more.
func (e *Engine) GetRun(ctx context.Context, id int64) (agentapi.Run, error) {
	runs, err := e.Runs(ctx)
	if err != nil {
		return agentapi.Run{}, err
	}
	for _, r := range runs {
		if r.ID == id {
			return r, nil
		}
	}
	return agentapi.Run{}, refuse(ErrUnknown, "there is no run %d: the newest %d are kept", id, keepRuns)
}

// WaitRun answers as soon as the run's Sequence is not the given one or the run has ended, and when ctx is done
// with the run as it stands.
func (e *Engine) WaitRun(ctx context.Context, id, sequence int64) (agentapi.Run, error) {
	signal := e.clock.NewSignal()
	e.mu.Lock()
	e.watchers[signal] = true
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.watchers, signal)
	}()
	for {
		run, err := e.GetRun(context.WithoutCancel(ctx), id)
		if err != nil || run.Sequence != sequence || run.State != agentapi.Running || ctx.Err() != nil {
			return run, err
		}
		signal.Wait(ctx, e.clock.Now().Add(idle))
	}
}

// changed wakes those who wait for a run.
func (e *Engine) changed() {
	e.mu.Lock()
	var signals []Signal
	for s := range e.watchers {
		signals = append(signals, s)
	}
	e.mu.Unlock()
	for _, s := range signals {
		s.Set()
	}
}

// CancelRun ends a run. What it has written stays; one that has ended already is answered as it is.
func (e *Engine) CancelRun(ctx context.Context, id int64) (agentapi.Run, error) {
	e.mu.Lock()
	r := e.current
	e.mu.Unlock()
	if r != nil && r.id == id {
		if err := e.end(ctx, r, agentapi.Cancelled, "cancelled; what was written before stays"); err != nil {
			return agentapi.Run{}, err
		}
	}
	return e.GetRun(ctx, id)
}

// Findings pages what a run found, oldest first. At most 1,000 at a time; limit 0 or less means that many.
func (e *Engine) Findings(ctx context.Context, run, after int64, limit int) ([]agentapi.Finding, error) {
	if _, err := e.GetRun(ctx, run); err != nil {
		return nil, err
	}
	if limit <= 0 || limit > 1000 {
		limit = 1000
	}
	var found []agentapi.Finding
	err := e.ledger.View(ctx, func(tx Tx) (err error) {
		found, err = tx.Findings(run, after, limit)
		return err
	})
	return found, err
}

// resume takes up the run that a crash or restart cut off.
func (e *Engine) resume(ctx context.Context) {
	wait := e.clock.NewSignal()
	for ctx.Err() == nil {
		err := e.takeUp(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		e.log.Error(err, "the run that was under way could not be taken up; it is tried again")
		wait.Wait(ctx, e.clock.Now().Add(firstBackoff))
	}
}

func (e *Engine) takeUp(ctx context.Context) error {
	e.starting.Lock()
	defer e.starting.Unlock()
	runs, err := e.Runs(ctx)
	if err != nil || len(runs) == 0 || runs[0].State != agentapi.Running {
		return err
	}
	was := runs[0]
	r, err := e.prepare(ctx, was.Request)
	if errors.Is(err, ErrInvalidRequest) || errors.Is(err, ErrUnknown) {
		return e.end(ctx, &activeRun{run: was, id: was.ID, req: was.Request}, agentapi.Failed, "the agent was started again, and the run cannot go on: "+err.Error())
	}
	if err != nil {
		return err
	}
	r.run, r.id, r.req = was, was.ID, was.Request
	err = e.ledger.Update(ctx, func(tx Tx) error {
		if was.Request.Kind == agentapi.KindAudit {
			// It keeps nothing in mind of what it wanted to look at again, so it begins anew.
			if err := tx.DropFindings(was.ID); err != nil {
				return err
			}
		}
		for id, w := range r.walks {
			w.Run = was.ID
			if was.Request.Kind == agentapi.KindAudit {
				continue
			}
			text, err := tx.Value(id, valueWalk)
			if err != nil {
				return err
			}
			var kept walk
			if json.Unmarshal([]byte(text), &kept) == nil && kept.Run == was.ID && kept.StoreID == id {
				r.walks[id] = kept.clone()
			}
		}
		return nil
	})
	if err == nil {
		e.begin(ctx, r)
	}
	return err
}

// drive looks after a run until it has ended.
func (e *Engine) drive(ctx context.Context, r *activeRun) {
	for ctx.Err() == nil {
		ended, err := e.look(ctx, r)
		if ended {
			return
		}
		if err != nil && ctx.Err() == nil {
			e.log.Error(err, "the state of a run could not be kept; it is tried again", "run", r.id)
		}
		r.signal.Wait(ctx, e.clock.Now().Add(publishEvery))
	}
}

// look tells how a run stands, and ends it when there is nothing left to do.
func (e *Engine) look(ctx context.Context, r *activeRun) (ended bool, err error) {
	now := e.clock.Now()
	e.mu.Lock()
	if e.current != r {
		e.mu.Unlock()
		return true, nil
	}
	done := true
	for id, w := range r.walks {
		if e.lanes[id] == nil && !w.Ended {
			left := w.clone()
			left.Ended, left.Error = true, "the store left the configuration"
			r.walks[id] = left
		}
		done = done && r.walks[id].Ended
	}
	if done && r.walkedAt.IsZero() {
		r.walkedAt = now
	}
	e.mu.Unlock()
	if !done {
		return false, e.publish(ctx, r, "the stores are being read")
	}
	calm, err := e.calm(ctx, r)
	if err != nil {
		return false, err
	}
	if !calm {
		return false, e.publish(ctx, r, "everything was read; what differs is being written")
	}
	return true, e.conclude(ctx, r)
}

// assemble makes the run that people see of the walks.
func (e *Engine) assemble(r *activeRun) agentapi.Run {
	e.mu.Lock()
	defer e.mu.Unlock()
	run := r.run
	run.Done, run.Total, run.RemainingSeconds = 0, 0, 0
	run.Stores, run.Worst, run.Counts = nil, nil, map[agentapi.FindingClass]int{}
	elapsed := e.clock.Now().Sub(run.StartedAt).Seconds()
	for _, id := range r.listed {
		w := r.walks[id]
		s := w.RunStore
		s.Total = max(s.Total, s.Done)
		run.Stores = append(run.Stores, s)
		run.Done += s.Done
		run.Total += s.Total
		if s.Done > 0 && !w.Ended {
			run.RemainingSeconds = max(run.RemainingSeconds, int(elapsed/float64(s.Done)*float64(s.Total-s.Done)))
		}
		for class, n := range w.Counts {
			run.Counts[class] += n
		}
		run.Worst = worst(append(run.Worst, w.Worst...))
	}
	return run
}

// publish tells how far the run is, if that is news.
func (e *Engine) publish(ctx context.Context, r *activeRun, message string) error {
	e.telling.Lock()
	defer e.telling.Unlock()
	run := e.assemble(r)
	run.Message = message
	if !e.isCurrent(r) || same(run, r.run) {
		return nil
	}
	run.Sequence++
	if err := e.ledger.Update(ctx, func(tx Tx) error { return tx.PutRun(run) }); err != nil {
		return err
	}
	e.mu.Lock()
	r.run = run
	e.mu.Unlock()
	e.changed()
	return nil
}

func (e *Engine) isCurrent(r *activeRun) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.current == r
}

// same tells that two states of a run tell people the same.
func same(a, b agentapi.Run) bool {
	a.RemainingSeconds, b.RemainingSeconds = 0, 0
	one, err := json.Marshal(a)
	other, err2 := json.Marshal(b)
	return err == nil && err2 == nil && string(one) == string(other)
}

// end closes a run in a final state.
func (e *Engine) end(ctx context.Context, r *activeRun, state agentapi.RunState, message string) error {
	e.telling.Lock()
	defer e.telling.Unlock()
	run := r.run
	if r.walks != nil {
		if !e.isCurrent(r) {
			return nil
		}
		run = e.assemble(r)
	}
	now := e.clock.Now().UTC()
	run.State, run.Message, run.FinishedAt, run.RemainingSeconds = state, message, &now, 0
	run.Sequence++
	err := e.ledger.Update(ctx, func(tx Tx) error {
		for _, id := range r.listed {
			if err := tx.SetValue(id, valueWalk, ""); err != nil {
				return err
			}
		}
		if err := tx.Append(r.entry(ends[state], now, message)); err != nil {
			return err
		}
		return tx.PutRun(run)
	})
	if err != nil {
		return err
	}
	e.log.Info("a run ended", "run", run.ID, "kind", run.Request.Kind, "state", state, "outcome", message)
	e.mu.Lock()
	all := map[string]bool{}
	if e.current == r {
		e.current = nil
		for id := range e.lanes {
			all[id] = true
		}
	}
	r.run = run
	e.mu.Unlock()
	e.wake(all)
	e.changed()
	return nil
}

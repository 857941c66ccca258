package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/event"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

// right is what a caller may do.
type right int

const (
	nothing right = iota
	readStatus
	// readAll may read everything, and start what writes to no store.
	readAll
	writeAll
	// local is the right of whoever may read the ledger's file anyway.
	local
)

const (
	// maxQuestion is the largest body of a request: ten thousand SKUs fit.
	maxQuestion = 2 << 20
	// answerWithin bounds most requests, and forgetWithin the one that goes through a whole shop; longestPoll is
	// how long one may ask to be held back.
	answerWithin = time.Minute
	forgetWithin = 15 * time.Minute
	backupWithin = time.Hour
	longestPoll  = 30 * time.Second
	// Requests are answered at this rate per token; those without a right one share a lower one.
	requestsPerSecond, requestsBurst = 20, 100
	refusalsPerSecond, refusalsBurst = 2, 20

	defaultRows, mostRows = 100, 10_000
)

// runner is what the engine does for tools.
type runner interface {
	StartRun(ctx context.Context, q agentapi.RunRequest) (agentapi.Run, error)
	Runs(ctx context.Context) ([]agentapi.Run, error)
	GetRun(ctx context.Context, id int64) (agentapi.Run, error)
	// WaitRun answers once the run's Sequence is not the given one, or ctx is done.
	WaitRun(ctx context.Context, id, sequence int64) (agentapi.Run, error)
	CancelRun(ctx context.Context, id int64) (agentapi.Run, error)
	Findings(ctx context.Context, run, after int64, limit int) ([]agentapi.Finding, error)
	Breaker(ctx context.Context) (*agentapi.Breaker, error)
	ApproveTrip(ctx context.Context, id string) error
	Rescan(stores ...string) error
	Retry(stores ...string) error
	Forget(ctx context.Context, store string) (int, error)
}

// call is one request for a tool.
type call struct {
	a *Agent
	*http.Request
	may right
	// stopping is done when the agent stops: nothing may wait any longer.
	stopping context.Context
}

// tool answers requests for one route. The error's text goes to the caller.
type tool struct {
	needs  right
	answer func(ctx context.Context, c call) (any, error)
	// within bounds the answer; [answerWithin] when 0.
	within time.Duration
}

// problem is a refusal with its HTTP status.
type problem struct {
	status int
	text   string
}

func (p *problem) Error() string { return p.text }

func badRequest(format string, args ...any) error {
	return &problem{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// tools are all routes, by method and pattern.
var tools = map[string]tool{
	"GET " + agentapi.StatusPath: {needs: readStatus, answer: func(ctx context.Context, c call) (any, error) {
		s, err := c.a.Status(ctx)
		if err != nil {
			return nil, &problem{http.StatusServiceUnavailable, "the ledger cannot be read: " + err.Error()}
		}
		return s, nil
	}},
	"GET " + agentapi.RunsPath:                    {needs: readAll, answer: listRuns},
	"POST " + agentapi.RunsPath:                   {needs: readAll, answer: startRun},
	"GET " + agentapi.RunsPath + "/{id}":          {needs: readAll, answer: readRun},
	"POST " + agentapi.RunsPath + "/{id}/cancel":  {needs: writeAll, answer: cancelRun},
	"GET " + agentapi.RunsPath + "/{id}/findings": {needs: readAll, answer: listFindings},
	"GET " + agentapi.ConflictsPath:               {needs: readAll, answer: listConflicts},
	"POST " + agentapi.ConflictsPath + "/resolve": {needs: writeAll, answer: resolveConflicts},
	"POST " + agentapi.ConflictsPath + "/dismiss": {needs: writeAll, answer: dismissConflicts},
	"POST " + agentapi.RescanPath:                 {needs: writeAll, answer: onStores(runner.Rescan)},
	"GET " + agentapi.BacklogPath:                 {needs: readAll, answer: listBacklog},
	"POST " + agentapi.BacklogPath + "/retry":     {needs: writeAll, answer: onStores(runner.Retry)},
	"POST " + agentapi.BacklogPath + "/accept":    {needs: writeAll, answer: acceptNumbers},
	"GET " + agentapi.HistoryPath:                 {needs: readAll, answer: readHistory},
	"POST " + agentapi.HistoryPath + "/prune":     {needs: writeAll, answer: pruneHistory},
	"GET " + agentapi.EventsPath:                  {needs: readAll, answer: listEvents},
	"GET " + agentapi.PingPath:                    {needs: readAll, answer: pingStores},
	"GET " + agentapi.NumbersPath:                 {needs: readAll, answer: listNumbers},
	"GET " + agentapi.LinksPath:                   {needs: readAll, answer: listLinks},
	"POST " + agentapi.LinksPath + "/set":         {needs: writeAll, answer: setLink},
	"POST " + agentapi.LinksPath + "/remove":      {needs: writeAll, answer: removeLink},
	"POST " + agentapi.ForgetPath:                 {needs: writeAll, answer: forgetStore, within: forgetWithin},
	"GET " + agentapi.BreakerPath:                 {needs: readAll, answer: readBreaker},
	"POST " + agentapi.BreakerPath + "/approve":   {needs: writeAll, answer: approveTrip},
	"GET " + agentapi.BackupPath:                  {needs: local, answer: backupLedger, within: backupWithin},
}

// toolsHandler serves all tools to callers by their right; stopping ends what waits.
func (a *Agent) toolsHandler(stopping context.Context, rightOf func(*http.Request) right) http.Handler {
	mux := http.NewServeMux()
	for pattern, t := range tools {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			may, _ := r.Context().Value(rightKey{}).(right)
			a.serve(w, call{a, r, may, stopping}, t)
		})
	}
	limits := map[right]*rate.Limiter{nothing: rate.NewLimiter(refusalsPerSecond, refusalsBurst)}
	for _, may := range []right{readStatus, readAll, writeAll, local} {
		limits[may] = rate.NewLimiter(requestsPerSecond, requestsBurst)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		may := rightOf(r)
		_, pattern := mux.Handler(r)
		switch {
		case !limits[may].AllowN(a.clock.Now(), 1):
			w.Header().Set("Retry-After", "1")
			refuse(w, http.StatusTooManyRequests, "too many requests: wait a second")
		case may == nothing:
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(w, http.StatusUnauthorized, "a bearer token is needed: "+tokensTold)
		case pattern == "":
			unknownRoute(w, r, mux)
		default:
			mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), rightKey{}, may)))
		}
	})
}

// rightKey is where a request's context holds its [right].
type rightKey struct{}

// unknownRoute refuses a request for which there is no tool.
func unknownRoute(w http.ResponseWriter, r *http.Request, mux *http.ServeMux) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := mux.Handler(other); pattern != "" {
			w.Header().Set("Allow", method)
			refuse(w, http.StatusMethodNotAllowed, "this is asked for by "+method)
			return
		}
	}
	refuse(w, http.StatusNotFound, "this version of the agent has no such route")
}

const tokensTold = "`" + agentapi.TokenFile + "` reads the status, `" + agentapi.ReadTokenFile + "` reads everything and starts audits and dry runs, `" +
	agentapi.WriteTokenFile + "` may do everything (each a file of the agent's private directory and a key of a Secret)"

func denial(needs right) string {
	switch needs {
	case local:
		return "this is given on the socket in the agent's data directory only: run `agent backup` where the agent runs"
	case writeAll:
		return "this needs the write token (`" + agentapi.WriteTokenFile + "`): it changes stores or the ledger"
	}
	return "this needs the read token (`" + agentapi.ReadTokenFile + "`) or the write token (`" + agentapi.WriteTokenFile + "`): this token reads the status only"
}

func (a *Agent) serve(w http.ResponseWriter, c call, t tool) {
	// The limits of the connection are for quick answers.
	control := http.NewResponseController(w)
	within := cmp.Or(t.within, answerWithin)
	late := a.clock.Now().Add(2 * within)
	_, _ = control.SetReadDeadline(late), control.SetWriteDeadline(late)
	if c.may < t.needs {
		refuse(w, http.StatusForbidden, denial(t.needs))
		return
	}
	c.Body = http.MaxBytesReader(w, c.Body, maxQuestion)
	ctx, cancel := context.WithTimeout(c.Context(), within)
	defer cancel()
	v, err := t.answer(ctx, c)
	if file, ok := v.(*os.File); ok && err == nil {
		w.Header().Set("Content-Type", "application/vnd.sqlite3")
		http.ServeContent(w, c.Request, "", time.Time{}, file)
		_ = file.Close()
		return
	}
	if err == nil {
		writeJSON(w, v)
		return
	}
	status := http.StatusInternalServerError
	var told *problem
	switch {
	case errors.As(err, &told):
		status = told.status
	case errors.Is(err, engine.ErrNotFound), errors.Is(err, engine.ErrUnknown):
		status = http.StatusNotFound
	case errors.Is(err, engine.ErrInvalidRequest):
		status = http.StatusBadRequest
	case errors.Is(err, engine.ErrRunInProgress):
		status = http.StatusConflict
	case errors.Is(err, context.DeadlineExceeded):
		status, err = http.StatusServiceUnavailable, errors.New("this takes too long for one request: what is done is done, ask again and it goes on")
	case errors.Is(err, ledger.ErrDiskFull), errors.Is(err, ledger.ErrClosed):
		status = http.StatusServiceUnavailable
	}
	refuse(w, status, err.Error())
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v) // the peer went away
}

// question reads the body of a request.
func question[T any](c call) (q T, err error) {
	d := json.NewDecoder(c.Body)
	d.DisallowUnknownFields()
	err = d.Decode(&q)
	if err == nil && d.More() {
		err = errors.New("more than one")
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return q, &problem{http.StatusRequestEntityTooLarge, "the request must be at most 2 MiB: ask for fewer SKUs at a time"}
	case err != nil && !errors.Is(err, io.EOF):
		return q, badRequest("the request must be the JSON this version of the agent knows")
	case err != nil:
		return q, badRequest("the request must have a body in JSON")
	}
	return q, nil
}

// number reads a query parameter, or takes what it means when it is absent.
func (c call) number(name string, otherwise, least, most int64) (int64, error) {
	text := c.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, badRequest("%s must be a whole number from %d to %d", name, least, most)
	}
	return n, nil
}

func (c call) id() (int64, error) {
	n, err := strconv.ParseInt(c.PathValue("id"), 10, 64)
	if err != nil {
		return 0, badRequest("a run is named by its number")
	}
	return n, nil
}

// page reads the limit and the place of a listing.
func (c call) page() (after int64, limit int, err error) {
	after, err = c.number("after", 0, 0, math.MaxInt64)
	if err != nil {
		return 0, 0, err
	}
	n, err := c.number("limit", defaultRows, 1, mostRows)
	return after, int(n), err
}

// patience is ctx for as long as the caller wants to wait, and no longer than the agent runs; nil if it does not
// want to.
func (c call) patience(ctx context.Context) (context.Context, context.CancelFunc, error) {
	wait, err := c.number("wait", 0, 0, int64(longestPoll/time.Second))
	if err != nil || wait == 0 {
		return nil, func() {}, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(wait)*time.Second)
	stop := context.AfterFunc(c.stopping, cancel)
	return ctx, func() { stop(); cancel() }, nil
}

// store checks that a store is configured; empty means none is named.
func (c call) store(id string) error {
	if id == "" {
		return nil
	}
	c.a.mu.Lock()
	defer c.a.mu.Unlock()
	var known []string
	for _, s := range c.a.conf.Stores {
		if s.ID == id {
			return nil
		}
		known = append(known, s.ID)
	}
	return &problem{http.StatusNotFound, fmt.Sprintf("there is no store %q: the stores are %s", id, strings.Join(known, ", "))}
}

func listRuns(ctx context.Context, c call) (any, error) {
	runs, err := c.a.runs.Runs(ctx)
	return rows(runs), err
}

func startRun(ctx context.Context, c call) (any, error) {
	q, err := question[agentapi.RunRequest](c)
	if err != nil {
		return nil, err
	}
	if harmless := q.Kind == agentapi.KindAudit || q.Strategy == agentapi.DryRun; !harmless && c.may < writeAll {
		return nil, &problem{http.StatusForbidden, denial(writeAll) + "; an audit or a dry run needs the read token only"}
	}
	if c.a.ready(ctx) != nil {
		return nil, &problem{http.StatusServiceUnavailable, "the agent is starting: ask again in a moment"}
	}
	return c.a.runs.StartRun(ctx, q)
}

func readRun(ctx context.Context, c call) (any, error) {
	id, err := c.id()
	if err != nil {
		return nil, err
	}
	sequence, err := c.number("sequence", -1, -1, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	waiting, cancel, err := c.patience(ctx)
	defer cancel()
	if err != nil || waiting == nil {
		return firstOr(err, func() (any, error) { return c.a.runs.GetRun(ctx, id) })
	}
	return c.a.runs.WaitRun(waiting, id, sequence)
}

func firstOr(err error, otherwise func() (any, error)) (any, error) {
	if err != nil {
		return nil, err
	}
	return otherwise()
}

func cancelRun(ctx context.Context, c call) (any, error) {
	id, err := c.id()
	if err != nil {
		return nil, err
	}
	return c.a.runs.CancelRun(ctx, id)
}

func listFindings(ctx context.Context, c call) (any, error) {
	id, err := c.id()
	if err != nil {
		return nil, err
	}
	after, limit, err := c.page()
	if err != nil {
		return nil, err
	}
	found, err := c.a.runs.Findings(ctx, id, after, limit)
	return rows(found), err
}

func listConflicts(ctx context.Context, c call) (any, error) {
	q := c.URL.Query()
	if err := c.store(q.Get("store")); err != nil {
		return nil, err
	}
	open, err := c.a.conflicts(ctx, q.Get("store"), q.Get("sku"))
	return entriesOf(open), err
}

func resolveConflicts(ctx context.Context, c call) (any, error) {
	q, err := question[agentapi.ResolveRequest](c)
	if err != nil {
		return nil, err
	}
	if (q.Units == nil) == (q.Store == "") || strings.TrimSpace(q.SKU) == "" {
		return nil, badRequest("give the SKU, and either its units or the store whose number is right")
	}
	if err := c.store(q.Store); err != nil {
		return nil, err
	}
	n, err := c.a.resolve(ctx, q)
	return agentapi.Closed{Count: n}, err
}

func dismissConflicts(ctx context.Context, c call) (any, error) {
	q, err := question[agentapi.DismissRequest](c)
	if err != nil {
		return nil, err
	}
	if len(q.IDs) == 0 {
		return nil, badRequest("name the conflicts by their ids")
	}
	return agentapi.Closed{Count: len(q.IDs)}, c.a.dismiss(ctx, q.IDs)
}

// onStores is a request for something to be done with some stores, or all.
func onStores(do func(runner, ...string) error) func(context.Context, call) (any, error) {
	return func(_ context.Context, c call) (any, error) {
		q, err := question[agentapi.StoresRequest](c)
		if err != nil {
			return nil, err
		}
		for _, id := range q.Stores {
			if err := c.store(id); err != nil {
				return nil, err
			}
		}
		n := len(q.Stores)
		if n == 0 {
			c.a.mu.Lock()
			n = len(c.a.conf.Stores)
			c.a.mu.Unlock()
		}
		return agentapi.Closed{Count: n}, do(c.a.runs, q.Stores...)
	}
}

func listBacklog(ctx context.Context, c call) (any, error) {
	store := c.URL.Query().Get("store")
	if err := c.store(store); err != nil {
		return nil, err
	}
	n, err := c.number("limit", defaultRows, 1, mostRows)
	if err != nil {
		return nil, err
	}
	items, err := c.a.backlog(ctx, store, c.URL.Query().Get("after"), int(n))
	return rows(items), err
}

func acceptNumbers(ctx context.Context, c call) (any, error) {
	q, err := question[agentapi.AcceptRequest](c)
	if err != nil {
		return nil, err
	}
	switch {
	case q.Store == "" || len(q.SKUs) == 0:
		return nil, badRequest("name the store and the SKUs whose numbers there are right")
	case !q.Confirm:
		return nil, badRequest("this makes the numbers of store %s those of every store: confirm it", q.Store)
	}
	if err := c.store(q.Store); err != nil {
		return nil, err
	}
	return agentapi.Closed{Count: len(q.SKUs)}, c.a.accept(ctx, q.Store, q.SKUs)
}

func readHistory(ctx context.Context, c call) (any, error) {
	_, limit, err := c.page()
	if err != nil {
		return nil, err
	}
	sku := c.URL.Query().Get("sku")
	if strings.TrimSpace(sku) == "" {
		return nil, badRequest("name the SKU: ?sku=")
	}
	return firstOr(nil, func() (any, error) { return c.a.history(ctx, sku, limit) })
}

func pruneHistory(ctx context.Context, c call) (any, error) {
	q, err := question[agentapi.PruneRequest](c)
	if err != nil {
		return nil, err
	}
	const century = 36500
	if q.OlderThanDays < 1 || q.OlderThanDays > century {
		return nil, badRequest("olderThanDays must be from 1 to %d", century)
	}
	n, err := c.a.ledger.Prune(ctx, c.a.clock.Now().AddDate(0, 0, -q.OlderThanDays), 0)
	if err == nil {
		c.a.tell(stock.Entry{Kind: event.HistoryPruned, Units: int64(n), Evidence: fmt.Sprintf("%d lines older than %d days", n, q.OlderThanDays)})
	}
	return agentapi.Closed{Count: n}, err
}

func listEvents(ctx context.Context, c call) (any, error) {
	after, limit, err := c.page()
	if err != nil {
		return nil, err
	}
	v := c.URL.Query()
	q := ledger.EventQuery{After: after, Limit: limit, Newest: v.Get("after") == "", Store: v.Get("store"), SKU: v.Get("sku"), Level: event.Level(v.Get("level"))}
	if q.Level != "" && q.Level != event.Info && q.Level != event.Warning && q.Level != event.Error {
		return nil, badRequest("level must be Info, Warning or Error")
	}
	waiting, cancel, err := c.patience(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	news := c.a.clock.NewSignal()
	for {
		lines, err := c.a.ledger.Events(ctx, q)
		if err != nil || len(lines) > 0 || waiting == nil || waiting.Err() != nil {
			return entriesOf(lines), err
		}
		news.Wait(waiting, c.a.clock.Now().Add(time.Second))
	}
}

func pingStores(ctx context.Context, c call) (any, error) {
	store := c.URL.Query().Get("store")
	if err := c.store(store); err != nil {
		return nil, err
	}
	return rows(c.a.ping(ctx, store)), nil
}

func forgetStore(ctx context.Context, c call) (any, error) {
	q, err := question[agentapi.ForgetRequest](c)
	switch {
	case err != nil:
		return nil, err
	case q.Store == "":
		return nil, badRequest("name the store whose markers are to be removed")
	case !q.Confirm:
		return nil, badRequest("this removes our markers from store %s, which then starts anew: confirm it", q.Store)
	}
	if err := c.store(q.Store); err != nil {
		return nil, err
	}
	n, err := c.a.runs.Forget(ctx, q.Store)
	return agentapi.Closed{Count: n}, err
}

func readBreaker(ctx context.Context, c call) (any, error) {
	return c.a.runs.Breaker(ctx)
}

func approveTrip(ctx context.Context, c call) (any, error) {
	q, err := question[agentapi.ApproveRequest](c)
	if err != nil {
		return nil, err
	}
	b, err := c.a.runs.Breaker(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.a.runs.ApproveTrip(ctx, q.TripID); err != nil {
		return nil, err
	}
	n := 0
	if b != nil {
		n = b.Zeroed + b.Multiplied
	}
	return agentapi.Closed{Count: n}, nil
}

// backupLedger answers a copy of the ledger: a file without a name, so that nothing stays when the agent is killed.
func backupLedger(ctx context.Context, c call) (any, error) {
	copier, ok := c.a.original.(interface {
		Backup(ctx context.Context, path string) error
	})
	if !ok {
		return nil, &problem{http.StatusNotImplemented, "this agent keeps its ledger in memory: there is nothing to back up"}
	}
	if !c.a.copying.TryLock() {
		return nil, &problem{http.StatusConflict, "another backup is under way: wait for it"}
	}
	defer c.a.copying.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer context.AfterFunc(c.stopping, func() { cancel(errors.New("the agent stops: ask again when it runs")) })()
	path := filepath.Join(c.a.o.DataDir, backupName)
	if err := copier.Backup(ctx, path); err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err = errors.Join(err, os.Remove(path)); err != nil {
		return nil, fmt.Errorf("open the copy of the ledger: %w", err)
	}
	return file, nil
}

// backupName is the copy's in the data directory while it is made.
const backupName = "backup.tmp"

// rows is a list that is never null in JSON.
func rows[T any](found []T) []T {
	if found == nil {
		return []T{}
	}
	return found
}

// everything is the right of whoever may open the socket.
func everything(*http.Request) right { return local }

func listenSocket(path string) (net.Listener, error) {
	// The ledger's lock is held, so a socket that lies there belongs to nobody.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the old socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on the socket in the data directory (its path must be shorter than 100 characters): %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("protect the socket: %w", err)
	}
	return l, nil
}

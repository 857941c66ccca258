// Package agentclient asks a running agent: over the Unix socket in its data directory, over TLS with a token,
// or through whatever else carries HTTP to its private port. It is all a tool needs of the agent, and it
// imports nothing of it but the contract, package agentapi.
package agentclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/utils/clock"

	"stocksync.dev/stocksync/internal/agentapi"
)

const (
	// longestWait is for how long the agent is asked to hold an answer back; requestTimeout bounds one request, and
	// forgetTimeout the one that goes through a whole shop.
	longestWait    = 25 * time.Second
	requestTimeout = 2 * time.Minute
	forgetTimeout  = 20 * time.Minute
	// maxAnswer bounds an answer, in bytes.
	maxAnswer = 64 << 20
	// pageSize is how many findings or rows of the backlog are asked for at a time.
	pageSize = 1000
)

// Client asks one agent. Its methods may be called concurrently.
type Client struct {
	http        *http.Client
	base, token string
	// explain says what to do about a request that was not answered; nil keeps the error as it is.
	explain func(error) error
	clock   clock.Clock
}

// New makes a client that reaches the agent at base, a URL without a path, by h. The token is one of those in
// the agent's private directory; empty where none is needed.
func New(h *http.Client, base, token string) *Client {
	return &Client{http: h, base: strings.TrimRight(base, "/"), token: token, clock: clock.RealClock{}}
}

// Socket makes a client of the agent that runs on a data directory of this machine. It connects with the
// first question.
func Socket(dataDir string) *Client {
	path := filepath.Join(dataDir, agentapi.SocketName)
	c := New(direct(&http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}), "http://agent", "")
	c.explain = func(err error) error {
		switch {
		case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
			return fmt.Errorf("no agent runs on %s: start it with `agent run`, or name its data directory with --data", dataDir)
		case errors.Is(err, syscall.EACCES):
			return fmt.Errorf("%s belongs to another user: run this as the user the agent runs as", path)
		}
		return fmt.Errorf("the agent does not answer on %s: %w", path, err)
	}
	return c
}

// TLS makes a client of an agent's private port at base, for example https://emea-agent-private.shops.svc:8443.
// ca holds the PEM certificates to trust, and nothing else is trusted.
func TLS(base string, ca []byte, token string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("the agent's address must be an https URL of its private port, for example https://emea-agent.shops.svc:8443")
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("the CA file must hold a certificate in PEM form (-----BEGIN CERTIFICATE-----)")
	}
	c := New(direct(&http.Transport{
		DialContext:     (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13},
		IdleConnTimeout: time.Minute,
	}), base, token)
	c.explain = func(err error) error { return fmt.Errorf("the agent does not answer on %s: %w", u.Host, err) }
	return c, nil
}

// direct is an HTTP client that follows no redirect: the token must not travel to where one points.
func direct(t http.RoundTripper) *http.Client {
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Error is an answer other than 200. Text is a sentence of the agent's for people.
type Error struct {
	// Status is the HTTP status.
	Status int
	Text   string
}

// Error implements error.
func (e *Error) Error() string { return e.Text }

// UnreachableError says that the agent did not answer, and what to do about it.
type UnreachableError struct{ Err error }

// Error implements error.
func (e *UnreachableError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Status asks how the agent and its stores are.
func (c *Client) Status(ctx context.Context) (agentapi.Status, error) {
	return get[agentapi.Status](ctx, c, agentapi.StatusPath, nil)
}

// StartRun starts a run. While another is under way it is refused with an [Error] of status 409.
func (c *Client) StartRun(ctx context.Context, q agentapi.RunRequest) (agentapi.Run, error) {
	return post[agentapi.Run](ctx, c, agentapi.RunsPath, q)
}

// Runs lists the recent runs, the newest first.
func (c *Client) Runs(ctx context.Context) ([]agentapi.Run, error) {
	return get[[]agentapi.Run](ctx, c, agentapi.RunsPath, nil)
}

// Run reads a run.
func (c *Client) Run(ctx context.Context, id int64) (agentapi.Run, error) {
	return get[agentapi.Run](ctx, c, runPath(id, ""), nil)
}

// WaitRun reads a run as soon as its Sequence is not the given one, or after half a minute.
func (c *Client) WaitRun(ctx context.Context, id, sequence int64) (agentapi.Run, error) {
	return get[agentapi.Run](ctx, c, runPath(id, ""), url.Values{
		"wait": {seconds(longestWait)}, "sequence": {strconv.FormatInt(sequence, 10)}})
}

// CancelRun ends a run; what it has written stays.
func (c *Client) CancelRun(ctx context.Context, id int64) (agentapi.Run, error) {
	return post[agentapi.Run](ctx, c, runPath(id, "/cancel"), nil)
}

// Findings are what a run found, oldest first. They are asked for in pages, so that memory stays bounded; the
// sequence ends with the first error.
func (c *Client) Findings(ctx context.Context, id int64) iter.Seq2[agentapi.Finding, error] {
	return pages(func(after string) ([]agentapi.Finding, error) {
		return get[[]agentapi.Finding](ctx, c, runPath(id, "/findings"), page(after))
	}, func(f agentapi.Finding) string { return strconv.FormatInt(f.ID, 10) })
}

// Conflicts lists what waits for a person, oldest first; of one store or SKU where these are not empty.
func (c *Client) Conflicts(ctx context.Context, store, sku string) ([]agentapi.Entry, error) {
	return get[[]agentapi.Entry](ctx, c, agentapi.ConflictsPath, url.Values{"store": {store}, "sku": {sku}})
}

// Resolve sets the shared stock of a SKU, lets it be written again and closes its conflicts, which it counts.
func (c *Client) Resolve(ctx context.Context, q agentapi.ResolveRequest) (agentapi.Closed, error) {
	return post[agentapi.Closed](ctx, c, agentapi.ConflictsPath+"/resolve", q)
}

// Dismiss closes conflicts and changes no number.
func (c *Client) Dismiss(ctx context.Context, ids ...int64) (agentapi.Closed, error) {
	return post[agentapi.Closed](ctx, c, agentapi.ConflictsPath+"/dismiss", agentapi.DismissRequest{IDs: ids})
}

// Rescan has the whole catalogues of stores, or of all, read again.
func (c *Client) Rescan(ctx context.Context, stores ...string) (agentapi.Closed, error) {
	return post[agentapi.Closed](ctx, c, agentapi.RescanPath, agentapi.StoresRequest{Stores: stores})
}

// Backlog are the placements that differ from what they should show, of one store or, where it is empty, of
// all. They are asked for in pages; the sequence ends with the first error.
func (c *Client) Backlog(ctx context.Context, store string) iter.Seq2[agentapi.BacklogItem, error] {
	return pages(func(after string) ([]agentapi.BacklogItem, error) {
		q := page(after)
		q.Set("store", store)
		return get[[]agentapi.BacklogItem](ctx, c, agentapi.BacklogPath, q)
	}, func(i agentapi.BacklogItem) string { return i.Cursor })
}

// Numbers are what a store shows of each SKU and should show. They are asked for in pages; the sequence ends with the
// first error.
func (c *Client) Numbers(ctx context.Context, store string) iter.Seq2[agentapi.Number, error] {
	return pages(func(after string) ([]agentapi.Number, error) {
		q := page(after)
		q.Set("store", store)
		return get[[]agentapi.Number](ctx, c, agentapi.NumbersPath, q)
	}, func(n agentapi.Number) string { return n.Cursor })
}

// Links lists which items of a store, or of all, sell an item of the source where no SKU tells.
func (c *Client) Links(ctx context.Context, store string) ([]agentapi.Link, error) {
	return get[[]agentapi.Link](ctx, c, agentapi.LinksPath, url.Values{"store": {store}})
}

// SetLink says which item of the source an item of a store sells.
func (c *Client) SetLink(ctx context.Context, q agentapi.LinkRequest) (agentapi.Closed, error) {
	return post[agentapi.Closed](ctx, c, agentapi.LinksPath+"/set", q)
}

// RemoveLink ends the link of an item of a store.
func (c *Client) RemoveLink(ctx context.Context, q agentapi.LinkRequest) (agentapi.Closed, error) {
	return post[agentapi.Closed](ctx, c, agentapi.LinksPath+"/remove", q)
}

// Retry ends the back-off of stores, or of all.
func (c *Client) Retry(ctx context.Context, stores ...string) (agentapi.Closed, error) {
	return post[agentapi.Closed](ctx, c, agentapi.BacklogPath+"/retry", agentapi.StoresRequest{Stores: stores})
}

// Accept makes what a store shows the number of SKUs.
func (c *Client) Accept(ctx context.Context, q agentapi.AcceptRequest) (agentapi.Closed, error) {
	return post[agentapi.Closed](ctx, c, agentapi.BacklogPath+"/accept", q)
}

// History tells why a SKU's number is what it is, by its newest lines.
func (c *Client) History(ctx context.Context, sku string, limit int) (agentapi.SKUHistory, error) {
	return get[agentapi.SKUHistory](ctx, c, agentapi.HistoryPath, url.Values{"sku": {sku}, "limit": {strconv.Itoa(limit)}})
}

// Prune forgets history older than this many days, and counts the lines.
func (c *Client) Prune(ctx context.Context, olderThanDays int) (agentapi.Closed, error) {
	return post[agentapi.Closed](ctx, c, agentapi.HistoryPath+"/prune", agentapi.PruneRequest{OlderThanDays: olderThanDays})
}

// EventsQuery selects lines of the event log.
type EventsQuery struct {
	// After is the id of the last line known; 0 asks for the newest ones.
	After int64
	// Limit is how many lines; 0 leaves it to the agent.
	Limit int
	// Wait: when there is none the answer is held back until there is, or for half a minute.
	Wait bool
	// Store, SKU and Level, where given, narrow the lines; Level is the least: Info, Warning or Error.
	Store, SKU, Level string
}

// Events reads the event log, oldest line first.
func (c *Client) Events(ctx context.Context, q EventsQuery) ([]agentapi.Entry, error) {
	v := url.Values{"store": {q.Store}, "sku": {q.SKU}, "level": {q.Level}}
	if q.After > 0 {
		v.Set("after", strconv.FormatInt(q.After, 10))
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Wait {
		v.Set("wait", seconds(longestWait))
	}
	return get[[]agentapi.Entry](ctx, c, agentapi.EventsPath, v)
}

// followed is how many lines at most are asked for at a time by [Client.FollowEvents].
const followed = 1000

// FollowEvents gives show what [Client.Events] finds, and then all that comes, until ctx ends, which is no error. Only the first
// call may have no lines.
func (c *Client) FollowEvents(ctx context.Context, q EventsQuery, show func(lines []agentapi.Entry, first bool) error) error {
	for first := true; ; first = false {
		lines, err := c.Events(ctx, q)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it is how following ends
		case err != nil:
			return err
		}
		if first || len(lines) > 0 {
			if err := show(lines, first); err != nil {
				return err
			}
		}
		if len(lines) > 0 {
			q.After = lines[len(lines)-1].ID
		}
		q.Wait, q.Limit = true, followed
	}
}

// Ping tests the connection of a store or, where it is empty, of every one.
func (c *Client) Ping(ctx context.Context, store string) ([]agentapi.Ping, error) {
	return get[[]agentapi.Ping](ctx, c, agentapi.PingPath, url.Values{"store": {store}})
}

// Forget removes our markers from a store, and counts the items that had some. It takes a while for a large shop.
func (c *Client) Forget(ctx context.Context, q agentapi.ForgetRequest) (agentapi.Closed, error) {
	ctx, cancel := context.WithTimeout(ctx, forgetTimeout)
	defer cancel()
	return post[agentapi.Closed](ctx, c, agentapi.ForgetPath, q)
}

// Breaker reads the circuit breaker; nil unless it has tripped.
func (c *Client) Breaker(ctx context.Context) (*agentapi.Breaker, error) {
	return get[*agentapi.Breaker](ctx, c, agentapi.BreakerPath, nil)
}

// Approve lets through what the trip of this id holds, and counts it.
func (c *Client) Approve(ctx context.Context, tripID string) (agentapi.Closed, error) {
	return post[agentapi.Closed](ctx, c, agentapi.BreakerPath+"/approve", agentapi.ApproveRequest{TripID: tripID})
}

// Backup writes a consistent copy of the ledger to w; the agent gives it on its socket only. progress is told how
// much of it was received, in bytes; before the copy is made it is not called, and it may be nil.
func (c *Client) Backup(ctx context.Context, w io.Writer, progress func(done, total int64)) error {
	res, err := c.send(ctx, ctx, http.MethodGet, agentapi.BackupPath, nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
		return &Error{Status: res.StatusCode, Text: sentence(res, text)}
	}
	out := &progressing{w: w, total: res.ContentLength, tell: progress}
	if _, err := io.Copy(out, res.Body); out.err != nil {
		return fmt.Errorf("write the backup: %w", out.err)
	} else if err != nil {
		return c.unreachable(ctx, fmt.Errorf("its answer was cut off: %w", err))
	}
	if out.done != res.ContentLength {
		return errors.New("the agent answers in a form this version does not know: use the version of the running agent")
	}
	return nil
}

// progressing tells how much was written, and remembers why it could not be.
type progressing struct {
	w           io.Writer
	done, total int64
	tell        func(done, total int64)
	err         error
}

func (p *progressing) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.done, p.err = p.done+int64(n), err
	if p.tell != nil {
		p.tell(p.done, p.total)
	}
	return n, err
}

func runPath(id int64, below string) string {
	return agentapi.RunsPath + "/" + strconv.FormatInt(id, 10) + below
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

func page(after string) url.Values {
	return url.Values{"after": {after}, "limit": {strconv.Itoa(pageSize)}}
}

// pages reads a listing to its end.
func pages[T any](read func(after string) ([]T, error), cursor func(T) string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for after := ""; ; {
			rows, err := read(after)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, r := range rows {
				if !yield(r, nil) {
					return
				}
			}
			// A page may hold fewer than were asked for and not be the last.
			if len(rows) == 0 || cursor(rows[len(rows)-1]) == after {
				return
			}
			after = cursor(rows[len(rows)-1])
		}
	}
}

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	for name, values := range query {
		if values[0] == "" {
			delete(query, name)
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return ask[T](ctx, c, http.MethodGet, path, nil)
}

func post[T any](ctx context.Context, c *Client, path string, question any) (T, error) {
	if question == nil {
		return ask[T](ctx, c, http.MethodPost, path, http.NoBody)
	}
	text, err := json.Marshal(question)
	if err != nil {
		var none T
		return none, err
	}
	return ask[T](ctx, c, http.MethodPost, path, bytes.NewReader(text))
}

func ask[T any](ctx context.Context, c *Client, method, path string, body io.Reader) (answer T, err error) {
	within := ctx
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, requestTimeout)
		defer cancel()
	}
	res, err := c.send(ctx, within, method, path, body)
	if err != nil {
		return answer, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return answer, c.unreachable(ctx, fmt.Errorf("its answer was cut off: %w", err))
	case len(text) > maxAnswer:
		return answer, fmt.Errorf("the agent's answer is longer than %d bytes: ask for less at a time", maxAnswer)
	case res.StatusCode != http.StatusOK:
		return answer, &Error{Status: res.StatusCode, Text: sentence(res, text)}
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return answer, errors.New("the agent answers in a form this version does not know: use the version of the running agent")
	}
	return answer, nil
}

// send asks within a limit; ctx is the caller's own, which explains why it was given up.
func (c *Client) send(ctx, within context.Context, method, path string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(within, method, c.base+path, body)
	if err != nil {
		return nil, errors.New("the agent's address makes no valid request")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	return res, nil
}

// sentence is what the agent says, or what is known of an answer that is not its own.
func sentence(res *http.Response, text []byte) string {
	s := strings.TrimSpace(string(text))
	if s == "" || len(s) > 4096 || strings.HasPrefix(s, "<") {
		return "something else than the agent answers: HTTP " + res.Status
	}
	return s
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	// The outermost error only repeats method and URL.
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if c.explain != nil {
		err = c.explain(err)
	}
	return &UnreachableError{err}
}

package agent

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/event"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

// SocketName is the Unix socket in the data directory over which `agent status` and its like ask the running
// agent. Only the user it runs as may open it.
const SocketName = "stocksync.sock"

func entriesOf(rows []ledger.Row) []agentapi.Entry {
	out := make([]agentapi.Entry, 0, len(rows))
	for _, r := range rows {
		code := event.Of(r.Kind, r.Conflict)
		out = append(out, agentapi.Entry{ID: r.ID, Kind: string(r.Kind), Store: r.Store, SKU: r.SKU, Delta: r.Delta, Units: r.Units,
			Quantity: r.Quantity, Evidence: r.Evidence, Conflict: r.Conflict, At: r.At,
			Level: string(code.Level), Code: code.Name, Cause: cmp.Or(r.Cause, code.Cause)})
	}
	return out
}

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

const (
	conflictsPath = "/v1/conflicts"
	resolvePath   = "/v1/conflicts/resolve"
	dismissPath   = "/v1/conflicts/dismiss"
	historyPath   = "/v1/history"
)

type resolveRequest struct {
	SKU   string `json:"sku"`
	Units int64  `json:"units"`
}

type dismissRequest struct {
	IDs []int64 `json:"ids"`
}

func (a *Agent) socketHandler() http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any, err error) {
		switch {
		case errors.Is(err, engine.ErrNotFound):
			refuse(w, http.StatusNotFound, err.Error())
		case err != nil:
			refuse(w, http.StatusInternalServerError, err.Error())
		default:
			writeJSON(w, v)
		}
	}
	read := func(w http.ResponseWriter, r *http.Request, v any) bool {
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
		d.DisallowUnknownFields()
		if err := d.Decode(v); err != nil {
			refuse(w, http.StatusBadRequest, "the request must be the JSON this version of the agent knows")
			return false
		}
		return true
	}
	mux.HandleFunc("GET "+agentapi.StatusPath, func(w http.ResponseWriter, r *http.Request) {
		s, err := a.Status(r.Context())
		answer(w, s, err)
	})
	mux.HandleFunc("GET "+conflictsPath, func(w http.ResponseWriter, r *http.Request) {
		rows, err := a.ledger.Conflicts(r.Context())
		answer(w, entriesOf(rows), err)
	})
	mux.HandleFunc("POST "+resolvePath, func(w http.ResponseWriter, r *http.Request) {
		var q resolveRequest
		if read(w, r, &q) {
			closed, err := a.resolve(r.Context(), q)
			answer(w, closed, err)
		}
	})
	mux.HandleFunc("POST "+dismissPath, func(w http.ResponseWriter, r *http.Request) {
		var q dismissRequest
		if read(w, r, &q) {
			answer(w, len(q.IDs), a.dismiss(r.Context(), q.IDs))
		}
	})
	mux.HandleFunc("GET "+historyPath, func(w http.ResponseWriter, r *http.Request) {
		limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
		if err != nil || limit < 1 || limit > 10000 {
			limit = 50
		}
		h, err := a.history(r.Context(), r.URL.Query().Get("sku"), limit)
		answer(w, h, err)
	})
	return mux
}

// resolve sets a SKU's number and closes its conflicts: the person who chose it has seen them.
func (a *Agent) resolve(ctx context.Context, q resolveRequest) (closed int, err error) {
	if err := a.engine.Resolve(ctx, q.SKU, q.Units); err != nil {
		return 0, err
	}
	pool, err := a.pool(ctx, q.SKU)
	if err != nil {
		return 0, err
	}
	rows, err := a.ledger.Conflicts(ctx)
	if err != nil {
		return 0, err
	}
	var ids []int64
	for _, r := range rows {
		if r.Pool == pool.ID {
			ids = append(ids, r.ID)
		}
	}
	a.log.Info("a person chose the number of a SKU", "sku", pool.SKU, "units", q.Units, "conflictsClosed", len(ids))
	return len(ids), a.ledger.ResolveConflicts(ctx, ids...)
}

func (a *Agent) dismiss(ctx context.Context, ids []int64) error {
	rows, err := a.ledger.Conflicts(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !slices.ContainsFunc(rows, func(r ledger.Row) bool { return r.ID == id }) {
			return fmt.Errorf("conflict %d: %w; `agent conflicts list` names the open ones", id, engine.ErrNotFound)
		}
	}
	a.log.Info("a person dismissed conflicts", "ids", ids)
	return a.ledger.ResolveConflicts(ctx, ids...)
}

func (a *Agent) pool(ctx context.Context, sku string) (stock.Pool, error) {
	var pool stock.Pool
	err := a.ledger.View(ctx, func(tx engine.Tx) error {
		id, err := tx.PoolOf(stock.KeyOf(sku))
		if err != nil {
			return err
		}
		if id == 0 {
			return fmt.Errorf("SKU %q: %w; it must be the SKU of an item of the master", strings.TrimSpace(sku), engine.ErrNotFound)
		}
		pool, err = tx.Pool(id)
		return err
	})
	return pool, err
}

func (a *Agent) history(ctx context.Context, sku string, limit int) (agentapi.SKUHistory, error) {
	pool, err := a.pool(ctx, sku)
	if err != nil {
		return agentapi.SKUHistory{}, err
	}
	h := agentapi.SKUHistory{SKU: pool.SKU, Units: pool.Units, Set: pool.Set, Stopped: pool.Stopped}
	err = a.ledger.View(ctx, func(tx engine.Tx) error {
		placements, err := tx.Placements(pool.ID)
		h.Shelves = nil
		for _, p := range placements {
			h.Shelves = append(h.Shelves, agentapi.Shelf{Store: p.Store, Shown: p.Shown, Todo: p.Todo, ReadAt: p.ReadAt, Note: note(p)})
		}
		return err
	})
	if err != nil {
		return agentapi.SKUHistory{}, err
	}
	rows, err := a.ledger.History(ctx, pool.ID, limit)
	h.Entries = entriesOf(rows)
	return h, err
}

func note(p stock.Placement) string {
	switch {
	case p.Blocked != "":
		return "not synced: " + p.Blocked
	case !p.Enrolled:
		return "not enrolled yet"
	case p.Undecided:
		return "waits: an unanswered push showed itself"
	case p.Restored:
		return "waits: the shop looks restored from a backup"
	case p.Parted() != 0:
		return fmt.Sprintf("waits: the quantity and the orders differ by %+d", p.Parted())
	}
	return ""
}

// Client asks the agent that runs on the same data directory.
type Client struct {
	http *http.Client
	path string
}

// NewClient makes a client; it connects with the first question.
func NewClient(dataDir string) *Client {
	path := filepath.Join(dataDir, SocketName)
	return &Client{path: path, http: &http.Client{
		Timeout: time.Minute,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}},
	}}
}

// Status asks for the agent's status.
func (c *Client) Status(ctx context.Context) (s agentapi.Status, err error) {
	return s, c.ask(ctx, http.MethodGet, agentapi.StatusPath, nil, &s)
}

// Conflicts lists what waits for a person, oldest first.
func (c *Client) Conflicts(ctx context.Context) (rows []agentapi.Entry, err error) {
	return rows, c.ask(ctx, http.MethodGet, conflictsPath, nil, &rows)
}

// Resolve sets the shared stock of a SKU, lets it be written again and closes its conflicts. It returns how
// many those were.
func (c *Client) Resolve(ctx context.Context, sku string, units int64) (closed int, err error) {
	return closed, c.ask(ctx, http.MethodPost, resolvePath, resolveRequest{sku, units}, &closed)
}

// Dismiss closes conflicts and changes no number.
func (c *Client) Dismiss(ctx context.Context, ids ...int64) error {
	return c.ask(ctx, http.MethodPost, dismissPath, dismissRequest{ids}, nil)
}

// History tells why a SKU's number is what it is.
func (c *Client) History(ctx context.Context, sku string, limit int) (h agentapi.SKUHistory, err error) {
	q := url.Values{"sku": {sku}, "limit": {strconv.Itoa(limit)}}
	return h, c.ask(ctx, http.MethodGet, historyPath+"?"+q.Encode(), nil, &h)
}

func (c *Client) ask(ctx context.Context, method, path string, question, answer any) error {
	var body io.Reader
	if question != nil {
		text, err := json.Marshal(question)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, body)
	if err != nil {
		return err
	}
	res, err := c.http.Do(r)
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no agent runs on %s: start it with `agent run`, or name its data directory with --data", filepath.Dir(c.path))
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s belongs to another user: run this as the user the agent runs as", c.path)
	case err != nil:
		return fmt.Errorf("the agent does not answer on %s: %w", c.path, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 256<<20))
	if err != nil {
		return fmt.Errorf("the agent's answer was cut off: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(text)))
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return errors.New("the agent answers in a form this version does not know: use the binary of the running agent")
	}
	return nil
}

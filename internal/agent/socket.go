package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/event"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

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
	mux.HandleFunc("GET "+agentapi.ConflictsPath, func(w http.ResponseWriter, r *http.Request) {
		rows, err := a.ledger.Conflicts(r.Context())
		answer(w, entriesOf(rows), err)
	})
	mux.HandleFunc("POST "+agentapi.ConflictsPath+"/resolve", func(w http.ResponseWriter, r *http.Request) {
		var q agentapi.ResolveRequest
		if read(w, r, &q) {
			closed, err := a.resolve(r.Context(), q)
			answer(w, agentapi.Closed{Count: closed}, err)
		}
	})
	mux.HandleFunc("POST "+agentapi.ConflictsPath+"/dismiss", func(w http.ResponseWriter, r *http.Request) {
		var q agentapi.DismissRequest
		if read(w, r, &q) {
			answer(w, agentapi.Closed{Count: len(q.IDs)}, a.dismiss(r.Context(), q.IDs))
		}
	})
	mux.HandleFunc("GET "+agentapi.HistoryPath, func(w http.ResponseWriter, r *http.Request) {
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
func (a *Agent) resolve(ctx context.Context, q agentapi.ResolveRequest) (closed int, err error) {
	if q.Units == nil {
		return 0, errors.New("a number of units must be given")
	}
	if err := a.engine.Resolve(ctx, q.SKU, *q.Units); err != nil {
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
	a.log.Info("a person chose the number of a SKU", "sku", pool.SKU, "units", *q.Units, "conflictsClosed", len(ids))
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

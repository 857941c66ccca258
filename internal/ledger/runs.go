package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"stocksync.dev/stocksync/internal/agentapi"
)

// Runs and findings are kept as the JSON in which people are told of them, in both ledgers alike.

func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

func decodeRun(id int64, body string) (r agentapi.Run, err error) {
	err = json.Unmarshal([]byte(body), &r)
	r.ID = id
	return r, err
}

func decodeFinding(id int64, body string) (f agentapi.Finding, err error) {
	err = json.Unmarshal([]byte(body), &f)
	f.ID = id
	return f, err
}

var errNoRun = errors.New("there is no such run")

// NewRun implements [engine.Tx].
func (tx *sqliteTx) NewRun(r agentapi.Run) (agentapi.Run, error) {
	if err := tx.writable(); err != nil {
		return r, err
	}
	body, err := encode(r)
	if err != nil {
		return r, err
	}
	return r, tx.s.one(`INSERT INTO runs (body) VALUES (?) RETURNING id`, []any{body}, &r.ID)
}

// PutRun implements [engine.Tx].
func (tx *sqliteTx) PutRun(r agentapi.Run) error {
	if err := tx.writable(); err != nil {
		return err
	}
	body, err := encode(r)
	if err != nil {
		return err
	}
	n, err := tx.s.change(`UPDATE runs SET body = ? WHERE id = ?`, body, r.ID)
	if err == nil && n == 0 {
		return fmt.Errorf("run %d: %w", r.ID, errNoRun)
	}
	return err
}

// Runs implements [engine.Tx].
func (tx *sqliteTx) Runs(limit int) ([]agentapi.Run, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	return list(tx.s, func(from scanner) (agentapi.Run, error) {
		var id int64
		var body string
		if err := from.Scan(&id, &body); err != nil {
			return agentapi.Run{}, err
		}
		return decodeRun(id, body)
	}, `SELECT id, body FROM runs WHERE id > 0 ORDER BY id DESC LIMIT ?`, all(limit))
}

// DropRun implements [engine.Tx].
func (tx *sqliteTx) DropRun(id int64) error {
	if err := tx.DropFindings(id); err != nil {
		return err
	}
	return tx.s.exec(`DELETE FROM runs WHERE id = ?`, id)
}

// DropFindings implements [engine.Tx].
func (tx *sqliteTx) DropFindings(run int64) error {
	if err := tx.writable(); err != nil {
		return err
	}
	return tx.s.exec(`DELETE FROM findings WHERE run = ?`, run)
}

// AddFinding implements [engine.Tx].
func (tx *sqliteTx) AddFinding(run int64, f agentapi.Finding) error {
	if err := tx.writable(); err != nil {
		return err
	}
	body, err := encode(f)
	if err != nil {
		return err
	}
	return tx.s.exec(`INSERT INTO findings (run, body) VALUES (?, ?)`, run, body)
}

// Findings implements [engine.Tx].
func (tx *sqliteTx) Findings(run, after int64, limit int) ([]agentapi.Finding, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	return list(tx.s, func(from scanner) (agentapi.Finding, error) {
		var id int64
		var body string
		if err := from.Scan(&id, &body); err != nil {
			return agentapi.Finding{}, err
		}
		return decodeFinding(id, body)
	}, `SELECT id, body FROM findings WHERE run = ? AND id > ? ORDER BY id LIMIT ?`, run, after, all(limit))
}

// memoryRuns is the part of a [Memory] that keeps runs.
type memoryRuns struct {
	runs             []numbered
	findings         []numbered
	lastRun, lastOne int64
}

// numbered is a run, or a finding of one.
type numbered struct {
	id, run int64
	body    string
}

// NewRun implements [engine.Tx].
func (tx *memoryTx) NewRun(r agentapi.Run) (agentapi.Run, error) {
	if err := tx.writable(); err != nil {
		return r, err
	}
	body, err := encode(r)
	if err != nil {
		return r, err
	}
	m := &tx.m.memoryRuns
	assign(tx, &m.lastRun, m.lastRun+1)
	r.ID = m.lastRun
	assign(tx, &m.runs, append(slices.Clone(m.runs), numbered{id: r.ID, body: body}))
	return r, nil
}

// PutRun implements [engine.Tx].
func (tx *memoryTx) PutRun(r agentapi.Run) error {
	if err := tx.writable(); err != nil {
		return err
	}
	body, err := encode(r)
	if err != nil {
		return err
	}
	m := &tx.m.memoryRuns
	i := slices.IndexFunc(m.runs, func(n numbered) bool { return n.id == r.ID })
	if i < 0 {
		return fmt.Errorf("run %d: %w", r.ID, errNoRun)
	}
	changed := slices.Clone(m.runs)
	changed[i].body = body
	assign(tx, &m.runs, changed)
	return nil
}

// Runs implements [engine.Tx].
func (tx *memoryTx) Runs(limit int) ([]agentapi.Run, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	var out []agentapi.Run
	for _, n := range slices.Backward(tx.m.runs) {
		r, err := decodeRun(n.id, n.body)
		if err != nil {
			return nil, err
		}
		if out = append(out, r); len(out) == limit {
			break
		}
	}
	return out, nil
}

// DropRun implements [engine.Tx].
func (tx *memoryTx) DropRun(id int64) error {
	if err := tx.DropFindings(id); err != nil {
		return err
	}
	m := &tx.m.memoryRuns
	assign(tx, &m.runs, slices.DeleteFunc(slices.Clone(m.runs), func(n numbered) bool { return n.id == id }))
	return nil
}

// DropFindings implements [engine.Tx].
func (tx *memoryTx) DropFindings(run int64) error {
	if err := tx.writable(); err != nil {
		return err
	}
	m := &tx.m.memoryRuns
	assign(tx, &m.findings, slices.DeleteFunc(slices.Clone(m.findings), func(n numbered) bool { return n.run == run }))
	return nil
}

// AddFinding implements [engine.Tx].
func (tx *memoryTx) AddFinding(run int64, f agentapi.Finding) error {
	if err := tx.writable(); err != nil {
		return err
	}
	body, err := encode(f)
	if err != nil {
		return err
	}
	m := &tx.m.memoryRuns
	assign(tx, &m.lastOne, m.lastOne+1)
	assign(tx, &m.findings, append(m.findings, numbered{m.lastOne, run, body}))
	return nil
}

// Findings implements [engine.Tx].
func (tx *memoryTx) Findings(run, after int64, limit int) ([]agentapi.Finding, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	var out []agentapi.Finding
	for _, n := range tx.m.findings {
		if n.run != run || n.id <= after {
			continue
		}
		f, err := decodeFinding(n.id, n.body)
		if err != nil {
			return nil, err
		}
		if out = append(out, f); len(out) == limit {
			break
		}
	}
	return out, nil
}

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/engine"
)

// Requests are what people and pipelines ask for by annotations of the topology.
type Requests struct {
	// Reconcile and Audit ask for a run by any value that was not handled last.
	Reconcile, Audit string
	// ApproveTrip approves the trip of the circuit breaker with this id, and no other.
	ApproveTrip string
	// LogVerbosity is how much is logged meanwhile; nil leaves it as the flag says.
	LogVerbosity *int
}

// maxRequest bounds the value of an annotation that asks for a run.
const maxRequest = 253

// requestsOf reads the annotations of a topology; problems are about those that cannot be used.
func requestsOf(annotations map[string]string) (q Requests, problems []string) {
	read := func(name string) string {
		value := annotations[name]
		if len(value) > maxRequest {
			problems = append(problems, fmt.Sprintf("metadata.annotations[%s]: must be at most %d characters", name, maxRequest))
			return ""
		}
		return value
	}
	q.Reconcile = read(v1alpha1.AnnotationReconcileRequestedAt)
	q.Audit = read(v1alpha1.AnnotationAuditRequestedAt)
	q.ApproveTrip = read(v1alpha1.AnnotationApproveTrip)
	switch v := annotations[v1alpha1.AnnotationLogVerbosity]; v {
	case "":
	case "0", "1", "2":
		n := int(v[0] - '0')
		q.LogVerbosity = &n
	default:
		problems = append(problems, fmt.Sprintf("metadata.annotations[%s]: must be 0, 1 or 2", v1alpha1.AnnotationLogVerbosity))
	}
	return q, problems
}

const (
	// heedEvery is how often requests are looked at: runs end, and the breaker trips, without a sign. heedAgain
	// is for those that could not be begun.
	heedEvery = 2 * time.Second
	heedAgain = 10 * time.Second
)

// handled is what the ledger remembers of the requests of one kind.
type handled struct {
	// Value is the last one whose run has ended, Count how many there were.
	Value string `json:"value"`
	Count int    `json:"count"`
}

func handledName(kind agentapi.RunKind) string { return "handled " + string(kind) }

func readHandled(tx engine.Tx, kind agentapi.RunKind) (h handled, err error) {
	text, err := tx.Value("", handledName(kind))
	if err != nil || text == "" {
		return h, err
	}
	return h, json.Unmarshal([]byte(text), &h)
}

// heed answers requests by annotation, by their level: whatever stands there and was not handled is begun, however
// often the agent restarts.
func (a *Agent) heed(ctx context.Context) {
	told := ""
	for ctx.Err() == nil {
		a.mu.Lock()
		q := a.conf.Requests
		a.mu.Unlock()
		wait, failed := heedEvery, ""
		for _, err := range []error{
			a.heedTrip(ctx, q.ApproveTrip),
			a.heedRun(ctx, agentapi.KindReconcile, q.Reconcile),
			a.heedRun(ctx, agentapi.KindAudit, q.Audit),
		} {
			if err != nil && ctx.Err() == nil && !errors.Is(err, engine.ErrRunInProgress) {
				wait, failed = heedAgain, failed+err.Error()
			}
		}
		if failed != "" && failed != told {
			a.log.Info("what an annotation asks for cannot be done now; it is tried again", "cause", failed)
		}
		told = failed
		a.heeding.Wait(ctx, a.clock.Now().Add(wait))
	}
}

func (a *Agent) heedTrip(ctx context.Context, id string) error {
	if id == "" {
		return nil
	}
	b, err := a.runs.Breaker(ctx)
	if err != nil || b == nil || b.TripID != id {
		return err
	}
	a.log.Info("an annotation approves what the circuit breaker holds", "trip", id)
	return a.runs.ApproveTrip(ctx, id)
}

// heedRun begins the run a value asks for, unless it was handled, and remembers the value once the run has ended.
// While another run is under way the error is [engine.ErrRunInProgress].
func (a *Agent) heedRun(ctx context.Context, kind agentapi.RunKind, value string) error {
	if value == "" {
		return nil
	}
	var last handled
	err := a.ledger.View(ctx, func(tx engine.Tx) (err error) {
		last, err = readHandled(tx, kind)
		return err
	})
	if err != nil || last.Value == value {
		return err
	}
	q := agentapi.RunRequest{Kind: kind, RequestID: fmt.Sprintf("annotation %d: %s", last.Count+1, value)}
	if kind == agentapi.KindReconcile {
		q.Strategy = agentapi.DifferencesOnly
	}
	// With its id the same request always answers the same run.
	run, err := a.runs.StartRun(ctx, q)
	if err != nil || run.State == agentapi.Running {
		return err
	}
	text, err := json.Marshal(handled{value, last.Count + 1})
	if err != nil {
		return err
	}
	a.log.Info("what an annotation asked for has ended", "kind", kind, "value", value, "run", run.ID, "state", run.State)
	return a.ledger.Update(ctx, func(tx engine.Tx) error { return tx.SetValue("", handledName(kind), string(text)) })
}

// addRuns fills in what status says of runs, requests and the breaker.
func (a *Agent) addRuns(ctx context.Context, s *agentapi.Status) error {
	runs, err := a.runs.Runs(ctx)
	if err != nil {
		return err
	}
	for _, r := range runs {
		switch {
		case r.Request.Kind == agentapi.KindReconcile && s.LastReconcile == nil:
			s.LastReconcile = &r
		case r.Request.Kind == agentapi.KindAudit && s.LastAudit == nil:
			s.LastAudit = &r
		}
	}
	if s.Breaker, err = a.runs.Breaker(ctx); err != nil {
		return err
	}
	return a.ledger.View(ctx, func(tx engine.Tx) error {
		reconcile, err := readHandled(tx, agentapi.KindReconcile)
		if err != nil {
			return err
		}
		audit, err := readHandled(tx, agentapi.KindAudit)
		s.HandledReconcile, s.HandledAudit = reconcile.Value, audit.Value
		return err
	})
}

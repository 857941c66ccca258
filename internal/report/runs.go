package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"stocksync.dev/stocksync/internal/agentapi"
)

// Exit codes of a command that waited for a run.
const (
	// ExitOK: the run did all there was to do.
	ExitOK = agentapi.ExitSucceeded
	// ExitFailed: it failed, or the agent could not be asked.
	ExitFailed = agentapi.ExitFailed
	// ExitNeedsAttention: what it found or could not mend needs a person.
	ExitNeedsAttention = agentapi.ExitNeedsAttention
	// ExitCancelled: a person ended it.
	ExitCancelled = agentapi.ExitCancelled
)

// ExitCode of a command that waited for this run to end.
func ExitCode(r agentapi.Run) int {
	switch r.State {
	case agentapi.Succeeded:
		return ExitOK
	case agentapi.NeedsAttention:
		return ExitNeedsAttention
	case agentapi.Cancelled:
		return ExitCancelled
	}
	return ExitFailed
}

// classes of findings, the ones that cost most first.
var classes = []agentapi.FindingClass{
	agentapi.StoreUnreachable, agentapi.AuthenticationFailed, agentapi.DuplicateSKU, agentapi.IdentityMismatch, agentapi.MissingProduct,
	agentapi.QuantityDiffers, agentapi.StatusDiffers, agentapi.BackordersDiffer, agentapi.LowStockDiffers, agentapi.ManagementDiffers,
	agentapi.InFlight,
}

// title names a run: its kind, number and strategy.
func title(r agentapi.Run) string {
	s := fmt.Sprintf("%s %d", r.Request.Kind, r.ID)
	if r.Request.Kind == agentapi.KindReconcile {
		s += fmt.Sprintf(" (%s)", cmp.Or(r.Request.Strategy, agentapi.DifferencesOnly))
	}
	return s
}

// Progress says in one line how a run stands.
func Progress(r agentapi.Run) string {
	if r.State != agentapi.Running {
		s := fmt.Sprintf("%s: %s", title(r), r.State)
		if r.FinishedAt != nil {
			s += fmt.Sprintf(" at %s after %s", moment(*r.FinishedAt), Age(r.FinishedAt.Sub(r.StartedAt)))
		}
		if r.Message != "" {
			s += ": " + clean(r.Message)
		}
		return s
	}
	s := fmt.Sprintf("%s: %d", title(r), r.Done)
	if r.Total > 0 {
		s = fmt.Sprintf("%s: %d of %d (%d%%)", title(r), r.Done, r.Total, 100*r.Done/r.Total)
	}
	if r.RemainingSeconds > 0 {
		s += fmt.Sprintf(", about %s left", Age(time.Duration(r.RemainingSeconds)*time.Second))
	}
	stores := make([]string, len(r.Stores))
	for i, st := range r.Stores {
		stores[i] = fmt.Sprintf("%s %d/%d", st.StoreID, st.Done, st.Total)
		if st.Error != "" {
			stores[i] += " failing"
		}
	}
	if len(stores) > 0 {
		s += "; " + strings.Join(stores, ", ")
	}
	if r.Message != "" {
		s += "; " + clean(r.Message)
	}
	return s
}

// Run prints how a run stands or ended: counts, stores and the worst findings.
func (p Printer) Run(r agentapi.Run) error {
	if done, err := p.structured(r); done {
		return err
	}
	out := NewPage(p.Out)
	summary(out, r)
	findings(out, r.Worst)
	return out.End()
}

// Runs prints a list of runs.
func (p Printer) Runs(runs []agentapi.Run) error {
	if done, err := p.structured(notNil(runs)); done {
		return err
	}
	out := NewPage(p.Out)
	if len(runs) == 0 {
		out.Line("There was no run yet.")
		return out.End()
	}
	out.Row("ID", "KIND", "STRATEGY", "STATE", "STARTED", "FINISHED", "DONE", "FINDINGS", "MESSAGE")
	for _, r := range runs {
		finished := "-"
		if r.FinishedAt != nil {
			finished = moment(*r.FinishedAt)
		}
		n := 0
		for class, count := range r.Counts {
			if class != agentapi.InFlight {
				n += count
			}
		}
		out.Row(r.ID, r.Request.Kind, dash(string(r.Request.Strategy)), r.State, moment(r.StartedAt), finished,
			fmt.Sprintf("%d/%d", r.Done, r.Total), n, r.Message)
	}
	return out.End()
}

func summary(out *Page, r agentapi.Run) {
	out.Line("%s", Progress(r))
	if len(r.Stores) > 0 {
		out.Line("")
		out.Row("STORE", "CHECKED", "DIFFERING", "WRITTEN", "WAITING", "REQUESTS", "ERROR")
		for _, s := range r.Stores {
			out.Row(s.StoreID, fmt.Sprintf("%d/%d", s.Done, s.Total), s.Differing, s.Written, s.Waiting, s.Requests, s.Error)
		}
	}
	if len(r.Counts) > 0 {
		out.Line("")
		out.Row("FINDING", "COUNT")
		for _, class := range classes {
			if n := r.Counts[class]; n > 0 {
				out.Row(class, n)
			}
		}
	}
}

// findings prints a table of findings under a heading.
func findings(out *Page, list []agentapi.Finding) {
	if len(list) == 0 {
		return
	}
	out.Line("")
	findingHead(out)
	for _, f := range list {
		findingRow(out, f)
	}
}

func findingHead(out *Page) { out.Row("STORE", "SKU", "FINDING", "SHOWS", "SHOULD-SHOW", "MESSAGE") }

func findingRow(out *Page, f agentapi.Finding) {
	out.Row(f.Store, dash(f.SKU), f.Class, dash(f.Shown), dash(f.Wanted), f.Message)
}

// MaxTermination is the most bytes Kubernetes keeps of a container's termination message.
const MaxTermination = 4096

// termination is the termination message of a Job's container.
type termination struct {
	Run      int64                         `json:"run"`
	Kind     agentapi.RunKind              `json:"kind"`
	Strategy agentapi.Strategy             `json:"strategy,omitempty"`
	State    agentapi.RunState             `json:"state"`
	ExitCode int                           `json:"exitCode"`
	Seconds  int                           `json:"seconds,omitempty"`
	Message  string                        `json:"message,omitempty"`
	Done     int                           `json:"done"`
	Total    int                           `json:"total"`
	Counts   map[agentapi.FindingClass]int `json:"counts,omitempty"`
	Stores   []agentapi.RunStore           `json:"stores,omitempty"`
	Worst    []agentapi.Finding            `json:"worst,omitempty"`
	// Truncated: lists or texts are shorter than they were.
	Truncated bool `json:"truncated,omitempty"`
}

// Termination is the result of a run as a container's termination message: one JSON object of at most
// [MaxTermination] bytes. Lists are cut from their ends until it fits.
func Termination(r agentapi.Run) []byte {
	t := termination{
		Run: r.ID, Kind: r.Request.Kind, Strategy: r.Request.Strategy, State: r.State, ExitCode: ExitCode(r), Message: r.Message,
		Done: r.Done, Total: r.Total, Counts: r.Counts, Stores: append([]agentapi.RunStore(nil), r.Stores...), Worst: r.Worst,
	}
	if r.FinishedAt != nil {
		t.Seconds = int(r.FinishedAt.Sub(r.StartedAt) / time.Second)
	}
	return t.fit()
}

// FailedTermination is the termination message of a command that could not wait for its run, and ends with this
// exit code.
func FailedTermination(kind agentapi.RunKind, exitCode int, err error) []byte {
	return termination{Kind: kind, State: agentapi.Failed, ExitCode: exitCode, Message: err.Error()}.fit()
}

func (t termination) fit() []byte {
	for {
		text, err := json.Marshal(t)
		if err == nil && len(text) <= MaxTermination {
			return text
		}
		t.Truncated = true
		switch {
		case len(t.Worst) > 0:
			t.Worst = t.Worst[:len(t.Worst)-1]
		case longest(t.Stores) > 80:
			for i := range t.Stores {
				t.Stores[i].Error = cut(t.Stores[i].Error, 80)
			}
		case len(t.Message) > 500:
			t.Message = cut(t.Message, 500)
		case len(t.Stores) > 0:
			t.Stores = t.Stores[:len(t.Stores)-1]
		default:
			t = termination{Run: t.Run, State: t.State, ExitCode: t.ExitCode, Truncated: true}
		}
	}
}

func longest(stores []agentapi.RunStore) int {
	n := 0
	for _, s := range stores {
		n = max(n, len(s.Error))
	}
	return n
}

// cut shortens a text to at most n bytes, between characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-3], "") + "…"
}

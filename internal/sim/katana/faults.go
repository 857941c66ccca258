package katana

import (
	"slices"
	"strings"
	"time"
)

// FaultKind is something that goes wrong with a request or a webhook delivery.
type FaultKind string

// The faults. Those for requests strike API requests that match, those for webhooks deliveries.
const (
	// FaultStatus answers Status with an error body; with 429 and RetryAfter all rate headers say so, too.
	FaultStatus FaultKind = "status"
	// FaultHTML answers 200 with an HTML page.
	FaultHTML FaultKind = "html"
	// FaultSlow waits Delay before anything else.
	FaultSlow FaultKind = "slow"
	// FaultCut closes the connection without doing anything, FaultCutAfter after the work is done.
	FaultCut      FaultKind = "cut"
	FaultCutAfter FaultKind = "cut-after"
	// FaultStaleLevels answers levels as they were when the fault was injected.
	FaultStaleLevels FaultKind = "stale-levels"

	// FaultHookDrop loses an event for good, FaultHookDuplicate sends it twice, FaultHookLate Delay later, and
	// FaultHookReorder puts it before those that wait.
	FaultHookDrop      FaultKind = "webhook-drop"
	FaultHookDuplicate FaultKind = "webhook-duplicate"
	FaultHookLate      FaultKind = "webhook-late"
	FaultHookReorder   FaultKind = "webhook-reorder"
)

var faultKinds = []FaultKind{FaultStatus, FaultHTML, FaultSlow, FaultCut, FaultCutAfter, FaultStaleLevels,
	FaultHookDrop, FaultHookDuplicate, FaultHookLate, FaultHookReorder}

// Fault is one programmed fault.
type Fault struct {
	Kind FaultKind `json:"kind"`
	// Method and Path narrow it to requests with that method and a path that contains Path; for webhooks Path
	// is part of the event's name.
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
	// After is how many matches pass before it strikes, Times how often it does; 0 until cleared.
	After      int           `json:"after,omitempty"`
	Times      int           `json:"times,omitempty"`
	Delay      time.Duration `json:"delayNanoseconds,omitempty"`
	Status     int           `json:"status,omitempty"`
	RetryAfter int           `json:"retryAfterSeconds,omitempty"`
}

type armed struct {
	Fault
	id     int64
	frozen *state
}

// Inject arms a fault and returns a number to clear it with.
func (a *Account) Inject(f Fault) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faultID++
	armed := &armed{Fault: f, id: a.faultID}
	if f.Kind == FaultStaleLevels {
		armed.frozen = a.st.frozen()
	}
	a.faults = append(a.faults, armed)
	return a.faultID
}

// Clear disarms the numbered faults, or all when none is named.
func (a *Account) Clear(ids ...int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults = slices.DeleteFunc(a.faults, func(f *armed) bool { return len(ids) == 0 || slices.Contains(ids, f.id) })
}

// FaultCount is how often a fault of this kind struck.
func (a *Account) FaultCount(kind FaultKind) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hits[kind]
}

// strike picks the faults that hit, and uses them up. The lock is held.
func (a *Account) strike(webhook bool, method, path string) []armed {
	var hit []armed
	for _, f := range a.faults {
		if strings.HasPrefix(string(f.Kind), "webhook-") != webhook || f.Method != "" && f.Method != method || !strings.Contains(path, f.Path) {
			continue
		}
		if f.After > 0 {
			f.After--
			continue
		}
		hit = append(hit, *f)
		a.hits[f.Kind]++
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				f.Times = -1
			}
		}
	}
	a.faults = slices.DeleteFunc(a.faults, func(f *armed) bool { return f.Times < 0 })
	return hit
}

package woocommerce

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// FaultKind is something that goes wrong with a request or a webhook delivery.
type FaultKind string

// The faults. Those for requests strike requests under /wp-json/ that match; those for webhooks strike
// deliveries.
const (
	// FaultLatency waits Delay before anything else.
	FaultLatency FaultKind = "latency"
	// FaultStatus answers Status with an HTML page, as proxies do, without doing anything; RetryAfter in
	// seconds becomes a header. 429 and 503 are the usual ones.
	FaultStatus FaultKind = "status"
	// FaultFatal does the work and answers 500 internal_server_error with HTML inside the message.
	FaultFatal FaultKind = "fatal"
	// FaultHTML answers 200 with an HTML page (a captcha) without doing anything.
	FaultHTML FaultKind = "html"
	// FaultMaintenance answers as WordPress does while it updates itself.
	FaultMaintenance FaultKind = "maintenance"
	// FaultCutBefore closes the connection without doing anything.
	FaultCutBefore FaultKind = "cut-before"
	// FaultCutAfter does the work and closes the connection instead of answering.
	FaultCutAfter FaultKind = "cut-after"
	// FaultWithhold does the work Delay after the request came and never answers: the connection stays
	// open until the client gives up. A negative Delay does it when [Store.Land] is called.
	FaultWithhold FaultKind = "withhold"
	// FaultLate is FaultWithhold with the connection closed at once.
	FaultLate FaultKind = "late"
	// FaultStall waits Delay at Step, like a request that waits for a database lock half-way.
	FaultStall FaultKind = "stall"
	// FaultDie kills the PHP process at Step: what is written stays, the rest never happens, 502.
	FaultDie FaultKind = "die"
	// FaultStale answers reads from the data as they were when the fault was injected.
	FaultStale FaultKind = "stale"

	// FaultHookDrop loses a delivery without anybody noticing.
	FaultHookDrop FaultKind = "webhook-drop"
	// FaultHookDuplicate delivers twice.
	FaultHookDuplicate FaultKind = "webhook-duplicate"
	// FaultHookLate makes a delivery due Delay later than it would be.
	FaultHookLate FaultKind = "webhook-late"
)

var faultKinds = []FaultKind{FaultLatency, FaultStatus, FaultFatal, FaultHTML, FaultMaintenance, FaultCutBefore, FaultCutAfter,
	FaultWithhold, FaultLate, FaultStall, FaultDie, FaultStale, FaultHookDrop, FaultHookDuplicate, FaultHookLate}

// Fault is one programmed fault.
type Fault struct {
	Kind FaultKind `json:"kind"`
	// Method and Path narrow it to requests with that method and a path that contains Path; Writes to
	// requests that are not GET or HEAD. For webhooks Path is part of the topic.
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
	Writes bool   `json:"writes,omitempty"`
	// Times is how often it strikes; 0 until cleared.
	Times int `json:"times,omitempty"`
	// Probability is the chance that it strikes a match; 0 stands for 1.
	Probability float64       `json:"probability,omitempty"`
	Delay       time.Duration `json:"delayNanoseconds,omitempty"`
	Status      int           `json:"status,omitempty"`
	RetryAfter  int           `json:"retryAfterSeconds,omitempty"`
	// Step, ProductID and After say where FaultStall and FaultDie strike: at the first passing of Step
	// (for that product, if named), After passings skipped. Step is StepMeta when empty.
	Step      Step  `json:"step,omitempty"`
	ProductID int64 `json:"productID,omitempty"`
	After     int   `json:"after,omitempty"`
}

// stepped tells whether the fault waits for a step of a request.
func (f Fault) stepped() bool { return f.Kind == FaultStall || f.Kind == FaultDie }

func (f Fault) webhook() bool {
	return f.Kind == FaultHookDrop || f.Kind == FaultHookDuplicate || f.Kind == FaultHookLate
}

type armedFault struct {
	Fault
	id     int64
	frozen *state
}

// struck is a fault that strikes one request or delivery: a copy of its own.
type struck struct {
	Fault
	skip   int
	frozen *state
}

// Inject arms a fault and returns a number to clear it with.
func (s *Store) Inject(f Fault) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.stepped() && f.Step == "" {
		f.Step = StepMeta
	}
	s.faultID++
	armed := &armedFault{Fault: f, id: s.faultID}
	if f.Kind == FaultStale {
		armed.frozen = s.st.clone()
	}
	s.faults = append(s.faults, armed)
	return s.faultID
}

// Clear disarms the numbered faults, or all of them when none is named.
func (s *Store) Clear(ids ...int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = slices.DeleteFunc(s.faults, func(f *armedFault) bool {
		return len(ids) == 0 || slices.Contains(ids, f.id)
	})
}

// FaultCount is how often a fault of this kind struck.
func (s *Store) FaultCount(kind FaultKind) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faultHits[kind]
}

// strike picks the armed faults that hit a request or delivery, and uses them up. The caller holds the lock.
func (s *Store) strike(webhook bool, method, path string) []struck {
	var hit []struck
	for _, f := range s.faults {
		write := method != "GET" && method != "HEAD"
		if f.webhook() != webhook || (f.Method != "" && f.Method != method) || !strings.Contains(path, f.Path) ||
			(f.Writes && !write) || (f.Kind == FaultStale && write) {
			continue
		}
		if f.Probability > 0 && s.float() >= f.Probability {
			continue
		}
		hit = append(hit, struck{f.Fault, f.After, f.frozen})
		s.faultHits[f.Kind]++
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				f.Times = -1
			}
		}
	}
	s.faults = slices.DeleteFunc(s.faults, func(f *armedFault) bool { return f.Times < 0 })
	return hit
}

// Land lets every request held by a fault with a negative delay happen now. They run on their own;
// [Store.Settle] waits for them.
func (s *Store) Land() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.landings {
		close(c)
	}
	s.landings = nil
}

// Settle waits until no request works in the background. Requests still held are waited for, too.
func (s *Store) Settle() { s.work.wait() }

// Behaviour is what is lastingly odd about a store.
type Behaviour struct {
	// NoWooCommerce is the plugin switched off: its routes answer rest_no_route.
	NoWooCommerce bool `json:"noWooCommerce,omitempty"`
	// IgnoreDelta ignores inventory_delta without a word; metas are stored all the same.
	IgnoreDelta bool `json:"ignoreDelta,omitempty"`
	// Fractions keeps fractional quantities, as some plugins do; without it they are cut.
	Fractions bool `json:"fractions,omitempty"`
	// ClockOffset is how wrong the store's clock is: dates and the Date header.
	ClockOffset time.Duration `json:"clockOffsetNanoseconds,omitempty"`
	// StoreRateLimit allows so many Store API requests per ten seconds; 0 is no limit.
	StoreRateLimit int `json:"storeRateLimit,omitempty"`
}

// SetBehaviour replaces the store's behaviour.
func (s *Store) SetBehaviour(b Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behaviour = b
}

// Behaviour is the behaviour in force.
func (s *Store) Behaviour() Behaviour {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behaviour
}

// Snapshot is a backup of a shop: products, orders, webhooks and pending deliveries. As JSON it can be
// carried to another store.
type Snapshot struct{ st *state }

// MarshalJSON implements [json.Marshaler].
func (b *Snapshot) MarshalJSON() ([]byte, error) { return json.Marshal(b.st) }

// UnmarshalJSON implements [json.Unmarshaler].
func (b *Snapshot) UnmarshalJSON(raw []byte) error {
	st := &state{}
	if err := json.Unmarshal(raw, st); err != nil || string(raw) == "null" {
		return err
	}
	for id, p := range st.Products {
		if p == nil || p.ID != id {
			return fmt.Errorf("product %d is not what its number says", id)
		}
		for _, child := range p.Children {
			if v := st.Products[child]; v == nil || v.Kind != Variation || v.ParentID != id || len(v.Children) > 0 {
				return fmt.Errorf("product %d: %d is not a variation of it", id, child)
			}
		}
	}
	for id, o := range st.Orders {
		if o == nil || o.ID != id {
			return fmt.Errorf("order %d is not what its number says", id)
		}
	}
	for id, w := range st.Webhooks {
		if w == nil || w.ID != id {
			return fmt.Errorf("webhook %d is not what its number says", id)
		}
	}
	st.index()
	b.st = st
	return nil
}

// Snapshot makes a backup.
func (s *Store) Snapshot() *Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Snapshot{s.st.clone()}
}

// Restore puts a backup in place of the shop's data. Restoring another store's backup makes a clone of it.
// Requests under way go on with the restored data. The only error is an empty backup.
func (s *Store) Restore(b *Snapshot) error {
	if b == nil || b.st == nil {
		return errors.New("the backup is empty")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.st = b.st.clone()
	s.holds, s.carts = map[int64][]hold{}, map[string]*cart{}
	return nil
}

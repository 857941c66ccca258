package controllers

import (
	"context"
	"maps"
	"reflect"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"stocksync.dev/stocksync/internal/agentapi"
)

// AgentTarget is where and how an agent is asked for its status.
type AgentTarget struct {
	// ServerName is the DNS name of the private port, and the name in its certificate.
	ServerName string
	// CA holds the PEM certificates to trust, Token what to show.
	CA, Token string
}

// AgentReader asks an agent for its status.
type AgentReader interface {
	// ReadStatus asks once and returns within a few seconds. The error holds no secret.
	ReadStatus(ctx context.Context, target AgentTarget) (agentapi.Status, error)
}

const (
	// DefaultReadInterval is the time between two reads of an agent's status.
	DefaultReadInterval = 15 * time.Second
	// lostAfter is how many intervals, and reads in a row, an agent may stay silent.
	lostAfter = 3
	// readTimeout bounds one read.
	readTimeout = 10 * time.Second
	// changing is for how long after a change the agent is asked more often, until it has caught up.
	changing = time.Minute
)

// Agents asks every agent for its status, each at its own pace, and tells the reconcilers when an answer differs
// from the one before.
type Agents struct {
	reader   AgentReader
	clock    clock.Clock
	interval time.Duration

	topologies, children chan event.GenericEvent

	mu     sync.Mutex
	run    context.Context // nil until Start
	agents map[types.NamespacedName]*agent
}

// agent is what is known of one agent. Its fields are guarded by Agents.mu.
type agent struct {
	target    AgentTarget
	wanted    wantedConfig
	wantedAt  time.Time
	confirmed wantedConfig // the newest configuration the agent said it runs with
	told      wantedConfig // the one of these the reconcilers were told of
	state     agentState
	poke      chan struct{}
	cancel    context.CancelFunc
}

// wantedConfig is the configuration the operator wrote for an agent.
type wantedConfig struct {
	revision string
	// topology is the generation of the topology in it, stores the children in it by storeID.
	topology int64
	stores   map[string]wantedStore
}

type wantedStore struct {
	name       string
	uid        types.UID
	generation int64
}

// agentState is what an agent last said.
type agentState struct {
	// report is nil when the agent was never heard by this process.
	report *agentapi.Status
	// heardAt is when report came, failures how many reads failed since, failure why the last one did.
	heardAt  time.Time
	failures int
	failure  string
	// lost: the agent has been silent for too long to believe what it said.
	lost bool
	// confirmed is the newest configuration the agent said it runs with.
	confirmed wantedConfig
	// pendingSince is when a newer one was written; zero when there is none.
	pendingSince time.Time
}

// store returns what the agent said of one store.
func (s agentState) store(id string) *agentapi.StoreStatus {
	if s.report == nil {
		return nil
	}
	for i := range s.report.Stores {
		if s.report.Stores[i].StoreID == id {
			return &s.report.Stores[i]
		}
	}
	return nil
}

// NewAgents asks agents through the reader, every interval.
func NewAgents(reader AgentReader, clock clock.Clock, interval time.Duration) *Agents {
	return &Agents{
		reader: reader, clock: clock, interval: interval,
		topologies: make(chan event.GenericEvent, 1024),
		children:   make(chan event.GenericEvent, 1024),
		agents:     map[types.NamespacedName]*agent{},
	}
}

// Start asks agents until the context ends. Only the elected leader runs it.
func (a *Agents) Start(ctx context.Context) error {
	a.mu.Lock()
	a.run = ctx
	for key, agent := range a.agents {
		a.startLocked(key, agent)
	}
	a.mu.Unlock()
	<-ctx.Done()
	return nil
}

// NeedLeaderElection is true: one operator asks.
func (a *Agents) NeedLeaderElection() bool { return true }

// watch begins to ask the agent of a topology, or takes note of what changed about it.
func (a *Agents) watch(topology types.NamespacedName, target AgentTarget, wanted wantedConfig) {
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.agents[topology]
	if known == nil {
		known = &agent{poke: make(chan struct{}, 1), wantedAt: a.clock.Now()}
		a.agents[topology] = known
	}
	news := known.target != target || known.wanted.revision != wanted.revision
	if wanted.revision != "" {
		if known.wanted.revision != wanted.revision {
			known.wantedAt = a.clock.Now()
		}
		known.wanted = wanted
		known.confirmLocked()
	}
	known.target = target
	switch {
	case known.cancel == nil && a.run != nil:
		a.startLocked(topology, known)
	case known.cancel != nil && news:
		select {
		case known.poke <- struct{}{}:
		default:
		}
	}
}

// forget stops asking the agent of a topology.
func (a *Agents) forget(topology types.NamespacedName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if known := a.agents[topology]; known != nil {
		if known.cancel != nil {
			known.cancel()
		}
		delete(a.agents, topology)
	}
}

// state returns what the agent of a topology last said.
func (a *Agents) state(topology types.NamespacedName) agentState {
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.agents[topology]
	if known == nil {
		return agentState{}
	}
	state := known.state
	state.confirmed = known.confirmed
	if known.confirmed.revision != known.wanted.revision {
		state.pendingSince = known.wantedAt
	}
	return state
}

func (a *Agents) startLocked(topology types.NamespacedName, known *agent) {
	ctx, cancel := context.WithCancel(a.run)
	known.cancel = cancel
	go a.ask(ctx, topology, known)
}

// ask asks one agent until the context ends.
func (a *Agents) ask(ctx context.Context, topology types.NamespacedName, known *agent) {
	log := logf.FromContext(ctx).WithName("agents").WithValues("namespace", topology.Namespace, "topology", topology.Name)
	for ctx.Err() == nil {
		a.mu.Lock()
		target := known.target
		a.mu.Unlock()
		readCtx, cancel := context.WithTimeout(ctx, readTimeout)
		report, err := a.reader.ReadStatus(readCtx, target)
		cancel()
		if ctx.Err() != nil {
			return
		}
		a.mu.Lock()
		before := known.state
		wasConfirmed := known.told
		known.heard(report, err, a.clock.Now(), a.interval)
		known.told = known.confirmed
		after, confirmed, wanted := known.state, known.confirmed, known.wanted
		pause := known.pause(a.clock.Now(), a.interval)
		a.mu.Unlock()

		if after.lost && !before.lost {
			log.Info("the agent does not answer", "error", after.failure)
		} else if before.lost && !after.lost {
			log.Info("the agent answers again")
		}
		a.tell(ctx, topology, before, after, wasConfirmed, confirmed, wanted)

		timer := a.clock.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-known.poke:
		case <-timer.C():
		}
		timer.Stop()
	}
}

// heard takes in the outcome of one read.
func (k *agent) heard(report agentapi.Status, err error, now time.Time, interval time.Duration) {
	if err != nil {
		k.state.failures++
		k.state.failure = err.Error()
		since := k.state.heardAt
		if since.IsZero() {
			since = k.wantedAt
		}
		k.state.lost = k.state.lost || k.state.failures >= lostAfter && now.Sub(since) >= lostAfter*interval
		return
	}
	k.state = agentState{report: &report, heardAt: now}
	k.confirmLocked()
}

func (k *agent) confirmLocked() {
	if k.state.report != nil && k.wanted.revision != "" && k.state.report.ConfigRevision == k.wanted.revision {
		k.confirmed = k.wanted
	}
}

// pause is the time until the next read: shorter while something is expected to happen.
func (k *agent) pause(now time.Time, interval time.Duration) time.Duration {
	switch {
	case k.state.report == nil && now.Sub(k.wantedAt) < changing:
		return interval / 10
	case k.state.failures > 0:
		return interval / 3
	case k.confirmed.revision != k.wanted.revision && now.Sub(k.wantedAt) < changing:
		return interval / 30
	case now.Sub(k.wantedAt) < changing, k.busy():
		return interval / 5
	default:
		return interval
	}
}

// busy reports whether the agent is in the middle of a run.
func (k *agent) busy() bool {
	running := func(run *agentapi.Run) bool { return run != nil && run.State == agentapi.Running }
	return k.state.report != nil && (running(k.state.report.LastReconcile) || running(k.state.report.LastAudit))
}

// tell wakes the reconcilers of what changed. Times at which nothing happened are no change: they wait for the
// heartbeat.
func (a *Agents) tell(ctx context.Context, topology types.NamespacedName, before, after agentState, wasConfirmed, confirmed, wanted wantedConfig) {
	silent := before.lost != after.lost || (before.report == nil) != (after.report == nil)
	changed := silent || before.failures != after.failures || wasConfirmed.revision != confirmed.revision
	stores := map[string]bool{}
	if after.report != nil {
		old := map[string]agentapi.StoreStatus{}
		if before.report != nil {
			for _, store := range before.report.Stores {
				old[store.StoreID] = store
			}
		}
		for _, store := range after.report.Stores {
			if silent || !reflect.DeepEqual(quiet(old[store.StoreID]), quiet(store)) {
				stores[store.StoreID] = true
			}
			delete(old, store.StoreID)
		}
		for id := range old {
			stores[id] = true
		}
		changed = changed || len(stores) > 0 || !reflect.DeepEqual(quietReport(before.report), quietReport(after.report))
	}
	for id, store := range confirmed.stores {
		if silent || wasConfirmed.stores[id] != store {
			stores[id] = true
		}
	}
	names := map[string]bool{}
	for id := range stores {
		for _, config := range []wantedConfig{confirmed, wasConfirmed, wanted} {
			if store, ok := config.stores[id]; ok {
				names[store.name] = true
			}
		}
	}
	if changed {
		send(ctx, a.topologies, topology.Namespace, topology.Name)
	}
	for name := range maps.Keys(names) {
		send(ctx, a.children, topology.Namespace, name)
	}
}

func quiet(s agentapi.StoreStatus) agentapi.StoreStatus {
	s.LastSeenTime = nil
	return s
}

func quietReport(s *agentapi.Status) agentapi.Status {
	if s == nil {
		return agentapi.Status{}
	}
	q := *s
	q.Now, q.Stores = time.Time{}, nil
	return q
}

func send(ctx context.Context, to chan event.GenericEvent, namespace, name string) {
	object := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	select {
	case to <- event.GenericEvent{Object: client.Object(object)}:
	case <-ctx.Done():
	}
}

package controllers

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"stocksync.dev/stocksync/internal/agentapi"
)

// scripted answers each read with what the test sends.
type scripted struct {
	asked  chan AgentTarget
	answer chan any // agentapi.Status or error
}

func (s *scripted) ReadStatus(ctx context.Context, target AgentTarget) (agentapi.Status, error) {
	select {
	case s.asked <- target:
	case <-ctx.Done():
		return agentapi.Status{}, ctx.Err()
	}
	select {
	case a := <-s.answer:
		if err, failed := a.(error); failed {
			return agentapi.Status{}, err
		}
		return a.(agentapi.Status), nil
	case <-ctx.Done():
		return agentapi.Status{}, ctx.Err()
	}
}

func TestAgentsAreAskedAtTheirPaceAndTellWhatChanged(t *testing.T) {
	t.Parallel()
	clock := testingclock.NewFakeClock(time.Unix(1000, 0))
	reader := &scripted{asked: make(chan AgentTarget), answer: make(chan any)}
	agents := NewAgents(reader, clock, 15*time.Second)
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { defer close(done); _ = agents.Start(ctx) }()
	t.Cleanup(func() { cancel(); <-done })

	key := types.NamespacedName{Namespace: "shops", Name: "emea"}
	config := func(revision string, generation int64) wantedConfig {
		return wantedConfig{revision: revision, topology: 1, stores: map[string]wantedStore{"f": {name: "fr", uid: "u", generation: generation}, "d": {name: "de", uid: "v", generation: 1}}}
	}
	agents.watch(key, AgentTarget{ServerName: "a"}, config("r1", 1))

	read := func(answer any) { <-reader.asked; reader.answer <- answer }
	// asleep waits until the reader pauses, and returns for how long.
	asleep := func() time.Duration {
		for !clock.HasWaiters() {
			runtime.Gosched()
		}
		agents.mu.Lock()
		defer agents.mu.Unlock()
		return agents.agents[key].pause(clock.Now(), agents.interval)
	}
	told := func() (names []string) {
		asleep()
		for {
			select {
			case e := <-agents.topologies:
				names = append(names, "topology "+nameOf(e))
			case e := <-agents.children:
				names = append(names, "child "+nameOf(e))
			default:
				slices.Sort(names)
				return names
			}
		}
	}
	wantTold := func(step string, want ...string) {
		t.Helper()
		if got := told(); !slices.Equal(got, want) {
			t.Errorf("%s: told %v, want %v", step, got, want)
		}
	}
	seen := clock.Now()
	report := agentapi.Status{ConfigRevision: "r1", Stores: []agentapi.StoreStatus{{StoreID: "hq", Master: true}, {StoreID: "f", LastSeenTime: &seen}, {StoreID: "d"}}}

	read(errors.New("connection refused"))
	wantTold("never heard", "topology emea")
	if p := asleep(); p > 2*time.Second {
		t.Errorf("an agent that starts is asked again after %s", p)
	}
	clock.Step(15 * time.Second)
	read(report)
	wantTold("first answer", "child de", "child fr", "topology emea")

	clock.Step(2 * time.Minute)
	later := clock.Now()
	report.Stores = slices.Clone(report.Stores)
	report.Stores[1].LastSeenTime, report.Now = &later, later
	read(report)
	wantTold("nothing but the clock")
	if p := asleep(); p != 15*time.Second {
		t.Errorf("a settled agent is asked every %s, want 15s", p)
	}

	clock.Step(15 * time.Second)
	report.Stores = slices.Clone(report.Stores)
	report.Stores[1].Backlog = 4
	read(report)
	wantTold("one store", "child fr", "topology emea")

	// A new configuration: the agent is asked at once, and often until it runs with it.
	agents.watch(key, AgentTarget{ServerName: "a"}, config("r2", 2))
	read(report)
	wantTold("not yet read")
	if p := asleep(); p > time.Second {
		t.Errorf("an agent that is to read a change is asked again after %s", p)
	}
	if agents.state(key).pendingSince.IsZero() {
		t.Error("a configuration not yet in use does not show")
	}
	clock.Step(time.Second)
	report.ConfigRevision = "r2"
	read(report)
	wantTold("the changed store", "child fr", "topology emea")
	if s := agents.state(key); !s.pendingSince.IsZero() || s.confirmed.stores["f"].generation != 2 {
		t.Errorf("state %+v", s)
	}

	// The agent was quicker than the operator: it reports a revision before anybody is waiting for it.
	report.ConfigRevision = "r3"
	clock.Step(time.Minute)
	read(report)
	wantTold("a revision nobody wrote", "topology emea")
	agents.watch(key, AgentTarget{ServerName: "a"}, config("r3", 3))
	read(report)
	wantTold("the revision is known now", "child fr", "topology emea")

	for range 2 {
		clock.Step(20 * time.Second)
		read(errors.New("connection refused"))
		told()
	}
	if agents.state(key).lost {
		t.Error("lost after two failed reads")
	}
	clock.Step(20 * time.Second)
	read(errors.New("connection refused"))
	wantTold("lost", "child de", "child fr", "topology emea")
	if !agents.state(key).lost {
		t.Error("not lost after three failed reads in a minute")
	}
	clock.Step(20 * time.Second)
	read(report)
	wantTold("back", "child de", "child fr", "topology emea")

	agents.forget(key)
	if s := agents.state(key); s.report != nil {
		t.Errorf("a forgotten agent is remembered: %+v", s)
	}
}

func nameOf(e event.GenericEvent) string { return e.Object.GetName() }

func TestReadsThatFailFastAreNotTakenForALostAgent(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	k := &agent{wantedAt: now}
	k.heard(agentapi.Status{}, nil, now, 15*time.Second)
	for i := range 10 {
		k.heard(agentapi.Status{}, errors.New("x"), now.Add(time.Duration(i)*time.Second), 15*time.Second)
	}
	if k.state.lost {
		t.Error("ten quick failures within 45 s: a pod that restarts looks like this")
	}
}

package controllers

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
)

// watchLog keeps what an operator watches, and what it writes besides its lease.
type watchLog struct {
	requestLog
	mu      sync.Mutex
	watched map[string]bool
}

func (l *watchLog) wrap(next http.RoundTripper) http.RoundTripper {
	logged := l.requestLog.wrap(next)
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if watch := r.URL.Query().Get("watch"); watch == "true" || watch == "1" {
			l.mu.Lock()
			l.watched[r.URL.Path+" "+r.Header.Get("Accept")] = true
			l.mu.Unlock()
		}
		if strings.Contains(r.URL.Path, "/leases") {
			return next.RoundTrip(r)
		}
		return logged.RoundTrip(r)
	})
}

// watches are what the operator has watched so far.
func (l *watchLog) watches() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.watched)
}

// writesOf are the writes since the last call without Events, which tell of the election.
func (l *watchLog) writesOf() []string {
	var writes []string
	for _, w := range l.take() {
		if !strings.Contains(w, "/events") {
			writes = append(writes, w)
		}
	}
	return writes
}

// countedAgents lets a test wait until agents were asked often enough.
type countedAgents struct {
	fakeAgents
	reads atomic.Int32
}

func (c *countedAgents) ReadStatus(ctx context.Context, target AgentTarget) (agentapi.Status, error) {
	defer c.reads.Add(1)
	return c.fakeAgents.ReadStatus(ctx, target)
}

func (b *bench) until(what string, condition func() bool) {
	b.Helper()
	err := wait.PollUntilContextTimeout(b.Context(), 10*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		return condition(), nil
	})
	if err != nil {
		b.Fatalf("never happened: %s", what)
	}
}

// TestWarmStandby: of two operators one acts. The other holds everything in its cache, takes over when the first stops,
// lists nothing anew and writes nothing.
func TestWarmStandby(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.apply(join(keysOf("hq"), keysOf("fr"), emea, fr))
	run := func() (log *watchLog, agents *countedAgents, elected <-chan struct{}, stop func()) {
		log, agents = &watchLog{watched: map[string]bool{}}, &countedAgents{fakeAgents: fakeAgents{admin: b.admin}}
		mgr, stop := runManager(b, managed{namespaces: []string{b.namespace}, user: operatorUser, groups: operatorGroups,
			reader: agents, wrap: log.wrap, elect: true})
		return log, agents, mgr.Elected(), stop
	}
	acting, _, elected, stop := run()
	<-elected
	b.eventually(v1alpha1.KindStockSyncTopology, "emea", "Ready=True/Ready")
	b.eventually(v1alpha1.KindChildStore, "fr", "Ready=True/Ready")
	b.until("all is written", func() bool { return b.status().Children.InSyncSummary == "1/1" })
	standby, agents, elected, _ := run()
	b.until("the standby watches all that the acting operator watches", func() bool {
		return maps.Equal(standby.watches(), acting.watches())
	})
	select {
	case <-elected:
		t.Fatal("two operators act at a time")
	default:
	}
	if writes := standby.writesOf(); len(writes) > 0 || agents.reads.Load() > 0 {
		t.Errorf("the standby asked agents %d times and wrote %v", agents.reads.Load(), writes)
	}

	before, watches := b.versions(), standby.watches()
	began := time.Now()
	stop()
	acting.take()
	select {
	case <-elected:
	case <-time.After(30 * time.Second):
		t.Fatal("the standby never took over")
	}
	t.Logf("the standby took over %v after the other was told to stop", time.Since(began).Round(time.Millisecond))
	b.until("the new operator asks the agent", func() bool { return agents.reads.Load() >= 2 })
	t.Logf("it had asked the agent twice after %v", time.Since(began).Round(time.Millisecond))
	if writes := acting.writesOf(); len(writes) > 0 {
		t.Errorf("the operator that stopped still wrote %v", writes)
	}
	// What the other left is right, and it said a moment ago that the agent was heard.
	if writes := standby.writesOf(); len(writes) > 0 {
		t.Errorf("taking over wrote %v", writes)
	}
	after := b.versions()
	for object, version := range before {
		if after[object] != version {
			t.Errorf("taking over changed %s", object)
		}
	}
	if diff := cmp.Diff(watches, standby.watches()); diff != "" {
		t.Errorf("the cache was not warm; it was filled after taking over (-before +after):\n%s", diff)
	}

	b.apply(join(keysOf("it"), it()))
	b.eventually(v1alpha1.KindChildStore, "it", "Ready=True/Ready")
	if writes := acting.writesOf(); len(writes) > 0 {
		t.Errorf("the operator that stopped wrote %v", writes)
	}
}

// TestStandbyIsConfigured: config/standby, also together with config/namespaces, is accepted by the API server and asks
// for two operators that elect a leader.
func TestStandbyIsConfigured(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rendered := kustomize(t, []string{"config/default"}, []string{"config/standby", "config/namespaces"}, "")
	found := 0
	for manifest := range strings.SplitSeq(rendered, "\n---\n") {
		var kind metav1.TypeMeta
		b.must(yaml.Unmarshal([]byte(manifest), &kind))
		switch kind.Kind {
		case "Deployment":
			deployment := &appsv1.Deployment{}
			b.must(yaml.UnmarshalStrict([]byte(manifest), deployment))
			args := deployment.Spec.Template.Spec.Containers[0].Args
			if *deployment.Spec.Replicas != 2 || !slices.Contains(args, "--leader-elect") || !slices.Contains(args, "--namespaces=shops") {
				t.Errorf("%d replicas with %v", *deployment.Spec.Replicas, args)
			}
			deployment.Namespace = b.namespace
			b.must(b.admin.Create(t.Context(), deployment, client.DryRunAll))
			found++
		case "PodDisruptionBudget":
			budget := &policyv1.PodDisruptionBudget{}
			b.must(yaml.UnmarshalStrict([]byte(manifest), budget))
			budget.Namespace = b.namespace
			b.must(b.admin.Create(t.Context(), budget, client.DryRunAll))
			found++
		}
	}
	if found != 2 {
		t.Errorf("%d of Deployment and PodDisruptionBudget in\n%s", found, rendered)
	}
}

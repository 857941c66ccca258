package controllers

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
)

const (
	fleetTopologies = 100
	fleetChildren   = 10 // each
)

// fleet answers for the agents of all topologies; reads counts its answers.
type fleet struct {
	admin client.Client
	reads atomic.Int64
}

func (f *fleet) ReadStatus(ctx context.Context, target AgentTarget) (agentapi.Status, error) {
	service, rest, _ := strings.Cut(target.ServerName, ".")
	topology := strings.TrimSuffix(service, "-agent-private")
	secret := &corev1.Secret{}
	if err := f.admin.Get(ctx, types.NamespacedName{Namespace: strings.TrimSuffix(rest, ".svc"), Name: topology + "-agent-config"}, secret); err != nil {
		return agentapi.Status{}, err
	}
	f.reads.Add(1)
	now, yes := time.Now(), agentapi.Condition{Status: "True", Reason: "Connected"}
	report := agentapi.Status{ConfigRevision: string(secret.Data[agentapi.RevisionFile]), Now: now}
	for i := range fleetChildren + 1 {
		store := agentapi.StoreStatus{StoreID: fmt.Sprintf("%s-%d", topology, i), Mode: "Sync", Accepted: yes, Connected: yes, HintsAvailable: yes, InSync: yes, LastSeenTime: &now}
		if i == fleetChildren {
			store.StoreID, store.Master = "hq", true
		}
		report.Stores = append(report.Stores, store)
	}
	return report, nil
}

// BenchmarkHundredTopologies applies 100 topologies with ten ChildStores each and reports how long until all are
// Ready; then what a restart of the operator writes, how long a user's edit during another restart takes to reach the
// agent's configuration, what a minute without news writes, and what the process (test included) holds in memory,
// also beside 10,000 Secrets of 32 KB that are somebody else's.
func BenchmarkHundredTopologies(b *testing.B) {
	for b.Loop() {
		bench, log := newBench(b), &requestLog{}
		agents := &fleet{admin: bench.admin}
		start := func() (stop func()) {
			_, stop = runManager(bench, managed{namespaces: []string{bench.namespace}, user: operatorUser, groups: operatorGroups, reader: agents,
				wrap: func(next http.RoundTripper) http.RoundTripper { return log.wrap(next) }, interval: DefaultReadInterval})
			return stop
		}
		stop := start()
		bench.apply(join(keysOf("hq"), keysOf("fr")))

		began := time.Now()
		many(b, fleetTopologies, func(i int) error {
			name := fmt.Sprintf("t%d", i)
			return bench.admin.Create(b.Context(), bench.parse(strings.NewReplacer("name: emea", "name: "+name, "//hq.", "//hq-"+name+".").Replace(emea)))
		})
		many(b, fleetTopologies*fleetChildren, func(i int) error {
			topology, child := fmt.Sprintf("t%d", i/fleetChildren), fmt.Sprintf("t%d-%d", i/fleetChildren, i%fleetChildren)
			return bench.admin.Create(b.Context(), bench.parse(strings.NewReplacer("name: emea", "name: "+topology, "name: fr}\n", "name: "+child+"}\n", "//fr.", "//"+child+".").Replace(fr)))
		})
		b.ReportMetric(time.Since(began).Seconds(), "s/created")
		bench.within(5*time.Minute, "all are Ready", bench.notReady)
		b.ReportMetric(time.Since(began).Seconds(), "s/ready")
		b.ReportMetric(float64(len(log.take())), "writes")
		bench.quiet(log)

		// From here on nothing changes but the time of the last contact, whose hour is not over.
		time.Sleep(time.Minute)
		b.ReportMetric(float64(len(log.take())), "writes/settled-minute")
		heap, sys := memory()
		b.ReportMetric(heap, "MiB-heap")
		b.ReportMetric(sys, "MiB-sys")

		stop()
		log.take()
		before := agents.reads.Load()
		began = time.Now()
		stop = start()
		bench.within(5*time.Minute, "every agent was asked twice", func() string {
			if n := agents.reads.Load() - before; n < 2*fleetTopologies {
				return fmt.Sprintf("%d times", n)
			}
			return ""
		})
		b.ReportMetric(time.Since(began).Seconds(), "s/restart")
		b.ReportMetric(float64(len(log.take())), "writes/restart")

		stop()
		stop = start()
		child := &v1alpha1.ChildStore{}
		bench.must(bench.admin.Get(b.Context(), bench.key("t99-9"), child))
		began = time.Now()
		bench.must(bench.admin.Patch(b.Context(), child, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"allocation":{"bufferUnits":7}}}`))))
		bench.within(5*time.Minute, "the edit is in the agent's configuration", func() string {
			if !bytes.Contains(bench.secret("t99-agent-config").Data[agentapi.ConfigFile], []byte("bufferUnits: 7")) {
				return "it is not"
			}
			return ""
		})
		b.ReportMetric(time.Since(began).Seconds(), "s/edit-in-restart")
		bench.quiet(log)

		heap, sys = memory()
		random := bytes.Repeat([]byte("0123456789abcdef"), 2<<10)
		many(b, 10_000, func(i int) error {
			return bench.admin.Create(b.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: bench.namespace, Name: fmt.Sprintf("foreign-%d", i)},
				Data: map[string][]byte{"content": random}})
		})
		time.Sleep(10 * time.Second)
		beside, besideSys := memory()
		b.ReportMetric(beside-heap, "MiB-heap/10000-secrets")
		b.ReportMetric(besideSys-sys, "MiB-sys/10000-secrets")
		stop()
		b.ReportMetric(0, "ns/op")
	}
}

// many does something so many times, four at a time.
func many(b *testing.B, times int, do func(i int) error) {
	b.Helper()
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := worker; i < times; i += 4 {
				if err := do(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

func memory() (heap, sys float64) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20), float64(m.Sys) / (1 << 20)
}

// within waits until nothing is missing.
func (b *bench) within(longest time.Duration, what string, missing func() string) {
	b.Helper()
	var last string
	err := wait.PollUntilContextTimeout(b.Context(), 250*time.Millisecond, longest, true, func(context.Context) (bool, error) {
		last = missing()
		return last == "", nil
	})
	if err != nil {
		b.Fatalf("never happened: %s: %s", what, last)
	}
}

// notReady counts the objects that are not Ready, and tells why one of them is not; empty when all are.
func (b *bench) notReady() string {
	children, topologies := &v1alpha1.ChildStoreList{}, &v1alpha1.StockSyncTopologyList{}
	b.must(b.admin.List(b.Context(), children, client.InNamespace(b.namespace)))
	b.must(b.admin.List(b.Context(), topologies, client.InNamespace(b.namespace)))
	n, why := 0, ""
	look := func(name string, conditions []metav1.Condition, complete bool) {
		if ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady); ready == nil || ready.Status != metav1.ConditionTrue || !complete {
			n, why = n+1, fmt.Sprintf("%s is %+v", name, ready)
		}
	}
	for _, child := range children.Items {
		look(child.Name, child.Status.Conditions, true)
	}
	for _, topology := range topologies.Items {
		look(topology.Name, topology.Status.Conditions, topology.Status.Children != nil && topology.Status.Children.InSyncSummary == fmt.Sprintf("%d/%d", fleetChildren, fleetChildren))
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d are not, %s", n, why)
}

// quiet waits until nothing was written for a while.
func (b *bench) quiet(log *requestLog) {
	b.Helper()
	for last := time.Now(); time.Since(last) < 20*time.Second; time.Sleep(time.Second) {
		if len(log.take()) > 0 {
			last = time.Now()
		}
	}
}

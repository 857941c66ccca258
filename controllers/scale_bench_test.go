package controllers

import (
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
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/render"
)

// crowd answers for an agent that keeps this many children, without reading the configuration over and over.
type crowd struct {
	admin    client.Client
	children int
	busy     atomic.Bool
	reads    atomic.Int64
}

func (c *crowd) ReadStatus(ctx context.Context, target AgentTarget) (agentapi.Status, error) {
	_, rest, _ := strings.Cut(target.ServerName, ".")
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: strings.TrimSuffix(rest, ".svc"), Name: render.NamesOf("emea").ConfigSecret}
	if err := c.admin.Get(ctx, key, secret); err != nil {
		return agentapi.Status{}, err
	}
	n := c.reads.Add(1)
	report := agentapi.Status{ConfigRevision: string(secret.Data[agentapi.RevisionFile])}
	yes, now := agentapi.Condition{Status: "True", Reason: "Connected"}, time.Now()
	for i := range c.children + 1 {
		store := agentapi.StoreStatus{StoreID: fmt.Sprintf("s-%d", i), Accepted: yes, Connected: yes, HintsAvailable: yes, InSync: yes, LastSeenTime: &now}
		if i == c.children {
			store.StoreID, store.Master = "hq", true
		}
		if c.busy.Load() {
			store.Backlog = int(n)
		}
		report.Stores = append(report.Stores, store)
	}
	return report, nil
}

// BenchmarkThousandChildren applies 1,000 ChildStores to one topology and reports how long until all are Ready, how
// often the operator wrote, and what it holds in memory (test and operator together).
func BenchmarkThousandChildren(b *testing.B) {
	const children = 1000
	for b.Loop() {
		bench := newBench(b)
		agents := &crowd{admin: bench.admin, children: children}
		log := &requestLog{}
		startManager(bench, agents, func(next http.RoundTripper) http.RoundTripper { return log.wrap(next) })
		bench.apply(join(keysOf("hq"), keysOf("fr"), emea))
		bench.eventually(v1alpha1.KindStockSyncTopology, "emea", "Accepted=True/Accepted")

		began := time.Now()
		var group sync.WaitGroup
		for worker := range 4 {
			group.Go(func() {
				for i := worker; i < children; i += 4 {
					child := bench.parse(strings.NewReplacer("name: fr}", fmt.Sprintf("name: s-%d}", i), "//fr.", fmt.Sprintf("//s-%d.", i)).Replace(fr))
					if err := bench.admin.Create(b.Context(), child); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		group.Wait()
		created := time.Since(began)
		err := wait.PollUntilContextTimeout(b.Context(), 250*time.Millisecond, 5*time.Minute, true, func(ctx context.Context) (bool, error) {
			list := &v1alpha1.ChildStoreList{}
			if err := bench.admin.List(ctx, list, client.InNamespace(bench.namespace)); err != nil {
				return false, err
			}
			ready := 0
			for _, child := range list.Items {
				if meta.IsStatusConditionTrue(child.Status.Conditions, v1alpha1.ConditionReady) {
					ready++
				}
			}
			return ready == children, nil
		})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(created.Seconds(), "s/created")
		b.ReportMetric(time.Since(began).Seconds(), "s/ready")
		b.ReportMetric(float64(len(log.take())), "writes")
		runtime.GC()
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		b.ReportMetric(float64(memory.HeapAlloc)/(1<<20), "MiB-heap")
		b.ReportMetric(float64(memory.Sys)/(1<<20), "MiB-sys")
		b.ReportMetric(0, "ns/op")
	}
}

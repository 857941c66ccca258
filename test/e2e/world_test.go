//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"stocksync.dev/stocksync/api/v1alpha1"
)

// Names of the demo's topology and of what the operator makes of it.
const (
	namespace = "shops"
	topology  = "emea"
	agentPod  = "emea-agent-0"
	ledger    = "data-emea-agent-0"
)

// world is the demo: three shops, one topology.
type world struct {
	hq, fr, de *shop
	// skus are sold in all three, in a stable order.
	skus []string
}

func (w *world) shops() []*shop { return []*shop{w.hq, w.fr, w.de} }

// openWorld waits until the topology is settled: every store is in sync and no conflict of an earlier test keeps it from being so.
func openWorld(t *testing.T) *world {
	t.Helper()
	ctx := t.Context()
	w := &world{}
	for id, s := range map[string]**shop{"hq": &w.hq, "fr": &w.fr, "de": &w.de} {
		opened, err := openShop(ctx, cluster, id)
		if err != nil {
			t.Fatal(err)
		}
		*s = opened
	}
	eventually(t, 60*time.Second, "all stores ready and in sync", func() error { return w.settled(ctx) })
	common := map[string]int{}
	for _, s := range w.shops() {
		stock, err := s.all(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for sku := range stock {
			common[sku]++
		}
	}
	maps.DeleteFunc(common, func(_ string, shops int) bool { return shops < 3 })
	w.skus = slices.Sorted(maps.Keys(common))
	return w
}

// pick gives each test a SKU of its own, of which there is enough to sell. n is below 50: the demo's quantities repeat
// after as many SKUs.
func (w *world) pick(t *testing.T, n int) (sku string, stock int) {
	t.Helper()
	for i := n; i < len(w.skus); i += 50 {
		stock, err := w.hq.stock(t.Context(), w.skus[i])
		if err != nil {
			t.Fatal(err)
		}
		if stock >= 40 {
			w.everywhere(t, w.skus[i], stock)
			return w.skus[i], stock
		}
	}
	t.Fatalf("no SKU with 40 units from number %d of %d on", n, len(w.skus))
	return "", 0
}

// settled is nil when the operator says that every store is ready and in sync.
func (w *world) settled(ctx context.Context) error {
	var sst v1alpha1.StockSyncTopology
	if err := cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: topology}, &sst); err != nil {
		return err
	}
	errs := []error{conditionIs(&sst, sst.Status.Conditions, v1alpha1.ConditionReady, metav1.ConditionTrue, "")}
	for _, id := range []string{"fr", "de"} {
		chs, err := childStore(ctx, id)
		if err != nil {
			return err
		}
		errs = append(errs,
			conditionIs(chs, chs.Status.Conditions, v1alpha1.ConditionReady, metav1.ConditionTrue, ""),
			conditionIs(chs, chs.Status.Conditions, v1alpha1.ConditionInSync, metav1.ConditionTrue, ""))
	}
	return errors.Join(errs...)
}

// everywhere waits until every shop shows the quantity, twice in a row, by its own REST API.
func (w *world) everywhere(t *testing.T, sku string, want int) {
	t.Helper()
	// Long enough for a push that the shop swallowed to be proved and mended: two clean samples and a sweep, twice.
	w.eventuallyShown(t, 90*time.Second, sku, want, w.shops()...)
}

func (w *world) eventuallyShown(t *testing.T, limit time.Duration, sku string, want int, shops ...*shop) {
	t.Helper()
	right := 0
	eventually(t, limit, fmt.Sprintf("%s is %d in %d shops", sku, want, len(shops)), func() error {
		for _, s := range shops {
			got, err := s.stock(t.Context(), sku)
			if err == nil && got != want {
				err = notYet("%s shows %d of %s, want %d", s.id, got, sku, want)
			}
			if err != nil {
				right = 0
				return err
			}
		}
		if right++; right < 2 {
			return notYet("%s was right once", sku)
		}
		return nil
	})
}

// statusAgrees compares what the operator says with what the shops show: the same number everywhere, nothing left to do.
func (w *world) statusAgrees(t *testing.T) {
	t.Helper()
	eventually(t, 75*time.Second, "status agrees", func() error {
		if err := w.settled(t.Context()); err != nil {
			return err
		}
		for _, id := range []string{"fr", "de"} {
			chs, err := childStore(t.Context(), id)
			if err != nil {
				return err
			}
			if chs.Status.Backlog == nil || *chs.Status.Backlog != 0 || len(chs.Status.Mismatches) > 0 {
				return notYet("%s: backlog %v, mismatches %v", id, chs.Status.Backlog, chs.Status.Mismatches)
			}
		}
		return nil
	})
}

func childStore(ctx context.Context, id string) (*v1alpha1.ChildStore, error) {
	var chs v1alpha1.ChildStore
	return &chs, cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: id}, &chs)
}

// conditionIs is nil when the condition has the status, and the reason if one is given, for the current generation.
func conditionIs(o client.Object, conditions []metav1.Condition, kind string, status metav1.ConditionStatus, reason string) error {
	c := meta.FindStatusCondition(conditions, kind)
	switch {
	case c == nil:
		return notYet("%s has no condition %s", o.GetName(), kind)
	case c.Status != status || (reason != "" && c.Reason != reason):
		return notYet("%s: %s is %s, %s: %s", o.GetName(), kind, c.Status, c.Reason, c.Message)
	case c.ObservedGeneration != o.GetGeneration():
		return notYet("%s: %s speaks of generation %d of %d", o.GetName(), kind, c.ObservedGeneration, o.GetGeneration())
	}
	return nil
}

// eventuallyChild waits for a condition of a child store.
func eventuallyChild(t *testing.T, id, kind string, status metav1.ConditionStatus, reason string) {
	t.Helper()
	eventually(t, 75*time.Second, fmt.Sprintf("%s: %s is %s %s", id, kind, status, reason), func() error {
		chs, err := childStore(t.Context(), id)
		if err != nil {
			return err
		}
		return conditionIs(chs, chs.Status.Conditions, kind, status, reason)
	})
}

// load sells single units in fr and de until stop is called, which returns how many were sold.
func (w *world) load(t *testing.T, sku string) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	sold := make([]int, 2)
	failures := make([]error, 2)
	for i, s := range []*shop{w.fr, w.de} {
		group.Go(func() {
			for ctx.Err() == nil {
				// A sale that was begun is finished, so that the count is exact.
				if _, err := s.sell(context.WithoutCancel(ctx), sku, 1); err != nil {
					failures[i] = err
					return
				}
				sold[i]++
				select {
				case <-ctx.Done():
				case <-time.After(400 * time.Millisecond):
				}
			}
		})
	}
	return func() int {
		t.Helper()
		cancel()
		group.Wait()
		if err := errors.Join(failures...); err != nil {
			t.Fatal(err)
		}
		t.Logf("sold %d in fr, %d in de", sold[0], sold[1])
		return sold[0] + sold[1]
	}
}

// podOf is the agent's pod as it is now.
func podOf(t *testing.T) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	if err := cluster.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: agentPod}, pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

// kill removes a pod as a crash does, and waits until another one of the same name is ready.
func kill(t *testing.T, name string) {
	t.Helper()
	key := client.ObjectKey{Namespace: namespace, Name: name}
	var before corev1.Pod
	if err := cluster.Get(t.Context(), key, &before); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Delete(t.Context(), &before, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	eventuallyReplaced(t, key, before.UID)
}

func eventuallyReplaced(t *testing.T, key client.ObjectKey, before any) {
	t.Helper()
	eventually(t, 60*time.Second, "another pod is ready", func() error {
		var now corev1.Pod
		if err := cluster.Get(t.Context(), key, &now); err != nil {
			return err
		}
		if any(now.UID) == before || now.DeletionTimestamp != nil {
			return notYet("the old pod is still there")
		}
		for _, c := range now.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return notYet("pod is %s", now.Status.Phase)
	})
}

// remove deletes the object and waits until it is gone.
func remove(t *testing.T, limit time.Duration, o client.Object) {
	t.Helper()
	if err := cluster.Delete(t.Context(), o); err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	eventually(t, limit, o.GetName()+" is gone", func() error {
		err := cluster.Get(t.Context(), client.ObjectKeyFromObject(o), o)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, notYet("still there"))
	})
}

// giveKey puts a store's consumer secret where StockSync's user keeps it.
func giveKey(ctx context.Context, id, consumerSecret string) error {
	var secret corev1.Secret
	if err := cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: id + "-rest"}, &secret); err != nil {
		return err
	}
	secret.Data["consumerSecret"] = []byte(consumerSecret)
	return cluster.Update(ctx, &secret)
}

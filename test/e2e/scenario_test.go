//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"stocksync.dev/stocksync/api/v1alpha1"
)

// After enrolment the children show the head office's numbers, SKU by SKU.
func TestEnrolment(t *testing.T) {
	w := openWorld(t)
	if len(w.skus) < 100 {
		t.Fatalf("the shops have only %d SKUs in common", len(w.skus))
	}
	eventually(t, 60*time.Second, "the shops show the same stock", func() error {
		master, err := w.hq.all(t.Context())
		if err != nil {
			return err
		}
		for _, s := range []*shop{w.fr, w.de} {
			stock, err := s.all(t.Context())
			if err != nil {
				return err
			}
			for _, sku := range w.skus {
				if want := max(0, master[sku]); stock[sku] != want {
					return notYet("%s shows %d of %s, hq %d", s.id, stock[sku], sku, master[sku])
				}
			}
		}
		return nil
	})
	w.statusAgrees(t)
}

// Sales, a refund and an edit, each of another SKU, while the others happen.
func TestWhatHappensInOneShopReachesTheOthers(t *testing.T) {
	w := openWorld(t)
	t.Run("sales in two shops at the same moment", func(t *testing.T) {
		t.Parallel()
		w.testSales(t)
	})
	t.Run("refund", func(t *testing.T) {
		t.Parallel()
		w.testRefund(t)
	})
	t.Run("edit at the head office", func(t *testing.T) {
		t.Parallel()
		w.testEdit(t)
	})
}

func (w *world) testSales(t *testing.T) {
	sku, stock := w.pick(t, 31)
	var group sync.WaitGroup
	for range 3 {
		for s, units := range map[*shop]int{w.fr: 2, w.de: 1} {
			group.Go(func() {
				if _, err := s.sell(t.Context(), sku, units); err != nil {
					t.Error(err)
				}
			})
		}
	}
	group.Wait()
	w.everywhere(t, sku, stock-9)
	w.statusAgrees(t)
}

func (w *world) testRefund(t *testing.T) {
	sku, stock := w.pick(t, 32)
	o, err := w.de.sell(t.Context(), sku, 5)
	if err != nil {
		t.Fatal(err)
	}
	w.everywhere(t, sku, stock-5)
	if err := w.de.refund(t.Context(), o, 2); err != nil {
		t.Fatal(err)
	}
	w.everywhere(t, sku, stock-3)
}

func (w *world) testEdit(t *testing.T) {
	sku, _ := w.pick(t, 33)
	if err := w.hq.edit(t.Context(), sku, 117); err != nil {
		t.Fatal(err)
	}
	// More than orders explain counts only on proof: two samples with order sweeps between them.
	w.eventuallyShown(t, 90*time.Second, sku, 117, w.shops()...)
	if _, err := w.fr.sell(t.Context(), sku, 1); err != nil {
		t.Fatal(err)
	}
	w.everywhere(t, sku, 116)
}

// A shop that cannot be reached is named, disturbs nobody, and catches up.
func TestStoreDownForAWhile(t *testing.T) {
	w := openWorld(t)
	sku, stock := w.pick(t, 34)
	up := w.fr.down(t)
	if _, err := w.de.sell(t.Context(), sku, 4); err != nil {
		t.Error(err)
	}
	eventually(t, 30*time.Second, "hq learns of the sale in de", func() error {
		got, err := w.hq.stock(t.Context(), sku)
		if err == nil && got != stock-4 {
			err = notYet("hq shows %d", got)
		}
		return err
	})
	eventuallyChild(t, "fr", v1alpha1.ConditionConnected, metav1.ConditionFalse, "")
	eventuallyChild(t, "de", v1alpha1.ConditionReady, metav1.ConditionTrue, "")
	up()
	w.everywhere(t, sku, stock-4)
	eventuallyChild(t, "fr", v1alpha1.ConditionReady, metav1.ConditionTrue, "")
	chs, err := childStore(t.Context(), "fr")
	if err != nil {
		t.Fatal(err)
	}
	if chs.Status.LastError == nil {
		t.Error("the error of the outage is not kept")
	}
}

func TestAgentKilledUnderLoad(t *testing.T) {
	w := openWorld(t)
	sku, stock := w.pick(t, 35)
	stop := w.load(t, sku)
	kill(t, agentPod)
	sold := stop()
	w.everywhere(t, sku, stock-sold)
	w.statusAgrees(t)
}

func TestOperatorRestarted(t *testing.T) {
	w := openWorld(t)
	sku, stock := w.pick(t, 36)
	agent := podOf(t)
	if err := cluster.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace("stocksync-system"), client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.fr.sell(t.Context(), sku, 3); err != nil {
		t.Fatal(err)
	}
	w.everywhere(t, sku, stock-3)
	restarted := metav1.Now()
	eventually(t, 90*time.Second, "the operator hears the agent again", func() error {
		var sst v1alpha1.StockSyncTopology
		if err := cluster.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: topology}, &sst); err != nil {
			return err
		}
		if sst.Status.LastHeartbeatTime == nil || !restarted.Before(sst.Status.LastHeartbeatTime) {
			return notYet("last heartbeat is %v", sst.Status.LastHeartbeatTime)
		}
		return conditionIs(&sst, sst.Status.Conditions, v1alpha1.ConditionReady, metav1.ConditionTrue, "")
	})
	after := podOf(t)
	if after.UID != agent.UID {
		t.Error("a restart of the operator restarted the agent")
	}
}

// A key that the shop revoked is named; the new one reaches the running agent without a restart.
func TestSecretRotated(t *testing.T) {
	w := openWorld(t)
	agent := podOf(t)
	old := w.fr.secret
	t.Cleanup(func() { // other tests take the shop's first key
		if err := errors.Join(w.fr.changeKey(context.Background(), old), giveKey(context.Background(), "fr", old)); err != nil {
			t.Error(err)
		}
	})
	if err := w.fr.changeKey(t.Context(), "cs_0123456789012345678901234567890123456789"); err != nil {
		t.Fatal(err)
	}
	eventuallyChild(t, "fr", v1alpha1.ConditionConnected, metav1.ConditionFalse, v1alpha1.ReasonAuthenticationFailed)
	if err := giveKey(t.Context(), "fr", w.fr.secret); err != nil {
		t.Fatal(err)
	}
	eventuallyChild(t, "fr", v1alpha1.ConditionReady, metav1.ConditionTrue, "")
	after := podOf(t)
	if after.UID != agent.UID || after.Status.ContainerStatuses[0].RestartCount != agent.Status.ContainerStatuses[0].RestartCount {
		t.Error("the agent was restarted")
	}
}

// A child that leaves takes no units with it; one that comes back takes the pool's number.
func TestChildRemovedAndAdded(t *testing.T) {
	w := openWorld(t)
	sku, stock := w.pick(t, 37)
	de, err := childStore(t.Context(), "de")
	if err != nil {
		t.Fatal(err)
	}
	remove(t, 30*time.Second, de.DeepCopy())
	eventually(t, 60*time.Second, "the topology has one child", func() error {
		var sst v1alpha1.StockSyncTopology
		if err := cluster.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: topology}, &sst); err != nil {
			return err
		}
		if sst.Status.Children == nil || sst.Status.Children.Total != 1 {
			return notYet("children are %+v", sst.Status.Children)
		}
		return conditionIs(&sst, sst.Status.Conditions, v1alpha1.ConditionAgentAvailable, metav1.ConditionTrue, v1alpha1.ReasonAgentReady)
	})
	if _, err := w.fr.sell(t.Context(), sku, 6); err != nil {
		t.Fatal(err)
	}
	w.eventuallyShown(t, 30*time.Second, sku, stock-6, w.hq, w.fr)
	if got, err := w.de.stock(t.Context(), sku); err != nil || got != stock {
		t.Errorf("de shows %d, error %v: a store that left must keep its %d", got, err, stock)
	}
	back := &v1alpha1.ChildStore{ObjectMeta: metav1.ObjectMeta{Name: "de", Namespace: namespace}, Spec: de.Spec}
	if err := cluster.Create(t.Context(), back); err != nil {
		t.Fatal(err)
	}
	w.everywhere(t, sku, stock-6)
	eventuallyChild(t, "de", v1alpha1.ConditionReady, metav1.ConditionTrue, "")
}

// With an address the shops can reach, each of them gets webhooks; without one they are taken away again.
func TestWebhooks(t *testing.T) {
	w := openWorld(t)
	sku, stock := w.pick(t, 39)
	publish := func(ctx context.Context, address string) {
		t.Helper()
		sst := &v1alpha1.StockSyncTopology{}
		if err := cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: topology}, sst); err != nil {
			t.Fatal(err)
		}
		before := sst.DeepCopy()
		sst.Spec.PublicURL = address
		if err := cluster.Patch(ctx, sst, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
	}
	ours := func(want bool) {
		t.Helper()
		eventually(t, 60*time.Second, fmt.Sprintf("webhooks in the shops: %t", want), func() error {
			for _, s := range w.shops() {
				hooks, err := s.webhooks(t.Context())
				if err != nil {
					return err
				}
				if (len(hooks) > 0) != want {
					return notYet("%s has %d webhooks", s.id, len(hooks))
				}
				for _, h := range hooks {
					if h.Status != "active" || !strings.HasSuffix(h.DeliveryURL, "/webhooks/woocommerce/"+s.id) || !strings.HasPrefix(h.Topic, "product.") && h.Topic != "action.woocommerce_updated_product_stock" {
						t.Fatalf("%s: webhook is %+v", s.id, h)
					}
				}
			}
			return nil
		})
	}
	publish(t.Context(), "http://emea-agent-public.shops.svc.cluster.local")
	t.Cleanup(func() { publish(context.Background(), "") })
	ours(true)
	eventuallyChild(t, "fr", v1alpha1.ConditionHintsAvailable, metav1.ConditionTrue, v1alpha1.ReasonWebhooksActive)
	if _, err := w.fr.sell(t.Context(), sku, 2); err != nil {
		t.Fatal(err)
	}
	w.everywhere(t, sku, stock-2)
	publish(t.Context(), "")
	ours(false)
	eventuallyChild(t, "fr", v1alpha1.ConditionHintsAvailable, metav1.ConditionFalse, v1alpha1.ReasonPollingOnly)
}

// The ledger's volume is lost while people buy: either the count is right, or a conflict says that it may not be.
func TestVolumeLostUnderLoad(t *testing.T) {
	w := openWorld(t)
	sku, stock := w.pick(t, 38)
	stop := w.load(t, sku)
	eventually(t, 30*time.Second, "some sales were counted", func() error {
		got, err := w.hq.stock(t.Context(), sku)
		if err == nil && got > stock-2 {
			err = notYet("hq shows %d", got)
		}
		return err
	})
	pod := podOf(t)
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: ledger, Namespace: namespace}}
	if err := cluster.Delete(t.Context(), claim); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Delete(t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	eventuallyReplaced(t, client.ObjectKeyFromObject(pod), pod.UID)
	sold := stop()
	var shown int
	eventually(t, 60*time.Second, "all shops show one number", func() error {
		var err error
		if shown, err = w.hq.stock(t.Context(), sku); err != nil {
			return err
		}
		for _, s := range []*shop{w.fr, w.de} {
			got, err := s.stock(t.Context(), sku)
			if err != nil {
				return err
			}
			if got != shown {
				return notYet("hq shows %d, %s %d", shown, s.id, got)
			}
		}
		return nil
	})
	t.Logf("the shops show %d, %d is right", shown, stock-sold)
	if shown == stock-sold {
		return
	}
	eventually(t, 60*time.Second, "a conflict says that the count may be wrong", func() error {
		open, err := conflicts(t.Context())
		if err != nil {
			return err
		}
		for _, row := range open {
			if slices.Contains(strings.Fields(row), sku) {
				t.Log(row)
				return nil
			}
		}
		return notYet("none of %d conflicts names %s", len(open), sku)
	})
}

// conflicts lists the open ones as a person does.
func conflicts(ctx context.Context) ([]string, error) {
	out, err := exec.CommandContext(ctx, "kubectl", "exec", "--namespace", namespace, agentPod, "--", "/agent", "conflicts", "list").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("kubectl exec: %w: %s", err, out)
	}
	return slices.Collect(strings.Lines(string(out))), nil
}

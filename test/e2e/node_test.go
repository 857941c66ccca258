//go:build e2e

package e2e

import (
	"os/exec"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A node is cut off with an agent on it, and Kubernetes is told that the pod is gone, as by the taint out-of-service. The
// agent goes on, for all anybody knows. When the node is back there are two pods for one volume: the new one gets it,
// with all that was counted.
func TestNodeCutOff(t *testing.T) {
	w := openWorld(t)
	sku, stock := w.pick(t, 47)
	before, ledgerID := podOf(t), theTopology(t).Status.LedgerID
	kubelet := func(what string) {
		t.Helper()
		if out, err := exec.Command("go", "-C", "../../hack/cluster", "run", ".", "kubelet", what).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	t.Cleanup(func() { kubelet("start") })
	kubelet("stop")
	if err := cluster.Delete(t.Context(), before.DeepCopy(), client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "another pod waits for its node", func() error {
		var now corev1.Pod
		if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(before), &now); err != nil {
			return err
		}
		if now.UID == before.UID {
			return notYet("it is the same pod")
		}
		return nil
	})
	if _, err := w.de.sell(t.Context(), sku, 2); err != nil {
		t.Fatal(err)
	}
	w.everywhere(t, sku, stock-2)
	kubelet("start")
	eventuallyReplaced(t, client.ObjectKeyFromObject(before), before.UID)
	if _, err := w.fr.sell(t.Context(), sku, 3); err != nil {
		t.Fatal(err)
	}
	w.everywhere(t, sku, stock-5)
	w.statusAgrees(t)
	if now := theTopology(t).Status.LedgerID; now != ledgerID {
		t.Errorf("the ledger was %s and is %s", ledgerID, now)
	}
}

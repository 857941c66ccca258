//go:build e2e

package e2e

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"stocksync.dev/stocksync/api/v1alpha1"
)

// Versions of both images: hack/e2e.sh loads each program as both.
const (
	thisVersion = "dev"
	nextVersion = "next"
)

// A new operator leaves agents alone and works with those of the version before it; a new agent image replaces the pod,
// and the one before it takes over again. No sale is lost meanwhile.
func TestUpgradeAndDowngrade(t *testing.T) {
	w := openWorld(t)
	sku, stock := w.pick(t, 46)
	before := podOf(t)
	t.Cleanup(func() {
		if t.Failed() { // other tests take this version
			_ = exec.CommandContext(context.Background(), "go", "-C", "../../hack/cluster", "run", ".", "operator").Run()
		}
	})
	ledgerID := theTopology(t).Status.LedgerID
	stop := w.load(t, sku)

	deploy(t, nextVersion, thisVersion)
	heard(t, thisVersion)
	if after := podOf(t); after.UID != before.UID || after.Status.ContainerStatuses[0].RestartCount != before.Status.ContainerStatuses[0].RestartCount {
		t.Error("a new operator restarted the agent, whose image is the same")
	}

	deploy(t, nextVersion, nextVersion)
	heard(t, nextVersion)
	if podOf(t).UID == before.UID {
		t.Error("the new agent runs in the old pod")
	}

	deploy(t, thisVersion, thisVersion)
	heard(t, thisVersion)
	if now := theTopology(t).Status.LedgerID; now != ledgerID {
		t.Errorf("the ledger was %s and is %s", ledgerID, now)
	}
	sold := stop()
	w.everywhere(t, sku, stock-sold)
	w.statusAgrees(t)
}

// deploy changes the operator's image, and the one it gives to agents, as somebody who edits its manifest.
func deploy(t *testing.T, operator, agent string) {
	t.Helper()
	deployment := &appsv1.Deployment{}
	key := client.ObjectKey{Namespace: operatorNamespace, Name: "stocksync-operator"}
	if err := cluster.Get(t.Context(), key, deployment); err != nil {
		t.Fatal(err)
	}
	old := deployment.DeepCopy()
	container := &deployment.Spec.Template.Spec.Containers[0]
	container.Image = "stocksync.dev/operator:" + operator
	i := slices.IndexFunc(container.Args, func(arg string) bool { return strings.HasPrefix(arg, "--agent-image=") })
	container.Args[i] = "--agent-image=stocksync.dev/agent:" + agent
	if err := cluster.Patch(t.Context(), deployment, client.MergeFrom(old)); err != nil {
		t.Fatal(err)
	}
	eventually(t, 120*time.Second, "operator "+operator+" gives agents the image "+agent, func() error {
		if err := cluster.Get(t.Context(), key, deployment); err != nil {
			return err
		}
		s := deployment.Status
		if s.ObservedGeneration < deployment.Generation || s.UpdatedReplicas != 1 || s.AvailableReplicas != 1 || s.Replicas != 1 {
			return notYet("generation %d, status %+v", deployment.Generation, s)
		}
		return nil
	})
}

// heard waits until the topology is ready with an agent of the version, by a heartbeat of now.
func heard(t *testing.T, version string) {
	t.Helper()
	since := metav1.Now()
	eventually(t, 120*time.Second, "the operator hears agent "+version, func() error {
		var sst v1alpha1.StockSyncTopology
		if err := cluster.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: topology}, &sst); err != nil {
			return err
		}
		if sst.Status.LastHeartbeatTime == nil || !since.Before(sst.Status.LastHeartbeatTime) || sst.Status.AgentVersion != version {
			return notYet("heartbeat %v of version %q", sst.Status.LastHeartbeatTime, sst.Status.AgentVersion)
		}
		return conditionIs(&sst, sst.Status.Conditions, v1alpha1.ConditionReady, metav1.ConditionTrue, "")
	})
}

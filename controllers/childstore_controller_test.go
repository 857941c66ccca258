package controllers

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
)

func TestMissingSecretAndMissingKey(t *testing.T) {
	t.Parallel()
	b := running(t)
	b.delete(b.parse(keysOf("fr")))
	b.reconcile("emea", "fr")
	report := b.healthy("emea", "hq", "fr")
	report.Stores[1].Accepted = agentapi.Condition{Status: "False", Reason: v1alpha1.ReasonInvalidConfiguration, Message: "no credentials"}
	b.agentSays("emea", report)
	b.reconcile("emea", "fr")
	b.wantChild("fr", "SecretsAvailable=False/SecretNotFound", "Ready=False/SecretNotFound", "Stalled=True/SecretNotFound", "Accepted=True/Accepted", "Connected=True/Connected")
	if m := b.message(v1alpha1.KindChildStore, "fr", "SecretsAvailable"); m != "Secret fr-rest does not exist in this namespace; create it with the key consumerKey" {
		t.Errorf("message %q", m)
	}
	if file := b.configFile("emea"); !strings.Contains(file, "fr.example.com") {
		t.Error("the child left the agent's configuration: the agent would take it for removed")
	}
	b.wantTopology("emea", "Ready=True/Ready")

	b.apply("apiVersion: v1\nkind: Secret\nmetadata: {name: fr-rest}\nstringData: {consumerKey: ck_fr, consumersecret: cs_secret_value}")
	b.reconcile("emea", "fr")
	b.wantChild("fr", "SecretsAvailable=False/SecretKeyMissing", "Ready=False/SecretKeyMissing", "Stalled=True/SecretKeyMissing")
	m := b.message(v1alpha1.KindChildStore, "fr", "SecretsAvailable")
	if m != "Secret fr-rest must have the key consumerSecret, and it must not be empty" {
		t.Errorf("message %q", m)
	}

	b.apply(keysOf("fr"))
	b.reconcile("emea", "fr")
	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.reconcile("emea", "fr")
	b.wantChild("fr", "SecretsAvailable=True/SecretsFound", "Ready=True/Ready", "Stalled=")
}

func TestMissingSecretOfTheMaster(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.apply(join(keysOf("fr"), emea, fr))
	b.reconcile("emea", "fr")
	b.wantTopology("emea", "SecretsAvailable=False/SecretNotFound", "Ready=False/SecretNotFound", "Stalled=True/SecretNotFound")
	b.wantChild("fr", "SecretsAvailable=True/SecretsFound")
}

func TestDuplicatesDisturbNobodyElse(t *testing.T) {
	t.Parallel()
	b := running(t)
	b.apply(join(keysOf("it"), strings.ReplaceAll(it(), "topologyRef", "storeID: fr\n  topologyRef")))
	b.reconcile("emea", "fr", "it")
	b.wantChild("it", "Accepted=False/DuplicateStoreID", "Ready=False/DuplicateStoreID", "Stalled=True/DuplicateStoreID", "Connected=Unknown/DuplicateStoreID")
	b.wantChild("fr", "Ready=True/Ready")
	if strings.Contains(b.configFile("emea"), "it.example.com") {
		t.Error("the agent was told of a store that is not accepted")
	}
	b.delete(b.parse(it()))

	b.apply(strings.ReplaceAll(it(), "https://it.example.com", "https://FR.example.com:443/"))
	b.reconcile("emea", "fr", "it")
	b.wantChild("it", "Accepted=False/DuplicateURL", "Ready=False/DuplicateURL")
	b.wantChild("fr", "Ready=True/Ready")
	b.wantTopology("emea", "Ready=True/Ready", "Accepted=True/Accepted")

	// When the older goes, the newer takes its place.
	b.delete(b.parse(fr))
	b.reconcile("emea", "it")
	b.agentSays("emea", b.healthy("emea", "hq", "it"))
	b.reconcile("emea", "it")
	b.wantChild("it", "Accepted=True/Accepted", "Ready=True/Ready", "Stalled=")
}

func TestTopologyWithTheURLOfAnother(t *testing.T) {
	t.Parallel()
	b := running(t)
	b.apply(strings.ReplaceAll(emea, "name: emea", "name: twin"))
	b.reconcile("twin")
	b.wantTopology("twin", "Accepted=False/DuplicateURL", "Ready=False/DuplicateURL", "Stalled=True/DuplicateURL", "AgentAvailable=Unknown/DuplicateURL", "Connected=Unknown/DuplicateURL")
	if err := b.admin.Get(t.Context(), b.key("twin-agent-config"), &corev1.Secret{}); err == nil {
		t.Error("an agent is prepared for a topology that is not accepted")
	}
	b.apply(strings.ReplaceAll(it(), "name: emea", "name: twin"))
	b.reconcile("twin", "it")
	b.wantChild("it", "Accepted=False/TopologyNotAccepted")
	b.reconcile("emea", "fr")
	b.wantTopology("emea", "Ready=True/Ready")
}

func TestChildOfAMissingTopology(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.apply(join(keysOf("fr"), fr))
	b.reconcile("", "fr")
	b.wantChild("fr", "Accepted=False/TopologyNotFound", "Ready=False/TopologyNotFound", "Stalled=True/TopologyNotFound",
		"AgentAvailable=Unknown/TopologyNotFound", "Connected=Unknown/TopologyNotFound", "SecretsAvailable=True/SecretsFound")
}

func TestObserveAndOff(t *testing.T) {
	t.Parallel()
	b := running(t)
	b.apply(fr + "\n  mode: Observe")
	b.reconcile("emea", "fr")
	report := b.healthy("emea", "hq", "fr")
	report.Stores[1].Mode = "Observe"
	report.Stores[1].InSync = agentapi.Condition{Status: "False", Reason: v1alpha1.ReasonLagObjectiveExceeded, Message: "12 SKUs differ"}
	b.agentSays("emea", report)
	b.reconcile("emea", "fr")
	b.wantChild("fr", "Paused=True/Observe", "Ready=True/Ready", "InSync=False/LagObjectiveExceeded")
	b.wantTopology("emea", "Paused=", "Ready=True/Ready", "InSync=True/InSync")

	b.apply(fr + "\n  mode: \"Off\"")
	b.reconcile("emea", "fr")
	report = b.healthy("emea", "hq", "fr")
	report.Stores[1].Mode = "Off"
	b.agentSays("emea", report)
	b.reconcile("emea", "fr")
	b.wantChild("fr", "Accepted=True/Accepted", "Paused=True/Off", "Ready=Unknown/Off", "SecretsAvailable=Unknown/Off", "AgentAvailable=Unknown/Off",
		"Connected=Unknown/Off", "HintsAvailable=Unknown/Off", "InSync=Unknown/Off", "Stalled=", "Reconciling=")

	b.apply(fr)
	b.apply(strings.ReplaceAll(emea, "mode: Sync", "mode: Observe"))
	b.reconcile("emea", "fr")
	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.reconcile("emea", "fr")
	b.wantChild("fr", "Paused=True/Observe", "Ready=True/Ready")
	b.wantTopology("emea", "Paused=True/Observe", "Ready=True/Ready")
}

func TestWhatTheAgentSaysIsShown(t *testing.T) {
	t.Parallel()
	b := running(t)
	report := b.healthy("emea", "hq", "fr")
	fr := &report.Stores[1]
	fr.Connected = agentapi.Condition{Status: "False", Reason: v1alpha1.ReasonAuthenticationFailed, Message: "the store refuses the REST key", Since: b.clock.Now().Add(-30 * time.Second)}
	fr.LastError = &agentapi.Error{Reason: v1alpha1.ReasonAuthenticationFailed, Message: "the store refuses the REST key", Time: b.clock.Now()}
	fr.Backlog, fr.LagSeconds = 7, 12
	fr.Mismatches = []agentapi.Mismatch{{SKU: "MUG", Shown: 3, Wanted: 1, SinceSeconds: 12}}
	b.agentSays("emea", report)
	b.reconcile("emea", "fr")
	b.wantChild("fr", "Connected=False/AuthenticationFailed", "Ready=False/AuthenticationFailed", "Stalled=True/AuthenticationFailed")
	b.wantTopology("emea", "Ready=True/Ready")
	child := &v1alpha1.ChildStore{}
	b.must(b.admin.Get(t.Context(), b.key("fr"), child))
	if child.Status.LastError == nil || *child.Status.Backlog != 7 || len(child.Status.Mismatches) != 1 {
		t.Errorf("status %+v", child.Status)
	}

	// After recovery the last error can still be read.
	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.reconcile("emea", "fr")
	b.wantChild("fr", "Ready=True/Ready", "Stalled=")
	b.must(b.admin.Get(t.Context(), b.key("fr"), child))
	if child.Status.LastError == nil || child.Status.LastError.Reason != v1alpha1.ReasonAuthenticationFailed {
		t.Errorf("last error %+v, want the one before recovery", child.Status.LastError)
	}
}

func TestChildrenBehindShowOnTheTopology(t *testing.T) {
	t.Parallel()
	b := running(t)
	report := b.healthy("emea", "hq", "fr")
	report.Stores[1].InSync = agentapi.Condition{Status: "False", Reason: v1alpha1.ReasonLagObjectiveExceeded, Message: "the oldest difference is 90 s old"}
	b.agentSays("emea", report)
	b.once("emea", "fr")
	b.reconcile("emea", "fr")
	b.wantChild("fr", "Ready=False/LagObjectiveExceeded", "Stalled=")
	b.wantTopology("emea", "InSync=False/ChildrenNotInSync", "Ready=True/Ready")
	if m := b.message(v1alpha1.KindStockSyncTopology, "emea", "InSync"); m != "not in sync: fr" {
		t.Errorf("message %q", m)
	}

	report = b.healthy("emea", "hq", "fr")
	report.Stores[0].Connected = agentapi.Condition{Status: "False", Reason: v1alpha1.ReasonTimeout, Message: "no answer"}
	b.agentSays("emea", report)
	b.reconcile("emea", "fr")
	b.wantTopology("emea", "Ready=False/Timeout", "Stalled=")
	b.wantChild("fr", "Ready=True/Ready")
}

func TestBusyStoresAreWrittenOnceAMinute(t *testing.T) {
	t.Parallel()
	b := running(t)
	b.log.take()
	for second := range 59 {
		report := b.healthy("emea", "hq", "fr")
		report.Stores[1].Backlog = second + 1
		b.agentSays("emea", report)
		b.clock.Step(time.Second)
		b.once("", "fr")
	}
	if writes := b.log.take(); len(writes) > 0 {
		t.Errorf("%d writes within a minute, want none", len(writes))
	}
	b.clock.Step(2 * time.Second)
	b.once("", "fr")
	if writes := b.log.take(); len(writes) != 1 {
		t.Errorf("writes %v after a minute, want one", writes)
	}
	report := b.healthy("emea", "hq", "fr")
	report.Stores[1].Connected = agentapi.Condition{Status: "False", Reason: v1alpha1.ReasonTimeout, Message: "no answer"}
	b.agentSays("emea", report)
	b.once("", "fr")
	if writes := b.log.take(); len(writes) != 1 {
		t.Errorf("writes %v when a condition changed, want one at once", writes)
	}
}

// TestUsersObjectsAreNeverTouched proves that the operator writes nothing but the status of the user's objects.
func TestUsersObjectsAreNeverTouched(t *testing.T) {
	t.Parallel()
	b := running(t)
	for _, object := range []client.Object{b.parse(emea), b.parse(fr), b.parse(keysOf("hq"))} {
		b.must(b.admin.Get(t.Context(), types.NamespacedName{Namespace: b.namespace, Name: object.GetName()}, object))
		for _, entry := range object.GetManagedFields() {
			if entry.Manager == FieldOwner && entry.Subresource != "status" {
				t.Errorf("%T: the operator owns %s", object, entry.FieldsV1)
			}
		}
		if len(object.GetFinalizers()) > 0 {
			t.Errorf("%T has finalizers", object)
		}
	}
}

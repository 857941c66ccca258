package controllers

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/yaml"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
)

const (
	public = emea + `
  publicURL: https://sync.example.com/emea/
  identity: {storeID: 6f1c1f4e-0d3b-4c5e-9a55-0b1d7b1f2c3d}`
	paired = `
apiVersion: stocksync.dev/v1alpha1
kind: ChildStore
metadata: {name: fr}
spec:
  topologyRef: {name: emea}
  kitgenix:
    url: https://fr.example.com
    remoteStoreID: 0b1d7b1f-2c3d-4c5e-9a55-6f1c1f4e0d3b
    sharedSecretKeyRef: {name: fr-plugin, key: secret}
    rotationOverlapSeconds: 3600`
	sharedSecret = `
apiVersion: v1
kind: Secret
metadata: {name: fr-plugin}
stringData: {secret: VALUE, unrelated: do-not-copy}`
	erp = `
apiVersion: stocksync.dev/v1alpha1
kind: StockSyncTopology
metadata: {name: emea}
spec:
  mode: Sync
  master:
    storeID: erp
    katana:
      tokenSecretKeyRef: {name: katana, key: token}`
	token = `
apiVersion: v1
kind: Secret
metadata: {name: katana}
stringData: {token: abc123}`
	located = fr + `
  katana: {locationID: 4711, linksConfigMapRef: {name: fr-links}}`
	links = `
apiVersion: v1
kind: ConfigMap
metadata: {name: fr-links}
data: {"2101": "345"}`
)

func shared(value string) string { return strings.ReplaceAll(sharedSecret, "VALUE", value) }

// plugged is what a healthy agent says whose store fr has a plugin.
func (b *bench) plugged() *agentapi.Status {
	b.Helper()
	report := b.healthy("emea", "hq", "fr")
	ping, skew := b.clock.Now().Add(-time.Minute), -5
	report.Stores[1].Tier = agentapi.TierPlugin
	report.Stores[1].CheckoutValidated = &agentapi.Condition{Status: "True", Reason: v1alpha1.ReasonAnsweredFromLedger, Since: ping}
	report.Stores[1].Plugin = &agentapi.PluginStatus{Version: "2.0.0", Generation: 2, Connection: agentapi.ConnectionOK, ClockSkewSeconds: &skew, LastPingTime: &ping}
	return report
}

// pairedBench is a bench where hq and the plugin of fr run and everything is well.
func pairedBench(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	b.apply(join(keysOf("hq"), shared("secret1"), public, paired))
	b.reconcile("emea", "fr")
	b.agentSays("emea", b.plugged())
	b.reconcile("emea", "fr")
	return b
}

func (b *bench) childStatus(name string) v1alpha1.ChildStoreStatus {
	b.Helper()
	child := &v1alpha1.ChildStore{}
	b.must(b.admin.Get(b.Context(), b.key(name), child))
	return child.Status
}

// rendered is a Secret as the agent gets it.
func (b *bench) rendered(name string) map[string]string {
	b.Helper()
	for document := range strings.SplitSeq(b.configFile("emea"), "\n---\n") {
		var secret corev1.Secret
		b.must(yaml.Unmarshal([]byte(document), &secret))
		if secret.Kind != "Secret" || secret.Name != name {
			continue
		}
		values := map[string]string{}
		for key, value := range secret.Data {
			values[key] = string(value)
		}
		return values
	}
	return nil
}

// TestPairingStandsInStatus: what a person has to type into the plugin is there before the agent is, and what the agent
// knows of the plugin comes with it.
func TestPairingStandsInStatus(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.apply(join(keysOf("hq"), shared("secret1"), public, paired))
	b.reconcile("emea", "fr")
	if k := b.childStatus("fr").Kitgenix; k == nil || k.MasterURL != "https://sync.example.com/emea" || k.MasterStoreID != "6f1c1f4e-0d3b-4c5e-9a55-0b1d7b1f2c3d" || k.Generation != nil {
		t.Errorf("status.kitgenix %+v", k)
	}
	b.wantChild("fr", "CheckoutValidated=Unknown/Pending", "SecretsAvailable=True/SecretsFound")

	b.agentSays("emea", b.plugged())
	b.reconcile("emea", "fr")
	b.wantChild("fr", "Ready=True/Ready", "CheckoutValidated=True/AnsweredFromLedger")
	status := b.childStatus("fr")
	k := status.Kitgenix
	if status.Driver != "kitgenix" || status.Tier != "Plugin" || !strings.Contains(status.Versions, "Kitgenix 2.0.0 (protocol 2)") {
		t.Errorf("driver %q, tier %q, versions %q", status.Driver, status.Tier, status.Versions)
	}
	if k.PluginVersion != "2.0.0" || *k.Generation != 2 || *k.ClockSkewSeconds != -5 || k.Connection != "ok" || k.LastPingTime == nil || k.ChildURL != "" {
		t.Errorf("status.kitgenix %+v", k)
	}

	// An answer at checkout that lets everything pass is told, and the store stays Ready.
	b.events.take()
	report := b.plugged()
	report.Stores[1].CheckoutValidated = &agentapi.Condition{Status: "False", Reason: v1alpha1.ReasonCheckoutFailingOpen, Message: "every sale passes"}
	b.agentSays("emea", report)
	b.reconcile("emea", "fr")
	b.wantChild("fr", "Ready=True/Ready", "CheckoutValidated=False/CheckoutFailingOpen")
	b.wantEvents("Warning CheckoutFailingOpen ChildStore/fr: every sale passes")
	b.agentSays("emea", nil)
	b.clock.Step(time.Minute)
	b.agentSays("emea", nil)
	b.agentSays("emea", nil)
	b.reconcile("emea", "fr")
	b.wantChild("fr", "CheckoutValidated=Unknown/AgentUnreachable")

	// Without its plugin nothing of it stays.
	b.apply(join(keysOf("fr"), fr))
	b.reconcile("emea", "fr")
	b.wantChild("fr", "CheckoutValidated=")
	if k := b.childStatus("fr").Kitgenix; k != nil {
		t.Errorf("status.kitgenix %+v of a store without plugin", k)
	}
}

// TestPairingAtThePluginMaster: there the topology is a child.
func TestPairingAtThePluginMaster(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.apply(join(keysOf("hq"), shared("secret1"), strings.Replace(public, "    woocommerce:", `    kitgenix:
      url: https://hq.example.com
      remoteStoreID: 0b1d7b1f-2c3d-4c5e-9a55-6f1c1f4e0d3b
      sharedSecretKeyRef: {name: fr-plugin, key: secret}
    woocommerce:`, 1)))
	b.reconcile("emea")
	topology := &v1alpha1.StockSyncTopology{}
	b.must(b.admin.Get(t.Context(), b.key("emea"), topology))
	m := topology.Status.Master
	if m.Driver != "woocommerce+kitgenix" || m.Kitgenix == nil || m.Kitgenix.ChildURL != "https://sync.example.com/emea" || m.Kitgenix.ChildStoreID != "6f1c1f4e-0d3b-4c5e-9a55-0b1d7b1f2c3d" || m.Kitgenix.MasterURL != "" {
		t.Errorf("driver %s, kitgenix %+v", m.Driver, m.Kitgenix)
	}
}

// TestSharedSecretsRotateWithoutALostRequest: what the secret was before goes to the agent with its expiry, survives a
// new operator, and is taken away in time; the pod is not restarted.
func TestSharedSecretsRotateWithoutALostRequest(t *testing.T) {
	t.Parallel()
	b := pairedBench(t)
	b.must(b.admin.Create(t.Context(), b.pod()))
	template := b.templateOf("emea-agent")
	if diff := cmp.Diff(map[string]string{"secret": "secret1"}, b.rendered("fr-plugin")); diff != "" {
		t.Fatalf("the agent's Secret (-want +got):\n%s", diff)
	}
	b.apply(shared("secret2"))
	b.reconcile("emea", "fr")
	until := v1alpha1.SecretUntilKey("secret", b.clock.Now().Add(time.Hour))
	both := map[string]string{"secret": "secret2", until: "secret1"}
	if diff := cmp.Diff(both, b.rendered("fr-plugin")); diff != "" {
		t.Fatalf("after the change (-want +got):\n%s", diff)
	}
	if b.annotation() == "" {
		t.Error("the pod was not touched, so the kubelet takes a minute to notice")
	}
	report := b.plugged()
	expiry := b.clock.Now().Add(time.Hour)
	report.Stores[1].Plugin.PreviousSecretUntil = &expiry
	b.agentSays("emea", report)
	b.clock.Step(time.Minute)
	b.reconcile("emea", "fr")
	if k := b.childStatus("fr").Kitgenix; k.PreviousSecretExpiryTime == nil || k.PreviousSecretExpiryTime.Unix() != expiry.Unix() {
		t.Errorf("status shows %v as expiry, want %v", k.PreviousSecretExpiryTime, expiry)
	}

	b.clock.Step(30 * time.Minute)
	b.restart()
	b.reconcile("emea", "fr")
	if diff := cmp.Diff(both, b.rendered("fr-plugin")); diff != "" {
		t.Errorf("a new operator forgets the secret before (-want +got):\n%s", diff)
	}
	result, err := b.topology.Reconcile(t.Context(), ctrl.Request{NamespacedName: b.key("emea")})
	b.must(err)
	if result.RequeueAfter <= 0 || result.RequeueAfter > 30*time.Minute {
		t.Errorf("comes back in %v, later than the expiry", result.RequeueAfter)
	}
	b.clock.Step(30 * time.Minute)
	b.reconcile("emea", "fr")
	if diff := cmp.Diff(map[string]string{"secret": "secret2"}, b.rendered("fr-plugin")); diff != "" {
		t.Errorf("after its expiry (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(template, b.templateOf("emea-agent")); diff != "" {
		t.Errorf("the pod template changed, which restarts the agent:\n%s", diff)
	}
}

func TestSharedSecretMissingOrFragile(t *testing.T) {
	t.Parallel()
	b := pairedBench(t)
	b.events.take()
	b.apply(shared(`"a<b %c"`))
	b.reconcile("emea", "fr")
	b.wantEvents("Warning SecretFragile ChildStore/fr: the key secret of Secret fr-plugin holds a blank, one of <")
	b.wantChild("fr", "SecretsAvailable=True/SecretFragile", "Ready=True/Ready")
	if m := b.message(v1alpha1.KindChildStore, "fr", "SecretsAvailable"); !strings.Contains(m, "the key secret of Secret fr-plugin") || strings.Contains(m, "a<b") {
		t.Errorf("message %q", m)
	}
	// An end of line from an editor is no blank.
	b.apply(shared(`"plain\n"`))
	b.reconcile("emea", "fr")
	b.wantChild("fr", "SecretsAvailable=True/SecretsFound")
	b.delete(b.parse(shared("")))
	b.reconcile("emea", "fr")
	b.wantChild("fr", "SecretsAvailable=False/SecretNotFound", "Ready=False/SecretNotFound", "Stalled=True/SecretNotFound")
	b.apply(strings.ReplaceAll(shared("x"), "{secret:", "{password:"))
	b.reconcile("emea", "fr")
	b.wantChild("fr", "SecretsAvailable=False/SecretKeyMissing", "Ready=False/SecretKeyMissing")
}

// TestMisfitsAreNotAccepted: what is valid alone and does not fit the topology stays in the agent's configuration, so
// that the last good one goes on, and is told (K27).
func TestMisfitsAreNotAccepted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.apply(join(keysOf("fr"), token, links, erp, fr))
	b.reconcile("emea", "fr")
	b.wantChild("fr", "Accepted=False/TopologyMismatch", "Ready=False/TopologyMismatch", "Stalled=True/TopologyMismatch")
	if m := b.message(v1alpha1.KindChildStore, "fr", "Accepted"); !strings.Contains(m, "spec.katana: must be given, with `locationID`") {
		t.Errorf("message %q", m)
	}
	if !strings.Contains(b.configFile("emea"), "fr.example.com") {
		t.Error("the child left the agent's configuration: the agent would take it for removed")
	}
	b.apply(located)
	b.reconcile("emea", "fr")
	b.wantChild("fr", "Accepted=True/Accepted")

	// Katana's location where the master is a shop; a plugin that could not reach its master.
	b = newBench(t)
	b.apply(join(keysOf("hq"), keysOf("fr"), keysOf("it"), shared("x"), links, emea, located, strings.ReplaceAll(paired, "fr", "it")))
	b.reconcile("emea", "fr", "it")
	b.wantChild("fr", "Accepted=False/TopologyMismatch", "Ready=False/TopologyMismatch")
	b.wantChild("it", "Accepted=False/TopologyMismatch", "Ready=False/TopologyMismatch")
	b.wantTopology("emea", "Accepted=True/Accepted")
}

// TestKatanaTopology: the token and the link table reach the agent, and what it says of the account stands in status.
func TestKatanaTopology(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.apply(join(keysOf("fr"), erp, located))
	b.reconcile("emea", "fr")
	b.wantTopology("emea", "SecretsAvailable=False/SecretNotFound", "Ready=False/SecretNotFound")
	b.wantChild("fr", "SecretsAvailable=False/ConfigMapNotFound", "Ready=False/ConfigMapNotFound", "Stalled=True/ConfigMapNotFound")
	b.apply(join(token, links))
	b.reconcile("emea", "fr")
	b.wantTopology("emea", "SecretsAvailable=True/SecretsFound")
	b.wantChild("fr", "SecretsAvailable=True/SecretsFound")
	if file := b.configFile("emea"); !strings.Contains(file, "kind: ConfigMap") || !strings.Contains(file, `"2101": "345"`) || b.rendered("katana")["token"] != "abc123" {
		t.Errorf("the agent's configuration is\n%s", file)
	}
	b.apply(strings.ReplaceAll(links, "345", "678"))
	b.reconcile("emea", "fr")
	if file := b.configFile("emea"); !strings.Contains(file, `"2101": "678"`) {
		t.Errorf("a changed link does not reach the agent:\n%s", file)
	}

	report := b.healthy("emea", "erp", "fr")
	report.Source = &agentapi.SourceStatus{Plan: "of 60 requests a minute 2 poll", RequestsPerMinute: 60, Items: 10000, OpenOrders: 12, CommittedElsewhere: 3, NotImported: 1}
	report.Stores[1].Sourced = &agentapi.SourcedStatus{LocationName: "Lyon", Matched: 9990, Skipped: 10,
		SkippedItems: []agentapi.SkippedItem{{Item: "7", SKU: "A-7", Message: "the shop has no item with this SKU"}}}
	b.agentSays("emea", report)
	b.reconcile("emea", "fr")
	topology := &v1alpha1.StockSyncTopology{}
	b.must(b.admin.Get(t.Context(), b.key("emea"), topology))
	if k := topology.Status.Katana; k == nil || k.Plan != report.Source.Plan || *k.RequestsPerMinute != 60 || *k.Items != 10000 || *k.NotImported != 1 || topology.Status.Master.Driver != "katana" {
		t.Errorf("status.katana %+v, driver %s", k, topology.Status.Master.Driver)
	}
	if k := b.childStatus("fr").Katana; k == nil || k.LocationName != "Lyon" || *k.Skipped != 10 || len(k.SkippedItems) != 1 || k.SkippedItems[0].SKU != "A-7" {
		t.Errorf("status.katana %+v", k)
	}
	// The same again: nothing is written.
	b.agentSays("emea", report)
	b.log.take()
	b.once("emea", "fr")
	if writes := b.log.take(); len(writes) > 0 {
		t.Errorf("a settled topology was written: %v", writes)
	}

	// A deleted location is the shop's, and needs a person.
	report.Stores[1].Connected = agentapi.Condition{Status: "False", Reason: v1alpha1.ReasonLocationGone, Message: "location 4711 was deleted"}
	b.agentSays("emea", report)
	b.reconcile("emea", "fr")
	b.wantChild("fr", "Connected=False/LocationGone", "Ready=False/LocationGone", "Stalled=True/LocationGone")
	b.wantTopology("emea", "Ready=True/Ready")
}

// TestPingsAloneWriteNothing: a plugin is pinged every quarter of an hour for ever; its status is written when something
// is new, and with the heartbeat.
func TestPingsAloneWriteNothing(t *testing.T) {
	t.Parallel()
	b := pairedBench(t)
	b.log.take()
	b.clock.Step(2 * time.Minute)
	b.agentSays("emea", b.plugged())
	b.once("emea", "fr")
	if writes := b.log.take(); len(writes) > 0 {
		t.Errorf("a ping alone wrote %v", writes)
	}
	report := b.plugged()
	report.Stores[1].Plugin.Connection = agentapi.ConnectionStale
	b.agentSays("emea", report)
	b.once("emea", "fr")
	if k := b.childStatus("fr").Kitgenix; k.Connection != "stale" {
		t.Errorf("connection %q, want what the agent says", k.Connection)
	}
}

package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/render"
)

func TestTopologyGetsItsObjectsAndThenSettles(t *testing.T) {
	t.Parallel()
	b := running(t)
	names := render.NamesOf("emea")
	for _, object := range []client.Object{
		named(&appsv1.StatefulSet{}, names.Workload), named(&corev1.ServiceAccount{}, names.Workload),
		named(&networkingv1.NetworkPolicy{}, names.Workload), named(&corev1.Service{}, names.PublicService),
		named(&corev1.Service{}, names.PrivateService), named(&corev1.Service{}, names.MetricsService),
		named(&corev1.Secret{}, names.ConfigSecret), named(&corev1.Secret{}, names.LedgerSecret), named(&corev1.Secret{}, names.PrivateSecret),
		named(&corev1.Secret{}, names.ToolsReadSecret), named(&corev1.Secret{}, names.ToolsWriteSecret),
		named(&rbacv1.Role{}, names.ToolsReadRole), named(&rbacv1.Role{}, names.ToolsRole), named(&networkingv1.NetworkPolicy{}, names.ToolsPolicy),
	} {
		if err := b.admin.Get(t.Context(), b.key(object.GetName()), object); err != nil {
			t.Errorf("%T: %v", object, err)
			continue
		}
		owner := metav1.GetControllerOf(object)
		if keeps := object.GetName() == names.LedgerSecret; keeps != (owner == nil) {
			t.Errorf("%T %s: controller %v", object, object.GetName(), owner)
		}
		if len(object.GetFinalizers()) > 0 {
			t.Errorf("%T has finalizers %v", object, object.GetFinalizers())
		}
		for _, entry := range object.GetManagedFields() {
			if entry.Manager != FieldOwner {
				t.Errorf("%T is also managed by %s", object, entry.Manager)
			}
		}
	}
	b.wantTopology("emea", "Ready=True/Ready", "Accepted=True/Accepted", "SecretsAvailable=True/SecretsFound",
		"AgentAvailable=True/AgentReady", "Connected=True/Connected", "HintsAvailable=False/PollingOnly", "InSync=True/InSync",
		"Reconciling=", "Stalled=", "Paused=")
	b.wantChild("fr", "Ready=True/Ready", "Accepted=True/Accepted", "SecretsAvailable=True/SecretsFound",
		"AgentAvailable=True/AgentReady", "Connected=True/Connected", "HintsAvailable=False/PollingOnly", "InSync=True/InSync",
		"Reconciling=", "Stalled=", "Paused=")

	topology := &v1alpha1.StockSyncTopology{}
	b.must(b.admin.Get(t.Context(), b.key("emea"), topology))
	if c := topology.Status.Children; c == nil || c.ReadySummary != "1/1" || c.InSyncSummary != "1/1" {
		t.Errorf("children %+v, want 1/1 ready and in sync", c)
	}
	if topology.Status.LastHeartbeatTime == nil || topology.Status.AgentVersion != "1.0.0" || topology.Status.ObservedGeneration != topology.Generation {
		t.Errorf("status %+v", topology.Status)
	}
	child := &v1alpha1.ChildStore{}
	b.must(b.admin.Get(t.Context(), b.key("fr"), child))
	if child.Status.StoreID != "fr" || child.Status.Driver != "woocommerce" || child.Status.Versions != "WooCommerce 9.9.5, WordPress 6.8" || child.Status.LastSeenTime == nil {
		t.Errorf("status %+v", child.Status)
	}

	// Settled: reconciling writes nothing, whatever time passes within a heartbeat.
	b.log.take()
	for range 3 {
		b.clock.Step(time.Minute)
		b.agentSays("emea", b.healthy("emea", "hq", "fr"))
		b.once("emea", "fr")
	}
	if writes := b.log.take(); len(writes) > 0 {
		t.Errorf("a settled topology was written: %v", writes)
	}
	b.clock.Step(3 * time.Minute)
	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.once("emea", "fr")
	if writes := b.log.take(); len(writes) != 2 || !strings.HasSuffix(writes[0], "/status") || !strings.HasSuffix(writes[1], "/status") {
		t.Errorf("the heartbeat wrote %v, want both statuses", writes)
	}
}

func named[T client.Object](object T, name string) T {
	object.SetName(name)
	return object
}

// TestAgentPodIsRestricted creates the pod where the API server enforces the restricted profile.
func TestAgentPodIsRestricted(t *testing.T) {
	t.Parallel()
	b := running(t)
	if err := b.admin.Create(t.Context(), b.pod(), client.DryRunAll); err != nil {
		t.Errorf("refused under the restricted profile: %v", err)
	}
	// The profile is enforced: a pod without its settings is refused.
	loose := b.pod()
	loose.Spec.SecurityContext = nil
	if err := b.admin.Create(t.Context(), loose, client.DryRunAll); !apierrors.IsForbidden(err) {
		t.Errorf("a pod outside the profile got %v, want it forbidden", err)
	}
}

// pod is the agent's pod as the StatefulSet controller would make it.
func (b *bench) pod() *corev1.Pod {
	b.Helper()
	set := &appsv1.StatefulSet{}
	b.must(b.admin.Get(b.Context(), b.key("emea-agent"), set))
	pod := &corev1.Pod{ObjectMeta: *set.Spec.Template.ObjectMeta.DeepCopy(), Spec: *set.Spec.Template.Spec.DeepCopy()}
	pod.Namespace, pod.Name = b.namespace, "emea-agent-0"
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-emea-agent-0"}}})
	return pod
}

func TestChangesReachTheRunningAgent(t *testing.T) {
	t.Parallel()
	b := running(t)
	b.must(b.admin.Create(t.Context(), b.pod()))
	template := b.templateOf("emea-agent")

	for _, change := range []struct {
		name, manifest, now, notNow string
	}{
		{"rotated Secret", strings.ReplaceAll(keysOf("fr"), "ck_fr", "ck_new"), "Y2tfbmV3", "Y2tfZnI="},
		{"exclusion", emea + "\n  exclusions: {skus: [GIFT-CARD]}", "GIFT-CARD", "\x00"},
		{"child", strings.ReplaceAll(fr, "fr.example.com", "new.example.com"), "new.example.com", "fr.example.com"},
	} {
		before := b.annotation()
		b.apply(change.manifest)
		b.once("emea", "fr")
		file := b.configFile("emea")
		if !strings.Contains(file, change.now) || strings.Contains(file, change.notNow) {
			t.Errorf("%s: the agent's configuration is\n%s", change.name, file)
		}
		if strings.Contains(file, "do-not-copy") || strings.Contains(file, "ZG8tbm90LWNvcHk=") {
			t.Errorf("%s: a key nobody named was copied", change.name)
		}
		first := b.annotation()
		if first == before {
			t.Errorf("%s: the pod was not touched, so the kubelet takes a minute to notice", change.name)
		}
		// The kubelet looked too early: the agent still reports the old revision.
		b.once("emea", "fr")
		if b.annotation() != first {
			t.Errorf("%s: the pod is touched again without waiting", change.name)
		}
		b.clock.Step(bumpAgain + time.Second)
		b.once("emea", "fr")
		if b.annotation() == first {
			t.Errorf("%s: an agent that missed the change is not helped", change.name)
		}
		b.agentSays("emea", b.healthy("emea", "hq", "fr"))
		b.reconcile("emea", "fr")
		last := b.annotation()
		b.clock.Step(time.Hour)
		b.once("emea", "fr")
		if b.annotation() != last {
			t.Errorf("%s: the pod is touched although the agent has caught up", change.name)
		}
	}
	if diff := cmp.Diff(template, b.templateOf("emea-agent")); diff != "" {
		t.Errorf("the pod template changed, which restarts the agent:\n%s", diff)
	}
}

func (b *bench) annotation() string {
	b.Helper()
	pod := &corev1.Pod{}
	b.must(b.admin.Get(b.Context(), b.key("emea-agent-0"), pod))
	return pod.Annotations[v1alpha1.AnnotationConfigRevision]
}

func (b *bench) templateOf(name string) corev1.PodTemplateSpec {
	b.Helper()
	set := &appsv1.StatefulSet{}
	b.must(b.admin.Get(b.Context(), b.key(name), set))
	return set.Spec.Template
}

func TestStatusSpeaksOfTheSpecTheAgentRunsWith(t *testing.T) {
	t.Parallel()
	b := running(t)
	b.apply(fr + "\n  allocation: {bufferUnits: 3}")
	b.once("emea", "fr")
	child := &v1alpha1.ChildStore{}
	b.must(b.admin.Get(t.Context(), b.key("fr"), child))
	if child.Generation != 2 || child.Status.ObservedGeneration != 1 {
		t.Errorf("observed generation %d of %d before the agent has read the change, want 1 of 2", child.Status.ObservedGeneration, child.Generation)
	}
	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.reconcile("emea", "fr")
	b.must(b.admin.Get(t.Context(), b.key("fr"), child))
	if child.Status.ObservedGeneration != 2 {
		t.Errorf("observed generation %d once the agent runs with it, want 2", child.Status.ObservedGeneration)
	}
}

func TestNewOperatorVersionRestartsNoAgent(t *testing.T) {
	t.Parallel()
	b := running(t)
	set := &appsv1.StatefulSet{}
	b.must(b.admin.Get(t.Context(), b.key("emea-agent"), set))
	// As if an older operator had written the template in its own way.
	patch := `{"metadata":{"annotations":{"stocksync.dev/template-hash-version":"0"}},"spec":{"template":{"spec":{"terminationGracePeriodSeconds":77}}}}`
	b.must(b.admin.Patch(t.Context(), set, client.RawPatch(types.MergePatchType, []byte(patch))))
	b.restart()
	b.reconcile("emea", "fr")
	if got := b.templateOf("emea-agent").Spec.TerminationGracePeriodSeconds; *got != 77 {
		t.Errorf("the template of another operator version was rewritten (%d)", *got)
	}
	b.topology.operator.AgentImage = "agent:2"
	b.reconcile("emea", "fr")
	template := b.templateOf("emea-agent")
	if template.Spec.Containers[0].Image != "agent:2" || *template.Spec.TerminationGracePeriodSeconds == 77 {
		t.Errorf("a new image must bring the new template: image %s", template.Spec.Containers[0].Image)
	}
}

func TestNewImageRollsAFewAtATime(t *testing.T) {
	t.Parallel()
	r, now := newRollouts(), time.Unix(1000, 0)
	key := func(i int) types.NamespacedName { return types.NamespacedName{Name: fmt.Sprint(i)} }
	for i := range rollAtOnce {
		if !r.admit(key(i), now) {
			t.Fatalf("agent %d has to wait", i)
		}
	}
	if r.admit(key(rollAtOnce), now) {
		t.Error("all agents are replaced at once")
	}
	if !r.admit(key(0), now) {
		t.Error("one that is on its way is held up")
	}
	r.done(key(0), now.Add(-time.Minute))
	if r.admit(key(rollAtOnce), now) {
		t.Error("the old process of an agent was taken for the new one")
	}
	r.done(key(0), now.Add(time.Second))
	if !r.admit(key(rollAtOnce), now) {
		t.Error("a place that became free stays empty")
	}
	if !r.admit(key(99), now.Add(rollPatience)) {
		t.Error("agents that never come back hold up the others for good")
	}
}

func TestDriftIsUndone(t *testing.T) {
	t.Parallel()
	b := running(t)
	service := &corev1.Service{}
	b.must(b.admin.Get(t.Context(), b.key("emea-agent-public"), service))
	b.must(b.admin.Patch(t.Context(), service, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"selector":{"stocksync.dev/topology":"other"}}}`))))
	b.delete(named(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace}}, "emea-agent"))
	b.reconcile("emea")
	b.must(b.admin.Get(t.Context(), b.key("emea-agent-public"), service))
	if service.Spec.Selector[v1alpha1.LabelTopology] != "emea" {
		t.Errorf("selector %v", service.Spec.Selector)
	}
	b.must(b.admin.Get(t.Context(), b.key("emea-agent"), &corev1.ServiceAccount{}))
}

func TestIngressComesAndGoes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.apply(join(keysOf("hq"), emea+"\n  publicURL: https://sync.example.com\n  agent: {exposure: {ingress: {className: nginx}}}"))
	b.reconcile("emea")
	ingress := &networkingv1.Ingress{}
	b.must(b.admin.Get(t.Context(), b.key("emea-agent"), ingress))
	if ingress.Spec.Rules[0].Host != "sync.example.com" {
		t.Errorf("host %s", ingress.Spec.Rules[0].Host)
	}
	b.apply(emea + "\n  publicURL: https://sync.example.com")
	b.reconcile("emea")
	if err := b.admin.Get(t.Context(), b.key("emea-agent"), ingress); !apierrors.IsNotFound(err) {
		t.Errorf("the Ingress is still there (%v)", err)
	}
}

func TestWhatIsSomeoneElsesIsLeftAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.apply(join(keysOf("hq"), emea, `
apiVersion: v1
kind: Service
metadata: {name: emea-agent-public}
spec: {ports: [{port: 1234}]}`))
	b.reconcile("emea")
	service := &corev1.Service{}
	b.must(b.admin.Get(t.Context(), b.key("emea-agent-public"), service))
	if service.Spec.Ports[0].Port != 1234 || len(service.OwnerReferences) > 0 {
		t.Error("the operator took over a Service of the user")
	}
	b.wantTopology("emea", "AgentAvailable=False/ResourceRefused", "Ready=False/ResourceRefused", "Stalled=True/ResourceRefused")
	if m := b.message(v1alpha1.KindStockSyncTopology, "emea", "AgentAvailable"); !strings.Contains(m, "Service emea-agent-public exists and does not belong to this topology") {
		t.Errorf("message %q", m)
	}
}

// failingReader is an API server that answers nothing.
type failingReader struct{ client.Reader }

func (failingReader) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return apierrors.NewInternalError(errors.New("the range is full"))
}

// What is tried again and again tells why the agent does not start.
func TestWhatKeepsFailingIsReported(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.apply(join(keysOf("hq"), emea))
	live := b.topology.live
	b.topology.live = failingReader{live}
	if _, err := b.topology.Reconcile(t.Context(), ctrl.Request{NamespacedName: b.key("emea")}); err == nil {
		t.Error("a failure is no error, so it would not be tried again")
	}
	said := func() string { return b.message(v1alpha1.KindStockSyncTopology, "emea", "AgentAvailable") }
	if m := said(); !strings.Contains(m, "emea-agent-ledger") || !strings.Contains(m, "the range is full") {
		t.Errorf("message %q", m)
	}
	b.topology.live = live
	b.clock.Step(2 * time.Minute)
	b.reconcile("emea")
	if m := said(); strings.Contains(m, "the range is full") {
		t.Errorf("message %q", m)
	}
}

func TestRefusalByKubernetesIsReported(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.apply(join(keysOf("hq"), emea+"\n  agent: {resources: {requests: {memory: 2Gi}, limits: {memory: 1Gi}}}"))
	b.once("emea")
	b.wantTopology("emea", "AgentAvailable=False/ResourceRefused", "Stalled=True/ResourceRefused")
	if m := b.message(v1alpha1.KindStockSyncTopology, "emea", "AgentAvailable"); !strings.Contains(m, "must be less than or equal to memory limit") {
		t.Errorf("message %q", m)
	}
}

func TestLedgerOutlivesItsTopology(t *testing.T) {
	t.Parallel()
	b := running(t)
	id := b.secret("emea-agent-ledger").Data[agentapi.LedgerIDFile]
	if len(id) != 32 {
		t.Fatalf("ledger id %q", id)
	}
	b.delete(b.parse(emea))
	b.once("emea", "fr")
	b.wantChild("fr", "Accepted=False/TopologyNotFound")

	// The garbage collector does not run here: do its work on what is owned.
	b.collect("emea")
	b.apply(emea)
	b.reconcile("emea", "fr")
	if again := b.secret("emea-agent-ledger").Data[agentapi.LedgerIDFile]; string(again) != string(id) {
		t.Errorf("a topology of the same name got the ledger id %s, want %s of the one before", again, id)
	}
	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.reconcile("emea", "fr")
	b.wantChild("fr", "Ready=True/Ready")
}

// collect deletes what a topology owned.
func (b *bench) collect(topology string) {
	b.Helper()
	names := render.NamesOf(topology)
	for _, object := range []client.Object{
		named(&appsv1.StatefulSet{}, names.Workload), named(&corev1.ServiceAccount{}, names.Workload),
		named(&networkingv1.NetworkPolicy{}, names.Workload), named(&corev1.Service{}, names.PublicService),
		named(&corev1.Service{}, names.PrivateService), named(&corev1.Service{}, names.MetricsService),
		named(&corev1.Secret{}, names.ConfigSecret), named(&corev1.Secret{}, names.PrivateSecret),
		named(&corev1.Secret{}, names.ToolsReadSecret), named(&corev1.Secret{}, names.ToolsWriteSecret),
		named(&rbacv1.Role{}, names.ToolsReadRole), named(&rbacv1.Role{}, names.ToolsRole), named(&networkingv1.NetworkPolicy{}, names.ToolsPolicy),
	} {
		object.SetNamespace(b.namespace)
		b.delete(object)
	}
}

func TestLedgerGoesWithItsTopologyWhenAskedTo(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.apply(join(keysOf("hq"), emea+"\n  agent: {storage: {retentionPolicy: Delete}}"))
	b.reconcile("emea")
	if metav1.GetControllerOf(b.secret("emea-agent-ledger")) == nil {
		t.Error("the ledger's Secret has no owner, so it would stay")
	}
	set := &appsv1.StatefulSet{}
	b.must(b.admin.Get(t.Context(), b.key("emea-agent"), set))
	if set.Spec.PersistentVolumeClaimRetentionPolicy.WhenDeleted != appsv1.DeletePersistentVolumeClaimRetentionPolicyType {
		t.Error("the ledger's volume would stay")
	}
}

func TestBrokenLedgerIDIsNotReplaced(t *testing.T) {
	t.Parallel()
	b := running(t)
	secret := b.secret("emea-agent-ledger")
	b.must(b.admin.Patch(t.Context(), secret, client.RawPatch(types.MergePatchType, []byte(`{"data":{"id":"eA=="}}`))))
	b.reconcile("emea")
	b.wantTopology("emea", "AgentAvailable=False/ResourceRefused")
	if got := b.secret("emea-agent-ledger").Data[agentapi.LedgerIDFile]; string(got) != "x" {
		t.Errorf("the id was replaced by %s; every mark in the stores would be disowned", got)
	}
}

func TestPrivatePortIsRenewedAndItsTokenKept(t *testing.T) {
	t.Parallel()
	b := running(t)
	before := b.secret("emea-agent-private").Data
	b.clock.Step(61 * 24 * time.Hour)
	b.once("emea")
	after := b.secret("emea-agent-private").Data
	if string(before[agentapi.TLSCertFile]) == string(after[agentapi.TLSCertFile]) {
		t.Error("29 days before it expires the certificate is still the old one")
	}
	if string(before[agentapi.TokenFile]) != string(after[agentapi.TokenFile]) {
		t.Error("the token changed")
	}
	if !contains(after[agentapi.CAFile], string(before[agentapi.TLSCertFile])) {
		t.Error("the operator would not trust the agent until it has read the new certificate")
	}
	b.log.take()
	b.once("emea")
	for _, write := range b.log.take() {
		if strings.Contains(write, "secrets") {
			t.Errorf("the certificate is renewed over and over: %s", write)
		}
	}
}

func TestTooLargeConfigurationLeavesTheOneBefore(t *testing.T) {
	t.Parallel()
	b := running(t)
	before := b.configFile("emea")
	b.apply(`
apiVersion: v1
kind: Secret
metadata: {name: ca}
stringData: {ca.crt: "` + strings.Repeat("x", 900_000) + `"}`)
	b.apply(join(keysOf("it"), strings.ReplaceAll(it(), "{name: it-rest}", "{name: it-rest}, caBundleSecretKeyRef: {name: ca, key: ca.crt}")))
	b.once("emea", "fr", "it")
	b.once("emea", "fr", "it")
	if b.configFile("emea") != before {
		t.Error("the configuration before was overwritten")
	}
	b.wantTopology("emea", "Accepted=False/ConfigurationTooLarge", "Ready=False/ConfigurationTooLarge", "Stalled=True/ConfigurationTooLarge", "AgentAvailable=True/AgentReady")
	b.wantChild("it", "Accepted=False/ConfigurationTooLarge", "Ready=False/ConfigurationTooLarge")
	b.wantChild("fr", "Accepted=True/Accepted", "Ready=True/Ready")
	if m := b.message(v1alpha1.KindStockSyncTopology, "emea", "Accepted"); !strings.Contains(m, "must take at most 1047552") {
		t.Errorf("message %q", m)
	}
	b.delete(b.parse(it()))
	b.once("emea", "fr")
	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.reconcile("emea", "fr")
	b.wantTopology("emea", "Accepted=True/Accepted", "Ready=True/Ready", "Stalled=")
}

func TestAgentThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	b := running(t)
	for range 2 {
		b.clock.Step(15 * time.Second)
		b.agentSays("emea", nil)
	}
	b.reconcile("emea", "fr")
	b.wantChild("fr", "Ready=True/Ready")
	b.clock.Step(15 * time.Second)
	b.agentSays("emea", nil)
	b.reconcile("emea", "fr")
	b.wantChild("fr", "Ready=Unknown/AgentUnreachable", "AgentAvailable=False/AgentUnreachable", "Connected=Unknown/AgentUnreachable",
		"HintsAvailable=Unknown/AgentUnreachable", "InSync=Unknown/AgentUnreachable", "Accepted=True/Accepted", "SecretsAvailable=True/SecretsFound")
	b.wantTopology("emea", "Ready=False/AgentUnreachable", "AgentAvailable=False/AgentUnreachable", "Connected=Unknown/AgentUnreachable")

	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.reconcile("emea", "fr")
	b.wantChild("fr", "Ready=True/Ready", "Connected=True/Connected")
	b.wantTopology("emea", "Ready=True/Ready")
}

func TestOperatorRestartKeepsWhatIsKnownUntilItHasAsked(t *testing.T) {
	t.Parallel()
	b := running(t)
	before := b.versions()
	b.restart()
	b.log.take()
	b.once("emea", "fr")
	b.clock.Step(time.Minute)
	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.once("emea", "fr")
	if writes := b.log.take(); len(writes) > 0 {
		t.Errorf("a restart alone wrote %v", writes)
	}
	if diff := cmp.Diff(before, b.versions()); diff != "" {
		t.Errorf("a restart alone changed objects (-before +after):\n%s", diff)
	}
	b.clock.Step(testPace.Heartbeat)
	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.once("emea", "fr")
	if writes := b.log.take(); len(writes) != 2 {
		t.Errorf("after the restart the heartbeat of topology and store is %v", writes)
	}
	b.wantChild("fr", "Ready=True/Ready", "InSync=True/InSync")
	for range 3 {
		b.clock.Step(16 * time.Second)
		b.agentSays("emea", nil)
	}
	b.reconcile("emea", "fr")
	b.wantChild("fr", "Ready=Unknown/AgentUnreachable", "InSync=Unknown/AgentUnreachable")
}

// versions are the resourceVersions of everything in the namespace that could be ours.
func (b *bench) versions() map[string]string {
	b.Helper()
	versions := map[string]string{}
	for kind, group := range map[string]string{
		"Secret": "v1", "Service": "v1", "ServiceAccount": "v1", "StatefulSet": "apps/v1",
		"NetworkPolicy": "networking.k8s.io/v1", "Role": "rbac.authorization.k8s.io/v1", "CronJob": "batch/v1", "StockSyncTopology": "stocksync.dev/v1alpha1", "ChildStore": "stocksync.dev/v1alpha1",
	} {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(schema.FromAPIVersionAndKind(group, kind+"List"))
		b.must(b.admin.List(b.Context(), list, client.InNamespace(b.namespace)))
		for _, item := range list.Items {
			versions[kind+" "+item.Name] = item.ResourceVersion
		}
	}
	return versions
}

func TestAgentThatHasNotStartedYet(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.apply(join(keysOf("hq"), keysOf("fr"), emea, fr))
	b.reconcile("emea", "fr")
	b.wantTopology("emea", "AgentAvailable=Unknown/AgentStarting", "Ready=Unknown/AgentStarting", "Reconciling=True/AgentStarting", "Stalled=")
	b.wantChild("fr", "AgentAvailable=Unknown/AgentStarting", "Ready=Unknown/AgentStarting", "Connected=Unknown/Pending", "Reconciling=True/AgentStarting")

	pod := b.pod()
	b.must(b.admin.Create(t.Context(), pod))
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "agent", Image: "agent:1",
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "back-off 10s"}}}}
	b.must(b.admin.Status().Update(t.Context(), pod))
	b.clock.Step(2 * time.Minute)
	b.reconcile("emea", "fr")
	if m := b.message(v1alpha1.KindStockSyncTopology, "emea", "AgentAvailable"); !strings.Contains(m, "its pod waits: ImagePullBackOff, image agent:1") {
		t.Errorf("message %q", m)
	}
}

func TestUnwantedConfigurationOfTheAgentIsReported(t *testing.T) {
	t.Parallel()
	b := running(t)
	report := b.healthy("emea", "hq", "fr")
	report.ConfigError = "line 3: unknown field"
	b.agentSays("emea", report)
	b.reconcile("emea", "fr")
	b.wantTopology("emea", "Accepted=False/InvalidConfiguration", "Stalled=True/InvalidConfiguration")
}

// TestNothingHangs deletes in every order; no object of ours may hold up another.
func TestNothingHangs(t *testing.T) {
	t.Parallel()
	objects := map[string]string{"topology": emea, "child": fr, "secret": keysOf("hq")}
	for _, order := range [][]string{{"topology", "child", "secret"}, {"secret", "child", "topology"}, {"child", "topology", "secret"}} {
		t.Run(strings.Join(order, " "), func(t *testing.T) {
			t.Parallel()
			b := running(t)
			for _, name := range order {
				object := b.parse(objects[name])
				b.delete(object)
				if err := b.admin.Get(t.Context(), client.ObjectKeyFromObject(object), object); !apierrors.IsNotFound(err) {
					t.Errorf("%s is still there after its deletion (%v): %v", name, err, object.GetFinalizers())
				}
				b.once("emea", "fr")
			}
		})
	}
	t.Run("namespace", func(t *testing.T) {
		t.Parallel()
		b := running(t)
		b.delete(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.namespace}})
		// Its content goes in any order; ours must neither be made again nor raise an error.
		b.collect("emea")
		b.once("emea", "fr")
		err := b.admin.Get(t.Context(), b.key("emea-agent"), &appsv1.StatefulSet{})
		if !apierrors.IsNotFound(err) {
			t.Errorf("made again in a namespace that is going: %v", err)
		}
	})
}

func TestMissingObjectIsNoError(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if _, err := b.topology.Reconcile(t.Context(), ctrl.Request{NamespacedName: b.key("gone")}); err != nil {
		t.Error(err)
	}
	if _, err := b.child.Reconcile(t.Context(), ctrl.Request{NamespacedName: b.key("gone")}); err != nil {
		t.Error(err)
	}
}

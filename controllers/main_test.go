package controllers

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	testingclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/apitest"
	"stocksync.dev/stocksync/internal/render"
)

// serverConfig is an administrator's access to a real API server.
var serverConfig *rest.Config

func TestMain(m *testing.M) {
	logf.SetLogger(logf.Log.WithSink(nil))
	os.Exit(apitest.Main(m, func(cfg *rest.Config) { serverConfig = cfg }))
}

// requests counts what is asked of the API server.
type requestLog struct {
	mu     sync.Mutex
	writes []string
}

func (l *requestLog) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodGet {
			l.mu.Lock()
			l.writes = append(l.writes, r.Method+" "+r.URL.Path)
			l.mu.Unlock()
		}
		return next.RoundTrip(r)
	})
}

// take returns the writes since the last call.
func (l *requestLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	writes := l.writes
	l.writes = nil
	return writes
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// bench is a namespace of its own and both reconcilers, called by hand, so that every step is seen.
type bench struct {
	testing.TB
	namespace string
	admin     client.Client // the user's hands
	log       *requestLog   // the operator's
	clock     *testingclock.FakeClock
	topology  *topologyReconciler
	child     *childStoreReconciler
	agents    *Agents
	events    *eventLog
}

// eventLog keeps Events as "Type Reason Kind/name: note".
type eventLog struct {
	mu     sync.Mutex
	events []string
}

func (l *eventLog) Eventf(regarding, _ runtime.Object, eventtype, reason, action, note string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kind := v1alpha1.KindChildStore
	if _, topology := regarding.(*v1alpha1.StockSyncTopology); topology {
		kind = v1alpha1.KindStockSyncTopology
	}
	if action == "" {
		reason += " without action"
	}
	l.events = append(l.events, fmt.Sprintf("%s %s %s/%s: %s", eventtype, reason, kind, regarding.(client.Object).GetName(), fmt.Sprintf(note, args...)))
}

// take returns the events since the last call.
func (l *eventLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	events := l.events
	l.events = nil
	return events
}

// wantEvents asserts that exactly these events were raised since the last call, each given by its beginning.
func (b *bench) wantEvents(wanted ...string) {
	b.Helper()
	got := b.events.take()
	if len(got) != len(wanted) {
		b.Errorf("events %q, want %q", got, wanted)
		return
	}
	for i := range got {
		if !strings.HasPrefix(got[i], wanted[i]) {
			b.Errorf("event %q, want %q", got[i], wanted[i])
		}
	}
}

var testPace = Pace{Busy: time.Minute, Heartbeat: 5 * time.Minute}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{TB: t, log: &requestLog{}, events: &eventLog{}, clock: testingclock.NewFakeClock(time.Now())}
	b.admin = b.newClient(nil)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Labels: map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted"}}}
	b.must(b.admin.Create(t.Context(), ns))
	b.namespace = ns.Name
	b.restart()
	return b
}

// restart is a new operator process: it remembers nothing.
func (b *bench) restart() {
	b.Helper()
	c := b.newClient(b.log.wrap)
	secrets, links := newSecretReader(c, c), newLinkReader(c, c)
	b.agents = NewAgents(nil, b.clock, DefaultReadInterval)
	b.topology = &topologyReconciler{
		client: c, live: c, operator: render.Operator{AgentImage: "agent:1", Namespace: "stocksync-system"},
		agents: b.agents, secrets: secrets, links: links, applier: newApplier(c, c), status: newStatusWriter(c, b.clock, testPace),
		events: b.events, rollouts: newRollouts(), clock: b.clock, random: rand.Reader, bumps: map[types.NamespacedName]bump{},
	}
	b.child = &childStoreReconciler{
		client: c, agents: b.agents, secrets: secrets, links: links, status: newStatusWriter(c, b.clock, testPace), events: b.events, clock: b.clock,
	}
}

func (b *bench) newClient(wrap func(http.RoundTripper) http.RoundTripper) client.Client {
	b.Helper()
	scheme, err := NewScheme()
	b.must(err)
	cfg := rest.CopyConfig(serverConfig)
	if wrap != nil {
		cfg.Wrap(wrap)
	}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	b.must(err)
	return c
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// apply is kubectl apply, in the bench's namespace.
func (b *bench) apply(manifests string) {
	b.Helper()
	for manifest := range strings.SplitSeq(manifests, "\n---\n") {
		object := b.parse(manifest)
		b.must(b.admin.Patch(b.Context(), object, client.RawPatch(types.ApplyPatchType, b.json(manifest)),
			client.FieldOwner("user"), client.ForceOwnership))
	}
}

func (b *bench) json(manifest string) []byte {
	b.Helper()
	text, err := yaml.YAMLToJSON([]byte(manifest))
	b.must(err)
	return text
}

func (b *bench) parse(manifest string) client.Object {
	b.Helper()
	var kind struct{ Kind string }
	b.must(yaml.Unmarshal([]byte(manifest), &kind))
	objects := map[string]client.Object{
		"StockSyncTopology": &v1alpha1.StockSyncTopology{}, "ChildStore": &v1alpha1.ChildStore{},
		"Secret": &corev1.Secret{}, "ConfigMap": &corev1.ConfigMap{}, "Service": &corev1.Service{}, "ResourceQuota": &corev1.ResourceQuota{},
	}
	object := objects[kind.Kind]
	b.must(yaml.Unmarshal([]byte(manifest), object))
	object.SetNamespace(b.namespace)
	return object
}

func (b *bench) delete(object client.Object) {
	b.Helper()
	b.must(b.admin.Delete(b.Context(), object))
}

func (b *bench) key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: b.namespace, Name: name}
}

// reconcile runs both reconcilers over the named objects until a round writes nothing, as the watches would.
func (b *bench) reconcile(topology string, children ...string) {
	b.Helper()
	for range 6 {
		b.log.take()
		b.once(topology, children...)
		if len(b.log.take()) == 0 {
			return
		}
	}
	b.once(topology, children...)
	b.Fatalf("the operator does not settle; it still writes %v", b.log.take())
}

func (b *bench) once(topology string, children ...string) {
	b.Helper()
	if topology != "" {
		_, err := b.topology.Reconcile(b.Context(), ctrl.Request{NamespacedName: b.key(topology)})
		b.must(err)
	}
	for _, child := range children {
		_, err := b.child.Reconcile(b.Context(), ctrl.Request{NamespacedName: b.key(child)})
		b.must(err)
	}
}

// agentSays lets the agent of a topology answer with this report, or fail when it is nil.
func (b *bench) agentSays(topology string, report *agentapi.Status) {
	b.Helper()
	b.agents.mu.Lock()
	defer b.agents.mu.Unlock()
	known := b.agents.agents[b.key(topology)]
	if known == nil {
		b.Fatalf("nobody asks the agent of %s", topology)
	}
	if report == nil {
		known.heard(agentapi.Status{}, errors.New("connection refused"), b.clock.Now(), b.agents.interval)
		return
	}
	known.heard(*report, nil, b.clock.Now(), b.agents.interval)
}

// healthy is what an agent says that runs with the newest configuration.
func (b *bench) healthy(topology string, stores ...string) *agentapi.Status {
	b.Helper()
	now := b.clock.Now()
	good := func(reason string) agentapi.Condition {
		return agentapi.Condition{Status: "True", Reason: reason, Since: now.Add(-time.Hour)}
	}
	report := &agentapi.Status{
		AgentVersion: "1.0.0", LedgerID: "0123", ConfigRevision: string(b.secret(topology + "-agent-config").Data[agentapi.RevisionFile]),
		StartedAt: now.Add(-time.Hour), Now: now, Pools: 300,
	}
	for i, store := range stores {
		report.Stores = append(report.Stores, agentapi.StoreStatus{
			StoreID: store, Master: i == 0, Mode: "Sync", Tier: "Polling",
			Accepted: good(v1alpha1.ReasonAccepted), Connected: good(v1alpha1.ReasonConnected),
			HintsAvailable: agentapi.Condition{Status: "False", Reason: v1alpha1.ReasonPollingOnly, Since: now.Add(-time.Hour)},
			InSync:         good(v1alpha1.ReasonInSync), LastSeenTime: &now,
			WooCommerceVersion: "9.9.5", WordPressVersion: "6.8",
		})
	}
	return report
}

func (b *bench) secret(name string) *corev1.Secret {
	b.Helper()
	secret := &corev1.Secret{}
	b.must(b.admin.Get(b.Context(), b.key(name), secret))
	return secret
}

func (b *bench) configFile(topology string) string {
	b.Helper()
	return string(b.secret(topology + "-agent-config").Data[agentapi.ConfigFile])
}

func (b *bench) conditionsOf(kind, name string) []metav1.Condition {
	b.Helper()
	if kind == v1alpha1.KindChildStore {
		child := &v1alpha1.ChildStore{}
		b.must(b.admin.Get(b.Context(), b.key(name), child))
		return child.Status.Conditions
	}
	topology := &v1alpha1.StockSyncTopology{}
	b.must(b.admin.Get(b.Context(), b.key(name), topology))
	return topology.Status.Conditions
}

// wantChild and wantTopology assert conditions written as "Type=Status/Reason"; "Type=" wants none.
func (b *bench) wantChild(name string, wanted ...string) {
	b.Helper()
	b.want(v1alpha1.KindChildStore, name, wanted)
}

func (b *bench) wantTopology(name string, wanted ...string) {
	b.Helper()
	b.want(v1alpha1.KindStockSyncTopology, name, wanted)
}

func (b *bench) want(kind, name string, wanted []string) {
	b.Helper()
	conditions := b.conditionsOf(kind, name)
	for _, w := range wanted {
		conditionType, want, _ := strings.Cut(w, "=")
		got := ""
		if c := meta.FindStatusCondition(conditions, conditionType); c != nil {
			got = fmt.Sprintf("%s/%s", c.Status, c.Reason)
			if c.Message == "" && c.Status != metav1.ConditionTrue && !strings.HasPrefix(got, "False/PollingOnly") {
				b.Errorf("%s %s: condition %s has no message", kind, name, conditionType)
			}
		}
		if got != want {
			b.Errorf("%s %s: condition %s is %q, want %q", kind, name, conditionType, got, want)
		}
	}
}

func (b *bench) message(kind, name, conditionType string) string {
	b.Helper()
	c := meta.FindStatusCondition(b.conditionsOf(kind, name), conditionType)
	if c == nil {
		b.Fatalf("%s %s has no condition %s", kind, name, conditionType)
	}
	return c.Message
}

const (
	emea = `
apiVersion: stocksync.dev/v1alpha1
kind: StockSyncTopology
metadata: {name: emea}
spec:
  mode: Sync
  master:
    storeID: hq
    woocommerce: {url: "https://hq.example.com", credentialsSecretRef: {name: hq-rest}}`
	fr = `
apiVersion: stocksync.dev/v1alpha1
kind: ChildStore
metadata: {name: fr}
spec:
  topologyRef: {name: emea}
  woocommerce: {url: "https://fr.example.com", credentialsSecretRef: {name: fr-rest}}`
	keys = `
apiVersion: v1
kind: Secret
metadata: {name: NAME-rest}
stringData: {consumerKey: ck_NAME, consumerSecret: cs_NAME, unrelated: do-not-copy}`
)

// it comes after fr by name, so that of two made in the same second fr is the older.
func it() string {
	return strings.ReplaceAll(strings.ReplaceAll(fr, "name: fr", "name: it"), "fr.", "it.")
}
func keysOf(n string) string { return strings.ReplaceAll(keys, "NAME", n) }

func join(manifests ...string) string { return strings.Join(manifests, "\n---\n") }

// running is a bench where hq and fr run and everything is well.
func running(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	b.apply(join(keysOf("hq"), keysOf("fr"), emea, fr))
	b.reconcile("emea", "fr")
	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.reconcile("emea", "fr")
	return b
}

func contains(haystack []byte, needle string) bool { return bytes.Contains(haystack, []byte(needle)) }

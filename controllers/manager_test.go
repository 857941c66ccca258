package controllers

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/apitest"
	"stocksync.dev/stocksync/internal/render"
)

const operatorUser = "system:serviceaccount:stocksync-system:stocksync-operator"

var operatorGroups = []string{"system:serviceaccounts", "system:serviceaccounts:stocksync-system", "system:authenticated"}

var applyRoles = sync.OnceValue(func() error {
	scheme, err := NewScheme()
	if err != nil {
		return err
	}
	admin, err := client.New(serverConfig, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	ctx := context.Background()
	err = admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "stocksync-system"}})
	if err != nil {
		return err
	}
	for _, file := range []string{"role.yaml", "role_binding.yaml", "leader_election_role.yaml", "metrics_roles.yaml", "user_roles.yaml"} {
		path, err := apitest.ModuleFile("config", "rbac", file)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(filepath.Clean(path))
		if err != nil {
			return err
		}
		for manifest := range strings.SplitSeq("\n"+string(content), "\n---\n") {
			if strings.TrimSpace(manifest) == "" {
				continue
			}
			var kind struct{ Kind string }
			if err := yaml.Unmarshal([]byte(manifest), &kind); err != nil {
				return err
			}
			object := map[string]client.Object{
				"ClusterRole": &rbacv1.ClusterRole{}, "ClusterRoleBinding": &rbacv1.ClusterRoleBinding{},
				"Role": &rbacv1.Role{}, "RoleBinding": &rbacv1.RoleBinding{},
			}[kind.Kind]
			if err := yaml.UnmarshalStrict([]byte(manifest), object); err != nil {
				return err
			}
			if err := admin.Create(ctx, object); err != nil {
				return err
			}
		}
	}
	return nil
})

// fakeAgents answers for every agent as a real one would that reads its configuration at once.
type fakeAgents struct {
	admin client.Client
	down  atomic.Bool
}

func (f *fakeAgents) ReadStatus(ctx context.Context, target AgentTarget) (agentapi.Status, error) {
	if f.down.Load() {
		return agentapi.Status{}, errors.New("connection refused")
	}
	service, rest, _ := strings.Cut(target.ServerName, ".")
	key := types.NamespacedName{Namespace: strings.TrimSuffix(rest, ".svc"), Name: strings.TrimSuffix(service, "-private") + "-config"}
	secret := &corev1.Secret{}
	if err := f.admin.Get(ctx, key, secret); err != nil {
		return agentapi.Status{}, err
	}
	report := agentapi.Status{ConfigRevision: string(secret.Data[agentapi.RevisionFile]), AgentVersion: "1.0.0", LedgerID: "x"}
	yes := agentapi.Condition{Status: "True", Reason: "Connected"}
	for document := range strings.SplitSeq(string(secret.Data[agentapi.ConfigFile]), "\n---\n") {
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(document), &meta); err != nil {
			return agentapi.Status{}, err
		}
		store := agentapi.StoreStatus{Mode: "Sync", Accepted: yes, Connected: yes, HintsAvailable: yes, InSync: yes}
		switch meta.Kind {
		case v1alpha1.KindStockSyncTopology:
			store.StoreID, store.Master = "hq", true
		case v1alpha1.KindChildStore:
			var child v1alpha1.ChildStore
			if err := yaml.Unmarshal([]byte(document), &child); err != nil {
				return agentapi.Status{}, err
			}
			store.StoreID = child.EffectiveStoreID()
		default:
			continue
		}
		report.Stores = append(report.Stores, store)
	}
	return report, nil
}

// secretLists counts lists and watches of Secrets that ask for more than metadata.
type secretLists struct{ full atomic.Int32 }

func (s *secretLists) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/secrets") && r.Method == http.MethodGet &&
			!strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadata") {
			s.full.Add(1)
		}
		return next.RoundTrip(r)
	})
}

// startManager runs the operator as it is installed: with the rights of its ServiceAccount and nothing more.
func startManager(b *bench, reader AgentReader, wrap func(http.RoundTripper) http.RoundTripper) {
	b.Helper()
	// The other tests share the server and have operators of their own.
	runManager(b, managed{namespaces: []string{b.namespace}, user: operatorUser, groups: operatorGroups, reader: reader, wrap: wrap})
}

// managed is an operator as runManager runs it.
type managed struct {
	namespaces []string
	user       string
	groups     []string
	reader     AgentReader
	wrap       func(http.RoundTripper) http.RoundTripper
	elect      bool
	// interval is the time between two reads of an agent; 300 ms where none is given.
	interval time.Duration
}

// runManager starts an operator. It stops with the test, or when told.
func runManager(b *bench, m managed) (mgr ctrl.Manager, stop func()) {
	b.Helper()
	b.must(applyRoles())
	cfg := rest.CopyConfig(serverConfig)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: m.user, Groups: m.groups}
	cfg.Wrap(m.wrap)
	scheme, err := NewScheme()
	b.must(err)
	options := ManagerOptions(scheme, m.namespaces)
	skip := true
	options.Metrics, options.Controller.SkipNameValidation = metricsserver.Options{BindAddress: "0"}, &skip
	options.LeaderElection, options.LeaderElectionNamespace = m.elect, "stocksync-system"
	mgr, err = ctrl.NewManager(cfg, options)
	b.must(err)
	ctx, cancel := context.WithCancel(b.Context())
	b.must(Setup(ctx, mgr, Options{
		Operator: render.Operator{AgentImage: "agent:1", Namespace: "stocksync-system"},
		Agents:   NewAgents(m.reader, clock.RealClock{}, cmp.Or(m.interval, 300*time.Millisecond)),
		Pace:     Pace{Busy: time.Second, Heartbeat: time.Hour}, Clock: clock.RealClock{}, Concurrency: 4,
	}))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.Errorf("the manager ended with %v", err)
		}
	})
	b.Cleanup(stop)
	return mgr, stop
}

// eventually waits for a condition written as "Type=Status/Reason".
func (b *bench) eventually(kind, name, wanted string) {
	b.Helper()
	conditionType, want, _ := strings.Cut(wanted, "=")
	got := "nothing"
	err := wait.PollUntilContextTimeout(b.Context(), 20*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		if c := meta.FindStatusCondition(b.conditionsOf(kind, name), conditionType); c != nil {
			got = string(c.Status) + "/" + c.Reason
		}
		return got == want, nil
	})
	if err != nil {
		b.Fatalf("%s %s: condition %s is %s, want %s", kind, name, conditionType, got, want)
	}
}

// eventuallyEvent waits for an Event with this reason about the named object.
func (b *bench) eventuallyEvent(reason, name string) {
	b.Helper()
	err := wait.PollUntilContextTimeout(b.Context(), 20*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		events := &eventsv1.EventList{}
		b.must(b.admin.List(ctx, events, client.InNamespace(b.namespace)))
		for _, e := range events.Items {
			if e.Reason == reason && e.Regarding.Name == name && e.ReportingController == FieldOwner && e.Action != "" {
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		b.Fatalf("no Event %s about %s", reason, name)
	}
}

// TestOperatorAsInstalled runs everything together, woken by watches alone, with the rights of config/rbac.
func TestOperatorAsInstalled(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	agents, lists := &fakeAgents{admin: b.admin}, &secretLists{}
	startManager(b, agents, lists.wrap)
	child, topology := v1alpha1.KindChildStore, v1alpha1.KindStockSyncTopology

	b.apply(join(fr, keysOf("hq")))
	b.eventually(child, "fr", "Accepted=False/TopologyNotFound")
	b.apply(emea)
	b.eventually(topology, "emea", "Ready=True/Ready")
	b.eventually(child, "fr", "Accepted=True/Accepted")
	b.eventually(child, "fr", "Ready=False/SecretNotFound")
	b.apply(keysOf("fr"))
	b.eventually(child, "fr", "Ready=True/Ready")

	b.apply(join(keysOf("it"), strings.ReplaceAll(it(), "it.example.com", "fr.example.com")))
	b.eventually(child, "it", "Accepted=False/DuplicateURL")
	b.delete(b.parse(fr))
	b.eventually(child, "it", "Ready=True/Ready")

	// What the tools need is made with the operator's own rights: a role may only be made by who has its rights.
	b.apply(emea + schedules)
	b.eventually(topology, "emea", "AuditPassed=Unknown/NotRunYet")
	b.eventually(topology, "emea", "AgentAvailable=True/AgentReady")
	b.must(b.admin.Get(t.Context(), b.key("emea-tools"), &rbacv1.Role{}))
	b.failJob("emea-audit")
	b.eventually(topology, "emea", "AuditPassed=False/JobFailed")
	b.eventuallyEvent("JobFailed", "emea")

	b.apply(emea + "\n  publicURL: https://sync.example.com\n  agent: {exposure: {ingress: {}}}")
	b.eventually(topology, "emea", "Ready=True/Ready")
	b.apply(it() + "\n  mode: \"Off\"")
	b.eventually(child, "it", "Paused=True/Off")
	b.apply(it())
	b.eventually(child, "it", "Ready=True/Ready")

	b.delete(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "emea-agent-config"}})
	b.apply(strings.ReplaceAll(keysOf("it"), "ck_it", "ck_rotated"))
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		secret := &corev1.Secret{}
		err := b.admin.Get(ctx, b.key("emea-agent-config"), secret)
		return err == nil && contains(secret.Data[agentapi.ConfigFile], "Y2tfcm90YXRlZA=="), nil
	})
	if err != nil {
		t.Fatal("a deleted configuration Secret, or a rotated key, never came back to the agent")
	}

	agents.down.Store(true)
	b.eventually(child, "it", "Ready=Unknown/AgentUnreachable")
	b.eventually(topology, "emea", "Ready=False/AgentUnreachable")
	agents.down.Store(false)
	b.eventually(child, "it", "Ready=True/Ready")

	b.delete(b.parse(emea))
	b.eventually(child, "it", "Accepted=False/TopologyNotFound")
	if n := lists.full.Load(); n > 0 {
		t.Errorf("the content of Secrets was listed or watched %d times", n)
	}
}

// TestRights asks the API server what the operator's ServiceAccount may do.
func TestRights(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must(applyRoles())
	type right struct{ group, resource, sub, namespace, name string }
	everywhere := func(group, resource string) right { return right{group: group, resource: resource, namespace: "shops"} }
	cases := []struct {
		right
		may, mayNot string
	}{
		{everywhere("stocksync.dev", "stocksynctopologies"), "get list watch", "create update patch delete deletecollection"},
		{everywhere("stocksync.dev", "childstores"), "get list watch", "create update patch delete deletecollection"},
		{right{group: "stocksync.dev", resource: "childstores", sub: "status", namespace: "shops"}, "patch", "update"},
		{right{group: "stocksync.dev", resource: "stocksynctopologies", sub: "status", namespace: "shops"}, "patch", "update"},
		{right{group: "stocksync.dev", resource: "stocksynctopologies", sub: "finalizers", namespace: "shops"}, "", "update patch"},
		{everywhere("", "secrets"), "get list watch create patch", "update delete deletecollection"},
		{everywhere("", "services"), "get list watch create patch", "update delete"},
		{everywhere("", "serviceaccounts"), "get list watch create patch", "update delete impersonate"},
		{right{resource: "serviceaccounts", sub: "token", namespace: "shops"}, "", "create"},
		{everywhere("", "pods"), "get patch", "list watch create update delete"},
		{right{resource: "pods", sub: "exec", namespace: "shops"}, "", "create get"},
		{right{resource: "pods", sub: "portforward", namespace: "shops"}, "create get", "delete"},
		{everywhere("batch", "cronjobs"), "get list watch create patch delete", "update deletecollection"},
		{everywhere("batch", "jobs"), "get list watch", "create update patch delete"},
		{everywhere("", "persistentvolumeclaims"), "", "get list create patch delete"},
		{everywhere("", "configmaps"), "get list watch", "create patch update delete"},
		{everywhere("apps", "statefulsets"), "get list watch create patch", "update delete"},
		{everywhere("networking.k8s.io", "networkpolicies"), "get list watch create patch", "update delete"},
		{everywhere("networking.k8s.io", "ingresses"), "get list watch create patch delete", "update"},
		{everywhere("rbac.authorization.k8s.io", "clusterroles"), "", "get create escalate bind"},
		{everywhere("rbac.authorization.k8s.io", "roles"), "get list watch create patch", "update delete escalate bind"},
		{everywhere("rbac.authorization.k8s.io", "rolebindings"), "", "get create patch"},
		{everywhere("coordination.k8s.io", "leases"), "", "get create update"},
		{right{group: "coordination.k8s.io", resource: "leases", namespace: "stocksync-system"}, "create", "list delete"},
		{right{group: "coordination.k8s.io", resource: "leases", namespace: "stocksync-system", name: "operator.stocksync.dev"}, "get update", "delete"},
		{right{group: "coordination.k8s.io", resource: "leases", namespace: "stocksync-system", name: "another"}, "", "get update"},
		{right{resource: "events", namespace: "stocksync-system"}, "create patch", "get list delete"},
		{everywhere("", "events"), "", "create patch"},
		{everywhere("events.k8s.io", "events"), "create patch", "get list watch delete"},
		{right{group: "authentication.k8s.io", resource: "tokenreviews"}, "create", ""},
		{right{group: "authorization.k8s.io", resource: "subjectaccessreviews"}, "create", ""},
	}
	for _, c := range cases {
		for want, verbs := range map[bool]string{true: c.may, false: c.mayNot} {
			for verb := range strings.FieldsSeq(verbs) {
				review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
					User: operatorUser, Groups: operatorGroups,
					ResourceAttributes: &authorizationv1.ResourceAttributes{
						Verb: verb, Group: c.group, Resource: c.resource, Subresource: c.sub, Namespace: c.namespace, Name: c.name},
				}}
				b.must(b.admin.Create(t.Context(), review))
				if review.Status.Allowed != want {
					t.Errorf("may %s %s/%s %s in %q: %v, want %v", verb, c.resource, c.sub, c.name, c.namespace, review.Status.Allowed, want)
				}
			}
		}
	}
}

// TestWhatPluginsAndKatanaNameIsWatched: with the installed rights, and woken by watches alone, a changed shared secret,
// a second holder of one plugin and a changed link table take effect.
func TestWhatPluginsAndKatanaNameIsWatched(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	startManager(b, &fakeAgents{admin: b.admin}, (&secretLists{}).wrap)
	child := v1alpha1.KindChildStore
	b.apply(join(keysOf("hq"), public, paired))
	b.eventually(child, "fr", "SecretsAvailable=False/SecretNotFound")
	b.apply(shared("secret1"))
	b.eventually(child, "fr", "Ready=True/Ready")
	b.apply(shared("secret2"))
	b.eventuallyRendered("secret.until.")

	b.apply(strings.ReplaceAll(strings.ReplaceAll(paired, "name: fr}", "name: it}"), "fr.example", "it.example"))
	b.eventually(child, "it", "Accepted=False/DuplicateRemoteStoreID")
	b.delete(b.parse(paired))
	b.eventually(child, "it", "Ready=True/Ready")
	b.eventuallyEvent("DuplicateRemoteStoreID", "it")

	b = newBench(t)
	startManager(b, &fakeAgents{admin: b.admin}, (&secretLists{}).wrap)
	b.apply(join(keysOf("fr"), token, strings.ReplaceAll(erp, "storeID: erp", "storeID: hq"), located))
	b.eventually(child, "fr", "SecretsAvailable=False/ConfigMapNotFound")
	b.apply(links)
	b.eventually(child, "fr", "Ready=True/Ready")
	b.apply(strings.ReplaceAll(links, "345", "678"))
	b.eventuallyRendered(`"2101": "678"`)
}

// eventuallyRendered waits until the agent's configuration holds a text.
func (b *bench) eventuallyRendered(text string) {
	b.Helper()
	err := wait.PollUntilContextTimeout(b.Context(), 20*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		secret := &corev1.Secret{}
		err := b.admin.Get(ctx, b.key("emea-agent-config"), secret)
		return err == nil && contains(secret.Data[agentapi.ConfigFile], text), nil
	})
	if err != nil {
		b.Fatalf("the agent's configuration never holds %s", text)
	}
}

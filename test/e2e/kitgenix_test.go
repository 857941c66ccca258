//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"stocksync.dev/stocksync/api/v1alpha1"
)

// Store IDs as the plugins make them up. The topology takes over the master's.
const (
	pluginMasterID = "8d7c1f5e-3b1a-4c55-9f0e-6f6a2f9d0c01"
	pluginFRID     = "8d7c1f5e-3b1a-4c55-9f0e-6f6a2f9d0c02"
	pluginDEID     = "8d7c1f5e-3b1a-4c55-9f0e-6f6a2f9d0c03"
	pluginSecret   = "kR8sV2nT5xW9zB3dF6gH1jL4mQ7pY0cA"
	migrated       = "plugins"
)

// pluginWorld is three shops that run the Kitgenix plugin, in a namespace of their own: one is the others' master.
type pluginWorld struct {
	namespace  string
	hq, fr, de *shop
}

func (w *pluginWorld) shops() []*shop { return []*shop{w.hq, w.fr, w.de} }

// url is a shop's address within the cluster; requests are signed, so plain HTTP serves inside one network.
func (w *pluginWorld) url(id string) string {
	return fmt.Sprintf("http://%s.%s.svc.cluster.local:8080", id, w.namespace)
}

// agentURL is what the shops call the agent by.
func (w *pluginWorld) agentURL() string {
	return fmt.Sprintf("http://%s-agent-public.%s.svc.cluster.local", migrated, w.namespace)
}

// openPluginWorld starts the shops and pairs their plugins.
func openPluginWorld(t *testing.T) *pluginWorld {
	t.Helper()
	w := &pluginWorld{namespace: newNamespace(t)}
	w.hq, w.fr, w.de = w.open(t, "hq"), w.open(t, "fr"), w.open(t, "de")
	w.pairWithMaster(t, "")
	return w
}

// open starts a shop.
func (w *pluginWorld) open(t *testing.T, id string) *shop {
	t.Helper()
	s := &shop{id: id, scheme: "http", key: "ck_" + id, secret: "cs_" + id, admin: "admin-" + id}
	labels := map[string]string{"store": id}
	one := int32(1)
	no, yes := false, true
	objects := []client.Object{
		&appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: id, Namespace: w.namespace},
			Spec: appsv1.DeploymentSpec{Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: labels},
				Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
					AutomountServiceAccountToken: &no,
					SecurityContext:              &corev1.PodSecurityContext{RunAsNonRoot: &yes, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
					Containers: []corev1.Container{{
						Name: "store", Image: "stocksync.dev/storesim:dev",
						Args: []string{"--listen=:8080", "--name=" + id, "--home-url=" + w.url(id), "--seed-products=10"},
						Env: []corev1.EnvVar{{Name: "STORESIM_CONSUMER_KEY", Value: s.key}, {Name: "STORESIM_CONSUMER_SECRET", Value: s.secret},
							{Name: "STORESIM_ADMIN_TOKEN", Value: s.admin}},
						Ports:          []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
						ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString("http")}}, PeriodSeconds: 1},
						SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
							Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
					}},
				}}},
		},
		&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: id, Namespace: w.namespace},
			Spec:       corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Port: 8080, TargetPort: intstr.FromString("http")}}},
		},
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: id + "-rest", Namespace: w.namespace},
			StringData: map[string]string{"consumerKey": s.key, "consumerSecret": s.secret},
		},
	}
	for _, o := range objects {
		if err := cluster.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	address := net.JoinHostPort(objects[1].(*corev1.Service).Spec.ClusterIP, "8080")
	s.host = address
	s.http = &http.Client{Timeout: 20 * time.Second}
	eventually(t, 60*time.Second, id+" is open", func() error {
		_, err := s.levels(t.Context())
		return err
	})
	return s
}

// levels are the quantities in a shop by SKU, as its owner sees them.
func (s *shop) levels(ctx context.Context) (map[string]int, error) {
	var items []struct {
		SKU      string   `json:"sku"`
		Quantity *float64 `json:"quantity"`
	}
	if err := s.ask(ctx, http.MethodGet, "items", nil, &items); err != nil {
		return nil, err
	}
	levels := map[string]int{}
	for _, i := range items {
		if i.SKU != "" && i.Quantity != nil {
			levels[i.SKU] = int(*i.Quantity)
		}
	}
	return levels, nil
}

// buy is a shopper's order.
func (s *shop) buy(t *testing.T, sku string, n int) {
	t.Helper()
	if err := s.control(t.Context(), http.MethodPost, "orders", map[string]any{"lines": []any{map[string]any{"sku": sku, "quantity": n}}}); err != nil {
		t.Error(err)
	}
}

// settings types a shop's plugin settings.
func (s *shop) settings(t *testing.T, generation int, id string, master bool, peers ...map[string]string) {
	t.Helper()
	err := s.control(t.Context(), http.MethodPut, "plugin", map[string]any{"generation": generation, "id": id, "name": s.id, "master": master, "peers": peers})
	if err != nil {
		t.Fatal(err)
	}
}

func peer(id, url string) map[string]string {
	return map[string]string{"id": id, "url": url, "secret": pluginSecret}
}

// pairWithMaster lets hq's plugin lead the others; with an address fr's and de's follow that instead.
func (w *pluginWorld) pairWithMaster(t *testing.T, instead string) {
	t.Helper()
	if instead == "" {
		w.hq.settings(t, 2, pluginMasterID, true, peer(pluginFRID, w.url("fr")), peer(pluginDEID, w.url("de")))
		instead = w.url("hq")
	}
	w.fr.settings(t, 2, pluginFRID, false, peer(pluginMasterID, instead))
	w.de.settings(t, 1, pluginDEID, false, peer(pluginMasterID, instead))
}

func (w *pluginWorld) everywhere(t *testing.T, sku string, want int) {
	t.Helper()
	eventually(t, 90*time.Second, fmt.Sprintf("%s is %d everywhere", sku, want), func() error {
		for _, s := range w.shops() {
			levels, err := s.levels(t.Context())
			if err != nil {
				return err
			}
			if levels[sku] != want {
				return notYet("%s shows %d of %s", s.id, levels[sku], sku)
			}
		}
		return nil
	})
}

// watch reads every shop all the time until stop is called, and fails the test when a SKU that nobody sells ever shows
// another number than at the start.
func (w *pluginWorld) watch(t *testing.T, sku string, want int) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for _, s := range w.shops() {
		group.Go(func() {
			for ctx.Err() == nil {
				levels, err := s.levels(ctx)
				if err == nil && levels[sku] != want {
					t.Errorf("%s showed %d of %s, which nobody sold: it has %d", s.id, levels[sku], sku, want)
					return
				}
				select {
				case <-ctx.Done():
				case <-time.After(200 * time.Millisecond):
				}
			}
		})
	}
	return func() { cancel(); group.Wait() }
}

// mode sets the topology's mode.
func (w *pluginWorld) mode(t *testing.T, mode v1alpha1.Mode) {
	t.Helper()
	sst := &v1alpha1.StockSyncTopology{}
	if err := cluster.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: migrated}, sst); err != nil {
		t.Fatal(err)
	}
	before := sst.DeepCopy()
	sst.Spec.Mode = mode
	if err := cluster.Patch(t.Context(), sst, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}

// child waits for a condition of a child store.
func (w *pluginWorld) child(t *testing.T, id, kind string, status metav1.ConditionStatus) *v1alpha1.ChildStore {
	t.Helper()
	chs := &v1alpha1.ChildStore{}
	eventually(t, 90*time.Second, fmt.Sprintf("%s: %s is %s", id, kind, status), func() error {
		if err := cluster.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: id}, chs); err != nil {
			return err
		}
		return conditionIs(chs, chs.Status.Conditions, kind, status, "")
	})
	return chs
}

// The migration of docs/kitgenix.md, there and back: shops that follow a plugin master are moved to a topology that takes
// the master's identity over, and moved back. No shop ever shows a wrong number, and every sale is in all of them once.
func TestMigrationFromPluginMasterAndBack(t *testing.T) {
	w := openPluginWorld(t)
	levels, err := w.hq.levels(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	skus := slices.Sorted(maps.Keys(levels))
	sold, quiet := skus[0], skus[1]
	stock := levels[sold]
	unwatch := w.watch(t, quiet, levels[quiet])
	defer unwatch()

	w.fr.buy(t, sold, 1)
	stock--
	w.everywhere(t, sold, stock)

	// Observe first: the shops are read, nothing is written, and the plugin master still leads.
	objects := []client.Object{
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "plugin", Namespace: w.namespace}, StringData: map[string]string{"secret": pluginSecret}},
		&v1alpha1.StockSyncTopology{
			ObjectMeta: metav1.ObjectMeta{Name: migrated, Namespace: w.namespace},
			Spec: v1alpha1.StockSyncTopologySpec{
				PublicURL: w.agentURL(),
				Identity:  &v1alpha1.Identity{StoreID: pluginMasterID},
				Master: v1alpha1.Master{StoreID: "hq", WooCommerce: &v1alpha1.WooCommerce{URL: w.url("hq"), Transport: v1alpha1.TransportInsecureHTTP,
					CredentialsSecretRef: v1alpha1.LocalObjectReference{Name: "hq-rest"}}},
			},
		},
	}
	for id, remote := range map[string]string{"fr": pluginFRID, "de": pluginDEID} {
		objects = append(objects, &v1alpha1.ChildStore{
			ObjectMeta: metav1.ObjectMeta{Name: id, Namespace: w.namespace},
			Spec: v1alpha1.ChildStoreSpec{
				TopologyRef: v1alpha1.TopologyReference{Name: migrated},
				Kitgenix: &v1alpha1.Kitgenix{URL: w.url(id), Transport: v1alpha1.TransportInsecureHTTP, RemoteStoreID: remote,
					SharedSecretKeyRef: v1alpha1.SecretKeyReference{Name: "plugin", Key: "secret"}},
			},
		})
	}
	for _, o := range objects {
		if err := cluster.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	chs := w.child(t, "fr", v1alpha1.ConditionReady, metav1.ConditionTrue)
	w.child(t, "de", v1alpha1.ConditionReady, metav1.ConditionTrue)
	if k := chs.Status.Kitgenix; k == nil || k.MasterURL != w.agentURL() || k.MasterStoreID != pluginMasterID || k.Generation == nil || *k.Generation != 2 {
		t.Errorf("what to type into the plugin of fr: %+v", k)
	}
	w.hq.buy(t, sold, 2)
	stock -= 2
	w.everywhere(t, sold, stock)

	// The plugin master is deactivated, its shop stays the master over REST; the children get a new Master URL.
	if err := w.hq.control(t.Context(), http.MethodDelete, "plugin", nil); err != nil {
		t.Fatal(err)
	}
	w.pairWithMaster(t, w.agentURL())
	w.mode(t, v1alpha1.ModeSync)
	// What a shop sells before it is enrolled has nothing to be measured against; see the guide.
	for _, id := range []string{"fr", "de"} {
		eventually(t, 90*time.Second, id+" is enrolled", func() error {
			chs := &v1alpha1.ChildStore{}
			if err := cluster.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: id}, chs); err != nil {
				return err
			}
			if s := chs.Status; s.Enrolled == nil || s.Placements == nil || *s.Enrolled == 0 || *s.Enrolled < *s.Placements {
				return notYet("%s: %v of %v", id, s.Enrolled, s.Placements)
			}
			return nil
		})
	}
	var both sync.WaitGroup
	for s, n := range map[*shop]int{w.hq: 1, w.fr: 2, w.de: 3} {
		both.Go(func() { s.buy(t, sold, n) })
	}
	both.Wait()
	stock -= 6
	w.everywhere(t, sold, stock)

	// And back: nothing is written any more, the shops are handed back, so that their plugins take the numbers of any
	// master again; the plugins are paired with each other, and the topology is deleted.
	w.mode(t, v1alpha1.ModeObserve)
	for _, id := range []string{"fr", "de"} {
		w.child(t, id, v1alpha1.ConditionPaused, metav1.ConditionTrue)
		eventually(t, 60*time.Second, id+" is handed back", func() error {
			out, err := exec.CommandContext(t.Context(), "kubectl", "exec", "--namespace", w.namespace, migrated+"-agent-0", "--", "/agent", "forget", id, "--yes").CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}
	w.pairWithMaster(t, "")
	for _, o := range slices.Backward(objects[1:]) {
		if err := cluster.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	w.de.buy(t, sold, 1)
	stock--
	w.everywhere(t, sold, stock)
}

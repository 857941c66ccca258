package controllers

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/apitest"
)

// kustomize is what `kubectl kustomize` makes of a kustomization whose paths are given from the module's root.
func kustomize(t *testing.T, resources, components []string, extra string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	from := func(paths []string) []string {
		var out []string
		for _, p := range paths {
			path, err := apitest.ModuleFile(strings.Split(p, "/")...)
			if err == nil {
				path, err = filepath.EvalSymlinks(path)
			}
			if err == nil {
				path, err = filepath.Rel(dir, path)
			}
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, path)
		}
		return out
	}
	if extra != "" {
		if err := os.WriteFile(filepath.Join(dir, "extra.yaml"), []byte(extra), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all := from(resources)
	if extra != "" {
		all = append(all, "extra.yaml")
	}
	content, err := yaml.Marshal(map[string]any{
		"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": all, "components": from(components),
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "kustomization.yaml"), content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), "kustomize", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl kustomize: %v\n%s", err, out)
	}
	return string(out)
}

// pathLog keeps the paths of namespaced and cluster-wide requests, and what was forbidden.
type pathLog struct {
	mu        sync.Mutex
	paths     map[string]bool
	forbidden []string
}

func (l *pathLog) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.paths[r.URL.Path] = true
		if err == nil && response.StatusCode == http.StatusForbidden {
			l.forbidden = append(l.forbidden, r.Method+" "+r.URL.Path)
		}
		return response, err
	})
}

// TestSomeNamespacesOnly: with config/namespaces the operator works in its namespaces, has no rights in others, asks
// for nothing there and leaves what is there alone.
func TestSomeNamespacesOnly(t *testing.T) {
	t.Parallel()
	first, second, outside := newBench(t), newBench(t), newBench(t)
	first.must(applyRoles())
	rendered := kustomize(t, []string{"config/default"}, []string{"config/namespaces"}, "")
	if !strings.Contains(rendered, "- --namespaces=shops\n") {
		t.Error("the operator of config/namespaces is not told its namespaces")
	}
	user := "system:serviceaccount:" + first.namespace + ":stocksync-operator"
	bindings := 0
	for manifest := range strings.SplitSeq(rendered, "\n---\n") {
		var binding rbacv1.RoleBinding
		if err := yaml.Unmarshal([]byte(manifest), &binding); err != nil || binding.RoleRef.Name != "stocksync-operator" {
			continue
		}
		if binding.Kind != "RoleBinding" || binding.Namespace != "shops" {
			t.Errorf("config/namespaces binds the operator's rules by a %s in %q", binding.Kind, binding.Namespace)
		}
		bindings++
		for _, b := range []*bench{first, second} {
			made := binding.DeepCopy()
			made.Namespace, made.Subjects[0].Namespace = b.namespace, first.namespace
			b.must(b.admin.Create(t.Context(), made))
		}
	}
	if bindings != 1 {
		t.Fatalf("%d bindings of the operator's rules in\n%s", bindings, rendered)
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user, ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "list", Resource: "secrets", Namespace: outside.namespace}}}
	first.must(first.admin.Create(t.Context(), review))
	if review.Status.Allowed {
		t.Fatal("the operator has rights outside its namespaces")
	}

	for _, b := range []*bench{outside, first, second} {
		b.apply(join(keysOf("hq"), keysOf("fr"), emea, fr))
	}
	before := outside.versions()
	requests := &pathLog{paths: map[string]bool{}}
	_, stop := runManager(first, managed{
		namespaces: []string{first.namespace, second.namespace}, user: user, groups: []string{"system:authenticated"},
		reader: &fakeAgents{admin: first.admin}, wrap: requests.wrap,
	})
	for _, b := range []*bench{first, second} {
		b.eventually(v1alpha1.KindStockSyncTopology, "emea", "Ready=True/Ready")
		b.eventually(v1alpha1.KindChildStore, "fr", "Ready=True/Ready")
		b.delete(b.parse(emea))
		b.eventually(v1alpha1.KindChildStore, "fr", "Accepted=False/TopologyNotFound")
	}
	stop()

	after := outside.versions()
	if len(after) != len(before) {
		t.Errorf("outside its namespaces the operator made something: %v, before %v", after, before)
	}
	for object, version := range before {
		if after[object] != version {
			t.Errorf("outside its namespaces the operator wrote %s", object)
		}
	}
	requests.mu.Lock() // an Event may still be on its way
	defer requests.mu.Unlock()
	if len(requests.forbidden) > 0 {
		t.Errorf("the operator asked for what it may not: %v", requests.forbidden)
	}
	for path := range requests.paths {
		_, rest, namespaced := strings.Cut(path, "/namespaces/")
		namespace, _, _ := strings.Cut(rest, "/")
		discovery := len(strings.Split(strings.Trim(path, "/"), "/")) <= 3 && !strings.HasSuffix(path, "stores") && !strings.HasSuffix(path, "secrets")
		if namespaced && namespace != first.namespace && namespace != second.namespace || !namespaced && !discovery {
			t.Errorf("the operator asked for %s, which is outside its namespaces", path)
		}
	}
}

package controllers

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	lua "github.com/yuin/gopher-lua"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/apitest"
	"stocksync.dev/stocksync/internal/render"
)

// healthScripts are what Argo CD is told by config/argocd, by kind.
func healthScripts(t *testing.T) map[string]string {
	t.Helper()
	rendered := kustomize(t, nil, []string{"config/argocd"},
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: argocd-cm}\ndata: {url: https://argocd.example.com}\n")
	var cm corev1.ConfigMap
	if err := yaml.UnmarshalStrict([]byte(rendered), &cm); err != nil {
		t.Fatalf("%v in\n%s", err, rendered)
	}
	if cm.Name != "argocd-cm" || cm.Data["url"] != "https://argocd.example.com" {
		t.Errorf("config/argocd does not keep the rest of argocd-cm:\n%s", rendered)
	}
	scripts := map[string]string{}
	for _, kind := range []string{v1alpha1.KindStockSyncTopology, v1alpha1.KindChildStore} {
		scripts[kind] = cm.Data["resource.customizations.health.stocksync.dev_"+kind]
		if scripts[kind] == "" {
			t.Fatalf("config/argocd has no health of a %s:\n%s", kind, rendered)
		}
	}
	return scripts
}

// healthOf runs a health script as Argo CD does: the object is the global obj, the libraries are few.
func healthOf(t *testing.T, script string, object map[string]any) (status, message string) {
	t.Helper()
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable, lua.StringLibName: lua.OpenString,
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			t.Fatal(err)
		}
	}
	state.SetGlobal("obj", toLua(state, object))
	if err := state.DoString(script); err != nil {
		t.Fatalf("the health script fails: %v", err)
	}
	result, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("the health script returned %v", state.Get(-1))
	}
	return result.RawGetString("status").String(), result.RawGetString("message").String()
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case map[string]any:
		table := state.NewTable()
		for key, item := range v {
			table.RawSetString(key, toLua(state, item))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, item := range v {
			table.Append(toLua(state, item))
		}
		return table
	case string:
		return lua.LString(v)
	case bool:
		return lua.LBool(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	default:
		return lua.LNil
	}
}

func TestHealthInArgoCD(t *testing.T) {
	t.Parallel()
	scripts := healthScripts(t)
	const observed = "metadata: {generation: 3}\nstatus:\n  observedGeneration: 3\n  conditions:\n"
	condition := func(name, status, reason string) string {
		return "  - {type: " + name + `, status: "` + status + `", reason: "` + reason + `", message: about ` + reason + "}\n"
	}
	cases := []struct{ name, object, status, message string }{
		{"new", "metadata: {generation: 1}", "Progressing", "waiting for the operator"},
		{"status without conditions", "metadata: {generation: 1}\nstatus: {storeID: fr}", "Progressing", "waiting for the operator"},
		{"well", observed + condition("Ready", "True", "Ready"), "Healthy", "Ready: about Ready"},
		{"condition without message", observed + "  - {type: Ready, status: \"True\", reason: Ready}\n", "Healthy", "Ready: "},
		{"changed, well before", "metadata: {generation: 4}\n" + strings.TrimPrefix(observed, "metadata: {generation: 3}\n") + condition("Ready", "True", "Ready"),
			"Progressing", "not yet in use"},
		{"mended, stalled before", "metadata: {generation: 4}\n" + strings.TrimPrefix(observed, "metadata: {generation: 3}\n") +
			condition("Ready", "False", "InvalidConfiguration") + condition("Stalled", "True", "InvalidConfiguration"), "Progressing", "about InvalidConfiguration"},
		{"never observed", "metadata: {generation: 1}\nstatus:\n  conditions:\n" + condition("Ready", "True", "Ready"), "Progressing", "not yet in use"},
		{"enrolling", observed + condition("Ready", "False", "Enrolling") + condition("Reconciling", "True", "Enrolling"), "Progressing", "Enrolling: about Enrolling"},
		{"new pod queued", observed + condition("Ready", "True", "Ready") + condition("Reconciling", "True", "ConfigurationPending"), "Progressing", "ConfigurationPending"},
		{"needs a person", observed + condition("Ready", "False", "SecretNotFound") + condition("Stalled", "True", "SecretNotFound"), "Degraded", "SecretNotFound: about"},
		{"needs a person in Observe", observed + condition("Ready", "False", "ReadOnlyKey") + condition("Stalled", "True", "ReadOnlyKey") + condition("Paused", "True", "Observe"),
			"Degraded", "ReadOnlyKey"},
		{"shop down", observed + condition("Ready", "False", "Unreachable"), "Progressing", "Unreachable"},
		{"shop down in Observe", observed + condition("Ready", "False", "Unreachable") + condition("Paused", "True", "Observe"), "Progressing", "Unreachable"},
		{"agent silent", observed + condition("Ready", "Unknown", "AgentUnreachable"), "Progressing", "AgentUnreachable"},
		{"Observe", observed + condition("Ready", "True", "Ready") + condition("Paused", "True", "Observe"), "Suspended", "Observe: about Observe"},
		{"Off", observed + condition("Ready", "Unknown", "Off") + condition("Paused", "True", "Off"), "Suspended", "Off: about Off"},
		{"conditions that do not hold", observed + condition("Stalled", "False", "X") + condition("Reconciling", "False", "X") + condition("Paused", "False", "X") +
			condition("Ready", "True", "Ready"), "Healthy", "Ready"},
	}
	for kind, script := range scripts {
		for _, c := range cases {
			var object map[string]any
			if err := yaml.Unmarshal([]byte(c.object), &object); err != nil {
				t.Fatal(err)
			}
			status, message := healthOf(t, script, object)
			if status != c.status || !strings.Contains(message, c.message) {
				t.Errorf("%s, %s: %s (%s), want %s with %q", kind, c.name, status, message, c.status, c.message)
			}
		}
	}
}

// TestHealthOfWhatTheOperatorWrites runs the scripts over statuses as they come.
func TestHealthOfWhatTheOperatorWrites(t *testing.T) {
	t.Parallel()
	scripts := healthScripts(t)
	b := newBench(t)
	want := func(kind, name, wanted string) {
		t.Helper()
		object := &unstructured.Unstructured{}
		object.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind(kind))
		b.must(b.admin.Get(t.Context(), b.key(name), object))
		if status, message := healthOf(t, scripts[kind], object.Object); status != wanted {
			t.Errorf("%s %s is %s (%s), want %s", kind, name, status, message, wanted)
		}
	}
	topology, child := v1alpha1.KindStockSyncTopology, v1alpha1.KindChildStore
	b.apply(join(keysOf("hq"), emea, fr))
	want(topology, "emea", "Progressing")
	b.reconcile("emea", "fr")
	want(topology, "emea", "Progressing")
	want(child, "fr", "Degraded")
	b.apply(keysOf("fr"))
	b.reconcile("emea", "fr")
	want(child, "fr", "Progressing")
	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.reconcile("emea", "fr")
	want(topology, "emea", "Healthy")
	want(child, "fr", "Healthy")
	b.apply(strings.ReplaceAll(emea, "mode: Sync", "mode: Observe"))
	want(topology, "emea", "Progressing")
	b.reconcile("emea", "fr")
	want(topology, "emea", "Progressing")
	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.reconcile("emea", "fr")
	want(topology, "emea", "Suspended")
	want(child, "fr", "Suspended")
}

// operated lets the operator work on the samples until they are well.
func (b *bench) operated() {
	b.Helper()
	b.reconcile("emea", "fr", "de")
	report := b.healthy("emea", "hq", "fr", "de")
	for i := range report.Stores {
		report.Stores[i].Mode = "Observe"
	}
	report.LastAudit = b.run(1, agentapi.KindAudit, agentapi.Succeeded, nil)
	b.agentSays("emea", report)
	b.reconcile("emea", "fr", "de")
	b.wantTopology("emea", "Ready=True/Ready")
	b.wantChild("de", "Ready=True/Ready")
}

// TestNoDriftInGit: what is in Git and what is in the cluster never differ by the operator's doing, whichever way they
// are compared, and nothing the operator makes is taken for something from Git.
func TestNoDriftInGit(t *testing.T) {
	t.Parallel()
	samples, err := apitest.ModuleFile("config", "samples")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("server-side", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		config := b.kubeconfig()
		b.kubectl(config, "apply", "--server-side", "-k", samples)
		b.operated()
		objects := func(text string) map[string]any {
			t.Helper()
			var list unstructured.UnstructuredList
			b.must(json.Unmarshal([]byte(text), &list))
			out := map[string]any{}
			for _, item := range list.Items {
				item.SetManagedFields(nil)
				delete(item.Object, "status")
				out[item.GetKind()+" "+item.GetName()] = item.Object
			}
			return out
		}
		again := objects(b.kubectl(config, "apply", "--server-side", "--dry-run=server", "-o", "json", "-k", samples))
		live := objects(b.kubectl(config, "get", "-o", "json", "-k", samples))
		if len(live) != 6 {
			t.Errorf("the samples are %d objects, want 6", len(live))
		}
		if diff := cmp.Diff(live, again); diff != "" {
			t.Errorf("a second apply would change (-live +applied):\n%s", diff)
		}
		b.kubectl(config, "diff", "--server-side", "-k", samples)
	})
	t.Run("client-side", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		config := b.kubeconfig()
		b.kubectl(config, "apply", "-k", samples)
		// As Argo CD marks what it applies, by label or by annotation.
		for _, object := range []string{"sst/emea", "chs/fr", "chs/de", "secret/hq-rest"} {
			b.kubectl(config, "label", object, "app.kubernetes.io/instance=shops")
			b.kubectl(config, "annotate", object, "argocd.argoproj.io/tracking-id=shops:x")
		}
		b.operated()
		b.kubectl(config, "diff", "-k", samples)

		made := 0
		for _, kinds := range []string{"secret", "service,serviceaccount,statefulset,cronjob,networkpolicy,role"} {
			var list unstructured.UnstructuredList
			b.must(json.Unmarshal([]byte(b.kubectl(config, "get", kinds, "-o", "json", "-l", "app.kubernetes.io/managed-by="+render.ManagedBy)), &list))
			for _, item := range list.Items {
				made++
				item.SetManagedFields(nil)
				text, err := item.MarshalJSON()
				b.must(err)
				for _, mark := range []string{"app.kubernetes.io/instance", "argocd.argoproj.io"} {
					if strings.Contains(string(text), mark) {
						t.Errorf("%s %s carries %s:\n%s", item.GetKind(), item.GetName(), mark, text)
					}
				}
			}
		}
		if made < 14 {
			t.Errorf("found only %d objects of the operator", made)
		}
	})
}

package controllers

import (
	"encoding/json"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// everything is a topology that asks for all there is.
const everything = emea + `
  reconcile: {schedule: "0 3 * * *", timeZone: Europe/Berlin}
  audit: {schedule: "@hourly", suspend: true}
  publicURL: https://sync.example.com
  agent:
    image: registry.example/agent:1
    imagePullSecrets: [{name: pull}]
    resources: {requests: {cpu: 1000m, memory: "0.5Gi"}, limits: {memory: 1024Mi}}
    scheduling: {nodeSelector: {disk: ssd}, priorityClassName: high, tolerations: [{key: stock, operator: Exists}]}
    storage: {size: 2048Mi, retentionPolicy: Delete}
    exposure: {ingress: {className: nginx, tlsSecretRef: {name: sync-tls}, annotations: {a/b: "1"}}}`

// An operator that starts anew writes nothing to what is right, whatever the topology asks for.
func TestRestartWritesNothingToWhatIsRight(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.apply(join(keysOf("hq"), keysOf("fr"), everything, fr))
	b.reconcile("emea", "fr")
	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.reconcile("emea", "fr")
	b.restart()
	b.log.take()
	b.once("emea", "fr")
	if writes := b.log.take(); len(writes) > 0 {
		t.Errorf("wrote %v", writes)
	}
}

// What was changed while no operator ran is found and undone all the same.
func TestDriftWhileNoOperatorRanIsUndone(t *testing.T) {
	t.Parallel()
	b := running(t)
	for name, drift := range map[string]struct {
		object client.Object
		patch  string
		owner  string
	}{
		"a value":                    {&corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "emea-agent-private"}}, `{"spec":{"ports":[{"port":8443,"targetPort":9}]}}`, "someone"},
		"a rule added to a list":     {&networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "emea-agent"}}, `{"spec":{"ingress":[{}]}}`, "someone"},
		"a key added to a selector":  {&corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "emea-agent-public"}}, `{"spec":{"selector":{"a":"b"}}}`, "someone"},
		"a label taken away":         {&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "emea-agent"}}, `{"metadata":{"labels":{"app.kubernetes.io/part-of":null,"app.kubernetes.io/name":null}}}`, "someone"},
		"the number of agents":       {&appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "emea-agent"}}, `{"spec":{"replicas":0}}`, "someone"},
		"a container's image":        {&appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "emea-agent"}}, `{"spec":{"template":{"spec":{"containers":[{"name":"agent","image":"other"}]}}}}`, "someone"},
		"the agent's configuration":  {&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "emea-agent-config"}}, `{"data":{"topology.yaml":"eA=="}}`, "someone"},
		"a value under our own name": {&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "emea-agent"}}, `{"automountServiceAccountToken":true}`, FieldOwner},
	} {
		drift.object.SetNamespace(b.namespace)
		rendered := func() string {
			b.must(b.admin.Get(t.Context(), client.ObjectKeyFromObject(drift.object), drift.object))
			drift.object.SetManagedFields(nil)
			drift.object.SetResourceVersion("")
			drift.object.SetGeneration(0)
			text, err := json.Marshal(drift.object)
			b.must(err)
			return string(text)
		}
		before := rendered()
		b.must(b.admin.Patch(t.Context(), drift.object, client.RawPatch(types.StrategicMergePatchType, []byte(drift.patch)), client.FieldOwner(drift.owner)))
		if changed := rendered(); changed == before {
			t.Fatalf("%s: nothing was changed", name)
		}
		b.restart()
		b.reconcile("emea", "fr")
		if after := rendered(); after != before {
			t.Errorf("%s was not undone:\n%s\n%s", name, before, after)
		}
	}
}

// A field that an operator before this one set, and this one does not, goes.
func TestFieldsOfAnOlderOperatorGo(t *testing.T) {
	t.Parallel()
	b := running(t)
	object := &corev1.ServiceAccount{}
	b.must(b.admin.Get(t.Context(), b.key("emea-agent"), object))
	account := object.DeepCopy()
	account.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}
	account.ObjectMeta = metav1.ObjectMeta{Name: object.Name, Namespace: object.Namespace, Labels: object.Labels,
		OwnerReferences: object.OwnerReferences, Annotations: map[string]string{"old/habit": "1"}}
	text, err := json.Marshal(account)
	b.must(err)
	b.must(b.admin.Patch(t.Context(), object, client.RawPatch(types.ApplyPatchType, text), client.FieldOwner(FieldOwner), client.ForceOwnership))
	b.restart()
	b.reconcile("emea", "fr")
	b.must(b.admin.Get(t.Context(), b.key("emea-agent"), object))
	if object.Annotations["old/habit"] != "" || !strings.Contains(object.Labels["app.kubernetes.io/managed-by"], "stocksync") {
		t.Errorf("annotations %v, labels %v", object.Annotations, object.Labels)
	}
}

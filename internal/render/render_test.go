package render_test

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/render"
)

var update = flag.Bool("update", false, "write the golden files anew")

var operator = render.Operator{AgentImage: "registry.example.com/agent:1.0.0", Namespace: "stocksync-system"}

const minimal = `
metadata: {name: emea, namespace: shops, uid: 11111111-2222-3333-4444-555555555555, labels: {app.kubernetes.io/instance: argo}}
spec:
  master:
    storeID: hq
    woocommerce: {url: "https://hq.example.com", credentialsSecretRef: {name: hq-rest}}
`

const full = `
metadata:
  name: emea
  namespace: shops
  uid: 11111111-2222-3333-4444-555555555555
  annotations: {stocksync.dev/take-over: "0123", kubectl.kubernetes.io/last-applied-configuration: "{}"}
spec:
  mode: Sync
  publicURL: https://sync.example.com
  master:
    storeID: hq
    woocommerce:
      url: https://hq.example.com
      credentialsSecretRef: {name: hq-rest}
      caBundleSecretKeyRef: {name: corp-ca, key: ca.crt}
  exclusions: {skus: [GIFT-CARD], skuPatterns: ["SAMPLE-*"]}
  agent:
    image: registry.example.com/mirror/agent:1.1.0
    imagePullSecrets: [{name: pull}]
    resources: {requests: {cpu: 200m, memory: 512Mi}, limits: {memory: 1Gi}}
    scheduling:
      nodeSelector: {disktype: ssd}
      tolerations: [{key: shops, operator: Exists, effect: NoSchedule}]
      priorityClassName: important
    storage: {size: 5Gi, storageClassName: fast, retentionPolicy: Delete}
    exposure: {ingress: {className: nginx, tlsSecretRef: {name: sync-tls}, annotations: {a.example.com/b: c}}}
`

const child = `
metadata: {name: NAME, namespace: shops, uid: u, resourceVersion: "7"}
spec:
  topologyRef: {name: emea}
  woocommerce: {url: "https://NAME.example.com", credentialsSecretRef: {name: NAME-rest}}
`

func read[T any](t *testing.T, manifest string) *T {
	t.Helper()
	object := new(T)
	if err := yaml.UnmarshalStrict([]byte(manifest), object); err != nil {
		t.Fatal(err)
	}
	return object
}

func topology(t *testing.T, manifest string) *v1alpha1.StockSyncTopology {
	return read[v1alpha1.StockSyncTopology](t, manifest)
}

func children(t *testing.T, names ...string) []*v1alpha1.ChildStore {
	var all []*v1alpha1.ChildStore
	for _, name := range names {
		all = append(all, read[v1alpha1.ChildStore](t, strings.ReplaceAll(child, "NAME", name)))
	}
	return all
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got); run the test with -update if this is meant:\n%s", file, diff)
	}
}

func TestObjects(t *testing.T) {
	t.Parallel()
	for name, manifest := range map[string]string{"minimal": minimal, "full": full} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			top := topology(t, manifest)
			ingress, err := render.Ingress(top, nil)
			if err != nil {
				t.Fatal(err)
			}
			objects := []any{
				render.ServiceAccount(top),
				render.LedgerSecret(top, strings.Repeat("0", 32)),
				render.ConfigSecret(top, render.Config{File: []byte("file"), Revision: "revision"}),
				render.PrivateSecret(top, render.Private{Certificate: []byte("crt"), Key: []byte("key"), CA: []byte("ca"),
					Token: []byte("token"), ReadToken: []byte("read"), WriteToken: []byte("write")}),
				render.PublicService(top), render.PrivateService(top), render.MetricsService(top),
				render.NetworkPolicy(top, operator),
				render.StatefulSet(top, operator),
			}
			if ingress != nil {
				objects = append(objects, ingress)
			}
			var out bytes.Buffer
			for _, object := range objects {
				text, err := yaml.Marshal(object)
				if err != nil {
					t.Fatal(err)
				}
				out.WriteString("---\n")
				out.Write(text)
			}
			if strings.Contains(out.String(), "app.kubernetes.io/instance") {
				t.Error("an owned object carries app.kubernetes.io/instance: Argo CD would take it for the user's")
			}
			golden(t, name+".yaml", out.Bytes())
		})
	}
}

func TestConfigIsTheUsersOwnDocuments(t *testing.T) {
	t.Parallel()
	secrets := render.SecretData{
		"hq-rest": {"consumerKey": []byte("ck_1"), "consumerSecret": []byte("cs_1")},
		"corp-ca": {"ca.crt": []byte("PEM")},
	}
	config, err := render.NewConfig(topology(t, full), children(t, "fr", "de"), secrets, nil)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "config.yaml", config.File)

	again, err := render.NewConfig(topology(t, full), children(t, "de", "fr"), secrets, nil)
	if err != nil {
		t.Fatal(err)
	}
	if again.Revision != config.Revision {
		t.Error("the revision depends on the order of the children")
	}
	secrets["hq-rest"]["consumerKey"] = []byte("ck_2")
	rotated, err := render.NewConfig(topology(t, full), children(t, "fr", "de"), secrets, nil)
	if err != nil {
		t.Fatal(err)
	}
	if rotated.Revision == config.Revision {
		t.Error("a rotated Secret leaves the revision as it was; the agent would never be told")
	}
}

// TestRequestsTravelWithTheirObject: our annotations reach the agent, level-triggered; those of others do not.
func TestRequestsTravelWithTheirObject(t *testing.T) {
	t.Parallel()
	top, all := topology(t, minimal), children(t, "fr")
	before, err := render.NewConfig(top, all, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	all[0].Annotations = map[string]string{"stocksync.dev/take-over": "0123", "stocksync.dev.example.com/x": "other", "team": "shops"}
	top.Annotations = map[string]string{v1alpha1.AnnotationApproveTrip: "t-7", "argocd.argoproj.io/sync-wave": "1"}
	after, err := render.NewConfig(top, all, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if after.Revision == before.Revision {
		t.Error("the revision does not change with an annotation of ours; the agent would never be told")
	}
	for text, want := range map[string]bool{"stocksync.dev/take-over: \"0123\"": true, "stocksync.dev/approve-trip: t-7": true, "other": false, "team": false, "argocd": false} {
		if strings.Contains(string(after.File), text) != want {
			t.Errorf("the agent is told %q: %v, want %v", text, !want, want)
		}
	}
}

func TestConfigTooLarge(t *testing.T) {
	t.Parallel()
	_, err := render.NewConfig(topology(t, minimal), nil, render.SecretData{"ca": {"ca.crt": make([]byte, 800_000)}}, nil)
	var tooLarge *render.TooLargeError
	if !errors.As(err, &tooLarge) || tooLarge.Size < 1_048_576 {
		t.Fatalf("got %v, want a TooLargeError with the size", err)
	}
	if _, err := render.NewConfig(topology(t, minimal), nil, render.SecretData{"ca": {"ca.crt": make([]byte, 780_000)}}, nil); err != nil {
		t.Errorf("what fits is refused: %v", err)
	}
}

func TestTemplateHashChangesOnlyWithThePod(t *testing.T) {
	t.Parallel()
	before := render.TemplateHash(topology(t, full), operator)
	for name, change := range map[string]func(*v1alpha1.StockSyncTopology){
		"mode":       func(t *v1alpha1.StockSyncTopology) { t.Spec.Mode = v1alpha1.ModeObserve },
		"exclusions": func(t *v1alpha1.StockSyncTopology) { t.Spec.Exclusions = nil },
		"exposure":   func(t *v1alpha1.StockSyncTopology) { t.Spec.Agent.Exposure = nil },
		"publicURL":  func(t *v1alpha1.StockSyncTopology) { t.Spec.PublicURL = "" },
	} {
		top := topology(t, full)
		change(top)
		if render.TemplateHash(top, operator) != before {
			t.Errorf("changing %s would restart the agent", name)
		}
	}
	for name, change := range map[string]func(*v1alpha1.StockSyncTopology){
		"image":      func(t *v1alpha1.StockSyncTopology) { t.Spec.Agent.Image = "other:1" },
		"resources":  func(t *v1alpha1.StockSyncTopology) { t.Spec.Agent.Resources = nil },
		"scheduling": func(t *v1alpha1.StockSyncTopology) { t.Spec.Agent.Scheduling.PriorityClassName = "" },
	} {
		top := topology(t, full)
		change(top)
		if render.TemplateHash(top, operator) == before {
			t.Errorf("changing %s would not reach the pod", name)
		}
	}
	newOperator := operator
	newOperator.AgentImage = "registry.example.com/agent:2.0.0"
	if render.TemplateHash(topology(t, full), newOperator) != before {
		t.Error("the operator's image concerns a topology that names its own")
	}
	if render.TemplateHash(topology(t, minimal), newOperator) == render.TemplateHash(topology(t, minimal), operator) {
		t.Error("a new operator image does not reach agents that follow it")
	}
}

func TestDefaultResourcesRespectTheUsersLimits(t *testing.T) {
	t.Parallel()
	top := topology(t, minimal)
	top.Spec.Agent = read[v1alpha1.Agent](t, `resources: {limits: {memory: 32Mi, cpu: 10m}}`)
	text, err := yaml.Marshal(render.StatefulSet(top, operator).Spec.Template.Spec.Containers[0].Resources)
	if err != nil {
		t.Fatal(err)
	}
	const want = "limits:\n  cpu: 10m\n  memory: 32Mi\nrequests:\n  cpu: 10m\n  memory: 32Mi\n"
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}

	top.Spec.Agent = read[v1alpha1.Agent](t, `resources: {requests: {memory: 2Gi}}`)
	text, err = yaml.Marshal(render.StatefulSet(top, operator).Spec.Template.Spec.Containers[0].Resources)
	if err != nil {
		t.Fatal(err)
	}
	const raised = "limits:\n  memory: 2Gi\nrequests:\n  memory: 2Gi\n"
	if diff := cmp.Diff(raised, string(text)); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
}

func TestNamesFitKubernetes(t *testing.T) {
	t.Parallel()
	names := render.NamesOf(strings.Repeat("a", 40))
	// The StatefulSet controller appends a hash of up to 11 characters in a label.
	for _, name := range []string{names.Workload + "-0123456789", names.Pod, names.PublicService, names.PrivateService, names.MetricsService} {
		if errs := validation.IsDNS1035Label(name); errs != nil {
			t.Errorf("%s: %v", name, errs)
		}
	}
	for _, name := range []string{names.ReconcileCronJob, names.AuditCronJob} {
		// The CronJob controller appends a hyphen and ten digits to name a Job, which names its pods.
		if len(name) > 52 {
			t.Errorf("%s is longer than the 52 characters a CronJob's name may have", name)
		}
	}
}

func TestOwned(t *testing.T) {
	t.Parallel()
	top := topology(t, minimal)
	yes := true
	ours := metav1.ObjectMeta{Name: "emea-agent-config", OwnerReferences: []metav1.OwnerReference{{UID: top.UID, Controller: &yes}}}
	theirs := metav1.ObjectMeta{Name: "emea-agent-config", Labels: map[string]string{v1alpha1.LabelTopology: "emea"}}
	other := metav1.ObjectMeta{Name: "emea-agent-config", OwnerReferences: []metav1.OwnerReference{{UID: "other", Controller: &yes}}}
	ledger := metav1.ObjectMeta{Name: "emea-agent-ledger", Labels: map[string]string{v1alpha1.LabelTopology: "emea"}}
	stray := metav1.ObjectMeta{Name: "emea-agent-ledger"}
	for want, objects := range map[bool][]*metav1.ObjectMeta{true: {&ours, &ledger}, false: {&theirs, &other, &stray}} {
		for _, object := range objects {
			if render.Owned(top, object) != want {
				t.Errorf("%+v: owned %v, want %v", object, !want, want)
			}
		}
	}
}

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func TestPrivateServesTheOperatorAndNobodyElse(t *testing.T) {
	t.Parallel()
	name := render.ServerName(topology(t, minimal))
	if name != "emea-agent-private.shops.svc" {
		t.Errorf("server name %s", name)
	}
	first, err := render.Private{}.Renew(name, noon, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Valid(name, noon); err != nil {
		t.Error(err)
	}
	second, err := first.Renew(name, first.RenewAt(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Token, second.Token) || !bytes.Equal(first.ReadToken, second.ReadToken) || !bytes.Equal(first.WriteToken, second.WriteToken) {
		t.Error("renewing the certificate changed a token: its holder would be locked out until the agent has read it")
	}
	if bytes.Equal(first.Token, first.ReadToken) || bytes.Equal(first.ReadToken, first.WriteToken) {
		t.Error("two tokens are the same")
	}
	// The operator already trusts the second, the agent still shows the first.
	if err := handshake(first, second.CA, name); err != nil {
		t.Errorf("old certificate, new authorities: %v", err)
	}
	if err := handshake(second, second.CA, name); err != nil {
		t.Errorf("new certificate, new authorities: %v", err)
	}
	third, err := second.Renew(name, second.RenewAt(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := handshake(first, third.CA, name); err == nil {
		t.Error("a certificate two renewals old is still trusted")
	}
	if err := handshake(second, second.CA, "emea-agent-private.other.svc"); err == nil {
		t.Error("the certificate serves another name")
	}
}

// handshake verifies the server's certificate as a TLS client does.
func handshake(server render.Private, ca []byte, name string) error {
	pair, err := tls.X509KeyPair(server.Certificate, server.Key)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: pair.Leaf.NotBefore.Add(24 * time.Hour)})
	return err
}

func TestPrivateIsRenewedInTime(t *testing.T) {
	t.Parallel()
	const name = "emea-agent-private.shops.svc"
	p, err := render.Private{}.Renew(name, noon, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Valid(name, noon.Add(59*24*time.Hour)); err != nil {
		t.Errorf("after 59 of 90 days: %v", err)
	}
	if err := p.Valid(name, noon.Add(60*24*time.Hour)); err == nil {
		t.Error("30 days before it expires it is not renewed")
	}
	for what, broken := range map[string]render.Private{
		"nothing":        {},
		"no token":       {Certificate: p.Certificate, Key: p.Key, CA: p.CA},
		"no key":         {Certificate: p.Certificate, CA: p.CA, Token: p.Token, ReadToken: p.ReadToken, WriteToken: p.WriteToken},
		"no ca":          {Certificate: p.Certificate, Key: p.Key, Token: p.Token, ReadToken: p.ReadToken, WriteToken: p.WriteToken},
		"garbage":        {Certificate: []byte("x"), Key: p.Key, CA: p.CA, Token: p.Token, ReadToken: p.ReadToken, WriteToken: p.WriteToken},
		"short a token":  {Certificate: p.Certificate, Key: p.Key, CA: p.CA, Token: []byte("x"), ReadToken: p.ReadToken, WriteToken: p.WriteToken},
		"no read token":  {Certificate: p.Certificate, Key: p.Key, CA: p.CA, Token: p.Token, WriteToken: p.WriteToken},
		"no write token": {Certificate: p.Certificate, Key: p.Key, CA: p.CA, Token: p.Token, ReadToken: p.ReadToken},
	} {
		if broken.Valid(name, noon) == nil {
			t.Errorf("%s: taken as valid", what)
		}
	}
	if p.Valid("other.shops.svc", noon) == nil {
		t.Error("a certificate for another name is taken as valid")
	}
	secret := render.PrivateSecret(topology(t, minimal), p)
	if diff := cmp.Diff(p, render.PrivateFrom(secret.Data)); diff != "" {
		t.Errorf("what is written is not what is read:\n%s", diff)
	}
	if len(secret.Data) != 6 || secret.Data[agentapi.TokenFile] == nil {
		t.Errorf("files %v", secret.Data)
	}
}

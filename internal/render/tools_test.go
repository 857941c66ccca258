package render_test

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/render"
)

const schedules = `
  reconcile: {schedule: "0 3 * * *", timeZone: Europe/Berlin, strategy: Push, suspend: true, successfulJobsHistoryLimit: 1,
    failedJobsHistoryLimit: 0, startingDeadlineSeconds: 600, activeDeadlineSeconds: 7200}
  audit: {schedule: "@hourly"}
`

func TestToolObjects(t *testing.T) {
	t.Parallel()
	top := topology(t, strings.TrimSpace(full)+schedules)
	objects := []any{render.ToolNetworkPolicy(top), render.ReconcileCronJob(top, operator), render.AuditCronJob(top, operator)}
	for _, secret := range render.ToolSecrets(top, render.Private{CA: []byte("ca"), Token: []byte("token"), ReadToken: []byte("read"), WriteToken: []byte("write")}) {
		objects = append(objects, secret)
	}
	for _, role := range render.ToolRoles(top) {
		objects = append(objects, role)
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
	golden(t, "tools.yaml", out.Bytes())

	if render.ReconcileCronJob(topology(t, minimal), operator) != nil || render.AuditCronJob(topology(t, minimal), operator) != nil {
		t.Error("a topology without schedules gets a CronJob")
	}
}

// TestEachToolGetsTheWeakestToken: an audit and a dry run must not be able to write.
func TestEachToolGetsTheWeakestToken(t *testing.T) {
	t.Parallel()
	for strategy, want := range map[v1alpha1.ReconcileStrategy]string{
		"": "emea-agent-tools-write", v1alpha1.ReconcileDifferencesOnly: "emea-agent-tools-write",
		v1alpha1.ReconcilePush: "emea-agent-tools-write", v1alpha1.ReconcileDryRun: "emea-agent-tools-read",
	} {
		top := topology(t, strings.TrimSpace(minimal)+schedules)
		top.Spec.Reconcile.Strategy = strategy
		if got := secretOf(t, cronJobOf(t, render.ReconcileCronJob(top, operator))); got != want {
			t.Errorf("reconcile with strategy %q mounts %s, want %s", strategy, got, want)
		}
		if got := secretOf(t, cronJobOf(t, render.AuditCronJob(top, operator))); got != "emea-agent-tools-read" {
			t.Errorf("an audit mounts %s", got)
		}
	}
	p, err := render.Private{}.Renew("x", noon, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for i, secret := range render.ToolSecrets(topology(t, minimal), p) {
		token := [][]byte{p.ReadToken, p.WriteToken}[i]
		if !bytes.Equal(secret.Data[agentapi.TokenFile], token) || len(secret.Data) != 3 {
			t.Errorf("Secret %s holds %d keys and the wrong token, want one token, the authority and the address", *secret.Name, len(secret.Data))
		}
	}
}

func cronJobOf(t *testing.T, object any) batchv1.CronJob {
	t.Helper()
	text, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return *read[batchv1.CronJob](t, string(text))
}

func secretOf(t *testing.T, job batchv1.CronJob) string {
	t.Helper()
	volumes := job.Spec.JobTemplate.Spec.Template.Spec.Volumes
	if len(volumes) != 1 {
		t.Fatalf("volumes %v, want one Secret and nothing else", volumes)
	}
	return volumes[0].Secret.SecretName
}

// TestJobsReachTheirAgentAndNothingElse evaluates both policies as a network plugin would.
func TestJobsReachTheirAgentAndNothingElse(t *testing.T) {
	t.Parallel()
	top := topology(t, strings.TrimSpace(minimal)+schedules)
	here := map[string]string{corev1.LabelMetadataName: "shops"}
	job := peer{namespace: here, pod: cronJobOf(t, render.AuditCronJob(top, operator)).Spec.JobTemplate.Spec.Template.Labels}
	agent := peer{namespace: here, pod: render.StatefulSet(top, operator).Spec.Template.Labels}
	other := topology(t, strings.ReplaceAll(minimal, "emea", "apac"))
	otherAgent := peer{namespace: here, pod: render.StatefulSet(other, operator).Spec.Template.Labels}

	text, err := yaml.Marshal(render.ToolNetworkPolicy(top))
	if err != nil {
		t.Fatal(err)
	}
	own := read[networkingv1.NetworkPolicy](t, string(text)).Spec
	selects := func(policy networkingv1.NetworkPolicySpec, pod peer) bool {
		s, err := metav1.LabelSelectorAsSelector(&policy.PodSelector)
		if err != nil {
			t.Fatal(err)
		}
		return s.Matches(labels.Set(pod.pod))
	}
	agents := policyOf(t, operator)
	if !selects(own, job) || selects(own, agent) || selects(agents, job) {
		t.Error("the Jobs' policy must select the pods of Jobs, and the agent's the agent")
	}
	if len(own.Ingress) != 0 || len(own.PolicyTypes) != 2 {
		t.Error("somebody reaches the pods of Jobs")
	}
	out := func(to peer, protocol corev1.Protocol, port int32) bool {
		for _, rule := range own.Egress {
			if allowsPort(rule.Ports, protocol, port) && allowsPeer(t, rule.To, to) {
				return true
			}
		}
		return false
	}
	for _, c := range []struct {
		name     string
		to       peer
		protocol corev1.Protocol
		port     int32
		want     bool
	}{
		{"agent", agent, corev1.ProtocolTCP, 8443, true},
		{"agent's metrics", agent, corev1.ProtocolTCP, 9090, false},
		{"another agent", otherAgent, corev1.ProtocolTCP, 8443, false},
		{"DNS", inCluster, corev1.ProtocolUDP, 53, true},
		{"store", internet, corev1.ProtocolTCP, 443, false},
		{"cloud credentials", cloudKeys, corev1.ProtocolTCP, 80, false},
	} {
		if got := out(c.to, c.protocol, c.port); got != c.want {
			t.Errorf("egress to %s: allowed %v, want %v", c.name, got, c.want)
		}
	}
	in := func(from peer) bool {
		for _, rule := range agents.Ingress {
			if allowsPort(rule.Ports, corev1.ProtocolTCP, 8443) && allowsPeer(t, rule.From, from) {
				return true
			}
		}
		return false
	}
	if !in(job) {
		t.Error("the agent's private port is closed to its own Jobs")
	}
	otherJob := peer{namespace: here, pod: map[string]string{"app.kubernetes.io/name": "stocksync-tools", v1alpha1.LabelTopology: "apac"}}
	if in(otherJob) {
		t.Error("the agent's private port is open to the Jobs of another topology")
	}
}

func TestNext(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		schedule, zone string
		want           string // RFC 3339, or a part of the error
	}{
		{"0 3 * * *", "", "2026-03-29T03:00:00Z"},
		{"30 4 * * *", "Europe/Berlin", "2026-03-29T02:30:00Z"}, // the clocks went forward that night
		{"@hourly", "", "2026-03-28T13:00:00Z"},
		{"*/15 0-6,22 1,15 jan-MAR,12 *", "", "2026-12-01T00:00:00Z"},
		{"0 0 29 2 *", "", "2028-02-29T00:00:00Z"},
		{"0 0 30 2 *", "", "never comes due"},
		{"0 3 * * *", "Europe/Atlantis", `timeZone "Europe/Atlantis" is not known`},
		{"0 3 * * *", "Local", "is not known"},
		{"0 5-3 * * *", "", `schedule "0 5-3 * * *" cannot be read`},
		{"", "", "cannot be read"},
	} {
		next, err := render.Next(&v1alpha1.Timetable{Schedule: c.schedule, TimeZone: c.zone}, at)
		got := next.UTC().Format(time.RFC3339)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%q in %q: %s, want %s", c.schedule, c.zone, got, c.want)
		}
	}
}

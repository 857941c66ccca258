package controllers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/render"
)

const schedules = `
  reconcile: {schedule: "0 3 * * *"}
  audit: {schedule: "@hourly"}`

// scheduled is a running bench with both schedules.
func scheduled(t *testing.T) *bench {
	t.Helper()
	b := running(t)
	b.apply(emea + schedules)
	b.once("emea")
	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.reconcile("emea", "fr")
	b.events.take()
	return b
}

func (b *bench) cronJob(name string) *batchv1.CronJob {
	b.Helper()
	job := &batchv1.CronJob{}
	b.must(b.admin.Get(b.Context(), b.key(name), job))
	return job
}

func (b *bench) status() v1alpha1.StockSyncTopologyStatus {
	b.Helper()
	topology := &v1alpha1.StockSyncTopology{}
	b.must(b.admin.Get(b.Context(), b.key("emea"), topology))
	return topology.Status
}

func TestSchedulesBecomeCronJobs(t *testing.T) {
	t.Parallel()
	b := running(t)
	b.wantTopology("emea", "ReconcileSucceeded=", "AuditPassed=")
	if err := b.admin.Get(t.Context(), b.key("emea-reconcile"), &batchv1.CronJob{}); !apierrors.IsNotFound(err) {
		t.Errorf("without a schedule: %v, want no CronJob", err)
	}
	b.apply(emea + schedules)
	b.once("emea")
	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.reconcile("emea", "fr")
	b.wantTopology("emea", "ReconcileSucceeded=Unknown/NotRunYet", "AuditPassed=Unknown/NotRunYet", "Ready=True/Ready")
	if s := b.status(); s.NextReconcileTime == nil || s.NextReconcileTime.UTC().Hour() != 3 || s.NextAuditTime == nil || !s.NextAuditTime.After(b.clock.Now()) {
		t.Errorf("next reconcile %v, next audit %v", s.NextReconcileTime, s.NextAuditTime)
	}
	for _, name := range []string{"emea-reconcile", "emea-audit"} {
		job := b.cronJob(name)
		if job.Spec.ConcurrencyPolicy != batchv1.ForbidConcurrent || metav1.GetControllerOf(job) == nil {
			t.Errorf("%s: concurrency %s, owners %v", name, job.Spec.ConcurrencyPolicy, job.OwnerReferences)
		}
		pod := &corev1.Pod{ObjectMeta: *job.Spec.JobTemplate.Spec.Template.ObjectMeta.DeepCopy(), Spec: *job.Spec.JobTemplate.Spec.Template.Spec.DeepCopy()}
		pod.Namespace, pod.Name = b.namespace, name
		if err := b.admin.Create(t.Context(), pod, client.DryRunAll); err != nil {
			t.Errorf("%s: its pod is refused under the restricted profile: %v", name, err)
		}
		if auto := pod.Spec.AutomountServiceAccountToken; auto == nil || *auto {
			t.Errorf("%s: its pod gets a token of the Kubernetes API", name)
		}
	}

	// What somebody changes is put back; what Kubernetes notes down about its runs is no concern of ours.
	job := b.cronJob("emea-audit")
	b.must(b.admin.Patch(t.Context(), job, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"schedule":"@yearly"}}`))))
	b.reconcile("emea", "fr")
	job = b.cronJob("emea-audit")
	if job.Spec.Schedule != "@hourly" {
		t.Errorf("schedule %s, want the topology's", job.Spec.Schedule)
	}
	now := metav1.Now()
	job.Status.LastScheduleTime = &now
	b.must(b.admin.Status().Update(t.Context(), job))
	b.log.take()
	b.once("emea", "fr")
	if writes := b.log.take(); len(writes) > 0 {
		t.Errorf("a run noted in the status of a CronJob caused %v", writes)
	}

	b.apply(emea)
	b.once("emea")
	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.reconcile("emea", "fr")
	for _, name := range []string{"emea-reconcile", "emea-audit"} {
		if err := b.admin.Get(t.Context(), b.key(name), &batchv1.CronJob{}); !apierrors.IsNotFound(err) {
			t.Errorf("%s after its schedule was taken away: %v, want it gone", name, err)
		}
	}
	b.wantTopology("emea", "ReconcileSucceeded=", "AuditPassed=")
	if s := b.status(); s.NextReconcileTime != nil || s.NextAuditTime != nil {
		t.Errorf("next reconcile %v, next audit %v without schedules", s.NextReconcileTime, s.NextAuditTime)
	}
}

func TestScheduleThatCannotWork(t *testing.T) {
	t.Parallel()
	b := running(t)
	for _, c := range []struct{ reconcile, want, message string }{
		{`{schedule: "0 0 31 2 *"}`, "False/InvalidSchedule", "never comes due"},
		{`{schedule: "0 0 1 1 *", timeZone: Europe/Atlantis}`, "False/InvalidSchedule", `timeZone "Europe/Atlantis" is not known`},
		{`{schedule: "0 5-3 * * *"}`, "False/InvalidSchedule", "cannot be read"},
		{`{schedule: "0 0 1 1 *", suspend: true}`, "Unknown/Suspended", "suspended"},
	} {
		b.apply(emea + "\n  reconcile: " + c.reconcile)
		b.once("emea")
		b.agentSays("emea", b.healthy("emea", "hq", "fr"))
		b.reconcile("emea", "fr")
		// The stores are kept the same all the while.
		b.wantTopology("emea", "ReconcileSucceeded="+c.want, "Ready=True/Ready", "Stalled=")
		if m := b.message(v1alpha1.KindStockSyncTopology, "emea", "ReconcileSucceeded"); !strings.Contains(m, c.message) {
			t.Errorf("%s: message %q, want %q", c.reconcile, m, c.message)
		}
		if next := b.status().NextReconcileTime; next != nil {
			t.Errorf("%s: next at %s", c.reconcile, next)
		}
	}
	if !*b.cronJob("emea-reconcile").Spec.Suspend {
		t.Error("the suspended CronJob is not suspended")
	}
}

func TestForeignCronJobIsLeftAlone(t *testing.T) {
	t.Parallel()
	b := running(t)
	foreign := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "emea-audit"}, Spec: batchv1.CronJobSpec{
		Schedule: "@yearly", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "x", Image: "x"}}}}}}}}
	b.must(b.admin.Create(t.Context(), foreign))
	b.apply(emea + schedules)
	b.once("emea")
	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.reconcile("emea", "fr")
	b.wantTopology("emea", "AuditPassed=False/ResourceRefused", "ReconcileSucceeded=Unknown/NotRunYet", "Ready=True/Ready")
	b.apply(emea)
	b.once("emea")
	if b.cronJob("emea-audit").Spec.Schedule != "@yearly" {
		t.Error("somebody else's CronJob was changed")
	}
}

// run is one the agent reports.
func (b *bench) run(id int64, kind agentapi.RunKind, state agentapi.RunState, counts map[agentapi.FindingClass]int) *agentapi.Run {
	now := b.clock.Now()
	r := &agentapi.Run{ID: id, Request: agentapi.RunRequest{Kind: kind}, State: state, StartedAt: now, Counts: counts, Done: 10, Total: 10}
	if state != agentapi.Running {
		r.FinishedAt = &now
	}
	return r
}

func TestAuditResultsReachStatusAndEvents(t *testing.T) {
	t.Parallel()
	b := scheduled(t)
	say := func(r *agentapi.Run) {
		t.Helper()
		b.clock.Step(time.Hour)
		report := b.healthy("emea", "hq", "fr")
		report.LastAudit = r
		b.agentSays("emea", report)
		b.reconcile("emea", "fr")
	}
	say(b.run(1, agentapi.KindAudit, agentapi.Running, nil))
	b.wantTopology("emea", "AuditPassed=Unknown/Running")
	b.wantEvents()
	say(b.run(1, agentapi.KindAudit, agentapi.Succeeded, nil))
	b.wantTopology("emea", "AuditPassed=True/RunSucceeded", "Ready=True/Ready")
	b.wantEvents("Normal RunSucceeded StockSyncTopology/emea: the last audit found nothing")

	// The next run of the same result says nothing new; one that goes on leaves the result before.
	say(b.run(2, agentapi.KindAudit, agentapi.Succeeded, nil))
	say(b.run(3, agentapi.KindAudit, agentapi.Running, nil))
	b.wantTopology("emea", "AuditPassed=True/RunSucceeded")
	b.wantEvents()
	if last := b.status().LastAudit; last == nil || last.ID != 3 || last.State != "Running" || last.FinishTime != nil {
		t.Errorf("lastAudit %+v, want run 3, running", last)
	}

	differs := b.run(3, agentapi.KindAudit, agentapi.NeedsAttention, map[agentapi.FindingClass]int{
		agentapi.QuantityDiffers: 2, agentapi.MissingProduct: 1, agentapi.InFlight: 5})
	differs.Worst = []agentapi.Finding{{Class: agentapi.QuantityDiffers, Store: "fr", SKU: "A-1", Shown: "7", Wanted: "3", Units: 4, Message: "edited by hand"}}
	say(differs)
	b.wantTopology("emea", "AuditPassed=False/NeedsAttention", "Ready=True/Ready")
	b.wantEvents("Warning NeedsAttention StockSyncTopology/emea: the last audit found what needs a person: MissingProduct 1, Quantity 2")
	last := b.status().LastAudit
	if len(last.Counts) != 3 || last.Counts[0].Class != "InFlight" || last.Worst[0].SKU != "A-1" || last.Worst[0].StoreID != "fr" {
		t.Errorf("lastAudit %+v", last)
	}
	say(b.run(4, agentapi.KindAudit, agentapi.NeedsAttention, map[agentapi.FindingClass]int{
		agentapi.QuantityDiffers: 2, agentapi.MissingProduct: 1, agentapi.InFlight: 1}))
	b.wantEvents()
	say(b.run(5, agentapi.KindAudit, agentapi.NeedsAttention, map[agentapi.FindingClass]int{agentapi.QuantityDiffers: 3}))
	b.wantEvents("Warning NeedsAttention StockSyncTopology/emea: the last audit found what needs a person: Quantity 3")
	failed := b.run(6, agentapi.KindAudit, agentapi.Failed, nil)
	failed.Message = "the master could not be read"
	say(failed)
	b.wantTopology("emea", "AuditPassed=False/RunFailed")
	b.wantEvents("Warning RunFailed StockSyncTopology/emea: the master could not be read")
	say(b.run(7, agentapi.KindAudit, agentapi.Cancelled, nil))
	b.wantTopology("emea", "AuditPassed=Unknown/RunCancelled")
	b.wantEvents()

	// What is known outlives the operator and the agent's silence.
	b.restart()
	b.once("emea", "fr")
	b.wantTopology("emea", "AuditPassed=Unknown/RunCancelled")
	b.wantEvents()
}

// failJob is what Kubernetes makes of a Job whose pods never reached the agent.
func (b *bench) failJob(from string) {
	b.Helper()
	job := b.startJob(from)
	now := *job.Status.StartTime
	for _, c := range []batchv1.JobConditionType{batchv1.JobFailureTarget, batchv1.JobFailed} {
		job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{Type: c, Status: corev1.ConditionTrue, LastTransitionTime: now,
			Reason: batchv1.JobReasonBackoffLimitExceeded, Message: "Job has reached the specified backoff limit"})
	}
	b.must(b.admin.Status().Update(b.Context(), job))
}

// startJob is what Kubernetes makes of a CronJob that comes due.
func (b *bench) startJob(from string) *batchv1.Job {
	b.Helper()
	cron := b.cronJob(from)
	yes := true
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, GenerateName: from + "-", Labels: cron.Spec.JobTemplate.Labels,
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "CronJob", Name: from, UID: cron.UID, Controller: &yes}}},
		Spec: *cron.Spec.JobTemplate.Spec.DeepCopy()}
	b.must(b.admin.Create(b.Context(), job))
	now := metav1.NewTime(b.clock.Now())
	job.Status.StartTime = &now
	b.must(b.admin.Status().Update(b.Context(), job))
	return job
}

func TestJobWhosePodNeverRuns(t *testing.T) {
	t.Parallel()
	b := scheduled(t)
	job := b.startJob("emea-audit")
	b.clock.Step(9 * time.Minute)
	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.reconcile("emea", "fr")
	b.wantTopology("emea", "AuditPassed=Unknown/NotRunYet")
	b.clock.Step(2 * time.Minute)
	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.reconcile("emea", "fr")
	b.wantTopology("emea", "AuditPassed=False/JobFailed", "Ready=True/Ready")
	b.wantEvents("Warning JobFailed StockSyncTopology/emea: the agent began no run for the newest Job (its pod does not run)")

	one := int32(1)
	job.Status.Active, job.Status.Ready = 1, &one
	b.must(b.admin.Status().Update(t.Context(), job))
	b.reconcile("emea", "fr")
	b.wantTopology("emea", "AuditPassed=Unknown/NotRunYet")
}

func TestJobThatNeverReachedTheAgent(t *testing.T) {
	t.Parallel()
	b := scheduled(t)
	b.failJob("emea-reconcile")
	b.reconcile("emea", "fr")
	b.wantTopology("emea", "ReconcileSucceeded=False/JobFailed", "AuditPassed=Unknown/NotRunYet")
	b.wantEvents("Warning JobFailed StockSyncTopology/emea: the agent began no run for the newest Job (BackoffLimitExceeded)")

	// A run that began later tells more than the Job.
	b.clock.Step(time.Minute)
	report := b.healthy("emea", "hq", "fr")
	report.LastReconcile = b.run(1, agentapi.KindReconcile, agentapi.Succeeded, nil)
	b.agentSays("emea", report)
	b.reconcile("emea", "fr")
	b.wantTopology("emea", "ReconcileSucceeded=True/RunSucceeded")
	b.wantEvents("Normal RunSucceeded")

	b.clock.Step(time.Hour)
	b.failJob("emea-reconcile")
	b.once("emea")
	b.wantTopology("emea", "ReconcileSucceeded=False/JobFailed")
}

func TestRequestByAnnotationIsAnswered(t *testing.T) {
	t.Parallel()
	b := running(t)
	before := b.configFile("emea")
	b.apply(strings.Replace(emea, "{name: emea}", `{name: emea, annotations: {stocksync.dev/reconcile-requested-at: "release 7", team: shops}}`, 1))
	b.once("emea")
	file := b.configFile("emea")
	if file == before || !strings.Contains(file, "stocksync.dev/reconcile-requested-at: release 7") || strings.Contains(file, "team") {
		t.Errorf("the agent is told\n%s", file)
	}
	report := b.healthy("emea", "hq", "fr")
	report.LastReconcile = b.run(1, agentapi.KindReconcile, agentapi.Running, nil)
	b.agentSays("emea", report)
	b.reconcile("emea", "fr")
	if got := b.status(); got.LastHandledReconcileRequest != "" || got.LastReconcile.State != "Running" {
		t.Errorf("status %+v while the run goes on", got)
	}
	// A pipeline waits: the answer does not, whatever was written just before.
	report = b.healthy("emea", "hq", "fr")
	report.LastReconcile, report.HandledReconcile = b.run(1, agentapi.KindReconcile, agentapi.Succeeded, nil), "release 7"
	b.agentSays("emea", report)
	b.once("emea")
	if got := b.status(); got.LastHandledReconcileRequest != "release 7" || got.LastReconcile.State != "Succeeded" {
		t.Errorf("status %+v after the run", got)
	}
	b.wantTopology("emea", "ReconcileSucceeded=True/RunSucceeded", "AuditPassed=")
}

func TestTrippedBreaker(t *testing.T) {
	t.Parallel()
	b := running(t)
	b.events.take()
	report := b.healthy("emea", "hq", "fr")
	report.Breaker = &agentapi.Breaker{TripID: "t-42", Since: b.clock.Now(), Zeroed: 90, Of: 300, Store: "hq", Message: "90 of 300 SKUs would be zeroed; approve t-42"}
	b.agentSays("emea", report)
	b.reconcile("emea", "fr")
	b.wantTopology("emea", "CircuitBreakerTripped=True/LargeChange", "Ready=False/LargeChange", "Stalled=True/LargeChange")
	if s := b.status().CircuitBreaker; s == nil || s.TripID != "t-42" || s.Zeroed != 90 || s.StoreID != "hq" {
		t.Errorf("circuitBreaker %+v", s)
	}
	b.wantEvents("Warning CircuitBreakerTripped StockSyncTopology/emea: 90 of 300 SKUs would be zeroed; approve t-42", "Warning LargeChange StockSyncTopology/emea: trip t-42")
	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.reconcile("emea", "fr")
	b.wantTopology("emea", "CircuitBreakerTripped=", "Ready=True/Ready", "Stalled=")
	b.wantEvents("Normal CircuitBreakerReleased StockSyncTopology/emea: trip t-42 is over", "Normal Ready StockSyncTopology/emea")
}

func TestEventsTellOfChangesAndNothingElse(t *testing.T) {
	t.Parallel()
	b := running(t)
	if got := b.events.take(); len(got) != 2 || !strings.HasPrefix(got[0], "Normal Ready") || !strings.HasPrefix(got[1], "Normal Ready") {
		t.Errorf("coming up well raised %q, want Ready of each object", got)
	}
	b.clock.Step(6 * time.Minute)
	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.reconcile("emea", "fr")
	b.wantEvents() // a heartbeat

	report := b.healthy("emea", "hq", "fr")
	report.Stores[1].Connected = agentapi.Condition{Status: "False", Reason: v1alpha1.ReasonTimeout, Message: "no answer within 30 s", Since: b.clock.Now()}
	b.agentSays("emea", report)
	b.reconcile("emea", "fr")
	b.wantChild("fr", "Connected=False/Timeout", "Ready=False/Timeout")
	b.wantEvents("Warning Timeout ChildStore/fr: no answer within 30 s")
	b.restart()
	b.once("emea", "fr")
	b.agentSays("emea", report)
	b.reconcile("emea", "fr")
	b.wantEvents() // told already, by the operator before

	b.agentSays("emea", b.healthy("emea", "hq", "fr"))
	b.reconcile("emea", "fr")
	b.wantEvents("Normal Connected ChildStore/fr", "Normal Ready ChildStore/fr")

	for range 3 {
		b.clock.Step(16 * time.Second)
		b.agentSays("emea", nil)
	}
	b.reconcile("emea", "fr")
	b.wantEvents("Warning AgentUnreachable StockSyncTopology/emea", "Warning AgentUnreachable ChildStore/fr")
}

// TestToolRolesOpenTheTokensAlone asks the API server what people bound to the tools' roles may do.
func TestToolRolesOpenTheTokensAlone(t *testing.T) {
	t.Parallel()
	b := running(t)
	for _, role := range []string{"emea-tools-read", "emea-tools"} {
		b.must(b.admin.Create(t.Context(), &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: role},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: role}},
		}))
	}
	for _, c := range []struct {
		verb, group, resource, sub, name string
		read, write                      bool
	}{
		{"get", "", "secrets", "", "emea-agent-tools-read", true, true},
		{"get", "", "secrets", "", "emea-agent-tools-write", false, true},
		{"get", "", "secrets", "", "emea-agent-private", false, false},
		{"get", "", "secrets", "", "emea-agent-config", false, false},
		{"get", "", "secrets", "", "hq-rest", false, false},
		{"list", "", "secrets", "", "", false, false},
		{"get", "", "pods", "", "emea-agent-0", true, true},
		{"create", "", "pods", "portforward", "emea-agent-0", true, true},
		{"get", "", "pods", "portforward", "emea-agent-0", true, true},
		{"create", "", "pods", "portforward", "shop-0", false, false},
		{"create", "", "pods", "exec", "emea-agent-0", false, false},
		{"get", "stocksync.dev", "stocksynctopologies", "", "emea", true, true},
		{"patch", "stocksync.dev", "stocksynctopologies", "", "emea", false, false},
	} {
		for user, want := range map[string]bool{"emea-tools-read": c.read, "emea-tools": c.write} {
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User: user, ResourceAttributes: &authorizationv1.ResourceAttributes{
					Verb: c.verb, Group: c.group, Resource: c.resource, Subresource: c.sub, Namespace: b.namespace, Name: c.name}}}
			b.must(b.admin.Create(t.Context(), review))
			if review.Status.Allowed != want {
				t.Errorf("%s may %s %s/%s %s: %v, want %v", user, c.verb, c.resource, c.sub, c.name, review.Status.Allowed, want)
			}
		}
	}
	// No store's key is in what they open.
	for _, name := range []string{"emea-agent-tools-read", "emea-agent-tools-write"} {
		secret := b.secret(name)
		for key, value := range secret.Data {
			if contains(value, "ck_") || contains(value, "cs_") || key == agentapi.TLSKeyFile {
				t.Errorf("Secret %s opens %s", name, key)
			}
		}
		private := b.secret("emea-agent-private").Data
		file := map[string]string{"emea-agent-tools-read": agentapi.ReadTokenFile, "emea-agent-tools-write": agentapi.WriteTokenFile}[name]
		if string(secret.Data[agentapi.TokenFile]) != string(private[file]) || string(secret.Data[agentapi.CAFile]) != string(private[agentapi.CAFile]) {
			t.Errorf("Secret %s does not fit what the agent was given", name)
		}
	}
}

func TestTokensAreRotatedWithThePrivatePort(t *testing.T) {
	t.Parallel()
	b := running(t)
	before := b.secret("emea-agent-tools-write").Data
	b.clock.Step(61 * 24 * time.Hour)
	b.once("emea")
	renewed := b.secret("emea-agent-tools-write").Data
	if string(renewed[agentapi.CAFile]) == string(before[agentapi.CAFile]) || string(renewed[agentapi.TokenFile]) != string(before[agentapi.TokenFile]) {
		t.Error("a renewed certificate must reach the tools, and leave their token")
	}
	b.delete(b.secret("emea-agent-private"))
	b.once("emea")
	rotated := b.secret("emea-agent-tools-write").Data
	if string(rotated[agentapi.TokenFile]) == string(before[agentapi.TokenFile]) {
		t.Error("deleting the private port's Secret must rotate every token")
	}
	if string(rotated[agentapi.TokenFile]) != string(b.secret("emea-agent-private").Data[agentapi.WriteTokenFile]) {
		t.Error("the tools have a token that the agent does not know")
	}
}

// TestOlderInstallationGetsTokensWithoutRestart: the private port's Secret of an operator from before the tools.
func TestOlderInstallationGetsTokensWithoutRestart(t *testing.T) {
	t.Parallel()
	b := running(t)
	secret, set := b.secret("emea-agent-private"), b.versions()["StatefulSet emea-agent"]
	token := string(secret.Data[agentapi.TokenFile])
	b.must(b.admin.Patch(t.Context(), secret, client.RawPatch(types.MergePatchType, []byte(`{"data":{"read-token":null,"write-token":null}}`))))
	b.restart()
	b.once("emea")
	after := b.secret("emea-agent-private").Data
	if len(after[agentapi.ReadTokenFile]) < 32 || len(after[agentapi.WriteTokenFile]) < 32 || string(after[agentapi.TokenFile]) != token {
		t.Error("the tools' tokens are missing, or the operator's own changed")
	}
	if !contains(after[agentapi.CAFile], string(secret.Data[agentapi.TLSCertFile])) {
		t.Error("the operator would not trust the agent until it has read the new certificate")
	}
	if now := b.versions()["StatefulSet emea-agent"]; now != set {
		t.Error("the StatefulSet was changed: agents would restart")
	}
}

// kubectl runs the real one, in the bench's namespace.
func (b *bench) kubectl(config string, arguments ...string) string {
	b.Helper()
	command := exec.CommandContext(b.Context(), filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+config)
	out, err := command.CombinedOutput()
	if err != nil {
		b.Fatalf("kubectl %s: %v\n%s", strings.Join(arguments, " "), err, out)
	}
	return string(out)
}

// kubeconfig is the path of an administrator's, in the bench's namespace.
func (b *bench) kubeconfig() string {
	b.Helper()
	config := filepath.Join(b.TempDir(), "kubeconfig")
	b.must(clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"c": {Server: "https://" + strings.TrimPrefix(serverConfig.Host, "https://"), CertificateAuthorityData: serverConfig.CAData}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"u": {
			ClientCertificateData: serverConfig.CertData, ClientKeyData: serverConfig.KeyData, Token: serverConfig.BearerToken}},
		Contexts:       map[string]*clientcmdapi.Context{"c": {Cluster: "c", AuthInfo: "u", Namespace: b.namespace}},
		CurrentContext: "c",
	}, config))
	return config
}

func TestKubectl(t *testing.T) {
	t.Parallel()
	b := scheduled(t)
	config := b.kubeconfig()
	b.kubectl(config, "wait", "--for=condition=InSync", "--timeout=20s", "sst/emea", "chs/fr")

	b.kubectl(config, "annotate", "sst/emea", v1alpha1.AnnotationReconcileRequestedAt+"=42")
	b.once("emea")
	report := b.healthy("emea", "hq", "fr")
	report.LastReconcile, report.HandledReconcile = b.run(9, agentapi.KindReconcile, agentapi.Succeeded, nil), "42"
	b.agentSays("emea", report)
	b.once("emea")
	b.kubectl(config, "wait", "--for=jsonpath={.status.lastHandledReconcileRequest}=42", "--timeout=20s", "sst/emea")
	b.kubectl(config, "wait", "--for=condition=ReconcileSucceeded", "--timeout=20s", "sst/emea")
	table := b.kubectl(config, "get", "sst", "emea")
	if !strings.Contains(table, "LAST-RECONCILE") || !strings.Contains(table, "LAST-AUDIT") {
		t.Errorf("columns\n%s", table)
	}

	b.kubectl(config, "create", "job", "--from=cronjob/emea-reconcile", "now")
	job := &batchv1.Job{}
	b.must(b.admin.Get(t.Context(), b.key("now"), job))
	cron := b.cronJob("emea-reconcile")
	if job.Labels[v1alpha1.LabelTopology] != "emea" || job.Spec.Template.Labels[render.LabelComponent] != render.ComponentReconcile ||
		metav1.GetControllerOf(job).UID != cron.UID {
		t.Errorf("a Job made by hand: %+v", job.ObjectMeta)
	}
	b.log.take()
	b.reconcile("emea", "fr")
}

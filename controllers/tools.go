package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/render"
)

// +kubebuilder:rbac:groups=batch,resources=cronjobs,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=get;list;watch
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=roles,verbs=get;list;watch;create;patch

// A role may only be made by someone who has its rights. Those of the tools' roles, beside reading Secrets and pods:
// +kubebuilder:rbac:groups="",resources=pods/portforward,verbs=create;get

// toolInput is what is found of one of a topology's tools, beside what the agent says of its runs.
type toolInput struct {
	// timetable is nil when none is wanted.
	timetable *v1alpha1.Timetable
	// next is when it comes due; invalid says why it never does, refused why its CronJob cannot be.
	next    time.Time
	invalid error
	refused error
	// job is the newest Job of which something is known; nil when there is none.
	job *jobOutcome
}

// jobOutcome is how a Job ended, or that it does not get under way.
type jobOutcome struct {
	started time.Time
	failed  bool
	reason  string
}

// jobPatience is how long a Job may take until its pod runs.
const jobPatience = 10 * time.Minute

// lookTools judges the schedules and finds how the newest Jobs ended. A pod that could not reach the agent is known
// to Kubernetes alone.
func (r *topologyReconciler) lookTools(ctx context.Context, s *scope) error {
	if !s.in.verdict.accepted() || s.topology.Spec.Reconcile == nil && s.topology.Spec.Audit == nil {
		return nil
	}
	list := &batchv1.JobList{}
	if err := r.client.List(ctx, list, client.InNamespace(s.topology.Namespace), client.UnsafeDisableDeepCopy,
		client.MatchingLabels{v1alpha1.LabelTopology: s.topology.Name, "app.kubernetes.io/managed-by": render.ManagedBy}); err != nil {
		return fmt.Errorf("listing the Jobs of the namespace: %w", err)
	}
	jobs := newestJobs(list.Items, s.in.now)
	names := render.NamesOf(s.topology.Name)
	if want := s.topology.Spec.Reconcile; want != nil {
		s.in.reconcile = newToolInput(&want.Timetable, s.in.now, jobs[names.ReconcileCronJob])
	}
	if want := s.topology.Spec.Audit; want != nil {
		s.in.audit = newToolInput(&want.Timetable, s.in.now, jobs[names.AuditCronJob])
	}
	return nil
}

func newToolInput(timetable *v1alpha1.Timetable, now time.Time, job *jobOutcome) toolInput {
	in := toolInput{timetable: timetable, job: job}
	in.next, in.invalid = render.Next(timetable, now)
	return in
}

// newestJobs finds, by the name of their CronJob, what is known of the Jobs that began last.
func newestJobs(jobs []batchv1.Job, now time.Time) map[string]*jobOutcome {
	newest := map[string]*jobOutcome{}
	for i := range jobs {
		job := &jobs[i]
		cron, end := metav1.GetControllerOf(job), outcomeOf(job, now)
		if cron == nil || cron.Kind != "CronJob" || end == nil {
			continue
		}
		if known := newest[cron.Name]; known == nil || end.started.After(known.started) {
			newest[cron.Name] = end
		}
	}
	return newest
}

// outcomeOf is how a Job ended, or that its pod does not get under way; nil while all goes well.
func outcomeOf(job *batchv1.Job, now time.Time) *jobOutcome {
	o := &jobOutcome{started: job.CreationTimestamp.Time}
	if job.Status.StartTime != nil {
		o.started = job.Status.StartTime.Time
	}
	if end := endOf(job); end != nil {
		o.failed, o.reason = end.Type == batchv1.JobFailed, end.Reason
		return o
	}
	if running := job.Status.Ready; (running == nil || *running == 0) && now.Sub(o.started) > jobPatience {
		o.failed, o.reason = true, "its pod does not run"
		return o
	}
	return nil
}

// endOf is the condition that says how a Job ended; nil while it has not.
func endOf(job *batchv1.Job) *batchv1.JobCondition {
	for i, c := range job.Status.Conditions {
		if c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) {
			return &job.Status.Conditions[i]
		}
	}
	return nil
}

// tools makes what Jobs and people need to ask the agent, and the CronJobs. A CronJob that Kubernetes refuses is no
// trouble of the agent: it is told by the condition of its tool.
func (r *topologyReconciler) tools(ctx context.Context, s *scope) error {
	t := s.topology
	objects := []intent{render.ToolNetworkPolicy(t)}
	for _, secret := range render.ToolSecrets(t, s.private) {
		objects = append(objects, secret)
	}
	for _, role := range render.ToolRoles(t) {
		objects = append(objects, role)
	}
	names := render.NamesOf(t.Name)
	errs := []error{r.applyAll(ctx, t, objects)}
	if cron := render.ReconcileCronJob(t, r.operator); cron == nil {
		errs = append(errs, r.applier.remove(ctx, t, cronJobKind, names.ReconcileCronJob))
	} else {
		errs = append(errs, r.schedule(ctx, s, cron, &s.in.reconcile))
	}
	if cron := render.AuditCronJob(t, r.operator); cron == nil {
		errs = append(errs, r.applier.remove(ctx, t, cronJobKind, names.AuditCronJob))
	} else {
		errs = append(errs, r.schedule(ctx, s, cron, &s.in.audit))
	}
	return errors.Join(errs...)
}

var cronJobKind = batchv1.SchemeGroupVersion.WithKind("CronJob")

func (r *topologyReconciler) schedule(ctx context.Context, s *scope, cron intent, in *toolInput) error {
	var err error
	if in.invalid == nil { // else Kubernetes would refuse it, or never run it; the CronJob before stays
		_, err = r.applier.apply(ctx, s.topology, cron)
	}
	if refused, ok := errors.AsType[*refusedError](err); ok {
		in.refused, err = refused, nil
		s.comeBack(time.Minute)
	}
	return err
}

// runResults are reasons that tell how a run ended.
var runResults = map[string]bool{
	v1alpha1.ReasonRunSucceeded: true, v1alpha1.ReasonNeedsAttention: true,
	v1alpha1.ReasonRunFailed: true, v1alpha1.ReasonRunCancelled: true,
}

const suspendedNote = "; its schedule is suspended"

// runFinding is ReconcileSucceeded or AuditPassed; false when there is nothing to say because neither a schedule nor
// a run is there. what is reconcile or audit.
func runFinding(what, conditionType string, in toolInput, run *v1alpha1.RunStatus, before []metav1.Condition) (finding, bool) {
	suspended := in.timetable != nil && in.timetable.Suspend
	found, known := resultOf(what, conditionType, run, before)
	switch {
	case in.refused != nil:
		return isFalse(v1alpha1.ReasonResourceRefused, in.refused.Error()), true
	case in.invalid != nil:
		return isFalse(v1alpha1.ReasonInvalidSchedule, in.invalid.Error()), true
	case in.job != nil && in.job.failed && !began(run, in.job):
		found = isFalse(v1alpha1.ReasonJobFailed, fmt.Sprintf("the agent began no run for the newest Job (%s); "+
			"see condition AgentAvailable, and the Job's pods by the label %s=%s", in.job.reason, render.LabelComponent, what))
	case known:
	case in.timetable == nil:
		return finding{}, false
	case suspended:
		return isUnknown(v1alpha1.ReasonSuspended, "the schedule is suspended, and there was no "+what+" yet"), true
	default:
		return isUnknown(v1alpha1.ReasonNotRunYet, "there was no "+what+" yet; the schedule begins the first"), true
	}
	if suspended {
		found.message += suspendedNote
	}
	return found, true
}

// began reports whether the run is one that the Job asked for, or a later one. The clocks of the agent's node and of
// the control plane may differ a little.
func began(run *v1alpha1.RunStatus, job *jobOutcome) bool {
	return run != nil && !run.StartTime.Add(10*time.Second).Before(job.started)
}

func resultOf(what, conditionType string, run *v1alpha1.RunStatus, before []metav1.Condition) (finding, bool) {
	if run == nil {
		return finding{}, false
	}
	var f finding
	switch agentapi.RunState(run.State) {
	case agentapi.Running:
		// Until it ends, what the run before found still holds.
		if c := meta.FindStatusCondition(before, conditionType); c != nil && runResults[c.Reason] {
			return finding{status: c.Status, reason: c.Reason, message: strings.TrimSuffix(c.Message, suspendedNote)}, true
		}
		return isUnknown(v1alpha1.ReasonRunning, "the first "+what+" is running"), true
	case agentapi.Succeeded:
		f = isTrue(v1alpha1.ReasonRunSucceeded, "the last "+what+" found nothing that needs a person")
	case agentapi.Cancelled:
		f = isUnknown(v1alpha1.ReasonRunCancelled, "the last "+what+" was cancelled")
	case agentapi.NeedsAttention:
		message := "the last " + what + " found what needs a person"
		if counts := countsText(run.Counts); counts != "" {
			message += ": " + counts
		}
		f = isFalse(v1alpha1.ReasonNeedsAttention, message)
	default:
		f = isFalse(v1alpha1.ReasonRunFailed, cmp.Or(run.Message, "the last "+what+" could not do its work"))
	}
	if run.FinishTime != nil {
		f.since = run.FinishTime.Time
	}
	return f, true
}

// countsText lists the findings that are an alarm. It is the same for the same result, so that it tells whether one
// changed.
func countsText(counts []v1alpha1.RunCount) string {
	var parts []string
	for _, c := range counts {
		if c.Class != string(agentapi.InFlight) && c.Count > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", c.Class, c.Count))
		}
	}
	return strings.Join(parts, ", ")
}

// runStatus is what the agent said of a run.
func runStatus(run *agentapi.Run) *v1alpha1.RunStatus {
	s := &v1alpha1.RunStatus{
		ID: run.ID, Strategy: string(run.Request.Strategy), State: string(run.State), Message: short(run.Message),
		StartTime: metav1.NewTime(run.StartedAt.Truncate(time.Second)),
		Done:      count(run.Done), Total: count(run.Total),
	}
	if run.FinishedAt != nil {
		finished := metav1.NewTime(run.FinishedAt.Truncate(time.Second))
		s.FinishTime = &finished
	}
	for class, n := range run.Counts {
		s.Counts = append(s.Counts, v1alpha1.RunCount{Class: string(class), Count: *count(n)})
	}
	slices.SortFunc(s.Counts, func(a, b v1alpha1.RunCount) int { return strings.Compare(a.Class, b.Class) })
	for _, f := range run.Worst[:min(len(run.Worst), agentapi.MaxWorst)] {
		s.Worst = append(s.Worst, v1alpha1.RunFinding{
			Class: string(f.Class), StoreID: f.Store, SKU: f.SKU, Shown: f.Shown, Wanted: f.Wanted, Message: short(f.Message)})
	}
	return s
}

func breakerStatus(b *agentapi.Breaker) *v1alpha1.BreakerStatus {
	if b == nil {
		return nil
	}
	return &v1alpha1.BreakerStatus{
		TripID: b.TripID, SinceTime: metav1.NewTime(b.Since.Truncate(time.Second)), StoreID: b.Store,
		Zeroed: *count(b.Zeroed), Multiplied: *count(b.Multiplied), Of: *count(b.Of), Message: short(b.Message),
	}
}

// takeTools takes over what the agent said of its runs and of the circuit breaker. A run stays where the agent does
// not know of any, as after the loss of its ledger.
func takeTools(after *v1alpha1.StockSyncTopologyStatus, report *agentapi.Status) {
	if report.LastReconcile != nil {
		after.LastReconcile = runStatus(report.LastReconcile)
	}
	if report.LastAudit != nil {
		after.LastAudit = runStatus(report.LastAudit)
	}
	after.LastHandledReconcileRequest = cmp.Or(report.HandledReconcile, after.LastHandledReconcileRequest)
	after.LastHandledAuditRequest = cmp.Or(report.HandledAudit, after.LastHandledAuditRequest)
	after.CircuitBreaker = breakerStatus(report.Breaker)
}

// toolFindings adds what is known of the tools to the conditions.
func (f findings) toolFindings(after *v1alpha1.StockSyncTopologyStatus, before []metav1.Condition, in topologyInput) {
	if found, said := runFinding("reconcile", v1alpha1.ConditionReconcileSucceeded, in.reconcile, after.LastReconcile, before); said {
		f[v1alpha1.ConditionReconcileSucceeded] = found
	}
	if found, said := runFinding("audit", v1alpha1.ConditionAuditPassed, in.audit, after.LastAudit, before); said {
		f[v1alpha1.ConditionAuditPassed] = found
	}
	if b := after.CircuitBreaker; b != nil {
		tripped := isTrue(v1alpha1.ReasonLargeChange, fmt.Sprintf("trip %s: %s", b.TripID, b.Message))
		tripped.since = b.SinceTime.Time
		f[v1alpha1.ConditionCircuitBreakerTripped] = tripped
	}
	after.NextReconcileTime, after.NextAuditTime = in.reconcile.nextTime(), in.audit.nextTime()
}

func (in toolInput) nextTime() *metav1.Time {
	if in.timetable == nil || in.timetable.Suspend || in.invalid != nil || in.refused != nil {
		return nil
	}
	next := metav1.NewTime(in.next.UTC())
	return &next
}

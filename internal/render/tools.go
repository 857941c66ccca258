package render

import (
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	batchac "k8s.io/client-go/applyconfigurations/batch/v1"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	metaac "k8s.io/client-go/applyconfigurations/meta/v1"
	networkingac "k8s.io/client-go/applyconfigurations/networking/v1"
	rbacac "k8s.io/client-go/applyconfigurations/rbac/v1"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
)

// LabelComponent tells on the Jobs and their pods which tool they run: [ComponentReconcile] or [ComponentAudit].
const LabelComponent = "app.kubernetes.io/component"

// The components of a topology that are not the agent.
const (
	ComponentReconcile = "reconcile"
	ComponentAudit     = "audit"
	componentTools     = "tools"
)

// toolRetries is how often a Job tries again when the agent cannot be asked: after 10, 20 and 40 seconds, so that
// an agent that is just being replaced fails no Job.
const toolRetries = 3

// jobUID is the variable of a pod that holds the id of its Job.
const jobUID = "JOB_UID"

// toolSelector finds the pods of a topology's Jobs.
func toolSelector(t *v1alpha1.StockSyncTopology) map[string]string {
	return map[string]string{
		"app.kubernetes.io/name": "stocksync-tools",
		v1alpha1.LabelTopology:   t.Name,
	}
}

// toolLabels of what belongs to the tools. See [labels] for what is left out on purpose.
func toolLabels(t *v1alpha1.StockSyncTopology, component string) map[string]string {
	l := labels(t)
	l["app.kubernetes.io/name"] = toolSelector(t)["app.kubernetes.io/name"]
	l[LabelComponent] = component
	return l
}

// URL is the address of the agent's private port, inside the cluster.
func URL(t *v1alpha1.StockSyncTopology) string {
	return fmt.Sprintf("https://%s:%d", ServerName(t), agentapi.PrivatePort)
}

// ToolSecrets hold what Jobs and people need to ask the agent, and nothing of the stores: one with the token that
// reads, one with the token that also writes.
func ToolSecrets(t *v1alpha1.StockSyncTopology, p Private) []*coreac.SecretApplyConfiguration {
	names := NamesOf(t.Name)
	secret := func(name string, token []byte) *coreac.SecretApplyConfiguration {
		return coreac.Secret(name, t.Namespace).
			WithLabels(toolLabels(t, componentTools)).
			WithOwnerReferences(owner(t)).
			WithType(corev1.SecretTypeOpaque).
			WithData(map[string][]byte{
				agentapi.TokenFile: token,
				agentapi.CAFile:    p.CA,
				agentapi.URLKey:    []byte(URL(t)),
			})
	}
	return []*coreac.SecretApplyConfiguration{
		secret(names.ToolsReadSecret, p.ReadToken), secret(names.ToolsWriteSecret, p.WriteToken),
	}
}

// ToolRoles are what an administrator binds to people who may use the tools: reach the agent by port-forward, and
// read its tokens. The first reads, the second also writes. Neither may read any other Secret.
func ToolRoles(t *v1alpha1.StockSyncTopology) []*rbacac.RoleApplyConfiguration {
	names := NamesOf(t.Name)
	role := func(name string, secrets ...string) *rbacac.RoleApplyConfiguration {
		rule := func(group, resource string, names []string, verbs ...string) *rbacac.PolicyRuleApplyConfiguration {
			return rbacac.PolicyRule().WithAPIGroups(group).WithResources(resource).WithResourceNames(names...).WithVerbs(verbs...)
		}
		return rbacac.Role(name, t.Namespace).
			WithLabels(toolLabels(t, componentTools)).
			WithOwnerReferences(owner(t)).
			WithRules(
				rule("", "secrets", secrets, "get"),
				rule("", "pods", []string{names.Pod}, "get"),
				// A port-forward over WebSocket is a get, one over SPDY a create.
				rule("", "pods/portforward", []string{names.Pod}, "create", "get"),
				// Lists cannot be narrowed by name. There is no secret in these.
				rule(v1alpha1.SchemeGroupVersion.Group, "stocksynctopologies", nil, "get", "list"),
				rule(v1alpha1.SchemeGroupVersion.Group, "childstores", nil, "get", "list"),
			)
	}
	return []*rbacac.RoleApplyConfiguration{
		role(names.ToolsReadRole, names.ToolsReadSecret),
		role(names.ToolsRole, names.ToolsReadSecret, names.ToolsWriteSecret),
	}
}

// ToolNetworkPolicy lets the pods of Jobs resolve names and reach their agent's private port; nothing else, and
// nobody reaches them.
func ToolNetworkPolicy(t *v1alpha1.StockSyncTopology) *networkingac.NetworkPolicyApplyConfiguration {
	return networkingac.NetworkPolicy(NamesOf(t.Name).ToolsPolicy, t.Namespace).
		WithLabels(toolLabels(t, componentTools)).
		WithOwnerReferences(owner(t)).
		WithSpec(networkingac.NetworkPolicySpec().
			WithPodSelector(metaac.LabelSelector().WithMatchLabels(toolSelector(t))).
			WithPolicyTypes(networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress).
			WithEgress(
				networkingac.NetworkPolicyEgressRule().WithPorts(
					policyPort(corev1.ProtocolUDP, 53), policyPort(corev1.ProtocolTCP, 53)),
				networkingac.NetworkPolicyEgressRule().
					WithPorts(policyPort(corev1.ProtocolTCP, agentapi.PrivatePort)).
					WithTo(networkingac.NetworkPolicyPeer().
						WithPodSelector(metaac.LabelSelector().WithMatchLabels(selector(t)))),
			))
}

// ReconcileCronJob runs reconciles by schedule; nil when the topology asks for none.
func ReconcileCronJob(t *v1alpha1.StockSyncTopology, operator Operator) *batchac.CronJobApplyConfiguration {
	want := t.Spec.Reconcile
	if want == nil {
		return nil
	}
	names := NamesOf(t.Name)
	secret := names.ToolsWriteSecret
	if want.EffectiveStrategy() == v1alpha1.ReconcileDryRun {
		secret = names.ToolsReadSecret
	}
	return cronJob(t, operator, names.ReconcileCronJob, ComponentReconcile, &want.Timetable, secret,
		"--strategy", string(want.EffectiveStrategy()))
}

// AuditCronJob runs audits by schedule; nil when the topology asks for none.
func AuditCronJob(t *v1alpha1.StockSyncTopology, operator Operator) *batchac.CronJobApplyConfiguration {
	want := t.Spec.Audit
	if want == nil {
		return nil
	}
	names := NamesOf(t.Name)
	return cronJob(t, operator, names.AuditCronJob, ComponentAudit, &want.Timetable, names.ToolsReadSecret)
}

func cronJob(t *v1alpha1.StockSyncTopology, operator Operator, name, component string, when *v1alpha1.Timetable,
	secret string, arguments ...string) *batchac.CronJobApplyConfiguration {
	l := toolLabels(t, component)
	return batchac.CronJob(name, t.Namespace).
		WithLabels(l).
		WithOwnerReferences(owner(t)).
		WithSpec(batchac.CronJobSpec().
			WithSchedule(when.Schedule).
			WithTimeZone(when.EffectiveTimeZone()).
			WithSuspend(when.Suspend).
			WithConcurrencyPolicy(batchv1.ForbidConcurrent).
			WithStartingDeadlineSeconds(int64(or(when.StartingDeadlineSeconds, v1alpha1.DefaultStartingDeadlineSeconds))).
			WithSuccessfulJobsHistoryLimit(or(when.SuccessfulJobsHistoryLimit, v1alpha1.DefaultSuccessfulJobsHistoryLimit)).
			WithFailedJobsHistoryLimit(or(when.FailedJobsHistoryLimit, v1alpha1.DefaultFailedJobsHistoryLimit)).
			// The labels of the template are those of a Job made by hand from this CronJob too.
			WithJobTemplate(batchac.JobTemplateSpec().WithLabels(l).WithSpec(batchac.JobSpec().
				WithBackoffLimit(toolRetries).
				WithActiveDeadlineSeconds(int64(or(when.ActiveDeadlineSeconds, v1alpha1.DefaultActiveDeadlineSeconds))).
				WithPodFailurePolicy(batchac.PodFailurePolicy().WithRules(
					batchac.PodFailurePolicyRule().
						WithAction(batchv1.PodFailurePolicyActionFailJob).
						WithOnExitCodes(batchac.PodFailurePolicyOnExitCodesRequirement().
							WithContainerName(component).
							WithOperator(batchv1.PodFailurePolicyOnExitCodesOpIn).
							WithValues(agentapi.ExitNeedsAttention, agentapi.ExitCancelled)),
					// A pod that had to leave its node has not failed.
					batchac.PodFailurePolicyRule().
						WithAction(batchv1.PodFailurePolicyActionIgnore).
						WithOnPodConditions(batchac.PodFailurePolicyOnPodConditionsPattern().
							WithType(corev1.DisruptionTarget).
							WithStatus(corev1.ConditionTrue)))).
				WithTemplate(coreac.PodTemplateSpec().WithLabels(l).
					WithSpec(toolPod(t, operator, component, secret, arguments))))))
}

func toolPod(t *v1alpha1.StockSyncTopology, operator Operator, component, secret string, arguments []string) *coreac.PodSpecApplyConfiguration {
	container := coreac.Container().
		WithName(component).
		WithImage(image(agentOf(t), operator)).
		WithImagePullPolicy(corev1.PullIfNotPresent).
		WithArgs(append([]string{component,
			"--connect", URL(t),
			"--ca-file", path.Join(agentapi.ToolsDir, agentapi.CAFile),
			"--token-file", path.Join(agentapi.ToolsDir, agentapi.TokenFile),
			"--termination-log", corev1.TerminationMessagePathDefault,
			// A pod that replaces another waits for the run the first one began.
			"--request-id", "$(" + jobUID + ")",
		}, arguments...)...).
		WithEnv(coreac.EnvVar().WithName(jobUID).WithValueFrom(coreac.EnvVarSource().
			WithFieldRef(coreac.ObjectFieldSelector().WithFieldPath("metadata.labels['" + batchv1.ControllerUidLabel + "']")))).
		WithResources(coreac.ResourceRequirements().
			WithRequests(corev1.ResourceList{
				corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")}).
			WithLimits(corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("128Mi")})).
		WithTerminationMessagePolicy(corev1.TerminationMessageFallbackToLogsOnError).
		WithSecurityContext(containerSecurity()).
		WithVolumeMounts(mount("tools", agentapi.ToolsDir))
	return podSpec(t).
		WithRestartPolicy(corev1.RestartPolicyNever).
		WithTerminationGracePeriodSeconds(10).
		WithContainers(container).
		WithVolumes(secretVolume("tools", secret))
}

func or(value *int32, otherwise int32) int32 {
	if value == nil {
		return otherwise
	}
	return *value
}

// Next is when the timetable comes due after the given time. The error says what of it cannot be used, or that it
// never comes due.
func Next(when *v1alpha1.Timetable, after time.Time) (time.Time, error) {
	// LoadLocation would take these for UTC and for the zone of the machine.
	zone, err := time.LoadLocation(when.EffectiveTimeZone())
	if err != nil || zone == time.Local {
		return time.Time{}, fmt.Errorf("timeZone %q is not known; it must be a name of the IANA database such as Europe/Berlin or Etc/UTC", when.TimeZone)
	}
	schedule, err := cron.ParseStandard(when.Schedule)
	if err != nil {
		return time.Time{}, fmt.Errorf("schedule %q cannot be read: %w", when.Schedule, err)
	}
	next := schedule.Next(after.In(zone))
	if next.IsZero() {
		return time.Time{}, errors.New("the schedule never comes due: there is no such day; choose another day of the month, or another month")
	}
	return next, nil
}

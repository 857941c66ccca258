package render

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	appsac "k8s.io/client-go/applyconfigurations/apps/v1"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	metaac "k8s.io/client-go/applyconfigurations/meta/v1"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
)

// TemplateHashVersion names the way this version of the operator writes pod templates. A StatefulSet with another
// version and the same hash is left as it is, so that a new operator restarts no agent; raise it with every
// change of the template.
const TemplateHashVersion = "1"

// user is the unprivileged user and group of the agent's image.
const user = 65532

// ServiceAccount of the agent. It has no rights, and its token is not mounted.
func ServiceAccount(t *v1alpha1.StockSyncTopology) *coreac.ServiceAccountApplyConfiguration {
	return coreac.ServiceAccount(NamesOf(t.Name).Workload, t.Namespace).
		WithLabels(labels(t)).
		WithOwnerReferences(owner(t)).
		WithAutomountServiceAccountToken(false)
}

// TemplateHash covers what the pod template depends on: the image and the user's wishes for the pod.
func TemplateHash(t *v1alpha1.StockSyncTopology, operator Operator) string {
	agent := agentOf(t)
	// Storage and exposure are not part of the pod.
	inputs, err := json.Marshal([]any{image(agent, operator), agent.ImagePullSecrets, agent.Resources, agent.Scheduling})
	if err != nil {
		panic(fmt.Sprintf("plain data always marshals: %v", err))
	}
	sum := sha256.Sum256(inputs)
	return hex.EncodeToString(sum[:8])
}

// StatefulSet runs the agent: one pod with one volume for the ledger.
func StatefulSet(t *v1alpha1.StockSyncTopology, operator Operator) *appsac.StatefulSetApplyConfiguration {
	names := NamesOf(t.Name)
	whenDeleted := appsv1.RetainPersistentVolumeClaimRetentionPolicyType
	if !t.RetainsLedger() {
		whenDeleted = appsv1.DeletePersistentVolumeClaimRetentionPolicyType
	}
	return appsac.StatefulSet(names.Workload, t.Namespace).
		WithLabels(labels(t)).
		WithAnnotations(map[string]string{
			v1alpha1.AnnotationTemplateHash:        TemplateHash(t, operator),
			v1alpha1.AnnotationTemplateHashVersion: TemplateHashVersion,
		}).
		WithOwnerReferences(owner(t)).
		WithSpec(appsac.StatefulSetSpec().
			WithReplicas(1).
			WithRevisionHistoryLimit(2).
			WithServiceName(names.PrivateService).
			// With one replica Parallel means: replace the pod even if the one before never became ready.
			WithPodManagementPolicy(appsv1.ParallelPodManagement).
			WithPersistentVolumeClaimRetentionPolicy(appsac.StatefulSetPersistentVolumeClaimRetentionPolicy().
				WithWhenDeleted(whenDeleted).
				WithWhenScaled(appsv1.RetainPersistentVolumeClaimRetentionPolicyType)).
			WithSelector(metaac.LabelSelector().WithMatchLabels(selector(t))).
			WithTemplate(podTemplate(t, operator)).
			WithVolumeClaimTemplates(claim(t)))
}

func podTemplate(t *v1alpha1.StockSyncTopology, operator Operator) *coreac.PodTemplateSpecApplyConfiguration {
	names, agent := NamesOf(t.Name), agentOf(t)
	requests, limits := resources(agent.Resources)
	container := coreac.Container().
		WithName("agent").
		WithImage(image(agent, operator)).
		WithImagePullPolicy(corev1.PullIfNotPresent).
		WithArgs("run",
			"--config", agentapi.ConfigDir,
			"--data", agentapi.DataDir,
			"--ledger-id-file", path.Join(agentapi.LedgerIDDir, agentapi.LedgerIDFile),
			"--private-dir", agentapi.PrivateDir).
		WithPorts(
			containerPort(portPublic, agentapi.PublicPort),
			containerPort(portPrivate, agentapi.PrivatePort),
			containerPort(portMetrics, agentapi.MetricsPort)).
		WithResources(coreac.ResourceRequirements().WithRequests(requests).WithLimits(limits)).
		WithReadinessProbe(probe(agentapi.ReadyPath).WithPeriodSeconds(2)).
		WithLivenessProbe(probe(agentapi.HealthPath).WithInitialDelaySeconds(10).WithPeriodSeconds(10).WithFailureThreshold(6)).
		WithSecurityContext(containerSecurity()).
		WithVolumeMounts(
			mount("config", agentapi.ConfigDir),
			mount("ledger-id", agentapi.LedgerIDDir),
			mount("private", agentapi.PrivateDir),
			coreac.VolumeMount().WithName("data").WithMountPath(agentapi.DataDir),
			coreac.VolumeMount().WithName("tmp").WithMountPath("/tmp"))
	if memory, limited := limits[corev1.ResourceMemory]; limited {
		// A tenth is left for what Go's collector does not count.
		container.WithEnv(coreac.EnvVar().WithName("GOMEMLIMIT").
			WithValue(strconv.FormatInt(memory.Value()/10*9, 10)))
	}
	spec := podSpec(t).
		WithTerminationGracePeriodSeconds(30).
		WithContainers(container).
		WithVolumes(
			secretVolume("config", names.ConfigSecret),
			secretVolume("ledger-id", names.LedgerSecret),
			secretVolume("private", names.PrivateSecret),
			coreac.Volume().WithName("tmp").WithEmptyDir(coreac.EmptyDirVolumeSource().
				WithSizeLimit(resource.MustParse("64Mi"))))
	return coreac.PodTemplateSpec().WithLabels(labels(t)).WithSpec(spec)
}

// podSpec is what the agent's pod and those of the Jobs have in common: an unprivileged user without access to the
// Kubernetes API, and the user's wishes for where pods run.
func podSpec(t *v1alpha1.StockSyncTopology) *coreac.PodSpecApplyConfiguration {
	agent := agentOf(t)
	spec := coreac.PodSpec().
		WithServiceAccountName(NamesOf(t.Name).Workload).
		WithAutomountServiceAccountToken(false).
		WithEnableServiceLinks(false).
		WithSecurityContext(coreac.PodSecurityContext().
			WithRunAsNonRoot(true).
			WithRunAsUser(user).
			WithRunAsGroup(user).
			WithFSGroup(user).
			WithFSGroupChangePolicy(corev1.FSGroupChangeOnRootMismatch).
			WithSeccompProfile(coreac.SeccompProfile().WithType(corev1.SeccompProfileTypeRuntimeDefault)))
	for _, secret := range agent.ImagePullSecrets {
		spec.WithImagePullSecrets(coreac.LocalObjectReference().WithName(secret.Name))
	}
	if s := agent.Scheduling; s != nil {
		spec.WithNodeSelector(s.NodeSelector)
		for _, toleration := range s.Tolerations {
			spec.WithTolerations(tolerate(toleration))
		}
		if s.PriorityClassName != "" {
			spec.WithPriorityClassName(s.PriorityClassName)
		}
	}
	return spec
}

func containerSecurity() *coreac.SecurityContextApplyConfiguration {
	return coreac.SecurityContext().
		WithAllowPrivilegeEscalation(false).
		WithReadOnlyRootFilesystem(true).
		WithCapabilities(coreac.Capabilities().WithDrop("ALL"))
}

func claim(t *v1alpha1.StockSyncTopology) *coreac.PersistentVolumeClaimApplyConfiguration {
	size, class := resource.MustParse(v1alpha1.DefaultStorageSize), ""
	if s := agentOf(t).Storage; s != nil {
		if s.Size != nil {
			size = *s.Size
		}
		class = s.StorageClassName
	}
	spec := coreac.PersistentVolumeClaimSpec().
		WithAccessModes(corev1.ReadWriteOnce).
		WithResources(coreac.VolumeResourceRequirements().
			WithRequests(corev1.ResourceList{corev1.ResourceStorage: size}))
	if class != "" {
		spec.WithStorageClassName(class)
	}
	template := coreac.PersistentVolumeClaim("data", "").WithLabels(selector(t)).WithSpec(spec)
	// A template has no namespace of its own.
	template.Namespace = nil
	return template
}

// resources fills in what the user left out. A default never exceeds a limit the user did give.
func resources(wanted *v1alpha1.AgentResources) (requests, limits corev1.ResourceList) {
	requests, limits = corev1.ResourceList{}, corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")}
	defaults := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("50m"),
		corev1.ResourceMemory: resource.MustParse("64Mi"),
	}
	if wanted != nil && wanted.Requests != nil {
		defaults = nil
		requests = maps.Clone(wanted.Requests)
	}
	if wanted != nil && wanted.Limits != nil {
		limits = maps.Clone(wanted.Limits)
	} else if asked, ok := requests[corev1.ResourceMemory]; ok && asked.Cmp(limits[corev1.ResourceMemory]) > 0 {
		limits[corev1.ResourceMemory] = asked
	}
	for name, value := range defaults {
		if limit, limited := limits[name]; limited && limit.Cmp(value) < 0 {
			value = limit
		}
		requests[name] = value
	}
	return requests, limits
}

func agentOf(t *v1alpha1.StockSyncTopology) v1alpha1.Agent {
	if t.Spec.Agent == nil {
		return v1alpha1.Agent{}
	}
	return *t.Spec.Agent
}

func image(agent v1alpha1.Agent, operator Operator) string {
	if agent.Image != "" {
		return agent.Image
	}
	return operator.AgentImage
}

func containerPort(name string, number int32) *coreac.ContainerPortApplyConfiguration {
	return coreac.ContainerPort().WithName(name).WithContainerPort(number).WithProtocol(corev1.ProtocolTCP)
}

func probe(path string) *coreac.ProbeApplyConfiguration {
	return coreac.Probe().
		WithHTTPGet(coreac.HTTPGetAction().WithPath(path).WithPort(intstr.FromString(portMetrics))).
		WithTimeoutSeconds(2)
}

func mount(name, path string) *coreac.VolumeMountApplyConfiguration {
	return coreac.VolumeMount().WithName(name).WithMountPath(path).WithReadOnly(true)
}

// secretVolume is readable by the group alone: the kubelet gives the files to the pod's fsGroup.
func secretVolume(name, secret string) *coreac.VolumeApplyConfiguration {
	return coreac.Volume().WithName(name).
		WithSecret(coreac.SecretVolumeSource().WithSecretName(secret).WithDefaultMode(0o440))
}

func tolerate(t corev1.Toleration) *coreac.TolerationApplyConfiguration {
	a := coreac.Toleration()
	if t.Key != "" {
		a.WithKey(t.Key)
	}
	if t.Operator != "" {
		a.WithOperator(t.Operator)
	}
	if t.Value != "" {
		a.WithValue(t.Value)
	}
	if t.Effect != "" {
		a.WithEffect(t.Effect)
	}
	if t.TolerationSeconds != nil {
		a.WithTolerationSeconds(*t.TolerationSeconds)
	}
	return a
}

// Package render turns a topology, its children and the Secrets they name into the Kubernetes objects that run
// the sync agent. Everything here is a pure function: it reads no cluster, no clock and no randomness of its own.
package render

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metaac "k8s.io/client-go/applyconfigurations/meta/v1"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
)

// Operator is what the objects need to know of the operator that writes them.
type Operator struct {
	// AgentImage is the image of agents whose topology names none.
	AgentImage string
	// Namespace is where the operator's pods run. Empty means outside the cluster: the private port is then open
	// to all, and guarded by its token alone.
	Namespace string
}

// OperatorPodLabels select the operator's pods in its namespace; config/manager sets them.
var OperatorPodLabels = map[string]string{"app.kubernetes.io/name": "stocksync-operator"}

// ManagedBy is the value of the label app.kubernetes.io/managed-by on every object the operator makes.
const ManagedBy = "stocksync-operator"

// Names of the objects of a topology. They are part of the interface: users find logs and Services by them.
type Names struct {
	// Workload names StatefulSet, ServiceAccount, NetworkPolicy and Ingress.
	Workload string
	// Pod is the one pod of the StatefulSet.
	Pod string
	// PublicService, PrivateService and MetricsService lead to one port of the agent each.
	PublicService, PrivateService, MetricsService string
	// ConfigSecret, LedgerSecret and PrivateSecret are mounted into the pod.
	ConfigSecret, LedgerSecret, PrivateSecret string
	// ReconcileCronJob and AuditCronJob run the tools by schedule.
	ReconcileCronJob, AuditCronJob string
	// ToolsReadSecret and ToolsWriteSecret hold what Jobs and people need to ask the agent.
	ToolsReadSecret, ToolsWriteSecret string
	// ToolsReadRole and ToolsRole are for people who use the tools, ToolsPolicy is the Jobs' NetworkPolicy.
	ToolsReadRole, ToolsRole, ToolsPolicy string
}

// All lists them, each once.
func (n Names) All() []string {
	all := []string{
		n.Workload, n.Pod, n.PublicService, n.PrivateService, n.MetricsService, n.ConfigSecret, n.LedgerSecret, n.PrivateSecret,
		n.ReconcileCronJob, n.AuditCronJob, n.ToolsReadSecret, n.ToolsWriteSecret, n.ToolsReadRole, n.ToolsRole, n.ToolsPolicy,
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// NamesOf lists the names of the objects of the topology of this name.
func NamesOf(topology string) Names {
	workload := topology + "-agent"
	return Names{
		Workload:         workload,
		Pod:              workload + "-0",
		PublicService:    workload + "-public",
		PrivateService:   workload + "-private",
		MetricsService:   workload + "-metrics",
		ConfigSecret:     workload + "-config",
		LedgerSecret:     workload + "-ledger",
		PrivateSecret:    workload + "-private",
		ReconcileCronJob: topology + "-reconcile",
		AuditCronJob:     topology + "-audit",
		ToolsReadSecret:  topology + agentapi.ReadSecretSuffix,
		ToolsWriteSecret: topology + agentapi.WriteSecretSuffix,
		ToolsReadRole:    topology + "-tools-read",
		ToolsRole:        topology + "-tools",
		ToolsPolicy:      topology + "-tools",
	}
}

// ServerName is the DNS name of the agent's private port, and the name in its certificate.
func ServerName(t *v1alpha1.StockSyncTopology) string {
	return NamesOf(t.Name).PrivateService + "." + t.Namespace + ".svc"
}

// selector finds the agent's pod. It is immutable in a StatefulSet.
func selector(t *v1alpha1.StockSyncTopology) map[string]string {
	return map[string]string{
		"app.kubernetes.io/name": "stocksync-agent",
		v1alpha1.LabelTopology:   t.Name,
	}
}

// labels of every object. app.kubernetes.io/instance and the labels of the topology are left out on purpose: Argo
// CD tracks by them and would take our objects for the user's.
func labels(t *v1alpha1.StockSyncTopology) map[string]string {
	l := selector(t)
	l["app.kubernetes.io/component"] = "agent"
	l["app.kubernetes.io/part-of"] = "stocksync"
	l["app.kubernetes.io/managed-by"] = ManagedBy
	return l
}

// owner makes the object go with its topology. blockOwnerDeletion stays unset, so that nothing ever waits for us.
func owner(t *v1alpha1.StockSyncTopology) *metaac.OwnerReferenceApplyConfiguration {
	return metaac.OwnerReference().
		WithAPIVersion(v1alpha1.SchemeGroupVersion.String()).
		WithKind(v1alpha1.KindStockSyncTopology).
		WithName(t.Name).
		WithUID(t.UID).
		WithController(true)
}

// Owned reports whether the object belongs to this topology: it is controlled by it or, where the ledger's Secret
// outlived an earlier topology of the same name, carries its label and no controller.
func Owned(t *v1alpha1.StockSyncTopology, object metav1.Object) bool {
	if controller := metav1.GetControllerOf(object); controller != nil {
		return controller.UID == t.UID
	}
	return object.GetName() == NamesOf(t.Name).LedgerSecret && object.GetLabels()[v1alpha1.LabelTopology] == t.Name
}

package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// StockSyncTopology is one stock shared by several stores: it names the
// master store and runs the sync agent. ChildStores join it by `topologyRef`.
// Its name is a DNS label of at most 40 characters.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=sst,categories=stocksync
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.status.master.mode`
// +kubebuilder:printcolumn:name="Master",type=string,JSONPath=`.spec.master.storeID`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Children",type=string,JSONPath=`.status.children.readySummary`
// +kubebuilder:printcolumn:name="In-Sync",type=string,JSONPath=`.status.children.inSyncSummary`
// +kubebuilder:printcolumn:name="Backlog",type=integer,JSONPath=`.status.backlog`
// +kubebuilder:printcolumn:name="Heartbeat",type=date,JSONPath=`.status.lastHeartbeatTime`
// +kubebuilder:printcolumn:name="Last-Reconcile",type=date,JSONPath=`.status.lastReconcile.startTime`
// +kubebuilder:printcolumn:name="Last-Audit",type=date,JSONPath=`.status.lastAudit.startTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Driver",type=string,priority=1,JSONPath=`.status.master.driver`
// +kubebuilder:printcolumn:name="Versions",type=string,priority=1,JSONPath=`.status.master.versions`
// +kubebuilder:printcolumn:name="Conflicts",type=integer,priority=1,JSONPath=`.status.conflicts`
// +kubebuilder:printcolumn:name="Reconcile",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="ReconcileSucceeded")].reason`
// +kubebuilder:printcolumn:name="Audit",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="AuditPassed")].reason`
// +kubebuilder:printcolumn:name="Last-Error",type=string,priority=1,JSONPath=`.status.master.lastError.message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="`metadata.name` must be a DNS label of at most 40 characters: lower-case letters, digits and hyphens, beginning with a letter and ending with a letter or digit"
type StockSyncTopology struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the object's name, namespace, labels and annotations.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is what the user wants.
	// +required
	Spec StockSyncTopologySpec `json:"spec"`
	// status is what the operator last saw.
	// +optional
	Status StockSyncTopologyStatus `json:"status,omitempty"`
}

// StockSyncTopologyList is a list of StockSyncTopology.
// +kubebuilder:object:root=true
type StockSyncTopologyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []StockSyncTopology `json:"items"`
}

// StockSyncTopologySpec is what the user wants of a topology.
// +kubebuilder:validation:XValidation:rule="(has(self.agent) && has(self.agent.storage)) == (has(oldSelf.agent) && has(oldSelf.agent.storage)) && (!has(self.agent) || !has(self.agent.storage) || self.agent.storage == oldSelf.agent.storage)",message="`agent.storage` must stay as it was created, whether set or omitted; make a topology of another name to change it"
// +kubebuilder:validation:XValidation:rule="has(self.publicURL) || !has(self.agent) || !has(self.agent.exposure) || !has(self.agent.exposure.ingress)",message="`publicURL` must be set when `agent.exposure.ingress` is: its host is the Ingress's host"
// +kubebuilder:validation:XValidation:rule="has(self.publicURL) || !has(self.master.kitgenix)",message="`publicURL` must be set when `master.kitgenix` is: it is where the master's plugin sends its changes"
type StockSyncTopologySpec struct {
	// mode is Observe or Sync. When omitted it is Observe: every store is read,
	// what would change is reported, and nothing is written anywhere. Sync keeps
	// the stores the same. Going back to Observe stops all writing, while what is
	// already enrolled keeps being counted.
	// +optional
	// +kubebuilder:validation:Enum=Observe;Sync
	Mode Mode `json:"mode,omitempty"`
	// publicURL is where the stores reach the agent, for example
	// https://sync.example.com or, where topologies share a host,
	// https://sync.example.com/emea; webhooks are created with the address
	// <publicURL>/webhooks/woocommerce/<storeID>, Kitgenix plugins find their master
	// at <publicURL>/wp-json/kitgenix-stock-sync/v1. It must be https:// or http://
	// followed by a host, an optional port and an optional path; http:// is meant
	// for shops inside the same private network (webhooks are signed, not
	// encrypted). When omitted no webhooks are created and changes are found by
	// polling alone.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=300
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHostname() != '' && self.matches('^[a-z]+://[^/]+(/[A-Za-z0-9][-._~A-Za-z0-9]*)*/?$') && !self.contains('@') && !self.contains('?') && !self.contains('#')",message="must be https:// or http:// followed by a host, an optional port and an optional path, such as https://sync.example.com"
	PublicURL string `json:"publicURL,omitempty"`
	// identity is how the topology introduces itself to stores with the Kitgenix
	// plugin. When omitted its fields follow from the object's namespace and name.
	// +optional
	Identity *Identity `json:"identity,omitempty"`
	// master is the store whose first clean reading sets the stock of every SKU, or
	// Katana, whose stock every shop shows.
	// +required
	Master Master `json:"master"`
	// exclusions name SKUs that are left alone in every store. When omitted all
	// SKUs of the master are shared.
	// +optional
	Exclusions *Exclusions `json:"exclusions,omitempty"`
	// lagObjectiveSeconds is how old, in seconds, the oldest difference of a
	// store may grow before its condition InSync becomes False. Between 5 and
	// 86400. When omitted it is 60.
	// +optional
	// +kubebuilder:validation:Minimum=5
	// +kubebuilder:validation:Maximum=86400
	LagObjectiveSeconds *int32 `json:"lagObjectiveSeconds,omitempty"`
	// reconcile makes a CronJob that reads every store anew and writes what
	// differs. When omitted there is none; a reconcile can still be asked for.
	// +optional
	Reconcile *Reconcile `json:"reconcile,omitempty"`
	// audit makes a CronJob that compares every child with what it should show,
	// and writes nothing. When omitted there is none; an audit can still be asked
	// for.
	// +optional
	Audit *Audit `json:"audit,omitempty"`
	// circuitBreaker holds back a change that would zero or multiply too many SKUs
	// at once, until a person approves it. When omitted it is on, with the limits
	// of its fields.
	// +optional
	CircuitBreaker *CircuitBreaker `json:"circuitBreaker,omitempty"`
	// agent adjusts the sync agent's pod. When omitted the operator's choices
	// hold.
	// +optional
	Agent *Agent `json:"agent,omitempty"`
}

// Master is the store, or the inventory system, that leads.
// +kubebuilder:validation:XValidation:rule="has(self.woocommerce) || has(self.kitgenix) || has(self.katana)",message="a way to reach the store must be given: `woocommerce`, `kitgenix` or both; or `katana`"
// +kubebuilder:validation:XValidation:rule="!has(self.katana) || !has(self.woocommerce) && !has(self.kitgenix)",message="`katana` must stand alone: with it `woocommerce` and `kitgenix` must be omitted"
// +kubebuilder:validation:XValidation:rule="!has(self.katana) || !has(self.editPolicy)",message="`editPolicy` must be omitted with `katana`: what is typed in Katana always holds"
// +kubebuilder:validation:XValidation:rule="has(self.katana) == has(oldSelf.katana)",message="`katana` must stay set or omitted as it was created; make a topology of another name to change it"
type Master struct {
	// storeID names the store inside this topology: a DNS label of at most 40
	// characters, for example hq. It must differ from the ids of the children and
	// cannot be changed.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="must be lower-case letters, digits and hyphens, beginning and ending with a letter or digit"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="must stay as it was created; make a topology of another name for another master"
	StoreID string `json:"storeID"`
	// displayName is a name for people, for example Head office. When omitted the
	// storeID is shown.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=100
	DisplayName string `json:"displayName,omitempty"`
	// editPolicy is Count or Revert: whether a quantity typed by hand in this
	// store changes the shared stock or is undone. When omitted it is Count.
	// +optional
	EditPolicy EditPolicy `json:"editPolicy,omitempty"`
	// woocommerce reaches the store by its REST API.
	// +optional
	WooCommerce *WooCommerce `json:"woocommerce,omitempty"`
	// kitgenix reaches the store by the plugin "Kitgenix Stock Sync for WooCommerce",
	// of which this topology is one child. Alone it is the only way in, and quantities
	// are written whole; beside `woocommerce` the REST API reads and writes, and the
	// plugin's events tell at once what changed. When omitted the plugin is not spoken
	// to.
	// +optional
	Kitgenix *Kitgenix `json:"kitgenix,omitempty"`
	// katana makes an account of Katana Cloud Inventory the source of the stock. When
	// omitted the master is a store.
	// +optional
	Katana *Katana `json:"katana,omitempty"`
}

// Agent adjusts the sync agent's pod.
type Agent struct {
	// image of the agent, for example registry.example.com/stocksync:1.2.0. When
	// omitted it is the one the operator was installed with.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=500
	Image string `json:"image,omitempty"`
	// imagePullSecrets are Secrets with which the image is pulled. At most 8.
	// When omitted none is used.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	ImagePullSecrets []LocalObjectReference `json:"imagePullSecrets,omitempty"`
	// resources are the requests and limits of the agent's container. When
	// omitted the operator requests 50m CPU and 64Mi memory, and limits memory to
	// 256Mi.
	// +optional
	Resources *AgentResources `json:"resources,omitempty"`
	// scheduling says where the pod may run. When omitted anywhere.
	// +optional
	Scheduling *Scheduling `json:"scheduling,omitempty"`
	// storage is the volume of the ledger. It cannot be changed. When omitted it
	// is 1Gi of the cluster's default class, retained when the topology is
	// deleted.
	// +optional
	Storage *Storage `json:"storage,omitempty"`
	// exposure lets stores reach the agent from outside the cluster. When omitted
	// only a Service is made.
	// +optional
	Exposure *Exposure `json:"exposure,omitempty"`
}

// AgentResources are the requests and limits of the agent's container.
type AgentResources struct {
	// requests are what the scheduler sets aside. When omitted 50m CPU and 64Mi
	// memory.
	// +optional
	Requests corev1.ResourceList `json:"requests,omitempty"`
	// limits are what the container may use at most. When omitted 256Mi memory
	// and no limit of CPU.
	// +optional
	Limits corev1.ResourceList `json:"limits,omitempty"`
}

// Scheduling says where the agent's pod may run.
type Scheduling struct {
	// nodeSelector are labels a node must have. At most 32. When omitted any node
	// will do.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// tolerations of the pod. At most 32. When omitted none beside the cluster's
	// own.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// priorityClassName of the pod. When omitted the cluster's default.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	PriorityClassName string `json:"priorityClassName,omitempty"`
}

// RetentionPolicy says what becomes of the ledger when its topology is
// deleted.
// +kubebuilder:validation:Enum=Retain;Delete
type RetentionPolicy string

const (
	// RetentionPolicyRetain keeps the volume and the ledger's id, to be adopted
	// by a topology of the same name.
	RetentionPolicyRetain RetentionPolicy = "Retain"
	// RetentionPolicyDelete removes both with the topology.
	RetentionPolicyDelete RetentionPolicy = "Delete"
)

// Storage is the volume of the ledger.
type Storage struct {
	// size of the volume, at least 64Mi, for example 1Gi. When omitted it is 1Gi.
	// +optional
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).compareTo(quantity('64Mi')) >= 0",message="must be at least 64Mi"
	Size *resource.Quantity `json:"size,omitempty"`
	// storageClassName of the volume. When omitted it is the cluster's default
	// class.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	StorageClassName string `json:"storageClassName,omitempty"`
	// retentionPolicy is Retain or Delete: what becomes of the volume and the
	// ledger's id when the topology is deleted. When omitted it is Retain.
	// +optional
	RetentionPolicy RetentionPolicy `json:"retentionPolicy,omitempty"`
}

// Exposure lets stores reach the agent from outside the cluster.
type Exposure struct {
	// ingress makes an Ingress for the host of `publicURL`. When omitted none is
	// made.
	// +optional
	Ingress *Ingress `json:"ingress,omitempty"`
}

// Ingress describes the Ingress of the agent's public port.
type Ingress struct {
	// className of the Ingress. When omitted the cluster's default class.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ClassName string `json:"className,omitempty"`
	// tlsSecretRef names the Secret with the certificate. When omitted the
	// Ingress has no TLS section.
	// +optional
	TLSSecretRef *LocalObjectReference `json:"tlsSecretRef,omitempty"`
	// annotations of the Ingress, for its controller or for cert-manager. At most
	// 32. When omitted none.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	Annotations map[string]string `json:"annotations,omitempty"`
}

// StockSyncTopologyStatus is what the operator last saw of a topology.
type StockSyncTopologyStatus struct {
	// conditions of the topology: Ready, Accepted, SecretsAvailable,
	// AgentAvailable, Connected, HintsAvailable and InSync; ReconcileSucceeded and
	// AuditPassed once there is a schedule or a run; Reconciling, Stalled, Paused,
	// CircuitBreakerTripped and VolumeNearlyFull while true. Connected and HintsAvailable speak of
	// the master.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation of the spec this status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// lastHeartbeatTime is when the agent was last heard. It is written at least
	// every five minutes, so an old one means that the agent or the operator is
	// gone.
	// +optional
	LastHeartbeatTime *metav1.Time `json:"lastHeartbeatTime,omitempty"`
	// agentVersion is the version of the agent that runs.
	// +optional
	AgentVersion string `json:"agentVersion,omitempty"`
	// ledgerID is the id in every mark this topology leaves in a store.
	// +optional
	LedgerID string `json:"ledgerID,omitempty"`
	// master is the state of the master store.
	// +optional
	Master *StoreStatus `json:"master,omitempty"`
	// children counts the ChildStores that refer to this topology.
	// +optional
	Children *ChildrenStatus `json:"children,omitempty"`
	// pools is the number of shared stocks: one per SKU, or per group of SKUs
	// that share one stock.
	// +optional
	Pools *int32 `json:"pools,omitempty"`
	// backlog is the number of SKUs, over all stores, whose shelf differs from
	// what it should show.
	// +optional
	Backlog *int32 `json:"backlog,omitempty"`
	// oversoldPools is the number of shared stocks below zero.
	// +optional
	OversoldPools *int32 `json:"oversoldPools,omitempty"`
	// oversoldUnits is how many units were sold that do not exist.
	// +optional
	OversoldUnits *int32 `json:"oversoldUnits,omitempty"`
	// stoppedSKUs is the number of SKUs whose writing was stopped until a person
	// chooses the number.
	// +optional
	StoppedSKUs *int32 `json:"stoppedSKUs,omitempty"`
	// conflicts is the number of open conflicts.
	// +optional
	Conflicts *int32 `json:"conflicts,omitempty"`
	// volumeFreePercent is how much of the volume that holds the ledger is free, in percent.
	// +optional
	VolumeFreePercent *int32 `json:"volumeFreePercent,omitempty"`
	// lastReconcile is the newest reconcile, running or ended.
	// +optional
	LastReconcile *RunStatus `json:"lastReconcile,omitempty"`
	// lastAudit is the newest audit, running or ended.
	// +optional
	LastAudit *RunStatus `json:"lastAudit,omitempty"`
	// nextReconcileTime is when the schedule begins the next reconcile; absent
	// without a schedule, and while it is suspended or cannot be used.
	// +optional
	NextReconcileTime *metav1.Time `json:"nextReconcileTime,omitempty"`
	// nextAuditTime is the same for audits.
	// +optional
	NextAuditTime *metav1.Time `json:"nextAuditTime,omitempty"`
	// lastHandledReconcileRequest is the newest value of the annotation
	// stocksync.dev/reconcile-requested-at whose reconcile has ended.
	// +optional
	LastHandledReconcileRequest string `json:"lastHandledReconcileRequest,omitempty"`
	// lastHandledAuditRequest is the newest value of the annotation
	// stocksync.dev/audit-requested-at whose audit has ended.
	// +optional
	LastHandledAuditRequest string `json:"lastHandledAuditRequest,omitempty"`
	// katana is what is known of the Katana account that is the master.
	// +optional
	Katana *KatanaStatus `json:"katana,omitempty"`
	// circuitBreaker is set while the circuit breaker holds back a change.
	// +optional
	CircuitBreaker *BreakerStatus `json:"circuitBreaker,omitempty"`
}

// ChildrenStatus counts the ChildStores of a topology.
type ChildrenStatus struct {
	// total is the number of ChildStores that refer to the topology.
	// +required
	Total int32 `json:"total"`
	// ready is how many of them are Ready.
	// +required
	Ready int32 `json:"ready"`
	// inSync is how many of them are InSync.
	// +required
	InSync int32 `json:"inSync"`
	// readySummary is ready and total, for example 3/3.
	// +required
	ReadySummary string `json:"readySummary"`
	// inSyncSummary is inSync and total, for example 3/3.
	// +required
	InSyncSummary string `json:"inSyncSummary"`
}

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ChildStore is a store that follows a StockSyncTopology.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=chs,categories=stocksync
// +kubebuilder:selectablefield:JSONPath=`.spec.topologyRef.name`
// +kubebuilder:printcolumn:name="Topology",type=string,JSONPath=`.spec.topologyRef.name`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="In-Sync",type=string,JSONPath=`.status.conditions[?(@.type=="InSync")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Since",type=date,JSONPath=`.status.conditions[?(@.type=="Ready")].lastTransitionTime`
// +kubebuilder:printcolumn:name="Backlog",type=integer,JSONPath=`.status.backlog`
// +kubebuilder:printcolumn:name="Last-Seen",type=date,JSONPath=`.status.lastSeenTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Store-ID",type=string,priority=1,JSONPath=`.status.storeID`
// +kubebuilder:printcolumn:name="Driver",type=string,priority=1,JSONPath=`.status.driver`
// +kubebuilder:printcolumn:name="Versions",type=string,priority=1,JSONPath=`.status.versions`
// +kubebuilder:printcolumn:name="Last-Error",type=string,priority=1,JSONPath=`.status.lastError.message`
// +kubebuilder:validation:XValidation:rule="has(self.spec.storeID) || (self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))",message="`metadata.name` must be a DNS label of at most 40 characters when `spec.storeID` is omitted, because it is the store's id then"
type ChildStore struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the object's name, namespace, labels and annotations.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is what the user wants.
	// +required
	Spec ChildStoreSpec `json:"spec"`
	// status is what the operator last saw.
	// +optional
	Status ChildStoreStatus `json:"status,omitempty"`
}

// ChildStoreList is a list of ChildStore.
// +kubebuilder:object:root=true
type ChildStoreList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ChildStore `json:"items"`
}

// ChildStoreSpec is what the user wants of a child store.
// +kubebuilder:validation:XValidation:rule="has(self.storeID) == has(oldSelf.storeID) && (!has(self.storeID) || self.storeID == oldSelf.storeID)",message="`storeID` must stay as it was created, whether set or omitted; delete the ChildStore and make it again to change it"
// +kubebuilder:validation:XValidation:rule="has(self.woocommerce) || has(self.kitgenix)",message="a way to reach the store must be given: `woocommerce`, `kitgenix` or both"
// +kubebuilder:validation:XValidation:rule="!has(self.checkoutValidation) || has(self.kitgenix)",message="`checkoutValidation` must be omitted without `kitgenix`: only the plugin asks at checkout"
// +kubebuilder:validation:XValidation:rule="!has(self.katana) || has(self.woocommerce) && !has(self.kitgenix)",message="with `katana`, `woocommerce` must be given and `kitgenix` omitted: Katana's numbers are written by the REST API"
// +kubebuilder:validation:XValidation:rule="!has(self.katana) || !has(self.editPolicy)",message="`editPolicy` must be omitted with `katana`: a quantity typed in a shop never changes Katana's stock; see `katana.drift`"
type ChildStoreSpec struct {
	// topologyRef names the StockSyncTopology, in the same namespace, that this
	// store follows. It cannot be changed.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="must stay as it was created; delete the ChildStore and make it again to change it"
	TopologyRef TopologyReference `json:"topologyRef"`
	// storeID names the store inside its topology: a DNS label of at most 40
	// characters, for example fr. When omitted it is the object's name. It cannot
	// be changed, not even set when it was omitted.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="must be lower-case letters, digits and hyphens, beginning and ending with a letter or digit"
	StoreID string `json:"storeID,omitempty"`
	// displayName is a name for people, for example Boutique FR. When omitted the
	// storeID is shown.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=100
	DisplayName string `json:"displayName,omitempty"`
	// mode is Sync, Observe or Off. When omitted it is the topology's. Of both
	// the more cautious holds: Off before Observe before Sync. Observe reads and
	// writes nothing; Off neither reads nor writes.
	// +optional
	// +kubebuilder:validation:Enum=Sync;Observe;Off
	Mode Mode `json:"mode,omitempty"`
	// editPolicy is Count or Revert: whether a quantity typed by hand in this
	// store changes the shared stock or is undone. When omitted it is Count.
	// +optional
	EditPolicy EditPolicy `json:"editPolicy,omitempty"`
	// woocommerce reaches the store by its REST API.
	// +optional
	WooCommerce *WooCommerce `json:"woocommerce,omitempty"`
	// kitgenix reaches the store by the plugin "Kitgenix Stock Sync for WooCommerce",
	// whose master this topology is. Alone it is the only way in, and quantities are
	// written whole; beside `woocommerce` the REST API reads and writes, the plugin's
	// events tell at once what changed, and its question at checkout is answered. When
	// omitted the plugin is not spoken to.
	// +optional
	Kitgenix *Kitgenix `json:"kitgenix,omitempty"`
	// checkoutValidation says what the plugin is answered at checkout. When omitted
	// the limits of its fields hold.
	// +optional
	CheckoutValidation *CheckoutValidation `json:"checkoutValidation,omitempty"`
	// katana says how this shop's numbers are made from what Katana knows. It must be
	// given when the topology's master is `katana`, and omitted otherwise.
	// +optional
	Katana *ChildKatana `json:"katana,omitempty"`
	// allocation says how much of the shared stock this store may offer. When
	// omitted all of it.
	// +optional
	Allocation *Allocation `json:"allocation,omitempty"`
	// polling limits how often the store is asked for changes. When omitted the
	// limits of its fields hold.
	// +optional
	Polling *Polling `json:"polling,omitempty"`
	// exclusions name SKUs that are left alone in this store, beside those of the
	// topology. When omitted none.
	// +optional
	Exclusions *Exclusions `json:"exclusions,omitempty"`
}

// TopologyReference names a StockSyncTopology in the same namespace.
type TopologyReference struct {
	// name of the StockSyncTopology.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="must be the name of a StockSyncTopology: lower-case letters, digits and hyphens, beginning with a letter and ending with a letter or digit"
	Name string `json:"name"`
}

// Allocation says how much of the shared stock a store may offer.
type Allocation struct {
	// bufferUnits are held back from this store: it shows the shared stock less
	// this number, not below zero. Between 0 and 1000000. When omitted it is 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	BufferUnits *int32 `json:"bufferUnits,omitempty"`
}

// Polling limits how often a store is asked for changes.
type Polling struct {
	// minIntervalSeconds is the shortest time between two polls in seconds.
	// Between 1 and 3600. When omitted it is 5.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=3600
	MinIntervalSeconds *int32 `json:"minIntervalSeconds,omitempty"`
	// maxStoreLoadPercent is the share of time, in percent, that the store may
	// spend answering polls; a slow store is polled less often. Between 1 and
	// 100. When omitted it is 2.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	MaxStoreLoadPercent *int32 `json:"maxStoreLoadPercent,omitempty"`
}

// ChildStoreStatus is what the operator last saw of a child store.
type ChildStoreStatus struct {
	// conditions of the store: Ready, Accepted, SecretsAvailable, AgentAvailable,
	// Connected, HintsAvailable and InSync; CheckoutValidated where the plugin asks
	// at checkout; Reconciling, Stalled and Paused while true.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation of the spec this status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	StoreStatus        `json:",inline"`
	// katana is what is known of the shop in a topology whose master is Katana.
	// +optional
	Katana *ChildKatanaStatus `json:"katana,omitempty"`
}

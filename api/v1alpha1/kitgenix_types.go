package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Identity is how the topology introduces itself to the plugin "Kitgenix Stock
// Sync for WooCommerce".
type Identity struct {
	// storeID is the id the plugins know this topology by, a UUID in lower case, for
	// example 6f1c1f4e-0d3b-4c5e-9a55-0b1d7b1f2c3d. When omitted it follows from the
	// object's namespace and name, so that a topology made again has the same one.
	// Give the id of the plugin master that this topology replaces, and its children
	// need a new Master URL only.
	// +optional
	// +kubebuilder:validation:MinLength=36
	// +kubebuilder:validation:MaxLength=36
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$')",message="must be a UUID in lower case, such as 6f1c1f4e-0d3b-4c5e-9a55-0b1d7b1f2c3d"
	StoreID string `json:"storeID,omitempty"`
	// displayName is the name the plugins show for this topology, for example Head
	// office. When omitted it is the object's name.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=100
	DisplayName string `json:"displayName,omitempty"`
}

// Kitgenix says how the plugin "Kitgenix Stock Sync for WooCommerce" of a store
// is reached, generations 1 and 2.
// +kubebuilder:validation:XValidation:rule="has(self.transport) && self.transport == 'InsecureHTTP' ? self.url.startsWith('http://') : self.url.startsWith('https://')",message="`url` must begin with https://; with `transport` InsecureHTTP it must begin with http://"
// +kubebuilder:validation:XValidation:rule="!has(self.caBundleSecretKeyRef) || !has(self.transport) || self.transport == 'HTTPS'",message="`caBundleSecretKeyRef` must be omitted when `transport` is InsecureHTTP: there is no certificate to verify"
type Kitgenix struct {
	// url is the address of the shop, as its visitors type it, for example
	// https://fr.example.com or https://example.com/shop. It must be absolute and
	// hold no user, query or fragment. It begins with https://, or with http://
	// when `transport` is InsecureHTTP.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=500
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getHostname() != ''",message="must be an absolute URL such as https://shop.example.com"
	// +kubebuilder:validation:XValidation:rule="!self.contains('@') && !self.contains('?') && !self.contains('#')",message="must hold no user, query or fragment; the secret belongs in the Secret of `sharedSecretKeyRef`"
	URL string `json:"url"`
	// transport is HTTPS or InsecureHTTP. When omitted it is HTTPS. InsecureHTTP
	// is for a shop inside the same private network: requests are signed, so that
	// the secret does not travel, but answers are not, and whoever listens reads
	// both.
	// +optional
	Transport Transport `json:"transport,omitempty"`
	// remoteStoreID is the Store ID that the shop's plugin shows on its
	// configuration page, a UUID in lower case. Requests from any other id are
	// refused.
	// +required
	// +kubebuilder:validation:MinLength=36
	// +kubebuilder:validation:MaxLength=36
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$')",message="must be the Store ID the plugin shows, a UUID in lower case such as 6f1c1f4e-0d3b-4c5e-9a55-0b1d7b1f2c3d"
	RemoteStoreID string `json:"remoteStoreID"`
	// sharedSecretKeyRef names the secret that is typed into the plugin too. Both
	// sides sign with it. Use letters and digits: the plugin's form spoils `<`, `%`,
	// `&` and blanks. A changed Secret takes effect without a restart.
	// +required
	SharedSecretKeyRef SecretKeyReference `json:"sharedSecretKeyRef"`
	// rotationOverlapSeconds is for how long, in seconds, the secret before is still
	// accepted, and tried, after the Secret was changed; within it the new one has
	// to be typed into the plugin. Between 0 and 604800. When omitted it is 86400, a
	// day.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=604800
	RotationOverlapSeconds *int32 `json:"rotationOverlapSeconds,omitempty"`
	// caBundleSecretKeyRef names the PEM certificates to trust for this store
	// instead of the system's. When omitted the system's are trusted.
	// +optional
	CABundleSecretKeyRef *SecretKeyReference `json:"caBundleSecretKeyRef,omitempty"`
}

// MasterUnreachablePolicy says how a plugin's question at checkout is answered
// while the master is unreachable.
// +kubebuilder:validation:Enum=FailOpen;LastKnownGood;FailClosed
type MasterUnreachablePolicy string

const (
	// FailOpen lets every sale pass.
	FailOpen MasterUnreachablePolicy = "FailOpen"
	// LastKnownGood answers from the ledger until that is too old, and lets every
	// sale pass then.
	LastKnownGood MasterUnreachablePolicy = "LastKnownGood"
	// FailClosed refuses every sale of a shared SKU.
	FailClosed MasterUnreachablePolicy = "FailClosed"
)

// CheckoutValidation says what the plugin is answered when it asks, at checkout,
// whether the master has the goods.
// +kubebuilder:validation:XValidation:rule="!has(self.maxAgeSeconds) || !has(self.masterUnreachablePolicy) || self.masterUnreachablePolicy == 'LastKnownGood'",message="`maxAgeSeconds` must be omitted unless `masterUnreachablePolicy` is LastKnownGood"
type CheckoutValidation struct {
	// masterUnreachablePolicy is FailOpen, LastKnownGood or FailClosed: what holds,
	// whatever the plugin's own setting is, once the master has been unreachable for
	// longer than the topology's `lagObjectiveSeconds`. FailOpen lets every sale
	// pass, with a warning and a condition. LastKnownGood answers from the ledger
	// until `maxAgeSeconds`, and like FailOpen after that. FailClosed answers that
	// nothing is left. When omitted it is LastKnownGood.
	// +optional
	MasterUnreachablePolicy MasterUnreachablePolicy `json:"masterUnreachablePolicy,omitempty"`
	// maxAgeSeconds is for how long, in seconds, after the master was last heard
	// LastKnownGood answers from the ledger. Between 60 and 604800. When omitted it
	// is 1800, half an hour.
	// +optional
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=604800
	MaxAgeSeconds *int32 `json:"maxAgeSeconds,omitempty"`
}

// KitgenixStatus is what a person needs to pair a store's plugin, and what is
// known of that plugin.
type KitgenixStatus struct {
	// masterURL is what a child's plugin needs as Master URL.
	// +optional
	MasterURL string `json:"masterURL,omitempty"`
	// masterStoreID is what a child's plugin needs as Master Store ID.
	// +optional
	MasterStoreID string `json:"masterStoreID,omitempty"`
	// childURL is what the master's plugin needs as URL of the child that stands for
	// this topology.
	// +optional
	ChildURL string `json:"childURL,omitempty"`
	// childStoreID is what the master's plugin needs as Store ID of that child.
	// +optional
	ChildStoreID string `json:"childStoreID,omitempty"`
	// pluginVersion is the version the plugin says it has; plugins of generation 1
	// say none.
	// +optional
	PluginVersion string `json:"pluginVersion,omitempty"`
	// generation of the plugin's protocol: 1 or 2; absent until it was heard.
	// +optional
	Generation *int32 `json:"generation,omitempty"`
	// connection is never, ok, stale or error, as the plugin's own status page says
	// it.
	// +optional
	Connection string `json:"connection,omitempty"`
	// clockSkewSeconds is by how much the shop's clock is ahead of the agent's, in
	// seconds; below zero when it is behind. Signatures fail from 300 on.
	// +optional
	ClockSkewSeconds *int32 `json:"clockSkewSeconds,omitempty"`
	// lastPingTime is when the plugin last answered a ping.
	// +optional
	LastPingTime *metav1.Time `json:"lastPingTime,omitempty"`
	// previousSecretExpiryTime is until when the shared secret before is accepted;
	// absent when there is none.
	// +optional
	PreviousSecretExpiryTime *metav1.Time `json:"previousSecretExpiryTime,omitempty"`
}

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Mode says what may be written to a store.
type Mode string

const (
	// ModeSync reads and writes.
	ModeSync Mode = "Sync"
	// ModeObserve reads and reports what would change, and writes nothing.
	ModeObserve Mode = "Observe"
	// ModeOff neither reads nor writes. Only a ChildStore can be off.
	ModeOff Mode = "Off"
)

// EditPolicy says what a quantity typed by hand in a shop means.
// +kubebuilder:validation:Enum=Count;Revert
type EditPolicy string

const (
	// EditPolicyCount takes the edit as news about the real stock: every store
	// follows.
	EditPolicyCount EditPolicy = "Count"
	// EditPolicyRevert undoes the edit.
	EditPolicyRevert EditPolicy = "Revert"
)

// Transport says how a store is reached.
// +kubebuilder:validation:Enum=HTTPS;InsecureHTTP
type Transport string

const (
	// TransportHTTPS verifies the store's certificate.
	TransportHTTPS Transport = "HTTPS"
	// TransportInsecureHTTP is for shops in the same private network only:
	// requests are signed, and everything in them can be read on the way.
	TransportInsecureHTTP Transport = "InsecureHTTP"
)

// Keys of the Secret that `credentialsSecretRef` names.
const (
	CredentialsConsumerKey    = "consumerKey"
	CredentialsConsumerSecret = "consumerSecret"
)

// LocalObjectReference names an object in the same namespace.
type LocalObjectReference struct {
	// name of the object, in the same namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="must be an object name: lower-case letters, digits, hyphens and dots, beginning and ending with a letter or digit"
	Name string `json:"name"`
}

// SecretKeyReference names one key of a Secret in the same namespace.
type SecretKeyReference struct {
	// name of the Secret, in the same namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="must be an object name: lower-case letters, digits, hyphens and dots, beginning and ending with a letter or digit"
	Name string `json:"name"`
	// key inside the Secret, for example ca.crt.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$')",message="must be a Secret key: letters, digits, hyphens, dots and underscores"
	Key string `json:"key"`
}

// WooCommerce says how a WooCommerce store's REST API is reached.
// +kubebuilder:validation:XValidation:rule="has(self.transport) && self.transport == 'InsecureHTTP' ? self.url.startsWith('http://') : self.url.startsWith('https://')",message="`url` must begin with https://; with `transport` InsecureHTTP it must begin with http://"
// +kubebuilder:validation:XValidation:rule="!has(self.caBundleSecretKeyRef) || !has(self.transport) || self.transport == 'HTTPS'",message="`caBundleSecretKeyRef` must be omitted when `transport` is InsecureHTTP: there is no certificate to verify"
type WooCommerce struct {
	// url is the address of the shop, as its visitors type it, for example
	// https://fr.example.com or https://example.com/shop. It must be absolute and
	// hold no user, query or fragment. It begins with https://, or with http://
	// when `transport` is InsecureHTTP.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=500
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getHostname() != ''",message="must be an absolute URL such as https://shop.example.com"
	// +kubebuilder:validation:XValidation:rule="!self.contains('@') && !self.contains('?') && !self.contains('#')",message="must hold no user, query or fragment; credentials belong in the Secret of `credentialsSecretRef`"
	URL string `json:"url"`
	// transport is HTTPS or InsecureHTTP. When omitted it is HTTPS. InsecureHTTP
	// is for a shop inside the same private network: requests are signed (OAuth
	// 1.0a), so that the secret does not travel, but whoever listens reads the
	// rest and could change what is written.
	// +optional
	Transport Transport `json:"transport,omitempty"`
	// credentialsSecretRef names the Secret with the store's REST keys under the
	// keys `consumerKey` and `consumerSecret`. The REST key needs the permission
	// Read/Write, and a user who may edit products and read orders. A changed
	// Secret takes effect without a restart.
	// +required
	CredentialsSecretRef LocalObjectReference `json:"credentialsSecretRef"`
	// caBundleSecretKeyRef names the PEM certificates to trust for this store
	// instead of the system's. When omitted the system's are trusted.
	// +optional
	CABundleSecretKeyRef *SecretKeyReference `json:"caBundleSecretKeyRef,omitempty"`
}

// Exclusions name SKUs that are left alone.
type Exclusions struct {
	// skus are excluded SKUs, compared without regard to case and surrounding
	// blanks, for example GIFT-CARD. At most 1000. When omitted none is excluded
	// by name.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=100
	SKUs []string `json:"skus,omitempty"`
	// skuPatterns exclude every SKU they match in full; * stands for any
	// characters, ? for one, for example SAMPLE-*. At most 100. When omitted none
	// is excluded by pattern.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=100
	SKUPatterns []string `json:"skuPatterns,omitempty"`
}

// StoreStatus is what the agent last said of one store.
type StoreStatus struct {
	// storeID is the id in effect.
	// +optional
	StoreID string `json:"storeID,omitempty"`
	// mode is the mode in effect: Sync, Observe or Off.
	// +optional
	Mode Mode `json:"mode,omitempty"`
	// driver is how the store is spoken to: woocommerce, kitgenix,
	// woocommerce+kitgenix or katana.
	// +optional
	Driver string `json:"driver,omitempty"`
	// tier is how changes are captured: Polling, Webhooks, PluginAndREST or Plugin.
	// +optional
	Tier string `json:"tier,omitempty"`
	// versions are what the store says it runs, for example "WooCommerce 9.9.5,
	// WordPress 6.8".
	// +optional
	Versions string `json:"versions,omitempty"`
	// lastInboundTime is when a change or a webhook last came from the store.
	// +optional
	LastInboundTime *metav1.Time `json:"lastInboundTime,omitempty"`
	// lastOutboundTime is when the store last acknowledged a write.
	// +optional
	LastOutboundTime *metav1.Time `json:"lastOutboundTime,omitempty"`
	// lastSeenTime is when the store last answered at all.
	// +optional
	LastSeenTime *metav1.Time `json:"lastSeenTime,omitempty"`
	// lastError is the last thing that went wrong; it stays after recovery.
	// +optional
	LastError *StoreError `json:"lastError,omitempty"`
	// placements is the number of SKUs bound to an item of this store.
	// +optional
	Placements *int32 `json:"placements,omitempty"`
	// enrolled is how many placements have a proven baseline.
	// +optional
	Enrolled *int32 `json:"enrolled,omitempty"`
	// backlog is the number of SKUs whose shelf differs from what it should show.
	// +optional
	Backlog *int32 `json:"backlog,omitempty"`
	// lagSeconds is the age of the oldest difference in seconds; 0 when there is
	// none.
	// +optional
	LagSeconds *int32 `json:"lagSeconds,omitempty"`
	// conflicts is the number of open conflicts of this store.
	// +optional
	Conflicts *int32 `json:"conflicts,omitempty"`
	// mismatches are the largest differences, at most 10.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Mismatches []Mismatch `json:"mismatches,omitempty"`
	// kitgenix is what a person has to type into the store's plugin, and what is known
	// of it.
	// +optional
	Kitgenix *KitgenixStatus `json:"kitgenix,omitempty"`
}

// StoreError is an error that happened at a time.
type StoreError struct {
	// reason is a condition reason, for example Timeout.
	// +required
	Reason string `json:"reason"`
	// message says what was seen and what to do.
	// +required
	Message string `json:"message"`
	// time is when it happened.
	// +required
	Time metav1.Time `json:"time"`
}

// Mismatch is one SKU whose shelf differs from what it should show.
type Mismatch struct {
	// sku as the store spells it.
	// +required
	SKU string `json:"sku"`
	// shown is the store's last reading in units.
	// +required
	Shown int64 `json:"shown"`
	// wanted is what the store should show in units.
	// +required
	Wanted int64 `json:"wanted"`
	// sinceSeconds is the age of the difference in seconds.
	// +required
	SinceSeconds int32 `json:"sinceSeconds"`
}

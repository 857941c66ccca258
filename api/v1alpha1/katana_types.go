package v1alpha1

// Katana says how an account of Katana Cloud Inventory is reached and read. It
// is the source of the stock then: what shops do by themselves does not move it.
type Katana struct {
	// apiURL is the address of Katana's API with its version. It must begin with
	// https:// and hold no user, query or fragment. When omitted it is
	// https://api.katanamrp.com/v1.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=500
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() == 'https' && url(self).getHostname() != ''",message="must be an absolute URL that begins with https://, such as https://api.katanamrp.com/v1"
	// +kubebuilder:validation:XValidation:rule="!self.contains('@') && !self.contains('?') && !self.contains('#')",message="must hold no user, query or fragment; the token belongs in the Secret of `tokenSecretKeyRef`"
	APIURL string `json:"apiURL,omitempty"`
	// tokenSecretKeyRef names the API key, made in Katana under Settings > API;
	// Katana's plan must include its API. A changed Secret takes effect without a
	// restart.
	// +required
	TokenSecretKeyRef SecretKeyReference `json:"tokenSecretKeyRef"`
	// caBundleSecretKeyRef names the PEM certificates to trust for `apiURL` instead
	// of the system's. When omitted the system's are trusted.
	// +optional
	CABundleSecretKeyRef *SecretKeyReference `json:"caBundleSecretKeyRef,omitempty"`
	// requestsPerMinute is how many requests a minute may be sent with this key, and
	// fewer where Katana's answers allow fewer: leave some to other programs. Between
	// 10 and 6000. When omitted it is what Katana's answers say, 60 until then.
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=6000
	RequestsPerMinute *int32 `json:"requestsPerMinute,omitempty"`
	// pollIntervalSeconds is the time, in seconds, between two polls of what changed,
	// the safety net under webhooks. Between 15 and 3600. When omitted it is 60, or
	// longer where the requests do not suffice.
	// +optional
	// +kubebuilder:validation:Minimum=15
	// +kubebuilder:validation:Maximum=3600
	PollIntervalSeconds *int32 `json:"pollIntervalSeconds,omitempty"`
	// compareIntervalSeconds is the time, in seconds, between two comparisons of
	// everything in Katana with what is known of it. Between 300 and 604800. When
	// omitted it is 3600, or longer where the requests do not suffice.
	// +optional
	// +kubebuilder:validation:Minimum=300
	// +kubebuilder:validation:Maximum=604800
	CompareIntervalSeconds *int32 `json:"compareIntervalSeconds,omitempty"`
	// importGraceSeconds is for how long, in seconds, a sale in a shop is deducted
	// everywhere while Katana has no sales order for it; after that it no longer is,
	// and a conflict says so. Between 0, which deducts nothing, and 604800. When
	// omitted it is 3600.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=604800
	ImportGraceSeconds *int32 `json:"importGraceSeconds,omitempty"`
	// wooCommerceSources are values of `source` that stand for WooCommerce on sales
	// orders where Katana names no platform, compared without regard to case. At most
	// 16. When omitted such orders count as made in Katana.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=100
	WooCommerceSources []string `json:"wooCommerceSources,omitempty"`
	// skuComparison is CaseSensitive or CaseInsensitive: how a variant code is
	// compared with the SKU of a shop. When omitted it is CaseSensitive.
	// +optional
	SKUComparison SKUComparison `json:"skuComparison,omitempty"`
}

// SKUComparison says how SKUs are compared.
// +kubebuilder:validation:Enum=CaseSensitive;CaseInsensitive
type SKUComparison string

const (
	// SKUCaseSensitive tells code-1 from CODE-1.
	SKUCaseSensitive SKUComparison = "CaseSensitive"
	// SKUCaseInsensitive does not.
	SKUCaseInsensitive SKUComparison = "CaseInsensitive"
)

// ChildKatana says how a shop's numbers are made from what Katana knows.
type ChildKatana struct {
	// locationID is the id of the Katana location whose stock the shop offers.
	// Several shops may have the same.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2147483647
	LocationID int32 `json:"locationID"`
	// committedOrders is All or WooCommerceOnly: which open sales orders lower what
	// the shop shows. WooCommerceOnly leaves out those made in Katana, and those of
	// other channels, until they are fulfilled. While the mode is Off it has no
	// effect, as nothing is synced. When omitted it is All.
	// +optional
	CommittedOrders CommittedOrders `json:"committedOrders,omitempty"`
	// quotes is Ignore or Count: whether quotes (status PENDING) lower what the shop
	// shows, as sales orders do. When omitted it is Ignore.
	// +optional
	Quotes QuotePolicy `json:"quotes,omitempty"`
	// rounding is Down, Nearest or Up: how a fraction becomes a whole number.
	// Nearest takes a half away from zero. When omitted it is Down.
	// +optional
	Rounding Rounding `json:"rounding,omitempty"`
	// belowZero is Keep or Zero: what the shop shows of a number below zero. When
	// omitted it is Keep.
	// +optional
	BelowZero BelowZeroPolicy `json:"belowZero,omitempty"`
	// kits is InStock or Potential: whether a kit or bundle shows its own stock, less
	// what open orders hold of it, or what Katana says could be put together from its
	// parts. When omitted it is InStock.
	// +optional
	Kits KitPolicy `json:"kits,omitempty"`
	// drift is Keep or Correct: what a reconcile does where the shop shows another
	// number than was last written, and nothing changed in Katana. Keep reports it
	// and leaves it until the item's next change; Correct writes it. When omitted it
	// is Keep.
	// +optional
	Drift DriftPolicy `json:"drift,omitempty"`
	// linksConfigMapRef names a ConfigMap that links Katana's variants to products and
	// variations of the shop, for those whose SKU matches none: each key is the id of
	// a variant, its value the WooCommerce id, for example "2101": "345". When omitted
	// only links made by imported orders and by `kubectl stocksync link` hold.
	// +optional
	LinksConfigMapRef *LocalObjectReference `json:"linksConfigMapRef,omitempty"`
}

// CommittedOrders says which open sales orders lower what a shop shows.
// +kubebuilder:validation:Enum=All;WooCommerceOnly
type CommittedOrders string

const (
	// CommittedAll counts every open sales order.
	CommittedAll CommittedOrders = "All"
	// CommittedWooCommerceOnly counts those that came from WooCommerce.
	CommittedWooCommerceOnly CommittedOrders = "WooCommerceOnly"
)

// QuotePolicy says whether quotes count as orders do.
// +kubebuilder:validation:Enum=Ignore;Count
type QuotePolicy string

const (
	// QuotesIgnore leaves them out.
	QuotesIgnore QuotePolicy = "Ignore"
	// QuotesCount counts them.
	QuotesCount QuotePolicy = "Count"
)

// Rounding says how a fraction becomes a whole number.
// +kubebuilder:validation:Enum=Down;Nearest;Up
type Rounding string

const (
	// RoundDown never promises a part of a unit.
	RoundDown Rounding = "Down"
	// RoundNearest takes a half away from zero.
	RoundNearest Rounding = "Nearest"
	// RoundUp promises the unit that was begun.
	RoundUp Rounding = "Up"
)

// BelowZeroPolicy says what a shop shows of a number below zero.
// +kubebuilder:validation:Enum=Keep;Zero
type BelowZeroPolicy string

const (
	// BelowZeroKeep shows it as it is.
	BelowZeroKeep BelowZeroPolicy = "Keep"
	// BelowZeroZero shows 0.
	BelowZeroZero BelowZeroPolicy = "Zero"
)

// KitPolicy says what a kit or bundle shows.
// +kubebuilder:validation:Enum=InStock;Potential
type KitPolicy string

const (
	// KitsInStock shows its own stock, less what open orders hold.
	KitsInStock KitPolicy = "InStock"
	// KitsPotential shows what could be put together from its parts.
	KitsPotential KitPolicy = "Potential"
)

// DriftPolicy says what a reconcile does with a number that a shop changed by
// itself.
// +kubebuilder:validation:Enum=Keep;Correct
type DriftPolicy string

const (
	// DriftKeep reports it.
	DriftKeep DriftPolicy = "Keep"
	// DriftCorrect writes Katana's number.
	DriftCorrect DriftPolicy = "Correct"
)

// KatanaStatus is what is known of the Katana account.
type KatanaStatus struct {
	// plan says in a sentence how the requests of a minute are spent.
	// +optional
	Plan string `json:"plan,omitempty"`
	// requestsPerMinute is how many requests a minute are planned with.
	// +optional
	RequestsPerMinute *int32 `json:"requestsPerMinute,omitempty"`
	// items is the number of variants.
	// +optional
	Items *int32 `json:"items,omitempty"`
	// openOrders is the number of open sales orders.
	// +optional
	OpenOrders *int32 `json:"openOrders,omitempty"`
	// unsettled is the number of items whose last reading was not of one moment, so
	// that it is read again and not used.
	// +optional
	Unsettled *int32 `json:"unsettled,omitempty"`
	// committedElsewhere is the number of items of which Katana commits more than
	// open sales orders hold of the item itself, for example as part of a kit; that
	// is no error.
	// +optional
	CommittedElsewhere *int32 `json:"committedElsewhere,omitempty"`
	// notImported is the number of orders of shops that are deducted because Katana
	// has no sales order for them yet.
	// +optional
	NotImported *int32 `json:"notImported,omitempty"`
}

// ChildKatanaStatus is what is known of a shop that offers Katana's stock.
type ChildKatanaStatus struct {
	// locationName is the name of the location in Katana.
	// +optional
	LocationName string `json:"locationName,omitempty"`
	// matched is the number of variants found in the shop.
	// +optional
	Matched *int32 `json:"matched,omitempty"`
	// skipped is the number of variants that are not synced, because the shop has no
	// item for them, or more than one variant has their SKU.
	// +optional
	Skipped *int32 `json:"skipped,omitempty"`
	// skippedItems are some of them, at most 10.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	SkippedItems []SkippedItemStatus `json:"skippedItems,omitempty"`
}

// SkippedItemStatus is a variant that is not synced with a shop.
type SkippedItemStatus struct {
	// item is the id of the variant in Katana.
	// +required
	Item string `json:"item"`
	// sku is its code; absent when it has none.
	// +optional
	SKU string `json:"sku,omitempty"`
	// message says why it is skipped and what to do.
	// +required
	Message string `json:"message"`
}

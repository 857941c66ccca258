// Package agentapi is the contract between the operator and the agent it runs: the files the operator
// mounts, the ports the agent listens on, and the status document the agent answers with. Both sides
// import it, so neither has to import the other.
package agentapi

import "time"

// Ports the agent listens on. They are apart so that a NetworkPolicy can open each to its own peers.
const (
	// PublicPort takes webhooks from stores, and nothing else. Plain HTTP: TLS ends at the Ingress.
	PublicPort = 8080
	// PrivatePort answers [StatusPath] over TLS to the operator, which authenticates with a bearer token.
	PrivatePort = 8443
	// MetricsPort serves /metrics, /healthz and /readyz in plain HTTP.
	MetricsPort = 9090
)

// Paths served by the agent.
const (
	// StatusPath on the private port answers GET with a JSON [Status].
	StatusPath = "/v1/status"
	// WebhookPathPrefix on the public port, followed by a storeID, takes WooCommerce deliveries.
	WebhookPathPrefix = "/webhooks/woocommerce/"
	// KatanaWebhookPath on the public port, followed by a slash and the master's storeID, takes Katana's events.
	KatanaWebhookPath = "/webhooks/katana"
	// PluginPathPrefix on the public port takes the requests of Kitgenix plugins.
	PluginPathPrefix = "/wp-json/kitgenix-stock-sync/v1"
	// HealthPath and ReadyPath on the metrics port are the probes. Ready means the configuration is loaded
	// and the ledger is open; a store that is down does not make the agent unready.
	HealthPath = "/healthz"
	ReadyPath  = "/readyz"
	// MetricsPath on the metrics port serves Prometheus metrics.
	MetricsPath = "/metrics"
)

// Where the operator mounts what the agent reads. Every one is a directory of a whole Secret (never
// subPath), so that the kubelet updates it in place.
const (
	// ConfigDir holds [ConfigFile] and [RevisionFile].
	ConfigDir = "/etc/stocksync/config"
	// ConfigFile is a multi-document YAML stream: the StockSyncTopology, its ChildStores and the Secrets they
	// name, as the user wrote them. The same file works with `agent run --config` on a laptop.
	ConfigFile = "topology.yaml"
	// RevisionFile holds an opaque text that changes with ConfigFile; the agent reports it back as
	// [Status.ConfigRevision] once it runs with it.
	RevisionFile = "revision"
	// LedgerIDDir holds [LedgerIDFile].
	LedgerIDDir = "/etc/stocksync/ledger"
	// LedgerIDFile holds the ledger id: 32 lower-case hexadecimal digits. It outlives the volume.
	LedgerIDFile = "id"
	// PrivateDir holds the private port's certificate, key, CA and token under the names below.
	PrivateDir  = "/etc/stocksync/private"
	TLSCertFile = "tls.crt"
	TLSKeyFile  = "tls.key"
	CAFile      = "ca.crt"
	TokenFile   = "token"
	// DataDir is the ledger's volume.
	DataDir = "/var/lib/stocksync"
	// SocketName is the Unix socket in the data directory over which tools on the same machine ask the agent.
	// Only the user it runs as may open it.
	SocketName = "stocksync.sock"
)

// Condition is one statement about a store or the agent, in the terms of metav1.Condition.
type Condition struct {
	// Status is "True", "False" or "Unknown".
	Status string `json:"status"`
	// Reason is one of the reasons of api/v1alpha1.
	Reason string `json:"reason"`
	// Message says what is seen and what to do. No secret, no name of another tenant.
	Message string `json:"message,omitempty"`
	// Since is when Status last changed.
	Since time.Time `json:"since"`
}

// Error is the last thing that went wrong with a store; it stays readable after recovery.
type Error struct {
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	Time    time.Time `json:"time"`
}

// Status is the agent's answer to GET [StatusPath].
type Status struct {
	// AgentVersion is the version the agent binary was built from.
	AgentVersion string `json:"agentVersion"`
	// ConfigRevision is the content of [RevisionFile] of the configuration the agent runs with.
	ConfigRevision string `json:"configRevision"`
	// ConfigError says why the newest configuration is not in use (the last good one is); empty when it is.
	ConfigError string `json:"configError,omitempty"`
	// LedgerID is the id in every marker this agent writes.
	LedgerID string `json:"ledgerID"`
	// StartedAt and Now are on the agent's clock.
	StartedAt time.Time `json:"startedAt"`
	Now       time.Time `json:"now"`
	// Pools is the number of stock pools (one per SKU, or per group of SKUs that share one stock).
	Pools int `json:"pools"`
	// OversoldPools and OversoldUnits describe pools below zero.
	OversoldPools int `json:"oversoldPools"`
	OversoldUnits int `json:"oversoldUnits"`
	// StoppedSKUs counts SKUs whose writing was stopped until a person chooses the number.
	StoppedSKUs int `json:"stoppedSKUs"`
	// Conflicts counts open conflict rows.
	Conflicts int `json:"conflicts"`
	// Stores holds the master first, then the children ordered by storeID.
	Stores []StoreStatus `json:"stores"`
	// LastReconcile and LastAudit are the newest run of each kind, running or ended.
	LastReconcile *Run `json:"lastReconcile,omitempty"`
	LastAudit     *Run `json:"lastAudit,omitempty"`
	// HandledReconcile and HandledAudit are the newest values of the request annotations whose run has ended.
	HandledReconcile string `json:"handledReconcile,omitempty"`
	HandledAudit     string `json:"handledAudit,omitempty"`
	// Breaker is set while pushes are held.
	Breaker *Breaker `json:"breaker,omitempty"`
	// Source is set where the master is a source of stock and no shop.
	Source *SourceStatus `json:"source,omitempty"`
	// Volume is the file system that holds the ledger; nil where it cannot be measured.
	Volume *VolumeStatus `json:"volume,omitempty"`
}

// VolumeStatus is how much room a file system has for the agent.
type VolumeStatus struct {
	CapacityBytes int64 `json:"capacityBytes"`
	FreeBytes     int64 `json:"freeBytes"`
}

// FreePercent is how much of it is free, in whole percent rounded down.
func (v VolumeStatus) FreePercent() int {
	if v.CapacityBytes <= 0 || v.FreeBytes <= 0 {
		return 0
	}
	return int(min(float64(v.FreeBytes)/float64(v.CapacityBytes), 1) * 100)
}

// A volume is nearly full from NearlyFullPercent free on, until RoomAgainPercent are: a number that goes up and down
// a little does not raise the alarm each time.
const (
	NearlyFullPercent = 10
	RoomAgainPercent  = 15
)

// SourceStatus is what the agent knows of a source of stock, such as Katana.
type SourceStatus struct {
	// Plan says in a sentence how the requests of a minute are spent, RequestsPerMinute how many there are.
	Plan              string `json:"plan,omitempty"`
	RequestsPerMinute int    `json:"requestsPerMinute,omitempty"`
	// RequestsLeft are those of the current minute that are left, ThrottledUntil when the source lets anything through
	// again; absent while it does.
	RequestsLeft   int        `json:"requestsLeft"`
	ThrottledUntil *time.Time `json:"throttledUntil,omitempty"`
	// Items and OpenOrders count what is mirrored.
	Items      int `json:"items"`
	OpenOrders int `json:"openOrders"`
	// Unsettled items were not read at one moment, and are read again.
	Unsettled int `json:"unsettled"`
	// CommittedElsewhere items are committed for more than open orders hold of the item itself. No error.
	CommittedElsewhere int `json:"committedElsewhere"`
	// NotImported counts orders of shops that are deducted because the source has none for them yet.
	NotImported int `json:"notImported"`
}

// StoreStatus is what the agent knows of one store.
type StoreStatus struct {
	StoreID string `json:"storeID"`
	// Master tells the master from the children.
	Master bool `json:"master,omitempty"`
	// Mode is the effective mode: Sync, Observe or Off.
	Mode string `json:"mode"`
	// Tier is how changes are captured: one of the tiers below.
	Tier string `json:"tier,omitempty"`
	// Accepted is False when this store's configuration is invalid (the last good one, if any, stays in use).
	Accepted Condition `json:"accepted"`
	// Connected: the last request to the store worked.
	Connected Condition `json:"connected"`
	// HintsAvailable: webhooks arrive. False is not an outage: polling finds the same changes.
	HintsAvailable Condition `json:"hintsAvailable"`
	// InSync is False only when the oldest difference is older than the lag objective, or a person must decide.
	InSync Condition `json:"inSync"`
	// LastInboundTime is the last change or delivery seen from the store, LastOutboundTime the last write it
	// acknowledged, LastSeenTime its last answer of any kind.
	LastInboundTime  *time.Time `json:"lastInboundTime,omitempty"`
	LastOutboundTime *time.Time `json:"lastOutboundTime,omitempty"`
	LastSeenTime     *time.Time `json:"lastSeenTime,omitempty"`
	LastError        *Error     `json:"lastError,omitempty"`
	// Placements counts SKUs bound to an item of this store; Enrolled those with a baseline.
	Placements int `json:"placements"`
	Enrolled   int `json:"enrolled"`
	// Backlog counts placements whose shelf differs from what it should show.
	Backlog int `json:"backlog"`
	// LagSeconds is the age of the oldest difference, 0 when there is none.
	LagSeconds int `json:"lagSeconds"`
	// Mismatches are the worst differences, at most [MaxMismatches], largest first.
	Mismatches []Mismatch `json:"mismatches,omitempty"`
	// Conflicts counts open conflict rows of this store.
	Conflicts int `json:"conflicts"`
	// WooCommerceVersion and WordPressVersion as the store reports them; empty when unknown.
	WooCommerceVersion string `json:"wooCommerceVersion,omitempty"`
	WordPressVersion   string `json:"wordPressVersion,omitempty"`
	// CheckoutValidated is set where the store's plugin asks at checkout: whether it is answered from the ledger.
	CheckoutValidated *Condition `json:"checkoutValidated,omitempty"`
	// Plugin is set where the store has the Kitgenix plugin.
	Plugin *PluginStatus `json:"plugin,omitempty"`
	// Sourced is set on the children where the master is a source of stock and no shop.
	Sourced *SourcedStatus `json:"sourced,omitempty"`
}

// The tiers: how changes of a store are captured. TierPlugin alone writes whole quantities.
const (
	TierPolling       = "Polling"
	TierWebhooks      = "Webhooks"
	TierPluginAndREST = "PluginAndREST"
	TierPlugin        = "Plugin"
)

// PluginStatus is what the agent knows of a store's Kitgenix plugin.
type PluginStatus struct {
	// Version as the plugin gives it; empty for generation 1. Generation is 1 or 2, 0 until it was heard.
	Version    string `json:"version,omitempty"`
	Generation int    `json:"generation,omitempty"`
	// Connection is one of the connections below.
	Connection string `json:"connection"`
	// ClockSkewSeconds is by how much the shop's clock is ahead of the agent's; nil until it was heard. It is
	// reported in whole multiples of 5, so that it does not change with every ping.
	ClockSkewSeconds *int `json:"clockSkewSeconds,omitempty"`
	// LastPingTime is when it last answered a ping.
	LastPingTime *time.Time `json:"lastPingTime,omitempty"`
	// PreviousSecretUntil is until when the secret before is accepted; nil when there is none.
	PreviousSecretUntil *time.Time `json:"previousSecretUntil,omitempty"`
}

// The connections of a plugin, in its own words.
const (
	ConnectionNever = "never"
	ConnectionOK    = "ok"
	ConnectionStale = "stale"
	ConnectionError = "error"
)

// SourcedStatus is what the agent knows of a shop that shows the stock of a source.
type SourcedStatus struct {
	// LocationName is the source's name of the shop's location.
	LocationName string `json:"locationName,omitempty"`
	// Matched items of the source were found in the shop, Skipped ones not, or not for sure.
	Matched int `json:"matched"`
	Skipped int `json:"skipped"`
	// SkippedItems are some of them, at most [MaxSkipped], in an order that does not change by itself.
	SkippedItems []SkippedItem `json:"skippedItems,omitempty"`
}

// MaxSkipped caps [SourcedStatus.SkippedItems].
const MaxSkipped = 10

// SkippedItem is an item of a source that is not synced with a shop.
type SkippedItem struct {
	// Item is the source's id; SKU may be empty.
	Item string `json:"item"`
	SKU  string `json:"sku,omitempty"`
	// Message says why, and what to do.
	Message string `json:"message"`
}

// MaxMismatches caps [StoreStatus.Mismatches].
const MaxMismatches = 10

// Mismatch is one SKU whose shelf differs from what it should show.
type Mismatch struct {
	SKU string `json:"sku"`
	// Shown is the store's last reading in units, Wanted what it should show.
	Shown  int64 `json:"shown"`
	Wanted int64 `json:"wanted"`
	// SinceSeconds is the age of the difference.
	SinceSeconds int `json:"sinceSeconds"`
}

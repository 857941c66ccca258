// Package metric is the one table of the metrics of agent and operator. docs/metrics.md is made from it.
//
// Labels are the ids of configured stores and fixed words, so that the number of series is bounded by the
// configuration, whatever peers send and however many SKUs there are.
package metric

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// Type is the type of a metric.
type Type string

// The types.
const (
	Gauge     Type = "gauge"
	Counter   Type = "counter"
	Histogram Type = "histogram"
)

// Metric describes one metric.
type Metric struct {
	Name string
	Type Type
	// Help says what it counts, in the unit its name ends with.
	Help   string
	Labels []string
	// Buckets are the upper bounds of a histogram's.
	Buckets []float64
}

var (
	agent    []Metric
	operator []Metric
)

func ofAgent(t Type, name, help string, labels ...string) Metric {
	m := Metric{Name: "stocksync_" + name, Type: t, Help: help, Labels: labels}
	agent = append(agent, m)
	return m
}

func ofOperator(t Type, name, help string, labels ...string) Metric {
	m := Metric{Name: "stocksync_operator_" + name, Type: t, Help: help, Labels: labels}
	operator = append(operator, m)
	return m
}

// Of the agent as a whole.
var (
	AgentInfo     = ofAgent(Gauge, "agent_info", "Always 1; the label names the version.", "version")
	Pools         = ofAgent(Gauge, "pools", "Shared stocks: one per SKU, or per group of SKUs that share one.")
	OversoldPools = ofAgent(Gauge, "oversold_pools", "Shared stocks below zero.")
	OversoldUnits = ofAgent(Gauge, "oversold_units", "Units sold that do not exist: what the shared stocks below zero lack.")
	StoppedSKUs   = ofAgent(Gauge, "stopped_skus", "SKUs whose writing is stopped until a person chooses the number.")
	Conflicts     = ofAgent(Gauge, "conflicts", "Open conflicts, all stores together.")
	Reloads       = ofAgent(Counter, "config_reloads_total", "Changed configurations by result: applied, or refused and the one before kept.", "result")
	ConfigRefused = ofAgent(Gauge, "config_refused", "1 while the newest configuration, or a part of it, is not in use because it is invalid; 0 otherwise.")
	VolumeSize    = ofAgent(Gauge, "volume_size_bytes", "Size of the volume that holds the ledger; no series where it cannot be measured.")
	VolumeFree    = ofAgent(Gauge, "volume_free_bytes", "What is free of it.")
)

// Of one store.
var (
	StoreMode       = ofAgent(Gauge, "store_mode", "1 for the mode the store runs in, 0 for the others: Sync, Observe, Off.", "store", "mode")
	StoreTier       = ofAgent(Gauge, "store_tier", "1 for the way changes of the store are found at present, 0 for the others: Polling, Webhooks, PluginAndREST, Plugin.", "store", "tier")
	StoreCondition  = ofAgent(Gauge, "store_condition", "Condition of the store: 1 True, 0 False, -1 Unknown.", "store", "condition")
	StorePlacements = ofAgent(Gauge, "store_placements", "SKUs bound to an item of the store.", "store")
	StoreEnrolled   = ofAgent(Gauge, "store_enrolled", "SKUs with a proven baseline in the store.", "store")
	StoreBacklog    = ofAgent(Gauge, "store_backlog", "SKUs whose shelf differs from what it should show.", "store")
	StoreLag        = ofAgent(Gauge, "store_lag_seconds", "Age of the store's oldest difference, 0 when there is none.", "store")
	StoreExposure   = ofAgent(Gauge, "store_oversell_exposure_units", "Units the store still offers beyond the shared stock, over all SKUs that wait to be lowered there. "+
		"They can be sold although they do not exist. 0 when everything is written.", "store")
	StoreConflicts   = ofAgent(Gauge, "store_conflicts", "Open conflicts of the store.", "store")
	StoreLastSeen    = ofAgent(Gauge, "store_last_seen_timestamp_seconds", "When the store last answered; no series before that.", "store")
	StoreLastInbound = ofAgent(Gauge, "store_last_inbound_timestamp_seconds", "When a change or a webhook last came from the store; no series before that.", "store")
	StoreLastWrite   = ofAgent(Gauge, "store_last_outbound_timestamp_seconds", "When the store last acknowledged a write; no series before that.", "store")
	OwnUnits         = ofAgent(Counter, "store_own_units_total", "Units by which the store moved the shared stock, by the code of the cause (docs/codes.md) and the direction: up, down.",
		"store", "code", "direction")
	Pushes = ofAgent(Counter, "store_pushes_total", "Pushes of one SKU to the store by result: acknowledged, unanswered (the store is read until it is known whether it arrived), "+
		"unsent (it is tried again), gone (the item does not exist any more).", "store", "result")
	Requests = histogram(ofAgent(Histogram, "store_request_duration_seconds", "Time the store took to answer a request, failed or not, by operation: read, write.",
		"store", "operation"), 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
	RequestErrors = ofAgent(Counter, "store_request_errors_total", "Requests to the store that failed, by operation and the reason of the condition Connected.",
		"store", "operation", "reason")
	Deliveries     = ofAgent(Counter, "webhook_deliveries_total", "Webhook deliveries by store and result.", "store", "result")
	PluginRequests = ofAgent(Counter, "plugin_requests_total", "Requests of Kitgenix plugins by store (empty: the sender could not be proved), route and outcome: ok, duplicate, "+
		"off (mode Off), unknown, malformed, forbidden, unavailable; and of senders that could not be proved refused, limited, unreadable.", "store", "route", "outcome")
	CheckoutAnswers = ofAgent(Counter, "checkout_answers_total", "Questions of plugins at checkout by the answer: ledger (from fresh numbers), last_known (the master is unreachable), "+
		"too_old (the last known numbers are too old, and every sale passes), failed_open (every sale passes), failed_closed (every sale of a shared SKU is refused).", "store", "answer")
	Events = ofAgent(Counter, "events_total", "Lines of the event log by store (empty: the agent as a whole), code (docs/codes.md) and level.", "store", "code", "level")
)

// Of a source of stock that is the master, such as Katana.
var (
	SourceRequests = ofAgent(Gauge, "source_requests_per_minute", "Requests a minute that the source's key is good for; no series where the master is a store.")
	SourceLeft     = ofAgent(Gauge, "source_requests_left", "Requests of the current minute that are left of the source's key; 0 while the source lets nothing through.")
	SourceOrders   = ofAgent(Gauge, "source_open_orders", "Open orders in the source.")
	SourceDoubted  = ofAgent(Gauge, "source_unsettled_items", "Items of the source whose last reading was not of one moment, so that it is not used and read again.")
	SourceAwaited  = ofAgent(Gauge, "source_orders_not_imported", "Lines of shops' orders that are held back from every shop because the source has no order for them yet.")
)

// Of reconciles, audits and the circuit breaker.
var (
	RunState = ofAgent(Gauge, "run_state", "1 for the state of the newest run of its kind (Reconcile, Audit), 0 for the others: Running, Succeeded, NeedsAttention, Failed, Cancelled. "+
		"All are 0 before the first run.", "kind", "state")
	RunStarted    = ofAgent(Gauge, "run_started_timestamp_seconds", "When the newest run of its kind began; no series before the first run.", "kind")
	RunFinished   = ofAgent(Gauge, "run_finished_timestamp_seconds", "When the newest run of its kind ended; no series while it runs.", "kind")
	RunProgress   = ofAgent(Gauge, "run_progress_ratio", "Share of the placements the newest run of its kind is done with, 0 to 1.", "kind")
	RunFindings   = ofAgent(Gauge, "run_findings", "Findings of the newest run of its kind, by class.", "kind", "class")
	RunPlacements = ofAgent(Gauge, "run_store_placements", "Placements of the newest run of its kind, by store and result: differing (found), written (put right), waiting (still differ).",
		"kind", "store", "result")
	BreakerTripped = ofAgent(Gauge, "breaker_tripped", "1 while the circuit breaker holds pushes until a person approves its trip, 0 otherwise.")
	BreakerSKUs    = ofAgent(Gauge, "breaker_skus", "SKUs of the change the circuit breaker holds, by effect: zeroed, multiplied.", "effect")
)

// Condition is the operator's view of an object. The series go with the object.
var Condition = ofOperator(Gauge, "condition", "Condition of a StockSyncTopology or ChildStore: 1 True, 0 False, -1 Unknown.",
	"namespace", "kind", "name", "condition")

func histogram(m Metric, buckets ...float64) Metric {
	m.Buckets = buckets
	return m
}

// OfAgent are the metrics of the agent.
func OfAgent() []Metric { return slices.Clone(agent) }

// OfOperator are the metrics of the operator, beside those of controller-runtime.
func OfOperator() []Metric { return slices.Clone(operator) }

// Desc describes the metric to a collector.
func (m Metric) Desc() *prometheus.Desc { return prometheus.NewDesc(m.Name, m.Help, m.Labels, nil) }

// CounterVec makes the counters of the metric.
func (m Metric) CounterVec() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.Name, Help: m.Help}, m.Labels)
}

// HistogramVec makes the histograms of the metric.
func (m Metric) HistogramVec() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: m.Name, Help: m.Help, Buckets: m.Buckets}, m.Labels)
}

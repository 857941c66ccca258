package agent

import (
	"context"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
)

// metrics are what /metrics shows. Labels are the ids of configured stores and fixed words, so their number
// is bounded by the configuration, whatever peers send.
type metrics struct {
	registry   *prometheus.Registry
	deliveries *prometheus.CounterVec
	reloads    *prometheus.CounterVec
}

func newMetrics(version string, status func(context.Context) (agentapi.Status, error), log logr.Logger) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stocksync_webhook_deliveries_total", Help: "Webhook deliveries by store and result.",
		}, []string{"store", "result"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stocksync_config_reloads_total", Help: "Changed configurations by result: applied, or refused and the one before kept.",
		}, []string{"result"}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "stocksync_agent_info", Help: "Always 1; the label names the version.", ConstLabels: prometheus.Labels{"version": version}})
	info.Set(1)
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		info, m.deliveries, m.reloads, &statusCollector{status: status, log: log})
	return m
}

// forget removes the series of stores that left.
func (m *metrics) forget(store string) {
	m.deliveries.DeletePartialMatch(prometheus.Labels{"store": store})
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// statusCollector turns the status into metrics when they are asked for.
type statusCollector struct {
	status func(context.Context) (agentapi.Status, error)
	log    logr.Logger
}

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("stocksync_"+name, help, labels, nil)
}

var (
	poolsDesc         = gauge("pools", "Shared stocks: one per SKU, or per group of SKUs that share one.")
	oversoldPoolsDesc = gauge("oversold_pools", "Shared stocks below zero.")
	oversoldUnitsDesc = gauge("oversold_units", "Units sold that do not exist.")
	stoppedDesc       = gauge("stopped_skus", "SKUs whose writing is stopped until a person chooses the number.")
	conflictsDesc     = gauge("conflicts", "Open conflicts.")

	storeConditionDesc   = gauge("store_condition", "Condition of a store: 1 True, 0 False, -1 Unknown.", "store", "condition")
	storePlacementsDesc  = gauge("store_placements", "SKUs bound to an item of the store.", "store")
	storeEnrolledDesc    = gauge("store_enrolled", "SKUs with a proven baseline in the store.", "store")
	storeBacklogDesc     = gauge("store_backlog", "SKUs whose shelf differs from what it should show.", "store")
	storeLagDesc         = gauge("store_lag_seconds", "Age of the store's oldest difference, 0 when there is none.", "store")
	storeConflictsDesc   = gauge("store_conflicts", "Open conflicts of the store.", "store")
	storeLastSeenDesc    = gauge("store_last_seen_timestamp_seconds", "When the store last answered.", "store")
	storeLastInboundDesc = gauge("store_last_inbound_timestamp_seconds", "When a change or a webhook last came from the store.", "store")
	storeLastWriteDesc   = gauge("store_last_outbound_timestamp_seconds", "When the store last acknowledged a write.", "store")
)

// Describe implements [prometheus.Collector].
func (c *statusCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{poolsDesc, oversoldPoolsDesc, oversoldUnitsDesc, stoppedDesc, conflictsDesc,
		storeConditionDesc, storePlacementsDesc, storeEnrolledDesc, storeBacklogDesc, storeLagDesc, storeConflictsDesc,
		storeLastSeenDesc, storeLastInboundDesc, storeLastWriteDesc} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *statusCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s, err := c.status(ctx)
	if err != nil {
		// The other metrics are worth having; /readyz tells of the ledger.
		c.log.V(1).Info("no status for the metrics", "cause", err.Error())
		return
	}
	set := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	set(poolsDesc, float64(s.Pools))
	set(oversoldPoolsDesc, float64(s.OversoldPools))
	set(oversoldUnitsDesc, float64(s.OversoldUnits))
	set(stoppedDesc, float64(s.StoppedSKUs))
	set(conflictsDesc, float64(s.Conflicts))
	for _, st := range s.Stores {
		for name, cond := range map[string]agentapi.Condition{
			v1alpha1.ConditionAccepted: st.Accepted, v1alpha1.ConditionConnected: st.Connected,
			v1alpha1.ConditionHintsAvailable: st.HintsAvailable, v1alpha1.ConditionInSync: st.InSync,
		} {
			set(storeConditionDesc, map[string]float64{"True": 1, "False": 0, "Unknown": -1}[cond.Status], st.StoreID, name)
		}
		set(storePlacementsDesc, float64(st.Placements), st.StoreID)
		set(storeEnrolledDesc, float64(st.Enrolled), st.StoreID)
		set(storeBacklogDesc, float64(st.Backlog), st.StoreID)
		set(storeLagDesc, float64(st.LagSeconds), st.StoreID)
		set(storeConflictsDesc, float64(st.Conflicts), st.StoreID)
		for d, t := range map[*prometheus.Desc]*time.Time{storeLastSeenDesc: st.LastSeenTime, storeLastInboundDesc: st.LastInboundTime, storeLastWriteDesc: st.LastOutboundTime} {
			if t != nil {
				set(d, float64(t.UnixMilli())/1000, st.StoreID)
			}
		}
	}
}

package agent

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/event"
	"stocksync.dev/stocksync/internal/metric"
	"stocksync.dev/stocksync/internal/stock"
)

// metrics are what /metrics shows.
type metrics struct {
	registry   *prometheus.Registry
	deliveries *prometheus.CounterVec
	reloads    *prometheus.CounterVec
	ownUnits   *prometheus.CounterVec
	pushes     *prometheus.CounterVec
	requests   *prometheus.HistogramVec
	errors     *prometheus.CounterVec
	events     *prometheus.CounterVec
	asked      *prometheus.CounterVec
	answers    *prometheus.CounterVec

	// known are the stores of the configuration; what comes of others, late, makes no series again.
	mu    sync.RWMutex
	known map[string]bool
}

func newMetrics(version string, c *statusCollector) *metrics {
	m := &metrics{
		registry:   prometheus.NewRegistry(),
		deliveries: metric.Deliveries.CounterVec(),
		reloads:    metric.Reloads.CounterVec(),
		ownUnits:   metric.OwnUnits.CounterVec(),
		pushes:     metric.Pushes.CounterVec(),
		requests:   metric.Requests.HistogramVec(),
		errors:     metric.RequestErrors.CounterVec(),
		events:     metric.Events.CounterVec(),
		asked:      metric.PluginRequests.CounterVec(),
		answers:    metric.CheckoutAnswers.CounterVec(),
		known:      map[string]bool{"": true},
	}
	c.version = version
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.deliveries, m.reloads, m.ownUnits, m.pushes, m.requests, m.errors, m.events, m.asked, m.answers, c)
	for _, result := range []string{reloadApplied, reloadRefused} {
		m.reloads.WithLabelValues(result)
	}
	m.expect("")
	return m
}

const (
	reloadApplied = "applied"
	reloadRefused = "refused"

	operationRead  = "read"
	operationWrite = "write"

	directionUp   = "up"
	directionDown = "down"
)

// know begins the series of a store at zero, so that the first of anything is seen as an increase.
func (m *metrics) know(store string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known[store] = true
	for _, result := range []string{resultAccepted, resultForged} {
		m.deliveries.WithLabelValues(store, result)
	}
	for _, how := range []engine.PushResult{engine.Acknowledged, engine.Unanswered, engine.Unsent, engine.Gone} {
		m.pushes.WithLabelValues(store, string(how))
	}
	for _, operation := range []string{operationRead, operationWrite} {
		m.requests.WithLabelValues(store, operation)
	}
	for _, kind := range []stock.Kind{stock.Read, stock.Ordered, stock.Edited} {
		for _, direction := range []string{directionUp, directionDown} {
			m.ownUnits.WithLabelValues(store, event.Of(kind, false).Name, direction)
		}
	}
	for _, how := range allAnswered {
		m.answers.WithLabelValues(store, string(how))
	}
	m.expect(store)
}

// expect begins the series of what a person should look at.
func (m *metrics) expect(store string) {
	codes := event.OfStores()
	if store != "" {
		codes = append(codes, event.OfSKUs()...)
	}
	for _, c := range codes {
		if c.Level.AtLeast(event.Warning) {
			m.events.WithLabelValues(store, c.Name, string(c.Level))
		}
	}
}

// forget removes the series of stores that left.
func (m *metrics) forget(store string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.known, store)
	labels := prometheus.Labels{"store": store}
	for _, v := range []*prometheus.CounterVec{m.deliveries, m.ownUnits, m.pushes, m.errors, m.events, m.asked, m.answers} {
		v.DeletePartialMatch(labels)
	}
	m.requests.DeletePartialMatch(labels)
}

// of runs count if the store is one of the configuration's.
func (m *metrics) of(store string, count func()) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.known[store] {
		count()
	}
}

// delivered counts a webhook delivery.
func (m *metrics) delivered(store, result string) {
	m.of(store, func() { m.deliveries.WithLabelValues(store, result).Inc() })
}

// pluginAsked counts a plugin's request.
func (m *metrics) pluginAsked(store, route, outcome string) {
	m.of(store, func() { m.asked.WithLabelValues(store, route, outcome).Inc() })
}

// validated counts a plugin's question at checkout.
func (m *metrics) validated(store string, how answered) {
	m.of(store, func() { m.answers.WithLabelValues(store, string(how)).Inc() })
}

// knowPlugin begins the series of a store's plugin at zero.
func (m *metrics) knowPlugin(store string) {
	for _, route := range []string{"event", "stock"} {
		m.asked.WithLabelValues(store, route, "ok")
	}
}

// pushed counts pushes to a store.
func (m *metrics) pushed(store string, how engine.PushResult, n int) {
	m.of(store, func() { m.pushes.WithLabelValues(store, string(how)).Add(float64(n)) })
}

// recorded counts lines of the history.
func (m *metrics) recorded(lines []stock.Entry) {
	for _, e := range lines {
		m.of(e.Store, func() { m.record(e) })
	}
}

func (m *metrics) record(e stock.Entry) {
	code := event.Of(e.Kind, e.Conflict)
	m.events.WithLabelValues(e.Store, code.Name, string(code.Level)).Inc()
	switch {
	case e.Store == "":
	case e.Delta > 0:
		m.ownUnits.WithLabelValues(e.Store, code.Name, directionUp).Add(float64(e.Delta))
	case e.Delta < 0:
		m.ownUnits.WithLabelValues(e.Store, code.Name, directionDown).Add(-float64(e.Delta))
	}
}

// requested counts a request to a store.
func (m *metrics) requested(store string, write bool, took time.Duration, err error) {
	m.of(store, func() { m.request(store, write, took, err) })
}

func (m *metrics) request(store string, write bool, took time.Duration, err error) {
	operation := operationRead
	if write {
		operation = operationWrite
	}
	m.requests.WithLabelValues(store, operation).Observe(took.Seconds())
	if err == nil {
		return
	}
	reason := "Other"
	if f, ok := errors.AsType[*engine.Fault](err); ok {
		reason = f.Reason
	}
	m.errors.WithLabelValues(store, operation, reason).Inc()
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// statusCollector turns the status into metrics when they are asked for.
type statusCollector struct {
	version  string
	status   func(context.Context) (agentapi.Status, error)
	exposure func(context.Context) (map[string]int64, error)
	log      logr.Logger
}

// collected are the metrics made from the status.
var collected = func() map[string]*prometheus.Desc {
	out := map[string]*prometheus.Desc{}
	for _, m := range metric.OfAgent() {
		if m.Type == metric.Gauge {
			out[m.Name] = m.Desc()
		}
	}
	return out
}()

// Describe implements [prometheus.Collector].
func (c *statusCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range collected {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *statusCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	set := func(m metric.Metric, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(collected[m.Name], prometheus.GaugeValue, v, labels...)
	}
	set(metric.AgentInfo, 1, c.version)
	s, err := c.status(ctx)
	if err != nil {
		// The other metrics are worth having; /readyz tells of the ledger.
		c.log.V(1).Info("no status for the metrics", "cause", err.Error())
		return
	}
	set(metric.Pools, float64(s.Pools))
	set(metric.OversoldPools, float64(s.OversoldPools))
	set(metric.OversoldUnits, float64(s.OversoldUnits))
	set(metric.StoppedSKUs, float64(s.StoppedSKUs))
	set(metric.Conflicts, float64(s.Conflicts))
	set(metric.ConfigRefused, is(s.ConfigError != ""))
	if v := s.Volume; v != nil {
		set(metric.VolumeSize, float64(v.CapacityBytes))
		set(metric.VolumeFree, float64(v.FreeBytes))
	}
	for _, st := range s.Stores {
		collectStore(set, st)
	}
	if src := s.Source; src != nil {
		set(metric.SourceRequests, float64(src.RequestsPerMinute))
		set(metric.SourceLeft, float64(src.RequestsLeft))
		set(metric.SourceOrders, float64(src.OpenOrders))
		set(metric.SourceDoubted, float64(src.Unsettled))
		set(metric.SourceAwaited, float64(src.NotImported))
	}
	collectRun(set, s.Stores, agentapi.KindReconcile, s.LastReconcile)
	collectRun(set, s.Stores, agentapi.KindAudit, s.LastAudit)
	set(metric.BreakerTripped, is(s.Breaker != nil))
	held := agentapi.Breaker{}
	if s.Breaker != nil {
		held = *s.Breaker
	}
	set(metric.BreakerSKUs, float64(held.Zeroed), "zeroed")
	set(metric.BreakerSKUs, float64(held.Multiplied), "multiplied")
	exposure, err := c.exposure(ctx)
	if err != nil {
		c.log.V(1).Info("no exposure for the metrics", "cause", err.Error())
		return
	}
	for _, st := range s.Stores {
		set(metric.StoreExposure, float64(exposure[st.StoreID]), st.StoreID)
	}
}

func collectStore(set func(metric.Metric, float64, ...string), st agentapi.StoreStatus) {
	for _, mode := range []engine.Mode{engine.Sync, engine.Observe, engine.Off} {
		set(metric.StoreMode, is(st.Mode == string(mode)), st.StoreID, string(mode))
	}
	for _, tier := range []string{agentapi.TierPolling, agentapi.TierWebhooks, agentapi.TierPluginAndREST, agentapi.TierPlugin} {
		set(metric.StoreTier, is(st.Tier == tier), st.StoreID, tier)
	}
	for name, cond := range map[string]agentapi.Condition{
		v1alpha1.ConditionAccepted: st.Accepted, v1alpha1.ConditionConnected: st.Connected,
		v1alpha1.ConditionHintsAvailable: st.HintsAvailable, v1alpha1.ConditionInSync: st.InSync,
	} {
		set(metric.StoreCondition, map[string]float64{"True": 1, "False": 0, "Unknown": -1}[cond.Status], st.StoreID, name)
	}
	set(metric.StorePlacements, float64(st.Placements), st.StoreID)
	set(metric.StoreEnrolled, float64(st.Enrolled), st.StoreID)
	set(metric.StoreBacklog, float64(st.Backlog), st.StoreID)
	set(metric.StoreLag, float64(st.LagSeconds), st.StoreID)
	set(metric.StoreConflicts, float64(st.Conflicts), st.StoreID)
	for _, t := range []struct {
		metric metric.Metric
		at     *time.Time
	}{{metric.StoreLastSeen, st.LastSeenTime}, {metric.StoreLastInbound, st.LastInboundTime}, {metric.StoreLastWrite, st.LastOutboundTime}} {
		if t.at != nil {
			set(t.metric, seconds(*t.at), st.StoreID)
		}
	}
}

func collectRun(set func(metric.Metric, float64, ...string), stores []agentapi.StoreStatus, kind agentapi.RunKind, run *agentapi.Run) {
	r := agentapi.Run{}
	if run != nil {
		r = *run
	}
	for _, state := range []agentapi.RunState{agentapi.Running, agentapi.Succeeded, agentapi.NeedsAttention, agentapi.Failed, agentapi.Cancelled} {
		set(metric.RunState, is(r.State == state), string(kind), string(state))
	}
	for _, class := range findingClasses {
		set(metric.RunFindings, float64(r.Counts[class]), string(kind), string(class))
	}
	if run == nil {
		return
	}
	set(metric.RunStarted, seconds(r.StartedAt), string(kind))
	if r.FinishedAt != nil {
		set(metric.RunFinished, seconds(*r.FinishedAt), string(kind))
	}
	progress := 1.0
	if r.State == agentapi.Running {
		progress = float64(min(r.Done, r.Total)) / float64(max(r.Total, 1))
	}
	set(metric.RunProgress, progress, string(kind))
	for _, st := range r.Stores {
		if !slices.ContainsFunc(stores, func(s agentapi.StoreStatus) bool { return s.StoreID == st.StoreID }) {
			continue // it has left since
		}
		set(metric.RunPlacements, float64(st.Differing), string(kind), st.StoreID, "differing")
		set(metric.RunPlacements, float64(st.Written), string(kind), st.StoreID, "written")
		set(metric.RunPlacements, float64(st.Waiting), string(kind), st.StoreID, "waiting")
	}
}

var findingClasses = []agentapi.FindingClass{
	agentapi.MissingProduct, agentapi.DuplicateSKU, agentapi.IdentityMismatch, agentapi.QuantityDiffers, agentapi.StatusDiffers, agentapi.BackordersDiffer,
	agentapi.LowStockDiffers, agentapi.ManagementDiffers, agentapi.StoreUnreachable, agentapi.AuthenticationFailed, agentapi.InFlight,
}

func is(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

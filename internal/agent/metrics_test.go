package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/event"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/metric"
	sim "stocksync.dev/stocksync/internal/sim/woocommerce"
	"stocksync.dev/stocksync/internal/stock"
)

// valueOf is the value of a series in the text of a scrape, -1 if it is not there.
func valueOf(scrape, series string) float64 {
	for line := range strings.SplitSeq(scrape, "\n") {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			if v, err := strconv.ParseFloat(rest, 64); err == nil {
				return v
			}
		}
	}
	return -1
}

func familiesOf(t *testing.T, scrape string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(scrape))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// keepScrape leaves a scrape where hack/monitoring evaluates rules and dashboard on it, if it asked for one.
func keepScrape(t *testing.T, name, scrape string) {
	t.Helper()
	if dir := os.Getenv("STOCKSYNC_SCRAPES"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+".prom"), []byte(scrape), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMetrics: an agent that has lived through sales, webhooks, an outage and a request it could not use tells all of
// it, store by store and never by SKU; and the event log tells the same.
func TestMetrics(t *testing.T) {
	t.Parallel()
	clock := newFastClock()
	deliver := &toAgent{}
	seed := sim.SeedOptions{Products: 12}
	hq, fr, de := newShop(t, clock, "hq", deliver, seed), newShop(t, clock, "fr", deliver, seed), newShop(t, clock, "de", deliver, seed)
	docs := []string{masterDoc("hq", hq.url, "  mode: Sync\n  publicURL: http://sync.example.com\n"),
		followerDoc("fr", fr.url, fr.pluginSpec("fr", pluginID)), followerDoc("de", de.url, ""), hq.secret("hq"), fr.secret("fr"), de.secret("de"), sharedSecret("fr", "s3cret")}
	b := startAgent(t, benchOptions{clock: clock}, docs...)
	deliver.addr.Store(b.addrs["public"].String())
	seen := func(what string, series ...string) {
		t.Helper()
		eventually(t, what, func() (bool, string) {
			scrape := metricsOf(t, b)
			for _, s := range series {
				if valueOf(scrape, s) <= 0 {
					return false, s + " in\n" + scrape
				}
			}
			return true, ""
		})
	}
	eventually(t, "enrolment and webhooks", func() (bool, string) {
		s := b.status()
		ok := len(s.Stores) == 3
		for _, st := range s.Stores {
			ok = ok && st.Placements > 0 && st.Enrolled == st.Placements && st.Tier == "Webhooks"
		}
		return ok, asJSON(s)
	})
	before := b.status()
	if _, err := b.client.StartRun(t.Context(), agentapi.RunRequest{Kind: agentapi.KindAudit}); err != nil {
		t.Fatal(err)
	}
	seen("the end of an audit", `stocksync_run_finished_timestamp_seconds{kind="Audit"}`, `stocksync_run_state{kind="Audit",state="Succeeded"}`, `stocksync_run_progress_ratio{kind="Audit"}`)

	de.Inject(sim.Fault{Kind: sim.FaultStatus, Path: "/", Status: 503, Times: 1 << 20})
	seen("the outage", `stocksync_events_total{code="Disconnected",level="Error",store="de"}`, `stocksync_store_request_errors_total{operation="read",reason="ServerError",store="de"}`)
	if _, err := fr.PlaceOrder(t.Context(), sim.Line{SKU: "SKU-0001", Quantity: 3}); err != nil {
		t.Fatal(err)
	}
	// Whichever is read first moves the number: the quantity or the order.
	sold := func(scrape string) float64 {
		return valueOf(scrape, `stocksync_store_own_units_total{code="Read",direction="down",store="fr"}`) + valueOf(scrape, `stocksync_store_own_units_total{code="Ordered",direction="down",store="fr"}`)
	}
	eventually(t, "the sale", func() (bool, string) {
		s := metricsOf(t, b)
		return sold(s) == 3 && valueOf(s, `stocksync_store_pushes_total{result="acknowledged",store="hq"}`) > 0, s
	})
	seen("what is on sale and was sold", `stocksync_store_oversell_exposure_units{store="de"}`, `stocksync_store_backlog{store="de"}`)
	b.apply(append(slices.Clone(docs), "kind: [")...)
	seen("a refused configuration", `stocksync_config_refused`, `stocksync_config_reloads_total{result="refused"}`)
	scrape := metricsOf(t, b)
	keepScrape(t, "agent", scrape)

	if got := valueOf(scrape, `stocksync_store_oversell_exposure_units{store="de"}`); got != 3 {
		t.Errorf("the shop that cannot be reached offers %v units that were sold elsewhere, want 3", got)
	}
	if got := valueOf(scrape, `stocksync_store_oversell_exposure_units{store="hq"}`); got != 0 {
		t.Errorf("the shop that was written offers %v units too many", got)
	}
	if text := strings.ToUpper(scrape); strings.Contains(text, "SKU-0001") || strings.Contains(text, "VAR-1") {
		t.Error("the metrics name SKUs")
	}
	checkFamilies(t, scrape)

	rows, err := b.agent.ledger.Events(t.Context(), ledger.EventQuery{Level: event.Error})
	if err != nil {
		t.Fatal(err)
	}
	told := func(kind stock.Kind, store, cause string) bool {
		return slices.ContainsFunc(rows, func(r ledger.Row) bool {
			return r.Kind == kind && r.Store == store && r.Cause == cause && r.Evidence != "" && !r.At.IsZero()
		})
	}
	if !told(event.Disconnected, "de", "ServerError") || !told(event.ConfigRefused, "", "") {
		t.Errorf("the event log tells %+v", rows)
	}
	de.Clear()
	b.apply(docs...)
	seen("recovery", `stocksync_events_total{code="Connected",level="Info",store="de"}`)
	if s := b.status(); s.Conflicts != before.Conflicts {
		t.Errorf("%d conflicts; %d before the outage", s.Conflicts, before.Conflicts)
	}
	eventually(t, "no exposure once all is written", func() (bool, string) {
		scrape = metricsOf(t, b)
		return valueOf(scrape, `stocksync_store_oversell_exposure_units{store="de"}`) == 0 && valueOf(scrape, `stocksync_config_refused`) == 0, scrape
	})

	// A shop that left takes its series along, and what comes of it late brings none back.
	b.apply(docs[0], docs[1], docs[3], docs[4])
	b.agent.metrics.requested("de", false, time.Second, &engine.Fault{Reason: "Timeout"})
	if scrape := metricsOf(t, b); strings.Contains(scrape, `store="de"`) {
		t.Error("the metrics speak of a shop that left")
	}
}

// checkFamilies holds a scrape against the table of metrics.
func checkFamilies(t *testing.T, scrape string) {
	t.Helper()
	families := familiesOf(t, scrape)
	for _, m := range metric.OfAgent() {
		f := families[m.Name]
		if f == nil && strings.HasPrefix(m.Name, "stocksync_source_") {
			continue // the master is a store
		}
		if f == nil {
			t.Errorf("%s is not in the scrape", m.Name)
			continue
		}
		if got := strings.ToLower(f.GetType().String()); got != string(m.Type) || f.GetHelp() != m.Help {
			t.Errorf("%s is a %s (%s)", m.Name, got, f.GetHelp())
		}
		want := slices.Sorted(slices.Values(m.Labels))
		for _, series := range f.Metric {
			var got []string
			for _, l := range series.Label {
				got = append(got, l.GetName())
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s has the labels %v, want %v", m.Name, got, want)
			}
		}
	}
	for name := range families {
		known := slices.ContainsFunc(metric.OfAgent(), func(m metric.Metric) bool { return m.Name == name })
		if !known && !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			t.Errorf("%s is not in the table of metrics", name)
		}
	}
}

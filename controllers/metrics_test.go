package controllers

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"stocksync.dev/stocksync/api/v1alpha1"
)

// scrapeOf is what the registries show, as text.
func scrapeOf(t *testing.T, registries ...prometheus.Gatherer) string {
	t.Helper()
	families, err := prometheus.Gatherers(registries).Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

// TestOperatorMetrics: every condition of every object is a series, which goes with the object.
func TestOperatorMetrics(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	registry := prometheus.NewRegistry()
	elected := make(chan struct{})
	b.must(RegisterMetrics(registry, b.admin, elected))
	if err := RegisterMetrics(registry, b.admin, elected); err == nil {
		t.Error("the metrics were registered twice")
	}
	startManager(b, &fakeAgents{admin: b.admin}, (&secretLists{}).wrap)
	b.apply(join(emea, fr, keysOf("hq"), keysOf("fr")))
	b.eventually(v1alpha1.KindChildStore, "fr", "Ready=True/Ready")
	b.eventually(v1alpha1.KindStockSyncTopology, "emea", "Ready=True/Ready")
	b.apply(strings.ReplaceAll(it(), "it.example.com", "fr.example.com"))
	b.eventually(v1alpha1.KindChildStore, "it", "Accepted=False/DuplicateURL")

	if scrape := scrapeOf(t, registry); scrape != "" {
		t.Errorf("an operator that is not elected shows\n%s", scrape)
	}
	close(elected)
	scrape := scrapeOf(t, registry, metrics.Registry)
	if dir := os.Getenv("STOCKSYNC_SCRAPES"); dir != "" {
		b.must(os.WriteFile(filepath.Join(dir, "operator.prom"), []byte(scrape), 0o644))
	}
	series := func(kind, name, condition, value string) string {
		return `stocksync_operator_condition{condition="` + condition + `",kind="` + kind + `",name="` + name + `",namespace="` + b.namespace + `"} ` + value
	}
	for _, want := range []string{
		series("StockSyncTopology", "emea", "Ready", "1"), series("StockSyncTopology", "emea", "AgentAvailable", "1"),
		series("ChildStore", "fr", "InSync", "1"), series("ChildStore", "it", "Accepted", "0"), series("ChildStore", "it", "InSync", "-1"),
	} {
		if !strings.Contains(scrape, want+"\n") {
			t.Errorf("there is no %s", want)
		}
	}
	b.delete(b.parse(it()))
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		scrape = scrapeOf(t, registry)
		return !strings.Contains(scrape, `name="it",namespace="`+b.namespace+`"`), nil
	})
	if err != nil || !strings.Contains(scrape, series("ChildStore", "fr", "Ready", "1")) {
		t.Errorf("the series did not follow the objects:\n%s", scrape)
	}
}

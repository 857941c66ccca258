package monitoring

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

const root = "../.."

// scrapesOf are those of the folder STOCKSYNC_SCRAPES names, as the end-to-end test leaves them; without it the tests
// of agent and operator are run, which leave some.
var scrapesOf = sync.OnceValues(func() (Scrapes, error) {
	dir := os.Getenv("STOCKSYNC_SCRAPES")
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "scrapes"); err != nil {
			return nil, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		cmd := exec.Command("go", "test", "-count=1", "-run", "^(TestMetrics|TestOperatorMetrics)$", "./internal/agent", "./controllers")
		cmd.Dir, cmd.Env, cmd.Stderr = root, append(os.Environ(), "STOCKSYNC_SCRAPES="+dir), os.Stderr
		cmd.Stdout = os.Stderr
		if err := cmd.Run(); err != nil {
			return nil, err
		}
	}
	return Load(dir)
})

func scrapes(t *testing.T) Scrapes {
	t.Helper()
	all, err := scrapesOf()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("there are no scrapes")
	}
	return all
}

var promQL = parser.NewParser(parser.Options{})

func engine(t *testing.T) *promql.Engine {
	t.Helper()
	e := promql.NewEngine(promql.EngineOpts{MaxSamples: 50_000_000, Timeout: time.Minute, Parser: promQL})
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// query evaluates an expression over the time until Now.
func query(t *testing.T, e *promql.Engine, db DB, expr string, over time.Duration) promql.Matrix {
	t.Helper()
	q, err := e.NewRangeQuery(context.Background(), db, nil, expr, Now.Add(-over), Now, Step)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	defer q.Close()
	res := q.Exec(t.Context())
	m, err := res.Matrix()
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	for _, w := range res.Warnings {
		t.Errorf("%s: %v", expr, w)
	}
	// The points are the engine's own, to be used again.
	out := make(promql.Matrix, 0, len(m))
	for _, s := range m {
		out = append(out, promql.Series{Metric: s.Metric, Floats: slices.Clone(s.Floats)})
	}
	return out
}

// tells: some value at Now is a number.
func tells(m promql.Matrix) bool {
	return slices.ContainsFunc(m, func(s promql.Series) bool {
		return slices.ContainsFunc(s.Floats, func(p promql.FPoint) bool { return p.T == Now.UnixMilli() && !math.IsNaN(p.F) })
	})
}

// rules are those of the PrometheusRule, read by Prometheus' own reader.
func rules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "config/monitoring/rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var object struct {
		Spec json.RawMessage `json:"spec"`
	}
	if err := yaml.Unmarshal(content, &object); err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(object.Spec, false, model.UTF8Validation, promQL, nil)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	var all []rulefmt.Rule
	for _, g := range groups.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// alwaysTold makes every comparison of an alert tell 0 or 1 instead of nothing, so that one sees whether it has data
// while all is well; absent is told of by what it looks for.
func alwaysTold(t *testing.T, expr string) string {
	t.Helper()
	parsed, err := promQL.ParseExpr(expr)
	if err != nil {
		t.Fatal(err)
	}
	if call, ok := parsed.(*parser.Call); ok && call.Func.Name == "absent" {
		parsed = call.Args[0]
	}
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if b, ok := node.(*parser.BinaryExpr); ok && b.Op.IsComparisonOperator() {
			b.ReturnBool = true
		}
		return nil
	})
	return parsed.String()
}

// TestRulesHaveData: every alert is about something agent and operator show.
func TestRulesHaveData(t *testing.T) {
	t.Parallel()
	db, e := DB{Scrapes: scrapes(t)}, engine(t)
	for _, r := range rules(t) {
		if expr := alwaysTold(t, r.Expr); !tells(query(t, e, db, expr, 0)) {
			t.Errorf("%s: nothing is told by %s", r.Alert, expr)
		}
	}
}

// variables are what Grafana puts in for those of the dashboard.
var variables = strings.NewReplacer("$namespace", ".*", "$topology", ".*", "$store", ".*", "$__rate_interval", "2m")

// TestDashboardHasData: every panel shows something.
func TestDashboardHasData(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join(root, "config/monitoring/dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Type, Definition string }
		}
	}
	if err := json.Unmarshal(content, &dashboard); err != nil {
		t.Fatal(err)
	}
	db, e := DB{Scrapes: scrapes(t)}, engine(t)
	n := 0
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			n++
			expr := variables.Replace(target.Expr)
			if strings.Contains(expr, "$") {
				t.Errorf("%s: %s has a variable the dashboard does not have", panel.Title, expr)
				continue
			}
			if !tells(query(t, e, db, expr, 0)) {
				t.Errorf("%s: nothing is shown by %s", panel.Title, expr)
			}
		}
	}
	if n < 30 {
		t.Errorf("the dashboard has only %d queries", n)
	}
	labelValues := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
	for _, v := range dashboard.Templating.List {
		if v.Type != "query" {
			continue
		}
		m := labelValues.FindStringSubmatch(v.Definition)
		if m == nil {
			t.Errorf("the variable %q is no label_values(…)", v.Definition)
			continue
		}
		found := query(t, e, db, variables.Replace(m[1]), 0)
		if !slices.ContainsFunc(found, func(s promql.Series) bool { return s.Metric.Get(m[2]) != "" }) {
			t.Errorf("the variable %q has no values", v.Definition)
		}
	}
}

// signal is what makes an alert fire, and what it is while all is well, in terms of the series scraped.
type signal struct {
	selector   string
	calm, fire float64
}

// firing says for each alert what makes it fire, and the labels it then has.
var firing = map[string]struct {
	signals []signal
	labels  map[string]string
}{
	"StockSyncBreakerTripped":    {[]signal{{`stocksync_breaker_tripped`, 0, 1}}, map[string]string{"topology": "emea"}},
	"StockSyncSKUsStopped":       {[]signal{{`stocksync_stopped_skus`, 0, 2}}, map[string]string{"topology": "emea"}},
	"StockSyncOversellExposure":  {[]signal{{`stocksync_store_oversell_exposure_units`, 0, 3}}, map[string]string{"store": "fr"}},
	"StockSyncOversold":          {[]signal{{`stocksync_oversold_units`, 0, 1}}, map[string]string{"topology": "emea"}},
	"StockSyncConflictsOpen":     {[]signal{{`stocksync_conflicts`, 0, 1}}, map[string]string{"topology": "emea"}},
	"StockSyncStoreDisconnected": {[]signal{{`stocksync_store_condition{condition="Connected"}`, 1, 0}}, map[string]string{"store": "fr"}},
	"StockSyncStoreOutOfSync":    {[]signal{{`stocksync_store_condition{condition="InSync"}`, 1, 0}}, map[string]string{"store": "fr"}},
	"StockSyncStoreNotAccepted":  {[]signal{{`stocksync_store_condition{condition="Accepted"}`, 1, 0}}, map[string]string{"store": "fr"}},
	"StockSyncStoreErrors":       {[]signal{{`stocksync_store_request_errors_total`, 0, 10}, {`stocksync_store_request_duration_seconds_count`, 60, 20}}, map[string]string{"topology": "emea"}},
	"StockSyncStoreSlow": {[]signal{{`stocksync_store_request_duration_seconds_bucket`, 60, 0},
		{`stocksync_store_request_duration_seconds_bucket{le=~"10|30|\\+Inf"}`, 60, 60}}, map[string]string{"store": "fr"}},
	"StockSyncWebhooksUnstable":  {[]signal{{`stocksync_events_total{code="WebhooksRepaired"}`, 0, 0.02}, {`stocksync_events_total{code="WebhooksRefused"}`, 0, 0}}, map[string]string{"store": "fr"}},
	"StockSyncRunFailed":         {[]signal{{`stocksync_run_state`, 0, 0}, {`stocksync_run_state{kind="Audit",state="Failed"}`, 0, 1}}, map[string]string{"kind": "Audit"}},
	"StockSyncRunNeedsAttention": {[]signal{{`stocksync_run_state`, 0, 0}, {`stocksync_run_state{kind="Audit",state="NeedsAttention"}`, 0, 1}}, map[string]string{"kind": "Audit"}},
	"StockSyncAgentUnavailable":  {[]signal{{`stocksync_operator_condition{condition="AgentAvailable"}`, 1, -1}}, map[string]string{"kind": "StockSyncTopology", "name": "emea"}},
	"StockSyncAgentNotScraped":   {[]signal{{`up{job="stocksync-agent"}`, 1, 0}}, map[string]string{"topology": "emea"}},
	"StockSyncConfigRefused":     {[]signal{{`stocksync_config_refused`, 0, 1}}, map[string]string{"topology": "emea"}},
	"StockSyncCheckoutNotValidated": {[]signal{{`stocksync_checkout_answers_total`, 0, 0}, {`stocksync_checkout_answers_total{answer="failed_open"}`, 0, 0.02}},
		map[string]string{"store": "fr", "answer": "failed_open"}},
	"StockSyncVolumeNearlyFull":  {[]signal{{`stocksync_volume_size_bytes`, 100, 100}, {`stocksync_volume_free_bytes`, 50, 9}}, map[string]string{"topology": "emea"}},
	"StockSyncObjectNotAccepted": {[]signal{{`stocksync_operator_condition{condition="Accepted"}`, 1, 0}}, map[string]string{"kind": "ChildStore", "name": "fr"}},
	"StockSyncOperatorErrors":    {[]signal{{`controller_runtime_reconcile_errors_total`, 0, 6}}, map[string]string{"controller": "topology"}},
	"StockSyncOperatorDown":      {[]signal{{`up{job="stocksync-operator"}`, 1, 0}}, nil},
}

// TestAlertsFire: each alert is silent while all is well, and fires, with the labels its text needs, when what it
// watches for has lasted as long as it says.
func TestAlertsFire(t *testing.T) {
	t.Parallel()
	all, e := scrapes(t), engine(t)
	for _, r := range rules(t) {
		how, ok := firing[r.Alert]
		if !ok {
			t.Errorf("%s: nothing is known that makes it fire", r.Alert)
			continue
		}
		lasted := func(pick func(signal) float64) []labels.Labels {
			db := DB{Scrapes: all}
			for _, s := range how.signals {
				matchers, err := promQL.ParseMetricSelector(s.selector)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.ContainsFunc(all, func(s Series) bool { return (Override{Matchers: matchers}).matches(s.Labels) }) {
					t.Errorf("%s: %s is not shown by agent or operator", r.Alert, s.selector)
				}
				db.Overrides = append(db.Overrides, Override{matchers, pick(s)})
			}
			over := time.Duration(r.For)
			var out []labels.Labels
			for _, series := range query(t, e, db, r.Expr, over) {
				if len(series.Floats) == int(over/Step)+1 {
					out = append(out, series.Metric)
				}
			}
			return out
		}
		if calm := lasted(func(s signal) float64 { return s.calm }); len(calm) > 0 {
			t.Errorf("%s fires while all is well: %v", r.Alert, calm)
		}
		fired := lasted(func(s signal) float64 { return s.fire })
		if !slices.ContainsFunc(fired, func(l labels.Labels) bool {
			for name, value := range how.labels {
				if l.Get(name) != value {
					return false
				}
			}
			return true
		}) {
			t.Errorf("%s did not fire with %v; it told %v", r.Alert, how.labels, fired)
		}
		for name := range labelsNamed(r) {
			if slices.ContainsFunc(fired, func(l labels.Labels) bool { return l.Get(name) == "" }) {
				t.Errorf("%s speaks of the label %s, which it does not have", r.Alert, name)
			}
		}
	}
	for name := range firing {
		if !slices.ContainsFunc(rules(t), func(r rulefmt.Rule) bool { return r.Alert == name }) {
			t.Errorf("there is no alert %s", name)
		}
	}
}

var labelUsed = regexp.MustCompile(`\$labels\.(\w+)`)

func labelsNamed(r rulefmt.Rule) map[string]bool {
	out := map[string]bool{}
	for _, text := range r.Annotations {
		for _, m := range labelUsed.FindAllStringSubmatch(text, -1) {
			out[m[1]] = true
		}
	}
	return out
}

// TestRunbooks: every alert has a section that says what it means and what to do, and says how serious it is; and
// there is no section for an alert that does not exist.
func TestRunbooks(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join(root, "docs/runbooks.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for section := range strings.SplitSeq("\n"+string(content), "\n### ") {
		name, text, _ := strings.Cut(section, "\n")
		sections[name] = text
	}
	for _, r := range rules(t) {
		text, ok := sections[r.Alert]
		severity := r.Labels["severity"]
		if !ok || r.Annotations["runbook_url"] != "docs/runbooks.md#"+strings.ToLower(r.Alert) {
			t.Errorf("%s has no section in docs/runbooks.md, or does not lead there", r.Alert)
		}
		if !slices.Contains([]string{"critical", "warning", "info"}, severity) || !strings.HasPrefix(strings.TrimSpace(text), "*"+severity) {
			t.Errorf("the section of %s does not begin with its severity, %q", r.Alert, severity)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s has no summary or no description", r.Alert)
		}
		delete(sections, r.Alert)
	}
	for name := range sections {
		if strings.HasPrefix(name, "StockSync") {
			t.Errorf("docs/runbooks.md has a section for %s, which is no alert", name)
		}
	}
}

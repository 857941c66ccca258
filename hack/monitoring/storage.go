// Package monitoring holds the alert rules and the dashboard of config/monitoring against Prometheus' own engine and
// against what agent and operator really show: a scrape becomes the past Prometheus would hold.
package monitoring

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// Now is the moment of every evaluation, History how much of the past there is before it.
var Now = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

// The past that is made of a scrape.
const (
	History = 7 * time.Hour
	Step    = 30 * time.Second
)

// Series is one series: its labels, its value in the scrape, and whether it is a counter.
type Series struct {
	Labels  labels.Labels
	Value   float64
	Counter bool
}

// value is what the series had so long before Now: a counter has grown from zero, anything else was as it is.
func (s Series) value(before time.Duration) float64 {
	if s.Counter {
		return s.Value * float64(History-before) / float64(History)
	}
	return s.Value
}

// Scrapes is what Prometheus would hold after having scraped so.
type Scrapes []Series

// Load reads the scrapes of a folder, *.prom: those whose names begin with "agent" as the PodMonitor has them
// scraped, those that begin with "operator" as the ServiceMonitor does.
func Load(dir string) (Scrapes, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.prom"))
	if err != nil {
		return nil, err
	}
	var all Scrapes
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".prom")
		target := map[string]string{"instance": name}
		switch {
		case strings.HasPrefix(name, "agent"):
			target["job"], target["namespace"], target["pod"], target["topology"] = "stocksync-agent", "shops", name, "emea"
		case strings.HasPrefix(name, "operator"):
			target["job"], target["namespace"], target["pod"] = "stocksync-operator", "stocksync-system", name
		default:
			return nil, fmt.Errorf("%s: the name of a scrape begins with agent or operator", file)
		}
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		series, err := read(f, target)
		if err := f.Close(); err != nil {
			return nil, err
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, series...)
		all = append(all, Series{Labels: withTarget(map[string]string{model.MetricNameLabel: "up"}, target), Value: 1})
	}
	return all, nil
}

func read(r io.Reader, target map[string]string) (Scrapes, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(r)
	if err != nil {
		return nil, err
	}
	var all Scrapes
	for name, family := range families {
		for _, m := range family.Metric {
			own := map[string]string{}
			for _, l := range m.Label {
				own[l.GetName()] = l.GetValue()
			}
			add := func(name string, v float64, counter bool, extra ...string) {
				l := map[string]string{model.MetricNameLabel: name}
				maps.Copy(l, own)
				for i := 0; i+1 < len(extra); i += 2 {
					l[extra[i]] = extra[i+1]
				}
				all = append(all, Series{Labels: withTarget(l, target), Value: v, Counter: counter})
			}
			switch family.GetType() {
			case dto.MetricType_COUNTER:
				add(name, m.Counter.GetValue(), true)
			case dto.MetricType_GAUGE:
				add(name, m.Gauge.GetValue(), false)
			case dto.MetricType_HISTOGRAM:
				for _, b := range m.Histogram.Bucket {
					add(name+"_bucket", float64(b.GetCumulativeCount()), true, "le", fmt.Sprint(b.GetUpperBound()))
				}
				add(name+"_sum", m.Histogram.GetSampleSum(), true)
				add(name+"_count", float64(m.Histogram.GetSampleCount()), true)
			case dto.MetricType_SUMMARY:
				add(name+"_sum", m.Summary.GetSampleSum(), true)
				add(name+"_count", float64(m.Summary.GetSampleCount()), true)
			default:
				add(name, m.Untyped.GetValue(), false)
			}
		}
	}
	return all, nil
}

// withTarget adds the labels of the target; what the scrape itself says of them holds (honorLabels).
func withTarget(own, target map[string]string) labels.Labels {
	for k, v := range target {
		if _, has := own[k]; !has {
			own[k] = v
		}
	}
	return labels.FromMap(own)
}

// Override changes the series that match: they have Value all the time or, if they are counters, grow by Value each
// minute.
type Override struct {
	Matchers []*labels.Matcher
	Value    float64
}

func (o Override) matches(l labels.Labels) bool {
	return !slices.ContainsFunc(o.Matchers, func(m *labels.Matcher) bool { return !m.Matches(l.Get(m.Name)) })
}

// DB answers Prometheus' engine from scrapes.
type DB struct {
	Scrapes   Scrapes
	Overrides []Override
}

// Querier implements [storage.Queryable].
func (db DB) Querier(mint, maxt int64) (storage.Querier, error) { return querier{db, mint, maxt}, nil }

type querier struct {
	db         DB
	mint, maxt int64
}

// Select implements [storage.Querier].
func (q querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	var found []storage.Series
	for _, s := range q.db.Scrapes {
		if (Override{Matchers: matchers}).matches(s.Labels) {
			found = append(found, storage.NewListSeries(s.Labels, q.samples(s)))
		}
	}
	slices.SortFunc(found, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	return &set{series: found}
}

func (q querier) samples(s Series) []chunks.Sample {
	var out []chunks.Sample
	for before := History; before >= 0; before -= Step {
		at := Now.Add(-before).UnixMilli()
		if at < q.mint || at > q.maxt {
			continue
		}
		v := s.value(before)
		for _, o := range q.db.Overrides {
			switch {
			case !o.matches(s.Labels):
			case s.Counter:
				v = o.Value * (History - before).Minutes()
			default:
				v = o.Value
			}
		}
		out = append(out, sample{at, v})
	}
	return out
}

// LabelValues implements [storage.LabelQuerier].
func (querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

// LabelNames implements [storage.LabelQuerier].
func (querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

// Close implements [storage.LabelQuerier].
func (querier) Close() error { return nil }

type set struct {
	series []storage.Series
	at     int
}

func (s *set) Next() bool                        { s.at++; return s.at <= len(s.series) }
func (s *set) At() storage.Series                { return s.series[s.at-1] }
func (s *set) Err() error                        { return nil }
func (s *set) Warnings() annotations.Annotations { return nil }

// sample is a number at a time, as the engine reads it.
type sample struct {
	at    int64
	value float64
}

func (s sample) T() int64                      { return s.at }
func (s sample) ST() int64                     { return 0 }
func (s sample) F() float64                    { return s.value }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }

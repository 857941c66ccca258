package report

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"stocksync.dev/stocksync/internal/agentapi"
)

// Audit prints a run that has ended with everything it found. Where more was counted than the agent keeps, that is said
// where the format has a place for it.
func (p Printer) Audit(r agentapi.Run, found iter.Seq2[agentapi.Finding, error]) error {
	switch p.Format {
	case JSON, YAML:
		r.Worst = nil // all of them follow
		return stream(p, &r, found)
	case CSV:
		return auditCSV(p.Out, found)
	case JUnit:
		return auditJUnit(p.Out, r, found)
	}
	out := NewPage(p.Out)
	summary(out, r)
	first := true
	for f, err := range found {
		if err != nil {
			_ = out.End()
			return err
		}
		if first {
			out.Line("")
			findingHead(out)
			first = false
		}
		findingRow(out, f)
	}
	return out.End()
}

// stream prints a list as JSON or YAML; below a run, as its findings.
func stream[T any](p Printer, run *agentapi.Run, list iter.Seq2[T, error]) error {
	out := &sink{w: p.Out}
	separator, end := "", ""
	item := func(v any) error {
		text, err := json.Marshal(v)
		out.text(separator + "\n" + string(text))
		separator = ","
		return err
	}
	switch {
	case p.Format == YAML:
		end = "[]\n"
		if run != nil {
			text, err := yaml.Marshal(map[string]any{"run": run})
			if err != nil {
				return err
			}
			out.text(string(text) + "findings:")
			separator, end = "\n", " []\n"
		}
		item = func(v any) error {
			text, err := yaml.Marshal([]any{v})
			out.text(separator + string(text))
			separator, end = "", ""
			return err
		}
	case run != nil:
		text, err := json.Marshal(run)
		if err != nil {
			return err
		}
		out.text(`{"run":` + string(text) + `,"findings":[`)
		end = "]}\n"
	default:
		out.text("[")
		end = "]\n"
	}
	for v, err := range list {
		if err != nil {
			return err
		}
		if err := item(v); err != nil {
			return err
		}
		if out.err != nil {
			return out.err
		}
	}
	out.text(end)
	return out.err
}

// sink keeps the first error of a writer.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) text(t string) {
	if s.err == nil {
		_, s.err = io.WriteString(s.w, t)
	}
}

func auditCSV(w io.Writer, found iter.Seq2[agentapi.Finding, error]) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"class", "store", "sku", "shown", "wanted", "units", "message"}) // Flush tells
	for f, err := range found {
		if err != nil {
			out.Flush()
			return err
		}
		if err := out.Write([]string{string(f.Class), f.Store, f.SKU, f.Shown, f.Wanted, strconv.FormatInt(f.Units, 10), f.Message}); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// auditJUnit prints a test suite: a test for the run and each store, that they could be read, and a failed one for
// each finding. A difference that is in flight is a skipped test.
func auditJUnit(w io.Writer, r agentapi.Run, found iter.Seq2[agentapi.Finding, error]) error {
	// The counts stand before the tests, so the tests are kept; the agent bounds their number.
	var tests strings.Builder
	out := &sink{w: &tests}
	var counts struct{ tests, failure, failed, skipped int }
	add := func(class, name, kind, reason, problem string) {
		counts.tests++
		if problem != "" {
			switch kind {
			case "failure":
				counts.failure++
			case "error":
				counts.failed++
			default:
				counts.skipped++
			}
		}
		testcase(out, class, name, kind, reason, problem)
	}
	problem := ""
	if r.State == agentapi.Failed || r.State == agentapi.Cancelled {
		problem = cmp.Or(r.Message, string(r.State))
	}
	add("run", string(r.Request.Kind), "error", string(r.State), problem)
	for _, s := range r.Stores {
		add(s.StoreID, "compared", "error", string(agentapi.StoreUnreachable), s.Error)
	}
	for f, err := range found {
		if err != nil {
			return err
		}
		kind := "failure"
		if f.Class == agentapi.InFlight {
			kind = "skipped"
		}
		add(f.Store, strings.TrimSpace(string(f.Class)+" "+f.SKU), kind, string(f.Class), told(f))
	}
	seconds := 0
	if r.FinishedAt != nil {
		seconds = int(r.FinishedAt.Sub(r.StartedAt) / time.Second)
	}
	out = &sink{w: w}
	out.text(xml.Header)
	out.text("<testsuites>\n")
	out.text(fmt.Sprintf("  <testsuite name=%s id=\"%d\" tests=\"%d\" failures=\"%d\" errors=\"%d\" skipped=\"%d\" time=\"%d\" timestamp=\"%s\">\n",
		quote("StockSync "+string(r.Request.Kind)), r.ID, counts.tests, counts.failure, counts.failed, counts.skipped,
		seconds, r.StartedAt.UTC().Format("2006-01-02T15:04:05")))
	out.text(tests.String())
	if all := total(r); all > counts.failure+counts.skipped {
		out.text(fmt.Sprintf("    <system-out>%d more findings were counted and are not listed</system-out>\n", all-counts.failure-counts.skipped))
	}
	out.text("  </testsuite>\n</testsuites>\n")
	return out.err
}

// total counts the findings of a run, those in flight too.
func total(r agentapi.Run) int {
	n := 0
	for _, count := range r.Counts {
		n += count
	}
	return n
}

func told(f agentapi.Finding) string {
	if f.Shown == "" && f.Wanted == "" {
		return f.Message
	}
	return fmt.Sprintf("shows %s, should show %s: %s", dash(f.Shown), dash(f.Wanted), f.Message)
}

// testcase prints a test that passed, or one with a problem of this kind.
func testcase(out *sink, class, name, kind, reason, problem string) {
	head := fmt.Sprintf("    <testcase classname=%s name=%s", quote(class), quote(name))
	switch {
	case problem == "":
		out.text(head + "/>\n")
	case kind == "skipped": // has no type
		out.text(fmt.Sprintf("%s><skipped message=%s/></testcase>\n", head, quote(problem)))
	default:
		out.text(fmt.Sprintf("%s><%s type=%s message=%s/></testcase>\n", head, kind, quote(reason), quote(problem)))
	}
}

// quote is a text as the value of an XML attribute.
func quote(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return `"` + b.String() + `"`
}

package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"stocksync.dev/stocksync/internal/agentapi"
)

var update = flag.Bool("update", false, "write the golden files anew")

var at = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestTables(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := Printer{Out: &out, Command: "agent"}
	late := at.Add(3 * time.Minute)
	for _, err := range []error{
		p.Conflicts([]agentapi.Entry{{ID: 4, Kind: "Feed", SKU: "A", Units: 5, Evidence: "two stores were set to 7 within an hour", At: at}}),
		p.Conflicts(nil),
		p.History(agentapi.SKUHistory{SKU: "A", Units: 7, Set: true, Stopped: "two stores were set to 7 within an hour",
			Shelves: []agentapi.Shelf{{Store: "fr", Shown: 5, Todo: 2, ReadAt: at, Note: "not enrolled yet"}},
			Entries: []agentapi.Entry{{Kind: "Ordered", Store: "fr", Delta: -1, Units: -1, Quantity: 5, At: at}}}),
		p.Status(agentapi.Status{AgentVersion: "1", ConfigError: "document 2: x", Now: at, StartedAt: at.Add(-3 * time.Hour), Stores: []agentapi.StoreStatus{{
			StoreID: "fr", Mode: "Sync", LagSeconds: 4, InSync: agentapi.Condition{Status: "False", Reason: "SKUsStopped", Message: "1 SKU is stopped"},
			Mismatches: []agentapi.Mismatch{{SKU: "A", Shown: 5, Wanted: 7}},
		}}, Breaker: &agentapi.Breaker{TripID: "t-9", Since: at, Zeroed: 40, Of: 50, Store: "fr", Message: "a change at store fr would bring 40 SKUs to zero"}}),
		p.Events([]agentapi.Entry{{Level: "Warning", Code: "SaleLost", Store: "fr", SKU: "A\x1b[31m", Delta: -2, Evidence: "order 7", Cause: "a push", At: at}}, true),
		p.Backlog(list[agentapi.BacklogItem](nil, agentapi.BacklogItem{Store: "fr", SKU: "A", Shown: 1, Wanted: 3, Since: at, Note: "next"})),
		p.Backlog(list[agentapi.BacklogItem](nil)),
		p.Ping([]agentapi.Ping{{StoreID: "fr", Checks: []agentapi.PingCheck{{Name: "DNS", OK: true, Milliseconds: 3}, {Name: "TLS", Reason: "PlainHTTP", Message: "give it TLS"}}}}),
		p.Status(agentapi.Status{Source: &agentapi.SourceStatus{Items: 10_000, OpenOrders: 300, NotImported: 1, Unsettled: 2, RequestsLeft: 41, Plan: "of 60 requests a minute 2 poll", ThrottledUntil: &late}}),
		p.Numbers(list[agentapi.Number](nil)),
		p.Links(nil),
		p.Breaker(nil),
		p.Runs([]agentapi.Run{{ID: 3, Request: agentapi.RunRequest{Kind: agentapi.KindAudit}, State: agentapi.Succeeded, StartedAt: at, FinishedAt: &late, Done: 5, Total: 5}}),
		p.Closed(agentapi.Closed{Count: 2}, "2 conflicts closed."),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	for _, want := range []string{
		"4   2026-11-21 12:00:00  -      A    Feed  +5", "agent conflicts resolve SKU UNITS", "No conflicts are open.",
		"A: 7 units.", "Nothing is written until `agent conflicts resolve A UNITS`", "not enrolled yet", "Ordered  -1     -1     5",
		"up 3h", "Configuration not in use: document 2: x", "fr: InSync is False (SKUsStopped): 1 SKU is stopped", "fr: A shows 5 and should show 7",
		"The circuit breaker tripped at 2026-11-21 12:00:00: a change at store fr would bring 40 SKUs to zero.", "agent breaker approve t-9",
		"Warning  SaleLost                  fr                A\ufffd[31m", "order 7; a push", "fr     A    1      3            2026-11-21 12:00:00  next",
		"Nothing waits", "fr     TLS    PlainHTTP  0ms   give it TLS", "has not tripped", "3   Audit  -         Succeeded", "2 conflicts closed.",
		"Source: 10000 items, 300 open orders; 1 line of shops' orders that it does not have yet; 2 items are read again until of one moment",
		"Requests: 41 left; of 60 requests a minute 2 poll", "The source lets nothing through until 2026-11-21 12:03:00.", "No item of the store is synced.", "`agent link set STORE ID ITEM` makes one",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), " \n") {
		t.Error("blanks at the end of a line")
	}
}

// audit is a run with findings in every class a pipeline tells apart, and with texts that need escaping.
func audit() (agentapi.Run, []agentapi.Finding) {
	end := at.Add(95 * time.Second)
	found := []agentapi.Finding{
		{ID: 1, Class: agentapi.QuantityDiffers, Store: "fr", SKU: `A"<&,1`, Shown: "3", Wanted: "7", Units: -4, Message: "sold behind our back\nor edited"},
		{ID: 2, Class: agentapi.MissingProduct, Store: "de", SKU: "B", Message: "no item of de has this SKU"},
		{ID: 3, Class: agentapi.InFlight, Store: "fr", SKU: "C", Shown: "1", Wanted: "2", Units: -1, Message: "younger than the lag objective"},
	}
	return agentapi.Run{
		ID: 12, Request: agentapi.RunRequest{Kind: agentapi.KindAudit}, State: agentapi.NeedsAttention, Sequence: 9, StartedAt: at, FinishedAt: &end,
		Message: "2 findings", Done: 40, Total: 40,
		Stores: []agentapi.RunStore{{StoreID: "hq", Done: 20, Total: 20, Requests: 3}, {StoreID: "fr", Done: 20, Total: 20, Differing: 2, Requests: 4},
			{StoreID: "de", Error: "no connection <to> the shop"}},
		Counts: map[agentapi.FindingClass]int{agentapi.QuantityDiffers: 1, agentapi.MissingProduct: 1, agentapi.InFlight: 1},
		Worst:  found[:2],
	}, found
}

func list[T any](err error, rows ...T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
		if err != nil {
			var none T
			yield(none, err)
		}
	}
}

func TestAuditReports(t *testing.T) {
	t.Parallel()
	run, found := audit()
	for _, format := range AuditFormats {
		var out bytes.Buffer
		if err := (Printer{Out: &out, Format: format}).Audit(run, list(nil, found...)); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", "audit."+string(format))
		if *update {
			if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if out.String() != string(want) {
			t.Errorf("%s is not what the golden file says; -update writes it anew:\n%s", format, out.String())
		}
	}
}

// What pipelines parse must parse, and hold the same findings, also when there are none.
func TestAuditReportsParse(t *testing.T) {
	t.Parallel()
	run, found := audit()
	for _, found := range [][]agentapi.Finding{found, nil} {
		for _, format := range []Format{JSON, YAML} {
			var out bytes.Buffer
			if err := (Printer{Out: &out, Format: format}).Audit(run, list(nil, found...)); err != nil {
				t.Fatal(err)
			}
			var got struct {
				Run      agentapi.Run
				Findings []agentapi.Finding
			}
			if err := yaml.UnmarshalStrict(out.Bytes(), &got); err != nil || got.Run.ID != 12 || len(got.Findings) != len(found) || got.Findings == nil {
				t.Errorf("%s: %v %+v\n%s", format, err, got, out.String())
			}
		}
		var out bytes.Buffer
		for _, format := range []Format{JSON, YAML} {
			out.Reset()
			p := Printer{Out: &out, Format: format}
			if err := p.Backlog(list(nil, make([]agentapi.BacklogItem, len(found))...)); err != nil {
				t.Fatal(err)
			}
			var got []agentapi.BacklogItem
			if err := yaml.Unmarshal(out.Bytes(), &got); err != nil || len(got) != len(found) || got == nil {
				t.Errorf("%s: %v\n%s", format, err, out.String())
			}
		}
	}
	var out bytes.Buffer
	if err := (Printer{Out: &out, Format: JUnit}).Audit(run, list(nil, found...)); err != nil {
		t.Fatal(err)
	}
	var suites struct {
		Suite struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Errors   int `xml:"errors,attr"`
			Skipped  int `xml:"skipped,attr"`
			Cases    []struct {
				Failed []struct{} `xml:"failure"`
				Erred  []struct{} `xml:"error"`
				Left   []struct{} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(out.Bytes(), &suites); err != nil {
		t.Fatal(err)
	}
	failed, erred, left := 0, 0, 0
	for _, c := range suites.Suite.Cases {
		failed, erred, left = failed+len(c.Failed), erred+len(c.Erred), left+len(c.Left)
	}
	if s := suites.Suite; s.Tests != len(s.Cases) || s.Failures != failed || s.Errors != erred || s.Skipped != left || failed == 0 {
		t.Errorf("the counts are not those of the tests: %+v", s)
	}
}

func TestAReportEndsWithTheFirstError(t *testing.T) {
	t.Parallel()
	run, found := audit()
	broken := errors.New("the agent went away")
	for _, format := range AuditFormats {
		if err := (Printer{Out: io.Discard, Format: format}).Audit(run, list(broken, found...)); !errors.Is(err, broken) {
			t.Errorf("%s: %v", format, err)
		}
		if err := (Printer{Out: failing{}, Format: format}).Audit(run, list(nil, found...)); err == nil {
			t.Errorf("%s: a full disk is not told", format)
		}
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestProgress(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		run  agentapi.Run
		want string
	}{
		{agentapi.Run{ID: 1, Request: agentapi.RunRequest{Kind: agentapi.KindReconcile}, State: agentapi.Running}, "Reconcile 1 (DifferencesOnly): 0"},
		{agentapi.Run{ID: 1, Request: agentapi.RunRequest{Kind: agentapi.KindReconcile, Strategy: agentapi.Push}, State: agentapi.Running, Done: 30, Total: 120,
			RemainingSeconds: 240, Stores: []agentapi.RunStore{{StoreID: "hq", Done: 30, Total: 60}, {StoreID: "fr", Total: 60, Error: "x"}}},
			"Reconcile 1 (Push): 30 of 120 (25%), about 4m left; hq 30/60, fr 0/60 failing"},
		{agentapi.Run{ID: 2, Request: agentapi.RunRequest{Kind: agentapi.KindAudit}, State: agentapi.Cancelled, Message: "a person asked"}, "Audit 2: Cancelled: a person asked"},
	} {
		if got := Progress(tc.run); got != tc.want {
			t.Errorf("%q, not %q", got, tc.want)
		}
	}
}

// Kubernetes cuts a longer message wherever it happens to be, and then it is no JSON any more.
func TestTerminationFits(t *testing.T) {
	t.Parallel()
	small, _ := audit()
	large := small
	large.Message = strings.Repeat("<é>", 3000)
	large.Stores = nil
	for range 200 {
		large.Stores = append(large.Stores, agentapi.RunStore{StoreID: strings.Repeat("s", 40), Error: strings.Repeat("\x00é", 200)})
		large.Worst = append(large.Worst, agentapi.Finding{SKU: strings.Repeat("\"", 100), Message: strings.Repeat("m", 300)})
	}
	for name, text := range map[string][]byte{"small": Termination(small), "large": Termination(large), "failed": FailedTermination(agentapi.KindAudit, ExitFailed, errors.New(large.Message))} {
		var got termination
		if err := json.Unmarshal(text, &got); err != nil || len(text) > MaxTermination {
			t.Errorf("%s: %d bytes, %v", name, len(text), err)
		}
		if got.Truncated != (name != "small") || got.ExitCode == 0 || got.State == "" || got.Message == "" {
			t.Errorf("%s: %s", name, text)
		}
	}
	if large.Stores[0].Error == "" || len(large.Stores[0].Error) != 600 {
		t.Error("the run itself was changed")
	}
	var got termination
	if err := json.Unmarshal(Termination(small), &got); err != nil || len(got.Worst) != 2 || len(got.Stores) != 3 || got.Counts[agentapi.QuantityDiffers] != 1 || got.Seconds != 95 {
		t.Errorf("%+v", got)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for state, want := range map[agentapi.RunState]int{agentapi.Succeeded: 0, agentapi.Failed: 1, agentapi.Cancelled: 3, agentapi.Running: 1, agentapi.NeedsAttention: 2} {
		if got := ExitCode(agentapi.Run{State: state}); got != want {
			t.Errorf("%s: %d", state, got)
		}
	}
}

func TestParseFormat(t *testing.T) {
	t.Parallel()
	if f, err := ParseFormat("JUnit", AuditFormats); err != nil || f != JUnit {
		t.Error(f, err)
	}
	if _, err := ParseFormat("csv", Formats); err == nil || err.Error() != "--output must be table, json or yaml" {
		t.Error(err)
	}
}

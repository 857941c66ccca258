package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/report"
	sim "stocksync.dev/stocksync/internal/sim/woocommerce"
)

// fakeAgent has one run, whose end the test chooses.
type fakeAgent struct {
	mu    sync.Mutex
	run   agentapi.Run
	found []agentapi.Finding
	posts []agentapi.RunRequest
	// asked is told of each question about the run while it is under way.
	asked chan struct{}
}

func (f *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	switch path := r.Method + " " + r.URL.Path; {
	case path == "GET /v1/runs":
		answer([]agentapi.Run{})
	case path == "POST /v1/runs":
		var q agentapi.RunRequest
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		f.posts = append(f.posts, q)
		begun := f.run
		begun.Request, begun.State, begun.Sequence, begun.FinishedAt = q, agentapi.Running, 1, nil
		f.run.Request = q
		answer(begun)
	case strings.HasSuffix(path, "/findings"):
		if r.URL.Query().Get("after") == "" {
			answer(f.found)
			return
		}
		answer([]agentapi.Finding{})
	case path == "GET /v1/runs/7":
		if f.asked != nil {
			f.asked <- struct{}{}
			<-r.Context().Done()
			return
		}
		answer(f.run)
	default:
		http.NotFound(w, r)
	}
}

// overSocket serves an agent on the socket of a new data directory.
func (f *fakeAgent) overSocket(t *testing.T) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sst")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, agentapi.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(f)
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return dir
}

// overTLS serves it as a Job finds it, and returns the flags that lead there.
func (f *fakeAgent) overTLS(t *testing.T) []string {
	t.Helper()
	s := httptest.NewTLSServer(f)
	t.Cleanup(s.Close)
	dir := t.TempDir()
	for name, data := range map[string][]byte{
		"ca":    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}),
		"token": []byte("secret-token\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"--connect", s.URL, "--ca-file", filepath.Join(dir, "ca"), "--token-file", filepath.Join(dir, "token")}
}

func ended(state agentapi.RunState) *fakeAgent {
	began := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	end := began.Add(90 * time.Second)
	return &fakeAgent{run: agentapi.Run{ID: 7, State: state, Sequence: 5, StartedAt: began, FinishedAt: &end, Message: "how it was", Done: 40, Total: 40,
		Stores: []agentapi.RunStore{{StoreID: "hq", Done: 20, Total: 20}, {StoreID: "fr", Done: 20, Total: 20, Differing: 1, Written: 1}}}}
}

// separate runs the program and keeps its two outputs apart.
func separate(ctx context.Context, args ...string) (out, progress string, err error) {
	var stdout, stderr bytes.Buffer
	cmd := newCommand("1.2.3")
	cmd.SetArgs(args)
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	err = cmd.ExecuteContext(ctx)
	return stdout.String(), stderr.String(), err
}

func codeOf(err error) int {
	var code exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return code.code
	}
	return report.ExitFailed
}

func TestOneShotCommandsEndAsTheirRun(t *testing.T) {
	t.Parallel()
	for state, want := range map[agentapi.RunState]int{
		agentapi.Succeeded: 0, agentapi.Failed: 1, agentapi.NeedsAttention: 2, agentapi.Cancelled: 3,
	} {
		f := ended(state)
		log := filepath.Join(t.TempDir(), "termination-log")
		args := append([]string{"reconcile", "--strategy", "Push", "--sku", "A,B", "--store", "fr", "--request-id", "job-1", "--termination-log", log}, f.overTLS(t)...)
		out, progress, err := separate(t.Context(), args...)
		if got := codeOf(err); got != want {
			t.Errorf("%s: exit code %d, %v", state, got, err)
		}
		if !strings.Contains(out, "Reconcile 7 (Push): "+string(state)) || !strings.Contains(out, "fr     20/20    1          1") || !strings.Contains(progress, "Reconcile 7 (Push): 40 of 40") {
			t.Errorf("%s: %s / %s", state, out, progress)
		}
		if q := f.posts[0]; len(f.posts) != 1 || q.Kind != agentapi.KindReconcile || q.RequestID != "job-1" || !slices.Equal(q.SKUs, []string{"A", "B"}) || !slices.Equal(q.Stores, []string{"fr"}) {
			t.Errorf("asked for %+v", f.posts)
		}
		text, err := os.ReadFile(log)
		var told struct {
			Run      int64
			State    agentapi.RunState
			ExitCode int
		}
		if err != nil || json.Unmarshal(text, &told) != nil || told.Run != 7 || told.State != state || told.ExitCode != want {
			t.Errorf("%s: termination message %s %v", state, text, err)
		}
	}
}

func TestAuditReportGoesToStandardOutput(t *testing.T) {
	t.Parallel()
	f := ended(agentapi.NeedsAttention)
	f.found = []agentapi.Finding{{ID: 1, Class: agentapi.QuantityDiffers, Store: "fr", SKU: "A", Shown: "3", Wanted: "4", Units: -1, Message: "edited"}}
	f.run.Counts = map[agentapi.FindingClass]int{agentapi.QuantityDiffers: 1}
	dir := f.overSocket(t)
	for format, want := range map[string]string{
		"table": "fr     A    Quantity  3      4            edited", "csv": "Quantity,fr,A,3,4,-1,edited", "junit": `name="Quantity A"`, "json": `"sku":"A"`, "yaml": "sku: A",
	} {
		out, progress, err := separate(t.Context(), "audit", "-o", format, "--data", dir)
		if codeOf(err) != report.ExitNeedsAttention || !strings.Contains(out, want) || !strings.Contains(progress, "Audit 7: 40 of 40") {
			t.Errorf("%s: %v\n%s\n%s", format, err, out, progress)
		}
		if format == "junit" && xml.Unmarshal([]byte(out), new(struct{})) != nil {
			t.Error("no XML")
		}
	}
}

// SIGTERM ends the waiting and leaves the run to the agent; the Job that is told to stop says so.
func TestStoppedWhileWaiting(t *testing.T) {
	t.Parallel()
	f := ended(agentapi.Succeeded)
	f.asked = make(chan struct{}, 1)
	log := filepath.Join(t.TempDir(), "termination-log")
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		<-f.asked
		stop()
	}()
	_, _, err := separate(ctx, append([]string{"reconcile", "--termination-log", log}, f.overTLS(t)...)...)
	if codeOf(err) != report.ExitFailed || !strings.Contains(err.Error(), "run 7, which goes on") || !strings.Contains(err.Error(), "agent runs cancel 7") {
		t.Errorf("%v", err)
	}
	text, err := os.ReadFile(log)
	if err != nil || !json.Valid(text) || !strings.Contains(string(text), "goes on") {
		t.Errorf("%s %v", text, err)
	}
}

func TestOneShotErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"reconcile", "--strategy", "Reset"}, "add --confirm-reset"},
		{[]string{"reconcile", "--confirm-reset"}, "is for --strategy Reset"},
		{[]string{"reconcile", "--strategy", "Push", "--dry-run"}, "give one of them"},
		{[]string{"reconcile", "-o", "csv"}, "--output must be table, json or yaml"},
		{[]string{"audit", "-o", "xml"}, "--output must be table, json, yaml, csv or junit"},
		{[]string{"audit", "--data", dir}, "start it with `agent run`"},
		{[]string{"audit", "--connect", "https://agent:8443"}, "--connect needs --ca-file and --token-file"},
		{[]string{"audit", "--ca-file", empty}, "are for --connect"},
		{[]string{"audit", "--connect", "https://agent:8443", "--ca-file", empty, "--token-file", empty}, "must hold a token"},
		{[]string{"audit", "--connect", "https://agent:8443", "--ca-file", filepath.Join(dir, "x"), "--token-file", empty}, "--ca-file"},
		{[]string{"runs", "show", "x"}, "agent runs list"},
		{[]string{"forget", "fr"}, "add --yes"},
		{[]string{"backlog", "accept", "fr", "A"}, "add --yes"},
		{[]string{"history", "prune"}, "--older-than-days must be given"},
		{[]string{"conflicts", "resolve", "A", "3", "--from-store", "fr"}, "exactly one of UNITS"},
	} {
		if _, _, err := separate(t.Context(), tc.args...); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v", tc.args, err)
		}
	}
}

// simulatedShop is a store over HTTPS; its Secret's document lets an agent in.
func simulatedShop(t *testing.T, id string, seed sim.SeedOptions) (s *sim.Store, url, secret string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("X-Forwarded-Proto", "https")
		s.Handler().ServeHTTP(w, r)
	}))
	server.StartTLS()
	s = sim.New(sim.Options{Name: id, HomeURL: server.URL, Clock: sim.SystemClock{}, Keys: []sim.Key{{ConsumerKey: "ck_x", ConsumerSecret: "cs_x"}}})
	if err := s.Seed(seed); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.CloseClientConnections(); server.Close(); s.Close() })
	ca := strings.ReplaceAll(strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))), "\n", "\n    ")
	return s, server.URL, fmt.Sprintf("---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s}\nstringData:\n  consumerKey: ck_x\n  consumerSecret: cs_x\n  ca.crt: |\n    %s\n", id, ca)
}

// Each command as a person at a laptop runs it, beside an agent that only observes two shops.
func TestCommandsBesideARunningAgent(t *testing.T) {
	t.Parallel()
	hq, hqURL, hqSecret := simulatedShop(t, "hq", sim.SeedOptions{Products: 3})
	fr, frURL, frSecret := simulatedShop(t, "fr", sim.SeedOptions{Products: 3, Quantity: func(int) float64 { return 4 }})
	dir, err := os.MkdirTemp("", "sst")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := filepath.Join(dir, "shops.yaml")
	store := func(id, url string) string {
		return fmt.Sprintf("woocommerce: {url: '%s', credentialsSecretRef: {name: %s}, caBundleSecretKeyRef: {name: %s, key: ca.crt}}", url, id, id)
	}
	text := "apiVersion: stocksync.dev/v1alpha1\nkind: StockSyncTopology\nmetadata: {name: try}\nspec: {lagObjectiveSeconds: 5, master: {storeID: hq, " + store("hq", hqURL) + "}}\n---\n" +
		"apiVersion: stocksync.dev/v1alpha1\nkind: ChildStore\nmetadata: {name: fr}\nspec: {topologyRef: {name: try}, " + store("fr", frURL) + "}\n" + hqSecret + frSecret
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() {
		_, _, err := separate(ctx, "run", "--config", file, "--data", dir, "--public-addr", "", "--metrics-addr", "")
		ran <- err
	}()
	defer func() {
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	}()
	ask := func(want int, args ...string) string {
		t.Helper()
		out, progress, err := separate(t.Context(), append(args, "--data", dir)...)
		if got := codeOf(err); got != want {
			t.Errorf("%q: exit code %d, not %d: %v\n%s%s", args, got, want, err, out, progress)
		}
		return out
	}
	limit := time.After(2 * time.Minute)
	for out := ""; !strings.Contains(out, "SKU-0002"); {
		select {
		case err := <-ran:
			ran <- nil
			t.Fatal(err)
		case <-limit:
			t.Fatalf("nothing was read: %s", out)
		case <-time.After(50 * time.Millisecond):
			out, _, _ = separate(t.Context(), "backlog", "list", "--data", dir)
		}
	}
	if out := ask(0, "ping"); !strings.Contains(out, "fr     Write           ok") {
		t.Errorf("ping:\n%s", out)
	}
	if out := ask(2, "audit", "-o", "csv"); !strings.Contains(out, "Quantity,fr,SKU-0002,4,100,") {
		t.Errorf("audit:\n%s", out)
	}
	if out := ask(0, "reconcile", "--dry-run", "--sku", "SKU-0002"); !strings.Contains(out, "Reconcile 2 (DryRun)") {
		t.Errorf("dry run:\n%s", out)
	}
	if out := ask(0, "runs", "list"); !strings.Contains(out, "DryRun") || !strings.Contains(out, "Audit") {
		t.Errorf("runs:\n%s", out)
	}
	var shown struct{ Findings []agentapi.Finding }
	if out := ask(0, "runs", "show", "1", "-o", "json"); json.Unmarshal([]byte(out), &shown) != nil || len(shown.Findings) < 3 {
		t.Errorf("show:\n%s", out)
	}
	ask(2, "runs", "wait", "1")
	ask(1, "runs", "wait", "99")
	ask(0, "runs", "cancel", "1")
	if out := ask(0, "backlog", "list", "-o", "json"); json.Unmarshal([]byte(out), new([]agentapi.BacklogItem)) != nil {
		t.Errorf("backlog:\n%s", out)
	}
	ask(0, "backlog", "retry")
	ask(0, "conflicts", "rescan", "fr")
	ask(1, "conflicts", "rescan", "nl")
	if out := ask(0, "conflicts", "resolve", "SKU-0003", "--from-master"); !strings.Contains(out, "SKU-0003 has the number of hq now") {
		t.Errorf("resolve:\n%s", out)
	}
	ask(0, "backlog", "accept", "fr", "SKU-0003", "--yes")
	if out := ask(0, "history", "SKU-0003"); !strings.Contains(out, "SKU-0003: 4 units.") {
		t.Errorf("history after fr was accepted:\n%s", out)
	}
	ask(0, "conflicts", "list", "--store", "fr", "-o", "yaml")
	if out := ask(0, "events", "--level", "Info"); !strings.Contains(out, "LEVEL") {
		t.Errorf("events:\n%s", out)
	}
	ask(1, "events", "--level", "Loud")
	ask(0, "history", "prune", "--older-than-days", "30")
	if out := ask(0, "breaker"); !strings.Contains(out, "has not tripped") {
		t.Errorf("breaker:\n%s", out)
	}
	ask(1, "breaker", "approve", "t-1")
	ask(0, "forget", "fr", "--yes")
	if out := ask(0, "status", "-o", "json"); !strings.Contains(out, `"lastAudit"`) || strings.Contains(out, "cs_x") {
		t.Errorf("status:\n%s", out)
	}
	for _, s := range []*sim.Store{hq, fr} {
		for _, a := range s.AccessLog(0) {
			// The one exception is an empty batch, by which ping tests the permission to write.
			if a.Method != http.MethodGet && string(a.Body) != `{"update":[]}` {
				t.Errorf("in mode Observe a shop was sent %s %s %s", a.Method, a.Path, a.Body)
			}
		}
	}
}

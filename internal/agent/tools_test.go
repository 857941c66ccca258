package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/agentclient"
	"stocksync.dev/stocksync/internal/ledger"
	sim "stocksync.dev/stocksync/internal/sim/woocommerce"
)

func putToken(t *testing.T, dir, file, token string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, file), []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Who may do what: every route with every token. A route that is missing here fails the test.
func TestEveryRouteByToken(t *testing.T) {
	t.Parallel()
	const operator, reader, writer = "operator-token", "reader-token", "writer-token"
	dir := shortDir(t)
	client := putIdentity(t, dir, operator)
	putToken(t, dir, agentapi.ReadTokenFile, reader)
	putToken(t, dir, agentapi.WriteTokenFile, writer)
	b := startAgent(t, benchOptions{clock: SystemClock{}, dial: (&dialer{}).dial, ledger: ledger.NewMemory(), private: true, dir: dir}, stubDocs("")...)
	ask := func(method, path, body, token string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "https://"+b.addrs["private"].String()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "-token") && strings.ContainsAny(string(text), "{") {
			t.Errorf("%s %s shows a token: %s", method, path, text)
		}
		return res.StatusCode, string(text)
	}
	tested := map[string]bool{}
	for _, tc := range []struct {
		route, path, body string
		least             right
	}{
		{"GET /v1/backup", "", "", local},
		{"GET /v1/status", "", "", readStatus},
		{"GET /v1/runs", "", "", readAll},
		{"POST /v1/runs", "", `{"kind":"Audit"}`, readAll},
		{"POST /v1/runs", "", `{"kind":"Reconcile","strategy":"DryRun"}`, readAll},
		{"POST /v1/runs", "", `{"kind":"Reconcile"}`, writeAll},
		{"POST /v1/runs", "", `{"kind":"Reconcile","strategy":"Reset","confirmReset":true}`, writeAll},
		{"GET /v1/runs/{id}", "/v1/runs/1", "", readAll},
		{"POST /v1/runs/{id}/cancel", "/v1/runs/1/cancel", "", writeAll},
		{"GET /v1/runs/{id}/findings", "/v1/runs/1/findings", "", readAll},
		{"GET /v1/conflicts", "", "", readAll},
		{"POST /v1/conflicts/resolve", "", `{"sku":"A","units":3}`, writeAll},
		{"POST /v1/conflicts/dismiss", "", `{"ids":[1]}`, writeAll},
		{"POST /v1/rescan", "", `{}`, writeAll},
		{"GET /v1/backlog", "", "", readAll},
		{"POST /v1/backlog/retry", "", `{}`, writeAll},
		{"POST /v1/backlog/accept", "", `{"store":"fr","skus":["A"],"confirm":true}`, writeAll},
		{"GET /v1/history", "/v1/history?sku=A", "", readAll},
		{"POST /v1/history/prune", "", `{"olderThanDays":30}`, writeAll},
		{"GET /v1/events", "", "", readAll},
		{"GET /v1/ping", "", "", readAll},
		{"POST /v1/forget", "", `{"store":"fr","confirm":true}`, writeAll},
		{"GET /v1/breaker", "", "", readAll},
		{"GET /v1/links", "/v1/links?store=fr", "", readAll},
		{"POST /v1/links/set", "", `{"store":"fr","item":"1","product":2}`, writeAll},
		{"POST /v1/links/remove", "", `{"store":"fr","item":"1"}`, writeAll},
		{"GET /v1/numbers", "/v1/numbers?store=fr", "", readAll},
		{"POST /v1/breaker/approve", "", `{"tripID":"x"}`, writeAll},
	} {
		tested[tc.route] = true
		method, path, _ := strings.Cut(tc.route, " ")
		if tc.path != "" {
			path = tc.path
		}
		for token, may := range map[string]right{"": nothing, "forged": nothing, operator: readStatus, reader: readAll, writer: writeAll} {
			status, text := ask(method, path, tc.body, token)
			switch {
			case may == nothing:
				if status != 401 && status != 429 {
					t.Errorf("%s without a right token: %d %s", tc.route, status, text)
				}
			case may < tc.least:
				want := agentapi.WriteTokenFile
				switch tc.least {
				case readAll:
					want = agentapi.ReadTokenFile
				case local:
					want = "agent backup"
				}
				if status != 403 || !strings.Contains(text, "`"+want+"`") {
					t.Errorf("%s with the right %d: %d %s", tc.route, may, status, text)
				}
			case status == 401 || status == 403 || status == 405 || status >= 500:
				t.Errorf("%s %s with the right %d: %d %s", tc.route, tc.body, may, status, text)
			}
		}
	}
	for route := range tools {
		if !tested[route] {
			t.Errorf("%s is tested with no token", route)
		}
	}

	// A role whose token is taken away is gone at once, and an empty file is no token.
	putToken(t, dir, agentapi.WriteTokenFile, "")
	if err := os.Remove(filepath.Join(dir, agentapi.ReadTokenFile)); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{reader, writer} {
		if status, _ := ask("GET", "/v1/runs", "", token); status != 401 && status != 429 {
			t.Errorf("a token that was taken away: %d", status)
		}
	}
	if text := b.log.String(); strings.Contains(text, reader) || strings.Contains(text, writer) {
		t.Error("the log holds a token")
	}
}

func TestQuestionsThatCannotBeAnswered(t *testing.T) {
	t.Parallel()
	b := startAgent(t, benchOptions{clock: SystemClock{}, dial: (&dialer{}).dial, ledger: ledger.NewMemory()}, stubDocs("")...)
	c := overSocket(b.dir)
	for _, tc := range []struct {
		method, path, body string
		status             int
		text               string
	}{
		{"PUT", "/v1/runs", "", 405, "by GET"},
		{"GET", "/v1/rescan", "", 405, "by POST"},
		{"GET", "/v2/runs", "", 404, "no such route"},
		{"POST", "/v1/runs", "", 400, "must have a body"},
		{"POST", "/v1/runs", `{"kind":"Audit"`, 400, "must be the JSON"},
		{"POST", "/v1/runs", `{"kind":"Audit","sort":"x"}`, 400, "must be the JSON"},
		{"POST", "/v1/runs", `{"kind":"Audit"}{}`, 400, "must be the JSON"},
		{"POST", "/v1/runs", `{"skus":["` + strings.Repeat("x", maxQuestion) + `"]}`, 413, "at most 2 MiB"},
		{"GET", "/v1/runs/seven", "", 400, "by its number"},
		{"GET", "/v1/runs/7", "", 404, "no run 7"},
		{"GET", "/v1/runs/7?wait=31", "", 400, "from 0 to 30"},
		{"GET", "/v1/conflicts?store=xx", "", 404, `no store "xx": the stores are hq, fr`},
		{"GET", "/v1/conflicts?sku=xx", "", 404, "must be the SKU of an item"},
		{"POST", "/v1/conflicts/resolve", `{"sku":"A"}`, 400, "either its units or the store"},
		{"POST", "/v1/conflicts/resolve", `{"sku":"A","units":1,"store":"fr"}`, 400, "either its units or the store"},
		{"POST", "/v1/conflicts/dismiss", `{}`, 400, "by their ids"},
		{"GET", "/v1/history", "", 400, "?sku="},
		{"GET", "/v1/history?sku=A&limit=0", "", 400, "from 1 to 10000"},
		{"POST", "/v1/history/prune", `{"olderThanDays":0}`, 400, "from 1"},
		{"GET", "/v1/events?level=Loud", "", 400, "Info, Warning or Error"},
		{"GET", "/v1/events?after=-1", "", 400, "after must be"},
		{"GET", "/v1/backlog?after=x", "", 400, "cursor"},
		{"POST", "/v1/backlog/accept", `{"store":"fr","skus":["A"]}`, 400, "confirm it"},
		{"POST", "/v1/backlog/accept", `{"store":"fr","confirm":true}`, 400, "the SKUs"},
		{"POST", "/v1/forget", `{"store":"fr"}`, 400, "confirm it"},
		{"POST", "/v1/forget", `{"store":"xx","confirm":true}`, 404, "the stores are"},
		{"POST", "/v1/rescan", `{"stores":["xx"]}`, 404, "the stores are"},
		{"POST", "/v1/breaker/approve", `{"tripID":"x"}`, 404, "has not tripped"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tc.method, "http://agent"+tc.path, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != tc.status || !strings.Contains(string(text), tc.text) {
			t.Errorf("%s %s %.60s: %d %s %v", tc.method, tc.path, tc.body, res.StatusCode, text, err)
		}
	}
}

// waiter is an engine whose runs never change.
type waiter struct {
	runner
	asked chan struct{}
}

func (w waiter) WaitRun(ctx context.Context, id, sequence int64) (agentapi.Run, error) {
	close(w.asked)
	<-ctx.Done()
	return agentapi.Run{ID: id, Sequence: sequence, State: agentapi.Running}, nil
}

// Who waits for news is let go when the agent stops, with an answer.
func TestWaitingEndsWithTheAgent(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	b := startAgent(t, benchOptions{clock: SystemClock{}, dial: (&dialer{}).dial, ledger: ledger.NewMemory(),
		runs: func(r runner) runner { return waiter{r, asked} }}, stubDocs("")...)
	type answer struct {
		run agentapi.Run
		err error
	}
	got := make(chan answer, 1)
	go func() {
		run, err := b.client.WaitRun(t.Context(), 7, 3)
		got <- answer{run, err}
	}()
	<-asked
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	if a := <-got; a.err != nil || a.run.ID != 7 || a.run.Sequence != 3 {
		t.Errorf("%+v", a)
	}
}

// The numbers of two shops that parted, through every tool a person has.
func TestToolsOverRealShops(t *testing.T) {
	t.Parallel()
	clock := newFastClock()
	hq := newShop(t, clock, "hq", nil, sim.SeedOptions{Products: 12})
	fr := newShop(t, clock, "fr", nil, sim.SeedOptions{Products: 12, Quantity: func(int) float64 { return 40 }})
	docs := func(mode, annotations string) []string {
		return []string{strings.Replace(masterDoc("hq", hq.url, "  mode: "+mode+"\n"), "{name: emea}", "{name: emea, annotations: {"+annotations+"}}", 1),
			strings.Replace(followerDoc("fr", fr.url, ""), "spec:\n", "spec:\n  allocation: {bufferUnits: 2}\n", 1), hq.secret("hq"), fr.secret("fr")}
	}
	b := startAgent(t, benchOptions{clock: clock}, docs("Observe", "")...)
	ctx, c := t.Context(), b.client
	shows := func(want string) func() (bool, string) {
		return func() (bool, string) {
			got := quantities(t, []*shopServer{hq, fr}, "SKU-0002")
			return got == want, got
		}
	}

	pings, err := c.Ping(ctx, "")
	if err != nil || len(pings) != 2 || !pings[0].OK || !pings[1].OK || pings[0].StoreID != "hq" || len(pings[1].Checks) < 8 {
		t.Errorf("ping: %+v %v", pings, err)
	}
	backlog := func(store string) (items []agentapi.BacklogItem) {
		t.Helper()
		for i, err := range c.Backlog(ctx, store) {
			if err != nil {
				t.Fatal(err)
			}
			items = append(items, i)
		}
		return items
	}
	eventually(t, "a preview of the whole catalogue", func() (bool, string) {
		items := backlog("fr")
		return len(items) == storeOf(t, b.status(), "fr").Backlog && len(items) > 10 && items[0].Note != "", asJSON(items)
	})
	one, err := c.Run(ctx, 1)
	if err == nil {
		t.Errorf("a run before there was one: %+v", one)
	}

	b.apply(docs("Sync", "")...)
	eventually(t, "the master's number, less the buffer", shows("100 98"))

	// fr is right about SKU-0002: it shows 98 of 100, then 7 of 9.
	if err := fr.EditStock("SKU-0002", 7); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the edit counted everywhere", shows("9 7"))
	units := int64(50)
	if _, err := c.Resolve(ctx, agentapi.ResolveRequest{SKU: "sku-0002", Units: &units}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the number a person gave", shows("50 48"))
	eventually(t, "the number fr shows is accepted, once its answer is known", func() (bool, string) {
		n, err := c.Accept(ctx, agentapi.AcceptRequest{Store: "fr", SKUs: []string{"SKU-0002", "SKU-0003"}, Confirm: true})
		return err == nil && n.Count == 2, fmt.Sprintf("%+v %v", n, err)
	})
	h, err := c.History(ctx, "SKU-0002", 5)
	if err != nil || h.Units != 50 || !strings.Contains(h.Entries[0].Evidence+h.Entries[1].Evidence, "the number fr shows") {
		t.Errorf("after the acceptance of what already holds: %s %v", asJSON(h), err)
	}
	if _, err := c.Resolve(ctx, agentapi.ResolveRequest{SKU: "SKU-0002", Store: "hq"}); err != nil {
		t.Error(err)
	}
	if n, err := c.Rescan(ctx); err != nil || n.Count != 2 {
		t.Errorf("rescan: %+v %v", n, err)
	}
	if n, err := c.Retry(ctx, "fr"); err != nil || n.Count != 1 {
		t.Errorf("retry: %+v %v", n, err)
	}
	lines, err := c.Events(ctx, agentclient.EventsQuery{SKU: "SKU-0002", Limit: 3})
	if err != nil || len(lines) != 3 || lines[0].ID >= lines[2].ID || lines[2].Code == "" || lines[2].Level == "" {
		t.Errorf("events: %s %v", asJSON(lines), err)
	}
	if _, err := c.Forget(ctx, agentapi.ForgetRequest{Store: "fr", Confirm: true}); err == nil || !strings.Contains(err.Error(), "Observe") {
		t.Errorf("markers of a shop that is written to: %v", err)
	}
	if n, err := c.Prune(ctx, 1); err != nil || n.Count != 0 {
		t.Errorf("prune: %+v %v", n, err)
	}

	// Annotations ask for both; one waits for the other, and each is answered once.
	b.apply(docs("Sync", `stocksync.dev/reconcile-requested-at: "now", stocksync.dev/audit-requested-at: "now"`)...)
	handled := func(reconcile, audit string) func() (bool, string) {
		return func() (bool, string) {
			s := b.status()
			return s.HandledReconcile == reconcile && s.HandledAudit == audit, asJSON([]any{s.HandledReconcile, s.HandledAudit, s.LastReconcile, s.LastAudit})
		}
	}
	eventually(t, "both runs", handled("now", "now"))
	s := b.status()
	if s.LastReconcile == nil || s.LastReconcile.State != agentapi.Succeeded || s.LastReconcile.Request.Strategy != agentapi.DifferencesOnly || s.LastAudit == nil {
		t.Errorf("%s", asJSON(s))
	}
	runs, err := c.Runs(ctx)
	if err != nil || len(runs) != 2 {
		t.Fatalf("%d runs, %v", len(runs), err)
	}
	// Neither a restart nor another look begins them again; an older value does, when it comes back.
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b = startAgent(t, benchOptions{clock: clock, dir: b.dir}, docs("Sync", `stocksync.dev/reconcile-requested-at: "now", stocksync.dev/audit-requested-at: "now"`)...)
	b.apply(docs("Sync", `stocksync.dev/reconcile-requested-at: "later", stocksync.dev/audit-requested-at: "now"`)...)
	eventually(t, "the next reconcile", handled("later", "now"))
	b.apply(docs("Sync", `stocksync.dev/reconcile-requested-at: "now"`)...)
	eventually(t, "the value that came back", handled("now", "now"))
	if runs, err = b.client.Runs(ctx); err != nil || len(runs) != 4 {
		t.Errorf("%d runs, %v: %s", len(runs), err, asJSON(runs))
	}
}

// A client over TLS sees the same, and an agent whose certificate it does not know is not believed.
func TestClientOverTLS(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	putIdentity(t, dir, "operator")
	putToken(t, dir, agentapi.ReadTokenFile, "reader")
	b := startAgent(t, benchOptions{clock: SystemClock{}, dial: (&dialer{}).dial, ledger: ledger.NewMemory(), private: true, dir: dir}, stubDocs("")...)
	_, port, err := net.SplitHostPort(b.addrs["private"].String())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"agent.shops.svc", "localhost"} {
		cert, key := newCertificate(t, name)
		for file, data := range map[string][]byte{agentapi.TLSCertFile: cert, agentapi.TLSKeyFile: key} {
			if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, err := agentclient.TLS("https://localhost:"+port, cert, "reader")
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Runs(t.Context())
		if name == "localhost" {
			if err != nil {
				t.Error(err)
			}
			_, err = c.Rescan(t.Context())
			refused, ok := errors.AsType[*agentclient.Error](err)
			if !ok || refused.Status != 403 || !strings.Contains(err.Error(), "write token") {
				t.Errorf("%v", err)
			}
			continue
		}
		if _, ok := errors.AsType[*agentclient.UnreachableError](err); !ok || strings.Contains(err.Error(), "reader") {
			t.Errorf("a certificate for another name: %v", err)
		}
	}
}

func overSocket(dir string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, agentapi.SocketName))
	}}}
}

// tripped is an engine whose breaker holds a change until its trip is approved.
type tripped struct {
	runner
	trip     string
	approved chan string
}

func (r tripped) Breaker(context.Context) (*agentapi.Breaker, error) {
	return &agentapi.Breaker{TripID: r.trip}, nil
}

func (r tripped) ApproveTrip(_ context.Context, id string) error {
	select {
	case r.approved <- id:
	default:
	}
	return nil
}

// An approval that stays in Git is for one trip, and approves no later one.
func TestAnAnnotationApprovesOneTrip(t *testing.T) {
	t.Parallel()
	approved := make(chan string, 1)
	annotated := func(id string) []string {
		docs := stubDocs("")
		docs[0] = strings.Replace(docs[0], "metadata: {name: emea}", "metadata: {name: emea, annotations: {stocksync.dev/approve-trip: "+id+"}}", 1)
		return docs
	}
	b := startAgent(t, benchOptions{clock: newFastClock(), dial: (&dialer{}).dial, ledger: ledger.NewMemory(),
		runs: func(r runner) runner { return tripped{r, "t-2", approved} }}, annotated("t-1")...)
	if s := b.status(); s.Breaker == nil || s.Breaker.TripID != "t-2" {
		t.Errorf("the status does not tell of the trip: %s", asJSON(s))
	}
	if err := b.agent.heedTrip(t.Context(), "t-1"); err != nil || len(approved) != 0 {
		t.Errorf("the approval of an older trip: %v", err)
	}
	b.apply(annotated("t-2")...)
	if id := <-approved; id != "t-2" {
		t.Errorf("approved %q", id)
	}
	long := strings.Repeat("x", maxRequest+1)
	b.apply(annotated(long)...)
	if s := b.status(); !strings.Contains(s.ConfigError, "stocksync.dev/approve-trip]: must be at most 253 characters") || strings.Contains(s.ConfigError, long) {
		t.Errorf("a value that is too long: %q", s.ConfigError)
	}
}

package katana

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/engine"
	sim "stocksync.dev/stocksync/internal/sim/katana"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	clock := newClock()
	good := Options{Token: testToken, Budgets: NewBudgets(clock), Clock: clock}
	for name, tc := range map[string]struct {
		change       func(*Options)
		reason, says string
	}{
		"plain http":    {func(o *Options) { o.URL = "http://api.example" }, v1alpha1.ReasonPlainHTTP, "https://"},
		"user in url":   {func(o *Options) { o.URL = "https://a:b@api.example" }, v1alpha1.ReasonInvalidConfiguration, "without user"},
		"relative":      {func(o *Options) { o.URL = "api.example/v1" }, v1alpha1.ReasonInvalidConfiguration, "absolute"},
		"no token":      {func(o *Options) { o.Token = " \n" }, v1alpha1.ReasonInvalidConfiguration, "empty"},
		"odd token":     {func(o *Options) { o.Token = "a\nb" }, v1alpha1.ReasonInvalidConfiguration, "without blanks"},
		"broken bundle": {func(o *Options) { o.CABundle = []byte("MIIC") }, v1alpha1.ReasonInvalidConfiguration, "PEM"},
		"no budgets":    {func(o *Options) { o.Budgets = nil }, v1alpha1.ReasonInvalidConfiguration, "budgets"},
	} {
		o := good
		tc.change(&o)
		_, err := New(o)
		if f := faultOf(t, err); f.Reason != tc.reason || !strings.Contains(f.Message, tc.says) || !f.Unsent {
			t.Errorf("%s: %v", name, f)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}

// TestFaults: what Katana and the network can answer, sorted by what helps, in both shapes of its errors.
func TestFaults(t *testing.T) {
	t.Parallel()
	nested := `{"error":{"statusCode":422,"name":"UnprocessableEntityError","code":"VALIDATION_FAILED","details":[{"path":".limit","code":"type","message":"<script>"}]}}`
	flat := `{"statusCode":422,"name":"UnprocessableEntityError","code":"VALIDATION_FAILED","details":[{"path":".limit","code":"type"}]}`
	for name, tc := range map[string]struct {
		answer       canned
		reason, says string
		unsent       bool
	}{
		"wrong key":     {canned{status: 401, body: `{"error":{"name":"UnauthorizedError"}}`}, v1alpha1.ReasonAuthenticationFailed, "expired", true},
		"plan":          {canned{status: 403}, v1alpha1.ReasonPlanWithoutAPI, "Professional", true},
		"payment":       {canned{status: 402}, v1alpha1.ReasonPlanWithoutAPI, "Professional", true},
		"no such route": {canned{status: 404, body: `{"name":"NotFoundError"}`}, v1alpha1.ReasonUnexpectedContent, "version", true},
		"nested":        {canned{status: 422, body: nested}, v1alpha1.ReasonUnexpectedContent, "(UnprocessableEntityError, VALIDATION_FAILED, .limit type)", true},
		"flat":          {canned{status: 422, body: flat}, v1alpha1.ReasonUnexpectedContent, "(UnprocessableEntityError, VALIDATION_FAILED, .limit type)", true},
		"server":        {canned{status: 500, body: "oops"}, v1alpha1.ReasonServerError, "HTTP 500", false},
		"gateway":       {canned{status: 504}, v1alpha1.ReasonTimeout, "in time", false},
		"redirect":      {canned{status: 302, header: http.Header{"Location": {"https://evil.example"}}}, v1alpha1.ReasonUnexpectedContent, "redirects", false},
		"html":          {canned{status: 200, body: "\n<!DOCTYPE html>"}, v1alpha1.ReasonUnexpectedContent, "HTML", false},
		"half":          {canned{status: 200, body: `{"data":[`}, v1alpha1.ReasonUnexpectedContent, "cut short", false},
		"no envelope":   {canned{status: 200, body: `[{"id":1}]`}, v1alpha1.ReasonUnexpectedContent, "another shape", false},
		"no data":       {canned{status: 200, body: `{}`}, v1alpha1.ReasonUnexpectedContent, "without data", false},
		"null":          {canned{status: 200, body: `null`}, v1alpha1.ReasonUnexpectedContent, "another shape", false},
		"name":          {canned{err: &net.DNSError{Err: "no such host"}}, v1alpha1.ReasonNameNotResolved, "DNS", true},
		"refused":       {canned{err: &net.OpError{Op: "dial", Err: errors.New("refused")}}, v1alpha1.ReasonUnreachable, "connection", true},
		"time":          {canned{err: context.DeadlineExceeded}, v1alpha1.ReasonTimeout, "in time", false},
		"cut":           {canned{err: errors.New(testToken)}, v1alpha1.ReasonUnreachable, "cut", false},
	} {
		f := faultOf(t, cannedClient(t, tc.answer).Health(t.Context()))
		if f.Reason != tc.reason || !strings.Contains(f.Message, tc.says) || f.Unsent != tc.unsent || strings.Contains(f.Message, "<script>") {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if err := cannedClient(t, canned{status: 200, body: `{"data":[]}`}).Health(t.Context()); err != nil {
		t.Errorf("an account without locations: %v", err)
	}
	c := cannedClient(t, canned{status: 200, body: `{"data":[]}`})
	c.limit = 5
	if f := faultOf(t, c.Health(t.Context())); !strings.Contains(f.Message, "larger") {
		t.Errorf("a large answer: %v", f)
	}
}

// TestKeyExpires: an account that takes the key no more says so, and takes a new one.
func TestKeyExpires(t *testing.T) {
	t.Parallel()
	for _, flat := range []bool{false, true} {
		l := newLab(t, func(o *sim.Options) { o.Behaviour.FlatErrors = flat })
		must(t, l.c.Health(t.Context()))
		l.account.SetKeys("another")
		if f := faultOf(t, l.c.Health(t.Context())); f.Reason != v1alpha1.ReasonAuthenticationFailed || !strings.Contains(f.Message, "UnauthorizedError") {
			t.Errorf("flat %v: %v", flat, f)
		}
		must(t, l.client("another").Health(t.Context()))
		l.account.SetBehaviour(sim.Behaviour{NoAPI: 403})
		if f := faultOf(t, l.client("another").Health(t.Context())); f.Reason != v1alpha1.ReasonPlanWithoutAPI || !strings.Contains(f.Message, "Professional") {
			t.Errorf("plan without API: %v", f)
		}
	}
}

// TestBudgetShared: two topologies with one key never exceed the account's limit, in either unit of the reset,
// and another key has its own.
func TestBudgetShared(t *testing.T) {
	t.Parallel()
	for _, seconds := range []bool{false, true} {
		l := newLab(t, func(o *sim.Options) { o.Keys, o.Behaviour.ResetInSeconds = []string{testToken, "other"}, seconds })
		a, b := l.c, l.client(testToken)
		start := l.clock.Now()
		for range 70 {
			must(t, a.Health(t.Context()))
			must(t, b.Health(t.Context()))
		}
		if n := l.count(429); n > 0 {
			t.Errorf("%d requests were over the limit", n)
		}
		if took := l.clock.Now().Sub(start); took < 2*time.Minute || took > 3*time.Minute {
			t.Errorf("140 requests took %v, want a little over two minutes", took)
		}
		before := l.clock.Now()
		must(t, l.client("other").Health(t.Context()))
		if l.clock.Now().Sub(before) > time.Second {
			t.Error("a client with another key waited for this one's turn")
		}
	}
}

// TestBudgetConcurrent: requests at the same time do not exceed the limit either.
func TestBudgetConcurrent(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range 20 {
				if err := l.c.Health(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := l.count(200); n != 200 {
		t.Errorf("%d of 200 requests succeeded", n)
	}
}

// TestBudgetOthers: programs outside the agent use the key, too. What answers say is left is heeded.
func TestBudgetOthers(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	other := NewBudgets(l.clock) // another cluster's
	stranger, err := New(Options{Token: testToken, Budgets: other, HTTP: l, Clock: l.clock})
	must(t, err)
	for range 58 {
		must(t, stranger.Health(t.Context()))
	}
	for range 10 {
		must(t, l.c.Health(t.Context()))
	}
	if n := l.count(429); n > 0 {
		t.Errorf("%d requests were over the limit", n)
	}
	if s := l.c.Budget(); s.Limit != 60 || s.Remaining > 52 || s.Remaining < 40 {
		t.Errorf("budget %+v", s)
	}
}

// TestThrottled: what was refused because of the limit was not executed; it waits as told and goes again, and
// gives up in the end saying when to come.
func TestThrottled(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.account.Inject(sim.Fault{Kind: sim.FaultStatus, Status: 429, RetryAfter: 20, Times: 2})
	start := l.clock.Now()
	must(t, l.c.Health(t.Context()))
	if took := l.clock.Now().Sub(start); took < 40*time.Second {
		t.Errorf("went again after %v, want 20 s twice", took)
	}
	l.account.Inject(sim.Fault{Kind: sim.FaultStatus, Status: 429, RetryAfter: 200})
	f := faultOf(t, l.c.Health(t.Context()))
	if f.Reason != v1alpha1.ReasonRateLimited || f.RetryAfter != 200*time.Second || !f.Unsent {
		t.Errorf("a storm: %+v", f)
	}
	if s := l.c.Budget(); s.Remaining != 0 || !s.ThrottledUntil.After(l.clock.Now()) {
		t.Errorf("budget in a storm: %+v", s)
	}
	// An hour is not waited for: the caller is told.
	l.account.Clear()
	l.account.Inject(sim.Fault{Kind: sim.FaultStatus, Status: 429, RetryAfter: 3000, Times: 1})
	sent := l.account.Requests()
	f = faultOf(t, l.c.Health(t.Context()))
	if f.RetryAfter < 2900*time.Second || !f.Unsent || l.account.Requests() != sent+1 {
		t.Errorf("a long storm: %+v after %d requests", f, l.account.Requests()-sent)
	}
	l.clock.advance(3000 * time.Second)
	must(t, l.c.Health(t.Context()))
}

func TestBudgetCancelled(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for range 60 {
		must(t, l.c.Health(t.Context()))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if f := faultOf(t, l.c.Health(ctx)); f.Reason != v1alpha1.ReasonTimeout || !f.Unsent {
		t.Errorf("given up: %+v", f)
	}
	if l.count(200) != 60 {
		t.Error("a request that was given up was sent")
	}
}

func TestRateHeaders(t *testing.T) {
	t.Parallel()
	date := time.Date(2026, 1, 12, 9, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Duration{
		strconv.FormatInt(date.Add(30*time.Second).UnixMilli(), 10): 30 * time.Second,
		strconv.FormatInt(date.Add(30*time.Second).Unix(), 10):      30 * time.Second,
		strconv.FormatInt(date.Add(-time.Hour).Unix(), 10):          0,
		strconv.FormatInt(date.Add(time.Hour).UnixMilli(), 10):      2 * time.Minute,
		"9223372036854775807": 2 * time.Minute,
	} {
		if got, ok := resetAfter(in, date); !ok || got != want {
			t.Errorf("%s: %v %v, want %v", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "soon", "-5", "0", "1e9"} {
		if got, ok := resetAfter(in, date); ok {
			t.Errorf("%q is read as %v", in, got)
		}
	}
	for in, want := range map[string]time.Duration{"7": 7 * time.Second, "": 0, "x": 0, "-1": 0, "999999999999": maxThrottle} {
		if got := retryAfter(http.Header{"Retry-After": {in}}); got != want {
			t.Errorf("Retry-After %q: %v, want %v", in, got, want)
		}
	}
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(o *sim.Options) { o.Behaviour.RateLimit = 120 })
	must(t, l.c.Health(t.Context()))
	got := l.c.Capabilities()
	want := engine.SourceCapabilities{Committed: true, Orders: true, Origins: true, Changes: true, Events: true, Locations: true, Eventual: true, LevelBatch: 100, PageRows: 250, OrderLists: 4, RequestsPerMinute: 120}
	if got != want {
		t.Errorf("%+v", got)
	}
	if s := l.c.String(); strings.Contains(s, testToken) || !strings.Contains(s, "api.katanamrp.com") {
		t.Errorf("named %q", s)
	}
	l.c.Close()
}

// TestBudgetWanted: people may allow fewer requests than the account does, for all clients with the key, and not more.
func TestBudgetWanted(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	limit := func(wanted int) int {
		c, err := New(Options{Token: testToken, Budgets: l.budgets, HTTP: l, Clock: l.clock, RequestsPerMinute: wanted})
		must(t, err)
		must(t, c.Health(t.Context()))
		return l.c.Budget().Limit
	}
	if before := l.c.Budget().Limit; before != 60 {
		t.Errorf("before anything is known: %d", before)
	}
	for wanted, want := range map[int]int{0: 60, 20: 20, 500: 60} {
		if got := limit(wanted); got != want {
			t.Errorf("allowed %d: %d, want %d", wanted, got, want)
		}
	}
	limit(10)
	start := l.clock.Now()
	for range 31 {
		must(t, l.c.Health(t.Context()))
	}
	if took := l.clock.Now().Sub(start); took < 3*time.Minute {
		t.Errorf("31 requests at 10 a minute took %v", took)
	}
	if got := l.c.Capabilities().RequestsPerMinute; got != 10 {
		t.Errorf("planned with %d", got)
	}
}

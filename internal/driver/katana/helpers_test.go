package katana

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"

	"stocksync.dev/stocksync/internal/engine"
	sim "stocksync.dev/stocksync/internal/sim/katana"
)

const testToken = "very-secret-token"

// fakeClock is the time of client and account alike. Whoever waits moves it on.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *fakeClock { return &fakeClock{now: time.Date(2026, 1, 12, 9, 0, 0, 0, time.UTC)} }

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) to(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.After(c.now) {
		c.now = t
	}
}

func (c *fakeClock) advance(d time.Duration) { c.to(c.Now().Add(d)) }

func (c *fakeClock) Sleep(ctx context.Context, d time.Duration) error {
	c.advance(d)
	return ctx.Err()
}

func (c *fakeClock) Go(fn func()) { go fn() }

func (c *fakeClock) NewSignal() engine.Signal { return fakeSignal{c} }

type fakeSignal struct{ c *fakeClock }

func (fakeSignal) Set() {}

func (s fakeSignal) Wait(ctx context.Context, until time.Time) {
	if ctx.Err() == nil {
		s.c.to(until)
	}
}

// logged collects log lines.
type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) logger() logr.Logger {
	return funcr.New(func(prefix, args string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.b.WriteString(prefix + args + "\n")
	}, funcr.Options{Verbosity: 1})
}

// lab is a simulated account with a client.
type lab struct {
	t       testing.TB
	clock   *fakeClock
	account *sim.Account
	budgets *Budgets
	c       *Client
	log     *logged
	// before, when set, is called before the account works on a request.
	before func(method, path, query string)
	// statuses are those of the answers.
	mu       sync.Mutex
	statuses []int
}

func newLab(t testing.TB, change ...func(*sim.Options)) *lab {
	t.Helper()
	l := &lab{t: t, clock: newClock(), log: &logged{}}
	o := sim.Options{Clock: l.clock, Keys: []string{testToken}, OnRequest: func(method, path, query string) {
		if l.before != nil {
			l.before(method, path, query)
		}
	}}
	for _, f := range change {
		f(&o)
	}
	l.account = sim.New(o)
	l.budgets = NewBudgets(l.clock)
	l.c = l.client(testToken)
	t.Cleanup(func() {
		if strings.Contains(l.log.b.String(), testToken) {
			t.Error("the token is in the log")
		}
	})
	return l
}

func (l *lab) client(token string) *Client {
	l.t.Helper()
	c, err := New(Options{Token: token, Budgets: l.budgets, HTTP: l, Clock: l.clock, Log: l.log.logger(), WooCommerceSources: []string{"web"}})
	must(l.t, err)
	return c
}

// RoundTrip passes a request on to the account; the way takes a tenth of a second.
func (l *lab) RoundTrip(r *http.Request) (*http.Response, error) {
	l.clock.advance(100 * time.Millisecond)
	res, err := l.account.Transport().RoundTrip(r)
	if err == nil {
		l.mu.Lock()
		l.statuses = append(l.statuses, res.StatusCode)
		l.mu.Unlock()
	}
	return res, err
}

func (l *lab) count(status int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, s := range l.statuses {
		if s == status {
			n++
		}
	}
	return n
}

// items makes so many products with 1, 2, 3 … in stock at a new location.
func (l *lab) items(n int) (location string, ids []string) {
	l.t.Helper()
	at := l.account.AddLocation("Here")
	for i := range n {
		v := l.account.AddProduct(fmt.Sprintf("P%04d", i))
		must(l.t, l.account.Adjust(v, at, sim.Units(int64(i+1))))
		ids = append(ids, strconv.FormatInt(v, 10))
	}
	return strconv.FormatInt(at, 10), ids
}

func number(t testing.TB, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	must(t, err)
	return n
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func faultOf(t testing.TB, err error) *engine.Fault {
	t.Helper()
	var f *engine.Fault
	if !errors.As(err, &f) {
		t.Fatalf("not a fault: %v", err)
	}
	if f.Reason == "" || f.Message == "" || strings.Contains(f.Message, testToken) || f.RetryAfter < 0 {
		t.Errorf("fault %+v", f)
	}
	return f
}

// levels is "quantity quantity …" of items at a location.
func (l *lab) levels(location string, ids ...string) string {
	l.t.Helper()
	got, err := l.c.Levels(l.t.Context(), location, ids)
	must(l.t, err)
	var out []string
	for _, level := range got.Levels {
		if level.Absent {
			out = append(out, "absent")
		} else {
			out = append(out, level.OnHand.String())
		}
	}
	if len(ids) == 0 {
		slices.Sort(out)
	}
	return strings.Join(out, " ")
}

// canned answers with one and the same answer.
type canned struct {
	status int
	header http.Header
	body   string
	err    error
}

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.err != nil {
		return nil, c.err
	}
	h := c.header.Clone()
	if h == nil {
		h = http.Header{}
	}
	return &http.Response{StatusCode: c.status, Header: h, Body: io.NopCloser(bytes.NewBufferString(c.body)), Request: r}, nil
}

func cannedClient(t testing.TB, c http.RoundTripper) *Client {
	t.Helper()
	clock := newClock()
	client, err := New(Options{Token: testToken, Budgets: NewBudgets(clock), HTTP: c, Clock: clock})
	must(t, err)
	return client
}

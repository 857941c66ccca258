package woocommerce

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeClock stands still until it is moved; its sleeps end when it passes them.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *fakeClock { return &fakeClock{now: time.Date(2026, 11, 21, 20, 15, 20, 0, time.UTC)} }

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) Sleep(ctx context.Context, d time.Duration) error {
	c.advance(d)
	return ctx.Err()
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

var (
	testKey  = Key{ConsumerKey: "ck_XXXX", ConsumerSecret: "cs_XXXX"}
	readKey  = Key{ConsumerKey: "ck_read", ConsumerSecret: "cs_read", Permission: Read}
	blindKey = Key{ConsumerKey: "ck_blind", ConsumerSecret: "cs_blind", NoOrders: true}
)

// newLab is a store with 300 simple products and the odd ones, as the recorded store had.
func newLab(t testing.TB, products int, change ...func(*Options)) *Store {
	t.Helper()
	o := Options{HomeURL: "https://store.example", Clock: newClock(), Seed: 1, Keys: []Key{testKey, readKey, blindKey}}
	for _, f := range change {
		f(&o)
	}
	s := New(o)
	t.Cleanup(s.Close)
	if err := s.Seed(SeedOptions{Products: products}); err != nil {
		t.Fatal(err)
	}
	return s
}

// asked is a request to a store and its answer.
type asked struct {
	t      testing.TB
	status int
	header http.Header
	raw    []byte
}

// ask sends a request with the test key over https. A string body is sent as it is, anything else as JSON.
func ask(t testing.TB, s *Store, method, path string, body any) asked {
	t.Helper()
	return askAs(t, s, &testKey, method, path, body)
}

func askAs(t testing.TB, s *Store, key *Key, method, path string, body any) asked {
	t.Helper()
	req := newRequest(t, method, path, body)
	req.Header.Set("X-Forwarded-Proto", "https")
	if key != nil {
		req.SetBasicAuth(key.ConsumerKey, key.ConsumerSecret)
	}
	return send(t, s, req)
}

func newRequest(t testing.TB, method, path string, body any) *http.Request {
	t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		r = bytes.NewReader(raw)
	}
	req := httptest.NewRequest(method, path, r)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req
}

func send(t testing.TB, s *Store, req *http.Request) asked {
	t.Helper()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, req)
	return asked{t, w.Code, w.Header(), w.Body.Bytes()}
}

func (a asked) json() any {
	a.t.Helper()
	var v any
	if err := json.Unmarshal(a.raw, &v); err != nil {
		a.t.Fatalf("answer %d is not JSON: %v\n%s", a.status, err, a.raw)
	}
	return v
}

// at walks into the answer by names and indexes.
func (a asked) at(path ...any) any {
	a.t.Helper()
	v := a.json()
	for _, step := range path {
		switch k := step.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok {
				a.t.Fatalf("no %q in %v", k, v)
			}
			v = m[k]
		case int:
			l, ok := v.([]any)
			if !ok || k >= len(l) {
				a.t.Fatalf("no element %d in %v", k, v)
			}
			v = l[k]
		}
	}
	return v
}

func (a asked) is(status int) asked {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s", a.status, status, a.raw)
	}
	return a
}

func (a asked) failed(status int, code string) asked {
	a.t.Helper()
	a.is(status)
	if got := a.at("code"); got != code {
		a.t.Fatalf("code %v, want %s", got, code)
	}
	return a
}

type m = map[string]any

func wantQuantity(t testing.TB, s *Store, sku string, want float64) {
	t.Helper()
	if got, ok := s.Quantity(sku); !ok || got != want {
		t.Errorf("%s: quantity %v (managed %v), want %v", sku, got, ok, want)
	}
}

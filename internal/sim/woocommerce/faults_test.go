package woocommerce

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func client(s *Store) *http.Client { return &http.Client{Transport: s.Transport()} }

// put sends a relative write through the store's transport.
func put(ctx context.Context, t *testing.T, s *Store, delta int) error {
	t.Helper()
	raw, err := json.Marshal(m{"inventory_delta": delta})
	must(t, err)
	req, err := http.NewRequestWithContext(ctx, "PUT", "https://store.example"+productPath(10), bytes.NewReader(raw))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", basicAuth(testKey))
	res, err := client(s).Do(req)
	if err == nil {
		_ = res.Body.Close()
	}
	return err
}

// TestFaultAnswers: faults that answer something else.
func TestFaultAnswers(t *testing.T) {
	t.Parallel()
	s := newLab(t, 10)
	write := func() asked { return ask(t, s, "PUT", productPath(10), m{"inventory_delta": -1}) }
	for _, tc := range []struct {
		fault  Fault
		status int
		html   bool
		left   float64
	}{
		{Fault{Kind: FaultStatus, Status: 429, RetryAfter: 7}, 429, true, 100},
		{Fault{Kind: FaultStatus, Status: 502}, 502, true, 100},
		{Fault{Kind: FaultStatus, Status: 504}, 504, true, 100},
		{Fault{Kind: FaultHTML}, 200, true, 100},
		{Fault{Kind: FaultMaintenance}, 503, false, 100},
		{Fault{Kind: FaultFatal}, 500, false, 99},
	} {
		tc.fault.Times = 1
		must(t, s.EditStock("SKU-0001", 100))
		s.Inject(tc.fault)
		a := write().is(tc.status)
		if html := strings.HasPrefix(a.header.Get("Content-Type"), "text/html"); html != tc.html {
			t.Errorf("%s: content type %s", tc.fault.Kind, a.header.Get("Content-Type"))
		}
		if tc.fault.RetryAfter > 0 && a.header.Get("Retry-After") != "7" {
			t.Errorf("%s: Retry-After %q", tc.fault.Kind, a.header.Get("Retry-After"))
		}
		wantQuantity(t, s, "SKU-0001", tc.left)
		write().is(200) // once was enough
	}
	if n := s.FaultCount(FaultStatus); n != 3 {
		t.Errorf("%d status faults counted, want 3", n)
	}
	id := s.Inject(Fault{Kind: FaultStatus, Status: 500, Path: "/orders", Method: "GET"})
	write().is(200)
	ask(t, s, "GET", "/wp-json/wc/v3/orders", nil).is(500)
	s.Clear(id)
	ask(t, s, "GET", "/wp-json/wc/v3/orders", nil).is(200)
}

// TestCutConnections: the client sees the same break, the stock does not.
func TestCutConnections(t *testing.T) {
	t.Parallel()
	s := newLab(t, 10)
	for _, tc := range []struct {
		kind FaultKind
		left float64
	}{{FaultCutBefore, 100}, {FaultCutAfter, 99}} {
		s.Inject(Fault{Kind: tc.kind, Times: 1})
		if err := put(ctx0, t, s, -1); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: error %v", tc.kind, err)
		}
		wantQuantity(t, s, "SKU-0001", tc.left)
	}
	// The same over a real connection.
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	s.Inject(Fault{Kind: FaultCutAfter, Times: 1})
	req, err := http.NewRequest("PUT", srv.URL+productPath(10), strings.NewReader(`{"inventory_delta":-1}`))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Forwarded-Proto", "https")
	req.Header.Set("Authorization", basicAuth(testKey))
	if res, err := http.DefaultClient.Do(req); err == nil {
		_ = res.Body.Close()
		t.Errorf("a cut connection answered %s", res.Status)
	}
	wantQuantity(t, s, "SKU-0001", 98)
}

// TestOutlivesClient: a request goes on after its client gave up, and may land any time later.
func TestOutlivesClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{HomeURL: "https://store.example", Keys: []Key{testKey}, Pauses: Pauses{StepStart: 10 * time.Second}})
		defer s.Close()
		must(t, s.Seed(SeedOptions{Products: 1}))
		giveUp := func(after time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			return put(ctx, t, s, -1)
		}
		if err := giveUp(time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		wantQuantity(t, s, "SKU-0001", 100)
		time.Sleep(20 * time.Second)
		wantQuantity(t, s, "SKU-0001", 99) // slow by itself

		s.Inject(Fault{Kind: FaultWithhold, Delay: 99 * time.Second, Times: 1})
		start := time.Now()
		if err := giveUp(30 * time.Second); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 30*time.Second {
			t.Errorf("withheld: error %v after %v", err, time.Since(start))
		}
		time.Sleep(60 * time.Second)
		wantQuantity(t, s, "SKU-0001", 99)
		time.Sleep(60 * time.Second)
		wantQuantity(t, s, "SKU-0001", 98)

		s.Inject(Fault{Kind: FaultLate, Delay: -1, Times: 1})
		if err := giveUp(30 * time.Second); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("late: error %v", err)
		}
		time.Sleep(time.Hour)
		wantQuantity(t, s, "SKU-0001", 98)
		s.Land()
		s.Settle()
		wantQuantity(t, s, "SKU-0001", 97)

		s.Inject(Fault{Kind: FaultStall, Step: StepMeta, Delay: 99 * time.Second, Times: 1})
		_ = giveUp(20 * time.Second)
		time.Sleep(2 * time.Minute)
		wantQuantity(t, s, "SKU-0001", 96)
	})
}

// TestStaleReads: reads see old data until the fault is cleared; writes do not care.
func TestStaleReads(t *testing.T) {
	t.Parallel()
	s := newLab(t, 10)
	id := s.Inject(Fault{Kind: FaultStale})
	ask(t, s, "PUT", productPath(10), m{"stock_quantity": 5}).is(200)
	for _, path := range []string{productPath(10), "/wp-json/wc/v3/products?sku=SKU-0001"} {
		a := ask(t, s, "GET", path, nil).is(200)
		if !strings.Contains(string(a.raw), `"stock_quantity":100,`) {
			t.Errorf("%s is not stale", path)
		}
	}
	s.Clear(id)
	if got := ask(t, s, "GET", productPath(10), nil).at("stock_quantity"); got != 5.0 {
		t.Errorf("after the cache was emptied: %v, want 5", got)
	}
}

// TestBackup: a restored shop has its old stock, orders and markers; a clone is a shop of its own.
func TestBackup(t *testing.T) {
	t.Parallel()
	s := newLab(t, 10)
	first := buy(t, s, 10, 1)
	backup := s.Snapshot()
	buy(t, s, 10, 4)
	ask(t, s, "PUT", productPath(11), m{"meta_data": marker("late")}).is(200)

	clone := newLab(t, 0)
	must(t, clone.Restore(backup))
	wantQuantity(t, clone, "SKU-0001", 99)
	must(t, clone.Cancel(ctx0, first))
	wantQuantity(t, clone, "SKU-0001", 100)

	must(t, s.Restore(backup))
	wantQuantity(t, s, "SKU-0001", 99)
	if metas, _ := s.Metas("SKU-0002"); len(s.Orders()) != 1 || len(metas) != 0 {
		t.Errorf("restored: %d orders, metas %v", len(s.Orders()), metas)
	}
	if a := ask(t, s, "GET", "/wp-json/wc/v3/products?sku=sku-0001&orderby=modified", nil); a.at(0, "stock_quantity") != 99.0 {
		t.Errorf("the index of a restored shop is wrong: %s", a.raw)
	}
}

// TestOddities: fractions and a wrong clock.
func TestOddities(t *testing.T) {
	t.Parallel()
	s := newLab(t, 10)
	must(t, s.EditStock("SKU-0001", 2.5))
	if got := ask(t, s, "GET", productPath(10), nil).at("stock_quantity"); got != 2.0 {
		t.Errorf("without a plugin a fraction is cut: %v", got)
	}
	s.SetBehaviour(Behaviour{Fractions: true, ClockOffset: -time.Hour})
	a := ask(t, s, "GET", productPath(10), nil)
	if got := a.at("stock_quantity"); got != 2.5 {
		t.Errorf("with a plugin: %v, want 2.5", got)
	}
	date, err := http.ParseTime(a.header.Get("Date"))
	if want := s.o.Clock.Now().Add(-time.Hour).Truncate(time.Second); err != nil || !date.Equal(want) {
		t.Errorf("Date %v, want %v", date, want)
	}
	a = ask(t, s, "PUT", productPath(10), m{"inventory_delta": 1})
	if a.at("stock_quantity") != 3.5 || a.at("date_modified_gmt") != "2026-11-21T19:15:20" {
		t.Errorf("write with a wrong clock: %v, %v", a.at("stock_quantity"), a.at("date_modified_gmt"))
	}
}

// TestAccessLog: every request is there, without a credential, and no more than asked for.
func TestAccessLog(t *testing.T) {
	t.Parallel()
	s := newLab(t, 1, func(o *Options) { o.AccessLogSize = 3 })
	for range 4 {
		ask(t, s, "GET", "/wp-json/wc/v3/products", nil)
	}
	ask(t, s, "PUT", productPath(10), m{"stock_quantity": 1})
	ask(t, s, "GET", "/wp-json/wc/v3/products?consumer_key=ck_XXXX&per_page=1&consumer_secret=cs_XXXX", nil)
	list := s.AccessLog(0)
	if len(list) != 3 || list[2].Number != 6 {
		t.Fatalf("%d entries: %+v", len(list), list)
	}
	if e := list[1]; e.Method != "PUT" || e.Path != productPath(10) || string(e.Body) != `{"stock_quantity":1}` || e.Status != 200 {
		t.Errorf("the write is logged as %+v", e)
	}
	if q := list[2].Query; q != "consumer_key=x&per_page=1&consumer_secret=x" {
		t.Errorf("query logged as %s", q)
	}
	if after := s.AccessLog(5); len(after) != 1 {
		t.Errorf("%d entries after number 5", len(after))
	}
}

// TestAccessLogBytes: the bodies kept have a bound, the newest stay.
func TestAccessLogBytes(t *testing.T) {
	t.Parallel()
	l := accessLog{limit: 3000}
	body := make([]byte, maxLoggedBody)
	for range 5000 {
		l.add(Access{Body: body})
	}
	list := l.after(0)
	kept := 0
	for _, e := range list {
		kept += len(e.Body)
	}
	if len(list) != 3000 || kept != maxLoggedBodies || kept != l.bytes || !list[0].Dropped || list[2999].Dropped {
		t.Errorf("%d entries with %d bytes, want 3000 with %d", len(list), kept, maxLoggedBodies)
	}
}

// TestParallel: hundreds of orders and writes from many goroutines; the decrements of orders are exact.
func TestParallel(t *testing.T) {
	t.Parallel()
	s := newLab(t, 10, func(o *Options) { o.Workers = 8 })
	done := make(chan bool)
	for w := range 8 {
		go func() {
			defer func() { done <- true }()
			for i := range 25 {
				if w%2 == 0 {
					if _, err := s.PlaceOrder(ctx0, Line{SKU: "SKU-0001", Quantity: 1}); err != nil {
						t.Error(err)
					}
				} else {
					ask(t, s, "PUT", productPath(11), m{"inventory_delta": 1, "meta_data": marker("x")})
					ask(t, s, "GET", "/wp-json/wc/v3/products?modified_after=2026-01-01T00:00:00", nil)
				}
				if i%10 == 0 {
					s.Snapshot()
				}
			}
		}()
	}
	for range 8 {
		<-done
	}
	wantQuantity(t, s, "SKU-0001", 0)
}

package katana

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/engine"
)

// FuzzAnswers gives every method an arbitrary answer: it must not panic, must end, and must say a fault or
// something that makes sense.
func FuzzAnswers(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil || len(files) < 5 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		must(f, err)
		f.Add(200, raw, `{"total_records":5,"total_pages":1,"page":1}`, "60")
	}
	f.Add(429, []byte(``), "", "-1")
	f.Add(200, []byte(`{"data":[{"id":"1","variant_id":1e9,"location_id":{},"quantity_in_stock":"1e9","sales_order_rows":[null,{"variant_id":3}]}]}`), `{"total_records":"900","last_page":"false"}`, "0")
	f.Fuzz(func(t *testing.T, status int, body []byte, pages, rate string) {
		if status < 200 || status > 599 {
			status = 200
		}
		requests := 0
		c := cannedClient(t, roundTripper(func(r *http.Request) (*http.Response, error) {
			if requests++; requests > 10_000 {
				t.Fatal("requests without end")
			}
			if requests > 40 {
				return nil, io.ErrUnexpectedEOF
			}
			h := http.Header{"X-Pagination": {pages}, "X-Ratelimit-Remaining": {rate}, "X-Ratelimit-Reset": {rate}, "Retry-After": {rate}, "X-Ratelimit-Limit": {rate}}
			return canned{status: status, header: h, body: string(body)}.RoundTrip(r)
		}))
		check := func(err error) {
			t.Helper()
			var fault *engine.Fault
			if err != nil && (!errors.As(err, &fault) || fault.Reason == "" || fault.Message == "" || fault.RetryAfter < 0 || strings.Contains(fault.Message, testToken)) {
				t.Fatalf("%#v", err)
			}
		}
		ctx := t.Context()
		check(c.Health(ctx))
		_, err := c.Locations(ctx)
		check(err)
		_, err = c.Items(ctx, time.Time{})
		check(err)
		levels, err := c.Levels(ctx, "501", []string{"9001", "9002"})
		check(err)
		if err == nil && len(levels.Levels) != 2 {
			t.Fatalf("%+v", levels)
		}
		orders, err := c.OpenOrders(ctx, time.Time{})
		check(err)
		for _, o := range orders.Orders {
			if o.ID == "0" {
				t.Fatalf("%+v", o)
			}
		}
		_, err = c.OpenOrders(ctx, time.Unix(1_700_000_000, 0))
		check(err)
		_, err = c.Orders(ctx, []string{"8003"})
		check(err)
		_, err = c.Changes(ctx, "2026-01-12T09:00:00.000Z")
		check(err)
		_, err = c.Subscribe(ctx, hookURL)
		check(err)
		_, _ = c.VerifyEvent(engine.Subscription{Secret: "s"}, body, header(SignatureHeader, rate))
	})
}

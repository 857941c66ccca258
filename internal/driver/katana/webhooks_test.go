package katana

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/engine"
	sim "stocksync.dev/stocksync/internal/sim/katana"
)

const hookURL = "https://sync.example.com/webhooks/katana/hq"

func (l *lab) hooks() []webhook {
	l.t.Helper()
	got, err := l.c.webhooks(l.t.Context(), hookURL)
	must(l.t, err)
	return got
}

// TestSubscribe: one webhook, made once, mended when it is off or lacks events, and never two, even where the
// answer to its making was lost.
func TestSubscribe(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	ctx := t.Context()
	subscribe := func(repaired bool) engine.Subscription {
		t.Helper()
		s, err := l.c.Subscribe(ctx, hookURL)
		must(t, err)
		if s.Repaired != repaired || s.Secret == "" || s.ID == "" || len(l.hooks()) != 1 || l.hooks()[0].amiss() {
			t.Errorf("%+v, want repaired %v; webhooks %+v", s, repaired, l.hooks())
		}
		return s
	}
	first := subscribe(true)
	if again := subscribe(false); again.ID != first.ID || again.Secret != first.Secret {
		t.Errorf("another webhook: %+v, was %+v", again, first)
	}
	must(t, l.account.Disable(number(t, first.ID), true))
	subscribe(true)
	_, err := l.c.do(ctx, request{method: http.MethodPatch, path: "webhooks/" + first.ID, body: map[string]any{"subscribed_events": []string{"sales_order.created"}}})
	must(t, err)
	subscribe(true)
	_, err = l.c.do(ctx, request{method: http.MethodPost, path: "webhooks", body: map[string]any{"url": hookURL, "subscribed_events": Events}})
	must(t, err)
	_, err = l.c.do(ctx, request{method: http.MethodPost, path: "webhooks", body: map[string]any{"url": "https://others.example", "subscribed_events": Events}})
	must(t, err)
	if s := subscribe(true); s.ID != first.ID {
		t.Errorf("the newer one was kept: %+v", s)
	}
	must(t, l.c.Unsubscribe(ctx, hookURL))
	if len(l.hooks()) != 0 {
		t.Errorf("left are %+v", l.hooks())
	}
	if others, err := l.c.webhooks(ctx, "https://others.example"); err != nil || len(others) != 1 {
		t.Errorf("somebody else's webhook is gone: %v %v", others, err)
	}
	must(t, l.c.Unsubscribe(ctx, hookURL))
	l.account.Inject(sim.Fault{Kind: sim.FaultCutAfter, Method: "POST", Times: 1})
	if _, err := l.c.Subscribe(ctx, hookURL); faultOf(t, err).Reason != v1alpha1.ReasonUnreachable {
		t.Errorf("a lost answer: %v", err)
	}
	subscribe(false)
	if _, err := l.c.Subscribe(ctx, "http://sync.example.com"); faultOf(t, err).Reason != v1alpha1.ReasonWebhooksRefused || !strings.Contains(err.Error(), ".url pattern") {
		t.Errorf("a plain URL: %v", err)
	}
}

func header(name, value string) func(string) string {
	return func(n string) string {
		if strings.EqualFold(n, name) {
			return value
		}
		return ""
	}
}

// TestEvents: an account's own deliveries are believed, anybody else's are not.
func TestEvents(t *testing.T) {
	t.Parallel()
	var bodies [][]byte
	var signatures []string
	l := newLab(t, func(o *sim.Options) {
		o.WebhookTransport = roundTripper(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			bodies, signatures = append(bodies, body), append(signatures, r.Header.Get(SignatureHeader))
			return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
		})
	})
	location, ids := l.items(1)
	s, err := l.c.Subscribe(t.Context(), hookURL)
	must(t, err)
	events := func() []engine.SourceEvent {
		t.Helper()
		bodies, signatures = nil, nil
		l.account.DeliverWebhooks(context.Background())
		var out []engine.SourceEvent
		for i, body := range bodies {
			e, err := l.c.VerifyEvent(s, body, header("X-Sha2-Signature", signatures[i]))
			must(t, err)
			out = append(out, e)
		}
		return out
	}
	must(t, l.account.Adjust(number(t, ids[0]), number(t, location), sim.Units(1)))
	id, err := l.account.CreateOrder(sim.NewOrder{Location: number(t, location), Rows: []sim.NewRow{{Variant: number(t, ids[0]), Quantity: sim.Units(1)}}})
	must(t, err)
	order := sim.Units(id).String()[:len(sim.Units(id).String())-6]
	if got := events(); !slices.Equal(got, []engine.SourceEvent{{Item: ids[0]}, {Order: order}}) {
		t.Errorf("events %+v", got)
	}
	l.account.SetBehaviour(sim.Behaviour{SignaturePrefix: true})
	must(t, l.account.SetSKU(number(t, ids[0]), nil))
	must(t, l.account.DeleteOrder(id))
	if got := events(); !slices.Equal(got, []engine.SourceEvent{{Item: ids[0]}, {Order: order}}) {
		t.Errorf("events %+v", got)
	}
	good := signatures[0]
	for name, tc := range map[string]struct {
		s    engine.Subscription
		body string
		sent string
	}{
		"another body":   {s, `{"action":"sales_order.created"}`, good},
		"another secret": {engine.Subscription{Secret: "x"}, string(bodies[0]), good},
		"no secret":      {engine.Subscription{}, string(bodies[0]), sim.Signature("", bodies[0])},
		"no signature":   {s, string(bodies[0]), ""},
		"cut":            {s, string(bodies[0]), good[:20]},
		"no hex":         {s, string(bodies[0]), "sha256=zz"},
		"no object":      {s, `[]`, sim.Signature(s.Secret, []byte(`[]`))},
	} {
		if e, err := l.c.VerifyEvent(tc.s, []byte(tc.body), header(SignatureHeader, tc.sent)); err == nil || e != (engine.SourceEvent{}) || strings.Contains(err.Error(), s.Secret) {
			t.Errorf("%s: %+v %v", name, e, err)
		}
	}
	body := bodies[0]
	if _, err := l.c.VerifyEvent(s, body, header(SignatureHeader, strings.ToUpper(sim.Signature(s.Secret, body)))); err != nil {
		t.Errorf("in capitals: %v", err)
	}
}

// TestFixtureEvent: the documented event and the documented answer about a webhook.
func TestFixtureEvent(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("testdata", "webhook-event-sales-order-updated.json"))
	must(t, err)
	made, err := os.ReadFile(filepath.Join("testdata", "webhook-create-response.json"))
	must(t, err)
	w, err := decode[webhook](answer{body: made})
	must(t, err)
	c := cannedClient(t, canned{})
	e, err := c.VerifyEvent(engine.Subscription{Secret: string(w.Token)}, raw, header(SignatureHeader, sim.Signature("0123456789abcdef", raw)))
	if err != nil || e != (engine.SourceEvent{Order: "8001"}) {
		t.Errorf("%+v %v", e, err)
	}
	for body, want := range map[string]engine.SourceEvent{
		`{"action":"current_inventory.product_updated","object":{"id":7,"variant_id":"9"}}`: {Item: "9"},
		`{"action":"current_inventory.product_updated","object":{"id":"7"}}`:                {Item: "7"},
		`{"action":"current_inventory.product_updated","object":{}}`:                        {},
		`{"action":"purchase_order.created","object":{"id":7}}`:                             {},
	} {
		e, err := c.VerifyEvent(engine.Subscription{Secret: "s"}, []byte(body), header(SignatureHeader, sim.Signature("s", []byte(body))))
		if err != nil || e != want {
			t.Errorf("%s: %+v %v", body, e, err)
		}
	}
}

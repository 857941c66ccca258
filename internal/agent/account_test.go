package agent

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"stocksync.dev/stocksync/internal/driver/katana"
	"stocksync.dev/stocksync/internal/engine"
	simkatana "stocksync.dev/stocksync/internal/sim/katana"
)

// into serves requests by a handler, wherever they were meant to go.
type into struct{ http.Handler }

func (h into) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

const publicKatana = "https://sync.example.com/webhooks/katana/erp"

// newErp is a simulated account whose webhooks come in at the inboxes, and a client of it.
func newErp(t *testing.T, in *inboxes) (*simkatana.Account, *account) {
	t.Helper()
	clock := newFastClock()
	sim := simkatana.New(simkatana.Options{Clock: clock, Keys: []string{"token"}, WebhookTransport: into{in}})
	c, err := katana.New(katana.Options{Token: "token", Budgets: katana.NewBudgets(clock), HTTP: sim.Transport(), Clock: clock, Log: in.log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	erp := &account{Source: c}
	in.configure(map[string]bool{"fr": false, "erp": false}, map[string]*account{"erp": erp})
	return sim, erp
}

// TestKatanaDeliveries: Katana's webhook is registered once and mended, what it announces becomes hints, and nobody
// else can give any.
func TestKatanaDeliveries(t *testing.T) {
	t.Parallel()
	in := newInboxes()
	sim, erp := newErp(t, in)
	location, item := sim.AddLocation("Here"), sim.AddProduct("A")
	post := func(path, signature, body string) int {
		r := httptest.NewRequest(http.MethodPost, "http://agent"+path, strings.NewReader(body))
		r.Header.Set(katana.SignatureHeader, signature)
		return in.send(r).Code
	}
	// An agent that has just started does not know the token yet: Katana sends it again.
	if got := post("/webhooks/katana/erp", "00", `{}`); got != http.StatusServiceUnavailable {
		t.Errorf("before the webhook is known: %d", got)
	}
	if repairs, err := erp.EnsureWebhooks(t.Context(), publicKatana, ""); err != nil || len(repairs) != 1 {
		t.Fatalf("made: %v %v", repairs, err)
	}
	if repairs, err := erp.EnsureWebhooks(t.Context(), publicKatana, ""); err != nil || len(repairs) != 0 {
		t.Errorf("in place: %v %v", repairs, err)
	}
	if err := sim.Adjust(item, location, simkatana.Units(5)); err != nil {
		t.Fatal(err)
	}
	order, err := sim.CreateOrder(simkatana.NewOrder{Location: location, Rows: []simkatana.NewRow{{Variant: item, Quantity: simkatana.Units(2)}}})
	if err != nil {
		t.Fatal(err)
	}
	sim.DeliverWebhooks(t.Context())
	id, orderID := strconv.FormatInt(item, 10), strconv.FormatInt(order, 10)
	if want := []string{"erp{Item:" + id + " Order:}", "erp{Item: Order:" + orderID + "}"}; !slices.Equal(in.hints, want) || in.counts["erp accepted"] != 2 || len(in.alive) != 2 {
		t.Errorf("hints %q, want %q; counted %v; alive %q", in.hints, want, in.counts, in.alive)
	}
	in.hints, in.alive = nil, nil
	body := `{"resource_type":"sales_order","action":"sales_order.updated","object":{"id":7}}`
	for name, got := range map[string]int{
		"another token":   post("/webhooks/katana/erp", simkatana.Signature("wrong", []byte(body)), body),
		"no signature":    post("/webhooks/katana/erp", "", body),
		"a shop's secret": post("/webhooks/katana/erp", WebhookSecret(testLedger, "erp"), body),
	} {
		if got != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, got)
		}
	}
	if got := post("/webhooks/woocommerce/erp", "", body); got != http.StatusNotFound {
		t.Errorf("at a shop's address: %d", got)
	}
	if got := post("/webhooks/katana/fr", "", body); got != http.StatusNotFound {
		t.Errorf("for a shop: %d", got)
	}
	if len(in.hints) > 0 || len(in.alive) > 0 {
		t.Errorf("forged hints %q, alive %q", in.hints, in.alive)
	}

	sim.DropWebhooks()
	if repairs, err := erp.EnsureWebhooks(t.Context(), publicKatana, ""); err != nil || len(repairs) != 1 {
		t.Errorf("mended: %v %v", repairs, err)
	}
	if err := erp.RemoveWebhooks(t.Context(), publicKatana); err != nil {
		t.Fatal(err)
	}
	in.hints = nil
	_ = sim.Adjust(item, location, simkatana.Units(1))
	sim.DeliverWebhooks(t.Context())
	if len(in.hints) > 0 {
		t.Errorf("hints of a webhook that was removed: %q", in.hints)
	}
}

// A refused webhook is a fault, and the subscription that works stays in use.
func TestKatanaWebhookOutage(t *testing.T) {
	t.Parallel()
	in := newInboxes()
	sim, erp := newErp(t, in)
	if _, err := erp.EnsureWebhooks(t.Context(), publicKatana, ""); err != nil {
		t.Fatal(err)
	}
	sim.Inject(simkatana.Fault{Kind: simkatana.FaultStatus, Status: 500})
	var f *engine.Fault
	if _, err := erp.EnsureWebhooks(context.Background(), publicKatana, ""); !errors.As(err, &f) {
		t.Errorf("an outage: %v", err)
	}
	location, item := sim.AddLocation("Here"), sim.AddProduct("A")
	_ = sim.Adjust(item, location, simkatana.Units(1))
	if sim.DeliverWebhooks(t.Context()); len(in.hints) == 0 {
		t.Error("hints are lost while the webhook cannot be looked at")
	}
}

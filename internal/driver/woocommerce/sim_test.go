package woocommerce

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/engine"
	sim "stocksync.dev/stocksync/internal/sim/woocommerce"
	"stocksync.dev/stocksync/internal/stock"
)

// clock stands still until somebody waits by it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return ctx.Err()
}

// simulated is a faithful store and a client of it.
func simulated(t *testing.T, change ...func(*sim.Options)) (*Client, *sim.Store, *clock) {
	t.Helper()
	ck := &clock{now: testTime}
	o := sim.Options{HomeURL: "https://store.example", Clock: ck, Seed: 7, Keys: []sim.Key{
		{ConsumerKey: testKey, ConsumerSecret: testSecret},
		{ConsumerKey: "ck_read", ConsumerSecret: "cs_read", Permission: sim.Read},
		{ConsumerKey: "ck_blind", ConsumerSecret: "cs_blind", NoOrders: true},
	}}
	for _, f := range change {
		f(&o)
	}
	s := sim.New(o)
	t.Cleanup(s.Close)
	if err := s.Seed(sim.SeedOptions{Products: 230}); err != nil {
		t.Fatal(err)
	}
	return clientOf(t, s, o.Clock.Now, testKey, testSecret), s, ck
}

func clientOf(t *testing.T, s *sim.Store, now func() time.Time, key, secret string) *Client {
	t.Helper()
	c, err := New(Options{URL: "https://store.example/", ConsumerKey: key + "\n", ConsumerSecret: secret, StoreID: "fr", HTTP: s.Transport(), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// refOf finds where the stock of a SKU is held.
func refOf(t *testing.T, s *sim.Store, sku string) stock.Ref {
	t.Helper()
	it, err := s.Item(sku)
	if err != nil {
		t.Fatal(err)
	}
	if it.ParentID != 0 {
		return stock.Ref{Product: it.ParentID, Variation: it.ID}
	}
	return stock.Ref{Product: it.ID}
}

func pushOf(ref stock.Ref, units, attempt int64) engine.Push {
	return engine.Push{Ref: ref, Units: units, Slot: int(attempt % stock.Slots),
		Marker: stock.Marker{Ledger: "ledger", Pool: 1, Store: "fr", Product: ref.Object(), Attempt: attempt, At: testTime}}
}

func TestSimulatedCatalogue(t *testing.T) {
	t.Parallel()
	c, s, _ := simulated(t)
	got := map[string]engine.Item{}
	for _, it := range readAll(t, func(cursor string) (engine.Page, error) { return c.Catalogue(context.Background(), cursor) }) {
		for _, sku := range it.SKUs {
			if _, twice := got[sku]; twice {
				t.Errorf("%s came twice", sku)
			}
			got[sku] = it
		}
	}
	for _, it := range s.Items() {
		g, there := got[it.SKU]
		switch {
		case it.SKU == "" || it.Kind == sim.External || it.Kind == sim.Grouped:
			if there {
				t.Errorf("%q should be passed over: %+v", it.SKU, g)
			}
		case !there:
			t.Errorf("%s is missing", it.SKU)
		case it.Quantity == nil:
			if g.Managed != engine.Unmanaged {
				t.Errorf("%s: %+v", it.SKU, g)
			}
		case g.Quantity != int64(*it.Quantity) || (g.Managed == engine.Shared) != (strings.HasPrefix(it.SKU, "VAR-4") || strings.HasPrefix(it.SKU, "VAR-5")):
			t.Errorf("%s: %+v", it.SKU, g)
		case !g.Modified.Equal(it.Modified.Truncate(time.Second)) && g.Managed == engine.Own:
			t.Errorf("%s: modified %v, want %v", it.SKU, g.Modified, it.Modified)
		}
	}
	if len(got) < 240 {
		t.Errorf("%d SKUs", len(got))
	}
}

func TestSimulatedPush(t *testing.T) {
	t.Parallel()
	c, s, _ := simulated(t)
	simple, own, shared := refOf(t, s, "SKU-0001"), refOf(t, s, "VAR-1-S"), refOf(t, s, "VAR-4")
	byParent, unmanaged := refOf(t, s, "VAR-4-S"), refOf(t, s, "NM-1")
	r := c.Push(context.Background(), []engine.Push{
		pushOf(simple, -3, 1), pushOf(own, 4, 2), pushOf(shared, 5, 3), pushOf(byParent, 1, 4), pushOf(unmanaged, 1, 5), pushOf(stock.Ref{Product: 99999}, 1, 6),
	})
	var got []string
	for _, r := range r {
		if r.Gone {
			got = append(got, "gone")
			continue
		}
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		got = append(got, strings.Join(strings.Fields(brief([]engine.Item{*r.Item})[0])[1:], " "))
	}
	// Where the shop ignored the quantity it kept the marker all the same: that item manages nothing.
	equal(t, "answers", got, []string{"SKU-0001 own 97", "VAR-1-S own 24", "VAR-4 shared 55", "VAR-4-S unmanaged 0", "NM-1 unmanaged 0", "gone"})
	p, err := c.Read(context.Background(), []stock.Ref{simple, own, shared})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "read", len(p.Items), 3)
	for i, want := range []engine.Push{pushOf(simple, 97, 1), pushOf(own, 24, 2), pushOf(shared, 55, 3)} {
		at := slices.IndexFunc(p.Items, func(it engine.Item) bool { return it.Ref == want.Ref })
		if at < 0 || p.Items[at].Quantity != want.Units || p.Items[at].Markers[want.Slot] != want.Marker {
			t.Errorf("%d: %+v", i, p.Items)
		}
	}
	if q, _ := s.Quantity("VAR-4-M"); q != 55 {
		t.Errorf("VAR-4-M shows %v", q)
	}
}

// TestSimulatedForget: our fields go, and nothing else changes.
func TestSimulatedForget(t *testing.T) {
	t.Parallel()
	c, s, _ := simulated(t)
	ctx := context.Background()
	refs := []stock.Ref{refOf(t, s, "SKU-0001"), refOf(t, s, "VAR-1-S"), refOf(t, s, "VAR-4"), refOf(t, s, "SKU-0002")}
	c.Push(ctx, []engine.Push{pushOf(refs[0], -3, 1), pushOf(refs[1], 4, 2), pushOf(refs[2], 5, 3)})
	c.Push(ctx, []engine.Push{pushOf(refs[0], 1, 4)})
	before, err := c.Read(ctx, refs)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Forget(ctx, append(refs, stock.Ref{Product: 99999}, stock.Ref{Product: 99998, Variation: 99999})); err != nil {
		t.Fatal(err)
	}
	after, err := c.Read(ctx, refs)
	if err != nil || len(after.Items) != len(refs) {
		t.Fatalf("%+v, %v", after, err)
	}
	for i, it := range after.Items {
		if it.Markers != (stock.Markers{}) || it.Quantity != before.Items[i].Quantity {
			t.Errorf("was %+v, is %+v", before.Items[i], it)
		}
	}
	if err := clientOf(t, s, func() time.Time { return testTime }, "ck_read", "cs_read").Forget(ctx, refs); err == nil {
		t.Error("a key that may not write removed markers")
	}
}

// TestSimulatedPushOfAMarkerAlone: it leaves its mark and touches no quantity.
func TestSimulatedPushOfAMarkerAlone(t *testing.T) {
	t.Parallel()
	c, s, _ := simulated(t)
	ref := refOf(t, s, "SKU-0001")
	push := pushOf(ref, 0, 1)
	r := c.Push(context.Background(), []engine.Push{push})
	if r[0].Err != nil || r[0].Item.Quantity != 100 || r[0].Item.Markers[push.Slot] != push.Marker {
		t.Errorf("%+v", r[0])
	}
	log := s.AccessLog(0)
	if body := string(log[len(log)-1].Body); strings.Contains(body, "inventory_delta") {
		t.Errorf("it sent %s", body)
	}
}

// TestSimulatedOddStores: shops that ignore the relative update, or hold halves.
func TestSimulatedOddStores(t *testing.T) {
	t.Parallel()
	c, s, _ := simulated(t)
	ref := refOf(t, s, "SKU-0001")
	s.SetBehaviour(sim.Behaviour{IgnoreDelta: true})
	r := c.Push(context.Background(), []engine.Push{pushOf(ref, -3, 1)})[0]
	if r.Err != nil || r.Item.Quantity != 100 || r.Item.Markers[1].Attempt != 1 {
		t.Errorf("ignored: %+v, %+v", r, r.Item)
	}
	s.SetBehaviour(sim.Behaviour{Fractions: true})
	if err := s.EditStock("SKU-0001", 2.5); err != nil {
		t.Fatal(err)
	}
	p, err := c.Read(context.Background(), []stock.Ref{ref})
	if err != nil || !p.Items[0].Fractional {
		t.Errorf("halves: %+v, %v", p, err)
	}
	s.SetBehaviour(sim.Behaviour{ClockOffset: -10 * time.Minute})
	if p, err = c.Read(context.Background(), []stock.Ref{ref}); err != nil || !p.Window.To.Before(testTime.Add(-9*time.Minute)) || c.Skew() > -9*time.Minute {
		t.Errorf("wrong clock: window %v, skew %v, %v", p.Window, c.Skew(), err)
	}
}

func TestSimulatedUnansweredWrites(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault  sim.Fault
		reason string
		unsent bool
		// quantity and marker are what the shop shows afterwards.
		quantity float64
		marker   bool
	}{
		"cut before":     {sim.Fault{Kind: sim.FaultCutBefore}, v1alpha1.ReasonUnreachable, false, 100, false},
		"cut after":      {sim.Fault{Kind: sim.FaultCutAfter}, v1alpha1.ReasonUnreachable, false, 93, true},
		"fatal":          {sim.Fault{Kind: sim.FaultFatal}, v1alpha1.ReasonServerError, false, 93, true},
		"captcha":        {sim.Fault{Kind: sim.FaultHTML}, v1alpha1.ReasonUnexpectedContent, false, 100, false},
		"maintenance":    {sim.Fault{Kind: sim.FaultMaintenance}, v1alpha1.ReasonMaintenance, false, 100, false},
		"rate limit":     {sim.Fault{Kind: sim.FaultStatus, Status: 429, RetryAfter: 9}, v1alpha1.ReasonRateLimited, true, 100, false},
		"overload":       {sim.Fault{Kind: sim.FaultStatus, Status: 503, RetryAfter: 9}, v1alpha1.ReasonServerError, false, 100, false},
		"php dies":       {sim.Fault{Kind: sim.FaultDie, Step: sim.StepMeta}, v1alpha1.ReasonServerError, false, 100, true},
		"php dies later": {sim.Fault{Kind: sim.FaultDie, Step: sim.StepAnswer}, v1alpha1.ReasonServerError, false, 93, true},
	} {
		c, s, _ := simulated(t)
		tc.fault.Writes, tc.fault.Times = true, 1
		s.Inject(tc.fault)
		r := c.Push(context.Background(), []engine.Push{pushOf(refOf(t, s, "SKU-0001"), -7, 1)})[0]
		s.Settle()
		f := faultOf(t, r.Err)
		if f.Reason != tc.reason || f.Unsent != tc.unsent {
			t.Errorf("%s: %+v", name, f)
		}
		if tc.fault.RetryAfter > 0 && f.RetryAfter != 9*time.Second {
			t.Errorf("%s: wait %v", name, f.RetryAfter)
		}
		metas, _ := s.Metas("SKU-0001")
		q, _ := s.Quantity("SKU-0001")
		if q != tc.quantity || (metas["_stocksync_1"] != "") != tc.marker {
			t.Errorf("%s: the shop shows %v with metas %v", name, q, metas)
		}
	}
}

// TestSimulatedLateLanding: a request given up after 30 seconds lands later, and shows itself by its marker.
func TestSimulatedLateLanding(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s, _ := simulated(t, func(o *sim.Options) { o.Clock = sim.SystemClock{} })
		ref := refOf(t, s, "SKU-0001")
		s.Inject(sim.Fault{Kind: sim.FaultWithhold, Writes: true, Times: 1, Delay: -1})
		sent := time.Now()
		r := c.Push(context.Background(), []engine.Push{pushOf(ref, -7, 1)})[0]
		if f := faultOf(t, r.Err); f.Reason != v1alpha1.ReasonTimeout || f.Unsent || time.Since(sent) != DefaultTimeout {
			t.Errorf("%+v after %v", f, time.Since(sent))
		}
		read := func() engine.Item {
			p, err := c.Read(context.Background(), []stock.Ref{ref})
			if err != nil || len(p.Items) != 1 {
				t.Fatalf("%+v, %v", p, err)
			}
			return p.Items[0]
		}
		if it := read(); it.Quantity != 100 || it.Markers != (stock.Markers{}) {
			t.Errorf("before it lands: %+v", it)
		}
		s.Land()
		s.Settle()
		if it := read(); it.Quantity != 93 || it.Markers[1].Attempt != 1 {
			t.Errorf("after it landed: %+v", it)
		}
	})
}

func TestSimulatedKeys(t *testing.T) {
	t.Parallel()
	_, s, ck := simulated(t)
	ctx := context.Background()
	push := func(c *Client) string {
		r := c.Push(ctx, []engine.Push{pushOf(stock.Ref{Product: 10}, 1, 1)})
		f := faultOf(t, r[0].Err)
		if !f.Unsent {
			t.Errorf("a refused write counts as sent: %+v", f)
		}
		return f.Reason
	}
	readOnly := clientOf(t, s, ck.Now, "ck_read", "cs_read")
	if err := reach(ctx, readOnly); err != nil {
		t.Error(err)
	}
	equal(t, "read-only key", push(readOnly), v1alpha1.ReasonReadOnlyKey)
	wrong := clientOf(t, s, ck.Now, testKey, "cs_wrong")
	equal(t, "wrong secret, probed", faultOf(t, reach(ctx, wrong)).Reason, v1alpha1.ReasonAuthenticationFailed)
	equal(t, "wrong secret, pushed", push(wrong), v1alpha1.ReasonAuthenticationFailed)
	equal(t, "unknown key", push(clientOf(t, s, ck.Now, "ck_unknown", "cs")), v1alpha1.ReasonAuthenticationFailed)
	blind := clientOf(t, s, ck.Now, "ck_blind", "cs_blind")
	_, err := blind.Orders(ctx, engine.OrderQuery{})
	equal(t, "key without orders", faultOf(t, err).Reason, v1alpha1.ReasonOrdersUnreadable)
	s.SetBehaviour(sim.Behaviour{NoWooCommerce: true})
	equal(t, "WooCommerce switched off, probed", faultOf(t, reach(ctx, blind)).Reason, v1alpha1.ReasonWooCommerceMissing)
	equal(t, "WooCommerce switched off, pushed", push(blind), v1alpha1.ReasonWooCommerceMissing)
}

// TestSimulatedChanges: what shoppers do shows in Modified and Orders, of the very second asked for, in a shop
// two hours from UTC.
func TestSimulatedChanges(t *testing.T) {
	t.Parallel()
	c, s, ck := simulated(t)
	ctx := context.Background()
	_ = ck.Sleep(ctx, time.Hour)
	since := ck.Now()
	o, err := s.PlaceOrder(ctx, sim.Line{SKU: "SKU-0007", Quantity: 2}, sim.Line{SKU: "VAR-1-M", Quantity: 3}, sim.Line{SKU: "VAR-4-M", Quantity: 4})
	if err != nil {
		t.Fatal(err)
	}
	modified := func(from time.Time) []string {
		items := readAll(t, func(cursor string) (engine.Page, error) { return c.Modified(ctx, from, cursor) })
		var out []string
		for _, b := range brief(items) {
			out = append(out, strings.Join(strings.Fields(b)[1:], " "))
		}
		return out
	}
	for _, want := range []string{"SKU-0007 own 98", "VAR-1-M own 17", "VAR-4+VAR-4-S+VAR-4-M+VAR-4-L shared 46"} {
		if !slices.Contains(modified(since), want) {
			t.Errorf("%q is not among %q", want, modified(since))
		}
	}
	if got := modified(since.Add(time.Second)); len(got) != 0 {
		t.Errorf("a second later: %q", got)
	}
	orders := func(q engine.OrderQuery) map[int64][]int64 {
		p, err := c.Orders(ctx, q)
		if err != nil || p.Next != "" {
			t.Fatal(p.Next, err)
		}
		out := map[int64][]int64{}
		for _, o := range p.Orders {
			for _, l := range o.Lines {
				out[o.ID] = append(out[o.ID], l.Units)
			}
		}
		return out
	}
	equal(t, "the order", orders(engine.OrderQuery{Since: since}), map[int64][]int64{o.ID: {2, 3, 4}})
	_ = ck.Sleep(ctx, time.Minute)
	equal(t, "no order since", orders(engine.OrderQuery{Since: ck.Now()}), map[int64][]int64{})
	if err := s.Refund(ctx, o.ID, map[int64]int64{o.Lines[2].ID: 1}, true); err != nil {
		t.Fatal(err)
	}
	equal(t, "a refund", orders(engine.OrderQuery{Since: ck.Now()}), map[int64][]int64{o.ID: {2, 3, 3}})
	if err := s.TrashOrder(o.ID); err != nil {
		t.Fatal(err)
	}
	equal(t, "trashed, among the others", orders(engine.OrderQuery{IDs: []int64{o.ID}}), map[int64][]int64{})
	equal(t, "trashed", orders(engine.OrderQuery{IDs: []int64{o.ID}, Trashed: true}), map[int64][]int64{o.ID: {2, 3, 3}})

	refs := []stock.Ref{refOf(t, s, "SKU-0007"), refOf(t, s, "VAR-1-M"), refOf(t, s, "SKU-0008")}
	for _, sku := range []string{"SKU-0007", "VAR-1-M"} {
		if err := s.Delete(ctx, sku, sku != "SKU-0007"); err != nil {
			t.Fatal(err)
		}
	}
	p, err := c.Read(ctx, refs)
	if err != nil || len(p.Items) != 1 || len(p.Gone) != 2 {
		t.Errorf("trashed and deleted: %+v, %v", p, err)
	}
}

func TestSimulatedWebhooks(t *testing.T) {
	t.Parallel()
	const secret = "webhook-secret"
	var mu sync.Mutex
	var got []Delivery
	failing := false
	receiver := transportFunc(func(r *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		status := 200
		if failing {
			status = 500
		}
		d, err := ParseDelivery(r.Header, body)
		if err != nil || r.URL.String() != deliveryURL {
			t.Errorf("%s: %v", r.URL, err)
		}
		if !d.Ping && !VerifySignature(secret, body, r.Header.Get(SignatureHeader)) {
			t.Errorf("signature of %+v", d)
		}
		got = append(got, d)
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	})
	c, s, _ := simulated(t, func(o *sim.Options) { o.WebhookTransport = receiver })
	ctx := context.Background()
	ensure := func() []Repair {
		t.Helper()
		r, err := c.EnsureWebhooks(ctx, deliveryURL, secret)
		if err != nil {
			t.Fatal(err)
		}
		s.Settle()
		return r
	}
	equal(t, "made", len(ensure()), len(Topics))
	equal(t, "settled", len(ensure()), 0)
	for _, d := range got {
		if !d.Ping {
			t.Errorf("%+v before anything happened", d)
		}
	}
	got = nil
	if _, err := s.PlaceOrder(ctx, sim.Line{SKU: "VAR-1-M", Quantity: 1}); err != nil {
		t.Fatal(err)
	}
	s.DeliverWebhooks(ctx)
	ref := refOf(t, s, "VAR-1-M")
	for _, want := range []Delivery{
		{Topic: "product.updated", Object: ref.Variation, Parent: ref.Product},
		{Topic: "action.woocommerce_updated_product_stock", Object: ref.Variation},
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%+v is not among %+v", want, got)
		}
	}
	failing = true
	for n := range 8 {
		if err := s.EditStock("SKU-0001", float64(n)); err != nil {
			t.Fatal(err)
		}
		s.DeliverWebhooks(ctx)
	}
	failing = false
	if r := ensure(); !slices.Contains(r, Repair{"product.updated", Disabled}) {
		t.Errorf("after eight failures: %v", r)
	}
	// One more failure must not disable it again at once.
	failing = true
	if err := s.EditStock("SKU-0001", 50); err != nil {
		t.Fatal(err)
	}
	s.DeliverWebhooks(ctx)
	equal(t, "after one more failure", len(ensure()), 0)
	s.DeleteWebhook(s.Webhooks()[0].ID)
	equal(t, "after somebody deleted one", len(ensure()), 1)
	if err := c.RemoveWebhooks(ctx, deliveryURL); err != nil || len(s.Webhooks()) != 0 {
		t.Errorf("%v, %+v", err, s.Webhooks())
	}
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestSimulatedHealth(t *testing.T) {
	t.Parallel()
	c, _, _ := simulated(t)
	if err := reach(context.Background(), c); err != nil {
		t.Error(err)
	}
	if v, err := c.Versions(context.Background()); err != nil || v != (Versions{WooCommerce: "9.9.5", WordPress: "6.9"}) {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestOnlyWhatIsAllowedTravels does all a client does and looks at the shop's access log: reads name the few
// fields asked for, and writes hold relative quantities, markers and our webhooks only.
func TestOnlyWhatIsAllowedTravels(t *testing.T) {
	t.Parallel()
	c, s, _ := simulated(t)
	ctx := context.Background()
	if _, err := s.PlaceOrder(ctx, sim.Line{SKU: "SKU-0001", Quantity: 1}); err != nil {
		t.Fatal(err)
	}
	c.Probe(ctx)
	_, _ = c.Versions(ctx)
	readAll(t, func(cursor string) (engine.Page, error) { return c.Catalogue(ctx, cursor) })
	readAll(t, func(cursor string) (engine.Page, error) { return c.Modified(ctx, testTime.Add(-time.Hour), cursor) })
	_, _ = c.Orders(ctx, engine.OrderQuery{Since: testTime})
	_, _ = c.Orders(ctx, engine.OrderQuery{Trashed: true})
	_, _ = c.Orders(ctx, engine.OrderQuery{IDs: []int64{1, 2}})
	_, _ = c.Read(ctx, []stock.Ref{refOf(t, s, "SKU-0001"), refOf(t, s, "VAR-1-S"), refOf(t, s, "VAR-4")})
	c.Push(ctx, []engine.Push{pushOf(refOf(t, s, "SKU-0001"), 1, 1), pushOf(refOf(t, s, "VAR-1-S"), 1, 2)})
	c.Push(ctx, []engine.Push{pushOf(refOf(t, s, "SKU-0001"), 0, 3)})
	if err := c.Forget(ctx, []stock.Ref{refOf(t, s, "SKU-0001"), refOf(t, s, "VAR-1-S")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.EnsureWebhooks(ctx, deliveryURL, "s"); err != nil {
		t.Fatal(err)
	}
	_ = c.RemoveWebhooks(ctx, deliveryURL)

	fields := map[string]string{"products": productFields + " id", "variations": productFields, "orders": orderFields + " id", "webhooks": "id,name,status,topic,delivery_url",
		"system_status": "environment.version,environment.wp_version", "v3": "namespace"}
	item := regexp.MustCompile(`^\{"id":\d+,("inventory_delta":-?[1-9]\d*,)?"meta_data":\[(\{"key":"_stocksync_[0-3]","value":("v1:[^"]*"|null)\},?)+\]\}$`)
	kinds := map[string]int{}
	for _, a := range s.AccessLog(0) {
		path := strings.TrimSuffix(a.Path, "/")
		last := path[strings.LastIndex(path, "/")+1:]
		switch {
		case a.Method == http.MethodGet:
			q, _ := url.ParseQuery(a.Query)
			if !slices.Contains(strings.Fields(fields[last]), q.Get("_fields")) {
				t.Errorf("GET %s asks for %q", path, q.Get("_fields"))
			}
		case a.Method == http.MethodPost && last == "batch":
			var b map[string][]json.RawMessage
			if err := json.Unmarshal(a.Body, &b); err != nil || len(b) != 1 {
				t.Errorf("%s: %s", path, a.Body)
			}
			for _, u := range b["update"] {
				if !item.Match(u) {
					t.Errorf("%s writes %s", path, u)
				}
			}
		case a.Method == http.MethodPost && last == "webhooks":
			var w map[string]string
			if err := json.Unmarshal(a.Body, &w); err != nil || w["delivery_url"] != deliveryURL || !slices.Contains(Topics, w["topic"]) {
				t.Errorf("webhook %s", a.Body)
			}
		case a.Method == http.MethodDelete && strings.Contains(path, "/webhooks/"):
		default:
			t.Errorf("%s %s", a.Method, path)
		}
		kinds[fmt.Sprint(a.Method, " ", regexp.MustCompile(`\d{2,}`).ReplaceAllString(path, "N"))]++
		if a.Status >= 400 {
			t.Errorf("%s %s?%s: %d", a.Method, path, a.Query, a.Status)
		}
	}
	if len(kinds) < 9 {
		t.Errorf("only %v", kinds)
	}
}

package katana

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// figures reads the four figures of a level through the API.
func shown(t testing.TB, a *Account, variant, location int64) string {
	t.Helper()
	for _, r := range ask(t, a, "GET", fmt.Sprintf("/inventory?variant_id=%d&location_id=%d", variant, location), "").rows(t) {
		return fmt.Sprintf("%s %s %s %s", r["quantity_in_stock"], r["quantity_committed"], r["quantity_expected"], r["quantity_missing_or_excess"])
	}
	return "no row"
}

// TestStock: what every action does to the figures at a location.
func TestStock(t *testing.T) {
	t.Parallel()
	a, _ := newAccount(func(o *Options) { o.Behaviour.RateLimit = -1 })
	here, there := a.AddLocation("Here"), a.AddLocation("There")
	v, part, kit := a.AddProduct("V"), a.AddProduct("PART"), int64(0)
	sku := "KIT"
	kit = a.AddItem(NewItem{Name: sku, SKU: &sku, Kit: true})
	a.AddPart(kit, part, Units(2))
	is := func(variant, location int64, want string) {
		t.Helper()
		if got := shown(t, a, variant, location); got != want {
			t.Errorf("in stock, committed, expected, missing: %s, want %s", got, want)
		}
	}
	is(v, here, "no row")
	must(t, a.Adjust(v, here, Units(10)))
	must(t, a.Adjust(part, here, Units(20)))
	must(t, a.Adjust(kit, here, 0))
	is(v, here, "10.00000 0.00000 0.00000 10.00000")
	order, err := a.CreateOrder(NewOrder{Location: here, Rows: []NewRow{{Variant: v, Quantity: Units(3)}, {Variant: v, Quantity: 50_000, Location: there}}})
	must(t, err)
	is(v, here, "10.00000 3.00000 0.00000 7.00000")
	must(t, a.Adjust(v, there, Units(-2)))
	is(v, there, "-2.00000 0.50000 0.00000 -2.50000")
	must(t, a.Pack(order, Units(1)))
	is(v, here, "9.00000 2.00000 0.00000 7.00000")
	must(t, a.Deliver(order))
	is(v, here, "7.00000 0.00000 0.00000 7.00000")
	is(v, there, "-2.50000 0.00000 0.00000 -2.50000")
	must(t, a.Unpack(order))
	is(v, here, "10.00000 3.00000 0.00000 7.00000")
	must(t, a.EditRow(order, 0, Units(4)))
	is(v, here, "10.00000 4.00000 0.00000 6.00000")
	must(t, a.DeleteOrder(order))
	is(v, here, "10.00000 0.00000 0.00000 10.00000")
	quote, err := a.CreateOrder(NewOrder{Location: here, Quote: true, Rows: []NewRow{{Variant: v, Quantity: Units(1)}}})
	must(t, err)
	is(v, here, "10.00000 0.00000 0.00000 10.00000")
	must(t, a.Confirm(quote))
	is(v, here, "10.00000 1.00000 0.00000 9.00000")
	must(t, a.Transfer(v, here, there, Units(5)))
	is(v, here, "5.00000 1.00000 0.00000 4.00000")

	// A kit that is ordered and neither in stock nor expected commits its parts, and ships them.
	web, err := a.CreateOrder(WebOrder(here, "shop", "1", NewRow{Variant: kit, Quantity: Units(3)}))
	must(t, err)
	is(kit, here, "0.00000 3.00000 0.00000 -3.00000")
	is(part, here, "20.00000 6.00000 0.00000 14.00000")
	mo := a.Make(kit, here, Units(2), nil)
	is(kit, here, "0.00000 3.00000 2.00000 -1.00000")
	is(part, here, "20.00000 6.00000 0.00000 14.00000")
	must(t, a.Finish(mo, Units(1)))
	is(kit, here, "1.00000 3.00000 1.00000 -1.00000")
	is(part, here, "18.00000 4.00000 0.00000 14.00000")
	must(t, a.CancelMake(mo))
	must(t, a.Deliver(web))
	is(part, here, "12.00000 0.00000 0.00000 12.00000")
	po := a.Purchase(v, here, Units(7))
	is(v, here, "5.00000 1.00000 7.00000 11.00000")
	must(t, a.Receive(po, Units(7)))
	is(v, here, "12.00000 1.00000 0.00000 11.00000")
	if rows := ask(t, a, "GET", "/inventory_movements?variant_ids="+strconv.FormatInt(v, 10), "").rows(t); rows[0]["balance_after"] != "12.00000" || rows[0]["quantity_change"] != "7.00000" {
		t.Errorf("last movement %v", rows[0])
	}

	// One SKU twice is nobody's business here; what is deleted is not listed.
	a.AddProduct("V")
	if rows := ask(t, a, "GET", "/variants?sku=V", "").rows(t); len(rows) != 2 {
		t.Errorf("SKU V stands on %d variants, want 2", len(rows))
	}
	must(t, a.Archive(part, true))
	is(part, here, "no row")
	must(t, a.DeleteVariant(kit))
	is(kit, here, "no row")
	must(t, a.DeleteLocation(here))
	is(v, here, "no row")
	if rows := ask(t, a, "GET", "/locations", "").rows(t); len(rows) != 1 {
		t.Errorf("%d locations are listed, want 1", len(rows))
	}
	if rows := ask(t, a, "GET", "/locations?include_deleted=true", "").rows(t); len(rows) != 2 || rows[1]["deleted_at"] == nil {
		t.Errorf("with deleted ones: %v", rows)
	}
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	a, clock := newAccount()
	for i := range 60 {
		if got := ask(t, a, "GET", "/locations", ""); got.status != 200 || got.header.Get("X-Ratelimit-Remaining") != strconv.Itoa(59-i) {
			t.Fatalf("request %d: %d, %v", i, got.status, got.header)
		}
	}
	clock.advance(20 * time.Second)
	over := ask(t, a, "GET", "/locations", "")
	if over.status != 429 || over.header.Get("Retry-After") != "40" || over.header.Get("X-Ratelimit-Limit") != "60" || over.header.Get("X-Ratelimit-Reset") != strconv.FormatInt(clock.Now().Add(40*time.Second).UnixMilli(), 10) {
		t.Errorf("over the limit: %d %v", over.status, over.header)
	}
	a.SetBehaviour(Behaviour{ResetInSeconds: true, RateLimit: 2})
	clock.advance(40 * time.Second)
	if got := ask(t, a, "GET", "/locations", ""); got.status != 200 || len(got.header.Get("X-Ratelimit-Reset")) != 10 || got.header.Get("X-Ratelimit-Remaining") != "1" {
		t.Errorf("a new minute, reset in seconds: %d %v", got.status, got.header)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	a, clock := newAccount()
	a.Inject(Fault{Kind: FaultStatus, Path: "locations", Status: 429, RetryAfter: 7, Times: 1})
	if got := ask(t, a, "GET", "/locations", ""); got.status != 429 || got.header.Get("Retry-After") != "7" || got.header.Get("X-Ratelimit-Remaining") != "0" || !strings.Contains(string(got.raw), `"error":{`) {
		t.Errorf("storm: %d %v %s", got.status, got.header, got.raw)
	}
	a.SetBehaviour(Behaviour{FlatErrors: true})
	a.Inject(Fault{Kind: FaultStatus, Status: 503, Times: 1, After: 1})
	if got := ask(t, a, "GET", "/locations", ""); got.status != 200 {
		t.Errorf("before the fault: %d", got.status)
	}
	if got := ask(t, a, "GET", "/locations", ""); got.status != 503 || !strings.HasPrefix(string(got.raw), `{"statusCode":503`) {
		t.Errorf("flat error: %d %s", got.status, got.raw)
	}
	if got := askAs(t, a, "old-key", "GET", "/locations", ""); got.status != 401 {
		t.Errorf("wrong key: %d", got.status)
	}
	a.Inject(Fault{Kind: FaultHTML, Times: 1})
	if got := ask(t, a, "GET", "/locations", ""); got.status != 200 || !strings.Contains(string(got.raw), "<title>") {
		t.Errorf("html: %s", got.raw)
	}
	before := clock.Now()
	a.Inject(Fault{Kind: FaultSlow, Delay: time.Minute, Times: 1})
	a.Inject(Fault{Kind: FaultCutAfter, Method: "POST", Times: 1})
	ask(t, a, "GET", "/locations", "")
	if clock.Now().Sub(before) != time.Minute {
		t.Error("the slow answer took no time")
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://x/v1/webhooks", strings.NewReader(hookBody))
	req.Header.Set("Authorization", "Bearer "+testKey)
	res, err := a.Transport().RoundTrip(req)
	if err == nil {
		_ = res.Body.Close()
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a cut connection: %v", err)
	}
	if got := ask(t, a, "GET", "/webhooks", "").rows(t); len(got) != 1 {
		t.Errorf("the work before the cut made %d webhooks, want 1", len(got))
	}
	a.SetBehaviour(Behaviour{NoAPI: 403})
	if got := ask(t, a, "GET", "/locations", ""); got.status != 403 {
		t.Errorf("plan without API: %d", got.status)
	}
	a.SetKeys("new-key")
	if got := ask(t, a, "GET", "/locations", ""); got.status != 401 {
		t.Errorf("expired key: %d", got.status)
	}
	if a.FaultCount(FaultStatus) != 2 {
		t.Errorf("%d status faults struck, want 2", a.FaultCount(FaultStatus))
	}
}

// TestStaleLevels: levels can be older than orders, and than what an actor did between two requests.
func TestStaleLevels(t *testing.T) {
	t.Parallel()
	var act func()
	a, _ := newAccount(func(o *Options) {
		o.OnRequest = func(string, string, string) {
			if act != nil {
				f := act
				act = nil
				f()
			}
		}
	})
	l, v := a.AddLocation("Here"), a.AddProduct("V")
	must(t, a.Adjust(v, l, Units(10)))
	order, err := a.CreateOrder(NewOrder{Location: l, Rows: []NewRow{{Variant: v, Quantity: Units(3)}}})
	must(t, err)
	fault := a.Inject(Fault{Kind: FaultStaleLevels, Path: "inventory"})
	act = func() { must(t, a.Pack(order)) }
	if got := shown(t, a, v, l); got != "10.00000 3.00000 0.00000 7.00000" {
		t.Errorf("stale: %s", got)
	}
	if got := ask(t, a, "GET", "/sales_orders", "").rows(t)[0]["status"]; got != "PACKED" {
		t.Errorf("the order is %v", got)
	}
	a.Clear(fault)
	if got := shown(t, a, v, l); got != "7.00000 0.00000 0.00000 7.00000" {
		t.Errorf("fresh: %s", got)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	a, _ := newAccount()
	for i := range 120 {
		a.AddProduct(fmt.Sprintf("P%03d", i))
	}
	page := ask(t, a, "GET", "/variants?limit=50&page=3", "")
	rows := page.rows(t)
	if len(rows) != 20 || rows[19]["sku"] != "P000" {
		t.Errorf("third page: %d rows, last %v", len(rows), rows[len(rows)-1]["sku"])
	}
	if got := page.header.Get("X-Pagination"); got != `{"first_page":false,"last_page":true,"offset":100,"page":3,"total_pages":3,"total_records":120}` {
		t.Errorf("X-Pagination %s", got)
	}
	if rows := ask(t, a, "GET", "/variants?limit=1000", "").rows(t); len(rows) != 120 || rows[0]["sku"] != "P119" {
		t.Errorf("a large limit: %d rows, first %v", len(rows), rows[0]["sku"])
	}
	if rows := ask(t, a, "GET", "/variants?page=9", "").rows(t); len(rows) != 0 {
		t.Errorf("past the end: %d rows", len(rows))
	}
	a.SetBehaviour(Behaviour{PaginationStrings: true})
	if got := ask(t, a, "GET", "/products", "").header.Get("X-Pagination"); !strings.Contains(got, `"last_page":"false"`) || !strings.Contains(got, `"total_records":"120"`) {
		t.Errorf("as strings: %s", got)
	}
	if got := ask(t, a, "GET", "/products?limit=x", ""); got.status != 422 {
		t.Errorf("a limit that is no number: %d", got.status)
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	a, clock := newAccount()
	l := a.AddLocation("Here")
	var ids []int64
	for _, sku := range []string{"A", "B", "C"} {
		clock.advance(time.Second)
		v := a.AddProduct(sku)
		must(t, a.Adjust(v, l, Units(1)))
		ids = append(ids, v)
	}
	skus := func(query string) string {
		t.Helper()
		var out []string
		for _, r := range ask(t, a, "GET", "/variants?"+query, "").rows(t) {
			out = append(out, r["sku"].(string))
		}
		slices.Sort(out)
		return strings.Join(out, "")
	}
	two := []string{strconv.FormatInt(ids[0], 10), strconv.FormatInt(ids[1], 10)}
	for query, want := range map[string]string{
		"colour=red":                              "ABC",
		"ids=" + two[0] + "&ids=" + two[1]:        "AB",
		"ids[]=" + two[0] + "&ids[]=" + two[1]:    "AB",
		"ids=" + two[0] + "," + two[1]:            "AB",
		"sku=A&sku=C":                             "AC",
		"updated_at_min=2026-01-12T09:00:03.000Z": "C",
		"created_at_max=2026-01-12T09:00:01.000Z": "A",
	} {
		if got := skus(query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	if rows := ask(t, a, "GET", "/inventory?updated_at_min=2030-01-01T00:00:00Z", "").rows(t); len(rows) != 3 {
		t.Errorf("levels know no dates, and yet a date left %d of 3", len(rows))
	}
	a.SetBehaviour(Behaviour{Arrays: "comma"})
	if got := skus("ids=" + two[0] + "&ids=" + two[1]); got != "B" {
		t.Errorf("of repeated keys %s holds, want B", got)
	}
	a.SetBehaviour(Behaviour{IgnoreFilters: []string{"sku"}})
	if got := skus("sku=A"); got != "ABC" {
		t.Errorf("an ignored filter: %s", got)
	}
	if got := ask(t, a, "POST", "/webhooks", `{"url":"https://x.example","subscribed_events":["a"],"colour":"red"}`); got.status != 422 {
		t.Errorf("an unknown property: %d", got.status)
	}
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	type received struct{ event, signature, retry string }
	var got []received
	answer := 500
	a, clock := newAccount(func(o *Options) {
		o.WebhookTransport = receiver(func(r *http.Request) int {
			body, _ := io.ReadAll(r.Body)
			_, after, _ := strings.Cut(string(body), `"action":"`)
			name, _, _ := strings.Cut(after, `"`)
			if r.Header.Get("X-Sha2-Signature") != Signature(Signature("token 1003", []byte("https://hooks.example.com/katana"))[:16], body) {
				t.Errorf("signature %s of %s", r.Header.Get("X-Sha2-Signature"), body)
			}
			got = append(got, received{name, r.Header.Get("X-Sha2-Signature"), r.Header.Get("X-Katana-Retry-Num")})
			return answer
		})
	})
	l := a.AddLocation("Here")
	v := a.AddItem(NewItem{VariantID: 5})
	ask(t, a, "POST", "/webhooks", hookBody)
	names := func(want string) {
		t.Helper()
		var out []string
		for _, r := range got {
			out = append(out, r.event+r.retry)
		}
		if s := strings.Join(out, " "); s != want {
			t.Errorf("received %q, want %q", s, want)
		}
		got = nil
	}
	ctx := context.Background()
	must(t, a.Adjust(v, l, Units(5)))
	for _, wait := range []time.Duration{0, 29 * time.Second, time.Second, 2 * time.Minute, 15 * time.Minute, time.Hour} {
		clock.advance(wait)
		a.DeliverWebhooks(ctx)
	}
	names("current_inventory.product_updated current_inventory.product_updated1 current_inventory.product_updated2 current_inventory.product_updated3")
	answer = 200
	a.Inject(Fault{Kind: FaultHookDrop, Path: "product_updated", Times: 1})
	a.Inject(Fault{Kind: FaultHookDuplicate, Path: "sales_order.created", Times: 1})
	a.Inject(Fault{Kind: FaultHookReorder, Path: "sales_order.updated", Times: 1})
	a.Inject(Fault{Kind: FaultHookLate, Path: "sales_order.deleted", Delay: time.Hour})
	must(t, a.Adjust(v, l, Units(5)))
	id, err := a.CreateOrder(NewOrder{Location: l, Rows: []NewRow{{Variant: v, Quantity: Units(1)}}})
	must(t, err)
	must(t, a.TouchOrder(id))
	must(t, a.Pack(id))
	must(t, a.DeleteOrder(id))
	a.DeliverWebhooks(ctx)
	names("sales_order.updated sales_order.created sales_order.created current_inventory.product_updated sales_order.updated sales_order.packed current_inventory.product_updated")
	clock.advance(time.Hour)
	a.DeliverWebhooks(ctx)
	names("sales_order.deleted")
	a.SetBehaviour(Behaviour{CommittedEvents: true})
	_, err = a.CreateOrder(NewOrder{Location: l, Rows: []NewRow{{Variant: v, Quantity: Units(1)}}})
	must(t, err)
	a.DeliverWebhooks(ctx)
	names("sales_order.created current_inventory.product_updated")
	a.DropWebhooks()
	must(t, a.Adjust(v, l, Units(5)))
	if a.Pending() != 0 {
		t.Errorf("%d deliveries wait without a webhook", a.Pending())
	}
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	a, _ := newAccount(func(o *Options) { o.AdminToken = "admin" })
	call := func(token, method, path, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "https://x/__sim/"+path, strings.NewReader(body))
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := a.Transport().RoundTrip(req)
		must(t, err)
		defer res.Body.Close()
		raw, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(raw)
	}
	a.SetNextID(1)
	for _, step := range []struct {
		method, path, body, want string
		status                   int
	}{
		{"POST", "locations", `{"name":"Here"}`, `{"id":1}`, 200},
		{"POST", "items", `{"name":"V","sku":"V"}`, `{"id":3}`, 200},
		{"POST", "adjust", `{"variant":3,"location":1,"change":"7.5"}`, `{"ok":true}`, 200},
		{"POST", "orders", `{"location":1,"platform":"wooCommerce","shop":"s","shopOrder":"9","rows":[{"variant":3,"quantity":2}]}`, `{"id":4}`, 200},
		{"POST", "orders/4/row", `{"n":0,"quantity":"2.5"}`, `{"ok":true}`, 200},
		{"POST", "orders/4/pack", ``, `{"ok":true}`, 200},
		{"GET", "quantity?variant=3&location=1", ``, `{"quantity":"5.00000"}`, 200},
		{"POST", "orders/99/pack", ``, `there is no such thing`, 404},
		{"POST", "faults", `{"kind":"flood"}`, `no fault is called`, 400},
		{"POST", "faults", `{"kind":"status","status":429,"retryAfterSeconds":5}`, `{"id":1}`, 200},
		{"POST", "behaviour", `{"rateLimit":10}`, `{"ok":true}`, 200},
		{"GET", "state", ``, `"platform":"wooCommerce"`, 200},
		{"GET", "nothing", ``, `no such admin route`, 404},
	} {
		if status, got := call("admin", step.method, step.path, step.body); status != step.status || !strings.Contains(got, step.want) {
			t.Errorf("%s %s: %d %s, want %d %s", step.method, step.path, status, got, step.status, step.want)
		}
	}
	if status, _ := call("guess", "GET", "state", ""); status != 403 {
		t.Errorf("a wrong admin token: %d", status)
	}
}

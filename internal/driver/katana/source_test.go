package katana

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	sim "stocksync.dev/stocksync/internal/sim/katana"
	"stocksync.dev/stocksync/internal/sim/katana/oracle"
	"stocksync.dev/stocksync/internal/stock"
)

// TestFixtureNumbers: the numbers the set of fixtures must give, from the fixtures themselves. No filter works
// there, so this also shows that all of them are checked again on our side.
func TestFixtureNumbers(t *testing.T) {
	t.Parallel()
	files := map[string]string{"inventory": "inventory-list", "variants": "variants-list", "sales_orders": "sales-orders-list",
		"sales_order_fulfillments": "sales-order-fulfillments-list", "locations": "locations-list"}
	serve := roundTripper(func(r *http.Request) (*http.Response, error) {
		parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")
		raw, err := os.ReadFile(filepath.Join("testdata", files[parts[0]]+".json"))
		if err != nil {
			return nil, err
		}
		if len(parts) == 2 {
			var all struct{ Data []json.RawMessage }
			must(t, json.Unmarshal(raw, &all))
			for _, one := range all.Data {
				if strings.Contains(string(one), `"id": `+parts[1]+",") {
					raw = one
				}
			}
		}
		return canned{status: 200, header: http.Header{"Date": {"Mon, 12 Jan 2026 10:00:00 GMT"}}, body: string(raw)}.RoundTrip(r)
	})
	s := engine.NewSupply(cannedClient(t, serve), engine.SupplyOptions{})
	web := stock.SupplyPolicy{Committed: stock.CommittedWooCommerceOnly}
	for location, want := range map[string]string{
		"501": "9001: 20 less 14 is 6, or 14; 9002: 40 less 4 is 36, or 36; 9003: 0 less 2 is -2, or -2; ",
		"502": "9001: 6 less 0 is 6, or 6; 9002: 0 less 0 is 0, or 0; 9003: 0 less 0 is 0, or 0; ",
	} {
		r, err := s.Read(t.Context(), location, []string{"9001", "9002", "9003"})
		must(t, err)
		got := ""
		for _, p := range r.Supplies {
			on, _ := stock.SupplyPolicy{}.Whole(p)
			off, _ := web.Whole(p)
			got += fmt.Sprintf("%s: %v less %v is %d, or %d; ", p.Level.Item, p.Level.OnHand, p.Demand.Open(), on, off)
		}
		if got != want {
			t.Errorf("at %s: %s\nwant %s", location, got, want)
		}
	}
	// What Katana itself commits is another number, and no alarm.
	r, err := s.Read(t.Context(), "501", []string{"9001"})
	must(t, err)
	if p := r.Supplies[0]; p.Level.Committed != stock.Units(18) || p.Parts() != stock.Units(4) {
		t.Errorf("committed %v, of it for parts %v", p.Level.Committed, p.Parts())
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestPagesMove: what is added is seen once, what is taken out makes no other be missed, and a list that never
// stands still is no answer.
func TestPagesMove(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(o *sim.Options) { o.Behaviour.RateLimit, o.Behaviour.PaginationStrings = -1, true })
	location, ids := l.items(800)
	second := func(act func()) {
		l.before = func(_, path, query string) {
			if strings.Contains(path, "variants") && strings.Contains(query, "page=2") {
				l.before = nil
				act()
			}
		}
	}
	read := func(want int) {
		t.Helper()
		got, err := l.c.Items(t.Context(), time.Time{})
		must(t, err)
		seen := map[string]bool{}
		for _, i := range got.Items {
			if seen[i.ID] {
				t.Errorf("%s is there twice", i.ID)
			}
			seen[i.ID] = true
		}
		if len(seen) != want {
			t.Errorf("%d items, want %d", len(seen), want)
		}
	}
	second(func() {})
	read(800)
	second(func() {
		for i := range 30 {
			l.account.AddProduct(fmt.Sprintf("NEW%d", i))
		}
	})
	read(800) // those that came are for the next reading
	second(func() { must(t, l.account.DeleteVariant(number(t, ids[790]))) })
	read(829)
	second(func() {
		must(t, l.account.DeleteVariant(number(t, ids[789])))
		l.account.AddProduct("ONE MORE")
	})
	read(829)
	next := 0
	l.before = func(_, path, query string) {
		if strings.Contains(path, "variants") && strings.Contains(query, "page=2") {
			must(t, l.account.DeleteVariant(number(t, ids[next])))
			next++
		}
	}
	if _, err := l.c.Items(t.Context(), time.Time{}); !engine.Inconsistent(err) {
		t.Errorf("a list that never stands still: %v", err)
	}
	l.before = nil
	if got := strings.Fields(l.levels(location)); len(got) != 795 {
		t.Errorf("%d levels, want 795", len(got))
	}
}

// TestArrays: whichever form of lists the account understands, no level is missing; where it understands none,
// items are asked for one by one.
func TestArrays(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"", "repeat", "brackets", "comma", "none"} {
		l := newLab(t, func(o *sim.Options) {
			if o.Behaviour.Arrays = form; form == "none" {
				o.Behaviour.Arrays, o.Behaviour.IgnoreFilters = "", []string{"ids"}
			}
		})
		location, ids := l.items(5)
		if got := l.levels(location, ids[4], ids[0], ids[2]); got != "5 1 3" {
			t.Errorf("form %q: %s, want 5 1 3", form, got)
		}
		if got := l.levels(location, ids[1], "999999"); got != "2 absent" {
			t.Errorf("form %q: %s, want 2 absent", form, got)
		}
		want := map[string]int{"": 5, "repeat": 5, "brackets": 6, "comma": 7, "none": 10}[form]
		// learning, then one request for each reading; five when each item is asked for alone
		if got := l.account.Requests(); got > want {
			t.Errorf("form %q: %d requests, want at most %d", form, got, want)
		}
	}
}

// TestFiltersIgnored: an account that ignores every filter gives the same answers.
func TestFiltersIgnored(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(o *sim.Options) {
		o.Behaviour.RateLimit = -1
		o.Behaviour.IgnoreFilters = []string{"variant_id", "variant_id[]", "location_id", "status", "updated_at_min", "sales_order_id", "include_deleted"}
	})
	location, ids := l.items(3)
	elsewhere := l.account.AddLocation("There")
	must(t, l.account.Adjust(number(t, ids[0]), elsewhere, sim.Units(50)))
	here := number(t, location)
	open, err := l.account.CreateOrder(sim.NewOrder{Location: here, Rows: []sim.NewRow{{Variant: number(t, ids[0]), Quantity: sim.Units(4)}}})
	must(t, err)
	for range 2 {
		id, err := l.account.CreateOrder(sim.NewOrder{Location: here, Rows: []sim.NewRow{{Variant: number(t, ids[1]), Quantity: sim.Units(4)}}})
		must(t, err)
		must(t, l.account.Pack(id, sim.Units(1)))
	}
	l.clock.advance(time.Hour)
	done, err := l.account.CreateOrder(sim.NewOrder{Location: here, Rows: []sim.NewRow{{Variant: number(t, ids[2]), Quantity: sim.Units(1)}}})
	must(t, err)
	must(t, l.account.Pack(done))
	if got := l.levels(location, ids[0]); got != "1" {
		t.Errorf("level %s, want 1", got)
	}
	orders, err := l.c.OpenOrders(t.Context(), time.Time{})
	must(t, err)
	if len(orders.Orders) != 3 {
		t.Errorf("%d open orders, want 3: %+v", len(orders.Orders), orders.Orders)
	}
	for _, o := range orders.Orders {
		if want := o.ID != strconv.FormatInt(open, 10); o.Partly != want || want && o.Rows[0].Outstanding() != stock.Units(3) {
			t.Errorf("order %+v", o)
		}
	}
	orders, err = l.c.OpenOrders(t.Context(), l.clock.Now().Add(-time.Minute))
	must(t, err)
	if len(orders.Orders) != 1 || orders.Orders[0].ID != strconv.FormatInt(done, 10) || orders.Orders[0].State != stock.OrderClosed {
		t.Errorf("of the last minute: %+v", orders.Orders)
	}
	items, err := l.c.Items(t.Context(), l.clock.Now().Add(-time.Minute))
	must(t, err)
	if len(items.Items) != 0 {
		t.Errorf("items of the last minute: %+v", items.Items)
	}
}

// TestItemsAndLocations: identity as the source gives it, with what is gone.
func TestItemsAndLocations(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	sku := "CODE-1"
	first := l.account.AddItem(sim.NewItem{Name: "one", SKU: &sku})
	second := l.account.AddItem(sim.NewItem{Name: "two", SKU: &sku})
	l.account.AddItem(sim.NewItem{Name: "bare"})
	l.account.AddItem(sim.NewItem{Name: "wax", Material: true})
	got, err := l.c.Items(t.Context(), time.Time{})
	must(t, err)
	if shared := stock.SharedSKUs(got.Items); len(got.Items) != 4 || len(shared[sku]) != 2 {
		t.Errorf("items %+v, shared %v", got.Items, shared)
	}
	l.clock.advance(time.Hour)
	since := l.clock.Now()
	must(t, l.account.DeleteVariant(second))
	must(t, l.account.SetSKU(first, nil))
	got, err = l.c.Items(t.Context(), since)
	must(t, err)
	if len(got.Items) != 2 || !got.Items[0].Gone || got.Items[1].Gone || got.Items[1].SKU != "" || got.Items[1].Created.IsZero() {
		t.Errorf("changed items %+v", got.Items)
	}
	here, there := l.account.AddLocation("Here"), l.account.AddLocation("There")
	must(t, l.account.DeleteLocation(here))
	locations, err := l.c.Locations(t.Context())
	must(t, err)
	want := []stock.SourceLocation{{ID: strconv.FormatInt(there, 10), Name: "There"}, {ID: strconv.FormatInt(here, 10), Name: "Here", Gone: true}}
	if !slices.Equal(locations, want) {
		t.Errorf("locations %+v", locations)
	}
}

// TestLocationGone: a location that is deleted has no levels, which is not the same as stock of zero; what is
// archived keeps its level.
func TestLocationGone(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	location, ids := l.items(2)
	empty := strconv.FormatInt(l.account.AddLocation("Empty"), 10)
	if got := l.levels(empty, ids...); got != "absent absent" {
		t.Errorf("at a location without stock: %s", got)
	}
	must(t, l.account.Archive(number(t, ids[0]), true))
	if got := l.levels(location, ids...); got != "1 2" {
		t.Errorf("with an archived item: %s, want 1 2", got)
	}
	must(t, l.account.DeleteLocation(number(t, location)))
	for _, asked := range [][]string{ids, ids[:1], nil} {
		_, err := l.c.Levels(t.Context(), location, asked)
		if f := faultOf(t, err); f.Reason != engine.ReasonLocationGone || !strings.Contains(f.Message, location) {
			t.Errorf("%v: %v", asked, f)
		}
	}
}

// TestOrders: states, origins, imports and rows of all kinds, with quantities as numbers and as strings.
func TestOrders(t *testing.T) {
	t.Parallel()
	for _, texts := range []bool{false, true} {
		l := newLab(t, func(o *sim.Options) { o.Behaviour.QuantityStrings = texts })
		location, ids := l.items(2)
		here, v := number(t, location), number(t, ids[0])
		there := l.account.AddLocation("There")
		row := sim.NewRow{Variant: v, Quantity: 250_000}
		place := func(n sim.NewOrder) string {
			if n.Location = here; n.Rows == nil {
				n.Rows = []sim.NewRow{row}
			}
			id, err := l.account.CreateOrder(n)
			must(t, err)
			return strconv.FormatInt(id, 10)
		}
		names := map[string]string{
			place(sim.NewOrder{}): "katana",
			place(sim.NewOrder{Source: "API", Platform: "WooCommerce", Shop: "a.example", ShopOrder: "7"}): "web",
			place(sim.NewOrder{Source: "web"}):                                                                  "by source",
			place(sim.NewOrder{Source: "API"}):                                                                  "unknown",
			place(sim.NewOrder{Platform: "shopify", ShopOrder: "8"}):                                            "other",
			place(sim.NewOrder{Quote: true, Platform: "woocommerce"}):                                           "quote",
			place(sim.NewOrder{Rows: []sim.NewRow{row, {Variant: v, Quantity: sim.Units(1), Location: there}}}): "two places",
		}
		got, err := l.c.OpenOrders(t.Context(), time.Time{})
		must(t, err)
		found := map[string]stock.SourceOrder{}
		for _, o := range got.Orders {
			found[names[o.ID]] = o
		}
		for name, want := range map[string]stock.Origin{"katana": stock.OriginSource, "web": stock.OriginWooCommerce, "by source": stock.OriginWooCommerce,
			"unknown": stock.OriginUnknown, "other": stock.OriginOther, "quote": stock.OriginWooCommerce, "two places": stock.OriginSource} {
			o := found[name]
			if o.Origin != want || len(o.Rows) == 0 || o.Rows[0].Quantity.String() != "2.5" || o.Rows[0].Location != location || (o.State == stock.OrderQuote) != (name == "quote") {
				t.Errorf("%s: %+v", name, o)
			}
		}
		if found["web"].Imported != (stock.ShopOrder{Shop: "a.example", ID: "7"}) || found["katana"].Imported != (stock.ShopOrder{}) {
			t.Errorf("imports %+v %+v", found["web"].Imported, found["katana"].Imported)
		}
		if r := found["two places"].Rows[1]; r.Location != strconv.FormatInt(there, 10) {
			t.Errorf("second place %+v", r)
		}
		var id string
		for k, name := range names {
			if name == "katana" {
				id = k
			}
		}
		must(t, l.account.DeleteOrder(number(t, id)))
		one, err := l.c.Orders(t.Context(), []string{id})
		must(t, err)
		if o := one.Orders[0]; o.State != stock.OrderClosed || o.Modified.IsZero() || o.ID != id {
			t.Errorf("a deleted order: %+v", o)
		}
	}
	if _, err := cannedClient(t, canned{status: 200, body: `{"id":1}`}).Orders(t.Context(), []string{"../webhooks"}); err == nil {
		t.Error("a path is taken for an id")
	}
	if _, err := cannedClient(t, canned{status: 200, body: `{"data":[{"id":1,"status":"NOT_SHIPPED"}]}`}).OpenOrders(t.Context(), time.Time{}); err == nil || !strings.Contains(err.Error(), "without its rows") {
		t.Errorf("an open order without rows: %v", err)
	}
}

// TestBadNumbers: a quantity that is none spoils its own item only, and is never taken for zero.
func TestBadNumbers(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{`"many"`, `null`, `{}`, `"1e99"`, `1e99`} {
		c := cannedClient(t, canned{status: 200, body: `{"data":[{"variant_id":1,"location_id":5,"quantity_in_stock":` + bad + `},{"variant_id":2,"location_id":5,"quantity_in_stock":"-3.50000","quantity_committed":"0.00000"},{"variant_id":3,"location_id":5}]}`})
		got, err := c.Levels(t.Context(), "5", nil)
		must(t, err)
		if len(got.Levels) != 3 || got.Levels[0].OnHand.Valid() || got.Levels[1].OnHand.String() != "-3.5" || got.Levels[2].OnHand.Valid() || got.Levels[2].HasCommitted {
			t.Errorf("%s: %+v", bad, got.Levels)
		}
	}
}

// TestChanges: movements are hints to their items; the cursor stands on Katana's clock, with an overlap.
func TestChanges(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	location, ids := l.items(3)
	l.clock.advance(time.Hour)
	start, err := l.c.Changes(t.Context(), "")
	must(t, err)
	if len(start.Items) != 0 || start.Next == "" {
		t.Errorf("at first: %+v", start)
	}
	l.clock.advance(time.Minute)
	must(t, l.account.Adjust(number(t, ids[1]), number(t, location), sim.Units(5)))
	must(t, l.account.Adjust(number(t, ids[1]), number(t, location), sim.Units(5)))
	next, err := l.c.Changes(t.Context(), start.Next)
	must(t, err)
	if !slices.Equal(next.Items, []string{ids[1]}) || next.Next <= start.Next {
		t.Errorf("after an adjustment: %+v", next)
	}
	l.clock.advance(2 * time.Minute)
	next, err = l.c.Changes(t.Context(), next.Next)
	must(t, err)
	l.clock.advance(2 * time.Minute)
	next, err = l.c.Changes(t.Context(), next.Next)
	must(t, err)
	if len(next.Items) != 0 {
		t.Errorf("later: %+v", next)
	}
}

// TestAgainstOracle: people work in an account between all requests of a reader. Whatever number is used was the
// oracle's at a moment of that reading, for both choices of committed orders; in quiet all numbers are.
func TestAgainstOracle(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			(&people{random: rand.New(rand.NewPCG(seed, 7))}).run(t)
		})
	}
}

// people work in an account.
type people struct {
	random           *rand.Rand
	l                *lab
	here, there, kit int64
	variants         []int64
	ids              []string
	orders, making   []int64
	truth            map[string][]int64
}

var choices = []oracle.Choice{{}, {WooCommerceOnly: true, Sources: []string{"web"}}}

var policies = []stock.SupplyPolicy{{}, {Committed: stock.CommittedWooCommerceOnly}}

func (p *people) run(t *testing.T) {
	p.l = newLab(t, func(o *sim.Options) {
		o.Behaviour = sim.Behaviour{QuantityStrings: p.random.IntN(2) == 0, PaginationStrings: p.random.IntN(2) == 0, SilentFulfillments: p.random.IntN(2) == 0,
			Arrays: []string{"", "repeat", "brackets", "comma"}[p.random.IntN(4)]}
	})
	a := p.l.account
	p.here, p.there = a.AddLocation("Here"), a.AddLocation("There")
	for i := range 4 {
		sku := fmt.Sprint("V", i)
		v := a.AddItem(sim.NewItem{Name: sku, SKU: &sku, Kit: i == 3})
		p.variants, p.ids = append(p.variants, v), append(p.ids, strconv.FormatInt(v, 10))
		must(t, a.Adjust(v, p.here, sim.Units(50)))
	}
	p.kit = p.variants[3]
	a.AddPart(p.kit, p.variants[0], sim.Units(1))
	a.AddPart(p.kit, p.variants[1], sim.Units(2))
	s := engine.NewSupply(p.l.c, engine.SupplyOptions{})
	used := 0
	for round := range 12 {
		quiet := round%3 == 2
		p.truth = map[string][]int64{}
		p.record(t)
		p.l.before = func(string, string, string) { p.work(t) }
		if quiet {
			p.l.before = nil
			p.l.clock.advance(10 * time.Second)
		}
		r, err := s.Read(t.Context(), strconv.FormatInt(p.here, 10), p.ids)
		if err != nil && !engine.Inconsistent(err) {
			t.Fatal(err)
		}
		if quiet && len(r.Supplies) < len(p.ids) {
			// What looks torn is believed once it stayed for a minute.
			p.l.clock.advance(time.Minute)
			r, err = s.Read(t.Context(), strconv.FormatInt(p.here, 10), p.ids)
			must(t, err)
		}
		if quiet && len(r.Supplies) != len(p.ids) {
			t.Fatalf("round %d: in quiet not all are read: %+v", round, r.Unsettled)
		}
		for _, supply := range r.Supplies {
			used++
			for i, policy := range policies {
				n, ok := policy.Whole(supply)
				if key := fmt.Sprint(supply.Level.Item, i); !ok || !slices.Contains(p.truth[key], n) {
					t.Fatalf("round %d, item %s, choice %d: %d was never true: %v", round, supply.Level.Item, i, n, p.truth[key])
				}
			}
		}
	}
	if used < 16 {
		t.Errorf("only %d numbers were used", used)
	}
	if n := p.l.count(http.StatusTooManyRequests); n > 0 {
		t.Errorf("%d requests were over the limit", n)
	}
}

// record adds what the oracle says now.
func (p *people) record(t *testing.T) {
	account, err := oracle.Read(p.l.account.State())
	must(t, err)
	for i, choice := range choices {
		for n, v := range p.variants {
			var q *big.Rat
			q, err = account.Quantity(v, p.here, choice)
			must(t, err)
			key := fmt.Sprint(p.ids[n], i)
			p.truth[key] = append(p.truth[key], oracle.Whole(q))
		}
	}
}

// work does one thing, or nothing.
func (p *people) work(t *testing.T) {
	a, n := p.l.account, p.random.IntN
	if n(3) > 0 {
		return
	}
	quantity := sim.Quantity(1 + n(400_000))
	v := p.variants[n(len(p.variants))]
	var err error
	switch what := n(12); {
	case what == 0:
		err = a.Adjust(v, p.here, quantity-sim.Units(2))
	case what == 1:
		err = a.Transfer(v, p.here, p.there, quantity)
	case what == 2:
		p.making = append(p.making, a.Make(p.kit, p.here, sim.Units(int64(1+n(3))), nil))
	case what == 3 && len(p.making) > 0:
		_ = a.Finish(p.making[n(len(p.making))], sim.Units(1))
	case what == 4:
		_ = a.Receive(a.Purchase(v, p.here, quantity), quantity)
	case what < 8 || len(p.orders) == 0:
		o := []sim.NewOrder{{}, {Platform: "wooCommerce", ShopOrder: "1"}, {Source: "web"}, {Platform: "shopify"}, {Quote: true}}[n(5)]
		o.Location = []int64{p.here, p.here, p.there}[n(3)]
		o.Rows = []sim.NewRow{{Variant: v, Quantity: quantity}, {Variant: p.variants[n(3)], Quantity: sim.Units(1), Location: p.here}}
		var id int64
		id, err = a.CreateOrder(o)
		p.orders = append(p.orders, id)
	default:
		id := p.orders[n(len(p.orders))]
		switch n(7) {
		case 0:
			_ = a.Pack(id)
		case 1:
			_ = a.Pack(id, sim.Quantity(n(200_000)))
		case 2:
			_ = a.Deliver(id)
		case 3:
			_ = a.DeleteOrder(id)
		case 4:
			_ = a.EditRow(id, 0, quantity)
		case 5:
			_ = a.Confirm(id)
		case 6:
			_ = a.MoveOrder(id, []int64{p.here, p.there}[n(2)])
		}
	}
	must(t, err)
	p.record(t)
}

// TestAccountDown: nothing is read from an account in trouble, and all is well after it.
func TestAccountDown(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	location, ids := l.items(3)
	s := engine.NewSupply(l.c, engine.SupplyOptions{})
	for _, f := range []sim.Fault{
		{Kind: sim.FaultStatus, Status: 500, Path: "inventory"}, {Kind: sim.FaultCut, Path: "sales_orders"}, {Kind: sim.FaultHTML},
		{Kind: sim.FaultStatus, Status: 503, After: 2}, {Kind: sim.FaultStatus, Status: 429, RetryAfter: 2},
	} {
		id := l.account.Inject(f)
		r, err := s.Read(context.Background(), location, ids)
		if err == nil || len(r.Supplies) > 0 {
			t.Errorf("%+v: %+v %v", f, r, err)
		}
		if f := faultOf(t, err); f.Reason == engine.ReasonInconsistentRead {
			t.Errorf("%+v is called %v", id, f)
		}
		l.account.Clear(id)
		l.clock.advance(time.Hour)
	}
	r, err := s.Read(t.Context(), location, ids)
	must(t, err)
	if len(r.Supplies) != 3 {
		t.Errorf("after it: %+v", r)
	}
}

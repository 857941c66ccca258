package agent

import (
	"context"
	"encoding/csv"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/report"
	simkatana "stocksync.dev/stocksync/internal/sim/katana"
	sim "stocksync.dev/stocksync/internal/sim/woocommerce"
)

// erpServer is a simulated Katana account behind HTTPS on loopback.
type erpServer struct {
	*simkatana.Account
	url, ca  string
	location int64
	variants map[string]int64
}

const firstToken, secondToken = "very-secret-token-1", "very-secret-token-2"

func newErpServer(t *testing.T, clock fastClock, deliver *toAgent, skus ...string) *erpServer {
	t.Helper()
	e := &erpServer{variants: map[string]int64{}}
	server := httptest.NewUnstartedServer(nil)
	server.Config.ErrorLog = quietLog(logr.Discard())
	e.Account = simkatana.New(simkatana.Options{Clock: clock, Keys: []string{firstToken}, WebhookTransport: deliver, Behaviour: simkatana.Behaviour{RateLimit: 600}})
	server.Config.Handler = e.Handler()
	server.StartTLS()
	e.url = server.URL + "/v1"
	e.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	e.location = e.AddLocation("Main")
	for i, sku := range skus {
		e.variants[sku] = e.AddProduct(sku)
		e.stock(t, sku, int64(40+i))
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		server.CloseClientConnections()
		server.Close()
	})
	return e
}

// stock changes what is in stock of a SKU.
func (e *erpServer) stock(t *testing.T, sku string, change int64) {
	t.Helper()
	if err := e.Adjust(e.variants[sku], e.location, simkatana.Units(change)); err != nil {
		t.Fatal(err)
	}
}

func (e *erpServer) order(t *testing.T, o simkatana.NewOrder, sku string, units int64) int64 {
	t.Helper()
	o.Location, o.Rows = e.location, []simkatana.NewRow{{Variant: e.variants[sku], Quantity: simkatana.Units(units)}}
	id, err := e.CreateOrder(o)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (e *erpServer) secret(token string) string {
	indented := strings.ReplaceAll(strings.TrimSpace(e.ca), "\n", "\n    ")
	return fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: katana}\nstringData:\n  token: %s\n  ca.crt: |\n    %s\n", token, indented)
}

func (e *erpServer) doc(extra, katana string) string {
	return fmt.Sprintf(`apiVersion: stocksync.dev/v1alpha1
kind: StockSyncTopology
metadata: {name: erp}
spec:
%s  master:
    storeID: katana
    katana:
      apiURL: %s
      tokenSecretKeyRef: {name: katana, key: token}
      caBundleSecretKeyRef: {name: katana, key: ca.crt}
%s`, extra, e.url, katana)
}

// fedDoc is a shop that shows the account's stock.
func (e *erpServer) fedDoc(s *shopServer, id, extra string) string {
	doc := followerDoc(id, s.url, fmt.Sprintf("  katana: {locationID: %d%s}\n", e.location, extra))
	return strings.ReplaceAll(doc, "topologyRef: {name: emea}", "topologyRef: {name: erp}")
}

func shopHost(t *testing.T, s *shopServer) string {
	t.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// TestKatanaFeedsTheShops: an order made in Katana reaches the shops; a sale in one shop reaches the other before
// Katana knows of it, and its import changes nothing; all of it over real HTTP, with the real ledger.
func TestKatanaFeedsTheShops(t *testing.T) {
	t.Parallel()
	clock := newFastClock()
	deliver := &toAgent{}
	erp := newErpServer(t, clock, deliver, "SKU-0001", "SKU-0002", "NOWHERE")
	fr := newShop(t, clock, "fr", deliver, sim.SeedOptions{Products: 12, Quantity: func(int) float64 { return 7 }})
	de := newShop(t, clock, "de", deliver, sim.SeedOptions{Products: 12, Quantity: func(int) float64 { return 9 }})
	shops := []*shopServer{fr, de}
	shown := func(sku, want string) func() (bool, string) {
		return func() (bool, string) {
			got := quantities(t, shops, sku)
			return got == want, got
		}
	}
	docs := func(token string) []string {
		return []string{erp.doc("  mode: Sync\n  publicURL: https://sync.example.com\n", ""), erp.secret(token),
			erp.fedDoc(fr, "fr", ""), erp.fedDoc(de, "de", ""), fr.secret("fr"), de.secret("de")}
	}
	b := startAgent(t, benchOptions{clock: clock}, docs(firstToken)...)
	deliver.addr.Store(b.addrs["public"].String())
	eventually(t, "everything is read, and webhooks are in place", func() (bool, string) {
		s := b.status()
		ok := len(s.Stores) == 3 && s.Source != nil && s.Source.Items == 3
		for _, st := range s.Stores {
			ok = ok && st.InSync.Status == "True" && st.Connected.Status == "True" && st.Tier == "Webhooks" && st.Enrolled == st.Placements
		}
		return ok, asJSON(s)
	})

	// Nothing is written at first.
	if got := quantities(t, shops, "SKU-0001"); got != "7 9" {
		t.Fatalf("after connecting the shops show %s; nothing was to be written", got)
	}
	s := b.status()
	if st := storeOf(t, s, "fr"); st.Sourced == nil || st.Sourced.Matched != 2 || st.Sourced.LocationName != "Main" {
		t.Errorf("fr: %s", asJSON(st.Sourced))
	}
	eventually(t, "the variant that no shop sells is named", func() (bool, string) {
		st := storeOf(t, b.status(), "fr").Sourced
		return st.Skipped == 1 && len(st.SkippedItems) == 1 && st.SkippedItems[0].SKU == "NOWHERE" && strings.Contains(st.SkippedItems[0].Message, "link set fr"), asJSON(st)
	})
	if !strings.Contains(s.Source.Plan, "of 600 requests a minute") || s.Source.RequestsPerMinute != 600 || s.Source.RequestsLeft > 600 {
		t.Errorf("the plan is not shown: %s", asJSON(s.Source))
	}

	// An order made in Katana.
	erp.order(t, simkatana.NewOrder{}, "SKU-0001", 3)
	eventually(t, "Katana's order in both shops", shown("SKU-0001", "37 37"))

	// A sale in a shop, and later its import.
	sold, err := fr.PlaceOrder(t.Context(), sim.Line{SKU: "SKU-0001", Quantity: 2})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the sale in the other shop, before Katana knows of it", shown("SKU-0001", "35 35"))
	eventually(t, "the status counts it", func() (bool, string) {
		s := b.status().Source
		return s.NotImported == 1, asJSON(s)
	})
	web := simkatana.NewOrder{Source: "api", Platform: "wooCommerce", Shop: shopHost(t, fr), ShopOrder: strconv.FormatInt(sold.ID, 10)}
	imported := erp.order(t, web, "SKU-0001", 2)
	eventually(t, "the import is seen", func() (bool, string) {
		s := b.status().Source
		return s.NotImported == 0 && s.OpenOrders == 2, asJSON(s)
	})
	if err := erp.Deliver(imported); err != nil {
		t.Fatal(err)
	}
	erp.stock(t, "SKU-0002", 1)
	eventually(t, "what came after the import", shown("SKU-0002", "42 42"))
	if got := quantities(t, shops, "SKU-0001"); got != "35 35" {
		t.Errorf("the import was counted again: %s", got)
	}
	eventually(t, "webhooks arriving", func() (bool, string) {
		return valueOf(metricsOf(t, b), `stocksync_webhook_deliveries_total{result="accepted",store="katana"}`) > 0, asJSON(b.status().Stores)
	})
	if got := valueOf(metricsOf(t, b), "stocksync_source_requests_per_minute"); got != 600 {
		t.Errorf("requests a minute in the metrics: %v", got)
	}

	// Why it is that number.
	h, err := b.client.History(t.Context(), "SKU-0001", 100)
	if err != nil || h.Units != 35 {
		t.Fatalf("%+v %v", h, err)
	}
	story := asJSON(h.Entries)
	for _, want := range []string{"in stock", "held by open orders", "order " + strconv.FormatInt(sold.ID, 10)} {
		if !strings.Contains(story, want) {
			t.Errorf("the history does not tell of %q: %s", want, story)
		}
	}

	// The key expires, and a new one is taken up by the running agent, which starts nothing anew.
	began := b.status().StartedAt
	erp.SetKeys(secondToken)
	eventually(t, "the expired key is named", func() (bool, string) {
		c := storeOf(t, b.status(), "katana").Connected
		return c.Status == "False" && c.Reason == v1alpha1.ReasonAuthenticationFailed && strings.Contains(c.Message, "Secret `katana`"), asJSON(c)
	})
	if _, err := de.PlaceOrder(t.Context(), sim.Line{SKU: "SKU-0002", Quantity: 5}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a sale in the other shop while Katana does not answer", shown("SKU-0002", "37 37"))
	b.apply(docs(secondToken)...)
	eventually(t, "the new key works", func() (bool, string) {
		c := storeOf(t, b.status(), "katana").Connected
		return c.Status == "True", asJSON(c)
	})
	erp.order(t, simkatana.NewOrder{}, "SKU-0001", 1)
	eventually(t, "an order under the new key", shown("SKU-0001", "34 34"))
	if !b.status().StartedAt.Equal(began) {
		t.Error("the agent was started anew")
	}
	if text := b.log.String() + asJSON(b.status()); strings.Contains(text, firstToken) || strings.Contains(text, secondToken) {
		t.Error("a token is in the log or the status")
	}
}

// TestKatanaTools: a reconcile writes everything at once, the export says what it would be, and links match what no SKU does.
func TestKatanaTools(t *testing.T) {
	t.Parallel()
	clock := newFastClock()
	erp := newErpServer(t, clock, &toAgent{}, "SKU-0001", "SKU-0002", "OTHER-NAME")
	fr := newShop(t, clock, "fr", nil, sim.SeedOptions{Products: 12, Quantity: func(int) float64 { return 7 }})
	b := startAgent(t, benchOptions{clock: clock}, erp.doc("  mode: Sync\n", ""), erp.secret(firstToken), erp.fedDoc(fr, "fr", ""), fr.secret("fr"))
	eventually(t, "everything is read", func() (bool, string) {
		s := b.status()
		fr := storeOf(t, s, "fr")
		return fr.Placements == 2 && fr.Enrolled == 2 && fr.InSync.Status == "True", asJSON(s)
	})
	export := func() string {
		var text strings.Builder
		if err := (report.Printer{Out: &text, Format: report.CSV}).Numbers(b.client.Numbers(t.Context(), "fr")); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(strings.NewReader(text.String())).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, row := range rows {
			out = append(out, strings.Join(row[1:6], " "))
		}
		slices.Sort(out[1:])
		return strings.Join(out, "; ")
	}
	if got := export(); got != "SKU Stock Shown In stock Orders; SKU-0001 40 7 40 0; SKU-0002 41 7 41 0" {
		t.Errorf("export: %s", got)
	}
	run := func(q agentapi.RunRequest) agentapi.Run {
		r, err := b.client.StartRun(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for r.State == agentapi.Running {
			if r, err = b.client.WaitRun(t.Context(), r.ID, r.Sequence); err != nil {
				t.Fatal(err)
			}
		}
		return r
	}
	if r := run(agentapi.RunRequest{Kind: agentapi.KindReconcile, Strategy: agentapi.DryRun}); r.Counts[agentapi.QuantityDiffers] != 2 {
		t.Errorf("the dry run found %s", asJSON(r))
	}
	if got := quantities(t, []*shopServer{fr}, "SKU-0001"); got != "7" {
		t.Errorf("the dry run wrote %s", got)
	}
	// What never changed in Katana is reported by a plain reconcile, and written when everything is asked for.
	if r := run(agentapi.RunRequest{Kind: agentapi.KindReconcile}); r.State != agentapi.NeedsAttention || r.Stores[0].Written != 0 || r.Counts[agentapi.QuantityDiffers] != 2 {
		t.Errorf("the plain reconcile: %s", asJSON(r))
	}
	if r := run(agentapi.RunRequest{Kind: agentapi.KindReconcile, Strategy: agentapi.Push}); r.State != agentapi.Succeeded || len(r.Stores) != 1 || r.Stores[0].Written != 2 {
		t.Errorf("the reconcile: %s", asJSON(r))
	}
	if got := quantities(t, []*shopServer{fr}, "SKU-0001") + " " + quantities(t, []*shopServer{fr}, "SKU-0002"); got != "40 41" {
		t.Errorf("after the reconcile fr shows %s", got)
	}
	if r := run(agentapi.RunRequest{Kind: agentapi.KindAudit}); r.State != agentapi.Succeeded {
		t.Errorf("the audit: %s", asJSON(r))
	}

	// A link for what is called otherwise in the shop.
	units := 3.0
	ids, err := fr.Create(sim.NewItem{Kind: sim.Simple, SKU: "SHOP-NAME", Name: "Linked", Quantity: &units})
	if err != nil {
		t.Fatal(err)
	}
	id := ids
	for name, q := range map[string]agentapi.LinkRequest{
		"an item that is not there": {Store: "fr", ID: id, Item: "99999"},
		"a SKU that is not there":   {Store: "fr", ID: id, SKU: "other-name"},
		"neither":                   {Store: "fr", ID: id},
		"the source itself":         {Store: "katana", ID: id, SKU: "OTHER-NAME"},
		"no store":                  {ID: id, SKU: "OTHER-NAME"},
		"no id":                     {Store: "fr", SKU: "OTHER-NAME"},
	} {
		if _, err := b.client.SetLink(t.Context(), q); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := b.client.SetLink(t.Context(), agentapi.LinkRequest{Store: "fr", ID: id, SKU: "OTHER-NAME"}); err != nil {
		t.Fatal(err)
	}
	links, err := b.client.Links(t.Context(), "")
	if err != nil || len(links) != 1 || links[0] != (agentapi.Link{Store: "fr", ID: id, Item: strconv.FormatInt(erp.variants["OTHER-NAME"], 10), SKU: "OTHER-NAME", By: "Person"}) {
		t.Errorf("links %+v %v", links, err)
	}
	eventually(t, "the linked item is matched", func() (bool, string) {
		st := storeOf(t, b.status(), "fr")
		return st.Placements == 3 && st.Enrolled == 3, asJSON(st)
	})
	erp.stock(t, "OTHER-NAME", 8)
	eventually(t, "the linked item follows", func() (bool, string) {
		got := quantities(t, []*shopServer{fr}, "SHOP-NAME")
		return got == "50", got
	})
	if _, err := b.client.RemoveLink(t.Context(), agentapi.LinkRequest{Store: "fr", ID: id}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.client.RemoveLink(t.Context(), agentapi.LinkRequest{Store: "fr", ID: id}); err == nil {
		t.Error("a link that is not there was removed")
	}
	pings, err := b.client.Ping(t.Context(), "katana")
	if err != nil || len(pings) != 1 || !pings[0].OK || pings[0].Checks[len(pings[0].Checks)-1].Name != agentapi.CheckLocations {
		t.Errorf("ping %s %v", asJSON(pings), err)
	}
}

// TestKatanaIsSaidToBeWrong: what people get wrong about an account is said, with what to do, and nothing is written.
func TestKatanaIsSaidToBeWrong(t *testing.T) {
	t.Parallel()
	clock := newFastClock()
	for name, tc := range map[string]struct {
		change                 func(*erpServer)
		store, reason, message string
	}{
		"plan": {func(e *erpServer) { e.SetBehaviour(simkatana.Behaviour{NoAPI: 403}) }, "katana", v1alpha1.ReasonPlanWithoutAPI, "Professional"},
		"key":  {func(e *erpServer) { e.SetKeys("another") }, "katana", v1alpha1.ReasonAuthenticationFailed, "Settings > API"},
		"storm": {func(e *erpServer) {
			e.Inject(simkatana.Fault{Kind: simkatana.FaultStatus, Status: 429, RetryAfter: 900})
		}, "katana", v1alpha1.ReasonRateLimited, "from "},
		"location": {func(e *erpServer) { _ = e.DeleteLocation(e.location) }, "fr", v1alpha1.ReasonLocationGone, "katana.locationID"},
		"twice":    {func(e *erpServer) { e.AddProduct("SKU-0001") }, "katana", v1alpha1.ReasonConflicts, "SKU-0001"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			erp := newErpServer(t, clock, &toAgent{}, "SKU-0001", "SKU-0002")
			fr := newShop(t, clock, "fr", nil, sim.SeedOptions{Products: 12, Quantity: func(int) float64 { return 7 }})
			b := startAgent(t, benchOptions{clock: clock}, erp.doc("  mode: Sync\n", ""), erp.secret(firstToken), erp.fedDoc(fr, "fr", ""), fr.secret("fr"))
			eventually(t, "everything is read", func() (bool, string) {
				s := b.status()
				return storeOf(t, s, "fr").Enrolled == 2 && storeOf(t, s, "katana").Connected.Status == "True", asJSON(s)
			})
			tc.change(erp)
			eventually(t, "it is said", func() (bool, string) {
				st := storeOf(t, b.status(), tc.store)
				for _, c := range []agentapi.Condition{st.Connected, st.InSync} {
					if c.Reason == tc.reason && strings.Contains(c.Message, tc.message) {
						return true, ""
					}
				}
				return false, asJSON(st)
			})
			erp.stock(t, "SKU-0001", 5)
			if name == "location" || name == "twice" { // Katana still answers
				asked := erp.Requests()
				eventually(t, "more is read", func() (bool, string) { return erp.Requests() > asked+6, fmt.Sprint(erp.Requests()) })
			}
			if got := quantities(t, []*shopServer{fr}, "SKU-0001"); got != "7" {
				t.Errorf("it wrote %s", got)
			}
		})
	}
}

// TestKatanaOptions: what the documentation of Katana leaves open is a choice per shop.
func TestKatanaOptions(t *testing.T) {
	t.Parallel()
	clock := newFastClock()
	erp := newErpServer(t, clock, &toAgent{}, "SKU-0001", "SKU-0002", "SKU-0003", "PART")
	name := "SKU-0006"
	erp.variants[name] = erp.AddItem(simkatana.NewItem{Name: name, SKU: &name, Kit: true})
	erp.AddPart(erp.variants[name], erp.variants["PART"], simkatana.Units(2))
	erp.stock(t, name, 1)
	fr := newShop(t, clock, "fr", nil, sim.SeedOptions{Products: 12, Quantity: func(int) float64 { return 7 }})
	de := newShop(t, clock, "de", nil, sim.SeedOptions{Products: 12, Quantity: func(int) float64 { return 7 }})
	b := startAgent(t, benchOptions{clock: clock}, erp.doc("  mode: Sync\n", "      compareIntervalSeconds: 300\n      pollIntervalSeconds: 15\n"), erp.secret(firstToken),
		erp.fedDoc(fr, "fr", ", rounding: Up, belowZero: Zero, quotes: Count, kits: Potential"), erp.fedDoc(de, "de", ""), fr.secret("fr"), de.secret("de"))
	eventually(t, "everything is read", func() (bool, string) {
		s := b.status()
		ok := storeOf(t, s, "katana").InSync.Status == "True" && strings.Contains(s.Source.Plan, "at most every 5m0s")
		for _, id := range []string{"fr", "de"} {
			ok = ok && storeOf(t, s, id).Enrolled == 4
		}
		return ok, asJSON(s)
	})
	half := simkatana.Units(-37) - simkatana.Units(1)/2
	if err := erp.Adjust(erp.variants["SKU-0001"], erp.location, half); err != nil {
		t.Fatal(err)
	}
	erp.order(t, simkatana.NewOrder{}, "SKU-0002", 50)
	erp.order(t, simkatana.NewOrder{Quote: true}, "SKU-0003", 5)
	erp.stock(t, "PART", 7) // 43 + 7, two for each
	for sku, want := range map[string]string{"SKU-0001": "3 2", "SKU-0002": "0 -9", "SKU-0003": "37 42"} {
		eventually(t, sku, func() (bool, string) {
			got := quantities(t, []*shopServer{fr, de}, sku)
			return got == want, got
		})
	}
	eventually(t, "what can be put together, with the next comparison", func() (bool, string) {
		got := quantities(t, []*shopServer{fr}, name)
		return got == "25", got
	})
}

// TestKatanaDrift: what somebody typed in a shop stands until the item changes, a reconcile tells of it, and writes
// Katana's number where that is wanted.
func TestKatanaDrift(t *testing.T) {
	t.Parallel()
	clock := newFastClock()
	erp := newErpServer(t, clock, &toAgent{}, "SKU-0001")
	fr := newShop(t, clock, "fr", nil, sim.SeedOptions{Products: 12, Quantity: func(int) float64 { return 7 }})
	docs := func(drift string) []string {
		return []string{erp.doc("  mode: Sync\n", ""), erp.secret(firstToken), erp.fedDoc(fr, "fr", ", drift: "+drift), fr.secret("fr")}
	}
	b := startAgent(t, benchOptions{clock: clock}, docs("Keep")...)
	shows := func(want string) func() (bool, string) {
		return func() (bool, string) {
			got := quantities(t, []*shopServer{fr}, "SKU-0001")
			return got == want, got
		}
	}
	eventually(t, "everything is read", func() (bool, string) {
		s := b.status()
		return storeOf(t, s, "fr").Enrolled == 1 && storeOf(t, s, "katana").InSync.Status == "True", asJSON(s)
	})
	erp.stock(t, "SKU-0001", 2)
	eventually(t, "it follows", shows("42"))
	if err := fr.EditStock("SKU-0001", 5); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the edit is read, and left alone", func() (bool, string) {
		h, err := b.client.History(t.Context(), "SKU-0001", 10)
		return err == nil && len(h.Shelves) == 1 && h.Shelves[0].Shown == 5 && h.Shelves[0].Todo == 0 && strings.Contains(h.Shelves[0].Note, "left as it is"), asJSON(h)
	})
	for _, drift := range []string{"Keep", "Correct"} {
		want := map[string]string{"Keep": "5", "Correct": "42"}[drift]
		b.apply(docs(drift)...)
		r, err := b.client.StartRun(t.Context(), agentapi.RunRequest{Kind: agentapi.KindReconcile})
		for err == nil && r.State == agentapi.Running {
			r, err = b.client.WaitRun(t.Context(), r.ID, r.Sequence)
		}
		if err != nil || r.Stores[0].Differing != 1 || (r.State == agentapi.Succeeded) != (drift == "Correct") {
			t.Errorf("drift %s: %s %v", drift, asJSON(r), err)
		}
		eventually(t, "the shop shows what drift "+drift+" asks for", shows(want))
	}
}

// TestKatanaIgnoresCase: SKUs are compared exactly, until people say otherwise.
func TestKatanaIgnoresCase(t *testing.T) {
	t.Parallel()
	clock := newFastClock()
	erp := newErpServer(t, clock, &toAgent{}, "sku-0001", "SKU-0002")
	fr := newShop(t, clock, "fr", nil, sim.SeedOptions{Products: 12, Quantity: func(int) float64 { return 7 }})
	docs := func(comparison string) []string {
		return []string{erp.doc("  mode: Sync\n", "      skuComparison: "+comparison+"\n"), erp.secret(firstToken), erp.fedDoc(fr, "fr", ""), fr.secret("fr")}
	}
	b := startAgent(t, benchOptions{clock: clock}, docs("CaseSensitive")...)
	matched := func(n int) func() (bool, string) {
		return func() (bool, string) {
			st := storeOf(t, b.status(), "fr")
			return st.Enrolled == n && st.Sourced.Matched == n && st.Sourced.Skipped == 2-n, asJSON(st)
		}
	}
	eventually(t, "one matches", matched(1))
	b.apply(docs("CaseInsensitive")...)
	eventually(t, "both match", matched(2))
	erp.stock(t, "sku-0001", 2)
	eventually(t, "it follows", func() (bool, string) {
		got := quantities(t, []*shopServer{fr}, "SKU-0001")
		return got == "42", got
	})
	b.apply(docs("CaseSensitive")...)
	eventually(t, "one matches again", matched(1))
}

// TestKatanaIsObserved: in mode Observe Katana and the shops are read, what differs is told, and nothing is written
// anywhere, not even a webhook.
func TestKatanaIsObserved(t *testing.T) {
	t.Parallel()
	clock := newFastClock()
	erp := newErpServer(t, clock, &toAgent{}, "SKU-0001", "SKU-0002")
	fr := newShop(t, clock, "fr", nil, sim.SeedOptions{Products: 12, Quantity: func(int) float64 { return 7 }})
	b := startAgent(t, benchOptions{clock: clock}, erp.doc("  publicURL: https://sync.example.com\n", ""), erp.secret(firstToken), erp.fedDoc(fr, "fr", ""), fr.secret("fr"))
	eventually(t, "the differences are told", func() (bool, string) {
		st := storeOf(t, b.status(), "fr")
		return st.InSync.Status == "False" && strings.Contains(st.InSync.Message, "2 SKUs show another number than Katana gives") && len(st.Mismatches) == 2, asJSON(st)
	})
	erp.stock(t, "SKU-0001", 5)
	eventually(t, "the change is told", func() (bool, string) {
		st := storeOf(t, b.status(), "fr")
		return slices.ContainsFunc(st.Mismatches, func(m agentapi.Mismatch) bool { return m.SKU == "SKU-0001" && m.Wanted == 45 }), asJSON(st.Mismatches)
	})
	if got := quantities(t, []*shopServer{fr}, "SKU-0001"); got != "7" {
		t.Errorf("it wrote %s", got)
	}
	c := storeOf(t, b.status(), "katana").HintsAvailable
	if c.Status != "False" || c.Reason != v1alpha1.ReasonPollingOnly || strings.Contains(string(erp.State()), "webhook") {
		t.Errorf("webhooks: %s", asJSON(c))
	}
}

// One budget serves all clients of a process, whichever topology's.
func TestKatanaBudgetIsShared(t *testing.T) {
	t.Parallel()
	clock := newFastClock()
	erp := newErpServer(t, clock, &toAgent{}, "SKU-0001")
	erp.SetBehaviour(simkatana.Behaviour{})
	dial := DialKatana("test", clock, logr.Discard())
	settings := &Settings{Katana: &Katana{URL: erp.url, Token: firstToken, CABundle: erp.ca}}
	var sources []Source
	for _, id := range []string{"a", "b"} {
		s, err := dial(Store{ID: id, Master: true, Settings: settings})
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, s)
	}
	began := clock.Now()
	for i := range 62 {
		if err := sources[i%2].Health(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if took := clock.Now().Sub(began); took < time.Minute {
		t.Errorf("62 requests of two topologies took %v under 60 a minute", took)
	}
	if left := sources[1].Budget().Remaining; left != sources[0].Budget().Remaining {
		t.Errorf("the two do not see the same budget: %d", left)
	}
}

package agent

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"stocksync.dev/stocksync/internal/agentapi"
	simkit "stocksync.dev/stocksync/internal/sim/kitgenix"
	sim "stocksync.dev/stocksync/internal/sim/woocommerce"
)

const canary = "jeanne.canary@example.com"

// toAgent carries webhooks to the agent's public port, wherever that is, and slips a customer in.
type toAgent struct{ addr atomic.Value }

func (d *toAgent) RoundTrip(r *http.Request) (*http.Response, error) {
	to, ok := d.addr.Load().(string)
	if !ok {
		return nil, fmt.Errorf("the agent does not listen yet")
	}
	r = r.Clone(r.Context())
	r.URL = &url.URL{Scheme: "http", Host: to, Path: r.URL.Path}
	return http.DefaultTransport.RoundTrip(r)
}

func quantities(t *testing.T, stores []*shopServer, sku string) string {
	t.Helper()
	var out []string
	for _, s := range stores {
		q, ok := s.Quantity(sku)
		if !ok {
			t.Fatalf("no %s", sku)
		}
		out = append(out, fmt.Sprint(q))
	}
	return strings.Join(out, " ")
}

// A child whose catalogue could be read before the master's has all of its SKUs kept the same all the same, and so
// has one whose SKU the master lists later.
func TestAChildQuickerThanTheMaster(t *testing.T) {
	t.Parallel()
	clock := newFastClock()
	hq := newShop(t, clock, "hq", nil, sim.SeedOptions{Products: 12})
	fr := newShop(t, clock, "fr", nil, sim.SeedOptions{Products: 12, Quantity: func(int) float64 { return 3 }})
	list := func(s *shopServer, units float64) {
		t.Helper()
		if _, err := s.Create(sim.NewItem{Kind: sim.Simple, SKU: "LATE", Name: "Late", Quantity: &units}); err != nil {
			t.Fatal(err)
		}
	}
	list(fr, 4)
	hq.Inject(sim.Fault{Kind: sim.FaultStatus, Path: "/products", Status: 503, Times: 3})
	b := startAgent(t, benchOptions{clock: clock}, masterDoc("hq", hq.url, "  mode: Sync\n"), followerDoc("fr", fr.url, ""), hq.secret("hq"), fr.secret("fr"))
	same := func(sku, want string) func() (bool, string) {
		return func() (bool, string) {
			got := quantities(t, []*shopServer{hq, fr}, sku)
			return got == want, got + asJSON(b.status())
		}
	}
	eventually(t, "the master's number in both", same("SKU-0002", "100 100"))
	list(hq, 9)
	eventually(t, "the number of what the master lists later", same("LATE", "9 9"))
}

// A sale in one shop reaches the other, over real HTTP, with the real ledger; and of all that was asked and
// written, nothing is a customer's and nothing is more than stock, our markers and our webhooks.
func TestASaleReachesTheOtherStore(t *testing.T) {
	t.Parallel()
	clock := newFastClock()
	deliver := &toAgent{}
	hq := newShop(t, clock, "hq", deliver, sim.SeedOptions{Products: 12})
	fr := newShop(t, clock, "fr", deliver, sim.SeedOptions{Products: 12, Quantity: func(n int) float64 { return float64(100 + n%3) }})
	shops := []*shopServer{hq, fr}
	b := startAgent(t, benchOptions{clock: clock},
		masterDoc("hq", hq.url, "  mode: Sync\n  publicURL: http://sync.example.com\n"), followerDoc("fr", fr.url, ""), hq.secret("hq"), fr.secret("fr"))
	deliver.addr.Store(b.addrs["public"].String())

	// The webhooks too: what is sold before a shop has them is announced by nobody.
	eventually(t, "enrolment and webhooks", func() (bool, string) {
		s := b.status()
		ok := len(s.Stores) == 2
		for _, st := range s.Stores {
			ok = ok && st.Placements > 0 && st.Enrolled == st.Placements && st.Backlog == 0 && st.InSync.Status == "True" && st.Tier == "Webhooks"
		}
		return ok, asJSON(s)
	})
	if got := quantities(t, shops, "SKU-0002"); got != "100 100" {
		t.Fatalf("after enrolment the shops show %s; the master's number is 100", got)
	}
	if _, err := fr.PlaceOrder(t.Context(), sim.Line{SKU: "SKU-0001", Quantity: 3}, sim.Line{SKU: "VAR-1-S", Quantity: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := hq.PlaceOrder(t.Context(), sim.Line{SKU: "SKU-0001", Quantity: 2}, sim.Line{SKU: "VAR-4-M", Quantity: 5}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both sales in both shops", func() (bool, string) {
		got := quantities(t, shops, "SKU-0001") + " " + quantities(t, shops, "VAR-1-S") + " " + quantities(t, shops, "VAR-4")
		return got == "95 95 19 19 45 45", got
	})
	eventually(t, "webhooks arriving", func() (bool, string) {
		return valueOf(metricsOf(t, b), `stocksync_webhook_deliveries_total{result="accepted",store="fr"}`) > 0, asJSON(b.status().Stores)
	})
	s := b.status()
	if fr := storeOf(t, s, "fr"); fr.WooCommerceVersion != "9.9.5" || fr.WordPressVersion != "6.9" || fr.LastOutboundTime == nil || fr.LastInboundTime == nil || fr.Connected.Status != "True" {
		t.Errorf("%s", asJSON(fr))
	}

	// The number has a history that explains it, and a person can ask for it beside the running agent.
	h, err := b.client.History(t.Context(), "sku-0001", 100)
	if err != nil || h.Units != 95 || len(h.Shelves) != 2 {
		t.Fatalf("%+v, %v", h, err)
	}
	sum := int64(0)
	for _, e := range h.Entries {
		sum += e.Delta
	}
	if sum != h.Units {
		t.Errorf("the history adds up to %d, not %d", sum, h.Units)
	}

	// Rows about what the shops disagreed on before; nothing of what follows adds to them.
	rows := s.Conflicts

	// What is sold while the agent is away is counted when it is back, once.
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := fr.PlaceOrder(t.Context(), sim.Line{SKU: "SKU-0001", Quantity: 4}); err != nil {
		t.Fatal(err)
	}
	docs := []string{masterDoc("hq", hq.url, "  mode: Sync\n  publicURL: http://sync.example.com\n"), followerDoc("fr", fr.url, ""), hq.secret("hq"), fr.secret("fr")}
	again := startAgent(t, benchOptions{clock: clock, dir: b.dir}, docs...)
	deliver.addr.Store(again.addrs["public"].String())
	eventually(t, "the sale made meanwhile", func() (bool, string) {
		got := quantities(t, shops, "SKU-0001")
		s := again.status()
		return got == "91 91" && storeOf(t, s, "hq").Backlog+storeOf(t, s, "fr").Backlog == 0, got
	})
	if s := again.status(); s.Conflicts != rows || storeOf(t, s, "fr").InSync.Status != "True" || s.LedgerID != b.agent.LedgerID() {
		open, err := again.client.Conflicts(t.Context(), "", "")
		t.Errorf("%s %s %v", asJSON(s), asJSON(open), err)
	}
	if err := again.stop(); err != nil {
		t.Fatal(err)
	}
	for _, shop := range shops {
		checkAccess(t, shop.AccessLog(0), true)
	}
	text := b.log.String() + again.log.String() + filesOf(t, b.dir)
	for _, word := range []string{"cs_hq", "cs_fr", "ck_fr", sim.CustomerCanary} {
		if strings.Contains(text, word) {
			t.Errorf("the log or the ledger holds %s", word)
		}
	}
}

// filesOf is all there is in the ledger's files.
func filesOf(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, LedgerName+"*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no ledger: %v", err)
	}
	var all strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(data)
	}
	return all.String()
}

// In mode Observe, which is what a topology without a mode is in, nothing at all is written.
func TestObserveWritesNothing(t *testing.T) {
	t.Parallel()
	clock := newFastClock()
	hq := newShop(t, clock, "hq", nil, sim.SeedOptions{Products: 5})
	fr := newShop(t, clock, "fr", nil, sim.SeedOptions{Products: 5, Quantity: func(n int) float64 { return float64(100 - 10*n) }})
	b := startAgent(t, benchOptions{clock: clock},
		masterDoc("hq", hq.url, "  publicURL: http://sync.example.com\n"), followerDoc("fr", fr.url, "  mode: Sync\n  allocation: {bufferUnits: 10}\n"), hq.secret("hq"), fr.secret("fr"))

	eventually(t, "a report of what would change", func() (bool, string) {
		s := b.status()
		return storeOf(t, s, "fr").InSync.Status == "False", asJSON(s)
	})
	st := storeOf(t, b.status(), "fr")
	// SKU-0001 shows 90, which is right with 10 units held back; the other four are not.
	if st.Mode != "Observe" || st.Connected.Status != "True" || len(st.Mismatches) == 0 {
		t.Errorf("%s", asJSON(st))
	}
	if m := st.Mismatches[0]; m.SKU != "SKU-0005" || m.Shown != 50 || m.Wanted != 90 {
		t.Errorf("the worst difference: %+v", m)
	}
	if slices.ContainsFunc(st.Mismatches, func(m agentapi.Mismatch) bool { return m.SKU == "SKU-0001" }) {
		t.Errorf("a shelf that is right is reported: %+v", st.Mismatches)
	}
	if _, err := fr.PlaceOrder(t.Context(), sim.Line{SKU: "SKU-0003", Quantity: 1}); err != nil {
		t.Fatal(err)
	}
	sweeps := func() (n int) {
		for _, a := range fr.AccessLog(0) {
			if strings.HasSuffix(a.Path, "/orders") {
				n++
			}
		}
		return n
	}
	until := sweeps() + 20
	eventually(t, "twenty more order sweeps", func() (bool, string) { return sweeps() >= until, fmt.Sprint(sweeps()) })
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	for _, shop := range []*shopServer{hq, fr} {
		checkAccess(t, shop.AccessLog(0), false)
	}
}

var markerKey = regexp.MustCompile(`^_stocksync_[0-9a-z_]*[0-9]$`)

// checkAccess holds every request a store got against what the agent is allowed to ask and to write.
func checkAccess(t *testing.T, log []sim.Access, writes bool) {
	t.Helper()
	pushes := 0
	for _, a := range log {
		q, err := url.ParseQuery(a.Query)
		if err != nil {
			t.Fatal(err)
		}
		if a.Method == http.MethodGet {
			fields := q.Get("_fields")
			switch {
			case fields == "" && strings.HasSuffix(a.Path, "/wc/v3"):
			case fields == "":
				t.Errorf("asked without _fields: %s?%s", a.Path, a.Query)
			case strings.Contains(a.Path, "/orders"):
				for f := range strings.SplitSeq(fields, ",") {
					if !slices.Contains([]string{"id", "status", "date_created_gmt", "date_modified_gmt", "line_items"}, f) {
						t.Errorf("asked for %s of orders", f)
					}
				}
			case strings.Contains(fields, "billing") || strings.Contains(fields, "shipping") || strings.Contains(fields, "customer"):
				t.Errorf("asked for a customer's data: %s?%s", a.Path, a.Query)
			}
			continue
		}
		if !writes {
			t.Errorf("wrote in mode Observe: %s %s %s", a.Method, a.Path, a.Body)
			continue
		}
		var body map[string]json.RawMessage
		if len(a.Body) > 0 {
			if err := json.Unmarshal(a.Body, &body); err != nil {
				t.Fatalf("%s: %v", a.Body, err)
			}
		}
		switch {
		case strings.Contains(a.Path, "/webhooks"):
			for k := range body {
				if !slices.Contains([]string{"name", "topic", "delivery_url", "secret", "status"}, k) {
					t.Errorf("wrote %s of a webhook", k)
				}
			}
			if topic := string(body["topic"]); strings.Contains(topic, "order") {
				t.Errorf("made a webhook for %s", topic)
			}
		case strings.Contains(a.Path, "/products"):
			pushes++
			items := []map[string]json.RawMessage{body}
			if batch, ok := body["update"]; ok {
				items = nil
				if err := json.Unmarshal(batch, &items); err != nil || len(body) != 1 {
					t.Fatalf("%s", a.Body)
				}
			}
			for _, item := range items {
				for k, v := range item {
					switch k {
					case "id", "inventory_delta", "manage_stock", "backorders", "low_stock_amount":
					case "stock_status":
						if _, managed := item["manage_stock"]; managed || item["inventory_delta"] != nil {
							t.Errorf("wrote the status of a managed item: %v", item)
						}
					case "meta_data":
						var metas []struct{ Key string }
						err := json.Unmarshal(v, &metas)
						strange := slices.ContainsFunc(metas, func(m struct{ Key string }) bool { return !markerKey.MatchString(m.Key) && m.Key != simkit.MetaGID })
						if err != nil || len(metas) == 0 || len(metas) > 2 || strange {
							t.Errorf("wrote metas that are neither marker nor the item's id: %s", v)
						}
					default:
						t.Errorf("wrote %s of a product", k)
					}
				}
			}
		default:
			t.Errorf("wrote to %s %s", a.Method, a.Path)
		}
	}
	if writes && pushes == 0 {
		t.Error("no stock was written at all")
	}
}

// What a delivery says of a customer is neither logged nor kept.
func TestNothingOfACustomerIsKept(t *testing.T) {
	t.Parallel()
	clock := newFastClock()
	hq := newShop(t, clock, "hq", nil, sim.SeedOptions{Products: 2, Plain: true})
	b := startAgent(t, benchOptions{clock: clock}, masterDoc("hq", hq.url, "  mode: Sync\n"), hq.secret("hq"))
	item := hq.Items()[0].ID
	for _, body := range []string{
		fmt.Sprintf(`{"id":%d,"billing":{"email":%q},"sku":%q}`, item, canary, canary),
		fmt.Sprintf(`{"id":%q,"name":%q}`, canary, canary),
		fmt.Sprintf(`{"id":%d,%q:`, item, canary),
		canary,
	} {
		for _, signed := range []bool{true, false} {
			secret := "wrong"
			if signed {
				secret = WebhookSecret(b.agent.LedgerID(), "hq")
			}
			r := delivery(t, "http://"+b.addrs["public"].String(), "hq", secret, body)
			r.Header.Set("X-WC-Webhook-Source", canary)
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
		}
	}
	eventually(t, "the hinted product being read", func() (bool, string) {
		s := storeOf(t, b.status(), "hq")
		return s.Enrolled == 2, asJSON(s)
	})
	seen := asJSON(b.status()) + metricsOf(t, b)
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	seen += filesOf(t, b.dir)
	for where, text := range map[string]string{"ledger, status or metrics": seen, "log": b.log.String()} {
		if strings.Contains(text, canary) || strings.Contains(text, "jeanne") {
			t.Errorf("a customer is in the %s", where)
		}
	}
}

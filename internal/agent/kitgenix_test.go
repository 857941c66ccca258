package agent

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	simkit "stocksync.dev/stocksync/internal/sim/kitgenix"
	sim "stocksync.dev/stocksync/internal/sim/woocommerce"
)

const (
	hubID      = "99999999-9999-4999-8999-999999999999"
	pluginID   = "22222222-2222-4222-8222-222222222222"
	hubAddress = "http://sync.example.com"
	hubSpec    = "  mode: Sync\n  publicURL: " + hubAddress + "\n  identity: {storeID: " + hubID + ", displayName: The hub}\n"
)

// pluginSpec is the part of a store's document that names its plugin.
func (s *shopServer) pluginSpec(id, remote string) string {
	return fmt.Sprintf("  kitgenix:\n    url: %s\n    remoteStoreID: %s\n    sharedSecretKeyRef: {name: %s-plugin, key: secret}\n    caBundleSecretKeyRef: {name: %s-rest, key: ca.crt}\n",
		s.url, remote, id, id)
}

// sharedSecret is the document of a plugin's secret; others are keys beside it.
func sharedSecret(id, value string, others ...string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: %s-plugin}\nstringData:\n  secret: %q\n%s", id, value, strings.Join(others, ""))
}

func before(value string, until time.Time) string {
	return fmt.Sprintf("  %s: %q\n", v1alpha1.SecretUntilKey("secret", until), value)
}

// install puts the plugin into a shop, as somebody does who types in what the status says.
func (s *shopServer) install(t *testing.T, clock fastClock, generation int, deliver http.RoundTripper, secret string) *simkit.Plugin {
	t.Helper()
	p := simkit.Install(simkit.Options{Store: s.Store, Generation: generation, ID: pluginID, Name: "Shop", Clock: clock, Transport: deliver, QueueDelay: time.Second,
		Peers: []simkit.Peer{{ID: hubID, URL: hubAddress, Secret: secret}}})
	t.Cleanup(p.Close)
	return p
}

func hub(secret string) simkit.Peer { return simkit.Peer{ID: hubID, URL: hubAddress, Secret: secret} }

// checkout is the plugin's question for what is in a cart.
func checkout(t *testing.T, p *simkit.Plugin, secret string, skus ...any) (int, map[string]map[string]any) {
	t.Helper()
	items := []map[string]any{}
	for _, sku := range skus {
		items = append(items, map[string]any{"sku": sku})
	}
	status, body := p.Call(t.Context(), hub(secret), "/stock", map[string]any{"items": items})
	var answer struct {
		Items map[string]map[string]any `json:"items"`
	}
	if status == http.StatusOK {
		if err := json.Unmarshal(body, &answer); err != nil {
			t.Fatal(err)
		}
	}
	return status, answer.Items
}

func enrolled(t *testing.T, b *bench) {
	t.Helper()
	eventually(t, "enrolment", func() (bool, string) {
		s := b.status()
		ok := len(s.Stores) > 1
		for _, st := range s.Stores {
			ok = ok && st.Placements > 0 && st.Enrolled == st.Placements && st.Backlog == 0
		}
		return ok, asJSON(s)
	})
}

// The plugin's event brings a sale at once that polling would find an hour later; the REST API reads and writes, and
// nothing is sent to the plugin but pings, so that there are never two writers.
func TestPluginBesideREST(t *testing.T) {
	t.Parallel()
	for _, generation := range []int{1, 2} {
		t.Run(fmt.Sprint("generation ", generation), func(t *testing.T) {
			t.Parallel()
			clock, deliver := newFastClock(), &toAgent{}
			hq, fr := newShop(t, clock, "hq", deliver, sim.SeedOptions{Products: 6}), newShop(t, clock, "fr", deliver, sim.SeedOptions{Products: 6})
			fr.install(t, clock, generation, deliver, "s3cret")
			slow := strings.Replace(followerDoc("fr", fr.url, fr.pluginSpec("fr", pluginID)), "minIntervalSeconds: 1", "minIntervalSeconds: 3600", 1)
			b := startAgent(t, benchOptions{clock: clock}, masterDoc("hq", hq.url, hubSpec), slow, hq.secret("hq"), fr.secret("fr"), sharedSecret("fr", "s3cret"))
			deliver.addr.Store(b.addrs["public"].String())
			// No webhook may bring what the event is to bring.
			eventually(t, "webhooks", func() (bool, string) {
				return storeOf(t, b.status(), "fr").Tier == agentapi.TierWebhooks, asJSON(b.status())
			})
			fr.Inject(sim.Fault{Kind: sim.FaultHookDrop})
			enrolled(t, b)
			if _, err := fr.PlaceOrder(t.Context(), sim.Line{SKU: "SKU-0001", Quantity: 3}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the sale in the master", func() (bool, string) {
				got := quantities(t, []*shopServer{hq, fr}, "SKU-0001")
				return got == "97 97", got
			})
			var st agentapi.StoreStatus
			eventually(t, "word of it", func() (bool, string) {
				st = storeOf(t, b.status(), "fr")
				return st.Tier == agentapi.TierPluginAndREST && st.HintsAvailable.Reason == v1alpha1.ReasonPluginEventsActive && st.Connected.Status == "True" &&
					st.Plugin != nil && st.Plugin.Generation == generation && st.Plugin.Connection == agentapi.ConnectionOK && st.Plugin.LastPingTime != nil, asJSON(st)
			})
			if (st.Plugin.Version == "2.0.0") != (generation == 2) {
				t.Errorf("version %q", st.Plugin.Version)
			}
			for _, a := range fr.AccessLog(0) {
				if strings.Contains(a.Path, "kitgenix") && !strings.HasSuffix(a.Path, "/ping") {
					t.Errorf("the plugin was sent %s", a.Path)
				}
			}
		})
	}
}

// recorder keeps the last request of a route, so that somebody can send it again.
type recorder struct {
	*toAgent
	mu     sync.Mutex
	header http.Header
	path   string
	body   []byte
}

func (r *recorder) RoundTrip(q *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, err
	}
	q.Body = io.NopCloser(bytes.NewReader(body))
	r.mu.Lock()
	r.header, r.path, r.body = q.Header.Clone(), q.URL.Path, body
	r.mu.Unlock()
	return r.toAgent.RoundTrip(q)
}

// again sends what was recorded, to another route where one is named.
func (r *recorder) again(t *testing.T, path string) int {
	t.Helper()
	r.mu.Lock()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, hubAddress+cmp.Or(path, r.path), bytes.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header = r.header.Clone()
	r.mu.Unlock()
	res, err := r.toAgent.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

// What somebody recorded is refused, to whatever route it is sent, also by an agent that was started anew; and a plugin
// that goes on is not.
func TestPluginRequestsComeOnce(t *testing.T) {
	t.Parallel()
	clock, deliver := newFastClock(), &toAgent{}
	hq, fr := newShop(t, clock, "hq", deliver, sim.SeedOptions{Products: 6}), newShop(t, clock, "fr", deliver, sim.SeedOptions{Products: 6})
	record := &recorder{toAgent: deliver}
	p := fr.install(t, clock, 2, record, "s3cret")
	docs := []string{masterDoc("hq", hq.url, hubSpec), followerDoc("fr", fr.url, fr.pluginSpec("fr", pluginID)), hq.secret("hq"), fr.secret("fr"), sharedSecret("fr", "s3cret")}
	b := startAgent(t, benchOptions{clock: clock}, docs...)
	deliver.addr.Store(b.addrs["public"].String())
	enrolled(t, b)
	for _, route := range []string{"/stock", "/event"} {
		body := map[string]any{"items": []any{map[string]any{"sku": "SKU-0001"}}}
		if route == "/event" {
			body["event_type"], body["event_id"] = "stock_state", "an event"
		}
		if status, text := p.Call(t.Context(), hub("s3cret"), route, body); status != http.StatusOK {
			t.Fatalf("%s: %d %s", route, status, text)
		}
		for _, to := range []string{"", simkit.Root + "/stock"} {
			if status := record.again(t, to); status != http.StatusUnauthorized {
				t.Errorf("a copy of %s to %q got %d", route, to, status)
			}
		}
		if err := b.stop(); err != nil {
			t.Fatal(err)
		}
		b = startAgent(t, benchOptions{clock: clock, dir: b.dir}, docs...)
		deliver.addr.Store(b.addrs["public"].String())
		if status := record.again(t, ""); status != http.StatusUnauthorized {
			t.Errorf("after a restart a copy of %s got %d", route, status)
		}
	}
	if status, _ := checkout(t, p, "s3cret", "SKU-0001"); status != http.StatusOK {
		t.Errorf("the plugin itself got %d", status)
	}
}

// A secret is changed on one side and then on the other. Until the one before runs out both are good, in both
// directions, and no sale is lost; then it is good no more. A rotation on the shop's side is mended by the Secret.
func TestPluginRotation(t *testing.T) {
	t.Parallel()
	clock, deliver := newFastClock(), &toAgent{}
	hq, fr := newShop(t, clock, "hq", deliver, sim.SeedOptions{Products: 6}), newShop(t, clock, "fr", deliver, sim.SeedOptions{Products: 6})
	p := fr.install(t, clock, 2, deliver, "old")
	slow := strings.Replace(followerDoc("fr", fr.url, fr.pluginSpec("fr", pluginID)), "minIntervalSeconds: 1", "minIntervalSeconds: 3600", 1)
	docs := []string{masterDoc("hq", hq.url, hubSpec), slow, hq.secret("hq"), fr.secret("fr")}
	b := startAgent(t, benchOptions{clock: clock}, append(docs, sharedSecret("fr", "old"))...)
	deliver.addr.Store(b.addrs["public"].String())
	fr.Inject(sim.Fault{Kind: sim.FaultHookDrop})
	enrolled(t, b)
	shops := []*shopServer{hq, fr}
	sell := func(what string, left int) {
		t.Helper()
		if _, err := fr.PlaceOrder(t.Context(), sim.Line{SKU: "SKU-0001", Quantity: 1}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the sale "+what, func() (bool, string) {
			got := quantities(t, shops, "SKU-0001")
			return got == fmt.Sprint(left, " ", left), got + " " + asJSON(storeOf(t, b.status(), "fr"))
		})
	}
	pinged := func() time.Time {
		if at := storeOf(t, b.status(), "fr").Plugin.LastPingTime; at != nil {
			return *at
		}
		return time.Time{}
	}
	sell("with the first secret", 99)
	eventually(t, "a ping", func() (bool, string) { return !pinged().IsZero(), "" })

	until := clock.Now().Add(24 * time.Hour)
	changed := clock.Now()
	b.apply(append(docs, sharedSecret("fr", "new", before("old", until)))...)
	sell("with the new secret on our side", 98)
	eventually(t, "a ping that the old secret signs", func() (bool, string) {
		return pinged().After(changed), asJSON(storeOf(t, b.status(), "fr"))
	})
	p.SetPeers(hub("new"))
	sell("with the new secret on both sides", 97)
	if status, _ := checkout(t, p, "old", "SKU-0001"); status != http.StatusOK {
		t.Errorf("within the overlap the secret before got %d", status)
	}
	b.apply(append(docs, sharedSecret("fr", "new", before("old", clock.Now().Add(-time.Minute))))...)
	if status, _ := checkout(t, p, "old", "SKU-0001"); status != http.StatusUnauthorized {
		t.Errorf("after the overlap the secret before got %d", status)
	}
	sell("after the overlap", 96)

	// The shop's side makes a new one: both directions break, and the status says what to do.
	p.SetPeers(hub("newest"))
	if status, _ := checkout(t, p, "newest", "SKU-0001"); status != http.StatusUnauthorized {
		t.Errorf("an unknown secret got %d", status)
	}
	eventually(t, "word of the refused signature", func() (bool, string) {
		st := storeOf(t, b.status(), "fr")
		return st.HintsAvailable.Status == "False" && st.HintsAvailable.Reason == v1alpha1.ReasonSignatureRefused &&
			strings.Contains(st.HintsAvailable.Message, "`fr-plugin`") && !strings.Contains(asJSON(st), "newest"), asJSON(st)
	})
	b.apply(append(docs, sharedSecret("fr", "newest", before("new", until)))...)
	sell("with the shop's new secret", 95)
	eventually(t, "health", func() (bool, string) {
		st := storeOf(t, b.status(), "fr")
		return st.HintsAvailable.Status == "True" && st.Plugin.Connection == agentapi.ConnectionOK, asJSON(st)
	})

	// The topology is given the id of the plugin master it stands in for.
	const old = "77777777-7777-4777-8777-777777777777"
	p.SetPeers(simkit.Peer{ID: old, URL: hubAddress, Secret: "newest"})
	renamed := clock.Now()
	b.apply(append(append([]string{strings.Replace(docs[0], hubID, old, 1)}, docs[1:]...), sharedSecret("fr", "newest"))...)
	eventually(t, "a ping under the new id", func() (bool, string) {
		return pinged().After(renamed), asJSON(storeOf(t, b.status(), "fr"))
	})
	if log := b.log.String(); strings.Contains(log, "newest") || strings.Contains(log, "s3cret") {
		t.Error("a secret stands in the log")
	}
}

// The plugin's question is answered by the shared stock less the shop's buffer, so that nothing is refused that is not
// shared; while the master is unreachable, by the policy.
func TestStrictCheckout(t *testing.T) {
	t.Parallel()
	clock, deliver := newFastClock(), &toAgent{}
	hq, fr := newShop(t, clock, "hq", deliver, sim.SeedOptions{Products: 8}), newShop(t, clock, "fr", deliver, sim.SeedOptions{Products: 8})
	for _, shop := range []*shopServer{hq, fr} {
		if err := shop.SetManageStock("SKU-0002", false, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := shop.Create(sim.NewItem{SKU: "4711", Quantity: new(float64(2))}); err != nil {
			t.Fatal(err)
		}
	}
	p := fr.install(t, clock, 2, deliver, "s3cret")
	docs := func(spec, policy string) []string {
		return []string{masterDoc("hq", hq.url, hubSpec+"  lagObjectiveSeconds: 60\n"),
			followerDoc("fr", fr.url, "  allocation: {bufferUnits: 10}\n  exclusions: {skus: [sku-0003]}\n"+spec+fr.pluginSpec("fr", pluginID)+policy),
			hq.secret("hq"), fr.secret("fr"), sharedSecret("fr", "s3cret")}
	}
	b := startAgent(t, benchOptions{clock: clock}, docs("", "")...)
	deliver.addr.Store(b.addrs["public"].String())
	enrolled(t, b)
	ask := func() string {
		t.Helper()
		status, items := checkout(t, p, "s3cret", " sku-0001", "SKU-0002", "SKU-0003", 4711, "NOBODY-HAS-IT")
		if status != http.StatusOK || len(items) != 5 {
			t.Fatal(status, items)
		}
		var out []string
		for _, sku := range []string{"sku-0001", "SKU-0002", "SKU-0003", "4711", "NOBODY-HAS-IT"} {
			if i := items[sku]; i["exists"] == true {
				out = append(out, fmt.Sprint(i["stock_quantity"], i["stock_status"], i["backorders"]))
			} else {
				out = append(out, "-")
			}
		}
		return strings.Join(out, " ")
	}
	const known = "90instockno - - 0outofstockno -"
	if got := ask(); got != known {
		t.Errorf("answered %s, want %s", got, known)
	}
	eventually(t, "fresh numbers", func() (bool, string) {
		st := storeOf(t, b.status(), "fr")
		return st.CheckoutValidated != nil && st.CheckoutValidated.Status == "True", asJSON(st)
	})
	if st := storeOf(t, b.status(), "hq"); st.CheckoutValidated != nil || st.Plugin != nil {
		t.Errorf("%s", asJSON(st))
	}

	hq.Inject(sim.Fault{Kind: sim.FaultStatus, Path: "/", Status: 503})
	for _, c := range []struct{ policy, want, reason, answer string }{
		{"FailClosed", "0outofstockno - - 0outofstockno -", v1alpha1.ReasonMasterUnreachable, "failed_closed"},
		{"FailOpen", "- - - - -", v1alpha1.ReasonCheckoutFailingOpen, "failed_open"},
		{"LastKnownGood, maxAgeSeconds: 604800", known, v1alpha1.ReasonMasterUnreachable, "last_known"},
		{"LastKnownGood, maxAgeSeconds: 60", "- - - - -", v1alpha1.ReasonCheckoutFailingOpen, "too_old"},
	} {
		b.apply(docs("", "  checkoutValidation: {masterUnreachablePolicy: "+c.policy+"}\n")...)
		eventually(t, c.policy, func() (bool, string) {
			st := storeOf(t, b.status(), "fr")
			return st.CheckoutValidated.Status == "False" && st.CheckoutValidated.Reason == c.reason, asJSON(st.CheckoutValidated)
		})
		counted := func() float64 {
			return valueOf(metricsOf(t, b), `stocksync_checkout_answers_total{answer="`+c.answer+`",store="fr"}`)
		}
		before := counted()
		if got := ask(); got != c.want {
			t.Errorf("%s answered %s, want %s", c.policy, got, c.want)
		}
		if got := counted() - before; got != 1 {
			t.Errorf("%s was counted %v times", c.answer, got)
		}
	}
	if n := strings.Count(b.log.String(), "the master is unreachable, and a checkout was answered"); n == 0 || n >= 4 {
		t.Errorf("four answers within minutes were logged %d times", n)
	}
	// A restart does not make a master that is down look as if it never was there.
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b = startAgent(t, benchOptions{clock: clock, dir: b.dir}, docs("", "  checkoutValidation: {masterUnreachablePolicy: LastKnownGood, maxAgeSeconds: 604800}\n")...)
	deliver.addr.Store(b.addrs["public"].String())
	if got := ask(); got != known {
		t.Errorf("after a restart answered %s, want %s", got, known)
	}
	hq.Clear()
	eventually(t, "fresh numbers", func() (bool, string) {
		st := storeOf(t, b.status(), "fr")
		return st.CheckoutValidated.Status == "True", asJSON(st.CheckoutValidated)
	})

	// A shop that is Off is told so, and nothing is refused to its buyers.
	b.apply(docs("  mode: Off\n", "")...)
	if got := ask(); got != "- - - - -" {
		t.Errorf("in mode Off answered %s", got)
	}
	status, body := p.Call(t.Context(), hub("s3cret"), "/event", map[string]any{"event_type": "stock_state", "event_id": "x", "items": []any{map[string]any{"sku": "SKU-0001", "stock_quantity": 1}}})
	if status != http.StatusForbidden || !strings.Contains(string(body), "mode Off") {
		t.Errorf("in mode Off an event got %d %s", status, body)
	}
}

// Whoever knows a plugin's id and no secret can neither lock the plugin out, nor fill the room, nor the memory, nor learn
// which stores there are.
func TestForgersStopNobody(t *testing.T) {
	t.Parallel()
	clock, deliver := newFastClock(), &toAgent{}
	hq, fr := newShop(t, clock, "hq", deliver, sim.SeedOptions{Products: 6}), newShop(t, clock, "fr", deliver, sim.SeedOptions{Products: 6})
	p := fr.install(t, clock, 2, deliver, "s3cret")
	b := startAgent(t, benchOptions{clock: clock}, masterDoc("hq", hq.url, hubSpec), followerDoc("fr", fr.url, fr.pluginSpec("fr", pluginID)), hq.secret("hq"), fr.secret("fr"), sharedSecret("fr", "s3cret"))
	public := b.addrs["public"].String()
	deliver.addr.Store(public)
	enrolled(t, b)
	good := func(when string) {
		t.Helper()
		if status, items := checkout(t, p, "s3cret", "SKU-0001"); status != http.StatusOK || items["SKU-0001"]["exists"] != true {
			t.Errorf("%s the plugin got %d %v", when, status, items)
		}
	}
	answers := map[string]string{}
	for i := range 200 {
		id, secret := pluginID, "guess"
		if i%2 == 1 {
			id = "33333333-3333-4333-8333-333333333333"
		}
		forger := simkit.Install(simkit.Options{Store: sim.New(sim.Options{Name: "forger", Clock: clock}), ID: id, Clock: clock, Transport: deliver})
		status, body := forger.Call(t.Context(), hub(secret), "/event", map[string]any{"event_type": "stock_state", "items": []any{map[string]any{"sku": "SKU-0001", "stock_quantity": 0}}})
		forger.Close()
		if status == http.StatusUnauthorized {
			answers[id] = string(body)
		} else if status != http.StatusTooManyRequests {
			t.Fatalf("a forged event got %d %s", status, body)
		}
		if i%50 == 49 {
			good("amid forged requests")
		}
	}
	if len(answers) != 2 || answers[pluginID] != answers["33333333-3333-4333-8333-333333333333"] {
		t.Errorf("the answers tell which stores there are: %v", answers)
	}
	if status, _ := p.Call(t.Context(), hub("s3cret"), "/event", map[string]any{"event_type": "stock_state", "filler": strings.Repeat("x", 3<<20)}); status != http.StatusRequestEntityTooLarge {
		t.Errorf("3 MiB got %d", status)
	}
	for range maxPluginBodies + 5 {
		c, err := net.Dial("tcp", public)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := fmt.Fprintf(c, "POST %s/event HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{", simkit.Root); err != nil {
			t.Fatal(err)
		}
	}
	good("beside bodies that dawdle")
	if kept, err := b.agent.ledger.Nonces(t.Context(), clock.Now()); err != nil || len(kept) > 10 {
		t.Errorf("%d nonces are remembered, %v", len(kept), err)
	}
	if got := quantities(t, []*shopServer{hq, fr}, "SKU-0001"); got != "100 100" {
		t.Errorf("the shops show %s", got)
	}
}

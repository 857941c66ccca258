package agent

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/engine"
	simkit "stocksync.dev/stocksync/internal/sim/kitgenix"
	sim "stocksync.dev/stocksync/internal/sim/woocommerce"
	"stocksync.dev/stocksync/internal/stock"
)

// aloneDoc is a child whose plugin is the only way in; the documents beside it are its secrets.
func (s *shopServer) aloneDoc(id, remote, extra string) string {
	return fmt.Sprintf("apiVersion: stocksync.dev/v1alpha1\nkind: ChildStore\nmetadata: {name: %s}\nspec:\n  topologyRef: {name: emea}\n%s  polling: {minIntervalSeconds: 1, maxStoreLoadPercent: 100}\n%s",
		id, extra, s.pluginSpec(id, remote))
}

// settled tells whether every write to a store was read back, and is so long ago that nothing of what follows falls into
// the same seconds, which is all that events tell of their time: a sale in the very moment of a write leaves a row.
func settled(t *testing.T, b *bench, store string) bool {
	t.Helper()
	ok := true
	err := b.agent.ledger.View(t.Context(), func(tx engine.Tx) error {
		page, err := tx.StorePlacements(store, 0, 1000)
		for _, p := range page {
			now := b.agent.clock.Now()
			_, open := p.Absolute.Watch(now)
			ok = ok && !open && p.Todo == 0 && !slices.ContainsFunc(p.Absolute.Writes, func(w stock.Write) bool { return now.Sub(w.SentAt) < 10*time.Second })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// Children of both generations that have nothing but the plugin, a plain child and a plain master: what is sold in any is
// sold in all, over a restart of the agent in between; the plugins were given the agent instead of a plugin master, and
// nothing else.
func TestPluginAlone(t *testing.T) {
	t.Parallel()
	for _, generation := range []int{1, 2} {
		t.Run(fmt.Sprint("generation ", generation), func(t *testing.T) {
			t.Parallel()
			clock, deliver := newFastClock(), &toAgent{}
			seed := sim.SeedOptions{Products: 4, Plain: true}
			hq, fr, de := newShop(t, clock, "hq", deliver, seed), newShop(t, clock, "fr", deliver, seed), newShop(t, clock, "de", deliver, seed)
			p := fr.install(t, clock, generation, deliver, "s3cret")
			docs := []string{masterDoc("hq", hq.url, hubSpec), fr.aloneDoc("fr", pluginID, ""), followerDoc("de", de.url, ""), hq.secret("hq"), fr.secret("fr"), de.secret("de"), sharedSecret("fr", "s3cret")}
			b := startAgent(t, benchOptions{clock: clock}, docs...)
			deliver.addr.Store(b.addrs["public"].String())
			enrolled(t, b)
			shops := []*shopServer{hq, fr, de}
			all := func(what string, left int) {
				t.Helper()
				eventually(t, what, func() (bool, string) {
					got := quantities(t, shops, "SKU-0001")
					return got == fmt.Sprint(left, " ", left, " ", left) && settled(t, b, "fr"), got + " " + asJSON(storeOf(t, b.status(), "fr"))
				})
			}
			sell := func(shop *shopServer, units int64) {
				t.Helper()
				if _, err := shop.PlaceOrder(t.Context(), sim.Line{SKU: "SKU-0001", Quantity: units}); err != nil {
					t.Fatal(err)
				}
			}
			sell(hq, 2)
			all("a sale in the master", 98)
			sell(fr, 3)
			all("a sale in the plugin's shop", 95)
			sell(de, 1)
			all("a sale in the plain child", 94)
			st := storeOf(t, b.status(), "fr")
			if st.Tier != agentapi.TierPlugin || st.Plugin.Generation != generation || st.Plugin.Connection != agentapi.ConnectionOK || st.Connected.Status != "True" ||
				st.InSync.Status != "True" || st.LastOutboundTime == nil || st.LastInboundTime == nil {
				t.Errorf("%s", asJSON(st))
			}
			if status, items := checkout(t, p, "s3cret", "SKU-0001"); status != 200 || items["SKU-0001"]["stock_quantity"] != float64(94) {
				t.Errorf("at checkout %d %v", status, items)
			}

			// Sold while the agent is away; the plugin's event finds nobody.
			if err := b.stop(); err != nil {
				t.Fatal(err)
			}
			sell(fr, 4)
			sell(hq, 1)
			b = startAgent(t, benchOptions{clock: clock, dir: b.dir}, docs...)
			deliver.addr.Store(b.addrs["public"].String())
			all("what was sold meanwhile", 89)
			if s := b.status(); s.Conflicts != 0 {
				open, err := b.client.Conflicts(t.Context(), "", "")
				t.Errorf("conflicts: %s %v", asJSON(open), err)
			}

			// At the same moment: where two real plugins would both end at one less, all of it is counted.
			var moment sync.WaitGroup
			for shop, units := range map[*shopServer]int64{hq: 1, fr: 2, de: 3} {
				moment.Go(func() {
					if _, err := shop.PlaceOrder(t.Context(), sim.Line{SKU: "SKU-0001", Quantity: units}); err != nil {
						t.Error(err)
					}
				})
			}
			moment.Wait()
			all("sales in three shops at the same moment", 83)
			for _, a := range fr.AccessLog(0) {
				if !strings.HasPrefix(a.Path, simkit.Root) && !strings.HasPrefix(a.Path, strings.TrimPrefix(simkit.Root, "/wp-json")) {
					t.Errorf("asked for %s", a.Path)
				}
			}
		})
	}
}

// The agent as the child of a master that has nothing but the plugin: its events arrive, what children sell arrives there,
// and it may compare itself with the agent as with any child.
func TestPluginMaster(t *testing.T) {
	t.Parallel()
	const masterID = "11111111-1111-4111-8111-111111111111"
	for _, generation := range []int{1, 2} {
		t.Run(fmt.Sprint("generation ", generation), func(t *testing.T) {
			t.Parallel()
			clock, deliver := newFastClock(), &toAgent{}
			seed := sim.SeedOptions{Products: 4, Plain: true}
			hq, fr := newShop(t, clock, "hq", deliver, seed), newShop(t, clock, "fr", deliver, seed)
			p := simkit.Install(simkit.Options{Store: hq.Store, Generation: generation, ID: masterID, Name: "Head office", Master: true, Clock: clock, Transport: deliver, Peers: []simkit.Peer{hub("s3cret")}})
			t.Cleanup(p.Close)
			top := "apiVersion: stocksync.dev/v1alpha1\nkind: StockSyncTopology\nmetadata: {name: emea}\nspec:\n" + hubSpec + "  master:\n    storeID: hq\n" +
				strings.ReplaceAll("  "+strings.TrimSuffix(hq.pluginSpec("hq", masterID), "\n"), "\n", "\n  ") + "\n"
			b := startAgent(t, benchOptions{clock: clock}, top, followerDoc("fr", fr.url, ""), hq.secret("hq"), fr.secret("fr"), sharedSecret("hq", "s3cret"))
			deliver.addr.Store(b.addrs["public"].String())
			enrolled(t, b)
			shops := []*shopServer{hq, fr}
			all := func(what string, left int) {
				t.Helper()
				eventually(t, what, func() (bool, string) {
					got := quantities(t, shops, "SKU-0001")
					return got == fmt.Sprint(left, " ", left) && settled(t, b, "hq"), got + " " + asJSON(b.status())
				})
			}
			for _, shop := range shops {
				if _, err := shop.PlaceOrder(t.Context(), sim.Line{SKU: "SKU-0001", Quantity: 2}); err != nil {
					t.Fatal(err)
				}
			}
			all("a sale in either", 96)
			if st := storeOf(t, b.status(), "hq"); st.Tier != agentapi.TierPlugin || st.Plugin.Generation != generation || st.Plugin.Connection != agentapi.ConnectionOK || st.CheckoutValidated != nil {
				t.Errorf("%s", asJSON(st))
			}
			status, body := p.Call(t.Context(), hub("s3cret"), "/stock-state", map[string]any{"items": []any{map[string]any{"sku": "SKU-0001"}}})
			if status != 200 || !strings.Contains(string(body), `"stock_quantity":96`) || !strings.Contains(string(body), `"manage_stock":true`) {
				t.Errorf("as a child it shows %d %s", status, body)
			}
			if status, body := p.Call(t.Context(), hub("s3cret"), "/stock", map[string]any{"items": []any{}}); status != 403 || !strings.Contains(string(body), "kss_not_master") {
				t.Errorf("as a child it is asked for stock: %d %s", status, body)
			}
			if s := b.status(); s.Conflicts != 0 {
				open, err := b.client.Conflicts(t.Context(), "", "")
				t.Errorf("conflicts: %s %v", asJSON(open), err)
			}
		})
	}
}

package agent

import (
	"fmt"
	"strings"
	"testing"

	"stocksync.dev/stocksync/api/v1alpha1"
	sim "stocksync.dev/stocksync/internal/sim/woocommerce"
)

// shown is what shops say of an item beside its quantity.
func shown(t *testing.T, stores []*shopServer, sku string) string {
	t.Helper()
	var out []string
	for _, s := range stores {
		it, err := s.Item(sku)
		if err != nil {
			t.Fatal(err)
		}
		low, quantity := "none", "none"
		if it.Low != nil {
			low = fmt.Sprint(*it.Low)
		}
		if it.Quantity != nil {
			quantity = fmt.Sprint(*it.Quantity)
		}
		out = append(out, fmt.Sprintf("%v %s %s %s %s", it.Manage, quantity, it.Status, it.Backorders, low))
	}
	return strings.Join(out, " | ")
}

func becomes(t *testing.T, stores []*shopServer, sku, want string) {
	t.Helper()
	all := strings.Repeat(want+" | ", len(stores))
	eventually(t, sku+" "+want+" everywhere", func() (bool, string) {
		got := shown(t, stores, sku)
		return got+" | " == all, got
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Backorders, low stock amounts and the status of items without stock are the same in every shop: the master's at
// first, then what was changed last, wherever. Whether stock is managed is the master's to say.
func TestFieldsAreTheSameEverywhere(t *testing.T) {
	t.Parallel()
	clock := newFastClock()
	hq := newShop(t, clock, "hq", nil, sim.SeedOptions{Products: 6})
	fr := newShop(t, clock, "fr", nil, sim.SeedOptions{Products: 6})
	de := newShop(t, clock, "de", nil, sim.SeedOptions{Products: 6})
	shops := []*shopServer{hq, fr, de}
	set := func(s *shopServer, sku string, c sim.StockChange) {
		t.Helper()
		must(t, s.SetStockFields(sku, c))
	}
	set(hq, "SKU-0001", sim.StockChange{Backorders: new("notify"), LowSent: true, Low: new(int64(0))})
	set(fr, "SKU-0001", sim.StockChange{Backorders: new("yes"), LowSent: true, Low: new(int64(9))})
	set(fr, "NM-1", sim.StockChange{Status: new(sim.OutOfStock)})
	must(t, fr.SetManageStock("SKU-0005", false, nil))
	b := startAgent(t, benchOptions{clock: clock}, masterDoc("hq", hq.url, "  mode: Sync\n"), followerDoc("fr", fr.url, ""), followerDoc("de", de.url, ""),
		hq.secret("hq"), fr.secret("fr"), de.secret("de"))

	// The master's first values.
	becomes(t, shops, "SKU-0001", "true 100 instock notify 0")
	becomes(t, shops, "NM-1", "false none instock no none")
	// A child that counted nothing begins to, and gets the shared number.
	becomes(t, shops, "SKU-0005", "true 100 instock no none")

	// A change anywhere is a change everywhere. No amount is not 0.
	set(de, "SKU-0001", sim.StockChange{Backorders: new("yes"), LowSent: true})
	becomes(t, shops, "SKU-0001", "true 100 instock yes none")
	set(fr, "NM-1", sim.StockChange{Status: new(sim.OnBackorder)})
	becomes(t, shops, "NM-1", "false none onbackorder no none")
	// What a parent holds for its variations, it holds the fields of too.
	set(fr, "VAR-4", sim.StockChange{Backorders: new("notify")})
	becomes(t, shops, "VAR-4", "true 50 instock notify none")
	set(de, "VAR-1-S", sim.StockChange{LowSent: true, Low: new(int64(3))})
	becomes(t, shops, "VAR-1-S", "true 20 instock no 3")

	// A status that does not fit the quantity is derived again.
	must(t, fr.SetStockStatus("SKU-0002", sim.OutOfStock))
	becomes(t, shops, "SKU-0002", "true 100 instock no none")

	// A box unticked in a child clears nothing: the item is counted again.
	must(t, de.SetManageStock("SKU-0003", false, nil))
	becomes(t, shops, "SKU-0003", "true 100 instock no none")
	eventually(t, "its second enrolment", func() (bool, string) {
		h, err := b.client.History(t.Context(), "SKU-0003", 100)
		must(t, err)
		times := 0
		for _, e := range h.Entries {
			if e.Kind == "Enrolled" && e.Store == "de" {
				times++
			}
		}
		return times == 2, asJSON(h.Entries)
	})
	if _, err := de.PlaceOrder(t.Context(), sim.Line{SKU: "SKU-0003", Quantity: 4}); err != nil {
		t.Fatal(err)
	}
	becomes(t, shops, "SKU-0003", "true 96 instock no none")
	// The master's box is another matter, and the number is kept until it counts again.
	must(t, hq.SetManageStock("SKU-0003", false, nil))
	becomes(t, shops, "SKU-0003", "false none instock no none")
	must(t, hq.SetManageStock("SKU-0003", true, new(96.0)))
	becomes(t, shops, "SKU-0003", "true 96 instock no none")

	h, err := b.client.History(t.Context(), "SKU-0001", 100)
	must(t, err)
	changes := 0
	for _, e := range h.Entries {
		if e.Kind == "Field" {
			changes++
		}
	}
	if changes != 2 {
		t.Errorf("%d lines tell of two changes: %s", changes, asJSON(h.Entries))
	}
	must(t, b.stop())
	for _, s := range shops {
		checkAccess(t, s.AccessLog(0), true)
	}
}

// Fields are not written where nothing is: in Observe, and of SKUs that are excluded.
func TestFieldsOfExcludedSKUsStay(t *testing.T) {
	t.Parallel()
	clock := newFastClock()
	hq := newShop(t, clock, "hq", nil, sim.SeedOptions{Products: 3})
	fr := newShop(t, clock, "fr", nil, sim.SeedOptions{Products: 3})
	de := newShop(t, clock, "de", nil, sim.SeedOptions{Products: 3})
	for _, sku := range []string{"SKU-0001", "SKU-0002"} {
		must(t, hq.SetStockFields(sku, sim.StockChange{Backorders: new("yes")}))
	}
	b := startAgent(t, benchOptions{clock: clock}, masterDoc("hq", hq.url, "  mode: Sync\n"), followerDoc("fr", fr.url, "  exclusions: {skus: [sku-0001, nm-1]}\n"),
		followerDoc("de", de.url, "  mode: Observe\n"), hq.secret("hq"), fr.secret("fr"), de.secret("de"))
	becomes(t, []*shopServer{hq, fr}, "SKU-0002", "true 100 instock yes none")
	must(t, hq.SetStockStatus("NM-1", sim.OutOfStock))
	must(t, hq.SetStockFields("SKU-0003", sim.StockChange{LowSent: true, Low: new(int64(5))}))
	becomes(t, []*shopServer{hq, fr}, "SKU-0003", "true 100 instock no 5")
	if got := shown(t, []*shopServer{fr}, "SKU-0001") + ", " + shown(t, []*shopServer{fr}, "NM-1"); got != "true 100 instock no none, false none instock no none" {
		t.Errorf("what is excluded became %s", got)
	}
	must(t, b.stop())
	checkAccess(t, de.AccessLog(0), false)
}

// A shop that another ledger claims is taken over by naming that ledger, and by naming no other.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	clock := newFastClock()
	hq := newShop(t, clock, "hq", nil, sim.SeedOptions{Products: 2, Plain: true})
	fr := newShop(t, clock, "fr", nil, sim.SeedOptions{Products: 2, Plain: true, Quantity: func(int) float64 { return 7 }})
	docs := func(annotations string) []string {
		child := followerDoc("fr", fr.url, "")
		if annotations != "" {
			child = strings.Replace(child, "metadata: {name: fr}", "metadata:\n  name: fr\n  annotations: {"+annotations+"}", 1)
		}
		return []string{masterDoc("hq", hq.url, "  mode: Sync\n"), child, hq.secret("hq"), fr.secret("fr")}
	}
	first := startAgent(t, benchOptions{clock: clock}, docs("")...)
	becomes(t, []*shopServer{hq, fr}, "SKU-0001", "true 100 instock no none")
	must(t, first.stop())
	old := first.agent.LedgerID()

	b := startAgent(t, benchOptions{clock: clock}, docs("")...)
	claimed := func(words ...string) {
		t.Helper()
		eventually(t, "a claim that says "+strings.Join(words, ", "), func() (bool, string) {
			c := storeOf(t, b.status(), "fr").Connected
			ok := c.Reason == v1alpha1.ReasonStoreClaimedElsewhere
			for _, w := range words {
				ok = ok && strings.Contains(c.Message, w)
			}
			return ok, asJSON(c)
		})
	}
	claimed(old, v1alpha1.AnnotationTakeOverFrom, "ChildStore")
	wrong := strings.Repeat("ab", 16)
	b.apply(docs(v1alpha1.AnnotationTakeOverFrom + `: "` + wrong + `"`)...)
	claimed(wrong, "name "+old)
	b.apply(docs(v1alpha1.AnnotationTakeOverFrom + `: "` + old + `"`)...)
	eventually(t, "the takeover", func() (bool, string) {
		c := storeOf(t, b.status(), "fr")
		return c.Connected.Status == "True" && c.Enrolled == 2, asJSON(c)
	})
	if _, err := hq.PlaceOrder(t.Context(), sim.Line{SKU: "SKU-0002", Quantity: 5}); err != nil {
		t.Fatal(err)
	}
	becomes(t, []*shopServer{hq, fr}, "SKU-0002", "true 95 instock no none")
	// The annotation did its work; without it, and after a scan, the old markers are still history.
	b.apply(docs("")...)
	if _, err := hq.PlaceOrder(t.Context(), sim.Line{SKU: "SKU-0001", Quantity: 5}); err != nil {
		t.Fatal(err)
	}
	becomes(t, []*shopServer{hq, fr}, "SKU-0001", "true 95 instock no none")
}

// With editPolicy Revert a number typed in is undone, with Count it is everybody's; sales are sales in both.
func TestEditPolicyRevert(t *testing.T) {
	t.Parallel()
	clock := newFastClock()
	hq := newShop(t, clock, "hq", nil, sim.SeedOptions{Products: 2, Plain: true})
	fr := newShop(t, clock, "fr", nil, sim.SeedOptions{Products: 2, Plain: true})
	de := newShop(t, clock, "de", nil, sim.SeedOptions{Products: 2, Plain: true})
	shops := []*shopServer{hq, fr, de}
	b := startAgent(t, benchOptions{clock: clock}, masterDoc("hq", hq.url, "  mode: Sync\n"), followerDoc("fr", fr.url, "  editPolicy: Revert\n"), followerDoc("de", de.url, ""),
		hq.secret("hq"), fr.secret("fr"), de.secret("de"))
	eventually(t, "enrolment", func() (bool, string) {
		s := b.status()
		ok := true
		for _, st := range s.Stores {
			ok = ok && st.Placements == 2 && st.Enrolled == 2
		}
		return ok, asJSON(s.Stores)
	})
	if _, err := fr.PlaceOrder(t.Context(), sim.Line{SKU: "SKU-0001", Quantity: 3}); err != nil {
		t.Fatal(err)
	}
	becomes(t, shops, "SKU-0001", "true 97 instock no none")
	must(t, fr.EditStock("SKU-0001", 60))
	edits := func(units int64) {
		t.Helper()
		eventually(t, "the edit in the history", func() (bool, string) {
			h, err := b.client.History(t.Context(), "SKU-0001", 100)
			must(t, err)
			for _, e := range h.Entries {
				if e.Kind == "Edited" && e.Units == units {
					return true, ""
				}
			}
			return false, asJSON(h.Entries)
		})
	}
	edits(-37)
	becomes(t, shops, "SKU-0001", "true 97 instock no none")
	must(t, de.EditStock("SKU-0001", 80))
	edits(-17)
	becomes(t, shops, "SKU-0001", "true 80 instock no none")
}

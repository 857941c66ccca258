package engine_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/engine"
	sim "stocksync.dev/stocksync/internal/sim/katana"
	"stocksync.dev/stocksync/internal/sim/katana/oracle"
	"stocksync.dev/stocksync/internal/stock"
)

// The rules K1 to K28 of a topology whose stock comes from Katana, each against a simulated account and shops as they were
// measured, in virtual time. Nothing is written when a topology is connected (K12), so that most begin with a change.

// TestK01SyncedQuantity: a shop is written what is in stock less what open orders hold.
func TestK01SyncedQuantity(t *testing.T) {
	t.Parallel()
	f := started(t, 1, 1)
	f.order(0, 3)
	f.follow()
	f.shows(0, 7)
	f.quiet()
}

// TestK02PackedAndDelivered: what is packed or delivered has left the stock and is held by no order any more.
func TestK02PackedAndDelivered(t *testing.T) {
	t.Parallel()
	f := started(t, 1, 1)
	o := f.order(0, 3)
	f.follow()
	f.shows(0, 7)
	for _, step := range []func(int64, ...sim.Quantity) error{f.account.Pack, f.account.Deliver} {
		f.do(step(o))
		f.follow()
		f.shows(0, 7)
	}
	o = f.order(0, 4)
	f.follow()
	f.do(f.account.Pack(o, sim.Units(1)))
	f.follow()
	f.shows(0, 3)
	f.quiet()
}

// TestK03AvailableForSale: what a shop sells and Katana imports is the same number in both, and is not written.
func TestK03AvailableForSale(t *testing.T) {
	t.Parallel()
	f := started(t, 1, 1)
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(1)))
	f.follow()
	f.shows(0, 11)
	f.wrote(1)
	o := f.sold(0, 0, 1)
	f.follow()
	f.imports(0, o, 0, 1)
	f.follow()
	f.shows(0, 10)
	f.wrote(0)
	f.quiet()
}

// wooOnly leaves out what was not ordered in a WooCommerce shop.
var wooOnly = stock.SupplyPolicy{Committed: stock.CommittedWooCommerceOnly}

// TestK04OrdersMadeInKatana: each store chooses whether orders that were not made in a WooCommerce shop count.
func TestK04OrdersMadeInKatana(t *testing.T) {
	t.Parallel()
	f := newFed(t, 2, 1)
	f.terms["s1"].Counts = wooOnly
	f.boot()
	f.pass(3 * time.Minute)
	f.imports(0, 1, 0, 2)
	f.order(0, 5)
	f.follow()
	f.shows(0, 3, 8)
	f.quiet()
}

// TestK05FulfilledOrdersLowerTheStock: an order that does not count lowers the number when it leaves the stock.
func TestK05FulfilledOrdersLowerTheStock(t *testing.T) {
	t.Parallel()
	f := newFed(t, 1, 1)
	f.terms["s0"].Counts = wooOnly
	f.boot()
	f.pass(3 * time.Minute)
	f.imports(0, 1, 0, 2)
	o := f.order(0, 5)
	f.follow()
	f.shows(0, 8)
	f.do(f.account.Deliver(o))
	f.follow()
	f.shows(0, 3)
}

// TestK06PartsDoNotCount: what a kit or a manufacturing order needs of an item does not lower the item's number.
func TestK06PartsDoNotCount(t *testing.T) {
	t.Parallel()
	f := newFed(t, 1, 1)
	kit := f.account.AddItem(sim.NewItem{Name: "KIT", SKU: new("KIT"), Kit: true})
	f.account.AddPart(kit, f.variants[0], sim.Units(1))
	f.do(f.account.Adjust(kit, f.here, sim.Units(5)))
	f.variants = append(f.variants, kit)
	f.shops[0].add(firstObject+1, "KIT", 50)
	f.boot()
	f.pass(3 * time.Minute)
	f.order(0, 1)
	f.order(1, 2)
	f.account.Make(kit, f.here, sim.Units(4), map[int64]sim.Quantity{f.variants[0]: sim.Units(1)})
	f.follow()
	f.shows(0, 9)
	f.shows(1, 3)
}

// TestK07OtherThanTheScreen: Katana's own committed figure may be another, and that is no error; both are told.
func TestK07OtherThanTheScreen(t *testing.T) {
	t.Parallel()
	f := started(t, 1, 1)
	kit := f.account.AddItem(sim.NewItem{Name: "KIT", SKU: new("KIT"), Kit: true})
	f.account.AddPart(kit, f.variants[0], sim.Units(1))
	f.account.Make(kit, f.here, sim.Units(4), map[int64]sim.Quantity{f.variants[0]: sim.Units(1)})
	f.order(0, 3)
	f.follow()
	f.shows(0, 7)
	f.quiet()
	if s := f.state(); s.Failure != nil || s.DoubtedCount != 0 {
		t.Errorf("the source is said to be wrong: %+v", s)
	}
	item, _, _, _ := f.told("SKU-0")
	if u, ok := item.Supply(id(f.here)); !ok || u.Level.Committed.String() != "7" || u.Demand.Open().String() != "3" {
		t.Errorf("told are %+v, want 7 committed by Katana and 3 counted", u)
	}
}

// TestK08StockChangesAreWritten: a change of what is in stock makes one write of that item.
func TestK08StockChangesAreWritten(t *testing.T) {
	t.Parallel()
	f := started(t, 1, 2)
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(5)))
	f.follow()
	f.shows(0, 15)
	f.shows(1, 50)
	f.wrote(1)
}

// TestK09CommittedChangesAreWritten: rows that are taken out and orders that are deleted give their units back.
func TestK09CommittedChangesAreWritten(t *testing.T) {
	t.Parallel()
	f := started(t, 1, 1)
	o := f.order(0, 3)
	p := f.order(0, 2)
	f.follow()
	f.shows(0, 5)
	f.wrote(1)
	f.do(f.account.EditRow(o, 0, 0))
	f.follow()
	f.shows(0, 8)
	f.wrote(1)
	f.do(f.account.DeleteOrder(p))
	f.follow()
	f.shows(0, 10)
	f.wrote(1)
}

// TestK10Causes: sales, manufacturing and purchase orders, adjustments and transfers are followed; what is only expected is not.
func TestK10Causes(t *testing.T) {
	t.Parallel()
	f := started(t, 1, 1)
	v := f.variants[0]
	var made, bought int64
	for _, c := range []struct {
		name   string
		do     func() error
		want   int64
		writes int
	}{
		{"a sales order", func() error { f.order(0, 1); return nil }, 9, 1},
		{"a manufacturing order", func() error { made = f.account.Make(v, f.here, sim.Units(6), nil); return nil }, 9, 0},
		{"a part of it done", func() error { return f.account.Finish(made, sim.Units(4)) }, 13, 1},
		{"a purchase order", func() error { bought = f.account.Purchase(v, f.here, sim.Units(20)); return nil }, 13, 0},
		{"a part of it received", func() error { return f.account.Receive(bought, sim.Units(7)) }, 20, 1},
		{"an adjustment", func() error { return f.account.Adjust(v, f.here, -sim.Units(2)) }, 18, 1},
		{"a transfer", func() error { return f.account.Transfer(v, f.here, f.there, sim.Units(3)) }, 15, 1},
		{"an adjustment elsewhere", func() error { return f.account.Adjust(v, f.there, sim.Units(9)) }, 15, 0},
	} {
		f.do(c.do())
		f.follow()
		if got := f.shops[0].items[firstObject].quantity; c.writes > 0 && got != c.want || f.written(0) != c.writes {
			t.Errorf("after %s the shop shows %d with %d writes, want %d with %d%s", c.name, got, f.written(0), c.want, c.writes, f.story(0))
		}
		f.shops[0].pushed = nil
	}
}

// TestK11Continuous: an event is followed within seconds, and where none comes polling finds the change.
func TestK11Continuous(t *testing.T) {
	t.Parallel()
	f := started(t, 1, 1)
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(1)))
	f.a.engine.SourceHint(engine.SourceEvent{Item: id(f.variants[0])})
	f.pass(10 * time.Second)
	f.shows(0, 11)
	o := f.order(0, 4)
	f.a.engine.SourceHint(engine.SourceEvent{Order: id(o)})
	f.pass(10 * time.Second)
	f.shows(0, 7)
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(2)))
	f.pass(75 * time.Second)
	f.shows(0, 9)
	// A storm of events stays within the limit of requests.
	before := f.account.Requests()
	for range 300 {
		f.a.engine.SourceHint(engine.SourceEvent{Item: id(f.variants[0])})
		f.pass(200 * time.Millisecond)
	}
	if n := f.account.Requests() - before; n > 60 {
		t.Errorf("300 events in a minute made %d requests", n)
	}
}

// TestK12NoFirstPush: connecting writes nothing, neither does a restart; what changes is written, and nothing else.
func TestK12NoFirstPush(t *testing.T) {
	t.Parallel()
	f := started(t, 1, 100)
	f.wrote(0)
	f.quiet()
	f.a.crash()
	f.pass(time.Second)
	f.boot()
	f.pass(2 * time.Hour)
	f.wrote(0)
	f.do(f.account.Adjust(f.variants[7], f.here, sim.Units(1)))
	f.follow()
	f.shows(7, 11)
	f.wrote(1)
}

// reconcile runs to its end.
func (f *fed) reconcile(s agentapi.Strategy) agentapi.Run {
	f.t.Helper()
	r, err := f.a.engine.StartRun(context.Background(), agentapi.RunRequest{Kind: agentapi.KindReconcile, Strategy: s})
	f.do(err)
	f.pass(5 * time.Minute)
	r, err = f.a.engine.GetRun(context.Background(), r.ID)
	f.do(err)
	return r
}

// told is what the export is made of: an item of the source, and what the first shop shows of it.
func (f *fed) told(sku string) (item stock.Stocked, pool stock.Pool, p stock.Placement, bound bool) {
	f.t.Helper()
	f.do(f.a.ledger.View(context.Background(), func(tx engine.Tx) error {
		items, err := tx.SourceItemsOf(sku)
		switch {
		case err != nil:
			return err
		case len(items) != 1:
			return fmt.Errorf("%d items have the SKU %s", len(items), sku)
		}
		item = items[0]
		if p, bound, err = tx.Placement("s0", item.Pool); err != nil || !bound {
			return err
		}
		pool, err = tx.Pool(item.Pool)
		return err
	}))
	return item, pool, p, bound
}

// TestK13EverythingWhenAsked: only the strategy Push writes every matched item, once; the export names each before.
func TestK13EverythingWhenAsked(t *testing.T) {
	t.Parallel()
	f := started(t, 1, 20)
	f.shops[0].items[firstObject+3].quantity = 10
	_, pool, p, _ := f.told("SKU-0")
	if want, known := stock.Should(pool, p, stock.Policy{Source: true}); !known || want != 10 || p.Shown != 50 || p.Ref.Product != firstObject {
		t.Errorf("%d of %+v: want 10 where the shop shows 50", want, p)
	}
	if r := f.reconcile(agentapi.DifferencesOnly); r.Stores[0].Differing != 19 {
		t.Errorf("the run says %+v", r)
	}
	f.wrote(0)
	f.reconcile(agentapi.Push)
	for k := range 20 {
		f.shows(k, 10)
	}
	f.wrote(20)
	if _, err := f.a.engine.StartRun(context.Background(), agentapi.RunRequest{Kind: agentapi.KindReconcile, Strategy: agentapi.Reset, ConfirmReset: true}); err == nil {
		t.Error("there is no master whose numbers could be taken")
	}
}

// TestK14OnlyWhatIsInBoth: an item that one store lacks is written to the others.
func TestK14OnlyWhatIsInBoth(t *testing.T) {
	t.Parallel()
	f := newFed(t, 2, 2)
	delete(f.shops[0].items, firstObject)
	f.shops[0].add(900, "NOT-IN-KATANA", 5)
	f.boot()
	f.pass(3 * time.Minute)
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(1)))
	f.follow()
	if got := f.shops[1].items[firstObject].quantity; got != 11 || f.shops[0].items[900].quantity != 5 {
		t.Errorf("the store that has the item shows %d, want 11", got)
	}
	f.wrote(0, 1)
	f.quiet()
}

// TestK15NothingIsCreated: no driver can make a product, and nothing but matched items is ever written.
func TestK15NothingIsCreated(t *testing.T) {
	t.Parallel()
	for _, of := range []reflect.Type{reflect.TypeFor[engine.Driver](), reflect.TypeFor[engine.Absolute]()} {
		for method := range of.Methods() {
			if name := method.Name; strings.Contains(name, "Create") || strings.Contains(name, "Add") || strings.Contains(name, "New") {
				t.Errorf("%v could make something: %s", of, name)
			}
		}
	}
	f := newFed(t, 1, 3)
	delete(f.shops[0].items, firstObject+1)
	f.boot()
	f.pass(3 * time.Minute)
	for _, v := range f.variants {
		f.do(f.account.Adjust(v, f.here, sim.Units(1)))
	}
	f.follow()
	f.reconcile(agentapi.Push)
	f.pass(2 * time.Hour)
	for _, objects := range f.shops[0].pushed {
		if slices.Contains(objects, firstObject+1) || slices.Contains(objects, 0) {
			t.Errorf("objects %v were written", objects)
		}
	}
	if len(f.shops[0].items) != 2 {
		t.Errorf("the shop has %d items now, and had 2", len(f.shops[0].items))
	}
}

// TestK16TwinMadeLater: an item of Katana is synced once somebody makes its twin in the shop, from its next change on.
func TestK16TwinMadeLater(t *testing.T) {
	t.Parallel()
	f := started(t, 1, 1)
	v := f.account.AddProduct("NEW")
	f.variants = append(f.variants, v)
	f.do(f.account.Adjust(v, f.here, sim.Units(4)))
	f.follow()
	f.wrote(0)
	f.shops[0].add(firstObject+1, "NEW", 33).created = f.now
	f.follow()
	f.shows(1, 33)
	f.do(f.account.Adjust(v, f.here, sim.Units(2)))
	f.follow()
	f.shows(1, 6)
	f.wrote(1)
}

// TestK17ExactSKU: the SKU must be the same to the letter, of products and variations alike; none matches nothing.
func TestK17ExactSKU(t *testing.T) {
	t.Parallel()
	f := newFed(t, 1, 1)
	s := f.shops[0]
	for i, sku := range []string{"code-1", "CODE-1", "code-1x", ""} {
		f.variants = append(f.variants, f.account.AddItem(sim.NewItem{Name: "x", SKU: &sku}))
		f.do(f.account.Adjust(f.variants[1+i], f.here, sim.Units(1)))
	}
	s.add(firstObject+1, "code-1", 50).ref.Variation = 0
	it := s.add(firstObject+2, "CODE-1", 50)
	it.ref = stock.Ref{Product: 90, Variation: firstObject + 2}
	s.add(firstObject+3, "code-1X", 50)
	s.add(firstObject+4, "", 50)
	f.boot()
	f.pass(3 * time.Minute)
	for i := range 4 {
		f.do(f.account.Adjust(f.variants[1+i], f.here, sim.Units(int64(i+1))))
	}
	f.follow()
	for k, want := range []int64{50, 2, 3, 50, 50} {
		f.shows(k, want)
	}
}

// TestK18NewestTwin: of several items with the SKU exactly the one created last is written, of two of one second the one
// with the highest id; when it goes, the next.
func TestK18NewestTwin(t *testing.T) {
	t.Parallel()
	f := newFed(t, 1, 1)
	s := f.shops[0]
	for i, age := range []time.Duration{2 * time.Hour, time.Minute, time.Minute, time.Hour} {
		s.add(int64(200+i), "SKU-0", 50).created = start.Add(-age)
	}
	f.boot()
	f.pass(3 * time.Minute)
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(1)))
	f.follow()
	shown := func(want map[int64]int64) {
		t.Helper()
		for object, it := range s.items {
			if w, ok := want[object]; !it.deleted && (ok && it.quantity != w || !ok && it.quantity != 50) {
				t.Errorf("product %d shows %d; want %v, others 50%s", object, it.quantity, want, f.story(0))
			}
		}
	}
	shown(map[int64]int64{202: 11})
	f.wrote(1)
	f.quiet()
	s.items[202].deleted = true
	f.pass(time.Hour + 10*time.Minute)
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(1)))
	f.follow()
	shown(map[int64]int64{201: 12})
	s.add(300, "SKU-0", 50).created = f.now
	f.follow()
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(1)))
	f.follow()
	shown(map[int64]int64{201: 12, 300: 13})
}

// TestK19LinkedItems: where no SKU matches, the item is found by the link that a person or a web order made.
func TestK19LinkedItems(t *testing.T) {
	t.Parallel()
	f := newFed(t, 1, 3)
	s := f.shops[0]
	for k := range 3 {
		s.items[int64(firstObject+k)].sku = "OTHER-" + id(int64(k))
	}
	f.terms["s0"].Links = []engine.ConfiguredLink{{Ref: ref(firstObject), SKU: "SKU-0"}}
	f.boot()
	f.pass(3 * time.Minute)
	f.do(f.a.engine.Link(context.Background(), stock.Link{Store: "s0", Ref: ref(firstObject + 1), Item: id(f.variants[1]), By: stock.LinkedByPerson}))
	// An order of a single line that Katana has with a single row tells which item it is.
	o := f.sold(0, 2, 1)
	f.pass(time.Minute)
	f.imports(0, o, 2, 1)
	f.follow()
	f.pass(10 * time.Minute)
	for k := range 3 {
		f.do(f.account.Adjust(f.variants[k], f.here, sim.Units(int64(k+1))))
	}
	f.follow()
	f.shows(0, 11)
	f.shows(1, 12)
	f.shows(2, 12) // 10 and 3, less the order
	links, err := f.a.engine.Links(context.Background(), "s0")
	if err != nil || len(links) != 3 || links[2].By != stock.LinkedByOrder {
		t.Errorf("the links are %+v, %v", links, err)
	}
	f.do(f.a.engine.Unlink(context.Background(), "s0", ref(firstObject+1)))
	f.pass(time.Hour + 10*time.Minute)
	f.do(f.account.Adjust(f.variants[1], f.here, sim.Units(1)))
	f.follow()
	f.shows(1, 12)
}

// TestK20SKUBeatsLink: an item with the SKU is written, and not the one that is linked; also when it comes later.
func TestK20SKUBeatsLink(t *testing.T) {
	t.Parallel()
	f := newFed(t, 1, 2)
	s := f.shops[0]
	s.add(200, "OTHER-0", 50)
	s.add(201, "OTHER-1", 50)
	s.items[firstObject+1].sku = "NOT-YET"
	f.terms["s0"].Links = []engine.ConfiguredLink{{Ref: ref(200), SKU: "SKU-0"}, {Ref: ref(201), SKU: "SKU-1"}}
	f.boot()
	f.pass(3 * time.Minute)
	change := func() {
		f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(1)))
		f.do(f.account.Adjust(f.variants[1], f.here, sim.Units(1)))
		f.follow()
	}
	change()
	f.shows(0, 11)
	f.shows(1, 50)
	if s.items[200].quantity != 50 || s.items[201].quantity != 11 {
		t.Errorf("the linked items show %d and %d, want 50 and 11", s.items[200].quantity, s.items[201].quantity)
	}
	s.items[firstObject+1].sku, s.items[firstObject+1].modified = "SKU-1", second(f.now)
	f.follow()
	change()
	f.shows(1, 12)
	if s.items[201].quantity != 11 {
		t.Errorf("the linked item shows %d, and another has the SKU", s.items[201].quantity)
	}
}

// TestK21UnmatchedIsSkipped: an item without a match disturbs nothing; it is counted and named.
func TestK21UnmatchedIsSkipped(t *testing.T) {
	t.Parallel()
	f := newFed(t, 1, 10)
	f.shops[0].items[firstObject+4].sku = "SOMETHING-ELSE"
	f.boot()
	f.pass(3 * time.Minute)
	for _, v := range f.variants {
		f.do(f.account.Adjust(v, f.here, sim.Units(1)))
	}
	f.follow()
	f.wrote(9)
	states, err := f.a.engine.Status(context.Background())
	if err != nil || states[0].Unmatched != 1 {
		t.Errorf("%d items are said not to match, %v", states[0].Unmatched, err)
	}
	if _, _, p, bound := f.told("SKU-4"); bound {
		t.Errorf("%+v sells it", p)
	}
}

// TestK22SeveralStores: each store works on its own; one that fails holds back no other, and catches up.
func TestK22SeveralStores(t *testing.T) {
	t.Parallel()
	f := newFed(t, 3, 1)
	f.terms["s2"].Location = id(f.there)
	f.do(f.account.Adjust(f.variants[0], f.there, sim.Units(70)))
	f.boot()
	f.pass(3 * time.Minute)
	f.shops[1].down = true
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(1)))
	f.do(f.account.Adjust(f.variants[0], f.there, sim.Units(2)))
	f.follow()
	f.shows(0, 11, 50, 72)
	f.shops[1].down = false
	f.pass(10 * time.Minute)
	f.shows(0, 11, 11, 72)
	f.quiet()
}

// TestK23Off: what is off is not written, whatever changes.
func TestK23Off(t *testing.T) {
	t.Parallel()
	f := newFed(t, 3, 1)
	f.modes["s1"], f.modes["s2"] = engine.Observe, engine.Off
	f.boot()
	f.pass(3 * time.Minute)
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(1)))
	f.follow()
	f.wrote(1, 0, 0)
	if len(f.shops[2].calls) != 0 {
		t.Error("a store that is Off was asked for something")
	}
}

// TestK24OnLater: what changed while a store was off is not made up for; its next change is written.
func TestK24OnLater(t *testing.T) {
	t.Parallel()
	for _, off := range []engine.Mode{engine.Observe, engine.Off} {
		f := newFed(t, 1, 2)
		f.modes["s0"] = off
		f.boot()
		f.pass(3 * time.Minute)
		f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(1)))
		f.follow()
		f.modes["s0"] = engine.Sync
		f.configure()
		f.pass(time.Hour)
		f.wrote(0)
		f.modes["s0"] = off
		f.configure()
		f.do(f.account.Adjust(f.variants[1], f.here, sim.Units(1)))
		f.follow()
		f.modes["s0"] = engine.Sync
		f.configure()
		f.pass(time.Hour)
		f.wrote(0)
		f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(1)))
		f.follow()
		f.shows(0, 12)
		f.wrote(1)
	}
}

// TestK25Reconfigured: another location, another choice of orders or more units held back write nothing until an item
// changes; links stay.
func TestK25Reconfigured(t *testing.T) {
	t.Parallel()
	f := newFed(t, 1, 3)
	f.shops[0].items[firstObject+2].sku = "OTHER"
	f.boot()
	f.pass(3 * time.Minute)
	f.do(f.a.engine.Link(context.Background(), stock.Link{Store: "s0", Ref: ref(firstObject + 2), Item: id(f.variants[2]), By: stock.LinkedByPerson}))
	f.order(0, 4)
	f.follow()
	f.shows(0, 6)
	f.wrote(1)
	f.terms["s0"].Counts = wooOnly
	f.configure()
	f.pass(time.Hour)
	f.wrote(0)
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(1)))
	f.follow()
	f.shows(0, 11)
	f.shows(1, 50)
	f.wrote(1)
	f.do(f.account.Adjust(f.variants[0], f.there, sim.Units(70)))
	f.terms["s0"].Location = id(f.there)
	f.configure()
	f.pass(2 * time.Hour)
	f.wrote(0)
	f.do(f.account.Adjust(f.variants[0], f.there, sim.Units(1)))
	f.do(f.account.Adjust(f.variants[2], f.there, sim.Units(8)))
	f.follow()
	f.shows(0, 71)
	f.shows(2, 8)
	f.wrote(2)
}

// TestK26KatanaIsTheTruth: a hand edit stands until the item's next change, goes nowhere, and is overwritten then; the write
// is relative all the same, so that a sale at that moment is not lost. A reconcile corrects it where
// that is wanted.
func TestK26KatanaIsTheTruth(t *testing.T) {
	t.Parallel()
	f := started(t, 2, 1)
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(1)))
	f.follow()
	f.shops[0].edit(firstObject, 99)
	f.pass(time.Hour)
	f.shows(0, 99, 11)
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(1)))
	f.follow()
	f.shows(0, 12, 12)
	f.shops[1].edit(firstObject, 3)
	f.pass(10 * time.Minute)
	f.reconcile(agentapi.DifferencesOnly)
	f.shows(0, 12, 3)
	f.terms[f.shops[1].id].Correct = true
	f.configure()
	f.pass(time.Minute)
	f.reconcile(agentapi.DifferencesOnly)
	f.shows(0, 12, 12)
	// A shopper buys while the write is under way.
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(8)))
	f.a.engine.SourceHint(engine.SourceEvent{Item: id(f.variants[0])})
	for range 40 {
		f.pass(250 * time.Millisecond)
		if f.now.Second()%5 == 0 {
			f.sold(0, 0, 1)
		}
	}
	sold := f.shops[0].nextID - 1000
	f.follow()
	f.shows(0, 20-sold, 20-sold)
	f.quiet()
}

// TestK27LocationGone: a store whose location was deleted is not written, and says why; others go on. Mapped to another
// location it follows again.
func TestK27LocationGone(t *testing.T) {
	t.Parallel()
	f := newFed(t, 2, 1)
	f.terms["s1"].Location = id(f.there)
	f.do(f.account.Adjust(f.variants[0], f.there, sim.Units(5)))
	f.boot()
	f.pass(3 * time.Minute)
	f.do(f.account.Adjust(f.variants[0], f.there, sim.Units(1)))
	f.follow()
	f.shows(0, 50, 6)
	f.do(f.account.DeleteLocation(f.there))
	f.do(f.account.Adjust(f.variants[0], f.there, sim.Units(1)))
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(1)))
	f.pass(10 * time.Minute)
	f.shows(0, 11, 6)
	f.sold(0, 0, 1)
	f.follow()
	f.shows(0, 10, 6)
	states, err := f.a.engine.Status(context.Background())
	f.do(err)
	if states[0].LocationGone || !states[1].LocationGone {
		t.Errorf("gone are said to be %v and %v, want only the second", states[0].LocationGone, states[1].LocationGone)
	}
	if rows := f.conflicts(); len(rows) != 1 || !strings.Contains(rows[0], "map them to another") {
		t.Errorf("the open rows are %q", rows)
	}
	f.terms["s1"].Location = id(f.here)
	f.configure()
	f.pass(10 * time.Minute)
	f.shows(0, 10, 6)
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(1)))
	f.follow()
	f.shows(0, 11, 11)
}

// TestK28OffWhileTryingThingsOut: a store that only observes is never written, and a dry run tells what would be.
func TestK28OffWhileTryingThingsOut(t *testing.T) {
	t.Parallel()
	f := newFed(t, 1, 2)
	f.modes["s0"] = engine.Observe
	f.boot()
	f.pass(3 * time.Minute)
	f.do(f.account.Adjust(f.variants[0], f.here, sim.Units(1)))
	f.sold(0, 1, 2)
	f.follow()
	r := f.reconcile(agentapi.DryRun)
	found, err := f.a.engine.Findings(context.Background(), r.ID, 0, 0)
	slices.SortFunc(found, func(a, b agentapi.Finding) int { return strings.Compare(a.SKU, b.SKU) })
	if err != nil || len(found) != 2 || found[0].Shown != "50" || found[0].Wanted != "11" || found[1].Wanted != "8" {
		t.Errorf("the dry run found %+v, %v", found, err)
	}
	f.wrote(0)
	if f.truth(0, f.here, oracle.Choice{}) != 11 {
		t.Error("the oracle says something else")
	}
}

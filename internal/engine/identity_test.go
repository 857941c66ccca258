package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

// shelves are the SKU and the quantity of each item of a shop, by object.
func (s *shop) shelves() string {
	var out []string
	for _, it := range s.sorted() {
		out = append(out, fmt.Sprintf("%s %d", it.sku, it.quantity))
	}
	return strings.Join(out, ", ")
}

func wantShelves(t *testing.T, s *shop, want string) {
	t.Helper()
	if got := s.shelves(); got != want {
		t.Errorf("%s shows %q, want %q", s.id, got, want)
	}
}

// wantRow demands one open conflict of a kind, whose evidence holds a text.
func wantRow(t *testing.T, a *agent, k stock.Kind, store, text string) {
	t.Helper()
	rows, err := a.ledger.Conflicts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, r := range rows {
		if r.Kind == k && r.Store == store {
			n++
			if !strings.Contains(r.Evidence, text) {
				t.Errorf("the row says %q, not %q", r.Evidence, text)
			}
		}
	}
	if n != 1 {
		t.Errorf("%d rows %s of %s, want one: %+v", n, k, store, rows)
	}
}

func wantNoRow(t *testing.T, a *agent) {
	t.Helper()
	rows, err := a.ledger.Conflicts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		t.Errorf("unexpected row %s of %s: %s", r.Kind, r.Store, r.Evidence)
	}
}

func (a *agent) poolByID(t *testing.T, id int64) (pool stock.Pool) {
	t.Helper()
	err := a.ledger.View(t.Context(), func(tx engine.Tx) (err error) {
		pool, err = tx.Pool(id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

// The master's new SKU reaches every shop, one that was down meanwhile too, and nothing sold on the way is lost. The
// history of either tells of it, and the freed SKU can be given to something else.
func TestRenameReachesEveryShop(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 3, 2)
	w.shops[2].down = true
	w.shops[0].rename(firstObject, "CUP")
	w.shops[0].sell(firstObject, 2)
	w.shops[1].sell(firstObject, 1)
	w.shops[2].sell(firstObject, 3)
	w.run(w.now.Add(2 * time.Minute))
	wantShelves(t, w.shops[1], "CUP 17, SKU-1 20")
	wantShelves(t, w.shops[2], "SKU-0 17, SKU-1 20")
	// Meanwhile the old SKU goes to something new, in the master and in a shop.
	for _, s := range w.shops[:2] {
		s.items[200] = &item{ref: ref(200), sku: "SKU-0", quantity: 7, modified: second(w.now), fields: stock.Values{stock.Backorders: "no", stock.LowStock: stock.None}}
	}
	w.run(w.now.Add(10 * time.Minute))
	w.shops[2].down = false
	w.run(w.now.Add(10 * time.Minute))
	wantShelves(t, w.shops[0], "CUP 14, SKU-1 20, SKU-0 7")
	wantShelves(t, w.shops[1], "CUP 14, SKU-1 20, SKU-0 7")
	wantShelves(t, w.shops[2], "CUP 14, SKU-1 20")
	wantNoRow(t, a)
	if later, first := a.pool("SKU-0"), a.pool("CUP"); first != 1 || later == first || later == 0 {
		t.Errorf("the pools are %d and %d", first, later)
	}
	rows, err := a.ledger.History(t.Context(), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for _, r := range rows {
		if r.Kind == stock.Renamed {
			told[r.Store] = r.Evidence
		}
	}
	if !strings.Contains(told["s0"], `"SKU-0" to "CUP"`) || !strings.Contains(told["s1"], `from "SKU-0" to "CUP"`) || told["s2"] == "" {
		t.Errorf("the history says %q", told)
	}
}

// Names that are exchanged in one go, in the same second or with pauses, end right in shops that refuse a SKU in use.
func TestNamesAreExchanged(t *testing.T) {
	t.Parallel()
	for _, pause := range []time.Duration{0, 4 * time.Second, time.Minute} {
		for _, down := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v down %v", pause, down), func(t *testing.T) {
				t.Parallel()
				w, a := settled(t, 3, 3)
				w.shops[1].down = down
				hq := w.shops[0]
				for i, step := range []func() bool{
					func() bool { return hq.rename(firstObject, "TMP") },
					func() bool { return hq.rename(firstObject+1, "SKU-0") },
					func() bool { return hq.rename(firstObject+2, "SKU-1") },
					func() bool { return hq.rename(firstObject, "SKU-2") },
				} {
					w.after(time.Duration(i)*pause, func() {
						if !step() {
							t.Error("the master refuses a name")
						}
					})
				}
				hq.sell(firstObject, 1)
				w.shops[1].sell(firstObject+1, 2)
				w.run(w.now.Add(10 * time.Minute))
				w.shops[1].down = false
				w.run(w.now.Add(10 * time.Minute))
				for _, s := range w.shops {
					wantShelves(t, s, "SKU-2 19, SKU-0 18, SKU-1 20")
				}
				wantNoRow(t, a)
			})
		}
	}
}

// A name that another item of a shop has is not taken from it. A person is told once, and when the name is free the
// item gets it.
func TestRenameOntoASKUInUse(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 3, 2)
	other := &item{ref: ref(300), sku: "CUP", quantity: 5, modified: start, fields: stock.Values{stock.Backorders: "no", stock.LowStock: stock.None}}
	w.shops[1].items[300] = other
	w.shops[0].rename(firstObject, "CUP")
	w.shops[0].rename(firstObject+1, "SKU-0")
	w.shops[2].sell(firstObject, 1)
	w.run(w.now.Add(2*time.Hour + time.Minute))
	wantRow(t, a, stock.Renamed, "s1", "product 300")
	wantShelves(t, w.shops[1], "SKU-0 19, SKU-1 20, CUP 5")
	wantShelves(t, w.shops[2], "CUP 19, SKU-0 20")
	// It goes on being counted and written under its old name.
	w.shops[1].sell(firstObject, 1)
	w.run(w.now.Add(2 * time.Minute))
	wantShelves(t, w.shops[0], "CUP 18, SKU-0 20")
	w.shops[1].rename(300, "OTHER")
	w.run(w.now.Add(time.Hour + 2*time.Minute))
	wantShelves(t, w.shops[1], "CUP 18, SKU-0 20, OTHER 5")
}

// Whoever renames an item in a child takes it out: the master keeps its name, nothing is written to the item, and a
// person is told. Its own name brings it back, and so does the master when it calls it the same.
func TestAChildsRenameIsReported(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 3, 1)
	w.shops[1].rename(firstObject, "MINE")
	w.run(w.now.Add(2 * time.Minute))
	w.shops[0].sell(firstObject, 4)
	w.run(w.now.Add(10 * time.Minute))
	wantShelves(t, w.shops[0], "SKU-0 16")
	wantShelves(t, w.shops[1], "MINE 20")
	wantShelves(t, w.shops[2], "SKU-0 16")
	wantRow(t, a, stock.Renamed, "s1", `now sells ["MINE"]`)
	w.shops[1].rename(firstObject, "SKU-0")
	w.run(w.now.Add(10 * time.Minute))
	wantShelves(t, w.shops[1], "SKU-0 16")
	w.shops[2].rename(firstObject, "THEIRS")
	w.run(w.now.Add(time.Minute))
	w.shops[0].rename(firstObject, "THEIRS")
	w.shops[0].sell(firstObject, 1)
	w.run(w.now.Add(10 * time.Minute))
	for _, s := range w.shops {
		wantShelves(t, s, "THEIRS 15")
	}
}

// A shop that takes a name and shows the one before has its reasons; one that did so once has none.
func TestAShopThatGivesAnotherName(t *testing.T) {
	t.Parallel()
	t.Run("always", func(t *testing.T) {
		t.Parallel()
		w, a := settled(t, 2, 2)
		s, asked := w.shops[1], 0
		s.names = func(string) string { asked++; return "SKU-0" }
		w.shops[0].rename(firstObject, "CUP")
		w.run(w.now.Add(30 * time.Minute))
		wantRow(t, a, stock.Renamed, s.id, "a plugin of the shop keeps it so")
		if asked != 2 {
			t.Errorf("asked %d times in half an hour", asked)
		}
	})
	t.Run("once, as where an older write of ours lands in that moment", func(t *testing.T) {
		t.Parallel()
		w, a := settled(t, 2, 2)
		s, asked := w.shops[1], 0
		s.names = func(name string) string {
			if asked++; asked == 1 {
				return "SKU-0"
			}
			return name
		}
		w.shops[0].rename(firstObject, "CUP")
		w.run(w.now.Add(5 * time.Minute))
		w.shops[0].sell(firstObject, 2)
		w.run(w.now.Add(time.Minute))
		wantShelves(t, s, "CUP 18, SKU-1 20")
		wantNoRow(t, a)
	})
}

// An excluded SKU is neither given nor taken.
func TestExcludedSKUsAreNotRenamed(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 2, 2)
	a.excluded = "sample"
	a.configure(a.stores)
	w.run(w.now.Add(time.Minute))
	w.shops[0].rename(firstObject, "Sample")
	w.run(w.now.Add(5 * time.Minute))
	w.shops[0].sell(firstObject, 3)
	w.run(w.now.Add(5 * time.Minute))
	wantShelves(t, w.shops[1], "SKU-0 20, SKU-1 20")
	a.excluded = "sku-1"
	a.configure(a.stores)
	w.run(w.now.Add(time.Minute))
	w.shops[0].rename(firstObject+1, "CUP")
	w.run(w.now.Add(5 * time.Minute))
	wantShelves(t, w.shops[1], "SKU-0 20, SKU-1 20")
}

// In mode Observe nothing is written, neither SKU nor id, and in mode Off nothing is read; both follow when they may.
func TestModesHoldForNames(t *testing.T) {
	t.Parallel()
	for _, mode := range []engine.Mode{engine.Observe, engine.Off} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			w, a := settled(t, 3, 1)
			a.configureMode(map[string]engine.Mode{"s1": mode})
			w.run(w.now.Add(time.Minute))
			w.writes = nil
			w.shops[0].rename(firstObject, "CUP")
			w.run(w.now.Add(10 * time.Minute))
			for _, wr := range w.writes {
				if wr.store == "s1" {
					t.Error("it was written to")
				}
			}
			wantShelves(t, w.shops[1], "SKU-0 20")
			wantShelves(t, w.shops[2], "CUP 20")
			a.configureMode(nil)
			w.run(w.now.Add(10 * time.Minute))
			wantShelves(t, w.shops[1], "CUP 20")
			wantNoRow(t, a)
		})
	}
}

// Every item has one id in all shops: the one the master's plugin gave it, or a new one. It goes with the next write
// of an item; no shop is written to for it alone.
func TestItemsHaveOneID(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 3, 2)
	if len(w.writes) > 0 {
		t.Fatalf("%d writes without cause", len(w.writes))
	}
	plugins := stock.NewGID()
	w.shops[0].items[firstObject].gid, w.shops[0].items[firstObject].modified = plugins, second(w.now)
	w.run(w.now.Add(time.Minute))
	for _, s := range w.shops {
		s.sell(firstObject, 1)
		s.sell(firstObject+1, 1)
	}
	w.run(w.now.Add(10 * time.Minute))
	made := a.poolByID(t, 2).GID
	if !stock.IsGID(made) || made == plugins {
		t.Errorf("the id made here is %q", made)
	}
	for _, s := range w.shops {
		if one, two := s.items[firstObject].gid, s.items[firstObject+1].gid; one != plugins || two != made {
			t.Errorf("%s has the ids %s and %s, want %s and %s", s.id, one, two, plugins, made)
		}
	}
	// The plugin gave it another one: the master's holds.
	another := stock.NewGID()
	w.shops[0].items[firstObject].gid = another
	w.shops[0].sell(firstObject, 1)
	w.run(w.now.Add(10 * time.Minute))
	if got := w.shops[1].items[firstObject].gid; got != another {
		t.Errorf("a shop has %s, the master %s", got, another)
	}
}

// A duplicated product carries everything of its original. It gets nothing of that one's stock, whatever its SKU, and
// in the master it becomes an item of its own.
func TestCopiedProducts(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 2, 1)
	for _, s := range w.shops {
		s.sell(firstObject, 1)
	}
	w.run(w.now.Add(5 * time.Minute))
	gid := a.poolByID(t, 1).GID
	for _, s := range w.shops {
		it := *s.items[firstObject]
		if it.gid != gid {
			t.Fatalf("%s has the id %q, want %q", s.id, it.gid, gid)
		}
		it.ref, it.sku, it.modified = ref(200), "SKU-0-1", second(w.now)
		s.items[200] = &it
	}
	w.shops[1].items[200].sku = ""
	w.run(w.now.Add(5 * time.Minute))
	w.shops[1].sell(firstObject, 8)
	w.run(w.now.Add(5 * time.Minute))
	wantShelves(t, w.shops[0], "SKU-0 10, SKU-0-1 18")
	wantShelves(t, w.shops[1], "SKU-0 10,  18")
	wantRow(t, a, stock.Copied, "s0", "product 200")
	wantRow(t, a, stock.Copied, "s1", "product 200")
	if own := a.poolByID(t, a.pool("SKU-0-1")).GID; own == gid || !stock.IsGID(own) {
		t.Errorf("the copy has the id %q", own)
	}
	if now := a.poolByID(t, 1).GID; now != gid {
		t.Errorf("the original's id became %q", now)
	}
	// The copy becomes another product, in both.
	w.shops[0].rename(200, "CUP")
	w.shops[1].items[200].sku, w.shops[1].items[200].modified = "CUP", second(w.now)
	w.run(w.now.Add(2 * time.Hour))
	w.shops[0].sell(200, 1)
	w.shops[1].sell(200, 1)
	w.run(w.now.Add(5 * time.Minute))
	wantShelves(t, w.shops[0], "SKU-0 10, CUP 16")
	wantShelves(t, w.shops[1], "SKU-0 10, CUP 16")
	if one, two := w.shops[0].items[200].gid, w.shops[1].items[200].gid; one == gid || one != two {
		t.Errorf("the copies have the ids %s and %s; the original %s", one, two, gid)
	}
}

// With the ledger lost while a shop was down, the ids in the shops tell which item is which.
func TestNamesAfterALostLedger(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 3, 2)
	for _, s := range w.shops {
		s.sell(firstObject, 1)
		s.sell(firstObject+1, 1)
	}
	w.run(w.now.Add(5 * time.Minute))
	w.shops[1].down = true
	hq := w.shops[0]
	hq.rename(firstObject, "TMP")
	hq.rename(firstObject+1, "SKU-0")
	hq.rename(firstObject, "SKU-1")
	w.shops[2].sell(firstObject, 5)
	w.run(w.now.Add(5 * time.Minute))
	a.crash()
	w.boot(testLedger, ledger.NewMemory(), w.all())
	w.run(w.now.Add(2 * time.Minute))
	w.shops[1].down = false
	w.run(w.now.Add(10 * time.Minute))
	for _, s := range w.shops {
		wantShelves(t, s, "SKU-1 12, SKU-0 17")
	}
}

// Where an import gave two items of the master one SKU, both go on being counted as before, and a person is told.
func TestTwoItemsOfTheMasterWithOneSKU(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 2, 2)
	it := w.shops[0].items[firstObject]
	it.sku, it.modified = "SKU-1", second(w.now)
	w.run(w.now.Add(5 * time.Minute))
	w.shops[0].sell(firstObject, 1)
	w.shops[1].sell(firstObject+1, 2)
	w.run(w.now.Add(2 * time.Hour))
	wantRow(t, a, stock.Renamed, "s0", "product 101")
	wantShelves(t, w.shops[0], "SKU-1 19, SKU-1 18")
	wantShelves(t, w.shops[1], "SKU-0 19, SKU-1 18")
	it.sku, it.modified = "CUP", second(w.now)
	w.run(w.now.Add(5 * time.Minute))
	wantShelves(t, w.shops[1], "CUP 19, SKU-1 18")
}

// A SKU of an item that the master deleted is free where no shop sells that item any more; where one does, nothing is
// renamed onto it.
func TestTheNameOfADeletedItem(t *testing.T) {
	t.Parallel()
	for _, sold := range []bool{false, true} {
		t.Run(fmt.Sprintf("sold elsewhere %v", sold), func(t *testing.T) {
			t.Parallel()
			w, a := settled(t, 2, 2)
			if !sold {
				w.shops[1].items[firstObject+1].deleted = true
			}
			w.shops[0].items[firstObject+1].deleted = true
			w.run(w.now.Add(2 * time.Hour))
			w.shops[0].rename(firstObject, "SKU-1")
			w.run(w.now.Add(2 * time.Hour))
			if !sold {
				wantShelves(t, w.shops[1], "SKU-1 20")
				wantNoRow(t, a)
				return
			}
			wantShelves(t, w.shops[1], "SKU-0 20, SKU-1 20")
			wantRow(t, a, stock.Renamed, "s0", "other stores still sell")
		})
	}
}

// A shop put back to a backup of before the renaming is renamed again.
func TestARestoredShopIsRenamedAgain(t *testing.T) {
	t.Parallel()
	w, _ := settled(t, 2, 2)
	s := w.shops[1]
	s.snapshot()
	w.shops[0].rename(firstObject, "TMP")
	w.shops[0].rename(firstObject+1, "SKU-0")
	w.shops[0].rename(firstObject, "SKU-1")
	w.shops[0].sell(firstObject, 1)
	w.run(w.now.Add(5 * time.Minute))
	wantShelves(t, s, "SKU-1 19, SKU-0 20")
	s.restore()
	wantShelves(t, s, "SKU-0 20, SKU-1 20")
	w.run(w.now.Add(2 * time.Hour))
	wantShelves(t, s, "SKU-1 19, SKU-0 20")
}

// A crash between the temporary name and the right one is mended by the next process.
func TestACrashBetweenTwoNames(t *testing.T) {
	t.Parallel()
	for after := range 40 {
		w, a := settled(t, 2, 2)
		w.shops[0].rename(firstObject, "TMP")
		w.shops[0].rename(firstObject+1, "SKU-0")
		w.shops[0].rename(firstObject, "SKU-1")
		for w.run(w.now.Add(10 * time.Millisecond)); w.met["renamed × settled"] == 0; {
			w.run(w.now.Add(10 * time.Millisecond))
		}
		w.run(w.now.Add(time.Duration(after) * 10 * time.Millisecond))
		a.crash()
		w.boot(testLedger, a.ledger, w.all())
		w.run(w.now.Add(5 * time.Minute))
		wantShelves(t, w.shops[1], "SKU-1 20, SKU-0 20")
	}
}

// plugged is [settled] with the plugin as the only way into some shops, of one generation.
func plugged(t *testing.T, generation, skus int, shops ...int) (*world, *agent) {
	t.Helper()
	w, a := settled(t, 3, skus)
	a.crash()
	for _, i := range shops {
		w.plug(w.shops[i], i == 0)
		w.shops[i].plug.generation, w.shops[i].plug.ahead = generation, 0
	}
	a = w.boot(testLedger, ledger.NewMemory(), w.all())
	if i := shops[0]; i == 0 {
		// Such a master is asked about what others have.
		w.shops[1].sell(firstObject, 0)
	}
	w.run(w.now.Add(10 * time.Minute))
	return w, a
}

// Through the plugin, too, names are given, exchanged, and not taken from other items; what is sold meanwhile counts.
func TestNamesTravelByThePlugin(t *testing.T) {
	t.Parallel()
	for _, generation := range []int{1, 2} {
		t.Run(fmt.Sprint(generation), func(t *testing.T) {
			t.Parallel()
			w, a := plugged(t, generation, 3, 1)
			hq, peer := w.shops[0], w.shops[1]
			peer.down = true
			hq.rename(firstObject, "TMP")
			hq.rename(firstObject+1, "SKU-0")
			hq.rename(firstObject, "SKU-1")
			hq.rename(firstObject+2, "CUP")
			hq.sell(firstObject, 3)
			w.run(w.now.Add(5 * time.Minute))
			peer.down = false
			w.run(w.now.Add(10 * time.Minute))
			peer.sell(firstObject+1, 2)
			w.run(w.now.Add(10 * time.Minute))
			for _, s := range w.shops {
				wantShelves(t, s, "SKU-1 17, SKU-0 18, CUP 20")
			}
			wantNoRow(t, a)
			if id := a.poolByID(t, 3).GID; peer.items[firstObject+2].gid != id {
				t.Errorf("the shop has the id %q, want %q", peer.items[firstObject+2].gid, id)
			}
			peer.items[300] = &item{ref: ref(300), sku: "POT", quantity: 5, modified: start, fields: stock.Values{stock.Backorders: "no", stock.LowStock: stock.None}}
			hq.rename(firstObject+2, "POT")
			w.run(w.now.Add(10 * time.Minute))
			wantShelves(t, peer, "SKU-1 17, SKU-0 18, CUP 20, POT 5")
			wantRow(t, a, stock.Renamed, "s1", "another product of this shop")
		})
	}
}

// A plugin master tells of a renaming by an event. It reaches every shop; one that a child sends renames nothing, nor does
// one that comes late.
func TestAPluginMasterRenames(t *testing.T) {
	t.Parallel()
	for _, generation := range []int{1, 2} {
		t.Run(fmt.Sprint(generation), func(t *testing.T) {
			t.Parallel()
			w, a := plugged(t, generation, 2, 0, 2)
			hq := w.shops[0]
			told := func(store string, second time.Time, from, to string, it *item) {
				t.Helper()
				if it.gid == "" {
					it.gid = stock.NewGID()
				}
				e := engine.PeerEvent{ID: store + from + to, Rename: true, Seconds: second.Unix(), Items: []engine.PeerItem{{GID: it.gid, OldSKU: from, SKU: to}}}
				if _, err := a.engine.Receive(t.Context(), store, e, w.now.Add(48*time.Hour)); err != nil {
					t.Fatal(err)
				}
			}
			wantShelves(t, w.shops[1], "SKU-0 20, SKU-1 20")
			first := hq.items[firstObject]
			first.sku = "CUP"
			told("s0", w.now, "SKU-0", "CUP", first)
			w.run(w.now.Add(5 * time.Minute))
			w.shops[2].sell(firstObject, 4)
			w.run(w.now.Add(20 * time.Minute))
			for _, s := range w.shops {
				wantShelves(t, s, "CUP 16, SKU-1 20")
			}
			told("s2", w.now, "CUP", "MINE", w.shops[2].items[firstObject])
			told("s0", w.now.Add(-time.Hour), "CUP", "LATE", first)
			w.run(w.now.Add(20 * time.Minute))
			for _, s := range w.shops {
				wantShelves(t, s, "CUP 16, SKU-1 20")
			}
		})
	}
}

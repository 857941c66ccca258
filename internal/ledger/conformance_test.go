package ledger

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/event"
	"stocksync.dev/stocksync/internal/stock"
)

// peopleLedger is all that both implementations do.
type peopleLedger interface {
	engine.Ledger
	ID(ctx context.Context, given string) (string, error)
	Conflicts(ctx context.Context) ([]Row, error)
	ResolveConflicts(ctx context.Context, ids ...int64) error
	History(ctx context.Context, pool int64, limit int) ([]Row, error)
	Events(ctx context.Context, q EventQuery) ([]Row, error)
	Prune(ctx context.Context, olderThan time.Time, maxRows int) (int, error)
	Totals(ctx context.Context) (Totals, error)
	Exposure(ctx context.Context) (map[string]int64, error)
	Offers(ctx context.Context, master, store string, keys []stock.Key) (map[stock.Key]Offer, error)
	Nonces(ctx context.Context, now time.Time) ([]Nonce, error)
	KeepNonces(ctx context.Context, now time.Time, nonces []Nonce) error
}

var (
	_ peopleLedger = (*Memory)(nil)
	_ peopleLedger = (*SQLite)(nil)
)

func openTest(t testing.TB, path string, o Options) *SQLite {
	t.Helper()
	s, err := Open(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// step is one call within a transaction; what it answers is compared as text.
type step func(tx engine.Tx) string

var (
	genStore = rapid.SampledFrom([]string{"hq", "fr", "de"})
	genPool  = rapid.Int64Range(1, 5)
	genItem  = rapid.Int64Range(1, 6)
	genUnits = rapid.OneOf(rapid.Int64Range(-3, 3), rapid.Int64Range(-1<<40, 1<<40))
	genKey   = rapid.SampledFrom([]stock.Key{"a", "b", "ä-1", "c'\"", "d\x00e", "a ", "%"})
	genLimit = rapid.IntRange(0, 3)
	genText  = rapid.SampledFrom([]string{"", "x", "Größe \"L\"", "a\x00b", "{}"})
	genTime  = rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "zero") {
			return time.Time{}
		}
		sec, nsec := rapid.Int64Range(1_700_000_000, 1_700_000_004).Draw(t, "sec"), rapid.SampledFrom([]int64{0, 1_000, 1_999}).Draw(t, "nsec")
		return time.Unix(sec, nsec).In(time.FixedZone("there", 3600))
	})
	genStep = rapid.Custom(drawStep)
)

func drawPlacement(t *rapid.T) stock.Placement {
	p := stock.Placement{
		Store: genStore.Draw(t, "store"), Pool: genPool.Draw(t, "pool"), SKU: genText.Draw(t, "sku"),
		Ref:      stock.Ref{Product: genItem.Draw(t, "product"), Variation: rapid.Int64Range(0, 3).Draw(t, "variation")},
		Enrolled: rapid.Bool().Draw(t, "enrolled"), Blocked: rapid.SampledFrom([]string{"", "", "why", string(stock.Unmanaged)}).Draw(t, "blocked"),
		Contained: genUnits.Draw(t, "S"), Baseline: genUnits.Draw(t, "A"), Taken: genUnits.Draw(t, "taken"), Counted: genUnits.Draw(t, "c"),
		Quantity: genUnits.Draw(t, "q"), Shown: genUnits.Draw(t, "shown"), ReadAt: genTime.Draw(t, "read"),
		Undecided: rapid.Bool().Draw(t, "undecided"), Restored: rapid.Bool().Draw(t, "restored"), PartedSince: genTime.Draw(t, "parted"), UnansweredAt: genTime.Draw(t, "unanswered"),
		Todo: rapid.Int64Range(-2, 2).Draw(t, "todo"), DirtySince: genTime.Draw(t, "dirty"),
	}
	if rapid.Bool().Draw(t, "known") {
		p.Known = [stock.Slots]int64{1, 0, 1 << 50}
	}
	for range rapid.IntRange(0, 2).Draw(t, "attempts") {
		p.Attempts = append(p.Attempts, stock.Attempt{ID: genUnits.Draw(t, "id"), Units: genUnits.Draw(t, "units"), Slot: 3,
			State: rapid.SampledFrom([]stock.AttemptState{stock.Open, stock.Void}).Draw(t, "state"), SentAt: genTime.Draw(t, "sent")})
	}
	for range rapid.IntRange(0, 2).Draw(t, "pushes") {
		p.Pushes = append(p.Pushes, stock.PushMark{Units: genUnits.Draw(t, "units"), From: genTime.Draw(t, "from"), To: genTime.Draw(t, "to")})
	}
	if rapid.IntRange(0, 2).Draw(t, "absolute") == 0 {
		p.Absolute.Writes = []stock.Write{{ID: 3, Base: genUnits.Draw(t, "base"), To: 4, From: genTime.Draw(t, "from"), SentAt: genTime.Draw(t, "sent"),
			Until: genTime.Draw(t, "until"), State: stock.Void, Answered: true, Lost: -1, Told: []int64{4, 5}}}
		p.Absolute.Heard = []stock.Hearing{{Quantity: 7, Seconds: 1_700_000_000, At: genTime.Draw(t, "heard")}}
	}
	if rapid.Bool().Draw(t, "naming") {
		p.Naming = stock.Naming{Todo: genText.Draw(t, "name"), Refused: "x", Again: genTime.Draw(t, "again")}
	}
	if rapid.Bool().Draw(t, "shelf") {
		p.Shelf = stock.Shelf{Seen: stock.Values{"no", stock.None, "", stock.Yes}, Modified: genTime.Draw(t, "modified"), Joined: rapid.Bool().Draw(t, "joined"),
			Rederived: genTime.Draw(t, "rederived"), Rederive: rapid.Bool().Draw(t, "rederive")}
		if rapid.Bool().Draw(t, "unlike") {
			p.Shelf.Todo[stock.Backorders] = "yes"
			p.Shelf.Writes = []stock.FieldWrite{{Field: stock.LowStock, Value: "0", At: genTime.Draw(t, "written")}}
		}
	}
	if rapid.Bool().Draw(t, "target") {
		p.Target = stock.Target{Known: true, Units: genUnits.Draw(t, "T"), Aside: 2, Due: rapid.Bool().Draw(t, "due"), Created: genTime.Draw(t, "made")}
	}
	return p
}

var (
	genID   = rapid.SampledFrom([]string{"1", "2", "30", "x\x00y"})
	genSKU  = rapid.SampledFrom([]string{"", "a", "A", "a "})
	genShop = rapid.SampledFrom([]string{"7", "8"})
)

// drawSource is a call about a source's items.
func drawSource(t *rapid.T) step {
	item, store := genID.Draw(t, "item"), genStore.Draw(t, "store")
	ref := stock.Ref{Product: genItem.Draw(t, "product"), Variation: rapid.Int64Range(0, 2).Draw(t, "variation")}
	switch rapid.IntRange(0, 6).Draw(t, "of a source") {
	case 0, 1, 2:
		i := stock.Stocked{SourceItem: stock.SourceItem{ID: item, SKU: genSKU.Draw(t, "sku"), Created: genTime.Draw(t, "created"), Modified: genTime.Draw(t, "modified"),
			Gone: rapid.Bool().Draw(t, "gone")}, Pool: genPool.Draw(t, "pool")}
		if rapid.Bool().Draw(t, "used") {
			amount, _ := stock.ParseAmount("-2.50001")
			i.Supplies = []stock.Used{{Supply: stock.Supply{Level: stock.Level{Item: item, Location: "L", OnHand: amount, HasCommitted: true},
				Demand: stock.Demand{Elsewhere: stock.Units(3)}, At: genTime.Draw(t, "at")}, Step: 4}}
		}
		if rapid.Bool().Draw(t, "owes") {
			i.Owed = []stock.Owed{{Store: store, Location: "L", Order: 5, Line: 6, Units: genUnits.Draw(t, "owed"), Created: genTime.Draw(t, "ordered"), Since: genTime.Draw(t, "since")}}
		}
		return func(tx engine.Tx) string { return answer(tx.PutSourceItem(i)) }
	case 3:
		l := stock.Link{Store: store, Ref: ref, Item: item, By: stock.LinkedByPerson}
		return func(tx engine.Tx) string { return answer(tx.PutLink(l)) }
	case 4:
		return func(tx engine.Tx) string { return answer(tx.DeleteLink(store, ref.Object())) }
	case 5:
		i := stock.Import{Order: stock.ShopOrder{Shop: store, ID: genShop.Draw(t, "order")}, Item: item, Step: genItem.Draw(t, "step"), At: genTime.Draw(t, "at")}
		return func(tx engine.Tx) string { return answer(tx.PutImport(i)) }
	default:
		before := genTime.Draw(t, "before")
		return func(tx engine.Tx) string { return answer(tx.PruneImports(before)) }
	}
}

// lookSource asks for all that is known of a source.
func lookSource(tx engine.Tx, limit int) (out []string) {
	add := func(name string, values ...any) { out = append(out, fmt.Sprintf("%s %+v", name, values)) }
	for _, id := range []string{"", "1", "2", "30", "x\x00y"} {
		i, ok, err := tx.SourceItem(id)
		add("item", id, i, ok, err)
		all, err := tx.SourceItems(id, limit)
		add("items after", id, all, err)
		for _, store := range []string{"hq", "fr", "de"} {
			l, ok, err := tx.LinkOf(store, id)
			add("link of", store, id, l, ok, err)
			for _, order := range []string{"7", "8"} {
				n, ok, err := tx.Import(stock.ShopOrder{Shop: store, ID: order}, id)
				add("import", store, order, id, n, ok, err)
			}
		}
	}
	for pool := range int64(7) {
		i, ok, err := tx.SourceItemOf(pool)
		add("item of", pool, i, ok, err)
		l, ok, err := tx.LinkAt("fr", pool)
		add("link at", pool, l, ok, err)
	}
	for _, sku := range []string{"", "a", "A", "a ", "b"} {
		all, err := tx.SourceItemsOf(sku)
		add("items of", sku, all, err)
	}
	all, err := tx.Owing()
	links, err2 := tx.Links("fr")
	add("owing", all, err, links, err2)
	return out
}

func answer(values ...any) string { return fmt.Sprintf("%+v", values) }

func drawStep(t *rapid.T) step {
	store, pool, key, limit, text := genStore.Draw(t, "store"), genPool.Draw(t, "pool"), genKey.Draw(t, "key"), genLimit.Draw(t, "limit"), genText.Draw(t, "text")
	switch rapid.IntRange(0, 15).Draw(t, "call") {
	case 0, 1:
		return func(tx engine.Tx) string {
			p, err := tx.NewPool(text, key)
			return answer(p, err)
		}
	case 2:
		p := stock.Pool{ID: pool, SKU: text, Units: genUnits.Draw(t, "units"), Set: rapid.Bool().Draw(t, "set"),
			Stopped: rapid.SampledFrom([]string{"", "", "feed"}).Draw(t, "stopped")}
		if rapid.Bool().Draw(t, "edits") {
			p.Edits = []stock.EditMark{{Store: store, To: []int64{4, 6}, Blur: 2, Undid: true, At: genTime.Draw(t, "at")}}
		}
		if rapid.Bool().Draw(t, "identity") {
			p.GID, p.Former, p.Renamed = rapid.SampledFrom([]string{"", "g1", "g2"}).Draw(t, "gid"), []string{text, "old"}, true
		}
		if rapid.Bool().Draw(t, "registers") {
			p.Registers[stock.LowStock] = stock.Register{Value: "0", Store: store, At: genTime.Draw(t, "at"), Hour: genTime.Draw(t, "hour"), Changes: 3}
		}
		return func(tx engine.Tx) string { return answer(tx.PutPool(p)) }
	case 3:
		if rapid.IntRange(0, 4).Draw(t, "release") == 0 {
			return func(tx engine.Tx) string { return answer(tx.Release(key)) }
		}
		if rapid.IntRange(0, 2).Draw(t, "rekey") == 0 {
			return func(tx engine.Tx) string { return answer(tx.Rekey(key, pool)) }
		}
		return func(tx engine.Tx) string { return answer(tx.Alias(key, pool)) }
	case 4, 5, 6:
		p := drawPlacement(t)
		return func(tx engine.Tx) string { return answer(tx.PutPlacement(p)) }
	case 7:
		return func(tx engine.Tx) string { return answer(tx.DeletePlacement(store, pool)) }
	case 8:
		l := stock.Line{Order: genItem.Draw(t, "order"), Line: genItem.Draw(t, "line"), Ref: stock.Ref{Product: genItem.Draw(t, "product"), Variation: 2},
			Units: genUnits.Draw(t, "units"), Created: genTime.Draw(t, "created"), Changes: []stock.Change{{At: genTime.Draw(t, "changed"), Units: 1, Since: genTime.Draw(t, "since")}}, Modified: genTime.Draw(t, "modified")}
		return func(tx engine.Tx) string { return answer(tx.PutLine(store, l)) }
	case 9:
		if rapid.IntRange(0, 2).Draw(t, "remember") == 0 {
			until, now := genTime.Draw(t, "until"), genTime.Draw(t, "now")
			return func(tx engine.Tx) string { return answer(tx.Remember(text, until, now)) }
		}
		if rapid.IntRange(0, 5).Draw(t, "drop") == 0 {
			return func(tx engine.Tx) string { return answer(tx.DropStore(store)) }
		}
		if rapid.IntRange(0, 3).Draw(t, "prune") == 0 {
			before := genTime.Draw(t, "before")
			return func(tx engine.Tx) string { return answer(tx.PruneLines(store, before)) }
		}
		return func(tx engine.Tx) string { return answer(tx.SetValue(store, string(key), text)) }
	case 10:
		id := rapid.Int64Range(0, 40).Draw(t, "raise")
		return func(tx engine.Tx) string {
			err := tx.RaiseAttempt(id)
			next, err2 := tx.NextAttempt()
			return answer(err, next, err2)
		}
	case 11:
		run := agentapi.Run{ID: rapid.Int64Range(1, 3).Draw(t, "run"), State: agentapi.Running, Message: text, StartedAt: genTime.Draw(t, "at")}
		f := agentapi.Finding{Class: agentapi.QuantityDiffers, Store: store, SKU: text, Units: genUnits.Draw(t, "units")}
		switch rapid.IntRange(0, 6).Draw(t, "of runs") {
		case 0, 1:
			return func(tx engine.Tx) string {
				r, err := tx.NewRun(run)
				return answer(r, err)
			}
		case 2:
			return func(tx engine.Tx) string { return answer(tx.PutRun(run)) }
		case 3:
			return func(tx engine.Tx) string { return answer(tx.DropRun(run.ID)) }
		case 4:
			return func(tx engine.Tx) string { return answer(tx.DropFindings(run.ID)) }
		default:
			return func(tx engine.Tx) string { return answer(tx.AddFinding(run.ID, f)) }
		}
	case 13, 14, 15:
		return drawSource(t)
	default:
		kind := rapid.SampledFrom([]stock.Kind{stock.Lost, stock.Ordered, stock.Unclear, stock.Edited, event.Disconnected, event.WebhooksLeft, "Later"}).Draw(t, "kind")
		e := stock.Entry{Kind: kind, Cause: text, Store: store, Pool: pool, SKU: text, Delta: genUnits.Draw(t, "delta"), Units: 2, Quantity: 3, Attempt: 4,
			Evidence: text, Conflict: rapid.Bool().Draw(t, "conflict"), At: genTime.Draw(t, "at")}
		return func(tx engine.Tx) string { return answer(tx.Append(e), limit) }
	}
}

// look asks for everything there is.
func look(tx engine.Tx, limit int, since time.Time) (out []string) {
	add := func(name string, values ...any) { out = append(out, fmt.Sprintf("%s %+v", name, values)) }
	found := func(name string, ok bool, values ...any) {
		if ok {
			add(name, values...)
		}
	}
	names, err := tx.Stores()
	add("stores", names, err)
	for id := range int64(7) {
		p, err := tx.Pool(id)
		add("pool", id, p, err)
		keys, err := tx.Keys(id)
		add("keys", id, keys, err)
		all, err := tx.Placements(id)
		add("placements", id, all, err)
	}
	for _, k := range []stock.Key{"a", "A", "b", "ä-1", "c'\"", "d\x00e", "d", "a ", "%"} {
		id, err := tx.PoolOf(k)
		add("pool of", k, id, err)
	}
	for _, gid := range []string{"", "g1", "g2"} {
		id, err := tx.PoolOfGID(gid)
		add("pool of GID", gid, id, err)
	}
	runs, err := tx.Runs(limit)
	add("runs", runs, err)
	for run := range int64(4) {
		for after := range int64(3) {
			f, err := tx.Findings(run, after, limit)
			found("findings", f != nil || err != nil, run, after, f, err)
		}
	}
	for _, store := range []string{"hq", "fr", "de", "nowhere"} {
		st, err := tx.Stats(store)
		add("stats "+store, st, err)
		due, err := tx.Due(store, limit)
		add("due "+store, due, err)
		unlike, err := tx.Unlike(store, limit)
		found("unlike "+store, unlike != nil || err != nil, unlike, err)
		for after := range int64(3) {
			all, err := tx.StorePlacements(store, after, limit)
			found("of store "+store, all != nil || err != nil, all, err)
			restless, err := tx.Restless(store, after, limit)
			found("restless "+store, restless != nil || err != nil, restless, err)
			misnamed, err := tx.Misnamed(store, after, limit)
			found("misnamed "+store, misnamed != nil || err != nil, misnamed, err)
			pending, err := tx.Pending(store, after, limit)
			found("pending "+store, pending != nil || err != nil, pending, err)
		}
		for id := range int64(7) {
			p, ok, err := tx.Placement(store, id)
			found("placement "+store, ok || err != nil, p, err)
			p, ok, err = tx.PlacementAt(store, id)
			found("placement at "+store, ok || err != nil, id, p, err)
			lines, err := tx.Lines(store, id, since)
			found("lines "+store, lines != nil || err != nil, id, lines, err)
			lines, err = tx.OrderLines(store, id)
			found("lines of order "+store, lines != nil || err != nil, id, lines, err)
		}
		for _, name := range []string{"a", "b", "d\x00e"} {
			v, err := tx.Value(store, name)
			found("value "+store, v != "" || err != nil, name, v, err)
		}
	}
	return append(out, lookSource(tx, limit)...)
}

// TestConformance: whatever is done, the ledger on disk answers what the one in memory answers, also after
// it was closed and opened again.
func TestConformance(t *testing.T) {
	t.Parallel()
	dir, n := t.TempDir(), 0
	if raceEnabled && flag.Lookup("rapid.checks").Value.String() == flag.Lookup("rapid.checks").DefValue {
		// SQLite in pure Go is many times slower under the race detector, which has nothing to find here.
		if err := flag.Set("rapid.checks", "10"); err != nil {
			t.Fatal(err)
		}
	}
	errAbort := errors.New("abort")
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		n++
		path := filepath.Join(dir, fmt.Sprintf("%d.db", n))
		disk, err := Open(ctx, path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = disk.Close() }()
		memory := NewMemory()
		same := func(what string, of func(peopleLedger) []string) {
			t.Helper()
			got, want := of(disk), of(memory)
			for i := range max(len(got), len(want)) {
				if i >= len(got) || i >= len(want) || got[i] != want[i] {
					t.Fatalf("%s:\n disk   %s\n memory %s", what, got[min(i, len(got)):], want[min(i, len(want)):])
				}
			}
		}
		for range rapid.IntRange(1, 6).Draw(t, "transactions") {
			steps := rapid.SliceOfN(genStep, 1, 12).Draw(t, "steps")
			abort := rapid.IntRange(0, 3).Draw(t, "abort") == 0
			since, limit := genTime.Draw(t, "since"), genLimit.Draw(t, "limit")
			same("update", func(l peopleLedger) []string {
				var out []string
				err := l.Update(ctx, func(tx engine.Tx) error {
					for _, s := range steps {
						out = append(out, s(tx))
					}
					out = append(out, look(tx, limit, since)...)
					if abort {
						return errAbort
					}
					return nil
				})
				return append(out, answer(err))
			})
			switch rapid.IntRange(0, 5).Draw(t, "people") {
			case 0:
				ids := rapid.SliceOf(rapid.Int64Range(0, 6)).Draw(t, "resolve")
				same("resolve", func(l peopleLedger) []string { return []string{answer(l.ResolveConflicts(ctx, ids...))} })
			case 1:
				rows := rapid.IntRange(0, 5).Draw(t, "rows")
				same("prune", func(l peopleLedger) []string {
					n, err := l.Prune(ctx, since, rows)
					return []string{answer(err), fmt.Sprint(n)}
				})
			case 2:
				if err := disk.Close(); err != nil {
					t.Fatal(err)
				}
				if disk, err = Open(ctx, path, Options{}); err != nil {
					t.Fatal(err)
				}
			}
			same("view", func(l peopleLedger) []string {
				var out []string
				err := l.View(ctx, func(tx engine.Tx) error {
					out = look(tx, limit, since)
					return nil
				})
				return append(out, answer(err))
			})
			same("view writes", func(l peopleLedger) []string {
				var out []string
				err := l.View(ctx, func(tx engine.Tx) error {
					for _, s := range steps {
						out = append(out, s(tx))
					}
					return nil
				})
				return append(out, answer(err))
			})
			same("conflicts", func(l peopleLedger) []string { r, err := l.Conflicts(ctx); return []string{answer(r, err)} })
			same("totals", func(l peopleLedger) []string { r, err := l.Totals(ctx); return []string{answer(r, err)} })
			same("exposure", func(l peopleLedger) []string { r, err := l.Exposure(ctx); return []string{answer(r, err)} })
			now := genTime.Draw(t, "now")
			nonces := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Nonce {
				return Nonce{Sum: [16]byte{rapid.Byte().Draw(t, "sum") % 4}, Until: genTime.Draw(t, "until")}
			}), 0, 4).Draw(t, "nonces")
			same("keep nonces", func(l peopleLedger) []string { return []string{answer(l.KeepNonces(ctx, now, nonces))} })
			same("nonces", func(l peopleLedger) []string { r, err := l.Nonces(ctx, now); return []string{answer(r, err)} })
			same("offers", func(l peopleLedger) []string {
				r, err := l.Offers(ctx, "hq", "fr", []stock.Key{"a", "b", "b", "none", "ä-1", "c'\"", "d\x00e", "a ", "%"})
				return []string{answer(r, err)}
			})
			q := EventQuery{After: rapid.Int64Range(0, 5).Draw(t, "after"), Limit: limit, Newest: rapid.Bool().Draw(t, "newest"),
				Store: rapid.SampledFrom([]string{"", "fr"}).Draw(t, "of store"), SKU: rapid.SampledFrom([]string{"", "A", "b", "none"}).Draw(t, "of SKU"),
				Level: rapid.SampledFrom(append(event.Levels(), "")).Draw(t, "level")}
			same("events", func(l peopleLedger) []string { r, err := l.Events(ctx, q); return []string{answer(r, err)} })
			for pool := range int64(4) {
				same("history", func(l peopleLedger) []string { r, err := l.History(ctx, pool, limit); return []string{answer(r, err)} })
			}
		}
	})
}

// both runs a test on both implementations.
func both(t *testing.T, test func(t *testing.T, l peopleLedger)) {
	t.Parallel()
	t.Run("Memory", func(t *testing.T) { t.Parallel(); test(t, NewMemory()) })
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, openTest(t, filepath.Join(t.TempDir(), "ledger.db"), Options{}))
	})
}

func TestID(t *testing.T) {
	both(t, func(t *testing.T, l peopleLedger) {
		const given = "00112233445566778899aabbccddeeff"
		if _, err := l.ID(t.Context(), "Not-An-ID"); err == nil {
			t.Error("an id of the wrong form was taken")
		}
		own, err := l.ID(t.Context(), "")
		if err != nil || !idForm.MatchString(own) {
			t.Fatalf("own id %q, %v", own, err)
		}
		if again, err := l.ID(t.Context(), ""); err != nil || again != own {
			t.Errorf("second call: %q, %v; want %q", again, err, own)
		}
		if same, err := l.ID(t.Context(), own); err != nil || same != own {
			t.Errorf("given its own id: %q, %v", same, err)
		}
		if id, err := l.ID(t.Context(), given); err == nil {
			t.Errorf("another id was taken: %q", id)
		}
	})
}

func TestIDAdopted(t *testing.T) {
	both(t, func(t *testing.T, l peopleLedger) {
		const given = "00112233445566778899aabbccddeeff"
		for _, g := range []string{given, "", given} {
			if id, err := l.ID(t.Context(), g); err != nil || id != given {
				t.Errorf("given %q: %q, %v", g, id, err)
			}
		}
	})
}

// TestTxEnds: a transaction kept beyond its function does nothing any more.
func TestTxEnds(t *testing.T) {
	both(t, func(t *testing.T, l peopleLedger) {
		var kept engine.Tx
		keep := func(tx engine.Tx) error { kept = tx; return nil }
		for _, run := range []func(context.Context, func(engine.Tx) error) error{l.Update, l.View} {
			if err := run(t.Context(), keep); err != nil {
				t.Fatal(err)
			}
			if err := kept.SetValue("fr", "a", "b"); !errors.Is(err, ErrDone) {
				t.Errorf("write: %v", err)
			}
			if _, err := kept.Value("fr", "a"); !errors.Is(err, ErrDone) {
				t.Errorf("read: %v", err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, run := range []func(context.Context, func(engine.Tx) error) error{l.Update, l.View} {
			if err := run(ctx, keep); !errors.Is(err, context.Canceled) {
				t.Errorf("with an ended context: %v", err)
			}
		}
	})
}

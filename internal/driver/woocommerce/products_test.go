package woocommerce

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

type row = map[string]any

func simple(id int, sku string, quantity any) row {
	return row{"id": id, "type": "simple", "parent_id": 0, "sku": sku, "manage_stock": true, "stock_quantity": quantity,
		"date_modified_gmt": "2026-11-21T20:04:35", "meta_data": []any{}}
}

func with(r row, kv ...any) row {
	for i := 0; i < len(kv); i += 2 {
		r[kv[i].(string)] = kv[i+1]
	}
	return r
}

// catalogue serves products and, by parent id, variations.
func catalogue(products []row, variations map[string][]row) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/wp-json/wc/v3/products")
		if path == "" {
			serveList(w, r, products)
			return
		}
		serveList(w, r, variations[strings.Split(path, "/")[1]])
	}
}

func readAll(t *testing.T, next func(cursor string) (engine.Page, error)) []engine.Item {
	t.Helper()
	var items []engine.Item
	for cursor := ""; ; {
		p, err := next(cursor)
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, p.Items...)
		if cursor = p.Next; cursor == "" {
			return items
		}
	}
}

func brief(items []engine.Item) []string {
	var out []string
	for _, it := range items {
		q := fmt.Sprint(it.Quantity)
		if it.Fractional {
			q = "fractional"
		}
		out = append(out, fmt.Sprintf("%d/%d %s %s %s", it.Ref.Product, it.Ref.Variation, strings.Join(it.SKUs, "+"),
			[]string{"unmanaged", "own", "shared"}[it.Managed], q))
	}
	return out
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func TestCatalogueItems(t *testing.T) {
	t.Parallel()
	marker := stock.Marker{Ledger: "0123456789abcdef0123456789abcdef", Pool: 7, Store: "fr", Product: 322, Attempt: 12, At: testTime}
	older := marker
	older.Attempt = 11
	c, s := newClient(t, catalogue([]row{
		simple(10, " SKU-1 ", 5),
		simple(11, "", 5),
		simple(12, "NULL", nil),
		simple(13, "HALF", 2.5),
		simple(14, "TEXT", "17"),
		simple(15, "HUGE", 1e300),
		simple(16, "NEG", -3),
		simple(17, "WHOLE", 4.0),
		with(simple(18, "OFF", nil), "manage_stock", false),
		with(simple(19, "ODD", 3), "manage_stock", "yes", "type", "bundle"),
		with(simple(20, "EXT", nil), "type", "external"),
		with(simple(21, "GRP", nil), "type", "grouped", "manage_stock", true, "meta_data", "odd"),
		with(simple(310, "VAR-1", nil), "type", "variable", "manage_stock", false),
		with(simple(322, "", 50), "type", "variable", "date_created_gmt", "2025-01-02T03:04:05", "meta_data", []any{
			"odd", 7, row{"key": "_stocksync_2", "value": formatMarker(marker)}, row{"key": "_stocksync_2", "value": formatMarker(older)},
			row{"key": "_stocksync_1", "value": row{"a": 1}}, row{"key": "_stocksync_0", "value": "junk"}, row{"key": "_price", "value": "10"}}),
	}, map[string][]row{
		"310": {simple(311, "VAR-1-S", 20), with(simple(312, "VAR-1-M", nil), "manage_stock", false), simple(313, "var-1", 4)},
		"322": {with(simple(323, "VAR-4-S", 51), "manage_stock", "parent"), with(simple(324, "VAR-4-M", 51), "manage_stock", "parent"), simple(325, "VAR-4-L", 9)},
	}))
	p, err := c.Catalogue(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "items", brief(p.Items), []string{
		"10/0 SKU-1 own 5", "11/0  own 5", "12/0 NULL own fractional", "13/0 HALF own fractional", "14/0 TEXT own 17", "15/0 HUGE own fractional",
		"16/0 NEG own -3", "17/0 WHOLE own 4", "18/0 OFF unmanaged 0", "19/0 ODD unmanaged 0", "20/0  unmanaged 0", "21/0  unmanaged 0",
		// A variation that shows its parent's SKU has none of its own.
		"310/311 VAR-1-S own 20", "310/312 VAR-1-M unmanaged 0", "310/313  own 4", "310/0 VAR-1+VAR-1-M unmanaged 0",
		// The parent's quantity is that of its own row, whatever its variations showed a moment later.
		"322/325 VAR-4-L own 9", "322/0 VAR-4-S+VAR-4-M shared 50",
	})
	last := p.Items[len(p.Items)-1]
	if last.Markers != (stock.Markers{2: marker}) || !last.Modified.Equal(time.Date(2026, 11, 21, 20, 4, 35, 0, time.UTC)) {
		t.Errorf("markers %+v, modified %v", last.Markers, last.Modified)
	}
	if !last.Created.Equal(time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)) || !p.Items[0].Created.IsZero() {
		t.Errorf("created %v and %v", last.Created, p.Items[0].Created)
	}
	for _, r := range s.requests() {
		if r.query["orderby"][0] != "id" || r.query["order"][0] != "asc" || r.query["_fields"][0] != productFields || r.method != "GET" {
			t.Errorf("request %+v", r)
		}
	}
}

func TestRecordedLists(t *testing.T) {
	t.Parallel()
	c, _ := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		f := fixture(t, "products_list_page")
		f.Response.Headers["x-wp-total"] = "2"
		f.replay(w)
	})
	p, err := c.Catalogue(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "list", brief(p.Items), []string{"12/0 SKU-0003 own 100", "13/0 SKU-0004 own 100"})

	// The recorded variations are in the order of the default, which is not the one we ask for.
	c, _ = newClient(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/products") {
			serveList(w, r, []row{with(simple(322, "VAR-4", 50), "type", "variable")})
			return
		}
		fixture(t, "variations_list_parent_managed").replay(w)
	})
	_, err = c.Catalogue(context.Background(), "")
	if f := faultOf(t, err); !strings.Contains(f.Message, "order") {
		t.Error(f)
	}
}

func TestManyFamiliesAreReadInTurns(t *testing.T) {
	t.Parallel()
	var products []row
	variations := map[string][]row{}
	for id := 1000; id < 1000+100*25; id += 100 {
		products = append(products, with(simple(id, "", nil), "type", "variable", "manage_stock", false))
		for v := range 3 {
			variations[fmt.Sprint(id)] = append(variations[fmt.Sprint(id)], simple(id+1+v, fmt.Sprintf("V-%d-%d", id, v), v))
		}
	}
	c, s := newClient(t, catalogue(products, variations))
	items := readAll(t, func(cursor string) (engine.Page, error) {
		before := len(s.requests())
		p, err := c.Catalogue(context.Background(), cursor)
		if n := len(s.requests()) - before; n > maxFamilies+1 {
			t.Errorf("one page took %d requests", n)
		}
		return p, err
	})
	if len(items) != 25*4 {
		t.Errorf("%d items", len(items))
	}
}

// TestParentTakesOverWhileReading: the management is switched between the list of products and the list of
// variations. Nothing may then look unmanaged.
func TestParentTakesOverWhileReading(t *testing.T) {
	t.Parallel()
	switched := false
	c, _ := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/products") {
			serveList(w, r, []row{with(simple(310, "", 60), "type", "variable", "manage_stock", switched)})
			switched = true
			return
		}
		serveList(w, r, []row{with(simple(311, "V-S", 60), "manage_stock", "parent"), with(simple(312, "V-M", 60), "manage_stock", "parent")})
	})
	p, err := c.Read(context.Background(), []stock.Ref{{Product: 310, Variation: 311}})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "items", brief(p.Items), []string{"310/0 V-S+V-M shared 60"})
	equal(t, "gone", p.Gone, []stock.Ref{{Product: 310, Variation: 311}})
}

func TestModifiedAsksInUTC(t *testing.T) {
	t.Parallel()
	c, s := newClient(t, catalogue(nil, nil))
	since := time.Date(2026, 11, 21, 22, 13, 0, 500, time.FixedZone("", 2*3600))
	if _, err := c.Modified(context.Background(), since, ""); err != nil {
		t.Fatal(err)
	}
	q := s.requests()[0].query
	// The shop compares strictly: a second less includes what was modified in the very second.
	if q["modified_after"][0] != "2026-11-21T20:12:59" || q["dates_are_gmt"][0] != "true" {
		t.Errorf("query %v", q)
	}
}

// TestNothingIsMissedWhileListsMove changes the collection between pages: rows leave it anywhere and come in
// anywhere. Every row that is there all the time must be seen, and no row twice in one page order.
func TestNothingIsMissedWhileListsMove(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		there := map[int]bool{}
		for id := 1; id <= 700; id++ {
			there[id] = rnd.IntN(3) > 0
		}
		steady := map[int]bool{}
		maps.Copy(steady, there)
		c, s := newClient(t, func(w http.ResponseWriter, r *http.Request) {
			var rows []row
			for id := 1; id <= 700; id++ {
				if there[id] {
					rows = append(rows, simple(id, fmt.Sprint("S", id), 1))
				}
			}
			serveList(w, r, rows)
			if rnd.IntN(2) > 0 {
				return
			}
			for range rnd.IntN(120) {
				id := 1 + rnd.IntN(700)
				there[id] = !there[id]
				steady[id] = false
			}
		})
		got := map[int64]int{}
		for _, it := range readAll(t, func(cursor string) (engine.Page, error) { return c.Catalogue(context.Background(), cursor) }) {
			got[it.Ref.Product]++
			if got[it.Ref.Product] > 1 {
				t.Fatalf("seed %d: row %d came twice", seed, it.Ref.Product)
			}
		}
		missed := 0
		for id, in := range steady {
			if in && got[int64(id)] == 0 {
				missed++
			}
		}
		if missed > 0 {
			t.Fatalf("seed %d: %d rows missed", seed, missed)
		}
		if n := len(s.requests()); n > 60 {
			t.Fatalf("seed %d: %d requests", seed, n)
		}
	}
}

// TestRowsTheShopCannotShow: WooCommerce counts broken products but does not list them.
func TestRowsTheShopCannotShow(t *testing.T) {
	t.Parallel()
	var rows []row
	for id := 1; id <= 450; id++ {
		rows = append(rows, simple(id, fmt.Sprint("S", id), 1))
	}
	broken := func(id int) bool { return id >= 95 && id <= 105 || id == 200 || id == 298 || id == 299 }
	c, s := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		rec := recordList(r, rows)
		shown := slices.DeleteFunc(rec, func(r row) bool { return broken(r["id"].(int)) })
		w.Header().Set("X-WP-Total", "450")
		answerJSON(w, shown)
	})
	items := readAll(t, func(cursor string) (engine.Page, error) { return c.Catalogue(context.Background(), cursor) })
	if len(items) != 450-14 {
		t.Errorf("%d items", len(items))
	}
	if n := len(s.requests()); n > 15 {
		t.Errorf("%d requests", n)
	}
	c, _ = newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-WP-Total", "450")
		answerJSON(w, []row{})
	})
	_, err := c.Catalogue(context.Background(), "")
	if f := faultOf(t, err); !strings.Contains(f.Message, "says there is more") {
		t.Error(f)
	}
}

func recordList(r *http.Request, rows []row) []row {
	var offset, size int
	_, _ = fmt.Sscan(r.URL.Query().Get("offset"), &offset)
	_, _ = fmt.Sscan(r.URL.Query().Get("per_page"), &size)
	rows = slices.Clone(rows[min(offset, len(rows)):])
	return rows[:min(size, len(rows))]
}

// TestHugeRowsAreReadInSmallPages: metadata of page builders can make a page larger than what is read of an answer.
func TestHugeRowsAreReadInSmallPages(t *testing.T) {
	t.Parallel()
	blob := strings.Repeat("x", 1<<10)
	var rows []row
	for id := 1; id <= 60; id++ {
		rows = append(rows, with(simple(id, fmt.Sprint("S", id), 1), "meta_data", []any{row{"key": "_builder", "value": blob}}))
	}
	c, s := newClient(t, catalogue(rows, nil))
	c.limit = 40 << 10
	if items := readAll(t, func(cursor string) (engine.Page, error) { return c.Catalogue(context.Background(), cursor) }); len(items) != 60 {
		t.Errorf("%d items", len(items))
	}
	if n := len(s.requests()); n > 8 {
		t.Errorf("%d requests", n)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	c, s := newClient(t, catalogue([]row{
		simple(10, "SKU-1", 5),
		with(simple(20, "V", nil), "type", "variable", "manage_stock", false),
		with(simple(30, "W", 50), "type", "variable"),
		with(simple(40, "X", nil), "type", "variable", "manage_stock", false),
	}, map[string][]row{
		"20": {simple(21, "V-S", 1), simple(22, "V-M", 2), simple(23, "V-L", 3)},
		"30": {with(simple(31, "W-S", 50), "manage_stock", "parent"), with(simple(32, "W-M", 50), "manage_stock", "parent"), simple(33, "W-L", 7)},
		"40": {simple(41, "X-S", 4)},
	}))
	read := func(refs ...stock.Ref) engine.Page {
		p, err := c.Read(context.Background(), refs)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := read(stock.Ref{Product: 10}, stock.Ref{Product: 20, Variation: 22}, stock.Ref{Product: 20, Variation: 29}, stock.Ref{Product: 99},
		stock.Ref{Product: 98, Variation: 1}, stock.Ref{Product: 10})
	equal(t, "items", brief(p.Items), []string{"10/0 SKU-1 own 5", "20/22 V-M own 2"})
	equal(t, "gone", p.Gone, []stock.Ref{{Product: 20, Variation: 29}, {Product: 99}, {Product: 98, Variation: 1}})
	if n := len(s.requests()); n != 2 {
		t.Errorf("%d requests", n)
	}
	p = read(stock.Ref{Product: 30})
	equal(t, "shared", brief(p.Items), []string{"30/0 W+W-S+W-M shared 50"})
	p = read(stock.Ref{Product: 30, Variation: 33}, stock.Ref{Product: 30, Variation: 31})
	equal(t, "moved to the parent", brief(p.Items), []string{"30/33 W-L own 7", "30/0 W+W-S+W-M shared 50"})
	equal(t, "moved to the parent, gone", p.Gone, []stock.Ref{{Product: 30, Variation: 31}})
	p = read(stock.Ref{Product: 40})
	equal(t, "moved to the variations, gone", p.Gone, []stock.Ref{{Product: 40}})
	if p := read(); len(p.Items)+len(p.Gone) != 0 {
		t.Errorf("nothing asked: %+v", p)
	}
}

// TestAbsentButCounted: an item that the shop counts and cannot show, for a broken plugin, is not gone: its
// stock would be taken out of the sum.
func TestAbsentButCounted(t *testing.T) {
	t.Parallel()
	c, _ := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/products") {
			w.Header().Set("X-WP-Total", "3")
			answerJSON(w, []row{simple(10, "A", 1), with(simple(20, "V", nil), "type", "variable", "manage_stock", false)})
			return
		}
		serveList(w, r, []row{simple(21, "V-S", 1)})
	})
	p, err := c.Read(context.Background(), []stock.Ref{{Product: 10}, {Product: 11}, {Product: 20, Variation: 21}, {Product: 20, Variation: 22}, {Product: 30, Variation: 31}})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "items", brief(p.Items), []string{"10/0 A own 1", "20/21 V-S own 1"})
	equal(t, "gone", p.Gone, []stock.Ref{{Product: 20, Variation: 22}})
	c, _ = newClient(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("[]")) })
	_, err = c.Read(context.Background(), []stock.Ref{{Product: 10}})
	if f := faultOf(t, err); !strings.Contains(f.Message, "X-WP-Total") {
		t.Error(f)
	}
}

func TestReadOfSimpleHundredIsOneRequest(t *testing.T) {
	t.Parallel()
	var rows []row
	var refs []stock.Ref
	for id := 1; id <= 100; id++ {
		rows = append(rows, simple(id, fmt.Sprint("S", id), 1))
		refs = append(refs, stock.Ref{Product: int64(id)})
	}
	c, s := newClient(t, catalogue(rows, nil))
	p, err := c.Read(context.Background(), refs)
	if err != nil || len(p.Items) != 100 || len(s.requests()) != 1 {
		t.Errorf("%v, %d items, %d requests", err, len(p.Items), len(s.requests()))
	}
}

func TestCursorsAreChecked(t *testing.T) {
	t.Parallel()
	c, s := newClient(t, catalogue(nil, nil))
	for _, cursor := range []string{"x", "1.2.3.4", "a.1.0.0.", "1.b.0.0.", "1.2.c.0.", "1.2.0.d.", "1.2.0.0.x", "-2.0.0.0.", "1.2.0.0..", "99999999999999999999.0.0.0."} {
		_, err := c.Catalogue(context.Background(), cursor)
		if f := faultOf(t, err); !f.Unsent {
			t.Errorf("%q: %+v", cursor, f)
		}
	}
	if len(s.requests()) > 0 {
		t.Error("a wrong cursor led to requests")
	}
	if p, err := c.Catalogue(context.Background(), "-1.5.0.0."); err != nil || p.Next != "" {
		t.Errorf("%+v, %v", p, err)
	}
}

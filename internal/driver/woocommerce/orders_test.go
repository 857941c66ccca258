package woocommerce

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/engine"
)

func orderRow(id int, modified string, lines ...row) row {
	return row{"id": id, "date_created_gmt": "2026-11-21T20:00:00", "date_modified_gmt": modified, "line_items": lines,
		"billing": row{"email": "canary@example.com"}}
}

func line(id, product int, units any) row {
	meta := []row{{"key": "_other", "value": "9"}}
	if units != nil {
		meta = append(meta, row{"key": "_reduced_stock", "value": units, "display_value": "canary"})
	}
	return row{"id": id, "product_id": product, "variation_id": 0, "quantity": 99, "sku": nil, "name": "canary", "meta_data": meta}
}

func TestOrders(t *testing.T) {
	t.Parallel()
	c, s := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		serveList(w, r, []row{
			orderRow(5, "2026-11-21T20:15:09", line(1, 10, "2"), line(2, 11, 3), line(3, 12, nil), line(4, 0, "7"), line(5, 13, "abc"), line(6, 14, "2.5"), line(7, 15, "4.0")),
			orderRow(6, "2026-11-21T20:14:00", with(line(8, 310, "1"), "variation_id", 312)),
			orderRow(7, "2026-11-21T20:14:00"),
		})
	})
	p, err := c.Orders(context.Background(), engine.OrderQuery{Since: time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	created := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	want := []engine.Order{
		{ID: 6, Created: created, Modified: created.Add(14 * time.Minute), Lines: []engine.OrderLine{{ID: 8, Product: 310, Variation: 312, Units: 1}}},
		{ID: 7, Created: created, Modified: created.Add(14 * time.Minute)},
		{ID: 5, Created: created, Modified: created.Add(15*time.Minute + 9*time.Second), Lines: []engine.OrderLine{
			{ID: 1, Product: 10, Units: 2}, {ID: 2, Product: 11, Units: 3}, {ID: 3, Product: 12}, {ID: 5, Product: 13}, {ID: 6, Product: 14}, {ID: 7, Product: 15, Units: 4}}},
	}
	if !reflect.DeepEqual(p.Orders, want) || p.Next != "" {
		t.Errorf("got %+v\nwant %+v", p.Orders, want)
	}
	q := s.requests()[0].query
	for k, v := range map[string]string{"status": "any", "modified_after": "2026-11-21T19:59:59", "dates_are_gmt": "true", "orderby": "id", "order": "asc",
		"_fields": "id,date_created_gmt,date_modified_gmt,line_items"} {
		if !slices.Equal(q[k], []string{v}) {
			t.Errorf("%s=%v, want %s", k, q[k], v)
		}
	}
	if fmt.Sprintf("%+v", p) != strings.ReplaceAll(fmt.Sprintf("%+v", p), "canary", "") {
		t.Error("something of the customer was kept")
	}
}

func TestRecordedOrder(t *testing.T) {
	t.Parallel()
	c, _ := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, []json.RawMessage{fixture(t, "order_create_processing").Response.Body})
	})
	p, err := c.Orders(context.Background(), engine.OrderQuery{})
	if err != nil {
		t.Fatal(err)
	}
	want := []engine.OrderLine{{ID: 258, Product: 75, Units: 2}, {ID: 259, Product: 310, Variation: 312, Units: 1}, {ID: 260, Product: 322, Variation: 323, Units: 1}}
	if !reflect.DeepEqual(p.Orders[0].Lines, want) {
		t.Errorf("%+v", p.Orders[0])
	}
	c, _ = newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		f := fixture(t, "orders_modified_after")
		f.Response.Headers["x-wp-total"] = "3"
		f.replay(w)
	})
	p, err = c.Orders(context.Background(), engine.OrderQuery{})
	if err != nil || len(p.Orders) != 3 || p.Orders[0].ID != 578 || p.Orders[0].Modified.Second() != 9 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestOrdersByIDAndInTheTrash(t *testing.T) {
	t.Parallel()
	var rows []row
	var ids []int64
	for id := 1; id <= 120; id++ {
		rows = append(rows, orderRow(id, "2026-11-21T20:14:00"))
		ids = append(ids, int64(id))
	}
	c, s := newClient(t, func(w http.ResponseWriter, r *http.Request) { serveList(w, r, rows) })
	p, err := c.Orders(context.Background(), engine.OrderQuery{IDs: append(ids, 999), Trashed: true, Since: testTime})
	if err != nil || len(p.Orders) != 120 || p.Next != "" {
		t.Errorf("%d orders, next %q, %v", len(p.Orders), p.Next, err)
	}
	for _, r := range s.requests() {
		if r.query["status"][0] != "trash" || r.query["modified_after"] != nil {
			t.Errorf("query %v", r.query)
		}
	}
	// All pages of a list together hold every order.
	seen := 0
	for q := (engine.OrderQuery{}); ; {
		p, err := c.Orders(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		seen += len(p.Orders)
		if q.Cursor = p.Next; q.Cursor == "" {
			break
		}
	}
	if seen != 120 {
		t.Errorf("%d orders", seen)
	}
}

// TestOrdersUnreadable: without orders the engine counts differently, so a key that was revoked must not look
// like one that may read products only.
func TestOrdersUnreadable(t *testing.T) {
	t.Parallel()
	for _, status := range []int{401, 403} {
		for revoked, want := range map[bool]string{false: v1alpha1.ReasonOrdersUnreadable, true: v1alpha1.ReasonAuthenticationFailed} {
			c, _ := newClient(t, func(w http.ResponseWriter, r *http.Request) {
				if revoked || strings.HasSuffix(r.URL.Path, "/orders") {
					w.WriteHeader(status)
					_, _ = io.WriteString(w, `{"code":"woocommerce_rest_cannot_view","message":"Sorry"}`)
					return
				}
				answerJSON(w, []any{})
			})
			_, err := c.Orders(context.Background(), engine.OrderQuery{})
			if f := faultOf(t, err); f.Reason != want {
				t.Errorf("%d, revoked %t: %+v", status, revoked, f)
			}
		}
	}
}

package woocommerce

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/engine"
)

const (
	// orderFields is all that is asked of an order: nothing of it names a customer.
	orderFields = "id,date_created_gmt,date_modified_gmt,line_items"
	// reducedStockKey is the meta field of an order line that says how many units it holds.
	reducedStockKey = "_reduced_stock"
)

// order is a row of the orders list.
type order struct {
	ID       whole           `json:"id"`
	Created  utc             `json:"date_created_gmt"`
	Modified utc             `json:"date_modified_gmt"`
	Lines    list[orderLine] `json:"line_items"`
}

func (o order) ident() whole { return o.ID }

type orderLine struct {
	ID        whole `json:"id"`
	Product   whole `json:"product_id"`
	Variation whole `json:"variation_id"`
	Meta      metas `json:"meta_data"`
}

// units is what the line holds; 0 where nothing was taken, or was given back.
func (l orderLine) units() int64 {
	for _, v := range l.Meta[reducedStockKey] {
		if w := wholeOf(v); w.ok {
			return w.n
		}
	}
	return 0
}

func (o order) summary() engine.Order {
	s := engine.Order{ID: o.ID.n, Created: o.Created.Time, Modified: o.Modified.Time}
	for _, l := range o.Lines {
		// The line of a deleted product names none.
		if l.Product.n > 0 {
			s.Lines = append(s.Lines, engine.OrderLine{ID: l.ID.n, Product: l.Product.n, Variation: l.Variation.n, Units: l.units()})
		}
	}
	return s
}

// Orders implements [engine.Driver]. Since is taken to the second and includes it. Orders asked for by id come
// all at once.
func (c *Client) Orders(ctx context.Context, q engine.OrderQuery) (engine.OrderPage, error) {
	at, err := parsePlace(q.Cursor)
	if err != nil {
		return engine.OrderPage{}, err
	}
	query := url.Values{"_fields": {orderFields}, "status": {"any"}}
	if q.Trashed {
		query.Set("status", "trash")
	}
	var (
		list listing[order]
		next = place{offset: done}
	)
	switch {
	case len(q.IDs) > 0:
		list, err = byID[order](ctx, c, "orders", query, q.IDs)
	case at.offset != done:
		since(query, q.Since)
		list, next, err = page[order](ctx, c, "orders", query, at)
	}
	if err != nil {
		return engine.OrderPage{}, c.ordersFault(ctx, err)
	}
	read := engine.OrderPage{Window: list.window, Next: next.String()}
	for _, o := range list.rows {
		read.Orders = append(read.Orders, o.summary())
	}
	slices.SortStableFunc(read.Orders, func(a, b engine.Order) int {
		return cmp.Or(a.Modified.Compare(b.Modified), cmp.Compare(a.ID, b.ID))
	})
	return read, nil
}

// ordersFault tells a key that may not read orders from one that may read nothing: the engine counts
// differently without orders, so a key revoked at this moment must not look like one.
func (c *Client) ordersFault(ctx context.Context, err error) error {
	var f *engine.Fault
	if !errors.As(err, &f) || f.Reason != v1alpha1.ReasonAuthenticationFailed {
		return err
	}
	if _, err := c.do(ctx, request{method: http.MethodGet, path: "products", query: url.Values{"per_page": {"1"}, "_fields": {"id"}}}); err != nil {
		return err
	}
	return &engine.Fault{Reason: v1alpha1.ReasonOrdersUnreadable, Unsent: true,
		Message: "the REST key may not read orders: use a key of an administrator or shop manager; until then losses are not repaired and edits not told from sales"}
}

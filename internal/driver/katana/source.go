package katana

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

// overlap is by how much readings of movements overlap: a movement may be written a moment after its date.
const overlap = time.Minute

// openStatuses are the lists of orders that are not closed; quotes are for a policy to count or not.
var openStatuses = []string{"NOT_SHIPPED", "PARTIALLY_PACKED", "PARTIALLY_DELIVERED", "PENDING"}

func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// join makes one window of the windows of several answers.
func join(a, b stock.Window) stock.Window {
	if a.From.IsZero() {
		return b
	}
	if b.From.Before(a.From) {
		a.From = b.From
	}
	if b.To.After(a.To) {
		a.To = b.To
	}
	return a
}

// Locations implements [engine.Source].
func (c *Client) Locations(ctx context.Context) ([]stock.SourceLocation, error) {
	w, err := list(ctx, c, "locations", url.Values{"include_deleted": {"true"}}, func(l location) string { return l.ID.String() })
	if err != nil {
		return nil, err
	}
	out := make([]stock.SourceLocation, 0, len(w.rows))
	for _, l := range w.rows {
		out = append(out, stock.SourceLocation{ID: l.ID.String(), Name: string(l.Name), Gone: gone(l.Deleted)})
	}
	return out, nil
}

// Items implements [engine.Source]. A list of all items leaves out what is archived; a list of changes cannot
// tell that something was archived.
func (c *Client) Items(ctx context.Context, since time.Time) (engine.SourceItems, error) {
	query := url.Values{}
	if !since.IsZero() {
		query = url.Values{"updated_at_min": {isoTime(since)}, "include_deleted": {"true"}}
	}
	w, err := list(ctx, c, "variants", query, func(v variant) string { return v.ID.String() })
	if err != nil {
		return engine.SourceItems{}, err
	}
	out := engine.SourceItems{Window: w.window}
	for _, v := range w.rows {
		if v.ID == 0 || v.Updated.Before(since) || since.IsZero() && gone(v.Deleted) {
			continue
		}
		out.Items = append(out.Items, stock.SourceItem{ID: v.ID.String(), SKU: string(v.SKU), Created: v.Created.Time, Modified: v.Updated.Time, Gone: gone(v.Deleted)})
	}
	return out, nil
}

// Levels implements [engine.Source]. Where Katana has no row for an item, its level is zero and Absent.
func (c *Client) Levels(ctx context.Context, location string, items []string) (engine.SourceLevels, error) {
	var out engine.SourceLevels
	if len(items) == 0 {
		rows, err := c.levels(ctx, location, url.Values{})
		if err != nil {
			return out, err
		}
		for _, r := range rows.rows {
			out.Levels = append(out.Levels, r.level())
		}
		out.Window = rows.window
		return out, nil
	}
	form, size := single, 1
	if len(items) > 1 {
		var err error
		if form, err = c.learnArrays(ctx); err != nil {
			return out, err
		}
		if form != single {
			size = levelBatch
		}
	}
	for batch := range slices.Chunk(items, size) {
		query := url.Values{}
		form.put(query, "variant_id", batch)
		w, err := c.levels(ctx, location, query)
		if err != nil {
			return engine.SourceLevels{}, err
		}
		found := map[string]inventory{}
		for _, r := range w.rows {
			found[r.Variant.String()] = r
		}
		for _, item := range batch {
			level := stock.Level{Item: item, Location: location, Absent: true}
			if r, ok := found[item]; ok {
				level = r.level()
			}
			out.Levels = append(out.Levels, level)
		}
		out.Window = join(out.Window, w.window)
	}
	return out, nil
}

// levels are the rows of one location. Where there is none, the location may have been deleted: that is no stock of
// zero. What is archived still has its stock, and is left out elsewhere.
func (c *Client) levels(ctx context.Context, location string, query url.Values) (walked[inventory], error) {
	query.Set("location_id", location)
	query.Set("include_archived", "true")
	w, err := list(ctx, c, "inventory", query, func(i inventory) string { return i.Variant.String() + "/" + i.Location.String() })
	w.rows = slices.DeleteFunc(w.rows, func(i inventory) bool { return i.Location.String() != location || i.Variant == 0 })
	if err != nil || len(w.rows) > 0 {
		return w, err
	}
	locations, err := c.Locations(ctx)
	if err != nil {
		return w, err
	}
	if !slices.ContainsFunc(locations, func(l stock.SourceLocation) bool { return l.ID == location && !l.Gone }) {
		return w, &engine.Fault{Reason: engine.ReasonLocationGone, Message: fmt.Sprintf("Katana has no location %s any more: map the store to one of those in Settings > Locations", safe(text(location)))}
	}
	return w, nil
}

// OpenOrders implements [engine.Source].
func (c *Client) OpenOrders(ctx context.Context, since time.Time) (engine.SourceOrders, error) {
	var out engine.SourceOrders
	if !since.IsZero() {
		w, err := c.orders(ctx, url.Values{"updated_at_min": {isoTime(since)}, "include_deleted": {"true"}})
		if err != nil {
			return out, err
		}
		out.Window = w.window
		// An order whose change is not dated cannot be told from an old one, and is taken in.
		w.rows = slices.DeleteFunc(w.rows, func(o order) bool { return !o.Updated.IsZero() && o.Updated.Before(since) })
		out.Orders, err = c.read(ctx, w.rows, &out.Window)
		return out, err
	}
	seen := map[ident]struct{}{}
	for _, status := range openStatuses {
		w, err := c.orders(ctx, url.Values{"status": {status}})
		if err != nil {
			return engine.SourceOrders{}, err
		}
		out.Window = join(out.Window, w.window)
		// An order that changes its status meanwhile stands in two lists; the later one knows better. One that
		// stands in none is found by its date, which is after the window began.
		w.rows = slices.DeleteFunc(w.rows, func(o order) bool { return o.state() == stock.OrderClosed })
		orders, err := c.read(ctx, w.rows, &out.Window)
		if err != nil {
			return engine.SourceOrders{}, err
		}
		for i, o := range w.rows {
			if _, again := seen[o.ID]; again {
				out.Orders = slices.DeleteFunc(out.Orders, func(p stock.SourceOrder) bool {
					return p.ID == orders[i].ID && !p.Modified.After(orders[i].Modified)
				})
			}
			seen[o.ID] = struct{}{}
			out.Orders = append(out.Orders, orders[i])
		}
	}
	return out, nil
}

func (c *Client) orders(ctx context.Context, query url.Values) (walked[order], error) {
	w, err := list(ctx, c, "sales_orders", query, func(o order) string { return o.ID.String() })
	w.rows = slices.DeleteFunc(w.rows, func(o order) bool { return o.ID == 0 })
	return w, err
}

// read makes source's orders of Katana's, with what is fulfilled of those that are so in part.
func (c *Client) read(ctx context.Context, orders []order, window *stock.Window) ([]stock.SourceOrder, error) {
	out := make([]stock.SourceOrder, 0, len(orders))
	for _, o := range orders {
		var done map[ident]stock.Amount
		if o.state() == stock.OrderOpen && o.Rows == nil {
			return nil, unexpected("an order comes without its rows: Katana's API has changed, or something in between changes its answers")
		}
		if o.state() == stock.OrderOpen && o.partly() {
			w, err := list(ctx, c, "sales_order_fulfillments", url.Values{"sales_order_id": {o.ID.String()}}, func(f fulfillment) string { return f.ID.String() })
			if err != nil {
				return nil, err
			}
			done = map[ident]stock.Amount{}
			for _, f := range w.rows {
				if f.Order != o.ID {
					continue
				}
				for _, r := range f.Rows {
					done[r.Row] = done[r.Row].Plus(needed(r.Quantity))
				}
			}
			*window = join(*window, w.window)
		}
		out = append(out, o.read(c.sources, done))
	}
	return out, nil
}

// Orders implements [engine.Source].
func (c *Client) Orders(ctx context.Context, ids []string) (engine.SourceOrders, error) {
	var out engine.SourceOrders
	for _, id := range ids {
		if strings.Trim(id, "0123456789") != "" || id == "" {
			return engine.SourceOrders{}, unexpected("an id of an order must be a number")
		}
		a, err := c.get(ctx, "sales_orders/"+id, nil)
		if a.status == http.StatusNotFound {
			out.Window = join(out.Window, a.window)
			out.Orders = append(out.Orders, stock.SourceOrder{ID: id, State: stock.OrderClosed, Modified: a.window.To})
			continue
		}
		if err != nil {
			return engine.SourceOrders{}, err
		}
		o, err := decode[order](a)
		if err == nil && o.ID.String() != id {
			err = unexpected("Katana answers with another order than was asked for")
		}
		if err != nil {
			return engine.SourceOrders{}, err
		}
		out.Window = join(out.Window, a.window)
		orders, err := c.read(ctx, []order{o}, &out.Window)
		if err != nil {
			return engine.SourceOrders{}, err
		}
		out.Orders = append(out.Orders, orders...)
	}
	return out, nil
}

// Changes implements [engine.Source]: the feed of movements. The cursor is a time on Katana's clock.
func (c *Client) Changes(ctx context.Context, cursor string) (engine.SourceChanges, error) {
	since, err := time.Parse(time.RFC3339, cursor)
	if err != nil {
		a, err := c.get(ctx, "inventory_movements", url.Values{"limit": {"1"}})
		return engine.SourceChanges{Next: isoTime(a.window.From)}, err
	}
	w, err := list(ctx, c, "inventory_movements", url.Values{"updated_at_min": {isoTime(since.Add(-overlap))}}, func(m movement) string { return m.ID.String() })
	if err != nil {
		return engine.SourceChanges{}, err
	}
	out := engine.SourceChanges{Next: cursor}
	if w.window.From.After(since) {
		out.Next = isoTime(w.window.From)
	}
	for _, m := range w.rows {
		if m.Variant != 0 {
			out.Items = append(out.Items, m.Variant.String())
		}
	}
	slices.Sort(out.Items)
	out.Items = slices.Compact(out.Items)
	return out, nil
}

// String names the account for logs, without its key.
func (c *Client) String() string { return fmt.Sprintf("Katana at %s", c.base.Host) }

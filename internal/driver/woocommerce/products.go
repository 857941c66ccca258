package woocommerce

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

// maxFamilies is how many variable products are read with their variations for one page of the catalogue: each
// costs a request, and the page's window must stay short.
const maxFamilies = 10

// Catalogue implements [engine.Driver]. A page may hold no items and still have a next one.
func (c *Client) Catalogue(ctx context.Context, cursor string) (engine.Page, error) {
	return c.scan(ctx, time.Time{}, cursor)
}

// Modified implements [engine.Driver]: products modified at or after a time, each variable one with all its
// variations, because a variation's change shows in its parent's date. What was trashed or deleted does not show.
func (c *Client) Modified(ctx context.Context, t time.Time, cursor string) (engine.Page, error) {
	return c.scan(ctx, t, cursor)
}

func (c *Client) scan(ctx context.Context, t time.Time, cursor string) (engine.Page, error) {
	at, err := parsePlace(cursor)
	if err != nil {
		return engine.Page{}, err
	}
	var (
		list listing[product]
		next = at
	)
	switch {
	case len(at.pending) > 0:
		n := min(len(at.pending), maxFamilies)
		list, err = c.products(ctx, at.pending[:n])
		next.pending = at.pending[n:]
	case at.offset != done:
		query := url.Values{"_fields": {productFields}}
		since(query, t)
		list, next, err = page[product](ctx, c, "products", query, at)
	}
	if err != nil {
		return engine.Page{}, err
	}
	read := engine.Page{Window: list.window}
	families := 0
	for _, p := range list.rows {
		if !p.variable() {
			read.Items = append(read.Items, p.item(stock.Ref{Product: p.ID.n}))
			continue
		}
		if families++; families > maxFamilies {
			next.pending = append(next.pending, p.ID.n)
			continue
		}
		f, err := c.family(ctx, p, nil)
		if err != nil {
			return engine.Page{}, err
		}
		read.Items, read.Window = append(read.Items, f.items()...), span(read.Window, f.window)
	}
	read.Next = next.String()
	return read, nil
}

// products reads products by id. Those that do not exist or lie in the trash are absent.
func (c *Client) products(ctx context.Context, ids []int64) (listing[product], error) {
	return byID[product](ctx, c, "products", url.Values{"_fields": {productFields}}, ids)
}

// family reads the variations of parent; only the named ones unless only is empty, or the parent turns out to
// hold their stock.
func (c *Client) family(ctx context.Context, parent product, only []int64) (family, error) {
	if parent.Manage == holdsItself {
		only = nil
	}
	query := url.Values{"_fields": {productFields}}
	if len(only) > 0 {
		query.Set("include", joinIDs(only))
	}
	variations, err := all[product](ctx, c, fmt.Sprintf("products/%d/variations", parent.ID.n), query)
	if err != nil {
		return family{}, err
	}
	f := family{parent: parent, variations: variations.rows, window: variations.window, short: variations.short}
	byParent := func(p product) bool { return p.Manage == holdsParent }
	if parent.Manage == holdsItself || !slices.ContainsFunc(f.variations, byParent) {
		return f, nil
	}
	// Somebody gave the stock to the parent between both requests.
	again, err := c.products(ctx, []int64{parent.ID.n})
	if err != nil {
		return family{}, err
	}
	if len(again.rows) == 1 && again.rows[0].Manage == holdsItself {
		if f, err = c.family(ctx, again.rows[0], nil); err != nil {
			return family{}, err
		}
	}
	f.window = span(f.window, again.window)
	return f, nil
}

// Read implements [engine.Driver]. With what was asked come the parents that hold the stock of variations asked
// for, which are then named in Gone.
func (c *Client) Read(ctx context.Context, refs []stock.Ref) (engine.Page, error) {
	asked := map[stock.Ref]bool{}
	variations := map[int64][]int64{}
	var ids []int64
	for _, r := range refs {
		if asked[r] {
			continue
		}
		asked[r] = true
		if !slices.Contains(ids, r.Product) {
			ids = append(ids, r.Product)
		}
		if r.Variation != 0 {
			variations[r.Product] = append(variations[r.Product], r.Variation)
		}
	}
	parents, err := c.products(ctx, ids)
	if err != nil {
		return engine.Page{}, err
	}
	// What the shop counts but does not show is neither there nor gone.
	unclear := map[stock.Ref]bool{}
	if parents.short {
		maps.Copy(unclear, asked)
	}
	read := engine.Page{Window: parents.window}
	for _, p := range parents.rows {
		f := family{parent: p}
		if only := variations[p.ID.n]; len(only) > 0 || p.variable() {
			if asked[stock.Ref{Product: p.ID.n}] {
				only = nil
			}
			if f, err = c.family(ctx, p, only); err != nil {
				return engine.Page{}, err
			}
			read.Window = span(read.Window, f.window)
		}
		for _, v := range variations[p.ID.n] {
			unclear[stock.Ref{Product: p.ID.n, Variation: v}] = f.short
		}
		// A variable product that holds nothing while a variation does has handed its stock over.
		own := func(v product) bool { return v.Manage == holdsItself }
		handedOver := f.parent.variable() && f.parent.Manage != holdsItself && slices.ContainsFunc(f.variations, own)
		delete(unclear, stock.Ref{Product: p.ID.n})
		for _, it := range f.items() {
			if it.Managed == engine.Shared || asked[it.Ref] && !(handedOver && it.Ref.Variation == 0) {
				read.Items = append(read.Items, it)
				asked[it.Ref] = false
			}
		}
	}
	for _, r := range refs {
		if asked[r] && !unclear[r] {
			asked[r] = false
			read.Gone = append(read.Gone, r)
		}
	}
	return read, nil
}

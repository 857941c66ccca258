package agent

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

// errNoSource refuses what only makes sense where the stock comes from a source.
var errNoSource = badRequest("links are for topologies whose master is Katana: elsewhere items are matched by their SKU alone")

func (c call) sourced() bool {
	c.a.mu.Lock()
	defer c.a.mu.Unlock()
	return c.a.conf.Sourced
}

// ignoresCase tells whether the source's SKUs are kept in capitals.
func (c call) ignoresCase() bool {
	c.a.mu.Lock()
	defer c.a.mu.Unlock()
	s := c.a.conf.Stores[0].Settings
	return s != nil && s.Katana != nil && s.Katana.IgnoreCase
}

// child checks that a child store of this id is configured.
func (c call) child(id string) error {
	if id == "" {
		return badRequest("name the store")
	}
	c.a.mu.Lock()
	master := len(c.a.conf.Stores) > 0 && c.a.conf.Stores[0].ID == id && c.a.conf.Sourced
	c.a.mu.Unlock()
	if master {
		return badRequest("%s is the source of the stock: name one of the shops", id)
	}
	return c.store(id)
}

func listLinks(ctx context.Context, c call) (any, error) {
	store := c.URL.Query().Get("store")
	if err := c.store(store); err != nil {
		return nil, err
	}
	c.a.mu.Lock()
	conf := c.a.conf
	c.a.mu.Unlock()
	out := []agentapi.Link{}
	err := c.a.ledger.View(ctx, func(tx engine.Tx) error {
		out = out[:0]
		for _, st := range conf.Stores {
			if store != "" && st.ID != store {
				continue
			}
			links, err := tx.Links(st.ID)
			if err != nil {
				return err
			}
			for _, l := range links {
				item, _, err := tx.SourceItem(l.Item)
				if err != nil {
					return err
				}
				out = append(out, agentapi.Link{Store: l.Store, ID: l.Ref.Object(), Item: l.Item, SKU: item.SKU, By: string(l.By)})
			}
		}
		return nil
	})
	return out, err
}

func (c call) linkRequest() (q agentapi.LinkRequest, err error) {
	if q, err = question[agentapi.LinkRequest](c); err != nil {
		return q, err
	}
	switch {
	case !c.sourced():
		return q, errNoSource
	case q.ID < 1:
		return q, badRequest("name the product or variation of the store by its WooCommerce id")
	}
	return q, c.child(q.Store)
}

func setLink(ctx context.Context, c call) (any, error) {
	q, err := c.linkRequest()
	if err != nil {
		return nil, err
	}
	if q.Item, q.SKU = strings.TrimSpace(q.Item), strings.TrimSpace(q.SKU); (q.Item == "") == (q.SKU == "") {
		return nil, badRequest("name the item of the source either by its id or by its SKU there")
	}
	if c.ignoresCase() {
		q.SKU = strings.ToUpper(q.SKU)
	}
	err = c.a.ledger.View(ctx, func(tx engine.Tx) error {
		item, err := sourceItem(tx, q)
		q.Item = item.ID
		return err
	})
	if err != nil {
		return nil, err
	}
	return agentapi.Closed{Count: 1}, c.a.engine.Link(ctx, stock.Link{Store: q.Store, Ref: stock.Ref{Product: q.ID}, Item: q.Item, By: stock.LinkedByPerson})
}

// sourceItem finds the item of the source that a request names.
func sourceItem(tx engine.Tx, q agentapi.LinkRequest) (stock.Stocked, error) {
	if q.Item != "" {
		item, known, err := tx.SourceItem(q.Item)
		if err == nil && (!known || item.Gone) {
			err = &problem{404, fmt.Sprintf("the source has no item %q: name a variant by the id it has in Katana", q.Item)}
		}
		return item, err
	}
	all, err := tx.SourceItemsOf(q.SKU)
	if err != nil {
		return stock.Stocked{}, err
	}
	var there []stock.Stocked
	var ids []string
	for _, i := range all {
		if !i.Gone {
			there, ids = append(there, i), append(ids, i.ID)
		}
	}
	switch len(there) {
	case 0:
		return stock.Stocked{}, &problem{404, fmt.Sprintf("no item of the source has the SKU %q, exactly as spelled", q.SKU)}
	case 1:
		return there[0], nil
	}
	return stock.Stocked{}, badRequest("the items %s of the source have the SKU %q: name one by its id", strings.Join(ids, ", "), q.SKU)
}

func removeLink(ctx context.Context, c call) (any, error) {
	q, err := c.linkRequest()
	if err != nil {
		return nil, err
	}
	err = c.a.ledger.View(ctx, func(tx engine.Tx) error {
		l, there, err := tx.LinkAt(q.Store, q.ID)
		switch {
		case err != nil:
			return err
		case !there:
			return &problem{404, fmt.Sprintf("%d in %s has no link: `link list` names those there are", q.ID, q.Store)}
		case l.By == stock.LinkedByConfig:
			return badRequest("this link is in the ConfigMap of the store's `katana.linksConfigMapRef`: remove it there")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return agentapi.Closed{Count: 1}, c.a.engine.Unlink(ctx, q.Store, stock.Ref{Product: q.ID})
}

// listNumbers tells what a store shows of each SKU and should show.
func listNumbers(ctx context.Context, c call) (any, error) {
	id := c.URL.Query().Get("store")
	if err := c.child(id); err != nil {
		return nil, err
	}
	after, limit, err := c.page()
	if err != nil {
		return nil, err
	}
	c.a.mu.Lock()
	conf := c.a.conf
	c.a.mu.Unlock()
	var st Store
	for _, s := range conf.Stores {
		if s.ID == id {
			st = s
		}
	}
	out := []agentapi.Number{}
	err = c.a.ledger.View(ctx, func(tx engine.Tx) error {
		placements, err := tx.StorePlacements(id, after, limit)
		if err != nil {
			return err
		}
		out = out[:0]
		for _, p := range placements {
			n, err := numberOf(tx, conf, st, p)
			if err != nil {
				return err
			}
			out = append(out, n)
		}
		return nil
	})
	return out, err
}

func numberOf(tx engine.Tx, conf Config, st Store, p stock.Placement) (agentapi.Number, error) {
	n := agentapi.Number{SKU: p.SKU, Product: p.Ref.Product, Variation: p.Ref.Variation, Shown: p.Shown, Note: note(p), Cursor: strconv.FormatInt(p.Pool, 10)}
	pool, err := tx.Pool(p.Pool)
	if err != nil || st.Settings == nil {
		return n, err
	}
	n.Wanted, n.Known = stock.Should(pool, p, st.Settings.Policy)
	n.Known = n.Known && p.Blocked == "" && pool.Stopped == ""
	if !conf.Sourced {
		return n, nil
	}
	item, known, err := tx.SourceItemOf(p.Pool)
	if err != nil || !known {
		return n, err
	}
	location := sourceTerms(st).Location
	u, read := item.Supply(location)
	if !read {
		return n, nil
	}
	n.Source = &agentapi.SourceNumber{Item: item.ID, InStock: u.Level.OnHand.String(), Counted: sourceTerms(st).Counts.Counted(u.Demand).String(),
		Awaited: item.Owes(location), ReadAt: u.At}
	if u.Level.HasCommitted {
		n.Source.Committed = u.Level.Committed.String()
	}
	return n, nil
}

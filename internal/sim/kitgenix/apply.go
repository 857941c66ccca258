package kitgenix

import (
	"context"
	"strconv"

	"stocksync.dev/stocksync/internal/sim/woocommerce"
)

// item is what an item is now. A master gives it an identity first, and in generation 2 counts its version up after the
// state was read.
func (p *Plugin) item(id int64, master, authoritative bool) (item, bool) {
	r, ok := p.o.Store.Record(id)
	if !ok || r.SKU == "" || r.Trashed {
		return item{}, false
	}
	q, low := whole(r.View.Quantity), int64(0)
	if r.View.Low != nil {
		low = *r.View.Low
	}
	i := item{GID: r.Metas[MetaGID], SKU: r.SKU, Manage: true, Quantity: &q, Status: r.View.Status, Backorders: r.View.Backorders, Low: &low}
	if master {
		i.GID = p.gid(r)
	}
	if p.o.Generation == 2 {
		i.Manage = r.View.Manage
		version, _ := strconv.ParseInt(r.Metas[MetaVersion], 10, 64)
		switch {
		case authoritative:
			version++
			p.save(context.Background(), id, nil, map[string]string{MetaVersion: strconv.FormatInt(version, 10)})
			i.Version, i.Updated = &version, p.now().Unix()
		case version > 0:
			i.Version = &version
		}
	}
	// What a master captured it writes over its own catalogue like anybody's event.
	i.sent = map[string]any{"manage_stock": i.Manage, "stock_quantity": float64(q), "stock_status": i.Status, "backorders": i.Backorders, "low_stock_amount": float64(low)}
	return i, true
}

// gid is the item's identity; a master gives it one.
func (p *Plugin) gid(r woocommerce.Record) string {
	if gid := r.Metas[MetaGID]; gid != "" {
		return gid
	}
	gid := p.uuid()
	p.save(context.Background(), r.ID, nil, map[string]string{MetaGID: gid})
	return gid
}

// save writes without telling the peers. What fails is logged in the shop and forgotten.
func (p *Plugin) save(ctx context.Context, id int64, fields map[string]any, metas map[string]string) {
	_ = p.o.Store.Save(context.WithValue(ctx, applying{}, true), id, fields, metas)
}

// find looks for an item by identity, old SKU and SKU, in this order.
func (p *Plugin) find(i item) int64 {
	if i.GID != "" {
		if id := p.o.Store.FindMeta(MetaGID, i.GID); id != 0 {
			return id
		}
	}
	if i.OldSKU != nil && *i.OldSKU != "" {
		if id := p.o.Store.FindSKU(*i.OldSKU); id != 0 {
			return id
		}
	}
	if i.SKU == "" {
		return 0
	}
	return p.o.Store.FindSKU(i.SKU)
}

// apply writes what an event says over what is there.
func (p *Plugin) apply(ctx context.Context, e event) {
	for _, i := range e.Items {
		if i.SKU != "" && p.excluded(i.SKU) {
			continue
		}
		id := p.find(i)
		r, ok := p.o.Store.Record(id)
		if !ok {
			continue
		}
		version, fenced := i.sent["version"]
		applied, _ := strconv.ParseInt(r.Metas[MetaApplied], 10, 64)
		if v := phpInt(version); p.o.Generation == 2 && fenced && e.Type == "stock_state" && v > 0 && v <= applied {
			continue
		}
		metas := map[string]string{}
		if i.GID != "" && i.GID != r.Metas[MetaGID] {
			metas[MetaGID] = i.GID
		} else if p.o.Master {
			p.gid(r)
		}
		if e.Type == "sku_rename" {
			// A conflict is logged and the SKU stays.
			p.save(ctx, id, nil, metas)
			p.save(ctx, id, map[string]any{"sku": i.SKU}, nil)
			continue
		}
		if r.Kind == woocommerce.External || r.Kind == woocommerce.Grouped {
			p.save(ctx, id, nil, metas)
			continue
		}
		if p.o.Generation == 2 && fenced && e.Type == "stock_state" {
			metas[MetaApplied] = strconv.FormatInt(phpInt(version), 10)
		}
		p.save(ctx, id, p.fields(i), metas)
	}
}

// fields are what an item lets its receiver write.
func (p *Plugin) fields(i item) map[string]any {
	fields := map[string]any{"manage_stock": true}
	if p.o.Generation == 2 {
		switch manage := i.sent["manage_stock"]; {
		case manage == "parent":
			return map[string]any{"manage_stock": false}
		case manage != nil:
			fields["manage_stock"] = phpInt(manage) != 0 || phpText(manage) == "yes" || phpText(manage) == "true"
		}
	}
	for _, name := range []string{"backorders", "stock_status"} {
		if v, ok := i.sent[name]; ok {
			fields[name] = phpText(v)
		}
	}
	for _, name := range []string{"stock_quantity", "low_stock_amount"} {
		if v, ok := i.sent[name]; ok {
			fields[name] = strconv.FormatInt(phpInt(v), 10)
		}
	}
	return fields
}

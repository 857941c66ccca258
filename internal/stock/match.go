package stock

import (
	"cmp"
	"slices"
	"time"
)

// Twin is an item of a shop that may sell an item of a source.
type Twin struct {
	Ref     Ref
	SKU     string
	Created time.Time
}

// Match finds the item of a shop that sells a source's item with this SKU: by SKU, exactly as spelled, the one
// created last where several carry it (of two of one second, the one with the highest id); only if none does,
// the one it was linked with, nil if there is no such link. False when there is none, which is no error.
func Match(sku string, twins []Twin, linked *Ref) (Ref, bool) {
	var found []Twin
	for _, t := range twins {
		if sku != "" && t.SKU == sku {
			found = append(found, t)
		}
	}
	if len(found) > 0 {
		return slices.MaxFunc(found, func(a, b Twin) int {
			return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Ref.Object(), b.Ref.Object()))
		}).Ref, true
	}
	for _, t := range twins {
		if linked != nil && t.Ref == *linked {
			return t.Ref, true
		}
	}
	return Ref{}, false
}

// SharedSKUs are SKUs that more than one item of a source carries, with those items. Nothing tells which of them
// a shop sells, so none is synced.
func SharedSKUs(items []SourceItem) map[string][]string {
	by := map[string][]string{}
	for _, i := range items {
		if i.SKU != "" && !i.Gone {
			by[i.SKU] = append(by[i.SKU], i.ID)
		}
	}
	for sku, ids := range by {
		slices.Sort(ids)
		if by[sku] = slices.Compact(ids); len(by[sku]) < 2 {
			delete(by, sku)
		}
	}
	return by
}

package ledger

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"stocksync.dev/stocksync/internal/stock"
)

const itemColumns = `id, pool, sku, gone, created, modified, supplies, owed`

func scanItem(from scanner) (stock.Stocked, error) {
	var i stock.Stocked
	var created, modified int64
	var supplies, owed string
	if err := from.Scan(&i.ID, &i.Pool, &i.SKU, &i.Gone, &created, &modified, &supplies, &owed); err != nil {
		return stock.Stocked{}, err
	}
	i.Created, i.Modified = moment(created), moment(modified)
	return i, errors.Join(unpack(supplies, &i.Supplies), unpack(owed, &i.Owed))
}

func (tx *sqliteTx) items(where string, args ...any) ([]stock.Stocked, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	return list(tx.s, scanItem, `SELECT `+itemColumns+` FROM items WHERE `+where, args...)
}

func first[T any](all []T, err error) (one T, ok bool, _ error) {
	if err != nil || len(all) == 0 {
		return one, false, err
	}
	return all[0], true, nil
}

// SourceItem implements [engine.Tx].
func (tx *sqliteTx) SourceItem(id string) (stock.Stocked, bool, error) {
	return first(tx.items(`id = ?`, id))
}

// SourceItemOf implements [engine.Tx].
func (tx *sqliteTx) SourceItemOf(pool int64) (stock.Stocked, bool, error) {
	return first(tx.items(`pool = ?`, pool))
}

// SourceItemsOf implements [engine.Tx].
func (tx *sqliteTx) SourceItemsOf(sku string) ([]stock.Stocked, error) {
	return tx.items(`sku = ? ORDER BY id`, sku)
}

// SourceItems implements [engine.Tx].
func (tx *sqliteTx) SourceItems(after string, limit int) ([]stock.Stocked, error) {
	return tx.items(`id > ? ORDER BY id LIMIT ?`, after, all(limit))
}

// Owing implements [engine.Tx].
func (tx *sqliteTx) Owing() ([]stock.Stocked, error) { return tx.items(`owed <> '' ORDER BY id`) }

// PutSourceItem implements [engine.Tx].
func (tx *sqliteTx) PutSourceItem(i stock.Stocked) error {
	if err := tx.writable(); err != nil {
		return err
	}
	i = copyItem(i)
	supplies, err := pack(i.Supplies)
	if err != nil {
		return err
	}
	owed, err := pack(i.Owed)
	if err != nil {
		return err
	}
	err = tx.s.exec(`INSERT INTO items (`+itemColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET pool = excluded.pool, sku = excluded.sku, gone = excluded.gone, created = excluded.created,
			modified = excluded.modified, supplies = excluded.supplies, owed = excluded.owed`,
		i.ID, i.Pool, i.SKU, i.Gone, i.Created.UnixMicro(), i.Modified.UnixMicro(), supplies, owed)
	switch code(err) {
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return poolError(i.Pool)
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE:
		return itemError(i)
	}
	return err
}

func itemError(i stock.Stocked) error {
	return fmt.Errorf("item %q: pool %d belongs to another item of the source", i.ID, i.Pool)
}

const linkColumns = `store, product, variation, item, made_by`

func scanLink(from scanner) (l stock.Link, err error) {
	return l, from.Scan(&l.Store, &l.Ref.Product, &l.Ref.Variation, &l.Item, &l.By)
}

func (tx *sqliteTx) links(where string, args ...any) ([]stock.Link, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	return list(tx.s, scanLink, `SELECT `+linkColumns+` FROM links WHERE `+where, args...)
}

// LinkAt implements [engine.Tx].
func (tx *sqliteTx) LinkAt(store string, object int64) (stock.Link, bool, error) {
	return first(tx.links(`store = ? AND object = ?`, store, object))
}

// LinkOf implements [engine.Tx].
func (tx *sqliteTx) LinkOf(store, item string) (stock.Link, bool, error) {
	return first(tx.links(`store = ? AND item = ?`, store, item))
}

// Links implements [engine.Tx].
func (tx *sqliteTx) Links(store string) ([]stock.Link, error) {
	return tx.links(`store = ? ORDER BY object`, store)
}

// PutLink implements [engine.Tx].
func (tx *sqliteTx) PutLink(l stock.Link) error {
	if err := tx.writable(); err != nil {
		return err
	}
	if err := tx.s.exec(`DELETE FROM links WHERE store = ? AND item = ?`, l.Store, l.Item); err != nil {
		return err
	}
	if err := tx.DeleteLink(l.Store, l.Ref.Object()); err != nil {
		return err
	}
	return tx.s.exec(`INSERT INTO links (`+linkColumns+`, object) VALUES (?, ?, ?, ?, ?, ?)`,
		l.Store, l.Ref.Product, l.Ref.Variation, l.Item, string(l.By), l.Ref.Object())
}

// DeleteLink implements [engine.Tx].
func (tx *sqliteTx) DeleteLink(store string, object int64) error {
	if err := tx.writable(); err != nil {
		return err
	}
	return tx.s.exec(`DELETE FROM links WHERE store = ? AND object = ?`, store, object)
}

// Import implements [engine.Tx].
func (tx *sqliteTx) Import(o stock.ShopOrder, item string) (stock.Import, bool, error) {
	if err := tx.readable(); err != nil {
		return stock.Import{}, false, err
	}
	return first(list(tx.s, func(from scanner) (stock.Import, error) {
		i := stock.Import{Order: o, Item: item}
		var at int64
		err := from.Scan(&i.Step, &at)
		i.At = moment(at)
		return i, err
	}, `SELECT step, at FROM imports WHERE store = ? AND order_id = ? AND item = ?`, o.Shop, o.ID, item))
}

// PutImport implements [engine.Tx].
func (tx *sqliteTx) PutImport(i stock.Import) error {
	if err := tx.writable(); err != nil {
		return err
	}
	return tx.s.exec(`INSERT INTO imports (store, order_id, item, step, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		i.Order.Shop, i.Order.ID, i.Item, i.Step, i.At.UnixMicro())
}

// PruneImports implements [engine.Tx].
func (tx *sqliteTx) PruneImports(before time.Time) error {
	if err := tx.writable(); err != nil {
		return err
	}
	return tx.s.exec(`DELETE FROM imports WHERE at < ?`, before.UnixMicro())
}

// memorySource is the part of a [Memory] that knows a source.
type memorySource struct {
	items map[string]stock.Stocked
	// skus are the items of a SKU, pooled the item of a pool.
	skus    map[string]map[string]bool
	pooled  map[int64]string
	links   map[linkKey]stock.Link
	imports map[importKey]stock.Import
}

type linkKey struct {
	store  string
	object int64
}

type importKey struct {
	order stock.ShopOrder
	item  string
}

// SourceItem implements [engine.Tx].
func (tx *memoryTx) SourceItem(id string) (stock.Stocked, bool, error) {
	if err := tx.readable(); err != nil {
		return stock.Stocked{}, false, err
	}
	i, ok := tx.m.items[id]
	return copied(i, ok), ok, nil
}

func copied(i stock.Stocked, ok bool) stock.Stocked {
	if !ok {
		return stock.Stocked{}
	}
	return copyItem(i)
}

// SourceItemOf implements [engine.Tx].
func (tx *memoryTx) SourceItemOf(pool int64) (stock.Stocked, bool, error) {
	if err := tx.readable(); err != nil {
		return stock.Stocked{}, false, err
	}
	i, ok := tx.m.items[tx.m.pooled[pool]]
	ok = ok && i.Pool == pool
	return copied(i, ok), ok, nil
}

// SourceItemsOf implements [engine.Tx].
func (tx *memoryTx) SourceItemsOf(sku string) ([]stock.Stocked, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	return tx.copies(slices.Sorted(maps.Keys(tx.m.skus[sku]))), nil
}

func (tx *memoryTx) copies(ids []string) (out []stock.Stocked) {
	for _, id := range ids {
		out = append(out, copyItem(tx.m.items[id]))
	}
	return out
}

// SourceItems implements [engine.Tx].
func (tx *memoryTx) SourceItems(after string, limit int) ([]stock.Stocked, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	var ids []string
	for id := range tx.m.items {
		if id > after {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return tx.copies(cut(ids, limit)), nil
}

// Owing implements [engine.Tx].
func (tx *memoryTx) Owing() ([]stock.Stocked, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	var ids []string
	for id, i := range tx.m.items {
		if len(i.Owed) > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return tx.copies(ids), nil
}

// PutSourceItem implements [engine.Tx].
func (tx *memoryTx) PutSourceItem(i stock.Stocked) error {
	if err := tx.writable(); err != nil {
		return err
	}
	if other, taken := tx.m.pooled[i.Pool]; taken && other != i.ID {
		return itemError(i)
	}
	if _, ok := tx.m.pools[i.Pool]; !ok {
		return poolError(i.Pool)
	}
	if old, had := tx.m.items[i.ID]; had {
		remove(tx, tx.m.skus[old.SKU], i.ID)
		remove(tx, tx.m.pooled, old.Pool)
	}
	if tx.m.skus[i.SKU] == nil {
		tx.m.skus[i.SKU] = map[string]bool{}
	}
	put(tx, tx.m.skus[i.SKU], i.ID, true)
	put(tx, tx.m.pooled, i.Pool, i.ID)
	put(tx, tx.m.items, i.ID, copyItem(i))
	return nil
}

// LinkAt implements [engine.Tx].
func (tx *memoryTx) LinkAt(store string, object int64) (stock.Link, bool, error) {
	if err := tx.readable(); err != nil {
		return stock.Link{}, false, err
	}
	l, ok := tx.m.links[linkKey{store, object}]
	return l, ok, nil
}

// LinkOf implements [engine.Tx].
func (tx *memoryTx) LinkOf(store, item string) (stock.Link, bool, error) {
	links, err := tx.Links(store)
	return first(slices.DeleteFunc(links, func(l stock.Link) bool { return l.Item != item }), err)
}

// Links implements [engine.Tx].
func (tx *memoryTx) Links(store string) ([]stock.Link, error) {
	if err := tx.readable(); err != nil {
		return nil, err
	}
	var out []stock.Link
	for k, l := range tx.m.links {
		if k.store == store {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b stock.Link) int { return int(a.Ref.Object() - b.Ref.Object()) })
	return out, nil
}

// PutLink implements [engine.Tx].
func (tx *memoryTx) PutLink(l stock.Link) error {
	if err := tx.writable(); err != nil {
		return err
	}
	for k, old := range tx.m.links {
		if k.store == l.Store && old.Item == l.Item {
			remove(tx, tx.m.links, k)
		}
	}
	put(tx, tx.m.links, linkKey{l.Store, l.Ref.Object()}, l)
	return nil
}

// DeleteLink implements [engine.Tx].
func (tx *memoryTx) DeleteLink(store string, object int64) error {
	if err := tx.writable(); err != nil {
		return err
	}
	remove(tx, tx.m.links, linkKey{store, object})
	return nil
}

// Import implements [engine.Tx].
func (tx *memoryTx) Import(o stock.ShopOrder, item string) (stock.Import, bool, error) {
	if err := tx.readable(); err != nil {
		return stock.Import{}, false, err
	}
	i, ok := tx.m.imports[importKey{o, item}]
	return i, ok, nil
}

// PutImport implements [engine.Tx].
func (tx *memoryTx) PutImport(i stock.Import) error {
	if err := tx.writable(); err != nil {
		return err
	}
	i.At = at(i.At)
	if k := (importKey{i.Order, i.Item}); tx.m.imports[k] == (stock.Import{}) {
		put(tx, tx.m.imports, k, i)
	}
	return nil
}

// PruneImports implements [engine.Tx].
func (tx *memoryTx) PruneImports(before time.Time) error {
	if err := tx.writable(); err != nil {
		return err
	}
	for k, i := range tx.m.imports {
		if i.At.Before(at(before)) {
			remove(tx, tx.m.imports, k)
		}
	}
	return nil
}

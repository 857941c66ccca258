package woocommerce

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Happening is what plugins are told of, after WordPress's actions of the same meaning.
type Happening string

// The happenings.
const (
	// StockSet: the quantity was set or moved.
	StockSet Happening = "stock-set"
	// StatusSet: the stock status was set.
	StatusSet Happening = "status-set"
	// FieldsSet: an item was saved with another quantity, status, management, backorders or low amount.
	FieldsSet Happening = "fields-set"
	// OrderProcessing: an order got the status processing, its stock being reduced by then.
	OrderProcessing Happening = "order-processing"
	// OrderRestored: an order gave its units back.
	OrderRestored Happening = "order-restored"
	// SKUChanged: an item that had an SKU got another one.
	SKUChanged Happening = "sku-changed"
)

// Change is one happening.
type Change struct {
	What  Happening
	Items []int64
	// OrderID is 0 unless an order is the cause.
	OrderID int64
	// OldSKU is what the item was called before, for SKUChanged.
	OldSKU string
}

// Plugin is code that runs inside the shop. Its methods are called with no lock of the store held.
type Plugin interface {
	// Root is the path under which it serves REST requests, such as /wp-json/name/v1.
	Root() string
	// Serve answers one of them.
	Serve(ctx context.Context, method, path string, header http.Header, body []byte) (status int, answer any)
	// Changed is called within the request that made the change, and holds it up.
	Changed(ctx context.Context, c Change)
}

// Install adds a plugin to the shop.
func (s *Store) Install(p Plugin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plugins = append(slices.Clone(s.plugins), p)
}

// Uninstall takes a plugin out of the shop; what it wrote stays.
func (s *Store) Uninstall(p Plugin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plugins = slices.DeleteFunc(slices.Clone(s.plugins), func(o Plugin) bool { return o == p })
}

// happened tells the plugins. No lock may be held.
func (s *Store) happened(ctx context.Context, c Change) {
	s.mu.Lock()
	plugins := s.plugins
	s.mu.Unlock()
	for _, p := range plugins {
		p.Changed(ctx, c)
	}
}

// pluginOf is the one that serves a path; nil if none does.
func (s *Store) pluginOf(path string) Plugin {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.plugins, func(p Plugin) bool { return path == p.Root() || strings.HasPrefix(path, p.Root()+"/") })
	if i < 0 {
		return nil
	}
	return s.plugins[i]
}

// stored is what is told after an item was saved: was and is are its stock before and after.
func stored(id int64, was, is Stock) []Change {
	var changes []Change
	quantity, status := !sameFloat(was.Quantity, is.Quantity), was.Status != is.Status
	if quantity {
		changes = append(changes, Change{What: StockSet, Items: []int64{id}})
	}
	if status {
		changes = append(changes, Change{What: StatusSet, Items: []int64{id}})
	}
	if quantity || status || was.Manage != is.Manage || was.Backorders != is.Backorders || !sameInt(was.Low, is.Low) {
		changes = append(changes, Change{What: FieldsSet, Items: []int64{id}})
	}
	return changes
}

// Record is an item as a plugin finds it.
type Record struct {
	ID      int64
	Kind    Kind
	SKU     string
	Trashed bool
	// Own is what the item stores itself, View what WooCommerce makes of it: the parent's where it inherits.
	Own  Stock
	View StockView
	// Metas by key, with JSON texts unpacked.
	Metas map[string]string
}

// Record finds an item; false when there is none.
func (s *Store) Record(id int64) (Record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.st.Products[id]
	if p == nil {
		return Record{}, false
	}
	r := Record{ID: p.ID, Kind: p.Kind, SKU: p.SKU, Trashed: p.trashed(), Own: p.Stock, View: s.viewOf(s.st, p), Metas: map[string]string{}}
	for _, m := range p.Meta {
		var text string
		if json.Unmarshal(m.Value, &text) != nil {
			text = string(m.Value)
		}
		r.Metas[m.Key] = text
	}
	return r, true
}

// FindSKU finds an item that is not in the trash by its SKU; 0 when there is none.
func (s *Store) FindSKU(sku string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.bySKU(sku)
	if err != nil {
		return 0
	}
	return p.ID
}

// FindMeta finds the newest item with this meta, trashed ones included; 0 when there is none.
func (s *Store) FindMeta(key, value string) int64 {
	want := string(metaValue(value))
	s.mu.Lock()
	defer s.mu.Unlock()
	found := int64(0)
	for id, p := range s.st.Products {
		if id > found && slices.ContainsFunc(p.Meta, func(m meta) bool { return m.Key == key && string(m.Value) == want }) {
			found = id
		}
	}
	return found
}

// Save writes fields of an item as WooCommerce's own code does, with what that lets happen: manage_stock,
// stock_quantity, stock_status, backorders, low_stock_amount, sku, and metas by key.
func (s *Store) Save(ctx context.Context, id int64, fields map[string]any, metas map[string]string) error {
	s.mu.Lock()
	p := s.st.Products[id]
	parent := int64(0)
	if p != nil && p.Kind == Variation {
		parent = p.ParentID
	}
	s.mu.Unlock()
	all := params{}
	maps.Copy(all, fields)
	var list []any
	for k, v := range metas {
		list = append(list, map[string]any{"key": k, "value": v})
	}
	if len(list) > 0 {
		all["meta_data"] = list
	}
	_, err := s.editItem(s.actor(ctx), id, parent, all)
	return err
}

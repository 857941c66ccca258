package woocommerce

import (
	"encoding/json"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"
)

// state is everything a backup of the shop's database holds. Its exported fields are its form in JSON;
// the rest is derived. All of it is guarded by the store's mutex.
//
// Slices and pointers reached from a product or order are replaced, never changed in place, unless they
// belong to the state alone: what a reader took out under the lock stays valid without it.
type state struct {
	NextID      int64
	NextLine    int64
	NextMeta    int64
	NextWebhook int64
	Products    map[int64]*product
	Orders      map[int64]*order
	Webhooks    map[int64]*webhook
	Queue       []job

	productIDs []int64            // without variations, ascending
	orderIDs   []int64            // ascending
	bySKU      map[string][]int64 // lower-cased, trashed included
	queued     map[[2]int64]bool  // webhook and resource of every pending job
	productLog touchLog           // variations included
	orderLog   touchLog
}

type meta struct {
	ID    int64
	Key   string
	Value json.RawMessage
}

// product is a product or a variation.
type product struct {
	ID       int64
	ParentID int64
	Kind     Kind
	Name     string
	Slug     string
	SKU      string
	GUID     string
	Status   string
	// Before is the status a trashed product had.
	Before   string
	Price    string
	Text     string
	Option   string
	Virtual  bool
	Created  time.Time
	Modified time.Time
	Stock    Stock
	Meta     []meta
	Children []int64
	Grouped  []int64
	Sales    int64
}

func (p *product) trashed() bool { return p.Status == "trash" }

type order struct {
	ID       int64
	Status   string
	Before   string
	Via      string
	Key      string
	Payment  string
	Title    string
	Note     string
	Created  time.Time
	Modified time.Time
	// Reduced is the order-level flag _order_stock_reduced.
	Reduced bool
	Lines   []line
	Refunds []refund
	Billing json.RawMessage
	Ship    json.RawMessage
	Meta    []meta
}

type line struct {
	ID          int64
	ProductID   int64
	VariationID int64
	Name        string
	ParentName  string
	SKU         string
	Option      string
	Price       float64
	Quantity    float64
	// Reduced and Restocked are _reduced_stock and _restock_refunded_items; nil when absent.
	Reduced   *float64
	Restocked *float64
	MetaID    int64
}

// holder is the item the line was sold as.
func (l line) holder() int64 {
	if l.VariationID != 0 {
		return l.VariationID
	}
	return l.ProductID
}

type refund struct {
	ID      int64
	Amount  float64
	Reason  string
	Created time.Time
	Lines   []refundLine
}

type refundLine struct {
	ID       int64
	LineID   int64
	Quantity float64
	Total    float64
}

type webhook struct {
	ID       int64
	Name     string
	Status   string
	Topic    string
	URL      string
	Secret   string
	Failures int
	Created  time.Time
	Modified time.Time
}

// job is one pending delivery. Its body is rendered when it is delivered.
type job struct {
	Webhook  int64
	Resource int64
	Due      time.Time
	Copies   int
}

func newState() *state {
	s := &state{NextID: 10, NextLine: 1, NextMeta: 1000, NextWebhook: 1}
	s.index()
	return s
}

// index makes the derived fields anew.
func (s *state) index() {
	if s.Products == nil {
		s.Products = map[int64]*product{}
	}
	if s.Orders == nil {
		s.Orders = map[int64]*order{}
	}
	if s.Webhooks == nil {
		s.Webhooks = map[int64]*webhook{}
	}
	s.productIDs, s.orderIDs, s.bySKU = nil, nil, map[string][]int64{}
	s.productLog, s.orderLog = touchLog{}, touchLog{}
	for _, id := range slices.Sorted(maps.Keys(s.Products)) {
		p := s.Products[id]
		if p.Kind != Variation {
			s.productIDs = append(s.productIDs, id)
		}
		if p.SKU != "" {
			key := strings.ToLower(p.SKU)
			s.bySKU[key] = append(s.bySKU[key], id)
		}
	}
	s.queued = map[[2]int64]bool{}
	for _, j := range s.Queue {
		s.queued[[2]int64{j.Webhook, j.Resource}] = true
	}
	s.orderIDs = slices.Sorted(maps.Keys(s.Orders))
	s.productLog.rebuild(s.productTimes())
	s.orderLog.rebuild(s.orderTimes())
}

func (s *state) productTimes() []touch {
	times := make([]touch, 0, len(s.Products))
	for id, p := range s.Products {
		times = append(times, touch{p.Modified.Unix(), id})
	}
	return times
}

func (s *state) orderTimes() []touch {
	times := make([]touch, 0, len(s.Orders))
	for id, o := range s.Orders {
		times = append(times, touch{o.Modified.Unix(), id})
	}
	return times
}

// clone is a copy that shares nothing that is ever changed in place.
func (s *state) clone() *state {
	c := &state{NextID: s.NextID, NextLine: s.NextLine, NextMeta: s.NextMeta, NextWebhook: s.NextWebhook}
	c.Products = make(map[int64]*product, len(s.Products))
	for id, p := range s.Products {
		copied := *p
		copied.Children = slices.Clone(p.Children)
		c.Products[id] = &copied
	}
	c.Orders = make(map[int64]*order, len(s.Orders))
	for id, o := range s.Orders {
		copied := *o
		copied.Lines = slices.Clone(o.Lines)
		copied.Refunds = slices.Clone(o.Refunds)
		c.Orders[id] = &copied
	}
	c.Webhooks = make(map[int64]*webhook, len(s.Webhooks))
	for id, w := range s.Webhooks {
		copied := *w
		c.Webhooks[id] = &copied
	}
	c.Queue = slices.Clone(s.Queue)
	c.index()
	return c
}

func (s *state) newID() int64 {
	s.NextID++
	return s.NextID - 1
}

func (s *state) newMeta() int64 {
	s.NextMeta++
	return s.NextMeta - 1
}

func (s *state) newLine() int64 {
	s.NextLine++
	return s.NextLine - 1
}

// addProduct stores a product whose ID is new.
func (s *state) addProduct(p *product) {
	s.Products[p.ID] = p
	if p.Kind == Variation {
		if parent := s.Products[p.ParentID]; parent != nil {
			parent.Children = append(parent.Children, p.ID)
		}
	} else {
		s.productIDs = insertID(s.productIDs, p.ID)
	}
	s.indexSKU(p)
	s.productLog.add(p.Modified.Unix(), p.ID)
}

// removeProduct forgets a product; its variations go first.
func (s *state) removeProduct(p *product) {
	for _, id := range slices.Clone(p.Children) {
		if child := s.Products[id]; child != nil {
			s.removeProduct(child)
		}
	}
	if parent := s.Products[p.ParentID]; p.Kind == Variation && parent != nil {
		parent.Children = removeID(parent.Children, p.ID)
	} else {
		s.productIDs = removeID(s.productIDs, p.ID)
	}
	s.unindexSKU(p)
	delete(s.Products, p.ID)
}

func (s *state) indexSKU(p *product) {
	if p.SKU != "" {
		key := strings.ToLower(p.SKU)
		s.bySKU[key] = insertID(s.bySKU[key], p.ID)
	}
}

func (s *state) unindexSKU(p *product) {
	if p.SKU == "" {
		return
	}
	key := strings.ToLower(p.SKU)
	if ids := removeID(s.bySKU[key], p.ID); len(ids) > 0 {
		s.bySKU[key] = ids
	} else {
		delete(s.bySKU, key)
	}
}

func (s *state) setSKU(p *product, sku string) {
	s.unindexSKU(p)
	p.SKU = sku
	s.indexSKU(p)
}

// parentStock is the stock a variation may inherit, nil for any other product.
func (s *state) parentStock(p *product) *Stock {
	if p.Kind != Variation {
		return nil
	}
	if parent := s.Products[p.ParentID]; parent != nil {
		return &parent.Stock
	}
	return nil
}

// stockHolder is the item whose quantity falls when p is sold, nil when no stock is managed.
func (s *state) stockHolder(p *product) *product {
	if p.Stock.Manage {
		return p
	}
	if parent := s.Products[p.ParentID]; inherits(p.Kind, p.Stock, s.parentStock(p)) {
		return parent
	}
	return nil
}

// touchProduct sets the modification time, in whole seconds.
func (s *state) touchProduct(p *product, now time.Time) {
	now = now.Truncate(time.Second)
	if p.Modified.Equal(now) {
		return
	}
	p.Modified = now
	s.productLog.add(now.Unix(), p.ID)
	if s.productLog.bloated(len(s.Products)) {
		s.productLog.rebuild(s.productTimes())
	}
}

func (s *state) touchOrder(o *order, now time.Time) {
	now = now.Truncate(time.Second)
	if o.Modified.Equal(now) {
		return
	}
	o.Modified = now
	s.orderLog.add(now.Unix(), o.ID)
	if s.orderLog.bloated(len(s.Orders)) {
		s.orderLog.rebuild(s.orderTimes())
	}
}

// touchLog remembers modifications in order of time, so that "modified after" need not look at everything.
// An entry counts only while its product or order still carries that time.
type touchLog struct{ entries []touch }

type touch struct {
	at int64 // Unix seconds
	id int64
}

func (l *touchLog) add(at, id int64) {
	n := len(l.entries)
	if n == 0 || l.entries[n-1].at <= at {
		l.entries = append(l.entries, touch{at, id})
		return
	}
	i := sort.Search(n, func(i int) bool { return l.entries[i].at > at })
	l.entries = slices.Insert(l.entries, i, touch{at, id})
}

func (l *touchLog) bloated(live int) bool { return len(l.entries) > 2*live+1024 }

func (l *touchLog) rebuild(entries []touch) {
	slices.SortFunc(entries, func(a, b touch) int {
		if a.at != b.at {
			return compare(a.at, b.at)
		}
		return compare(a.id, b.id)
	})
	l.entries = entries
}

// after lists, each once, the ids touched later than at; callers check the present time of each.
func (l *touchLog) after(at int64) []int64 {
	i := sort.Search(len(l.entries), func(i int) bool { return l.entries[i].at > at })
	seen := make(map[int64]bool, len(l.entries)-i)
	ids := make([]int64, 0, len(l.entries)-i)
	for _, e := range l.entries[i:] {
		if !seen[e.id] {
			seen[e.id] = true
			ids = append(ids, e.id)
		}
	}
	return ids
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// insertID and removeID leave the given slice untouched unless they only append to it.
func insertID(ids []int64, id int64) []int64 {
	if n := len(ids); n == 0 || ids[n-1] < id {
		return append(ids, id)
	}
	i, _ := slices.BinarySearch(ids, id)
	return slices.Insert(slices.Clone(ids), i, id)
}

func removeID(ids []int64, id int64) []int64 {
	i := slices.Index(ids, id)
	if i < 0 {
		return ids
	}
	return slices.Delete(slices.Clone(ids), i, i+1)
}

package woocommerce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// What shoppers, the shop's owner and other software do to a store without its REST API. Every act runs
// through the same steps as a request; its context only bounds the pauses.

// ErrOutOfStock is what a shopper sees when the shop has too few units.
var ErrOutOfStock = errors.New("not enough units in stock")

// ErrUnknownSKU is returned for an SKU no item of the shop has.
var ErrUnknownSKU = errors.New("no item has this SKU")

// CustomerCanary is in every customer field of an order a shopper places, so that a test can look for it
// where customers' data have no business.
const CustomerCanary = "customer-canary"

// Line is one thing ordered: by SKU, or by item number (a variation's for a variation).
type Line struct {
	SKU      string `json:"sku,omitempty"`
	ItemID   int64  `json:"itemID,omitempty"`
	Quantity int64  `json:"quantity"`
}

// OrderLine is a line of an order that was placed.
type OrderLine struct {
	ID       int64  `json:"id"`
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
	// Taken is _reduced_stock: the units of stock the line holds now.
	Taken int64 `json:"taken"`
}

// Order is an order as its owner sees it.
type Order struct {
	ID     int64       `json:"id"`
	Status string      `json:"status"`
	Lines  []OrderLine `json:"lines"`
}

// Item is a product or variation as its owner sees it.
type Item struct {
	ID       int64  `json:"id"`
	ParentID int64  `json:"parentID,omitempty"`
	Kind     Kind   `json:"kind"`
	Name     string `json:"name"`
	SKU      string `json:"sku"`
	Price    string `json:"price"`
	// Manage is true, false or "parent"; Quantity is nil when no stock is managed.
	Manage   any      `json:"manageStock"`
	Quantity *float64 `json:"quantity"`
	Status   string   `json:"stockStatus"`
	// Backorders is no, notify or yes; Low is nil where the shop-wide amount holds.
	Backorders string    `json:"backorders"`
	Low        *int64    `json:"lowStockAmount"`
	Modified   time.Time `json:"modified"`
	Trashed    bool      `json:"trashed,omitempty"`
}

// NewItem describes a product, or with Parent a variation, to make.
type NewItem struct {
	Kind Kind   `json:"kind,omitempty"` // Simple when empty, Variation when Parent is set
	Name string `json:"name,omitempty"`
	SKU  string `json:"sku,omitempty"`
	// Price is "10" when empty.
	Price string `json:"price,omitempty"`
	// Quantity makes the item manage its stock; nil leaves it unmanaged, or with its parent.
	Quantity *float64 `json:"quantity,omitempty"`
	// Backorders is no when empty.
	Backorders string `json:"backorders,omitempty"`
	Parent     int64  `json:"parent,omitempty"`
	// Option is a variation's size.
	Option string `json:"option,omitempty"`
	// Duplicate allows an SKU that another item has, as imports past WooCommerce's check do.
	Duplicate bool `json:"duplicate,omitempty"`
}

func (s *Store) actor(ctx context.Context) *run { return &run{s: s, ctx: ctx} }

// bySKU finds an item that is not trashed, the lowest number first. The lock is held.
func (s *Store) bySKU(sku string) (*product, error) {
	for _, id := range s.st.bySKU[strings.ToLower(sku)] {
		if p := s.st.Products[id]; !p.trashed() {
			return p, nil
		}
	}
	return nil, fmt.Errorf("%w: %q", ErrUnknownSKU, sku)
}

// PlaceOrder is a shopper buying: what the shop shows must be enough, then the order is placed as
// processing. Between the look and the order others may be faster, and the stock goes below zero.
func (s *Store) PlaceOrder(ctx context.Context, lines ...Line) (Order, error) {
	r := s.actor(ctx)
	s.mu.Lock()
	o, err := s.shopping(lines)
	s.mu.Unlock()
	if err != nil {
		return Order{}, err
	}
	if err := r.at(StepCheckout, 0, 0); err != nil {
		return Order{}, err
	}
	err = s.insertOrder(r, o)
	placed, _ := s.Order(o.ID)
	return placed, err
}

func (s *Store) shopping(lines []Line) (*order, error) {
	if len(lines) == 0 {
		return nil, errors.New("an order needs at least one line")
	}
	customer := map[string]any{}
	for _, f := range addressFields {
		customer[f] = CustomerCanary
	}
	customer["email"] = CustomerCanary + "@example.test"
	o := &order{Status: Processing, Via: "checkout", Payment: "cod", Title: "Cash on delivery", Note: CustomerCanary,
		Billing: addressJSON(customer, true), Ship: addressJSON(customer, false)}
	for _, l := range lines {
		item := l.ItemID
		if item == 0 {
			p, err := s.bySKU(l.SKU)
			if err != nil {
				return nil, err
			}
			item = p.ID
		}
		p := s.st.Products[item]
		if p == nil || p.trashed() || p.Kind == Variable || p.Kind == External || p.Kind == Grouped || l.Quantity <= 0 {
			return nil, fmt.Errorf("item %d cannot be bought %d times", item, l.Quantity)
		}
		if left, unlimited := s.available(p); !unlimited && float64(l.Quantity) > left {
			return nil, fmt.Errorf("%w: %s units of %q left", ErrOutOfStock, plain(left), p.SKU)
		}
		o.Lines = append(o.Lines, *s.newOrderLine(item, float64(l.Quantity)))
	}
	return o, nil
}

// Order shows an order; false when there is none.
func (s *Store) Order(id int64) (Order, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.st.Orders[id]
	if o == nil {
		return Order{}, false
	}
	return s.orderInfo(o), true
}

// Orders lists all orders by number, trashed ones included.
func (s *Store) Orders() []Order {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Order, 0, len(s.st.orderIDs))
	for _, id := range s.st.orderIDs {
		list = append(list, s.orderInfo(s.st.Orders[id]))
	}
	return list
}

func (s *Store) orderInfo(o *order) Order {
	info := Order{ID: o.ID, Status: o.Status}
	for _, l := range o.Lines {
		ol := OrderLine{ID: l.ID, SKU: l.SKU, Quantity: int64(l.Quantity)}
		if p := s.st.Products[l.holder()]; p != nil {
			ol.SKU = p.SKU
		}
		if l.Reduced != nil {
			ol.Taken = int64(*l.Reduced)
		}
		info.Lines = append(info.Lines, ol)
	}
	return info
}

// SetOrderStatus changes an order's status, with what that does to the stock.
func (s *Store) SetOrderStatus(ctx context.Context, id int64, status string) error {
	if !slices.Contains(orderStatuses, status) {
		return fmt.Errorf("no order status is called %q: use one of %s", status, strings.Join(orderStatuses, ", "))
	}
	return s.setStatus(s.actor(ctx), id, status)
}

// Cancel cancels an order: its units go back.
func (s *Store) Cancel(ctx context.Context, id int64) error {
	return s.SetOrderStatus(ctx, id, Cancelled)
}

// Refund refunds units of an order's lines, by line number, and puts them back on the shelf if restock.
// Without lines it refunds everything.
func (s *Store) Refund(ctx context.Context, id int64, units map[int64]int64, restock bool) error {
	s.mu.Lock()
	o := s.st.Orders[id]
	if o == nil {
		s.mu.Unlock()
		return errOrderID
	}
	var f refund
	for _, l := range o.Lines {
		n := float64(units[l.ID])
		if units == nil {
			n = l.Quantity
		}
		if n > 0 {
			f.Lines = append(f.Lines, refundLine{LineID: l.ID, Quantity: n, Total: n * l.Price})
			f.Amount += n * l.Price
		}
	}
	s.mu.Unlock()
	_, err := s.refundOrder(s.actor(ctx), id, f, restock)
	return err
}

// EditOrderLine changes how many units an order line has; 0 removes the line.
func (s *Store) EditOrderLine(ctx context.Context, id, lineID, quantity int64) error {
	s.mu.Lock()
	_, l := s.line(id, lineID)
	s.mu.Unlock()
	if l == nil {
		return fmt.Errorf("order %d has no line %d", id, lineID)
	}
	if err := s.editLine(s.actor(ctx), id, lineID, float64(max(0, quantity))); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.st.Orders[id]; o != nil {
		s.st.touchOrder(o, s.now())
		s.emit("order.updated", id)
	}
	return nil
}

// TrashOrder puts an order into the trash. Its units stay taken.
func (s *Store) TrashOrder(id int64) error { return s.removeOrder(id, false) }

// DeleteOrder deletes an order for good. Its units stay taken.
func (s *Store) DeleteOrder(id int64) error { return s.removeOrder(id, true) }

// UntrashOrder takes an order out of the trash, with the status it had.
func (s *Store) UntrashOrder(id int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.st.Orders[id]
	if o == nil || o.Status != Trashed {
		return errOrderID
	}
	s.changeStatus(o, o.Before)
	return nil
}

// edit does one atomic act of the owner on the item with an SKU.
func (s *Store) edit(sku string, do func(*product) error) error {
	id, was, old, err := func() (int64, Stock, string, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		p, err := s.bySKU(sku)
		if err != nil {
			return 0, Stock{}, "", err
		}
		was, old := p.Stock, p.SKU
		if err := do(p); err != nil {
			return 0, Stock{}, "", err
		}
		now := s.now()
		s.st.touchProduct(p, now)
		s.bumpParent(p, now)
		s.syncFamily(p)
		s.emit("product.updated", p.ID)
		return p.ID, was, old, nil
	}()
	if err != nil {
		return err
	}
	s.edited(id, was, old)
	return nil
}

// edited tells plugins what a person's edit changed.
func (s *Store) edited(id int64, was Stock, sku string) {
	r, ok := s.Record(id)
	if !ok {
		return
	}
	if sku != "" && r.SKU != "" && r.SKU != sku {
		s.happened(s.ctx, Change{What: SKUChanged, Items: []int64{id}, OldSKU: sku})
	}
	for _, c := range stored(id, was, r.Own) {
		s.happened(s.ctx, c)
	}
}

// EditStock writes an absolute quantity as the owner's edit page, or a feed, does. For a variation that
// inherits, the parent's quantity is written.
func (s *Store) EditStock(sku string, quantity float64) error {
	id, was, err := s.setQuantity(sku, quantity, func(holder *product) {
		now := s.now()
		s.st.touchProduct(holder, now)
		s.bumpParent(holder, now)
		s.emit("product.updated", holder.ID)
	})
	if err == nil {
		s.edited(id, was, "")
	}
	return err
}

// EditBehind writes a quantity as a tool does that goes past WooCommerce to its database: no modification date and no
// webhook tells of it.
func (s *Store) EditBehind(sku string, quantity float64) error {
	_, _, err := s.setQuantity(sku, quantity, func(*product) {})
	return err
}

// setQuantity writes the quantity of what holds the SKU's stock, and returns that and its stock before.
func (s *Store) setQuantity(sku string, quantity float64, then func(holder *product)) (int64, Stock, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.bySKU(sku)
	if err != nil {
		return 0, Stock{}, err
	}
	holder := s.st.stockHolder(p)
	if holder == nil {
		return 0, Stock{}, fmt.Errorf("%q does not manage its stock: switch that on first", sku)
	}
	was := holder.Stock
	holder.Stock.Quantity = &quantity
	holder.Stock.Status = derivedStatus(holder.Stock)
	then(holder)
	return holder.ID, was, nil
}

// Feed writes absolute quantities by SKU, as a feed or a CSV import does; unknown SKUs are errors at the end.
func (s *Store) Feed(quantities map[string]float64) error {
	skus := make([]string, 0, len(quantities))
	for sku := range quantities {
		skus = append(skus, sku)
	}
	slices.Sort(skus)
	var errs []error
	for _, sku := range skus {
		errs = append(errs, s.EditStock(sku, quantities[sku]))
	}
	return errors.Join(errs...)
}

// SetManageStock ticks or clears "manage stock". A quantity is lost when it is cleared; ticked again the
// item starts with quantity, or with none when nil.
func (s *Store) SetManageStock(sku string, manage bool, quantity *float64) error {
	return s.SetStockFields(sku, StockChange{Manage: &manage, Quantity: quantity})
}

// SetStockFields changes the stock fields of an item as its owner's edit page does.
func (s *Store) SetStockFields(sku string, c StockChange) error {
	return s.edit(sku, func(p *product) error {
		next, err := ApplyStock(p.Kind, p.Stock, s.st.parentStock(p), c)
		if err == nil {
			p.Stock = next
		}
		return err
	})
}

// SetStockStatus sets the status of an unmanaged item, or plants a wrong one on a managed item.
func (s *Store) SetStockStatus(sku, status string) error {
	return s.edit(sku, func(p *product) error {
		p.Stock.Status = status
		return nil
	})
}

// Rename gives an item another SKU.
func (s *Store) Rename(sku, to string) error {
	return s.edit(sku, func(p *product) error {
		if err := s.checkIdentifiers(p.ID, params{"sku": to}); err != nil {
			return err
		}
		s.st.setSKU(p, cleanSKU(to))
		return nil
	})
}

// SwapSKUs exchanges the SKUs of two items.
func (s *Store) SwapSKUs(a, b string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	pa, err := s.bySKU(a)
	if err != nil {
		return err
	}
	pb, err := s.bySKU(b)
	if err != nil {
		return err
	}
	skuA, skuB := pa.SKU, pb.SKU
	s.st.setSKU(pa, skuB)
	s.st.setSKU(pb, skuA)
	for _, p := range []*product{pa, pb} {
		now := s.now()
		s.st.touchProduct(p, now)
		s.bumpParent(p, now)
		s.emit("product.updated", p.ID)
	}
	return nil
}

// Create makes a product or variation and returns its number.
func (s *Store) Create(n NewItem) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !n.Duplicate {
		if err := s.checkIdentifiers(0, params{"sku": n.SKU}); err != nil {
			return 0, err
		}
	}
	now := s.now().Truncate(time.Second)
	p := &product{Kind: n.Kind, Name: n.Name, SKU: cleanSKU(n.SKU), Price: n.Price, Option: n.Option, Virtual: true,
		Status: "publish", Created: now, Modified: now, Stock: Stock{Status: InStock, Backorders: BackordersNo}}
	if p.Kind == "" {
		p.Kind = Simple
	}
	if n.Parent != 0 {
		parent := s.st.Products[n.Parent]
		if parent == nil || parent.Kind != Variable {
			return 0, fmt.Errorf("product %d is not a variable product", n.Parent)
		}
		p.Kind, p.ParentID = Variation, parent.ID
		if p.Name == "" {
			p.Name = strings.TrimSuffix(parent.Name+" - "+n.Option, " - ")
		}
	}
	if p.Name == "" {
		p.Name = "Product " + p.SKU
	}
	if p.Price == "" && p.Kind != Grouped && p.Kind != Variable {
		p.Price = "10"
	}
	p.Slug = slugOf(p.Name)
	change := StockChange{Quantity: n.Quantity}
	if n.Quantity != nil {
		manage := true
		change.Manage = &manage
	}
	if n.Backorders != "" {
		change.Backorders = &n.Backorders
	}
	stock, err := ApplyStock(p.Kind, p.Stock, s.st.parentStock(p), change)
	if err != nil {
		return 0, err
	}
	p.Stock = stock
	p.ID = s.st.newID()
	s.st.addProduct(p)
	s.bumpParent(p, now)
	s.emit("product.created", p.ID)
	return p.ID, nil
}

// Delete trashes an item, or deletes it for good if force.
func (s *Store) Delete(ctx context.Context, sku string, force bool) error {
	s.mu.Lock()
	p, err := s.bySKU(sku)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.removeItem(s.actor(ctx), p.ID, force)
}

// Untrash takes a product and its variations out of the trash.
func (s *Store) Untrash(id int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.st.Products[id]
	if p == nil || !p.trashed() {
		return errProductID
	}
	for _, id := range append(slices.Clone(p.Children), p.ID) {
		if x := s.st.Products[id]; x != nil && x.trashed() {
			x.Status = x.Before
		}
	}
	s.st.touchProduct(p, s.now())
	s.emit("product.updated", p.ID)
	return nil
}

// Quantity is what the shop has of an item; false when there is no such SKU or no stock is managed.
func (s *Store) Quantity(sku string) (float64, bool) {
	it, err := s.Item(sku)
	if err != nil || it.Quantity == nil {
		return 0, false
	}
	return *it.Quantity, true
}

// Item shows the item with an SKU.
func (s *Store) Item(sku string) (Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.bySKU(sku)
	if err != nil {
		return Item{}, err
	}
	return s.itemInfo(p), nil
}

// Items lists everything by number, each product before its variations.
func (s *Store) Items() []Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Item, 0, len(s.st.Products))
	for _, id := range s.st.productIDs {
		p := s.st.Products[id]
		list = append(list, s.itemInfo(p))
		for _, child := range p.Children {
			list = append(list, s.itemInfo(s.st.Products[child]))
		}
	}
	return list
}

func (s *Store) itemInfo(p *product) Item {
	v := s.viewOf(s.st, p)
	return Item{ID: p.ID, ParentID: p.ParentID, Kind: p.Kind, Name: p.Name, SKU: p.SKU, Price: p.Price,
		Manage: v.Manage, Quantity: v.Quantity, Status: v.Status, Backorders: v.Backorders, Low: v.Low, Modified: p.Modified, Trashed: p.trashed()}
}

// Metas are the metas of an item by key, as JSON.
func (s *Store) Metas(sku string) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.bySKU(sku)
	if err != nil {
		return nil, err
	}
	metas := map[string]string{}
	for _, m := range p.Meta {
		metas[m.Key] = string(m.Value)
	}
	return metas, nil
}

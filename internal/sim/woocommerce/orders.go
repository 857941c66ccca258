package woocommerce

import (
	"slices"
	"time"
)

// Order statuses.
const (
	Pending       = "pending"
	Processing    = "processing"
	OnHold        = "on-hold"
	Completed     = "completed"
	Cancelled     = "cancelled"
	Refunded      = "refunded"
	Failed        = "failed"
	CheckoutDraft = "checkout-draft"
	Trashed       = "trash"
)

var orderStatuses = []string{Pending, Processing, OnHold, Completed, Cancelled, Refunded, Failed, CheckoutDraft}

// reduces and restores are the two groups of statuses that move stock. All others leave it where it is:
// failed, refunded and trashed orders keep their units.
func reduces(status string) bool {
	return status == Processing || status == Completed || status == OnHold
}

func restores(status string) bool { return status == Pending || status == Cancelled }

// movement is one atomic change of a quantity by an order, and what the order will write afterwards.
type movement struct {
	holder      int64
	was, status string
}

// move adds delta to the stock an item is sold from, atomically, like the one SQL statement it is. It
// tells false when no stock is managed. The lock is held.
func (s *Store) move(item int64, delta float64) (movement, bool) {
	p := s.st.Products[item]
	if p == nil {
		return movement{}, false
	}
	h := s.st.stockHolder(p)
	if h == nil {
		return movement{}, false
	}
	q := delta
	if h.Stock.Quantity != nil {
		q += *h.Stock.Quantity
	}
	h.Stock.Quantity = &q
	return movement{h.ID, h.Stock.Status, derivedStatus(h.Stock)}, true
}

// settle writes what follows a movement: the status as it was derived then, the date, the events. The lock is held.
func (s *Store) settle(m movement) {
	h := s.st.Products[m.holder]
	if h == nil {
		return
	}
	if m.status != m.was {
		h.Stock.Status = m.status
	}
	now := s.now()
	s.st.touchProduct(h, now)
	s.bumpParent(h, now)
	s.emit("product.updated", h.ID)
	s.emit("action.woocommerce_updated_product_stock", h.ID)
	if h.Kind == Variation {
		s.emit("action.woocommerce_variation_set_stock", 0)
	} else {
		s.emit("action.woocommerce_product_set_stock", 0)
	}
}

// moveLine moves the stock of one order line and, later, records it on the line.
func (s *Store) moveLine(r *run, orderID, lineID int64, plan func(*order, *line) (delta float64, record func(*line))) error {
	s.mu.Lock()
	o, l := s.line(orderID, lineID)
	if l == nil {
		s.mu.Unlock()
		return nil
	}
	delta, record := plan(o, l)
	var m movement
	moved := false
	if delta != 0 {
		m, moved = s.move(l.holder(), delta)
	}
	s.mu.Unlock()
	if !moved {
		return nil
	}
	if err := r.at(StepStockMoved, m.holder, orderID); err != nil {
		return err
	}
	s.mu.Lock()
	s.settle(m)
	if _, l := s.line(orderID, lineID); l != nil {
		record(l)
	}
	s.mu.Unlock()
	s.happened(r.ctx, Change{What: StockSet, Items: []int64{m.holder}, OrderID: orderID})
	return nil
}

func (s *Store) line(orderID, lineID int64) (*order, *line) {
	o := s.st.Orders[orderID]
	if o == nil {
		return nil, nil
	}
	for i := range o.Lines {
		if o.Lines[i].ID == lineID {
			return o, &o.Lines[i]
		}
	}
	return o, nil
}

func (s *Store) lineIDs(orderID int64) []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []int64
	if o := s.st.Orders[orderID]; o != nil {
		for _, l := range o.Lines {
			ids = append(ids, l.ID)
		}
	}
	return ids
}

// moveOrder does to the stock what the order's new status asks for, line by line.
func (s *Store) moveOrder(r *run, id int64, status string) error {
	s.mu.Lock()
	o := s.st.Orders[id]
	reduce := o != nil && reduces(status) && !o.Reduced
	restore := o != nil && restores(status) && o.Reduced
	s.mu.Unlock()
	if !reduce && !restore {
		return nil
	}
	if err := r.at(StepOrderSaved, 0, id); err != nil {
		return err
	}
	var items []int64
	for _, lineID := range s.lineIDs(id) {
		err := s.moveLine(r, id, lineID, func(_ *order, l *line) (float64, func(*line)) {
			if reduce {
				if l.Reduced != nil {
					return 0, nil
				}
				taken := l.Quantity
				return -taken, func(l *line) {
					l.Reduced = &taken
					l.MetaID = s.st.newMeta()
				}
			}
			if l.Reduced == nil {
				return 0, nil
			}
			return *l.Reduced, func(l *line) { l.Reduced = nil }
		})
		if err != nil {
			return err
		}
	}
	s.mu.Lock()
	if o := s.st.Orders[id]; o != nil {
		o.Reduced = reduce
		for _, l := range o.Lines {
			items = append(items, l.holder())
		}
	}
	s.mu.Unlock()
	switch {
	case restore:
		s.happened(r.ctx, Change{What: OrderRestored, Items: items, OrderID: id})
	case status == Processing:
		s.happened(r.ctx, Change{What: OrderProcessing, Items: items, OrderID: id})
	}
	return nil
}

// insertOrder stores a new order, fires its events and moves the stock.
func (s *Store) insertOrder(r *run, o *order) error {
	s.mu.Lock()
	s.storeOrder(o)
	s.emit("order.created", o.ID)
	s.emit("order.updated", o.ID)
	id, status := o.ID, o.Status
	s.mu.Unlock()
	return s.moveOrder(r, id, status)
}

// storeOrder gives a new order its number and dates. The lock is held.
func (s *Store) storeOrder(o *order) {
	o.ID = s.st.newID()
	o.Created = s.now().Truncate(time.Second)
	o.Key = "wc_order_" + s.token(13)
	s.st.Orders[o.ID] = o
	s.st.orderIDs = insertID(s.st.orderIDs, o.ID)
	s.st.touchOrder(o, o.Created)
}

// setStatus changes an order's status and moves the stock.
func (s *Store) setStatus(r *run, id int64, status string) error {
	s.mu.Lock()
	o := s.st.Orders[id]
	if o == nil {
		s.mu.Unlock()
		return errOrderID
	}
	s.changeStatus(o, status)
	s.mu.Unlock()
	return s.moveOrder(r, id, status)
}

// changeStatus stores a status; the lock is held.
func (s *Store) changeStatus(o *order, status string) {
	if status == Refunded && o.Status != Refunded && o.Status != Trashed {
		if rest := o.total() - o.refunded(); rest > 0 {
			o.Refunds = append(o.Refunds, refund{ID: s.st.newID(), Amount: rest, Reason: "Order fully refunded.", Created: s.now().Truncate(time.Second)})
		}
	}
	o.Status = status
	s.st.touchOrder(o, s.now())
	s.emit("order.updated", o.ID)
}

// removeOrder trashes an order or deletes it. Neither gives its units back.
func (s *Store) removeOrder(id int64, force bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.st.Orders[id]
	switch {
	case o == nil:
		return errOrderID
	case force:
		delete(s.st.Orders, id)
		s.st.orderIDs = removeID(s.st.orderIDs, id)
	case o.Status == Trashed:
		return fail(410, "woocommerce_rest_already_trashed", "The order has already been deleted.")
	default:
		o.Before, o.Status = o.Status, Trashed
		s.st.touchOrder(o, s.now())
		s.emit("order.deleted", id)
	}
	return nil
}

// refundOrder refunds lines of an order and gives their units back if restock.
func (s *Store) refundOrder(r *run, id int64, f refund, restock bool) (int64, error) {
	s.mu.Lock()
	o := s.st.Orders[id]
	if o == nil {
		s.mu.Unlock()
		return 0, errOrderID
	}
	if f.Amount > o.total()-o.refunded()+0.001 {
		s.mu.Unlock()
		return 0, fail(500, "woocommerce_rest_cannot_create_order_refund", "Invalid refund amount.")
	}
	f.ID, f.Created = s.st.newID(), s.now().Truncate(time.Second)
	for i := range f.Lines {
		f.Lines[i].ID = s.st.newLine()
	}
	o.Refunds = append(slices.Clip(o.Refunds), f)
	s.st.touchOrder(o, s.now())
	s.emit("order.updated", o.ID)
	whole := o.refunded() >= o.total()-0.001
	s.mu.Unlock()

	for _, fl := range f.Lines {
		if !restock || fl.Quantity <= 0 {
			continue
		}
		err := s.moveLine(r, id, fl.LineID, func(_ *order, l *line) (float64, func(*line)) {
			if l.Reduced == nil || *l.Reduced == 0 {
				return 0, nil
			}
			return fl.Quantity, func(l *line) {
				reduced, restocked := -fl.Quantity, fl.Quantity
				if l.Reduced != nil {
					reduced += *l.Reduced
				}
				if l.Restocked != nil {
					restocked += *l.Restocked
				}
				l.Reduced, l.Restocked = &reduced, &restocked
			}
		})
		if err != nil {
			return 0, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.st.Orders[id]; o != nil {
		if whole && o.Status != Refunded {
			s.changeStatus(o, Refunded)
		}
		s.st.touchOrder(o, s.now())
	}
	return f.ID, nil
}

// editLine changes the quantity of a line, 0 removing it. While the order's status holds stock, the
// difference is taken or given back.
func (s *Store) editLine(r *run, orderID, lineID int64, quantity float64) error {
	err := s.moveLine(r, orderID, lineID, func(o *order, l *line) (float64, func(*line)) {
		if quantity > 0 {
			l.Quantity = quantity
		}
		if !reduces(o.Status) {
			return 0, nil
		}
		var reduced, restocked float64
		if l.Reduced != nil {
			reduced = *l.Reduced
		}
		if l.Restocked != nil {
			restocked = *l.Restocked
		}
		hold := max(0, quantity-restocked)
		return reduced - hold, func(l *line) {
			if l.Reduced == nil {
				l.MetaID = s.st.newMeta()
			}
			l.Reduced = &hold
		}
	})
	if err != nil || quantity > 0 {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.st.Orders[orderID]; o != nil {
		o.Lines = slices.DeleteFunc(slices.Clone(o.Lines), func(l line) bool { return l.ID == lineID })
	}
	return nil
}

func (o *order) total() float64 {
	sum := 0.0
	for _, l := range o.Lines {
		sum += l.Price * l.Quantity
	}
	return sum
}

func (o *order) refunded() float64 {
	sum := 0.0
	for _, f := range o.Refunds {
		sum += f.Amount
	}
	return sum
}

// newOrderLine is an order line for an item; nil when there is no such item. The lock is held.
func (s *Store) newOrderLine(item int64, quantity float64) *line {
	p := s.st.Products[item]
	if p == nil {
		return nil
	}
	l := line{ID: s.st.newLine(), ProductID: p.ID, Name: p.Name, SKU: p.SKU, Price: phpFloat(p.Price), Quantity: quantity}
	if p.Kind == Variation {
		l.ProductID, l.VariationID, l.Option = p.ParentID, p.ID, p.Option
		if parent := s.st.Products[p.ParentID]; parent != nil {
			l.ParentName = parent.Name
		}
	}
	return &l
}

package woocommerce

import "errors"

// Kind is a product type.
type Kind string

// Product types.
const (
	Simple    Kind = "simple"
	Variable  Kind = "variable"
	Variation Kind = "variation"
	Grouped   Kind = "grouped"
	External  Kind = "external"
)

// Stock statuses and backorder settings.
const (
	InStock     = "instock"
	OutOfStock  = "outofstock"
	OnBackorder = "onbackorder"

	BackordersNo     = "no"
	BackordersNotify = "notify"
	BackordersYes    = "yes"
)

// Stock holds the stored stock fields of one item. What the pointers refer to is never changed.
type Stock struct {
	// Manage is the item's own box; a variation without it may still inherit its parent's stock.
	Manage bool
	// Quantity is nil when none was ever set, or when the stock is not managed.
	Quantity *float64
	// Status is instock, outofstock or onbackorder.
	Status string
	// Backorders is no, notify or yes.
	Backorders string
	// Low is the item's own low stock amount, nil for the shop-wide one.
	Low *int64
}

// StockChange is what one write asks for; nil is "not sent".
type StockChange struct {
	Manage     *bool
	Quantity   *float64
	Delta      *float64
	Status     *string
	Backorders *string
	// Low is taken when LowSent: nil then means "the shop-wide amount".
	LowSent bool
	Low     *int64
}

var errExternalManage = errors.New("external products cannot manage stock")

// inherits tells whether a variation has no stock of its own and its parent has.
func inherits(kind Kind, s Stock, parent *Stock) bool {
	return kind == Variation && !s.Manage && parent != nil && parent.Manage
}

// ApplyStock is what WooCommerce makes of a write, computed from what it read: the item's stock and, for
// a variation, its parent's. The only error is managing the stock of an external product.
func ApplyStock(kind Kind, s Stock, parent *Stock, c StockChange) (Stock, error) {
	status := s.Status
	if c.Status != nil {
		status = *c.Status
	}
	switch kind {
	case External:
		if c.Manage != nil && *c.Manage {
			return s, errExternalManage
		}
		return Stock{Status: InStock, Backorders: BackordersNo}, nil
	case Grouped:
		return Stock{Status: status, Backorders: BackordersNo}, nil
	}
	if c.Manage != nil {
		s.Manage = *c.Manage
	}
	if c.Backorders != nil {
		s.Backorders = *c.Backorders
	}
	if !s.Manage {
		s.Quantity, s.Low, s.Backorders = nil, nil, BackordersNo
		switch {
		case inherits(kind, s, parent):
			s.Status = parent.Status
		case kind != Variable: // an unmanaged parent's status follows its variations
			s.Status = status
		}
		return s, nil
	}
	switch {
	case c.Quantity != nil:
		s.Quantity = c.Quantity
	case c.Delta != nil:
		q := *c.Delta
		if s.Quantity != nil {
			q += *s.Quantity
		}
		s.Quantity = &q
	}
	if c.LowSent {
		s.Low = c.Low
	}
	s.Status = derivedStatus(s)
	return s, nil
}

// derivedStatus is the status WooCommerce gives a managed item whenever it saves it.
func derivedStatus(s Stock) string {
	switch {
	case s.Quantity != nil && *s.Quantity > 0:
		return InStock
	case s.Backorders != BackordersNo:
		return OnBackorder
	}
	return OutOfStock
}

// familyStatus is the status of a variable product that does not manage stock.
func familyStatus(variations []Stock) string {
	status := OutOfStock
	for _, v := range variations {
		switch v.Status {
		case InStock:
			return InStock
		case OnBackorder:
			status = OnBackorder
		}
	}
	return status
}

// StockView holds the stock fields as REST shows them.
type StockView struct {
	// Manage is true, false or, for a variation that inherits, the string "parent".
	Manage            any
	Quantity          *float64
	Status            string
	Backorders        string
	BackordersAllowed bool
	Backordered       bool
	Low               *int64
}

// ViewStock is what REST shows of an item; parent is nil unless it is a variation.
func ViewStock(kind Kind, s Stock, parent *Stock) StockView {
	v := StockView{Manage: s.Manage, Quantity: s.Quantity, Status: s.Status, Backorders: s.Backorders, Low: s.Low}
	if inherits(kind, s, parent) {
		v.Manage, v.Quantity, v.Status, v.Backorders = "parent", parent.Quantity, parent.Status, parent.Backorders
	} else if !s.Manage {
		v.Quantity = nil
	}
	v.BackordersAllowed = v.Backorders != BackordersNo
	v.Backordered = v.Status == OnBackorder
	return v
}

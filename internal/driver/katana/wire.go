package katana

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

// text is a JSON string; anything else reads as empty.
type text string

// UnmarshalJSON never fails.
func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) != nil {
		s = ""
	}
	*t = text(s)
	return nil
}

// ident is an id: a positive number, or a string of one; anything else reads as 0.
type ident int64

// UnmarshalJSON never fails.
func (i *ident) UnmarshalJSON(b []byte) error {
	n, err := strconv.ParseInt(string(bytes.Trim(b, `"`)), 10, 64)
	if err != nil || n < 0 {
		n = 0
	}
	*i = ident(n)
	return nil
}

func (i ident) String() string { return strconv.FormatInt(int64(i), 10) }

// quantity is a decimal number or string. What is neither is not a valid amount, so that one row cannot spoil
// a page and is never taken for zero.
type quantity struct{ stock.Amount }

// UnmarshalJSON never fails.
func (q *quantity) UnmarshalJSON(b []byte) error {
	if q.Amount.UnmarshalJSON(b) != nil {
		q.Amount, _ = stock.ParseAmount("")
	}
	return nil
}

// needed is a quantity that must be there.
func needed(q *quantity) stock.Amount {
	if q == nil {
		missing, _ := stock.ParseAmount("")
		return missing
	}
	return q.Amount
}

// moment is a time; what is none reads as zero.
type moment struct{ time.Time }

// UnmarshalJSON never fails.
func (m *moment) UnmarshalJSON(b []byte) error {
	var s text
	_ = s.UnmarshalJSON(b)
	m.Time, _ = time.Parse(time.RFC3339, string(s))
	return nil
}

// gone tells whether a deleted_at says anything.
func gone(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

type location struct {
	ID      ident           `json:"id"`
	Name    text            `json:"name"`
	Deleted json.RawMessage `json:"deleted_at"`
}

type variant struct {
	ID      ident           `json:"id"`
	SKU     text            `json:"sku"`
	Created moment          `json:"created_at"`
	Updated moment          `json:"updated_at"`
	Deleted json.RawMessage `json:"deleted_at"`
}

type inventory struct {
	Variant   ident     `json:"variant_id"`
	Location  ident     `json:"location_id"`
	InStock   *quantity `json:"quantity_in_stock"`
	Committed *quantity `json:"quantity_committed"`
	Expected  *quantity `json:"quantity_expected"`
	Potential *quantity `json:"quantity_potential"`
}

func (i inventory) level() stock.Level {
	l := stock.Level{Item: i.Variant.String(), Location: i.Location.String(), OnHand: needed(i.InStock)}
	if i.Committed != nil {
		l.Committed, l.HasCommitted = i.Committed.Amount, true
	}
	if i.Expected != nil {
		l.Incoming = i.Expected.Amount
	}
	if i.Potential != nil {
		l.Available, l.HasAvailable = i.Potential.Amount, true
	}
	return l
}

type order struct {
	ID        ident           `json:"id"`
	Source    text            `json:"source"`
	Location  ident           `json:"location_id"`
	Status    text            `json:"status"`
	Platform  text            `json:"ecommerce_order_type"`
	Shop      text            `json:"ecommerce_store_name"`
	ShopOrder text            `json:"ecommerce_order_id"`
	Updated   moment          `json:"updated_at"`
	Deleted   json.RawMessage `json:"deleted_at"`
	Rows      *[]orderRow     `json:"sales_order_rows"`
}

type orderRow struct {
	ID       ident           `json:"id"`
	Variant  ident           `json:"variant_id"`
	Location ident           `json:"location_id"`
	Quantity *quantity       `json:"quantity"`
	Deleted  json.RawMessage `json:"deleted_at"`
}

type fulfillment struct {
	ID    ident `json:"id"`
	Order ident `json:"sales_order_id"`
	Rows  []struct {
		Row      ident     `json:"sales_order_row_id"`
		Quantity *quantity `json:"quantity"`
	} `json:"sales_order_fulfillment_rows"`
}

type movement struct {
	ID      ident `json:"id"`
	Variant ident `json:"variant_id"`
}

// state of an order. A status nobody has told of counts as open, which never promises too much.
func (o order) state() stock.OrderState {
	switch {
	case gone(o.Deleted), o.Status == "PACKED", o.Status == "DELIVERED":
		return stock.OrderClosed
	case o.Status == "PENDING":
		return stock.OrderQuote
	}
	return stock.OrderOpen
}

func (o order) partly() bool { return strings.HasPrefix(string(o.Status), "PARTIALLY_") }

func (o order) origin(sources []string) stock.Origin {
	switch {
	case strings.EqualFold(string(o.Platform), "woocommerce"):
		return stock.OriginWooCommerce
	case o.Platform != "":
		return stock.OriginOther
	case slices.Contains(sources, string(o.Source)) && o.Source != "":
		return stock.OriginWooCommerce
	case strings.EqualFold(string(o.Source), "katana"):
		return stock.OriginSource
	}
	return stock.OriginUnknown
}

// read makes a source's order of Katana's; done is what is fulfilled of each row.
func (o order) read(sources []string, done map[ident]stock.Amount) stock.SourceOrder {
	out := stock.SourceOrder{ID: o.ID.String(), State: o.state(), Partly: o.partly(), Origin: o.origin(sources), Modified: o.Updated.Time}
	if o.Platform != "" && o.ShopOrder != "" {
		out.Imported = stock.ShopOrder{Shop: string(o.Shop), ID: string(o.ShopOrder)}
	}
	if o.Rows == nil {
		return out
	}
	for _, r := range *o.Rows {
		if gone(r.Deleted) || r.Variant == 0 {
			continue
		}
		at := r.Location
		if at == 0 {
			at = o.Location
		}
		out.Rows = append(out.Rows, stock.SourceRow{ID: r.ID.String(), Item: r.Variant.String(), Location: at.String(), Quantity: needed(r.Quantity), Fulfilled: done[r.ID]})
	}
	return out
}

// Package oracle says what a shop that is fed from a simulated Katana account must show, worked out anew from
// the account's raw state with arithmetic of its own. It shares no code with the simulator that made the
// state, nor with the driver and the policy that are held against it.
package oracle

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// Account is the raw state of an account: what package katana's State writes.
type Account struct {
	Levels []struct {
		Variant, Location int64
		InStock           string
	}
	Orders []struct {
		ID               int64
		Status           string
		Deleted          bool
		Location         int64
		Source, Platform string
		Rows             []struct {
			ID, Variant int64
			Location    *int64
			Quantity    string
		}
	}
	Fulfilled []struct {
		Row      int64
		Quantity string
	}
}

// Read reads a state.
func Read(raw []byte) (Account, error) {
	var a Account
	if err := json.Unmarshal(raw, &a); err != nil {
		return a, fmt.Errorf("not the state of an account: %w", err)
	}
	return a, nil
}

// Choice is how a shop is set up.
type Choice struct {
	// WooCommerceOnly leaves out orders that did not come from WooCommerce; Sources are values of source that
	// stand for WooCommerce where the platform is empty.
	WooCommerceOnly bool
	Sources         []string
	// Quotes counts quotes like orders.
	Quotes bool
}

// Quantity is what a shop mapped to a location is to show of a variant: in stock, less what is outstanding of
// the variant's own rows in open orders.
func (a Account) Quantity(variant, location int64, c Choice) (*big.Rat, error) {
	sum := new(big.Rat)
	for _, l := range a.Levels {
		if l.Variant == variant && l.Location == location {
			n, err := number(l.InStock)
			if err != nil {
				return nil, err
			}
			sum.Add(sum, n)
		}
	}
	for _, o := range a.Orders {
		open := map[string]bool{"NOT_SHIPPED": true, "PARTIALLY_PACKED": true, "PARTIALLY_DELIVERED": true, "PENDING": c.Quotes}[o.Status]
		if !open || o.Deleted || c.WooCommerceOnly && !woo(o.Platform, o.Source, c.Sources) {
			continue
		}
		for _, r := range o.Rows {
			at := o.Location
			if r.Location != nil {
				at = *r.Location
			}
			if r.Variant != variant || at != location {
				continue
			}
			left, err := a.outstanding(r.ID, r.Quantity)
			if err != nil {
				return nil, err
			}
			sum.Sub(sum, left)
		}
	}
	return sum, nil
}

// outstanding is what is not fulfilled of a row.
func (a Account) outstanding(row int64, ordered string) (*big.Rat, error) {
	left, err := number(ordered)
	if err != nil {
		return nil, err
	}
	for _, f := range a.Fulfilled {
		if f.Row != row {
			continue
		}
		n, err := number(f.Quantity)
		if err != nil {
			return nil, err
		}
		left.Sub(left, n)
	}
	if left.Sign() < 0 {
		return new(big.Rat), nil
	}
	return left, nil
}

func number(text string) (*big.Rat, error) {
	n, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil, fmt.Errorf("%q is not a number", text)
	}
	return n, nil
}

func woo(platform, source string, sources []string) bool {
	if platform != "" {
		return strings.EqualFold(platform, "woocommerce")
	}
	return slices.Contains(sources, source)
}

// Whole is the quantity rounded down, as a shop shows it.
func Whole(q *big.Rat) int64 {
	n := new(big.Int)
	return n.Div(q.Num(), q.Denom()).Int64() // Euclid's division rounds down for a denominator above zero
}

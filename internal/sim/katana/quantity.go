package katana

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
)

// Quantity is an amount of goods in hundred-thousandths of a unit, Katana's five places.
type Quantity int64

// Units is n whole units.
func Units(n int64) Quantity { return Quantity(n * 100_000) }

// ParseQuantity reads a decimal number with at most five places.
func ParseQuantity(s string) (Quantity, error) {
	r, ok := new(big.Rat).SetString(s)
	if !ok || len(s) > 30 || strings.ContainsAny(s, "/eExX_") {
		return 0, fmt.Errorf("%q is not a decimal number", s)
	}
	if r.Mul(r, big.NewRat(100_000, 1)); !r.IsInt() || !r.Num().IsInt64() {
		return 0, fmt.Errorf("%q has more than five decimal places or is too large", s)
	}
	return Quantity(r.Num().Int64()), nil
}

// String has five places, as levels are written.
func (q Quantity) String() string {
	n, sign := int64(q), ""
	if n < 0 {
		n, sign = -n, "-"
	}
	return fmt.Sprintf("%s%d.%05d", sign, n/100_000, n%100_000)
}

// number is the short form, as quantities of rows are written.
func (q Quantity) number() json.Number {
	return json.Number(strings.TrimSuffix(strings.TrimRight(q.String(), "0"), "."))
}

// times is q × per, both with five places, cut to five.
func (q Quantity) times(per Quantity) Quantity {
	n := new(big.Int).Mul(big.NewInt(int64(q)), big.NewInt(int64(per)))
	return Quantity(n.Quo(n, big.NewInt(100_000)).Int64())
}

// MarshalJSON implements [json.Marshaler].
func (q Quantity) MarshalJSON() ([]byte, error) { return json.Marshal(q.String()) }

// UnmarshalJSON takes a number or a string.
func (q *Quantity) UnmarshalJSON(b []byte) (err error) {
	*q, err = ParseQuantity(strings.Trim(string(b), `"`))
	return err
}

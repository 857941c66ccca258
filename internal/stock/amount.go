package stock

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
)

// Amount is an exact quantity of goods, in millionths of a unit: sources of stock count fractions, and no
// floating point comes near them. The zero value is zero, and two amounts are equal if == says so. What does
// not fit any more is not an amount, and neither is anything computed from it: see [Amount.Valid].
type Amount struct{ millionths int64 }

const (
	places = 6
	one    = 1_000_000
	// most is the largest amount that can be read: a million million units. Sums may be larger.
	most = 1_000_000_000_000 * one
)

var notAnAmount = Amount{math.MinInt64}

var (
	errAmountSyntax = errors.New("a quantity must be a decimal number such as 7 or -2.50000")
	errAmountPlaces = errors.New("a quantity must have at most 6 decimal places")
	errAmountLarge  = errors.New("a quantity must be between -1000000000000 and 1000000000000")
)

// Units is the amount of n whole units.
func Units(n int64) Amount {
	if n > math.MaxInt64/one || n < math.MinInt64/one {
		return notAnAmount
	}
	return Amount{n * one}
}

// ParseAmount reads a decimal number such as "7.00000". It refuses what it could not hold exactly; the amount it
// then returns is not valid.
func ParseAmount(s string) (Amount, error) { return parseAmount(s, false) }

// parseAmount rounds what is beyond the last place, half away from zero, where it may.
func parseAmount(s string, round bool) (Amount, error) {
	mantissa, exponent := s, 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		var err error
		if exponent, err = strconv.Atoi(s[i+1:]); err != nil || exponent < -30 || exponent > 30 {
			return notAnAmount, errAmountSyntax
		}
		mantissa = s[:i]
	}
	mantissa, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := whole + fraction
	if len(whole) == 0 || len(digits) > 60 || strings.Trim(digits, "0123456789") != "" || strings.HasSuffix(mantissa, ".") {
		return notAnAmount, errAmountSyntax
	}
	// The millionths are the first point digits.
	point := len(whole) + exponent + places
	if point > len(digits) {
		digits += strings.Repeat("0", point-len(digits))
	} else if point < 0 {
		digits, point = strings.Repeat("0", -point)+digits, 0
	}
	kept, rest := strings.TrimLeft(digits[:point], "0"), strings.TrimRight(digits[point:], "0")
	if rest != "" && !round {
		return notAnAmount, errAmountPlaces
	}
	n, err := int64(0), error(nil)
	if kept != "" {
		n, err = strconv.ParseInt(kept, 10, 64)
	}
	if err != nil || n > most {
		return notAnAmount, errAmountLarge
	}
	if rest != "" && rest[0] >= '5' {
		n++
	}
	if negative {
		n = -n
	}
	return Amount{n}, nil
}

// Valid is false for what grew too large to be computed with.
func (a Amount) Valid() bool { return a != notAnAmount }

// Plus is a + b.
func (a Amount) Plus(b Amount) Amount {
	sum := a.millionths + b.millionths
	if !a.Valid() || !b.Valid() || (sum > a.millionths) != (b.millionths > 0) && b.millionths != 0 {
		return notAnAmount
	}
	return Amount{sum}
}

// Minus is a − b.
func (a Amount) Minus(b Amount) Amount {
	if !b.Valid() {
		return notAnAmount
	}
	return a.Plus(Amount{-b.millionths})
}

// Cmp is -1, 0 or 1, as a is below, equal to or above b.
func (a Amount) Cmp(b Amount) int {
	switch {
	case a.millionths < b.millionths:
		return -1
	case a.millionths > b.millionths:
		return 1
	}
	return 0
}

// Floor is the largest whole number of units not above a, and whether a is an amount at all.
func (a Amount) Floor() (int64, bool) {
	n := a.millionths / one
	if a.millionths%one < 0 {
		n--
	}
	return n, a.Valid()
}

// String is the shortest decimal number that is exactly a.
func (a Amount) String() string {
	if !a.Valid() {
		return "too large"
	}
	n, sign := a.millionths, ""
	if n < 0 {
		n, sign = -n, "-"
	}
	s := sign + strconv.FormatInt(n/one, 10)
	if f := n % one; f != 0 {
		s += "." + strings.TrimRight(strconv.FormatInt(one+f, 10)[1:], "0")
	}
	return s
}

// MarshalJSON writes a string, as [Amount.String] does.
func (a Amount) MarshalJSON() ([]byte, error) { return json.Marshal(a.String()) }

// UnmarshalJSON reads a decimal string exactly. A JSON number may be what a program computed with floating
// point, such as 0.30000000000000004, and is rounded to the millionth.
func (a *Amount) UnmarshalJSON(b []byte) (err error) {
	if b = bytes.TrimSpace(b); len(b) > 1 && b[0] == '"' {
		var s string
		if err = json.Unmarshal(b, &s); err == nil {
			*a, err = ParseAmount(s)
		}
		return err
	}
	*a, err = parseAmount(string(b), true)
	return err
}

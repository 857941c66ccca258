package stock

import (
	"encoding/json"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestParseAmount(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"7.00000": "7", "-2.50000": "-2.5", "0": "0", "-0.0": "0", "0.000001": "0.000001", "1e3": "1000", "25E-1": "2.5", "1.50000000": "1.5",
		"000012.10": "12.1", "1000000000000": "1000000000000", "-0.000001": "-0.000001", "10e-7": "0.000001", "0e20": "0",
	} {
		if got, err := ParseAmount(in); err != nil || got.String() != want {
			t.Errorf("%q: %v %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "-", ".", "1.", ".5", "+1", "1,5", "NaN", "Infinity", "0x1", "1_0", " 1", "1e", "1e99", "1e-99", "--1", "1e1e1",
		"0.0000001", "1.9999999", "1000000000001", "1e13", "9223372036854775808"} {
		if got, err := ParseAmount(in); err == nil || got.Valid() {
			t.Errorf("%q is read as %v, want an error", in, got)
		}
	}
}

// TestAmountJSON: strings are exact, and what JavaScript makes of fractions is what was meant.
func TestAmountJSON(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{`"7.00000"`: "7", `3`: "3", ` 0.30000000000000004 `: "0.3", `1e-7`: "0", `-2.9999999999999996`: "-3", `1.5e0`: "1.5"} {
		var a Amount
		if err := json.Unmarshal([]byte(in), &a); err != nil || a.String() != want {
			t.Errorf("%s: %v %v, want %s", in, a, err, want)
		}
	}
	for _, in := range []string{`null`, `true`, `{}`, `"x"`, `""`, `"0.0000001"`, `1e300`} {
		var a Amount
		if err := json.Unmarshal([]byte(in), &a); err == nil {
			t.Errorf("%s is read as %v, want an error", in, a)
		}
	}
	if b, err := json.Marshal(map[string]Amount{"q": {-2_500_000}}); err != nil || string(b) != `{"q":"-2.5"}` {
		t.Errorf("%s %v", b, err)
	}
}

// TestAmountExact compares with arithmetic of arbitrary precision.
func TestAmountExact(t *testing.T) {
	t.Parallel()
	rat := func(a Amount) *big.Rat { r, _ := new(big.Rat).SetString(a.String()); return r }
	rapid.Check(t, func(t *rapid.T) {
		amount := rapid.Custom(func(t *rapid.T) Amount {
			return Amount{rapid.Int64Range(-most, most).Draw(t, "millionths")}
		})
		a, b := amount.Draw(t, "a"), amount.Draw(t, "b")
		if again, err := ParseAmount(a.String()); err != nil || again != a {
			t.Fatalf("%v reads back as %v %v", a, again, err)
		}
		if rat(a.Plus(b)).Cmp(new(big.Rat).Add(rat(a), rat(b))) != 0 || rat(a.Minus(b)).Cmp(new(big.Rat).Sub(rat(a), rat(b))) != 0 {
			t.Fatalf("%v and %v: %v, %v", a, b, a.Plus(b), a.Minus(b))
		}
		if a.Cmp(b) != rat(a).Cmp(rat(b)) {
			t.Fatalf("compare %v %v", a, b)
		}
		floor := new(big.Int)
		floor.Div(rat(a).Num(), rat(a).Denom())
		if n, ok := a.Floor(); !ok || n != floor.Int64() {
			t.Fatalf("floor of %v: %d", a, n)
		}
	})
}

// TestAmountTooLarge: what cannot be computed stays so, and never becomes a number again.
func TestAmountTooLarge(t *testing.T) {
	t.Parallel()
	huge := Units(9_000_000_000_000)
	sum := huge.Plus(huge)
	for _, a := range []Amount{sum, sum.Minus(huge).Minus(huge), huge.Minus(sum), Units(-9_000_000_000_000).Minus(huge), Units(1 << 62)} {
		if _, ok := a.Floor(); ok || a.Valid() || a.String() != "too large" {
			t.Errorf("%v is taken for an amount", a)
		}
	}
	if got := huge.Minus(huge); got != (Amount{}) {
		t.Errorf("a large amount less itself is %v", got)
	}
}

func FuzzAmount(f *testing.F) {
	for _, s := range []string{"7.00000", "1e-6", "-0.1", "0.30000000000000004", `"1"`, "1e30", "null"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var a Amount
		_ = json.Unmarshal([]byte(s), &a)
		if a, err := ParseAmount(s); err == nil {
			want, ok := new(big.Rat).SetString(s)
			got, _ := new(big.Rat).SetString(a.String())
			if !ok || want.Cmp(got) != 0 {
				t.Fatalf("%q is read as %v", s, a)
			}
		}
	})
}

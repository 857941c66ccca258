package katana

import (
	"testing"

	"stocksync.dev/stocksync/internal/sim/katana/oracle"
)

// TestOracle: the numbers the set of fixtures must give, from the state behind them.
func TestOracle(t *testing.T) {
	t.Parallel()
	account, _ := workshop(t)
	a, err := oracle.Read(account.State())
	must(t, err)
	for _, tc := range []struct{ variant, location, on, off int64 }{
		{9001, 501, 6, 14},
		{9002, 501, 36, 36},
		{9003, 501, -2, -2},
		{9001, 502, 6, 6},
	} {
		on, err := a.Quantity(tc.variant, tc.location, oracle.Choice{})
		must(t, err)
		off, err := a.Quantity(tc.variant, tc.location, oracle.Choice{WooCommerceOnly: true})
		must(t, err)
		if oracle.Whole(on) != tc.on || oracle.Whole(off) != tc.off {
			t.Errorf("%d at %d: %v and %v, want %d and %d", tc.variant, tc.location, on, off, tc.on, tc.off)
		}
	}
}

package stock

import "testing"

func TestDrasticChange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		before, after int64
		want          Drastic
	}{
		{5, 0, Zeroed}, {5, -1, Zeroed}, {1, 0, Zeroed}, {5, 1, Ordinary}, {0, 0, Ordinary}, {0, 50, Ordinary}, {-3, 0, Ordinary}, {-3, 40, Ordinary},
		{5, 49, Ordinary}, {5, 50, Multiplied}, {5, 500, Multiplied}, {1 << 60, 1<<62 + 1<<61, Ordinary},
	} {
		if got := DrasticChange(c.before, c.after); got != c.want {
			t.Errorf("from %d to %d: %v, want %v", c.before, c.after, got, c.want)
		}
	}
}

func TestBreakerLimits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		b              Breaker
		changed, of    int
		trips, gathers bool
	}{
		{Breaker{}, 19, 20, false, false},
		{Breaker{}, 20, 20, true, true},
		{Breaker{}, 20, 100, false, true},
		{Breaker{}, 21, 100, true, true},
		{Breaker{}, 20, 1000, false, false},
		{Breaker{}, 21, 1000, false, true},
		{Breaker{}, 200, 1000, false, true},
		{Breaker{}, 201, 1000, true, true},
		{Breaker{SharePercent: 5, MinimumSKUs: 3}, 6, 100, true, true},
		{Breaker{SharePercent: 5, MinimumSKUs: 3}, 2, 2, false, false},
		{Breaker{SharePercent: 100}, 1000, 1000, false, true},
		{Breaker{Disabled: true}, 1000, 1000, false, false},
	} {
		if trips, gathers := c.b.Trips(c.changed, c.of), c.b.Gathers(c.changed, c.of); trips != c.trips || gathers != c.gathers {
			t.Errorf("%+v: %d of %d: trips %v, gathers %v", c.b, c.changed, c.of, trips, gathers)
		}
	}
}

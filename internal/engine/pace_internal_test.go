package engine

import (
	"slices"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

// TestPace: what is learned from answers is how many at once and how long to rest.
func TestPace(t *testing.T) {
	t.Parallel()
	timeout := &Fault{Reason: "Timeout"}
	limited := &Fault{Reason: ReasonRateLimited, Unsent: true}
	for name, c := range map[string]struct {
		items []int
		took  time.Duration
		fault *Fault
		size  int
		rest  time.Duration
	}{
		"answered at once":              {items: []int{100}, took: time.Second, size: 100},
		"answered after 4 s":            {items: []int{100}, took: 4 * time.Second, size: 100, rest: 4 * time.Second},
		"answered after 12 s":           {items: []int{100}, took: 12 * time.Second, size: 50, rest: 12 * time.Second},
		"not answered":                  {items: []int{100}, took: 30 * time.Second, fault: timeout, size: 50},
		"not answered five times":       {items: []int{100, 50, 25, 12, 6}, took: 30 * time.Second, fault: timeout, size: 3},
		"a few not answered":            {items: []int{10}, took: 30 * time.Second, fault: timeout, size: 3},
		"one not answered":              {items: []int{1, 1, 1}, took: 30 * time.Second, fault: timeout, size: 1},
		"not reached":                   {items: []int{100}, fault: &Fault{Reason: "Unreachable", Unsent: true}, size: 100},
		"too large":                     {items: []int{100}, fault: &Fault{Unsent: true, TooLarge: true}, size: 50},
		"asked for fewer requests":      {items: []int{100}, fault: limited, size: 100, rest: time.Second},
		"asked three times":             {items: []int{100, 100, 100}, fault: limited, size: 100, rest: 4 * time.Second},
		"asked for fewer all day (429)": {items: make([]int, 50), fault: limited, size: 100, rest: time.Minute},
	} {
		var p pace
		for _, n := range c.items {
			p.learn(n, c.took, c.fault, time.Unix(100, 0))
		}
		if got := p.until.Sub(time.Unix(100, 0)); p.size() != c.size || got != c.rest {
			t.Errorf("%s: %d at once, a rest of %s", name, p.size(), got)
		}
		// Every pace is full speed again when the store copes.
		for range 100 {
			p.learn(p.size(), time.Second, nil, time.Unix(100, 0))
		}
		if got := p.until.Sub(time.Unix(100, 0)); p.size() != BatchSize || got != 0 {
			t.Errorf("%s, and then well: %d at once, a rest of %s", name, p.size(), got)
		}
	}
}

// TestNextBatch: one request carries products, or variations of one parent; in a rest what is urgent alone.
func TestNextBatch(t *testing.T) {
	t.Parallel()
	now := time.Unix(100, 0)
	due := func(pool, product, variation, shows int64) stock.Placement {
		return stock.Placement{Pool: pool, Ref: stock.Ref{Product: product, Variation: variation}, Contained: shows + 1, Todo: -1}
	}
	mixed := []stock.Placement{due(1, 7, 71, 0), due(2, 8, 0, 2), due(3, 7, 72, 90), due(4, 9, 91, 90), due(5, 7, 73, 90), due(6, 10, 0, 90)}
	for name, c := range map[string]struct {
		due   []stock.Placement
		cut   int
		until time.Time
		want  []int64
		wait  bool
	}{
		"nothing":              {},
		"with the most urgent": {due: mixed, want: []int64{1, 3, 5}},
		"products":             {due: mixed[1:], want: []int64{2, 6}},
		"one at once":          {due: mixed, cut: 6, want: []int64{1}},
		"in a rest":            {due: mixed, until: now.Add(time.Second), want: []int64{1}},
		"nothing urgent":       {due: mixed[2:], until: now.Add(time.Second), wait: true},
		"after the rest":       {due: mixed[2:], until: now, want: []int64{3, 5}},
	} {
		p := pace{cut: c.cut, until: c.until}
		batch, until := p.next(c.due, now)
		var got []int64
		for _, d := range batch {
			got = append(got, d.Pool)
		}
		if !slices.Equal(got, c.want) || until.IsZero() == c.wait {
			t.Errorf("%s: %v, until %v", name, got, until)
		}
	}
}

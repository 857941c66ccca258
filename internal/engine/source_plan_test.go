package engine_test

import (
	"cmp"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stocksync.dev/stocksync/internal/engine"
)

var katana = engine.SourceCapabilities{Committed: true, Orders: true, Origins: true, Changes: true, Events: true, Locations: true, Eventual: true,
	LevelBatch: 100, PageRows: 250, OrderLists: 4, RequestsPerMinute: 60}

// TestPlanTenThousand: what status shows for 10,000 variants under 60 requests a minute.
func TestPlanTenThousand(t *testing.T) {
	t.Parallel()
	got := engine.PlanSource(katana, engine.SourceSize{Items: 10_000, Locations: 1, OpenOrders: 300, PartlyFulfilled: 5})
	want := engine.SourcePlan{
		Poll: time.Minute, Polling: 2, Following: 37, ItemsPerMinute: 1200, Delay: 5 * time.Second, Spare: 6,
		Comparing: 15, Comparison: 40 + 40 + 2 + 20, ComparisonTime: 7 * time.Minute, CompareEvery: time.Hour, Start: 40 + 3 + 2 + 5,
	}
	if got != want {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	wished := engine.SourceSize{Items: 10_000, Locations: 1, Poll: 15 * time.Second, Compare: 12 * time.Hour}
	if p := engine.PlanSource(katana, wished); p.Poll != 15*time.Second || p.Polling != 8 || p.CompareEvery != 12*time.Hour {
		t.Errorf("as people want it: %+v", p)
	}
	if s := got.String(); s != "of 60 requests a minute 2 poll, 37 follow up to 1200 changed items (each within 5s), 15 compare everything in 7m0s (102 requests, at most every 1h0m0s), 6 are spare" {
		t.Error(s)
	}
}

// TestPlanFits: whatever the source, no plan spends more than there is, and everything gets its turn.
func TestPlanFits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := katana
		c.RequestsPerMinute = rapid.IntRange(0, 1000).Draw(t, "limit")
		c.PageRows, c.LevelBatch = rapid.IntRange(0, 500).Draw(t, "rows"), rapid.IntRange(0, 500).Draw(t, "batch")
		c.Orders, c.Changes = rapid.Bool().Draw(t, "orders"), rapid.Bool().Draw(t, "changes")
		size := engine.SourceSize{Items: rapid.IntRange(0, 200_000).Draw(t, "items"), Locations: rapid.IntRange(0, 50).Draw(t, "locations"),
			OpenOrders: rapid.IntRange(0, 10_000).Draw(t, "orders"), PartlyFulfilled: rapid.IntRange(0, 500).Draw(t, "partly"),
			Poll:    time.Duration(rapid.SampledFrom([]int{0, 15, 600}).Draw(t, "poll")) * time.Second,
			Compare: time.Duration(rapid.SampledFrom([]int{0, 300, 604800}).Draw(t, "compare")) * time.Second}
		p := engine.PlanSource(c, size)
		if sum := p.Polling + p.Following + p.Comparing + p.Spare; sum > max(c.RequestsPerMinute, 1) {
			t.Fatalf("spends %d of %d: %+v", sum, c.RequestsPerMinute, p)
		}
		if p.Poll < cmp.Or(size.Poll, time.Minute) || p.CompareEvery < cmp.Or(size.Compare, time.Hour) || p.Delay > p.Poll || p.CompareEvery < 2*p.ComparisonTime || p.Start < 1 {
			t.Fatalf("%+v", p)
		}
	})
}

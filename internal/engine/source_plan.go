package engine

import (
	"cmp"
	"fmt"
	"time"
)

// SourceSize is how much there is to read in a source, and how often.
type SourceSize struct {
	// Items with a level at each of Locations, OpenOrders, and of those the ones fulfilled in part.
	Items, Locations, OpenOrders, PartlyFulfilled int
	// Poll and Compare are how often people want what changed to be asked for, and everything to be compared: a minute
	// and an hour when 0. Where the requests do not suffice it is less often.
	Poll, Compare time.Duration
}

// SourcePlan is how the requests of a credential are spent. Requests per minute add up to the limit.
type SourcePlan struct {
	// Poll is the time between two polls; Polling their requests per minute.
	Poll    time.Duration
	Polling int
	// Following are the requests per minute left for items that change; ItemsPerMinute how many items that is,
	// when they change many at a time, and Delay how long a single one waits at most for its reading.
	Following      int
	ItemsPerMinute int
	Delay          time.Duration
	// Comparing are the requests per minute for comparing everything; Comparison how many that takes and
	// ComparisonTime how long, so that it is not begun more often than every CompareEvery.
	Comparing, Comparison        int
	ComparisonTime, CompareEvery time.Duration
	// Spare are left to people and other programs that use the credential.
	Spare int
	// Start is how many requests the first reading of orders and items takes.
	Start int
}

// The shares of a plan. A comparison heals what all else missed, so it has its quarter even on a busy day.
const (
	pollEvery    = time.Minute
	compareEvery = time.Hour
	compareShare = 4  // a quarter
	spareShare   = 10 // a tenth
)

// PlanSource spends what a credential is good for, in requests per minute: first on polling, the safety net under
// events, then a quarter on comparing everything, a tenth to spare, the rest on items that change.
func PlanSource(c SourceCapabilities, size SourceSize) SourcePlan {
	limit := max(c.RequestsPerMinute, 1)
	locations := max(size.Locations, 1)
	pages := func(rows int) int {
		n := max(c.PageRows, 1)
		return max(1, (max(rows, 0)+n-1)/n)
	}
	poll, orders, partly := 0, 0, 0
	if c.Orders {
		// Orders are read before and after each reading of levels, and those fulfilled in part anew each time: the
		// order, and what of it is fulfilled.
		poll, orders, partly = 1, 2, 4*max(size.PartlyFulfilled, 0)
	}
	if c.Changes {
		poll++
	}
	p := SourcePlan{Poll: cmp.Or(size.Poll, pollEvery), Comparing: limit / compareShare, Spare: limit / spareShare}
	// A source with next to no requests is polled as often as half of them allow.
	for perMinute(poll, p.Poll) > max(limit/2, 1) {
		p.Poll *= 2
	}
	p.Polling = perMinute(poll, p.Poll)
	p.Following = max(0, limit-p.Polling-p.Comparing-p.Spare)
	reading := 1 + orders
	batches := p.Following / reading
	p.ItemsPerMinute = batches * max(c.LevelBatch, 1)
	p.Delay = p.Poll
	if batches > 0 {
		p.Delay = min(p.Delay, time.Minute/time.Duration(batches))
	}
	p.Comparison = pages(size.Items) + locations*(pages(size.Items)+orders+partly)
	p.ComparisonTime = minutes(p.Comparison, max(p.Comparing, 1))
	// Never more than half of the time.
	p.CompareEvery = max(cmp.Or(size.Compare, compareEvery), 2*p.ComparisonTime)
	p.Start = pages(size.Items)
	if c.Orders {
		p.Start += max(c.OrderLists, 1) - 1 + pages(size.OpenOrders) + max(size.PartlyFulfilled, 0)
	}
	return p
}

func perMinute(requests int, every time.Duration) int {
	return int((time.Duration(requests)*time.Minute + every - 1) / every)
}

// minutes is how long so many requests take, in whole minutes.
func minutes(requests, perMinute int) time.Duration {
	return time.Duration((requests+perMinute-1)/perMinute) * time.Minute
}

// String says the plan in a sentence, for status.
func (p SourcePlan) String() string {
	return fmt.Sprintf("of %d requests a minute %d poll, %d follow up to %d changed items (each within %v), %d compare everything in %v (%d requests, at most every %v), %d are spare",
		p.Polling+p.Following+p.Comparing+p.Spare, p.Polling, p.Following, p.ItemsPerMinute, p.Delay, p.Comparing, p.ComparisonTime, p.Comparison, p.CompareEvery, p.Spare)
}

package engine

import (
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

const (
	// A request that takes a store longer than heavyRequest is cut in two the next time, one that takes less than
	// lightRequest doubled: a request stays well below the limits of time that web servers set.
	heavyRequest = 10 * time.Second
	lightRequest = 2500 * time.Millisecond
	// A store that asks for fewer requests is given such a rest after each, twice as long every time it asks again.
	firstRest   = time.Second
	longestRest = time.Minute
	// lookAhead is how many of the due are looked through, in batches, for those that can travel together.
	lookAhead = 5
)

// ReasonRateLimited is the reason of a store that asks for fewer requests: they get rarer, not smaller.
const ReasonRateLimited = "RateLimited"

// pace is how a store is written to, learned from its answers alone. The zero value is full speed.
type pace struct {
	// cut is by how many times a batch was halved.
	cut int
	// asked is the rest the store asked for by refusing; until is when what is not urgent may be written again.
	asked time.Duration
	until time.Time
}

// size is how many items go into one request.
func (p *pace) size() int { return max(BatchSize>>p.cut, 1) }

// learn takes in how a request with n items went that ended at now; f is nil where it was answered.
func (p *pace) learn(n int, took time.Duration, f *Fault, now time.Time) {
	switch {
	case f != nil && f.Reason == ReasonRateLimited:
		p.asked = min(max(2*p.asked, firstRest), longestRest)
	case f != nil && f.Unsent && !f.TooLarge:
		// It did not reach the shop, which tells nothing of it.
	case f != nil, took > heavyRequest:
		for p.size() > max(n/2, 1) {
			p.cut++
		}
	default:
		if took < lightRequest && n >= p.size() && p.cut > 0 {
			p.cut--
		}
		if p.asked -= p.asked / 8; p.asked < firstRest/4 {
			p.asked = 0
		}
	}
	rest := p.asked
	if f == nil && took > lightRequest {
		// At most half of the time of a store that is slow.
		rest = max(rest, took)
	}
	p.until = now.Add(rest)
}

// next is what to write now of what is due, the urgent first, and if the rest is to wait for a while until when.
func (p *pace) next(due []stock.Placement, now time.Time) (batch []stock.Placement, until time.Time) {
	if len(due) > 0 && now.Before(p.until) && !due[0].Urgent() {
		return nil, p.until
	}
	for _, d := range due {
		if len(batch) == p.size() {
			break
		}
		if parent(d.Ref) == parent(due[0].Ref) && (d.Urgent() || !now.Before(p.until)) {
			batch = append(batch, d)
		}
	}
	return batch, time.Time{}
}

// parent is the variable product whose variations travel in one request; 0 for products.
func parent(r stock.Ref) int64 {
	if r.Variation == 0 {
		return 0
	}
	return r.Product
}

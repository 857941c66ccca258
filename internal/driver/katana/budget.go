package katana

import (
	"context"
	"crypto/sha256"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/engine"
)

const (
	// defaultLimit is how many requests a minute an account is good for until it says otherwise.
	defaultLimit = 60
	// window is the minute the limit is for, and a second for two clocks and the way between them.
	window = time.Minute + time.Second
	// maxWait is the longest a request waits for its turn; beyond that it is refused and says when to come.
	maxWait = 5 * time.Minute
	// maxThrottle bounds what an answer may ask for, so that a wrong header cannot silence a lane for days.
	maxThrottle = time.Hour
)

// Budgets are the request budgets of one agent: one for each credential, however many topologies use it,
// because Katana counts by credential. Make one and pass it to every client.
type Budgets struct {
	clock engine.Clock
	mu    sync.Mutex
	by    map[[sha256.Size]byte]*Budget
}

// NewBudgets makes an empty set.
func NewBudgets(clock engine.Clock) *Budgets {
	return &Budgets{clock: clock, by: map[[sha256.Size]byte]*Budget{}}
}

// For is the budget of a credential at an address.
func (b *Budgets) For(url, token string) *Budget {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := sha256.Sum256([]byte(strings.TrimRight(strings.TrimSpace(url), "/") + "\x00" + strings.TrimSpace(token)))
	if b.by[key] == nil {
		b.by[key] = &Budget{clock: b.clock}
	}
	return b.by[key]
}

// Budget gives out turns, first come first served, so that no more requests leave in any minute than the
// account allows, and fewer where others use it, too: every answer says how many are left.
type Budget struct {
	clock engine.Clock

	mu sync.Mutex
	// told is the account's own figure of how many requests a minute there may be, wanted what people allow; 0 where
	// nobody said. turns are the times given out, oldest first, some of them to come.
	told, wanted int
	turns        []time.Time
	// left is what the last answer left until reset, less what is on its way.
	left, flying int
	reset        time.Time
	until        time.Time
}

// want sets how many requests a minute people allow, 0 for as many as the account does.
func (b *Budget) want(perMinute int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wanted = perMinute
}

// limit is how many requests a minute there may be.
func (b *Budget) limit() int {
	switch {
	case b.told > 0 && b.wanted > 0:
		return min(b.told, b.wanted)
	case b.told+b.wanted > 0:
		return b.told + b.wanted
	}
	return defaultLimit
}

// take waits for a turn. The error is a [*engine.Fault].
func (b *Budget) take(ctx context.Context) error {
	for {
		b.mu.Lock()
		now := b.clock.Now()
		at := b.next(now)
		if wait := at.Sub(now); wait > maxWait {
			b.mu.Unlock()
			return &engine.Fault{Reason: v1alpha1.ReasonRateLimited, Message: "Katana's limit of requests is used up; it is tried again later",
				RetryAfter: min(wait, maxThrottle), Unsent: true}
		}
		b.turns = append(b.turns, at)
		b.flying++
		if at.Before(b.reset) {
			b.left--
		}
		b.mu.Unlock()
		if at.After(now) {
			b.clock.NewSignal().Wait(ctx, at)
		}
		b.mu.Lock()
		// Meanwhile an answer may have told everybody to wait.
		again := b.until.After(b.clock.Now())
		if again || ctx.Err() != nil {
			b.giveBack(at)
		}
		b.mu.Unlock()
		if ctx.Err() != nil {
			return &engine.Fault{Reason: v1alpha1.ReasonTimeout, Unsent: true,
				Message: "the request was given up while it waited for its turn under Katana's limit of requests"}
		}
		if !again {
			return nil
		}
	}
}

// next is when the next request may leave.
func (b *Budget) next(now time.Time) time.Time {
	old := 0
	for old < len(b.turns) && !b.turns[old].Add(window).After(now) {
		old++
	}
	b.turns = b.turns[old:]
	at := now
	for _, t := range []time.Time{b.until, b.last()} {
		if t.After(at) {
			at = t
		}
	}
	if n, limit := len(b.turns), b.limit(); n >= limit {
		if t := b.turns[n-limit].Add(window); t.After(at) {
			at = t
		}
	}
	if b.left <= 0 && at.Before(b.reset) {
		at = b.reset
	}
	return at
}

// last is the latest turn given out: nobody goes before those who wait.
func (b *Budget) last() time.Time {
	if len(b.turns) == 0 {
		return time.Time{}
	}
	return b.turns[len(b.turns)-1]
}

func (b *Budget) giveBack(at time.Time) {
	if i := slices.IndexFunc(b.turns, at.Equal); i >= 0 {
		b.turns = slices.Delete(slices.Clone(b.turns), i, i+1)
	}
	b.flying--
	if at.Before(b.reset) {
		b.left++
	}
}

// learn takes in an answer; header is nil where there was none. date is the answer's own, on Katana's clock.
func (b *Budget) learn(status int, header http.Header, date time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flying = max(0, b.flying-1)
	if header == nil {
		return
	}
	now := b.clock.Now()
	if n, err := strconv.Atoi(header.Get("X-Ratelimit-Limit")); err == nil && n > 0 && n <= 1_000_000 {
		b.told = n
	}
	reset := b.until
	if wait, ok := resetAfter(header.Get("X-Ratelimit-Reset"), date); ok {
		reset = now.Add(wait)
		if left, err := strconv.Atoi(header.Get("X-Ratelimit-Remaining")); err == nil && left >= 0 {
			b.left, b.reset = left-b.flying, reset
		}
	}
	if status != http.StatusTooManyRequests {
		return
	}
	until := now.Add(retryAfter(header))
	if !until.After(now) {
		if until = reset; !until.After(now) {
			until = now.Add(10 * time.Second)
		}
	}
	if until.After(b.until) {
		b.until = until
	}
}

// state is what people and plans are told.
func (b *Budget) state() engine.SourceBudget {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock.Now()
	b.next(now)
	s := engine.SourceBudget{Limit: b.limit(), Remaining: max(0, b.limit()-len(b.turns)), Reset: now}
	if len(b.turns) > 0 {
		s.Reset = b.last().Add(window)
	}
	if b.reset.After(now) {
		s.Remaining = max(0, min(s.Remaining, b.left))
	}
	if b.until.After(now) {
		s.ThrottledUntil, s.Remaining = b.until, 0
	}
	return s
}

// resetAfter reads X-Ratelimit-Reset, documented in milliseconds and shown in seconds: the number of digits
// tells. A minute is all it can mean.
func resetAfter(v string, date time.Time) (time.Duration, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
	if err != nil || n <= 0 {
		return 0, false
	}
	at := time.Unix(min(n, 1<<40), 0)
	if n >= 100_000_000_000 {
		at = time.UnixMilli(min(n, 1<<50))
	}
	return min(max(at.Sub(date), 0), 2*time.Minute), true
}

// retryAfter reads the header; 0 where it says nothing.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.ParseInt(strings.TrimSpace(h.Get("Retry-After")), 10, 64)
	if err != nil || seconds <= 0 {
		return 0
	}
	return min(time.Duration(min(seconds, 1<<30))*time.Second, maxThrottle)
}

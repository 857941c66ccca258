package agent

import (
	"sync"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/driver/kitgenix"
	"stocksync.dev/stocksync/internal/engine"
)

const (
	// pluginStale is how long after the last word of a plugin its connection is stale, as the plugin itself counts.
	pluginStale = 24 * time.Hour
	// tellCheckout is how often a checkout that was answered otherwise than from fresh numbers is logged, per store.
	tellCheckout = 5 * time.Minute
	// nudgeEvery is the least time between two requests of a plugin after which one of ours is tried again.
	nudgeEvery = time.Minute
	// refusedFor is how long a refused request is spoken of after the last good one, or without one.
	refusedFor = time.Hour
)

// contact is what is known of a plugin's connection. It outlives the process.
type contact struct {
	// Remote is the plugin's id.
	Remote string `json:"remote"`
	// Pulse is the last answer to a ping, Ponged when it came; Answered when any request was last answered.
	Pulse    engine.Pulse `json:"pulse"`
	Ponged   time.Time    `json:"ponged,omitzero"`
	Answered time.Time    `json:"answered,omitzero"`
	// Skew is how far the shop's clock is ahead.
	Skew time.Duration `json:"skew,omitzero"`
	// Inbound is when an event was last taken, Asked when any signed request last came.
	Inbound time.Time `json:"inbound,omitzero"`
	Asked   time.Time `json:"asked,omitzero"`
	// Failed is when a request last failed, and Fault why.
	Failed time.Time     `json:"failed,omitzero"`
	Fault  *engine.Fault `json:"fault,omitempty"`
}

// connection is the plugin's own word for it.
func (c contact) connection(now time.Time) string {
	newest := later(c.Answered, c.Inbound)
	switch {
	case newest.IsZero() && c.Failed.IsZero():
		return agentapi.ConnectionNever
	case c.Failed.After(c.Answered):
		return agentapi.ConnectionError
	case now.Sub(newest) > pluginStale:
		return agentapi.ConnectionStale
	}
	return agentapi.ConnectionOK
}

// skewed tells whether the clocks are so far apart that signatures will break before long.
func (c contact) skewed() bool { return !c.Ponged.IsZero() && c.Skew.Abs() > kitgenix.WarnSkew }

// pluginState is what this process knows of a store's plugin.
type pluginState struct {
	remote string

	mu sync.Mutex
	contact
	// refused is when a request under the plugin's id was last refused, and why.
	refused time.Time
	cause   error
	// toldAt is when a checkout was last logged.
	toldAt time.Time
}

func (s *pluginState) snapshot() (contact, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.contact
	known.Remote = s.remote
	return known, s.refused, s.cause
}

// restore takes over what a process before knew.
func (s *pluginState) restore(c contact) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Answered.IsZero() && s.Failed.IsZero() {
		c.Inbound, c.Asked = later(c.Inbound, s.Inbound), later(c.Asked, s.Asked)
		s.contact = c
	}
}

func (s *pluginState) received(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Inbound = now
}

// asked notes a signed request, and tells whether the plugin refuses ours: then it is worth trying again.
func (s *pluginState) asked(now time.Time) (again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	again = now.Sub(s.Asked) > nudgeEvery && s.Fault != nil && s.Fault.Reason == v1alpha1.ReasonSignatureRefused && s.Failed.After(s.Answered)
	s.Asked = now
	return again
}

func (s *pluginState) turnedAway(cause error, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused, s.cause = now, cause
}

// checked notes how a checkout was answered, and tells whether that is to be logged.
func (s *pluginState) checked(how answered, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if how == fromLedger || (!s.toldAt.IsZero() && now.Sub(s.toldAt) < tellCheckout) {
		return false
	}
	s.toldAt = now
	return true
}

// ponged notes the answer to a ping sent and answered at these times.
func (s *pluginState) ponged(p engine.Pulse, sent, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Pulse, s.Ponged = p, now
	s.Skew = kitgenix.Pong{Time: p.Seconds}.Skew(sent, now)
}

func (s *pluginState) answered(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Answered = now
}

func (s *pluginState) failed(f *engine.Fault, now time.Time) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	news = s.Fault == nil || s.Fault.Reason != f.Reason || !s.Failed.After(s.Answered)
	s.Failed, s.Fault = now, f
	return news
}

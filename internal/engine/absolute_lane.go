package engine

import (
	"context"
	"time"
)

// pingEvery is how often a store is asked for its clock.
const pingEvery = 15 * time.Minute

// absolute does one piece of work in a store whose plugin is the only way in.
func (l *lane) absolute(ctx context.Context, st Store) (time.Time, error) {
	now := l.e.clock.Now()
	if now.Before(l.nextPoll) {
		return l.nextPoll, nil
	}
	pulse, err := st.Absolute.Ping(ctx)
	if err != nil {
		return time.Time{}, err
	}
	l.nextPoll = now.Add(pingEvery)
	l.note(func(s *StoreState) { s.Pulse, s.PingedAt = pulse, now })
	return time.Time{}, nil
}

package agentclient

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net/http"
	"time"

	"stocksync.dev/stocksync/internal/agentapi"
)

const (
	// patience is for how long an agent that does not answer is asked again: it may be restarting, on another
	// node and with its volume still attached to the first.
	patience = 10 * time.Minute
	// firstPause is the pause before the second try; it doubles up to lastPause.
	firstPause = time.Second
	lastPause  = 15 * time.Second
)

// Start starts a run as soon as no other is under way; waiting, unless nil, is told of each that it waits for.
// A request without an id is given one, so that the same run comes back when the first answer was lost.
func (c *Client) Start(ctx context.Context, q agentapi.RunRequest, waiting func(agentapi.Run)) (agentapi.Run, error) {
	if q.RequestID == "" {
		q.RequestID = rand.Text()
	}
	told := int64(0)
	for {
		run, err := persist(ctx, c, func() (agentapi.Run, error) { return c.StartRun(ctx, q) })
		if refused, ok := errors.AsType[*Error](err); !ok || refused.Status != http.StatusConflict {
			return run, err
		}
		runs, listErr := persist(ctx, c, func() ([]agentapi.Run, error) { return c.Runs(ctx) })
		if listErr != nil {
			return agentapi.Run{}, listErr
		}
		other, found := underWay(runs)
		if !found {
			// It has ended in between, or the refusal is about something else: asking once more tells.
			if told == -1 {
				return agentapi.Run{}, err
			}
			told = -1
			continue
		}
		if waiting != nil && told != other.ID {
			waiting(other)
		}
		told = other.ID
		if _, err := c.Follow(ctx, other, nil); err != nil {
			return agentapi.Run{}, err
		}
	}
}

func underWay(runs []agentapi.Run) (agentapi.Run, bool) {
	for _, r := range runs {
		if r.State == agentapi.Running {
			return r, true
		}
	}
	return agentapi.Run{}, false
}

// Follow waits until a run has ended and returns its end; told, unless nil, gets the run as it is and after
// every change. An agent that does not answer is asked again for some minutes: runs survive its restart.
func (c *Client) Follow(ctx context.Context, run agentapi.Run, told func(agentapi.Run)) (agentapi.Run, error) {
	for {
		if told != nil {
			told(run)
		}
		if run.State != agentapi.Running {
			return run, nil
		}
		for before := run.Sequence; run.Sequence == before; {
			next, err := persist(ctx, c, func() (agentapi.Run, error) { return c.WaitRun(ctx, run.ID, run.Sequence) })
			if err != nil {
				return run, err
			}
			if run = next; run.State != agentapi.Running {
				break
			}
		}
	}
}

// persist asks again while the agent is not there, or has too much to do.
func persist[T any](ctx context.Context, c *Client, question func() (T, error)) (T, error) {
	began, pause := c.clock.Now(), firstPause
	for {
		answer, err := question()
		if err == nil || !passing(err) || c.clock.Since(began) > patience {
			return answer, err
		}
		timer := c.clock.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return answer, context.Cause(ctx)
		case <-timer.C():
		}
		pause = min(2*pause, lastPause)
	}
}

// passing tells that the same question may be answered in a while. A certificate that is not trusted stays so.
func passing(err error) bool {
	if _, ok := errors.AsType[*UnreachableError](err); ok {
		_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
		return !untrusted
	}
	refused, ok := errors.AsType[*Error](err)
	return ok && (refused.Status == http.StatusServiceUnavailable || refused.Status == http.StatusTooManyRequests)
}

package agent

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/driver/woocommerce"
	"stocksync.dev/stocksync/internal/engine"
)

// Source is a system that knows the stock without being a shop, and can be asked about its connection.
type Source interface {
	engine.Source
	// Probe tests the connection, writes nothing, and ends with the first check that fails.
	Probe(ctx context.Context) []agentapi.PingCheck
	Close()
}

// account is a source in use with the subscription of its events.
type account struct {
	Source

	mu           sync.Mutex
	subscription engine.Subscription
}

var _ hooked = (*account)(nil)

// theSubscription is what its own webhook is called in messages; there is one for all events.
const theSubscription = "the webhook"

// EnsureWebhooks subscribes to the source's events, and mends the subscription. The secret is the source's own.
func (a *account) EnsureWebhooks(ctx context.Context, url, _ string) ([]woocommerce.Repair, error) {
	s, err := a.Subscribe(ctx, url)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.subscription = s
	if s.Repaired {
		return []woocommerce.Repair{{Topic: theSubscription, Why: woocommerce.Missing}}, nil
	}
	return nil, nil
}

// subscribed is the subscription as far as it is known.
func (a *account) subscribed() engine.Subscription {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.subscription
}

// RemoveWebhooks ends the subscription.
func (a *account) RemoveWebhooks(ctx context.Context, url string) error {
	return a.Unsubscribe(ctx, url)
}

// Versions are not told by a source.
func (*account) Versions(context.Context) (woocommerce.Versions, error) {
	return woocommerce.Versions{}, nil
}

// errNotSubscribed says that the secret of the source's events is not known yet.
var errNotSubscribed = errors.New("the subscription of the events is not known yet")

// verify reads an event, once the subscription is known.
func (a *account) verify(body []byte, header http.Header) (engine.SourceEvent, error) {
	s := a.subscribed()
	if s.Secret == "" {
		return engine.SourceEvent{}, errNotSubscribed
	}
	return a.VerifyEvent(s, body, header.Get)
}

package agent

import (
	"context"
	"time"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/driver/woocommerce"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

// unusable stands for a store that has no usable configuration: it is there, so nothing of it is forgotten,
// and cannot be spoken to.
type unusable struct{ fault *engine.Fault }

func (u unusable) Catalogue(context.Context, string) (engine.Page, error) {
	return engine.Page{}, u.fault
}

func (u unusable) Modified(context.Context, time.Time, string) (engine.Page, error) {
	return engine.Page{}, u.fault
}

func (u unusable) Read(context.Context, []stock.Ref) (engine.Page, error) {
	return engine.Page{}, u.fault
}

func (u unusable) Orders(context.Context, engine.OrderQuery) (engine.OrderPage, error) {
	return engine.OrderPage{}, u.fault
}

func (u unusable) Push(_ context.Context, pushes []engine.Push) []engine.Result {
	out := make([]engine.Result, len(pushes))
	for i := range out {
		out[i].Err = u.fault
	}
	return out
}

func (u unusable) Forget(context.Context, []stock.Ref) error { return u.fault }

func (u unusable) EnsureWebhooks(context.Context, string, string) ([]woocommerce.Repair, error) {
	return nil, u.fault
}

func (u unusable) RemoveWebhooks(context.Context, string) error { return u.fault }

func (u unusable) Versions(context.Context) (woocommerce.Versions, error) {
	return woocommerce.Versions{}, u.fault
}

func (u unusable) Probe(context.Context) []agentapi.PingCheck {
	return []agentapi.PingCheck{{Name: "Configuration", Reason: u.fault.Reason, Message: u.fault.Message}}
}

func (unusable) Close() {}

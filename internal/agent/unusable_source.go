package agent

import (
	"context"
	"time"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

// unusableSource stands for a source that has no usable configuration: it is there, so nothing of it is forgotten, and
// cannot be asked.
type unusableSource struct{ fault *engine.Fault }

func (unusableSource) Capabilities() engine.SourceCapabilities {
	return engine.SourceCapabilities{Orders: true, Changes: true, Locations: true}
}

func (u unusableSource) Health(context.Context) error { return u.fault }

func (unusableSource) Budget() engine.SourceBudget { return engine.SourceBudget{} }

func (u unusableSource) Locations(context.Context) ([]stock.SourceLocation, error) {
	return nil, u.fault
}

func (u unusableSource) Items(context.Context, time.Time) (engine.SourceItems, error) {
	return engine.SourceItems{}, u.fault
}

func (u unusableSource) Levels(context.Context, string, []string) (engine.SourceLevels, error) {
	return engine.SourceLevels{}, u.fault
}

func (u unusableSource) OpenOrders(context.Context, time.Time) (engine.SourceOrders, error) {
	return engine.SourceOrders{}, u.fault
}

func (u unusableSource) Orders(context.Context, []string) (engine.SourceOrders, error) {
	return engine.SourceOrders{}, u.fault
}

func (u unusableSource) Changes(context.Context, string) (engine.SourceChanges, error) {
	return engine.SourceChanges{}, u.fault
}

func (u unusableSource) Subscribe(context.Context, string) (engine.Subscription, error) {
	return engine.Subscription{}, u.fault
}

func (u unusableSource) Unsubscribe(context.Context, string) error { return u.fault }

func (unusableSource) VerifyEvent(engine.Subscription, []byte, func(string) string) (engine.SourceEvent, error) {
	return engine.SourceEvent{}, engine.ErrForgedEvent
}

func (u unusableSource) Probe(context.Context) []agentapi.PingCheck {
	return []agentapi.PingCheck{{Name: "Configuration", Reason: u.fault.Reason, Message: u.fault.Message}}
}

func (unusableSource) Close() {}

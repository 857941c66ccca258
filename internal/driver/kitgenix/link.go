package kitgenix

import (
	"context"

	"stocksync.dev/stocksync/internal/engine"
)

// Link is a store whose plugin is the only way in, as the engine speaks to it.
type Link struct {
	client *Client
	now    func() int64
	// role is our own: a child's events carry no versions.
	role Role
}

// NewLink makes one over a client. role is the agent's own towards the store, now its clock in Unix seconds.
func NewLink(client *Client, role Role, now func() int64) *Link {
	return &Link{client: client, now: now, role: role}
}

// Ping implements [engine.Absolute].
func (l *Link) Ping(ctx context.Context) (engine.Pulse, error) {
	pong, err := l.client.Ping(ctx)
	if err != nil {
		return engine.Pulse{}, err
	}
	return engine.Pulse{Generation: pong.Generation(), Seconds: pong.Time, Name: pong.Name, WooCommerce: pong.WooCommerce, Plugin: pong.Plugin}, nil
}

// States implements [engine.Absolute].
func (l *Link) States(ctx context.Context, skus []string) (map[string]engine.PeerState, error) {
	states, err := l.client.States(ctx, skus)
	if err != nil {
		return nil, err
	}
	out := make(map[string]engine.PeerState, len(states))
	for sku, s := range states {
		out[sku] = s.peer()
	}
	return out, nil
}

func (s State) peer() engine.PeerState {
	out := engine.PeerState{Exists: s.Exists, GID: s.GID, Managed: managed(s.Management), Unreadable: s.Quantity == nil,
		Backorders: s.Backorders, StockStatus: s.Status, LowStockAmount: low(s.LowStockAmount)}
	if s.Quantity != nil {
		out.Quantity = *s.Quantity
	}
	return out
}

// low leaves out 0: the plugin has no other word for an amount that is not set.
func low(n *int64) *int64 {
	if n == nil || *n == 0 {
		return nil
	}
	return n
}

func managed(m Management) engine.Managed {
	switch m {
	case NoManagement:
		return engine.Unmanaged
	case ParentManages:
		return engine.Shared
	}
	return engine.Own
}

// Inbound is the event as the engine takes it in.
func (e Event) Inbound() engine.PeerEvent {
	out := engine.PeerEvent{ID: e.ID, Rename: e.Type == TypeRename, Context: e.Context, Seconds: e.Time}
	for _, i := range e.Items {
		out.Items = append(out.Items, engine.PeerItem{GID: i.GID, SKU: i.SKU, OldSKU: i.OldSKU, Managed: managed(i.Management), Quantity: i.Quantity,
			Backorders: i.Backorders, StockStatus: i.Status, LowStockAmount: low(i.LowStockAmount), Version: i.Version})
	}
	return out
}

// Send implements [engine.Absolute]. Every event has all that generation 2 gives one; generation 1 ignores what it
// does not know.
func (l *Link) Send(ctx context.Context, e engine.PeerEvent) error {
	now := l.now()
	out := Event{Type: TypeStockState, Origin: "master_authoritative", Context: e.Context, ID: e.ID, OriginStoreID: l.client.o.StoreID,
		Time: now, CreatedAt: now, DeliveryAttempt: 1, SchemaVersion: 2}
	if l.role == RoleChild {
		out.Origin = "child_local"
	}
	if e.Rename {
		out.Type, out.Context = TypeRename, TypeRename
		if l.role == RoleMaster {
			out.Origin = "master"
		}
	}
	for _, i := range e.Items {
		item := Item{GID: i.GID, SKU: i.SKU, OldSKU: i.OldSKU, Quantity: i.Quantity, Status: i.StockStatus, Backorders: i.Backorders, LowStockAmount: i.LowStockAmount}
		switch {
		case e.Rename:
		case i.Managed == engine.Shared:
			item.Management = ParentManages
		case i.Managed == engine.Unmanaged:
			item.Management = NoManagement
		default:
			item.Management = ManagesStock
		}
		if l.role == RoleMaster {
			item.Version = i.Version
		}
		out.Items = append(out.Items, item)
	}
	return l.client.Send(ctx, out)
}

var _ engine.Absolute = (*Link)(nil)

package ledger

import (
	"context"
	"database/sql"
	"encoding/json"

	"stocksync.dev/stocksync/internal/stock"
)

// Offer is what the ledger knows of one SKU for a store that asks what it may sell.
type Offer struct {
	// Pool is the pool without its evidence about edits and renamings.
	Pool stock.Pool
	// Bound: the store has an item for it, and Blocked says why nothing is counted there; empty when nothing keeps it.
	// Enrolled: it has a baseline.
	Bound, Enrolled bool
	Blocked         string
	// Leading is Blocked of the master's item; empty where the master has none.
	Leading string
}

// Offers tells what is known of these SKUs for a store, all at one moment; those that no pool is for are left out. The
// question has a connection of its own and waits neither for Update nor for a long View: a buyer waits for the answer.
func (s *SQLite) Offers(ctx context.Context, master, store string, keys []stock.Key) (map[stock.Key]Offer, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	asked, err := json.Marshal(keys)
	if err != nil {
		return nil, err
	}
	var r *session
	select {
	case r = <-s.counter:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.closing:
		return nil, ErrClosed
	}
	defer func() { s.counter <- r }()
	r.reset()
	type row struct {
		key stock.Key
		Offer
	}
	// One statement is one moment; it needs no transaction around it.
	rows, err := list(r, func(from scanner) (o row, err error) {
		var blocked, leading sql.NullString
		var enrolled sql.NullBool
		var registers string
		err = from.Scan(&o.key, &o.Pool.ID, &o.Pool.SKU, &o.Pool.Units, &o.Pool.Set, &o.Pool.Stopped, &o.Pool.GID, &registers, &blocked, &enrolled, &leading)
		if err != nil {
			return row{}, err
		}
		o.Bound, o.Enrolled, o.Blocked, o.Leading = blocked.Valid, enrolled.Bool, blocked.String, leading.String
		return o, unpackOne(registers, &o.Pool.Registers)
	}, `SELECT keys.key, pools.id, pools.sku, units, is_set, stopped, gid, registers, own.blocked, own.enrolled, lead.blocked
		FROM json_each(?3) JOIN keys ON keys.key = value JOIN pools ON pools.id = keys.pool
		LEFT JOIN placements own ON own.store = ?2 AND own.pool = keys.pool
		LEFT JOIN placements lead ON lead.store = ?1 AND lead.pool = keys.pool`, master, store, string(asked))
	if err != nil {
		return nil, err
	}
	out := make(map[stock.Key]Offer, len(rows))
	for _, o := range rows {
		out[o.key] = o.Offer
	}
	return out, nil
}

// Offers is [SQLite.Offers].
func (m *Memory) Offers(_ context.Context, master, store string, keys []stock.Key) (map[stock.Key]Offer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[stock.Key]Offer{}
	for _, key := range keys {
		id, ok := m.keys[key]
		if !ok {
			continue
		}
		p := copyPool(m.pools[id])
		o := Offer{Pool: stock.Pool{ID: id, SKU: p.SKU, Units: p.Units, Set: p.Set, Stopped: p.Stopped, GID: p.GID, Registers: p.Registers}}
		if p, ok := m.store(store).placements[id]; ok {
			o.Bound, o.Enrolled, o.Blocked = true, p.Enrolled, p.Blocked
		}
		o.Leading = m.store(master).placements[id].Blocked
		out[key] = o
	}
	return out, nil
}

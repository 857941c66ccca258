package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/engine"
)

// plug is the plugin in a shop, as measured: it tells of changes by events and takes whole numbers. Generation 1 tells
// within the shopper's request, once for each trigger, and drops what follows a trigger of the same kind within two
// seconds; what does not arrive is gone, unless it is a master. Generation 2 collects what a request changed, reads it at
// the request's end and tells of it from a queue; what does not arrive is sent again, the same snapshot, for a day. Both
// remember an event's id before they act on it. A master of generation 1 sends every change back.
type plug struct {
	s          *shop
	generation int
	master     bool
	// ahead is by how much the shop's clock is.
	ahead time.Duration
	queue time.Duration

	triggered map[string]time.Time
	dirty     map[int64]bool
	seen      map[string]bool
	applied   map[int64]int64
	sent      int
	// read is when an answer was served that an agent took in, by item; serves are all of them by when they arrived.
	read   map[int64]time.Time
	serves map[int64]time.Time
	told   []*telling
}

// telling is an event about one item.
type telling struct {
	id       string
	object   int64
	quantity int64
	sku      string
	captured time.Time
	taken    bool // an agent has it for good
}

func (w *world) plug(s *shop, master bool) {
	s.plug = &plug{s: s, generation: 1 + w.rng.IntN(2), master: master, ahead: w.between(-20*time.Second, 20*time.Second), queue: w.between(time.Second, 90*time.Second),
		triggered: map[string]time.Time{}, dirty: map[int64]bool{}, seen: map[string]bool{}, applied: map[int64]int64{},
		read: map[int64]time.Time{}, serves: map[int64]time.Time{}}
	for object := range s.items {
		s.plug.applied[object] = w.rng.Int64N(1000) // of a master before
	}
}

// changed is what WordPress tells the plugin of.
func (p *plug) changed(object int64, triggers ...string) {
	w := p.s.w
	if p.generation == 1 {
		for _, t := range triggers {
			w.after(w.between(0, 60*time.Millisecond), func() {
				key := fmt.Sprint(t, object)
				if last, ok := p.triggered[key]; ok && w.now.Sub(last) < 2*time.Second {
					w.meet("debounced", p.s)
					return
				}
				p.triggered[key] = w.now
				p.tell([]*telling{p.capture(object)}, 1)
			})
		}
		return
	}
	first := len(p.dirty) == 0
	p.dirty[object] = true
	if first {
		w.after(w.between(20*time.Millisecond, 400*time.Millisecond), func() {
			var all []*telling
			for _, it := range p.s.sorted() {
				if p.dirty[it.ref.Product] {
					all = append(all, p.capture(it.ref.Product))
				}
			}
			clear(p.dirty)
			w.after(w.between(time.Second, p.queue+2*time.Second), func() { p.tell(all, 1) })
		})
	}
}

func (p *plug) capture(object int64) *telling {
	p.sent++
	t := &telling{id: fmt.Sprintf("%s-%d", p.s.id, p.sent), object: object, quantity: p.s.items[object].quantity, sku: p.s.items[object].sku, captured: p.s.w.now}
	p.told = append(p.told, t)
	return t
}

// tell sends an event to the agent that is up, and tries again where the plugin does.
func (p *plug) tell(all []*telling, attempt int) {
	w := p.s.w
	retry := func() {
		waits := []time.Duration{300 * time.Second, 900 * time.Second, 3600 * time.Second}
		if (p.generation == 2 || p.master) && attempt <= len(waits) {
			w.meet("old snapshot", p.s)
			w.after(waits[attempt-1], func() { p.tell(all, attempt+1) })
		}
	}
	if w.roll(w.faults.refuse) {
		w.meet("event lost", p.s)
		retry()
		return
	}
	answered := !w.roll(w.faults.cut)
	w.after(w.between(5*time.Millisecond, 60*time.Millisecond), func() {
		for _, a := range slices.Backward(w.agents) {
			if a.ctx.Err() != nil {
				continue
			}
			e := engine.PeerEvent{ID: all[0].id, Context: "stock_set", Seconds: all[0].captured.Add(p.ahead).Unix()}
			for _, t := range all {
				e.Items = append(e.Items, engine.PeerItem{GID: p.s.items[t.object].gid, SKU: t.sku, Quantity: &t.quantity})
			}
			seen, err := a.engine.Receive(a.ctx, p.s.id, e, w.now.Add(48*time.Hour))
			switch {
			case err == nil:
				for _, t := range all {
					t.taken = true
				}
				if seen {
					w.meet("event repeated", p.s)
				}
			default:
				answered = false
			}
			if !answered {
				retry()
			}
			return
		}
		retry()
	})
}

// trace tells whether anything tells of a change that was written over: an event that read the item in between.
func (p *plug) trace(c *change, over time.Time) bool {
	return slices.ContainsFunc(p.told, func(t *telling) bool {
		return t.object == c.object && t.taken && !t.captured.Before(c.at) && t.captured.Before(over)
	})
}

// wire is one agent's way to a plugin.
type wire struct{ link }

func (l *wire) Ping(ctx context.Context) (engine.Pulse, error) {
	p := engine.Pulse{Generation: l.s.plug.generation}
	_, err := l.call(ctx, false, func(reply func()) {
		p.Seconds = l.w.now.Add(l.s.plug.ahead).Unix()
		reply()
	})
	return p, err
}

func (l *wire) States(ctx context.Context, skus []string) (map[string]engine.PeerState, error) {
	states := map[string]engine.PeerState{}
	objects := map[int64]bool{}
	var served time.Time
	_, err := l.call(ctx, false, func(reply func()) {
		served = l.w.now
		for _, sku := range skus {
			states[sku] = engine.PeerState{}
			for _, it := range l.s.sorted() {
				if strings.EqualFold(it.sku, sku) {
					objects[it.ref.Product] = true
					gid := it.gid
					if l.s.plug.generation == 1 {
						gid = "" // it does not say
					}
					states[sku] = engine.PeerState{Exists: true, GID: gid, Managed: engine.Own, Quantity: it.quantity, Backorders: "no", StockStatus: "instock"}
				}
			}
		}
		l.w.after(20*time.Millisecond, reply)
	})
	if err != nil {
		return nil, err
	}
	for object := range objects {
		l.s.plug.read[object] = served
	}
	l.s.plug.serves[l.w.now.UnixMicro()] = served
	return states, nil
}

func (l *wire) Send(ctx context.Context, e engine.PeerEvent) error {
	if l.a.engine.DryRunning(l.s.id) {
		l.w.t.Errorf("%s was written to during a dry run", l.s.id)
	}
	l.w.writes = append(l.w.writes, write{l.w.now, l.s.id, l.a.ledgerID})
	death := -1
	if l.w.roll(l.w.faults.death) {
		death = l.w.rng.IntN(len(e.Items))
	}
	_, err := l.call(ctx, true, func(reply func()) {
		if l.s.plug.seen[e.ID] {
			reply()
			return
		}
		l.s.plug.seen[e.ID] = true
		l.apply(e, 0, death, reply)
	})
	return err
}

// find looks for an item as the plugin does: by id, by its SKU of before, by SKU.
func (p *plug) find(said engine.PeerItem) []*item {
	for _, is := range []func(*item) bool{
		func(it *item) bool { return said.GID != "" && it.gid == said.GID },
		func(it *item) bool { return said.OldSKU != "" && strings.EqualFold(it.sku, said.OldSKU) },
		func(it *item) bool { return strings.EqualFold(it.sku, said.SKU) },
	} {
		for _, it := range p.s.sorted() {
			if is(it) {
				return []*item{it}
			}
		}
	}
	return nil
}

// apply writes item by item over whatever is there.
func (l *wire) apply(e engine.PeerEvent, i, death int, reply func()) {
	w, p := l.w, l.s.plug
	if i == len(e.Items) {
		reply()
		return
	}
	if i == death {
		w.meet("death", l.s)
		return
	}
	lock := time.Duration(0)
	if w.roll(w.faults.lock) {
		lock = w.between(time.Second, 99*time.Second)
		w.meet("lock", l.s)
	}
	w.after(w.between(5*time.Millisecond, 25*time.Millisecond)+lock, func() {
		in := e.Items[i]
		for _, it := range p.find(in) {
			if in.GID != "" {
				it.gid = in.GID
			}
			if e.Rename {
				if other := l.s.holder(in.SKU); other == nil {
					it.sku = in.SKU
					w.meet("renamed", l.s)
				} else if other != it {
					w.meet("SKU refused", l.s) // logged there, and told to nobody
				}
				continue
			}
			object := it.ref.Product
			if p.generation == 2 && in.Version != nil && !p.master {
				if *in.Version > 0 && *in.Version <= p.applied[object] {
					w.meet("fenced off", l.s)
					continue
				}
				p.applied[object] = *in.Version
			}
			if in.Quantity == nil {
				continue
			}
			for c := range l.s.own {
				if c := &l.s.own[c]; c.object == object && c.over.IsZero() && c.at.After(p.read[object]) {
					c.over = w.now
					w.meet("overwritten", l.s)
				}
			}
			if w.tell {
				fmt.Printf("%s %s %s: %d written over %d, %s\n", w.now.Format("15:04:05.000"), l.s.id, it.sku, *in.Quantity, it.quantity, e.ID[len(e.ID)-6:])
			}
			it.quantity = *in.Quantity
			if p.master && p.generation == 1 {
				// It comes back to whoever sent it, under the same id.
				w.meet("echo", l.s)
				echo := *in.Quantity
				w.after(w.between(5*time.Millisecond, 60*time.Millisecond), func() {
					for _, a := range w.agents {
						if a.ctx.Err() == nil {
							_, _ = a.engine.Receive(a.ctx, l.s.id, engine.PeerEvent{ID: e.ID, Seconds: w.now.Add(p.ahead).Unix(),
								Items: []engine.PeerItem{{SKU: it.sku, Quantity: &echo}}}, w.now.Add(48*time.Hour))
						}
					}
				})
			}
		}
		l.apply(e, i+1, death, reply)
	})
}

var _ engine.Absolute = (*wire)(nil)

// run2 lets time pass while a request is under way.
func (w *world) run2(d time.Duration) { w.block(func(wake func()) { w.after(d, wake) }) }

// reconciled runs a reconcile and tells how many it found to differ.
func (w *world) reconciled(a *agent, strategy agentapi.Strategy) int {
	r, err := a.engine.StartRun(context.Background(), agentapi.RunRequest{Kind: agentapi.KindReconcile, Strategy: strategy})
	if err != nil {
		w.t.Error(err)
	}
	w.run(w.now.Add(20 * time.Minute))
	if r, err = a.engine.GetRun(context.Background(), r.ID); err != nil || r.State != agentapi.Succeeded {
		w.t.Errorf("%s: %+v %v", strategy, r, err)
	}
	differing := 0
	for _, s := range r.Stores {
		differing += s.Differing
	}
	return differing
}

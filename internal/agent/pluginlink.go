package agent

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/driver/httpfault"
	"stocksync.dev/stocksync/internal/driver/kitgenix"
	"stocksync.dev/stocksync/internal/driver/woocommerce"
	"stocksync.dev/stocksync/internal/engine"
)

const (
	// pingEvery is how often a plugin is asked for its health, first at once; firstPing is the wait after the first
	// failure, then longer each time.
	pingEvery = 15 * time.Minute
	firstPing = time.Minute
	// pluginConnections are kept open to a plugin.
	pluginConnections = 2
)

// pluginLink is the way to a store's plugin. It notes what becomes of every request.
type pluginLink struct {
	self   Identity
	client *kitgenix.Client
	link   *kitgenix.Link
	close  func()
	clock  engine.Clock
	log    logr.Logger
	state  *pluginState
	// save keeps what is known of the connection.
	save func(contact)
	// observe counts requests; it may be nil.
	observe func(write bool, took time.Duration, err error)
	wake    engine.Signal
}

// Observe has requests counted.
func (l *pluginLink) Observe(fn func(write bool, took time.Duration, err error)) { l.observe = fn }

func (l *pluginLink) note(ctx context.Context, write bool, sent time.Time, err error) {
	now := l.clock.Now()
	if l.observe != nil {
		l.observe(write, now.Sub(sent), err)
	}
	f, failed := errors.AsType[*engine.Fault](err)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		l.state.answered(now)
	case failed:
		if l.state.failed(f, now) {
			l.log.Info("the plugin cannot be spoken to", "reason", f.Reason, "message", f.Message)
		}
	}
}

// Ping implements [engine.Absolute].
func (l *pluginLink) Ping(ctx context.Context) (engine.Pulse, error) {
	sent := l.clock.Now()
	pulse, err := l.link.Ping(ctx)
	l.note(ctx, false, sent, err)
	if err == nil {
		l.state.ponged(pulse, sent, l.clock.Now())
	}
	if ctx.Err() == nil {
		known, _, _ := l.state.snapshot()
		l.save(known)
	}
	return pulse, err
}

// States implements [engine.Absolute].
func (l *pluginLink) States(ctx context.Context, skus []string) (map[string]engine.PeerState, error) {
	sent := l.clock.Now()
	states, err := l.link.States(ctx, skus)
	l.note(ctx, false, sent, err)
	return states, err
}

// Send implements [engine.Absolute].
func (l *pluginLink) Send(ctx context.Context, e engine.PeerEvent) error {
	sent := l.clock.Now()
	err := l.link.Send(ctx, e)
	l.note(ctx, true, sent, err)
	return err
}

// run pings until ctx is done. It is for a store whose lane speaks to another way in.
func (l *pluginLink) run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		wait := pingEvery
		if _, err := l.Ping(ctx); err != nil {
			wait = min(pingEvery, firstPing<<min(failures, 8))
			failures++
			if f, ok := errors.AsType[*engine.Fault](err); ok {
				wait = max(wait, f.RetryAfter)
			}
		} else {
			failures = 0
		}
		l.wake.Wait(ctx, l.clock.Now().Add(wait))
	}
}

// sameLink tells that two settings need no other link. Another secret does: whoever waits because the one before was
// refused tries at once.
func sameLink(a, b *Kitgenix) bool {
	return a.URL == b.URL && a.Insecure == b.Insecure && a.RemoteStoreID == b.RemoteStoreID && a.CABundle == b.CABundle && slices.Equal(a.Secrets, b.Secrets)
}

// dialPlugin makes the link to a store's plugin; it sends nothing.
func (a *Agent) dialPlugin(st Store, self Identity, state *pluginState) (*pluginLink, error) {
	k := st.Settings.Kitgenix
	u, err := url.Parse(k.URL)
	if err != nil {
		return nil, errors.New("the plugin's URL cannot be used")
	}
	transport, err := httpfault.Transport([]byte(k.CABundle), pluginConnections)
	if err != nil {
		return nil, err
	}
	ours, theirs := kitgenix.RoleMaster, kitgenix.RoleChild
	if st.Master {
		ours, theirs = theirs, ours
	}
	secrets := secretsOf(k)
	client := kitgenix.NewClient(kitgenix.Options{URL: u, StoreID: self.StoreID, RemoteStoreID: k.RemoteStoreID, RemoteRole: theirs,
		Secrets: func() []kitgenix.Secret { return secrets }, HTTP: transport, Now: a.clock.Now, UserAgent: "StockSync/" + a.o.Version,
		Log: a.log.WithName("kitgenix").WithValues("store", st.ID)})
	return &pluginLink{self: self, client: client, link: kitgenix.NewLink(client, ours, func() int64 { return a.clock.Now().Unix() }), close: transport.CloseIdleConnections,
		clock: a.clock, log: a.log.WithName("kitgenix").WithValues("store", st.ID), state: state, wake: a.clock.NewSignal(),
		save: func(c contact) { a.saveContact(st.ID, c) }}, nil
}

func secretsOf(k *Kitgenix) []kitgenix.Secret {
	out := make([]kitgenix.Secret, len(k.Secrets))
	for i, s := range k.Secrets {
		out[i] = kitgenix.Secret{Value: string(s.Value), Until: s.Until}
	}
	return out
}

// valueContact holds, per store, what is known of the plugin's connection; valueHeard when the master was last heard.
const (
	valueContact = "plugin"
	valueHeard   = "heard"
)

// saveContact keeps what is known of a plugin's connection over a restart. Nothing that counts stock rests on it.
func (a *Agent) saveContact(store string, c contact) {
	text, err := json.Marshal(c)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), tellWithin)
		defer cancel()
		err = a.ledger.Update(ctx, func(tx engine.Tx) error { return tx.SetValue(store, valueContact, string(text)) })
	}
	if err != nil {
		a.log.V(1).Info("a plugin's health could not be kept", "store", store, "cause", err.Error())
	}
}

// pluginState is what is known of a store's plugin, by this process or one before.
func (a *Agent) pluginState(ctx context.Context, store, remote string) *pluginState {
	state, fresh := a.plugins.state(store, remote)
	if !fresh {
		return state
	}
	err := a.ledger.View(ctx, func(tx engine.Tx) error {
		text, err := tx.Value(store, valueContact)
		if err != nil || text == "" {
			return err
		}
		var c contact
		if json.Unmarshal([]byte(text), &c) == nil && c.Remote == remote {
			state.restore(c)
		}
		return nil
	})
	if err != nil {
		a.log.V(1).Info("a plugin's health could not be found", "store", store, "cause", err.Error())
	}
	return state
}

// link gives a store the link to its plugin, nil where it has none; one that would be the same is kept.
func (a *Agent) link(ctx context.Context, old *running, st Store, self Identity) (*pluginLink, error) {
	k := st.Settings.Kitgenix
	if k == nil {
		return nil, nil
	}
	if old != nil && old.link != nil && old.link.self == self && sameLink(old.store.Settings.Kitgenix, k) {
		return old.link, nil
	}
	l, err := a.dialPlugin(st, self, a.pluginState(ctx, st.ID, k.RemoteStoreID))
	if err == nil {
		l.Observe(func(write bool, took time.Duration, err error) { a.metrics.requested(st.ID, write, took, err) })
	}
	return l, err
}

// pluginAlone tells that the plugin is the only way into a store.
func (s *Settings) pluginAlone() bool {
	return s != nil && s.Kitgenix != nil && s.WooCommerce.URL == ""
}

// askAgain asks a plugin that has refused us anew: it signs rightly, so what was wrong may be mended.
func (a *Agent) askAgain(store string) {
	a.mu.Lock()
	r := a.shops[store]
	a.mu.Unlock()
	if r == nil || r.link == nil {
		return
	}
	r.link.wake.Set()
	if r.store.Settings.pluginAlone() {
		_ = a.engine.Retry(store) // it may have left just now
	}
}

// heard is when a store last answered, or its plugin last asked, in this process or one before.
func (a *Agent) heard(store string) time.Time {
	at := a.engine.LastSeen(store)
	a.plugins.mu.RLock()
	state := a.plugins.states[store]
	a.plugins.mu.RUnlock()
	if state != nil {
		known, _, _ := state.snapshot()
		at = later(at, later(known.Asked, known.Answered))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.conf.Stores) > 0 && store == a.conf.Stores[0].ID {
		at = later(at, a.masterHeard)
	}
	return at
}

// keepHeard is how often it is noted that the master was heard, where a plugin may ask at checkout.
const keepHeard = time.Minute

// noteMaster notes now and then when the master was last heard, so that a restart while it is unreachable does not make it
// look as if it never was there.
func (a *Agent) noteMaster(ctx context.Context) {
	timer := a.clock.NewSignal()
	for ctx.Err() == nil {
		timer.Wait(ctx, a.clock.Now().Add(keepHeard))
		a.mu.Lock()
		conf, known := a.conf, a.masterHeard
		a.mu.Unlock()
		if len(conf.Stores) == 0 || !slices.ContainsFunc(conf.Stores, func(st Store) bool { return st.Settings != nil && st.Settings.Kitgenix != nil }) {
			continue
		}
		master := conf.Stores[0].ID
		at := a.heard(master)
		if at.Sub(known) < keepHeard {
			continue
		}
		err := a.ledger.Update(ctx, func(tx engine.Tx) error { return tx.SetValue(master, valueHeard, at.UTC().Format(time.RFC3339Nano)) })
		if err != nil {
			continue // the next minute
		}
		a.mu.Lock()
		if a.conf.Stores[0].ID == master {
			a.masterHeard = at
		}
		a.mu.Unlock()
	}
}

// heardBefore is when a process before last heard the master.
func (a *Agent) heardBefore(ctx context.Context, master string) (at time.Time, err error) {
	err = a.ledger.View(ctx, func(tx engine.Tx) error {
		text, err := tx.Value(master, valueHeard)
		if err == nil && text != "" {
			at, err = time.Parse(time.RFC3339Nano, text)
		}
		return err
	})
	return at, err
}

// pluginShop stands where a store has no REST key: everything about it is asked of its plugin.
type pluginShop struct {
	unusable
	link *pluginLink
}

func newPluginShop(link *pluginLink) pluginShop {
	return pluginShop{unusable{&engine.Fault{Reason: v1alpha1.ReasonInvalidConfiguration, Message: "the store has no REST key", Unsent: true}}, link}
}

// Versions are those the plugin told.
func (s pluginShop) Versions(context.Context) (woocommerce.Versions, error) {
	known, _, _ := s.link.state.snapshot()
	return woocommerce.Versions{WooCommerce: known.Pulse.WooCommerce}, nil
}

// Probe tests the connection to the plugin.
func (s pluginShop) Probe(ctx context.Context) []agentapi.PingCheck { return s.link.client.Probe(ctx) }

// Close ends idle connections.
func (s pluginShop) Close() { s.link.close() }

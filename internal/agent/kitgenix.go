package agent

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"

	"stocksync.dev/stocksync/internal/driver/kitgenix"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

const (
	// maxPluginBodies is how many bodies of plugins are read at a time, over all stores, 2 MiB at most each.
	maxPluginBodies = 16
	// pluginVersion is the generation the agent speaks as, in the plugin's own form.
	pluginVersion = "2.0.0"
)

// plugin is the Kitgenix plugin of one store, as configured. It does not change.
type plugin struct {
	store  string
	master bool
	mode   engine.Mode
	// remote is the id in the headers of its requests.
	remote  string
	secrets []kitgenix.Secret
	// excluded and policy are those of the store.
	excluded func(stock.Key) bool
	policy   stock.Policy
	checkout Checkout
}

// offers is what the ledger tells of SKUs.
type offers interface {
	Offers(ctx context.Context, master, store string, keys []stock.Key) (map[stock.Key]ledger.Offer, error)
}

// plugins is what the Kitgenix plugins of all stores speak to: a master to those of children, a child to that of the
// master. Which one is told by the id and the signature of a request.
type plugins struct {
	ledger offers
	nonces *nonces
	now    func() time.Time
	log    logr.Logger
	// receive takes an event in, durably.
	receive func(ctx context.Context, store string, e engine.PeerEvent, seenUntil time.Time) (seen bool, err error)
	// alive is told which store an event came from.
	alive func(store string)
	// heard is when a store last answered.
	heard func(store string) time.Time
	// again is told that a plugin which refused our signature signs rightly itself, so that it is asked again at once.
	again func(store string)
	count func(store, route, outcome string)
	// validated counts the questions at checkout by how they were answered.
	validated func(store string, how answered)

	server   *kitgenix.Server
	reading  crowd
	unsigned *rate.Limiter

	mu       sync.RWMutex
	id       string
	name     string
	master   string // its storeID
	byRemote map[string]*plugin
	states   map[string]*pluginState // by store
}

// pluginsConfig is what the configuration says of all plugins together.
type pluginsConfig struct {
	id, name, master string
	plugins          []*plugin
}

// serve makes the server; what it needs is set before.
func (ps *plugins) serve() {
	ps.reading, ps.unsigned = crowd{max: maxPluginBodies}, rate.NewLimiter(unsignedPerSecond, unsignedBurst)
	ps.byRemote, ps.states = map[string]*plugin{}, map[string]*pluginState{}
	ps.server = kitgenix.NewServer(ps, ps.now, ps.log, ps.reading.enter)
}

// configure puts a configuration into use. What is known of plugins that stay is kept.
func (ps *plugins) configure(c pluginsConfig) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.id, ps.name, ps.master = c.id, c.name, c.master
	states := map[string]*pluginState{}
	ps.byRemote = map[string]*plugin{}
	for _, p := range c.plugins {
		ps.byRemote[p.remote] = p
		states[p.store] = ps.states[p.store]
	}
	ps.states = states
}

// state is what is known of the plugin of a store; fresh that nothing was known of it in this process.
func (ps *plugins) state(store, remote string) (s *pluginState, fresh bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	s = ps.states[store]
	if fresh = s == nil || s.remote != remote; fresh {
		s = &pluginState{remote: remote}
		ps.states[store] = s
	}
	return s, fresh
}

// mount serves the plugin's routes where some store has the plugin, and everything else by next.
func (ps *plugins) mount(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ps.mu.RLock()
		some := len(ps.byRemote) > 0
		ps.mu.RUnlock()
		if path := r.URL.Path; some && (path == kitgenix.Root || strings.HasPrefix(path, kitgenix.Root+"/")) {
			ps.server.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (ps *plugins) of(peer kitgenix.Peer) (*plugin, *pluginState) {
	ps.mu.RLock()
	defer ps.mu.RUnlock()
	p := ps.byRemote[peer.StoreID]
	if p == nil {
		return nil, nil
	}
	return p, ps.states[p.store]
}

// Peer implements [kitgenix.Hub].
func (ps *plugins) Peer(storeID string) (kitgenix.Peer, bool) {
	ps.mu.RLock()
	defer ps.mu.RUnlock()
	p := ps.byRemote[storeID]
	if p == nil {
		return kitgenix.Peer{}, false
	}
	return kitgenix.Peer{StoreID: storeID, Secrets: p.secrets, Off: p.mode == engine.Off}, true
}

// Pong implements [kitgenix.Hub]. To a plugin that is the master, the agent is one of its children.
func (ps *plugins) Pong(peer kitgenix.Peer) kitgenix.Pong {
	p, _ := ps.of(peer)
	ps.mu.RLock()
	defer ps.mu.RUnlock()
	role := kitgenix.RoleMaster
	if p != nil && p.master {
		role = kitgenix.RoleChild
	}
	return kitgenix.Pong{StoreID: ps.id, Name: ps.name, Role: role, Plugin: pluginVersion}
}

// Remember implements [kitgenix.Hub].
func (ps *plugins) Remember(ctx context.Context, text string, until time.Time, durable bool) (bool, error) {
	return ps.nonces.fresh(ctx, text, until, durable)
}

// Event implements [kitgenix.Hub].
func (ps *plugins) Event(ctx context.Context, peer kitgenix.Peer, id string, seenUntil time.Time, e kitgenix.Event) (bool, error) {
	p, state := ps.of(peer)
	if p == nil {
		return false, errPluginLeft
	}
	e.ID = id
	seen, err := ps.receive(ctx, p.store, e.Inbound(), seenUntil)
	if err == nil {
		state.received(ps.now())
		ps.alive(p.store)
	}
	return seen, err
}

// Stock implements [kitgenix.Hub].
func (ps *plugins) Stock(ctx context.Context, peer kitgenix.Peer, skus []string) (map[string]kitgenix.State, error) {
	p, state := ps.of(peer)
	if p == nil {
		return nil, errPluginLeft
	}
	states, how, err := ps.validate(ctx, p, skus)
	if err != nil {
		return nil, err
	}
	ps.validated(p.store, how)
	if now := ps.now(); state.checked(how, now) {
		ps.log.Info("the master is unreachable, and a checkout was answered as `checkoutValidation` says", "store", p.store, "answered", string(how))
	}
	return states, nil
}

// States implements [kitgenix.Hub].
func (ps *plugins) States(ctx context.Context, peer kitgenix.Peer, skus []string) (map[string]kitgenix.State, error) {
	p, _ := ps.of(peer)
	if p == nil {
		return nil, errPluginLeft
	}
	return ps.statesOf(ctx, p, skus)
}

// Refused implements [kitgenix.Hub].
func (ps *plugins) Refused(storeID string, cause error) bool {
	if !ps.unsigned.AllowN(ps.now(), 1) {
		return false
	}
	if p, state := ps.of(kitgenix.Peer{StoreID: storeID}); p != nil {
		state.turnedAway(cause, ps.now())
	}
	return true
}

// Count implements [kitgenix.Hub].
func (ps *plugins) Count(peer, route, outcome string) {
	store := ""
	if p, state := ps.of(kitgenix.Peer{StoreID: peer}); p != nil {
		store = p.store
		if state.asked(ps.now()) {
			ps.again(store)
		}
	}
	ps.count(store, route, outcome)
}

// pluginsOf is what a configuration says of the plugins in use.
func pluginsOf(conf Config) pluginsConfig {
	c := pluginsConfig{id: conf.Identity.StoreID, name: conf.Identity.Name, master: conf.Stores[0].ID}
	for _, st := range conf.Stores {
		if st.Settings == nil || st.Settings.Kitgenix == nil {
			continue
		}
		k := st.Settings.Kitgenix
		c.plugins = append(c.plugins, &plugin{store: st.ID, master: st.Master, mode: st.Mode, remote: k.RemoteStoreID, secrets: secretsOf(k),
			excluded: st.Settings.Exclusions.Excludes, policy: st.Settings.Policy, checkout: st.Settings.Checkout})
	}
	return c
}

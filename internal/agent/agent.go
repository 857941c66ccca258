package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/event"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

const (
	// The history answers "why is it 7?" for this long and this many rows.
	keepHistory     = 90 * 24 * time.Hour
	keepHistoryRows = 2_000_000
	pruneEvery      = 24 * time.Hour
	firstPrune      = 10 * time.Minute
	// statusFor is how long a status is served again; lookEvery is how often what Observe would change is
	// counted, which takes a look at every placement; lookSoon while catalogues are still being read.
	statusFor = time.Second
	lookEvery = 30 * time.Second
	lookSoon  = 2 * time.Second
	// stopWithin bounds how long requests under way are waited for at the end.
	stopWithin = 5 * time.Second
)

// Options say where the agent finds and serves what.
type Options struct {
	// Config is a YAML file, or a directory that holds [agentapi.ConfigFile].
	Config string
	// DataDir holds the ledger and the socket of `agent status` and its like.
	DataDir string
	// LedgerIDFile holds the ledger's id; empty lets the ledger make one.
	LedgerIDFile string
	// PrivateDir holds certificate and token of the private port; empty: there is no private port.
	PrivateDir string
	// Addresses to listen on; an empty one is not listened on.
	PublicAddr, PrivateAddr, MetricsAddr string
	// Version of the binary.
	Version string
	Log     logr.Logger
	// Verbosity is told how much the configuration wants logged; nil: what the flag says. It may be nil itself.
	Verbosity func(*int)
	// Dial makes the client of a store, DialSource that of a source of stock.
	Dial       func(Store) (Shop, error)
	DialSource func(Store) (Source, error)

	// Listening is told the addresses that were bound, by name: public, private, metrics. It may be nil.
	Listening func(map[string]net.Addr)
	// Space measures the file system of a directory; nil: [ledger.Space].
	Space func(dir string) (capacity, free int64, err error)
	// Changes tells that the configuration may have changed; nil: the files are watched.
	Changes <-chan struct{}
}

// Ledger is the durable state of an agent.
type Ledger interface {
	engine.Ledger
	ID(ctx context.Context, given string) (string, error)
	Conflicts(ctx context.Context) ([]ledger.Row, error)
	ResolveConflicts(ctx context.Context, ids ...int64) error
	History(ctx context.Context, pool int64, limit int) ([]ledger.Row, error)
	Events(ctx context.Context, q ledger.EventQuery) ([]ledger.Row, error)
	Prune(ctx context.Context, olderThan time.Time, maxRows int) (int, error)
	Totals(ctx context.Context) (ledger.Totals, error)
	Exposure(ctx context.Context) (map[string]int64, error)
	Offers(ctx context.Context, master, store string, keys []stock.Key) (map[stock.Key]ledger.Offer, error)
	Nonces(ctx context.Context, now time.Time) ([]ledger.Nonce, error)
	KeepNonces(ctx context.Context, now time.Time, nonces []ledger.Nonce) error
}

// Agent keeps the stores of one topology on one stock.
type Agent struct {
	o        Options
	log      logr.Logger
	clock    engine.Clock
	ledger   Ledger
	original Ledger // ledger before its calls are counted
	ledgerID string
	engine   *engine.Engine
	runs     runner // the engine
	receiver *receiver
	plugins  *plugins
	metrics  *metrics
	started  time.Time
	removing sync.WaitGroup

	// copying is held while the ledger is copied for a backup.
	copying sync.Mutex
	// applying is held while a configuration is put into use.
	applying sync.Mutex

	mu    sync.Mutex
	conf  Config
	shops map[string]*running
	// masterHeard is when the master was last heard, as far as the ledger knows.
	masterHeard time.Time
	stream      string // what conf was read from
	revision    string
	// refused says why the newest stream, or some of its documents, are not in use; failed that it is none of it.
	refused  string
	failed   bool
	loaded   bool
	previews map[string]preview
	looking  engine.Signal
	// heeding wakes who looks at what annotations ask for.
	heeding engine.Signal

	// asking is held while a status is made.
	asking    sync.Mutex
	sinces    sinces
	cached    agentapi.Status
	cachedAt  time.Time
	cachedFor string
}

// running is a store in use. It does not change once it is in use.
type running struct {
	store Store
	// shop is the store's client; nil where account is set, which is that of a source.
	shop    Shop
	account *account
	// link is the way to its Kitgenix plugin; nil where it has none.
	link   *pluginLink
	keeper *keeper
	stop   context.CancelFunc
	// done is closed when the keeper has ended.
	done chan struct{}
}

// New makes an agent over an open ledger. It reads and writes nothing but the ledger's id before Run.
func New(ctx context.Context, o Options, l Ledger, clock engine.Clock) (*Agent, error) {
	given := ""
	if o.LedgerIDFile != "" {
		text, err := readFile(o.LedgerIDFile, 4096)
		if err != nil {
			return nil, fmt.Errorf("read the ledger's id (--ledger-id-file): %w", err)
		}
		given = strings.TrimSpace(string(text))
	}
	id, err := l.ID(ctx, given)
	if err != nil {
		return nil, err
	}
	if o.Verbosity == nil {
		o.Verbosity = func(*int) {}
	}
	if o.Space == nil {
		o.Space = ledger.Space
	}
	a := &Agent{o: o, log: o.Log, clock: clock, ledgerID: id, started: clock.Now(),
		shops: map[string]*running{}, sinces: sinces{}, looking: clock.NewSignal(), heeding: clock.NewSignal()}
	a.metrics = newMetrics(o.Version, &statusCollector{status: a.Status, exposure: l.Exposure, log: o.Log})
	a.ledger, a.original = countingLedger{l, a.metrics, o.Log.WithName("sku")}, l
	a.engine = engine.New(a.ledger, id, clock, o.Log.WithName("engine"))
	a.engine.Observe(observer{a})
	a.runs = a.engine
	remembered, err := newNonces(ctx, l, clock, o.Log.WithName("kitgenix"))
	if err != nil {
		return nil, err
	}
	a.plugins = &plugins{ledger: l, nonces: remembered, now: clock.Now, log: o.Log.WithName("kitgenix"), receive: a.engine.Receive, alive: a.engine.Alive,
		heard: a.heard, again: a.askAgain, count: a.metrics.pluginAsked, validated: a.metrics.validated}
	a.plugins.serve()
	a.receiver = newReceiver(id, clock.Now, hearing{
		hint: a.engine.Hint, sourceHint: func(_ string, e engine.SourceEvent) { a.engine.SourceHint(e) }, alive: a.engine.Alive, count: a.metrics.delivered,
	}, o.Log.WithName("webhooks"))
	return a, nil
}

// LedgerID is the id in every marker this agent writes.
func (a *Agent) LedgerID() string { return a.ledgerID }

// Run serves and syncs until ctx is done, and returns when everything has stopped. An error means that it
// could not start, or that a listener failed.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	defer all.Wait()
	defer a.removing.Wait()

	servers, err := a.listen(ctx)
	if err != nil {
		return err
	}
	for _, s := range servers {
		all.Go(func() {
			if err := s.serve(); !errors.Is(err, http.ErrServerClosed) {
				cancel(fmt.Errorf("the %s port failed: %w", s.name, err))
			}
		})
	}
	defer func() {
		// Requests under way are answered, then the lanes may stop.
		stopping, done := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer done()
		for _, s := range servers {
			if s.server.Shutdown(stopping) != nil {
				_ = s.server.Close()
			}
		}
		// Those of the last requests.
		if err := a.plugins.nonces.write(stopping); err != nil {
			a.log.Error(err, "the last nonces could not be written")
		}
	}()
	src := source{a.o.Config}
	if err := a.load(ctx, src); err != nil && a.o.PrivateDir == "" {
		// Nobody would ask for the status; a person is looking at the terminal.
		return fmt.Errorf("the configuration cannot be used: %w", err)
	}
	a.tell(stock.Entry{Kind: event.Started, Evidence: "version " + a.o.Version})
	all.Go(func() {
		if err := a.engine.Run(ctx); err != nil {
			cancel(fmt.Errorf("the engine stopped: %w", err))
		}
	})
	changes := a.o.Changes
	if changes == nil {
		changes = src.watch(ctx, a.log)
	}
	all.Go(func() { a.prune(ctx) })
	all.Go(func() { a.look(ctx) })
	all.Go(func() { a.heed(ctx) })
	all.Go(func() { a.noteMaster(ctx) })
	all.Go(func() { a.plugins.nonces.run(ctx) })
	a.log.Info("the agent runs", "version", a.o.Version, "ledger", a.ledgerID)
	for {
		select {
		case <-ctx.Done():
			a.applying.Lock()
			for _, r := range a.shops {
				r.halt()
			}
			a.applying.Unlock()
			a.log.Info("the agent stops")
			if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		case <-changes:
			// The reason is in the log and the status.
			_ = a.load(ctx, src)
		}
	}
}

// prune keeps the history from growing without end.
func (a *Agent) prune(ctx context.Context) {
	timer := a.clock.NewSignal()
	for wait := firstPrune; ; wait = pruneEvery {
		timer.Wait(ctx, a.clock.Now().Add(wait))
		if ctx.Err() != nil {
			return
		}
		if _, err := a.ledger.Prune(ctx, a.clock.Now().Add(-keepHistory), keepHistoryRows); err != nil && ctx.Err() == nil {
			a.log.Error(err, "old history could not be deleted; it is tried again tomorrow")
		}
	}
}

// look counts, now and then, what the stores in mode Observe show otherwise than they would in Sync.
func (a *Agent) look(ctx context.Context) {
	for ctx.Err() == nil {
		a.mu.Lock()
		conf := a.conf
		a.mu.Unlock()
		previews, all, err := a.lookAhead(ctx, conf)
		if err != nil && ctx.Err() == nil {
			a.log.Error(err, "the ledger could not be read for mode Observe")
		}
		a.mu.Lock()
		a.previews = previews
		a.mu.Unlock()
		wait := lookEvery
		if !all {
			wait = lookSoon
		}
		a.looking.Wait(ctx, a.clock.Now().Add(wait))
	}
}

// load looks at the configuration and puts it into use if it is new.
func (a *Agent) load(ctx context.Context, src source) error {
	a.applying.Lock()
	defer a.applying.Unlock()
	stream, revision, err := src.read()
	a.mu.Lock()
	current := err == nil && a.loaded && !a.failed && string(stream) == a.stream && revision == a.revision
	a.mu.Unlock()
	if current {
		return nil
	}
	var conf Config
	if err == nil {
		conf, err = Parse(stream)
	}
	if err == nil {
		err = a.apply(ctx, conf)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var told []stock.Entry
	defer func() { a.tell(told...) }()
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		if a.refused != err.Error() {
			a.metrics.reloads.WithLabelValues(reloadRefused).Inc()
			told = append(told, stock.Entry{Kind: event.ConfigRefused, Evidence: err.Error()})
			a.log.Error(err, "the new configuration is not used; the one before stays in use", "revision", revision)
		}
		a.refused, a.failed = err.Error(), true
		return err
	}
	a.stream, a.revision, a.loaded, a.failed = string(stream), revision, true, false
	a.refused = strings.Join(conf.Problems, "; ")
	a.metrics.reloads.WithLabelValues(reloadApplied).Inc()
	told = toldOf(conf, revision)
	a.o.Verbosity(conf.Requests.LogVerbosity)
	a.log.Info("configuration in use", "revision", revision, "topology", conf.Topology, "stores", len(conf.Stores))
	for _, p := range conf.Problems {
		a.log.Info("a document is not used", "problem", p)
	}
	for _, s := range conf.Stores {
		if s.Invalid != nil {
			a.log.Info("a store's configuration is not used", "store", s.ID, "reason", s.Invalid.Reason, "message", s.Invalid.Message, "lastGoodInUse", a.shops[s.ID].store.Settings != nil)
		}
	}
	return nil
}

// apply puts a configuration into use: stores that did not change are not disturbed. Only a full or broken
// ledger can refuse it; then it is tried again with the next look at the files.
func (a *Agent) apply(ctx context.Context, next Config) error {
	a.mu.Lock()
	before, old := a.conf, a.shops
	a.mu.Unlock()
	conf := next.Keep(before)
	shops := map[string]*running{}
	changed := len(conf.Stores) != len(old)
	var list []engine.Store
	var source *engine.SourceStore
	accounts := map[string]*account{}
	for _, st := range conf.Stores {
		r := old[st.ID]
		// Why a store's newest documents are not used makes no difference to how it runs.
		if r == nil || !sameStore(r.store, st) || (r.link != nil && r.link.self != conf.Identity) {
			changed = true
			if conf.Sourced && st.Master {
				r = a.dialSource(r, st)
			} else {
				r = a.dial(ctx, r, st, conf.Identity)
			}
		}
		shops[st.ID] = r
		a.metrics.know(st.ID)
		if st.Settings != nil && st.Settings.Kitgenix != nil {
			a.metrics.knowPlugin(st.ID)
		}
		if r.account != nil {
			source, accounts[st.ID] = engineSource(st, r.account.Source), r.account
			continue
		}
		e := engineStore(st, r)
		if conf.Sourced {
			e.Source = sourceTerms(st)
		}
		list = append(list, e)
	}
	heard, err := a.heardBefore(ctx, conf.Stores[0].ID)
	if err != nil {
		return err
	}
	a.engine.SetLimits(engine.Limits{LagObjective: conf.LagObjective, Breaker: conf.Breaker})
	if changed {
		a.engine.SetSource(source)
		if err := a.engine.Configure(ctx, list); err != nil {
			return fmt.Errorf("the ledger could not take the configuration in: %w", err)
		}
	}
	deaf := map[string]bool{}
	for id, r := range shops {
		deaf[id] = r.store.Mode == engine.Off
		url := r.deliveryURL(conf.PublicURL)
		was := old[id]
		if was == r && r.keeper.url == url {
			continue
		}
		state := hooks{}
		if was != nil {
			state = was.retire(url, r.store.Mode == engine.Sync, &a.removing)
			if was.shop != r.shop || was.account != r.account {
				was.close()
			}
		}
		shops[id] = a.keep(ctx, &running{store: r.store, shop: r.shop, link: r.link, account: r.account}, url, state)
	}
	for id, was := range old {
		if shops[id] == nil {
			was.retire("", true, &a.removing)
			a.metrics.forget(id)
		}
	}
	a.receiver.configure(deaf, accounts)
	a.plugins.configure(pluginsOf(conf))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conf, a.shops, a.masterHeard = conf, shops, heard
	a.looking.Set()
	a.heeding.Set()
	return nil
}

// deliveryURL is where the store's webhooks are to be delivered; empty when none are wanted.
func (r *running) deliveryURL(publicURL string) string {
	switch {
	case publicURL == "" || r.store.Mode != engine.Sync || r.store.Settings == nil || r.store.Settings.pluginAlone():
		return ""
	case r.account != nil:
		return SourceDeliveryURL(publicURL, r.store.ID)
	}
	return DeliveryURL(publicURL, r.store.ID)
}

func sameStore(a, b Store) bool {
	return a.ID == b.ID && a.Master == b.Master && a.Mode == b.Mode && a.TakeOver == b.TakeOver && reflect.DeepEqual(a.Settings, b.Settings)
}

// dial gives a store its client; one that speaks to the same shop with the same keys is kept.
func (a *Agent) dial(ctx context.Context, old *running, st Store, self Identity) *running {
	r := &running{store: st}
	if st.Settings == nil {
		r.shop = unusable{&engine.Fault{Reason: st.Invalid.Reason, Message: st.Invalid.Message, Unsent: true}}
		return r
	}
	link, err := a.link(ctx, old, st, self)
	if r.link = link; st.Settings.pluginAlone() {
		switch {
		case err != nil:
			r.shop = unusable{&engine.Fault{Reason: v1alpha1.ReasonInvalidConfiguration, Message: err.Error(), Unsent: true}}
		case old != nil && old.link == link:
			r.shop = old.shop
		default:
			r.shop = newPluginShop(link)
		}
		return r
	}
	if old != nil && old.store.Settings != nil && old.store.Settings.WooCommerce == st.Settings.WooCommerce {
		r.shop = old.shop
		return r
	}
	shop, err := a.o.Dial(st)
	if err != nil {
		shop = unusable{asFault(err)}
	}
	r.shop = a.metrics.measured(st.ID, shop)
	return r
}

// asFault is why a client could not be made.
func asFault(err error) *engine.Fault {
	if f, ok := errors.AsType[*engine.Fault](err); ok {
		return f
	}
	return &engine.Fault{Reason: "InvalidConfiguration", Message: err.Error(), Unsent: true}
}

// peer is what sends the webhooks.
func (r *running) peer() hooked {
	if r.account != nil {
		return r.account
	}
	return r.shop
}

// close gives up idle connections.
func (r *running) close() {
	if r.account != nil {
		r.account.Close()
		return
	}
	r.shop.Close()
}

func engineStore(st Store, r *running) engine.Store {
	out := engine.Store{ID: st.ID, Mode: st.Mode, TakeOver: st.TakeOver, Policy: stock.Policy{Master: st.Master}, Driver: r.shop, MinInterval: time.Minute}
	if r.link != nil && st.Settings.pluginAlone() {
		out.Driver, out.Absolute = nil, r.link
	}
	if s := st.Settings; s != nil {
		out.Policy, out.Excluded, out.MinInterval, out.MaxLoad = s.Policy, s.Exclusions.Excludes, s.MinInterval, s.MaxLoad
		out.Revision = fingerprint(fmt.Sprint(st.Mode == engine.Off), fmt.Sprintf("%+v", s.Policy), s.Exclusions.text())
	}
	return out
}

func fingerprint(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// keep starts the keeper of a store.
func (a *Agent) keep(ctx context.Context, r *running, url string, state hooks) *running {
	r.keeper = &keeper{peer: r.peer(), url: url, secret: WebhookSecret(a.ledgerID, r.store.ID), clock: a.clock,
		log: a.log.WithName("webhooks").WithValues("store", r.store.ID), state: state,
		ours: func(ctx context.Context) (bool, error) { return a.ours(ctx, r.store.ID) },
		tell: func(kind stock.Kind, cause, evidence string) {
			a.tell(stock.Entry{Kind: kind, Store: r.store.ID, Cause: cause, Evidence: evidence})
		}}
	ctx, r.stop = context.WithCancel(ctx)
	r.done = make(chan struct{})
	go func() {
		defer close(r.done)
		if r.store.Mode == engine.Off || r.store.Settings == nil {
			return
		}
		var pinging sync.WaitGroup
		defer pinging.Wait()
		if r.link != nil && !r.store.Settings.pluginAlone() {
			pinging.Go(func() { r.link.run(ctx) })
		}
		r.keeper.run(ctx)
	}()
	return r
}

// ours tells whether a store was read to its end and carries no other ledger's marks, and no dry run looks at it.
func (a *Agent) ours(ctx context.Context, store string) (bool, error) {
	a.mu.Lock()
	r := a.shops[store]
	a.mu.Unlock()
	if r != nil && r.account != nil {
		return true, nil // no ledger's marks are there
	}
	states, err := a.engine.Status(ctx)
	for _, s := range states {
		if s.StoreID == store {
			return s.Scanned && s.ClaimedBy == "" && !a.engine.DryRunning(store), err
		}
	}
	return false, err
}

// halt ends the keeper.
func (r *running) halt() {
	r.stop()
	<-r.done
}

// retire ends the keeper of a store that is replaced or left. Webhooks other than those wanted from now on are
// removed in the background, where writing is allowed; those in Observe or Off never had a URL. It returns
// what stays true of the webhooks.
func (r *running) retire(wanted string, mayWrite bool, removing *sync.WaitGroup) hooks {
	r.stop()
	state := r.keeper.snapshot()
	if r.keeper.url == wanted {
		return state
	}
	if mayWrite && r.keeper.url != "" {
		removing.Go(func() {
			<-r.done
			r.keeper.remove(context.Background())
		})
	}
	return hooks{versions: state.versions, versionsAt: state.versionsAt}
}

// Status is what the operator and `agent status` are told.
func (a *Agent) Status(ctx context.Context) (agentapi.Status, error) {
	a.asking.Lock()
	defer a.asking.Unlock()
	a.mu.Lock()
	conf, shops, revision, refused, previews := a.conf, a.shops, a.revision, a.refused, a.previews
	a.mu.Unlock()
	now := a.clock.Now()
	asked := revision + "\n" + refused
	if asked == a.cachedFor && now.Sub(a.cachedAt) < statusFor {
		s := a.cached
		s.Now = now.UTC()
		return s, nil
	}
	states, err := a.engine.Status(ctx)
	if err != nil {
		return agentapi.Status{}, err
	}
	totals, err := a.ledger.Totals(ctx)
	if err != nil {
		return agentapi.Status{}, err
	}
	byID := map[string]engine.StoreState{}
	for _, s := range states {
		byID[s.StoreID] = s
	}
	s := agentapi.Status{
		AgentVersion: a.o.Version, ConfigRevision: revision, ConfigError: refused, LedgerID: a.ledgerID,
		StartedAt: a.started.UTC(), Now: now.UTC(),
		Pools: totals.Pools, OversoldPools: totals.Oversold, OversoldUnits: int(totals.OversoldUnits),
		StoppedSKUs: totals.Stopped, Conflicts: totals.Conflicts,
	}
	if capacity, free, err := a.o.Space(a.o.DataDir); err == nil {
		s.Volume = &agentapi.VolumeStatus{CapacityBytes: capacity, FreeBytes: free}
	}
	if err := a.addRuns(ctx, &s); err != nil {
		return agentapi.Status{}, err
	}
	a.sinces.forget(func(id string) bool { return shops[id] != nil })
	var source *engine.SourceState
	if state, there, err := a.engine.SourceStatus(ctx); err != nil {
		return agentapi.Status{}, err
	} else if there {
		source = &state
	}
	for _, st := range conf.Stores {
		if shops[st.ID].account != nil && source != nil {
			v := sourceView{store: st, state: *source, hooks: shops[st.ID].keeper.snapshot(), publicURL: conf.PublicURL, now: now}
			s.Stores, s.Source = append(s.Stores, v.status(a.sinces.at(now))), v.source()
			continue
		}
		v := view{source: source, store: st, state: byID[st.ID], hooks: shops[st.ID].keeper.snapshot(), preview: previews[st.ID],
			plugin: a.plugins.view(st), publicURL: conf.PublicURL, objective: conf.LagObjective, now: now}
		s.Stores = append(s.Stores, v.status(a.sinces.at(now)))
	}
	a.cached, a.cachedAt, a.cachedFor = s, now, asked
	return s, nil
}

// lookAhead finds what the stores in mode Observe show otherwise than they would in Sync. Before its catalogue
// and the master's were read to their end, nothing can be said of a store; all tells that there is no such one.
func (a *Agent) lookAhead(ctx context.Context, conf Config) (out map[string]preview, all bool, err error) {
	states, err := a.engine.Status(ctx)
	if err != nil {
		return nil, false, err
	}
	scanned := map[string]bool{}
	for _, s := range states {
		scanned[s.StoreID] = s.Scanned
	}
	err = a.ledger.View(ctx, func(tx engine.Tx) error {
		out, all = map[string]preview{}, true
		for _, st := range conf.Stores {
			if st.Settings == nil || conf.Sourced && st.Master {
				continue
			}
			if !scanned[st.ID] || st.Mode == engine.Observe && !conf.Sourced && !scanned[conf.Stores[0].ID] {
				all = all && st.Mode != engine.Observe
				continue
			}
			var p preview
			var err error
			if st.Mode == engine.Observe {
				if p, err = previewOf(tx, st.ID, conf.Stores[0].ID, st.Settings.Policy); err != nil {
					return err
				}
				p.known = true
			}
			if conf.Sourced {
				if p.skipped, err = skipped(tx, st); err != nil {
					return err
				}
			}
			out[st.ID] = p
		}
		return nil
	})
	return out, all, err
}

// ready tells whether the configuration is loaded and the ledger answers.
func (a *Agent) ready(ctx context.Context) error {
	a.mu.Lock()
	loaded, refused := a.loaded, a.refused
	a.mu.Unlock()
	if !loaded {
		return fmt.Errorf("no configuration is loaded: %s", refused)
	}
	return a.ledger.View(ctx, func(engine.Tx) error { return nil })
}

// port is one listener.
type port struct {
	name     string
	listener net.Listener
	server   *http.Server
	tls      bool
}

func (p port) serve() error {
	if p.tls {
		return p.server.ServeTLS(p.listener, "", "")
	}
	return p.server.Serve(p.listener)
}

// listen binds every port before any is served, so that a wrong address shows at once.
func (a *Agent) listen(ctx context.Context) (ports []port, err error) {
	defer func() {
		if err != nil {
			for _, p := range ports {
				_ = p.listener.Close()
			}
		}
	}()
	add := func(name, flag, addr string, h http.Handler) (*http.Server, error) {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("listen for the %s port (%s): %w", name, flag, err)
		}
		s := newServer(h, a.log)
		ports = append(ports, port{name: name, listener: l, server: s})
		return s, nil
	}
	if a.o.PublicAddr != "" {
		if _, err := add("public", "--public-addr", a.o.PublicAddr, a.under(a.plugins.mount(a.receiver))); err != nil {
			return ports, err
		}
	}
	if a.o.MetricsAddr != "" {
		if _, err := add("metrics", "--metrics-addr", a.o.MetricsAddr, a.metricsHandler()); err != nil {
			return ports, err
		}
	}
	if a.o.PrivateDir != "" && a.o.PrivateAddr != "" {
		id := &identity{dir: a.o.PrivateDir, log: a.log}
		if err := id.load(); err != nil {
			return ports, err
		}
		s, err := add("private", "--private-addr", a.o.PrivateAddr, a.toolsHandler(ctx, id.rightOf))
		if err != nil {
			return ports, err
		}
		s.TLSConfig = id.tlsConfig()
		ports[len(ports)-1].tls = true
	}
	socket, err := listenSocket(filepath.Join(a.o.DataDir, agentapi.SocketName))
	if err != nil {
		return ports, err
	}
	ports = append(ports, port{name: "socket", listener: socket, server: newServer(a.toolsHandler(ctx, everything), a.log)})
	if a.o.Listening != nil {
		addrs := map[string]net.Addr{}
		for _, p := range ports {
			addrs[p.name] = p.listener.Addr()
		}
		a.o.Listening(addrs)
	}
	return ports, nil
}

func (a *Agent) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+agentapi.MetricsPath, a.metrics.handler())
	mux.HandleFunc("GET "+agentapi.HealthPath, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET "+agentapi.ReadyPath, func(w http.ResponseWriter, r *http.Request) {
		if err := a.ready(r.Context()); err != nil {
			refuse(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}

// Open opens the ledger of a data directory, made if it is missing.
func Open(ctx context.Context, dataDir string) (*ledger.SQLite, error) {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory (--data): %w", err)
	}
	l, err := ledger.Open(ctx, filepath.Join(dataDir, LedgerName), ledger.Options{})
	if err != nil {
		return nil, err
	}
	// A copy that was being made when the agent was killed.
	if err := os.Remove(filepath.Join(dataDir, backupName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("remove an unfinished backup: %w", err), l.Close())
	}
	return l, nil
}

// LedgerName is the ledger's file in the data directory.
const LedgerName = "ledger.db"

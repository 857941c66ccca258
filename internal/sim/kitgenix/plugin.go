package kitgenix

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"stocksync.dev/stocksync/internal/sim/woocommerce"
)

// Root is the path of the plugin's routes.
const Root = "/wp-json/kitgenix-stock-sync/v1"

// The metas the plugin keeps with an item.
const (
	MetaGID     = "_kitgenix_stock_sync_for_woocommerce_gid"
	MetaVersion = "_kitgenix_stock_sync_for_woocommerce_version"
	MetaApplied = "_kitgenix_stock_sync_for_woocommerce_applied_version"
)

const (
	// debounce is how long a trigger of one kind and SKU is ignored after one was sent.
	debounce = 2 * time.Second
	// shutdown is how long after its first change a request of generation 2 ends and sends what it collected.
	shutdown = 50 * time.Millisecond
	// queueLimit is how many characters of arguments Action Scheduler takes; what is longer is lost without a word.
	queueLimit = 8000
	// sendTimeout is how long a peer may take to answer an event.
	sendTimeout = 8 * time.Second
)

// Peer is another store as one types it into the plugin's pages.
type Peer struct {
	ID, URL, Secret string
	// Previous is accepted until PreviousUntil, in generation 2.
	Previous      string
	PreviousUntil time.Time
	Disabled      bool
}

// Options describe an installed plugin.
type Options struct {
	Store *woocommerce.Store
	// Generation is 1 or 2; 1 when 0.
	Generation int
	// ID is the store's id, Name what it is called.
	ID, Name string
	// Master makes it the master of Peers; otherwise Peers holds its one master.
	Master bool
	Peers  []Peer
	// Excluded SKUs, compared letter by letter.
	Excluded []string
	// QueueDelay is how long the background queue takes to begin an action: a minute and more on a quiet site.
	QueueDelay time.Duration
	// Clock and Transport are the plugin's time and network; as those of the store and http.DefaultTransport when nil.
	Clock     woocommerce.Clock
	Transport http.RoundTripper
	// Token makes random texts of a length.
	Token func(int) string
}

// Plugin is one installed plugin. Its methods are safe for concurrent use.
type Plugin struct {
	o    Options
	ctx  context.Context // ends with Close: what is queued goes on after the request
	stop context.CancelFunc
	work sync.WaitGroup

	mu        sync.Mutex
	peers     []Peer
	seen      map[string]time.Time // events, and nonces
	triggered map[string]time.Time
	dirty     map[int64]bool
	contexts  map[string]bool
	failures  map[string]*failures
	tokens    int64
	backlog   int
	lost      int
}

// failures counts refused requests of one identity, in generation 2.
type failures struct {
	count       int
	until       time.Time
	lockedUntil time.Time
}

// Install puts the plugin into its store.
func Install(o Options) *Plugin {
	if o.Generation == 0 {
		o.Generation = 1
	}
	if o.Clock == nil {
		o.Clock = woocommerce.SystemClock{}
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	p := &Plugin{o: o, peers: slices.Clone(o.Peers), seen: map[string]time.Time{}, triggered: map[string]time.Time{},
		dirty: map[int64]bool{}, contexts: map[string]bool{}, failures: map[string]*failures{}}
	p.ctx, p.stop = context.WithCancel(context.Background())
	o.Store.Install(p)
	return p
}

// Close ends what is queued and waits for it.
func (p *Plugin) Close() {
	p.stop()
	p.work.Wait()
}

// SetPeers replaces the peers, as somebody who edits them in the plugin's pages does.
func (p *Plugin) SetPeers(peers ...Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.peers = slices.Clone(peers)
}

// Backlog is how many deliveries wait to be tried again, Lost how many were never queued because they were too long.
func (p *Plugin) Backlog() (waiting, lost int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.backlog, p.lost
}

// Root implements [woocommerce.Plugin].
func (p *Plugin) Root() string { return Root }

func (p *Plugin) now() time.Time { return p.o.Store.Now() }

// token is a text of at least ten characters that comes once, from a counter where no source was given.
func (p *Plugin) token(n int) string {
	if p.o.Token != nil {
		return p.o.Token(n)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tokens++
	return (strings.ReplaceAll(p.o.ID, "-", "") + strings.Repeat("0", n))[:n-10] + fmt.Sprintf("%010x", p.tokens)
}

// uuid is shaped like one of version 4.
func (p *Plugin) uuid() string {
	t := p.token(32)
	return t[:8] + "-" + t[8:12] + "-4" + t[13:16] + "-8" + t[17:20] + "-" + t[20:32]
}

// applying marks a context whose changes are the plugin's own, so that they are not sent back.
type applying struct{}

var triggers = map[woocommerce.Happening]string{
	woocommerce.StockSet: "stock_set", woocommerce.StatusSet: "stock_status", woocommerce.FieldsSet: "props_update",
	woocommerce.OrderProcessing: "order_processing", woocommerce.OrderRestored: "order_restore",
}

// Changed implements [woocommerce.Plugin].
func (p *Plugin) Changed(ctx context.Context, c woocommerce.Change) {
	if ctx.Value(applying{}) != nil {
		return
	}
	if c.What == woocommerce.SKUChanged {
		if p.o.Master {
			p.renamed(ctx, c)
		}
		return
	}
	items := p.fresh(c)
	if len(items) == 0 {
		return
	}
	if p.o.Generation == 1 {
		p.capture(ctx, items, triggers[c.What])
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	first := len(p.dirty) == 0
	for _, id := range items {
		p.dirty[id] = true
	}
	p.contexts[triggers[c.What]] = true
	if first {
		p.later(shutdown, p.flush)
	}
}

// fresh leaves out items without SKU, excluded ones, kinds without stock, and those whose trigger came within the last
// two seconds: the later of two changes is what is dropped.
func (p *Plugin) fresh(c woocommerce.Change) []int64 {
	now := p.now()
	debounced := p.o.Generation == 1 || c.What == woocommerce.StockSet || c.What == woocommerce.StatusSet
	var items []int64
	for _, id := range c.Items {
		r, ok := p.o.Store.Record(id)
		if !ok || r.SKU == "" || r.Kind == woocommerce.External || r.Kind == woocommerce.Grouped || p.excluded(r.SKU) {
			continue
		}
		key := string(c.What) + "|" + r.SKU
		p.mu.Lock()
		last, before := p.triggered[key]
		if ok = !debounced || !before || now.Sub(last) >= debounce; ok {
			p.triggered[key] = now
		}
		p.mu.Unlock()
		if ok && !slices.Contains(items, id) {
			items = append(items, id)
		}
	}
	return items
}

func (p *Plugin) excluded(sku string) bool { return slices.Contains(p.o.Excluded, sku) }

// later runs an action of the background.
func (p *Plugin) later(wait time.Duration, do func()) {
	p.work.Go(func() {
		if p.o.Clock.Sleep(p.ctx, wait) == nil {
			do()
		}
	})
}

// flush is the end of a request of generation 2: one event for all that changed.
func (p *Plugin) flush() {
	p.mu.Lock()
	items := slices.Sorted(maps.Keys(p.dirty))
	contexts := slices.Sorted(maps.Keys(p.contexts))
	clear(p.dirty)
	clear(p.contexts)
	p.mu.Unlock()
	if len(items) > 0 {
		p.capture(p.ctx, items, strings.Join(contexts, "+"))
	}
}

// capture makes an event of what the items are now.
func (p *Plugin) capture(ctx context.Context, ids []int64, why string) {
	e := event{Type: "stock_state", Origin: "child_local", Context: why}
	if p.o.Master {
		e.Origin = "master_local"
	}
	for _, id := range ids {
		if i, ok := p.item(id, p.o.Master, false); ok {
			e.Items = append(e.Items, i)
		}
	}
	p.announce(ctx, p.complete(e))
}

func (p *Plugin) renamed(ctx context.Context, c woocommerce.Change) {
	r, ok := p.o.Store.Record(c.Items[0])
	if !ok {
		return
	}
	gid := p.gid(r)
	p.announce(ctx, p.complete(event{Type: "sku_rename", Origin: "master", Context: "sku_rename",
		Items: []item{{GID: gid, SKU: r.SKU, OldSKU: &c.OldSKU}}}))
}

// complete gives a new event its time and id.
func (p *Plugin) complete(e event) event {
	e.Time = p.now().Unix()
	if p.o.Generation == 1 {
		e.ID = p.hash(e)
		return e
	}
	e.ID, e.Origin2, e.Created, e.Attempt, e.Schema = p.uuid(), p.o.ID, e.Time, 1, 2
	return e
}

// announce sends an event of our own: a child to its master, a master to itself and its children.
func (p *Plugin) announce(ctx context.Context, e event) {
	if len(e.Items) == 0 {
		return
	}
	if p.o.Master {
		p.remember("event|"+e.ID, p.seenFor())
		p.lead(ctx, e, "")
		return
	}
	p.mu.Lock()
	peers := slices.Clone(p.peers)
	p.mu.Unlock()
	for _, peer := range peers {
		p.deliver(ctx, peer, e)
	}
}

// lead is what a master does with any event: its own catalogue is overwritten, read back and pushed to the children.
func (p *Plugin) lead(ctx context.Context, e event, sender string) {
	p.apply(ctx, e)
	if e.Type == "stock_state" {
		var items []item
		for _, i := range e.Items {
			if id := p.find(i); id != 0 {
				if state, ok := p.item(id, true, true); ok {
					items = append(items, state)
				}
			}
		}
		e.Items, e.Origin = items, "master_authoritative"
	}
	p.mu.Lock()
	peers := slices.Clone(p.peers)
	p.mu.Unlock()
	for _, peer := range peers {
		if peer.Disabled || (p.o.Generation == 2 && peer.ID == sender) {
			continue
		}
		p.deliver(ctx, peer, e)
	}
}

// deliver sends an event to a peer: within this request in generation 1, from the queue in generation 2.
func (p *Plugin) deliver(ctx context.Context, peer Peer, e event) {
	body := e.encode()
	if p.o.Generation == 1 {
		if !p.post(ctx, peer, "/event", body) && p.o.Master {
			p.retry(peer, e, body, 1)
		}
		return
	}
	p.enqueue(p.o.QueueDelay, peer, e, body, 1)
}

// enqueue gives an action to the queue, which loses without a word what is too long for it.
func (p *Plugin) enqueue(wait time.Duration, peer Peer, e event, body []byte, attempt int) {
	if len(body) > queueLimit {
		p.mu.Lock()
		p.lost++
		p.mu.Unlock()
		return
	}
	p.later(wait, func() {
		if attempt > 1 {
			p.mu.Lock()
			p.backlog--
			p.mu.Unlock()
		}
		if p.post(p.ctx, peer, "/event", body) {
			return
		}
		e.Attempt = attempt + 1
		if p.o.Generation == 2 {
			p.retry(peer, e, e.encode(), attempt)
		} else {
			p.retry(peer, e, body, attempt)
		}
	})
}

// waits are the delays after the first, second and later failures.
var waits = []time.Duration{300 * time.Second, 900 * time.Second, 3600 * time.Second, 21600 * time.Second}

// retry tries the same snapshot again, however old it is by then: without end in generation 1, eight times in all in
// generation 2.
func (p *Plugin) retry(peer Peer, e event, body []byte, attempt int) {
	if p.o.Generation == 2 && attempt >= 8 {
		return
	}
	p.mu.Lock()
	p.backlog++
	p.mu.Unlock()
	p.enqueue(waits[min(attempt, len(waits))-1], peer, e, body, attempt+1)
}

// Push sends the whole catalogue, or some SKUs of it, to the children, as a reconcile or a manual push does.
func (p *Plugin) Push(batch int, skus ...string) {
	if len(skus) == 0 {
		for _, i := range p.o.Store.Items() {
			if i.SKU != "" && !i.Trashed {
				skus = append(skus, i.SKU)
			}
		}
	}
	for part := range slices.Chunk(skus, max(batch, 1)) {
		e := event{Type: "stock_state", Origin: "master_reconcile", Context: "reconcile"}
		if p.o.Generation == 2 {
			e.Origin = "master_local"
		}
		for _, sku := range part {
			if p.excluded(sku) {
				continue
			}
			if i, ok := p.item(p.o.Store.FindSKU(sku), true, true); ok {
				e.Items = append(e.Items, i)
			}
		}
		e = p.complete(e)
		p.mu.Lock()
		peers := slices.Clone(p.peers)
		p.mu.Unlock()
		for _, peer := range peers {
			if !peer.Disabled && len(e.Items) > 0 {
				p.enqueue(p.o.QueueDelay, peer, e, e.encode(), 1)
			}
		}
	}
}

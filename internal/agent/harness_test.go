package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"log/slog"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/agentclient"
	"stocksync.dev/stocksync/internal/engine"
	sim "stocksync.dev/stocksync/internal/sim/woocommerce"
)

// fastClock runs faster than the world, from now on: what waits for seconds in shops takes milliseconds here.
type fastClock struct {
	began time.Time
	times time.Duration
}

func newFastClock() fastClock { return fastClock{began: time.Now(), times: 20} }

func (c fastClock) Now() time.Time           { return c.began.Add(time.Since(c.began) * c.times) }
func (c fastClock) Go(fn func())             { go fn() }
func (c fastClock) NewSignal() engine.Signal { return fastSignal{c, make(signal, 1)} }

// Sleep is the simulator's way to wait.
func (c fastClock) Sleep(ctx context.Context, d time.Duration) error {
	return sim.SystemClock{}.Sleep(ctx, d/c.times)
}

type fastSignal struct {
	clock fastClock
	signal
}

func (s fastSignal) Wait(ctx context.Context, until time.Time) {
	s.signal.Wait(ctx, time.Now().Add(until.Sub(s.clock.Now())/s.clock.times))
}

// logBook is a log one can search.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBook) logger() logr.Logger {
	return logr.FromSlogHandler(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.Level(-9)}))
}

// shopServer is a simulated store behind HTTPS on loopback.
type shopServer struct {
	*sim.Store
	url, ca string
}

func newShop(t *testing.T, clock fastClock, id string, deliver http.RoundTripper, seed sim.SeedOptions) *shopServer {
	t.Helper()
	var store *sim.Store
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("X-Forwarded-Proto", "https")
		store.Handler().ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = quietLog(logr.Discard())
	server.StartTLS()
	store = sim.New(sim.Options{
		Name: id, HomeURL: server.URL, Clock: clock, WebhookTransport: deliver, WebhookInterval: 5 * time.Second,
		Keys: []sim.Key{{ConsumerKey: "ck_" + id, ConsumerSecret: "cs_" + id}},
	})
	if err := store.Seed(seed); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = store.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		server.CloseClientConnections()
		server.Close()
		store.Close()
	})
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return &shopServer{store, server.URL, string(ca)}
}

// docs are the manifests of a store's Secret.
func (s *shopServer) secret(id string) string {
	indented := strings.ReplaceAll(strings.TrimSpace(s.ca), "\n", "\n    ")
	return fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: %s-rest}\nstringData:\n  consumerKey: ck_%s\n  consumerSecret: cs_%s\n  ca.crt: |\n    %s\n", id, id, id, indented)
}

func masterDoc(id, url, extra string) string {
	return fmt.Sprintf(`apiVersion: stocksync.dev/v1alpha1
kind: StockSyncTopology
metadata: {name: emea}
spec:
%s  master:
    storeID: %s
    woocommerce:
      url: %s
      credentialsSecretRef: {name: %s-rest}
      caBundleSecretKeyRef: {name: %s-rest, key: ca.crt}
`, extra, id, url, id, id)
}

func followerDoc(id, url, extra string) string {
	return fmt.Sprintf(`apiVersion: stocksync.dev/v1alpha1
kind: ChildStore
metadata: {name: %s}
spec:
  topologyRef: {name: emea}
%s  polling: {minIntervalSeconds: 1, maxStoreLoadPercent: 100}
  woocommerce:
    url: %s
    credentialsSecretRef: {name: %s-rest}
    caBundleSecretKeyRef: {name: %s-rest, key: ca.crt}
`, id, extra, url, id, id)
}

// bench is a running agent.
type bench struct {
	t       *testing.T
	dir     string
	config  string
	changes chan struct{}
	addrs   map[string]net.Addr
	log     *logBook
	client  *agentclient.Client
	agent   *Agent
	stop    func() error
}

type benchOptions struct {
	clock   engine.Clock
	dial    func(Store) (Shop, error)
	ledger  Ledger // the SQLite ledger of the directory when nil
	private bool
	unready bool                // do not wait until the agent is ready
	runs    func(runner) runner // stands before the engine where set
	dir     string
	// space measures the ledger's file system; nil: the one there is.
	space     func(string) (capacity, free int64, err error)
	verbosity func(*int)
}

// shortDir is a directory whose path is short enough for a Unix socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sst")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func startAgent(t *testing.T, o benchOptions, docs ...string) *bench {
	t.Helper()
	if o.dir == "" {
		o.dir = shortDir(t)
	}
	b := &bench{t: t, dir: o.dir, changes: make(chan struct{}), log: &logBook{}}
	b.config = filepath.Join(o.dir, agentapi.ConfigFile)
	b.write(docs...)
	opts := Options{
		Config: b.config, DataDir: o.dir, PublicAddr: "127.0.0.1:0", MetricsAddr: "127.0.0.1:0", Version: "test",
		Log: b.log.logger(), Dial: o.dial, Changes: b.changes, Space: o.space, Verbosity: o.verbosity,
	}
	if o.private {
		opts.PrivateDir, opts.PrivateAddr = o.dir, "127.0.0.1:0"
	}
	if opts.Dial == nil {
		opts.Dial = DialWooCommerce("test", o.clock.Now, opts.Log)
	}
	if opts.DialSource == nil {
		opts.DialSource = DialKatana("test", o.clock, opts.Log)
	}
	bound := make(chan map[string]net.Addr, 1)
	opts.Listening = func(a map[string]net.Addr) { bound <- a }
	ctx, cancel := context.WithCancel(context.Background())
	closeLedger := func() error { return nil }
	if o.ledger == nil {
		l, err := Open(ctx, o.dir)
		if err != nil {
			t.Fatal(err)
		}
		o.ledger, closeLedger = l, l.Close
	}
	a, err := New(ctx, opts, o.ledger, o.clock)
	if err != nil {
		t.Fatal(err)
	}
	b.agent = a
	if o.runs != nil {
		a.runs = o.runs(a.runs)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	b.stop = sync.OnceValue(func() error {
		cancel()
		err := <-ended
		if closeErr := closeLedger(); err == nil {
			err = closeErr
		}
		return err
	})
	t.Cleanup(func() {
		if err := b.stop(); err != nil {
			t.Errorf("the agent ended with: %v", err)
		}
		if t.Failed() {
			text := b.log.String()
			t.Log(text[max(0, len(text)-6000):])
		}
	})
	select {
	case b.addrs = <-bound:
	case err := <-ended:
		ended <- err
		t.Fatalf("the agent did not start: %v", err)
	}
	b.client = agentclient.Socket(o.dir)
	if !o.unready {
		eventually(t, "readiness", func() (bool, string) {
			res, err := http.Get("http://" + b.addrs["metrics"].String() + agentapi.ReadyPath)
			if err != nil {
				return false, err.Error()
			}
			defer res.Body.Close()
			return res.StatusCode == http.StatusOK, res.Status
		})
	}
	return b
}

func (b *bench) write(docs ...string) {
	b.t.Helper()
	temp := b.config + ".new"
	if err := os.WriteFile(temp, join(docs...), 0o600); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Rename(temp, b.config); err != nil {
		b.t.Fatal(err)
	}
}

// apply writes a configuration and has the agent look at it twice: when the second look begins, the first is over.
func (b *bench) apply(docs ...string) {
	b.t.Helper()
	b.write(docs...)
	b.changes <- struct{}{}
	b.changes <- struct{}{}
}

func (b *bench) status() agentapi.Status {
	b.t.Helper()
	s, err := b.client.Status(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

func storeOf(t *testing.T, s agentapi.Status, id string) agentapi.StoreStatus {
	t.Helper()
	for _, st := range s.Stores {
		if st.StoreID == id {
			return st
		}
	}
	t.Fatalf("no store %s in the status", id)
	return agentapi.StoreStatus{}
}

// eventually waits until what a user waits for is there. The limit only ends a broken run.
func eventually(t *testing.T, what string, ok func() (bool, string)) {
	t.Helper()
	limit := time.After(2 * time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		done, seen := ok()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s did not happen; last seen: %s", what, seen)
		}
	}
}

func asJSON(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/driver/woocommerce"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

// stubShop is an empty shop that remembers what was done to its webhooks.
type stubShop struct {
	unusable
	store string
	mu    sync.Mutex
	done  []string
	// find is what the next look at the webhooks finds amiss.
	find []woocommerce.Repair
	err  error
	hang bool
}

func newStubShop(store string) *stubShop { return &stubShop{store: store} }

func (s *stubShop) Catalogue(context.Context, string) (engine.Page, error) { return engine.Page{}, nil }
func (s *stubShop) Modified(context.Context, time.Time, string) (engine.Page, error) {
	return engine.Page{}, nil
}
func (s *stubShop) Read(context.Context, []stock.Ref) (engine.Page, error) { return engine.Page{}, nil }
func (s *stubShop) Orders(context.Context, engine.OrderQuery) (engine.OrderPage, error) {
	return engine.OrderPage{}, nil
}
func (s *stubShop) Probe(context.Context) []agentapi.PingCheck {
	return []agentapi.PingCheck{{Name: agentapi.CheckDNS, OK: true}}
}
func (s *stubShop) Versions(context.Context) (woocommerce.Versions, error) {
	return woocommerce.Versions{WooCommerce: "9.9.5"}, nil
}

func (s *stubShop) EnsureWebhooks(_ context.Context, url, _ string) ([]woocommerce.Repair, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = append(s.done, "ensure "+url)
	return s.find, s.err
}

func (s *stubShop) RemoveWebhooks(ctx context.Context, url string) error {
	if s.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = append(s.done, "remove "+url)
	return nil
}

func (s *stubShop) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.done)
}

func (s *stubShop) did(what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.done, what)
}

// dialer hands out stub shops and remembers them.
type dialer struct {
	mu    sync.Mutex
	shops []*stubShop
	keys  []string
}

func (d *dialer) dial(s Store) (Shop, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	shop := newStubShop(s.ID)
	d.shops = append(d.shops, shop)
	d.keys = append(d.keys, s.ID+" "+string(s.Settings.WooCommerce.ConsumerKey))
	return shop, nil
}

func (d *dialer) dialled() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.keys)
}

func (d *dialer) last(store string) *stubShop {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range slices.Backward(d.shops) {
		if s.store == store {
			return s
		}
	}
	return nil
}

const stubSecret = "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {consumerKey: ck, consumerSecret: cs}\n"

func stubStore(doc string) string {
	lines := strings.Split(doc, "\n")
	lines = slices.DeleteFunc(lines, func(l string) bool { return strings.Contains(l, "caBundle") })
	doc = strings.Join(lines, "\n")
	for _, id := range []string{"hq", "fr", "de"} {
		doc = strings.ReplaceAll(doc, "{name: "+id+"-rest}", "{name: keys}")
	}
	return doc
}

// stubDocs are a master hq and a child fr; extra goes into the topology's spec.
func stubDocs(extra string) []string {
	return []string{stubStore(masterDoc("hq", "https://hq.example.com", extra)), stubStore(followerDoc("fr", "https://fr.example.com", "")), stubSecret}
}

func TestReload(t *testing.T) {
	t.Parallel()
	d := &dialer{}
	b := startAgent(t, benchOptions{clock: SystemClock{}, dial: d.dial, ledger: ledger.NewMemory()}, stubDocs("  mode: Sync\n")...)
	first := b.status()
	if first.ConfigRevision == "" || first.ConfigError != "" || len(first.Stores) != 2 || !first.Stores[0].Master {
		t.Fatalf("%s", asJSON(first))
	}
	if got := d.dialled(); !slices.Equal(got, []string{"hq ck", "fr ck"}) {
		t.Fatalf("dialled %q", got)
	}

	// A child whose Secret went away keeps running as it was, and says so.
	docs := stubDocs("  mode: Sync\n")
	broken := slices.Clone(docs)
	broken[1] = strings.Replace(docs[1], "{name: keys}", "{name: gone}", 1)
	b.apply(broken...)
	s := b.status()
	fr := storeOf(t, s, "fr")
	if fr.Accepted.Status != "False" || fr.Accepted.Reason != v1alpha1.ReasonInvalidConfiguration || !strings.Contains(fr.Accepted.Message, "Secret `gone` is missing") || !strings.Contains(fr.Accepted.Message, "last good") {
		t.Errorf("%+v", fr.Accepted)
	}
	if s.ConfigRevision == first.ConfigRevision || s.ConfigError != "" || storeOf(t, s, "hq").Accepted.Status != "True" || fr.Mode != "Sync" {
		t.Errorf("%s", asJSON(s))
	}
	if got := d.dialled(); len(got) != 2 {
		t.Errorf("dialled anew: %q", got)
	}

	// A file that cannot be understood changes nothing at all.
	b.apply("kind: [")
	if s := b.status(); !strings.Contains(s.ConfigError, "document 1") || len(s.Stores) != 2 || !strings.Contains(b.log.String(), "the one before stays in use") {
		t.Errorf("%s", asJSON(s))
	}
	// And the one before, put back, is in use again.
	b.apply(docs...)
	if s := b.status(); s.ConfigError != "" || s.ConfigRevision != first.ConfigRevision || storeOf(t, s, "fr").Accepted.Status != "True" {
		t.Errorf("%s", asJSON(s))
	}

	// New keys reach the one store that has them.
	docs = append(docs, "apiVersion: v1\nkind: Secret\nmetadata: {name: new}\nstringData: {consumerKey: ck2, consumerSecret: cs2}\n")
	docs[1] = strings.Replace(docs[1], "{name: keys}", "{name: new}", 1)
	b.apply(docs...)
	if got := d.dialled(); !slices.Equal(got, []string{"hq ck", "fr ck", "fr ck2"}) {
		t.Errorf("dialled %q", got)
	}

	// A child that left is no longer there.
	b.apply(docs[0], docs[2])
	if s := b.status(); len(s.Stores) != 1 {
		t.Errorf("%s", asJSON(s))
	}
	if text := metricsOf(t, b); strings.Contains(text, `store="fr"`) || !strings.Contains(text, `stocksync_store_condition{condition="Accepted",store="hq"} 1`) {
		t.Error("the metrics still speak of a store that left, or not of one that stayed")
	}
}

func TestWebhooksFollowTheConfiguration(t *testing.T) {
	t.Parallel()
	d := &dialer{}
	withURL := stubDocs("  mode: Sync\n  publicURL: https://sync.example.com\n")
	b := startAgent(t, benchOptions{clock: newFastClock(), dial: d.dial, ledger: ledger.NewMemory()}, withURL...)
	const ours = "https://sync.example.com/webhooks/woocommerce/"
	eventually(t, "webhooks in both stores", func() (bool, string) {
		return d.last("hq").did("ensure "+ours+"hq") && d.last("fr").did("ensure "+ours+"fr"), ""
	})
	fr := d.last("fr")

	// Observe writes nothing, so the webhooks stay as they are.
	observe := slices.Clone(withURL)
	observe[1] = strings.Replace(observe[1], "spec:\n", "spec:\n  mode: Observe\n", 1)
	b.apply(observe...)
	if c := storeOf(t, b.status(), "fr").HintsAvailable; c.Status != "False" || c.Reason != v1alpha1.ReasonPollingOnly {
		t.Errorf("%+v", c)
	}
	b.apply(withURL...)
	if fr.did("remove " + ours + "fr") {
		t.Error("webhooks were removed in mode Observe")
	}
	// Another address: the old webhooks go, new ones come.
	moved := stubDocs("  mode: Sync\n  publicURL: https://other.example.com\n")
	b.apply(moved...)
	eventually(t, "the move", func() (bool, string) {
		return fr.did("remove "+ours+"fr") && fr.did("ensure https://other.example.com/webhooks/woocommerce/fr"), ""
	})
	// The store leaves: its webhooks go, with the keys still in memory.
	b.apply(moved[0], moved[2])
	eventually(t, "the removal", func() (bool, string) { return fr.did("remove https://other.example.com/webhooks/woocommerce/fr"), "" })
	if d.last("hq").did("remove https://other.example.com/webhooks/woocommerce/hq") {
		t.Error("the webhooks of a store that stays were removed")
	}
}

// A store that is invalid when the agent starts is there all the same: what is known of it is not forgotten.
func TestAnInvalidStoreIsNotForgottenAtStart(t *testing.T) {
	t.Parallel()
	memory := ledger.NewMemory()
	err := memory.Update(t.Context(), func(tx engine.Tx) error {
		pool, err := tx.NewPool("A", "a")
		if err != nil {
			return err
		}
		for _, store := range []string{"hq", "fr", "left"} {
			if err := tx.PutPlacement(stock.Placement{Store: store, Pool: pool.ID, Ref: stock.Ref{Product: 1}, SKU: "A", Enrolled: true}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	docs := stubDocs("  mode: Sync\n")
	b := startAgent(t, benchOptions{clock: SystemClock{}, dial: (&dialer{}).dial, ledger: memory}, docs[0], strings.Replace(docs[1], "{name: keys}", "{name: gone}", 1), docs[2])
	s := b.status()
	fr := storeOf(t, s, "fr")
	if fr.Placements != 1 || fr.Enrolled != 1 || fr.Accepted.Status != "False" || fr.Connected.Status != "Unknown" || fr.InSync.Status != "Unknown" {
		t.Errorf("%s", asJSON(fr))
	}
	err = memory.View(t.Context(), func(tx engine.Tx) error {
		stores, err := tx.Stores()
		if !slices.Equal(stores, []string{"fr", "hq"}) {
			t.Errorf("the ledger knows %q", stores)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestStartingWithoutAUsableConfiguration(t *testing.T) {
	t.Parallel()
	t.Run("at a terminal", func(t *testing.T) {
		t.Parallel()
		dir := shortDir(t)
		file := filepath.Join(dir, "x.yaml")
		if err := os.WriteFile(file, []byte("kind: ["), 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := New(t.Context(), Options{Config: file, DataDir: dir, Dial: (&dialer{}).dial, Log: logr.Discard()}, ledger.NewMemory(), SystemClock{})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "document 1, near line 1: must be valid YAML") {
			t.Error(err)
		}
	})
	t.Run("in the cluster", func(t *testing.T) {
		t.Parallel()
		dir := shortDir(t)
		putIdentity(t, dir, "x")
		b := startAgent(t, benchOptions{clock: SystemClock{}, dial: (&dialer{}).dial, ledger: ledger.NewMemory(), private: true, dir: dir, unready: true}, "kind: [")
		probe := func(path string) int {
			res, err := http.Get("http://" + b.addrs["metrics"].String() + path)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			return res.StatusCode
		}
		b.changes <- struct{}{} // taken when the first look is over
		if s := b.status(); s.ConfigError == "" || s.ConfigRevision != "" {
			t.Errorf("%s", asJSON(s))
		}
		if live, ready := probe(agentapi.HealthPath), probe(agentapi.ReadyPath); live != 200 || ready != 503 {
			t.Errorf("live %d, ready %d", live, ready)
		}
		b.apply(stubDocs("")...)
		if ready := probe(agentapi.ReadyPath); ready != 200 {
			t.Errorf("ready %d", ready)
		}
	})
}

func TestTheLedgerIDComesFromItsFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "id")
	if err := os.WriteFile(file, []byte(testLedger+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	memory := ledger.NewMemory()
	a, err := New(t.Context(), Options{LedgerIDFile: file, Log: logr.Discard()}, memory, SystemClock{})
	if err != nil || a.LedgerID() != testLedger {
		t.Fatalf("%v", err)
	}
	if err := os.WriteFile(file, []byte("f"+testLedger[1:]), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), Options{LedgerIDFile: file, Log: logr.Discard()}, memory, SystemClock{}); err == nil {
		t.Error("a ledger took another id")
	}
	if _, err := New(t.Context(), Options{LedgerIDFile: filepath.Join(dir, "none"), Log: logr.Discard()}, memory, SystemClock{}); err == nil || !strings.Contains(err.Error(), "--ledger-id-file") {
		t.Error(err)
	}
	if a, err := New(t.Context(), Options{Log: logr.Discard()}, ledger.NewMemory(), SystemClock{}); err != nil || len(a.LedgerID()) != 32 {
		t.Error("the ledger made no id of its own")
	}
}

// kubelet lays files out as the kubelet does: names that lead through one link, exchanged at once.
func kubelet(t *testing.T, dir, config, revision string) {
	t.Helper()
	fresh, err := os.MkdirTemp(dir, "..2026_")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{agentapi.ConfigFile: config, agentapi.RevisionFile: revision} {
		if err := os.WriteFile(filepath.Join(fresh, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		link := filepath.Join(dir, name)
		if _, err := os.Lstat(link); err != nil {
			if err := os.Symlink(filepath.Join("..data", name), link); err != nil {
				t.Fatal(err)
			}
		}
	}
	temp := filepath.Join(dir, "..data_tmp")
	if err := os.Symlink(filepath.Base(fresh), temp); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temp, filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
}

func TestAMountedSecretIsFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	kubelet(t, dir, "one", "1\n")
	src := source{dir}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changed := src.watch(ctx, logr.Discard())
	for n := 2; n <= 4; n++ {
		kubelet(t, dir, fmt.Sprint("config ", n), fmt.Sprint(n))
		for {
			select {
			case <-changed:
			case <-time.After(time.Minute):
				t.Fatal("the change was not seen")
			}
			text, revision, err := src.read()
			if err != nil {
				t.Fatal(err)
			}
			if string(text) == fmt.Sprint("config ", n) && revision == fmt.Sprint(n) {
				break
			}
		}
	}
}

func TestAFileAloneHasARevisionToo(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "my.yaml")
	if _, _, err := (source{file}).read(); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	revisions := map[string]bool{}
	for _, text := range []string{"a", "b", "a"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, revision, err := source{file}.read()
		if err != nil || revision == "" {
			t.Fatal(err)
		}
		revisions[revision] = true
	}
	if len(revisions) != 2 {
		t.Errorf("%v", revisions)
	}
	if err := os.WriteFile(file, make([]byte, MaxConfigBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := (source{file}).read(); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Error(err)
	}
}

func TestABurstOfEventsIsOneChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		events, failures, changed := make(chan fsnotify.Event), make(chan error), make(chan struct{}, 1)
		done := make(chan struct{})
		go func() { defer close(done); notify(ctx, events, failures, changed) }()
		began := time.Now()
		for range 5 {
			events <- fsnotify.Event{}
		}
		failures <- errors.New("overflow")
		<-changed
		if waited := time.Since(began); waited != settle {
			t.Errorf("noticed after %s", waited)
		}
		// Without any event the files are looked at all the same, also when the watch has died.
		close(events)
		close(failures)
		<-changed
		if waited := time.Since(began); waited != pollFiles {
			t.Errorf("looked again after %s", waited)
		}
		cancel()
		<-done
	})
}

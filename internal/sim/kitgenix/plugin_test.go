package kitgenix

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stocksync.dev/stocksync/internal/sim/woocommerce"
)

// network carries requests to the shop named by the host.
type network struct {
	mu    sync.Mutex
	shops map[string]http.Handler
	calls []string
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	shop := n.shops[r.URL.Host]
	n.calls = append(n.calls, r.URL.Host+strings.TrimPrefix(r.URL.Path, Root))
	n.mu.Unlock()
	if shop == nil {
		return nil, fmt.Errorf("%s does not answer", r.URL.Host)
	}
	r.Header.Set("X-Forwarded-Proto", "https")
	w := httptest.NewRecorder()
	shop.ServeHTTP(w, r)
	return w.Result(), nil
}

func (n *network) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.calls)
}

const (
	masterID = "11111111-1111-4111-8111-111111111111"
	childID  = "22222222-2222-4222-8222-222222222222"
	secondID = "33333333-3333-4333-8333-333333333333"
)

// lab is a master and two children, as in the recordings.
type lab struct {
	t       *testing.T
	net     *network
	stores  [3]*woocommerce.Store
	plugins [3]*Plugin
}

var names = [3]string{"master", "child1", "child2"}

func newLab(t *testing.T, generation int, change func(i int, o *Options)) *lab {
	t.Helper()
	l := &lab{t: t, net: &network{shops: map[string]http.Handler{}}}
	ids := [3]string{masterID, childID, secondID}
	for i, name := range names {
		store := woocommerce.New(woocommerce.Options{Name: name, HomeURL: "https://" + name, Seed: uint64(i) + 1, Pauses: woocommerce.RealisticPauses()})
		if err := store.Seed(woocommerce.SeedOptions{Products: 200}); err != nil {
			t.Fatal(err)
		}
		l.stores[i], l.net.shops[name] = store, store.Handler()
		o := Options{Store: store, Generation: generation, ID: ids[i], Name: "Lab " + name, Master: i == 0, Transport: l.net, QueueDelay: time.Minute,
			Peers: []Peer{{ID: masterID, URL: "https://master", Secret: "test-secret"}}}
		if i == 0 {
			o.Peers = []Peer{{ID: childID, URL: "https://child1", Secret: "test-secret"}, {ID: secondID, URL: "https://child2", Secret: "test-secret"}}
		}
		if change != nil {
			change(i, &o)
		}
		l.plugins[i] = Install(o)
	}
	t.Cleanup(func() {
		for i := range names {
			l.plugins[i].Close()
			l.stores[i].Close()
		}
	})
	return l
}

// stocks are what the three shops show.
func (l *lab) stocks(sku string) [3]float64 {
	l.t.Helper()
	var q [3]float64
	for i, s := range l.stores {
		var ok bool
		if q[i], ok = s.Quantity(sku); !ok {
			l.t.Fatalf("no %s in %s", sku, names[i])
		}
	}
	return q
}

func (l *lab) sell(i int, sku string) {
	l.t.Helper()
	if _, err := l.stores[i].PlaceOrder(context.Background(), woocommerce.Line{SKU: sku, Quantity: 1}); err != nil {
		l.t.Error(err)
	}
}

// together runs things at the same moment and waits until everything is quiet.
func together(dos ...func()) {
	var all sync.WaitGroup
	for _, do := range dos {
		all.Go(do)
	}
	all.Wait()
}

// What was measured between three real stores: a sale reaches all, by six calls; of two sales at the same moment one is
// lost, always.
func TestMeasuredLosses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 1, nil)
		l.sell(1, "SKU-0150")
		if got := l.stocks("SKU-0150"); got != [3]float64{99, 99, 99} {
			t.Errorf("after one sale: %v", got)
		}
		if got := l.net.count(); got != 6 {
			t.Errorf("%d calls for a sale, 6 were measured: %v", got, l.net.calls)
		}
		for i := range 10 {
			sku := fmt.Sprintf("SKU-%04d", 170+i)
			if i < 5 {
				together(func() { l.sell(1, sku) }, func() { l.sell(2, sku) })
			} else {
				together(func() { l.sell(1, sku) }, func() { l.sell(0, sku) })
			}
			if got := l.stocks(sku); got != [3]float64{99, 99, 99} {
				t.Errorf("%s after two sales at once, of which one is always lost: %v", sku, got)
			}
			time.Sleep(5 * time.Second) // in the bubble's time
		}
		together(func() { l.sell(1, "SKU-0190") }, func() { time.Sleep(3 * time.Second); l.sell(2, "SKU-0190") })
		if got := l.stocks("SKU-0190"); got != [3]float64{98, 98, 98} {
			t.Errorf("after two sales, one after the other: %v", got)
		}
	})
}

// The events are those that were recorded, letter by letter but for time and ids.
func TestRecordedEvents(t *testing.T) {
	t.Parallel()
	known := func(l *lab) { // the child has learned the identity before
		l.plugins[0].Push(10, "SKU-0150")
		time.Sleep(2 * time.Minute)
		l.sell(1, "SKU-0150")
	}
	for name, act := range map[string]func(l *lab){
		"event_child_to_master_stock_set.json":        known,
		"event_child_to_master_order_processing.json": known,
		"event_child_variation.json":                  func(l *lab) { l.sell(1, "VAR-2-S") },
		"event_master_to_child1.json":                 known,
		"event_master_to_child2.json":                 known,
		"event_child_order_restore.json": func(l *lab) {
			order, err := l.stores[1].PlaceOrder(context.Background(), woocommerce.Line{SKU: "SKU-0151", Quantity: 1})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
			if err := l.stores[1].Cancel(context.Background(), order.ID); err != nil {
				t.Fatal(err)
			}
		},
		"event_sku_rename_master_to_child.json": func(l *lab) {
			if err := l.stores[0].Rename("SKU-0152", "SKU-0152-NEW"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var f struct {
				Direction string
				Request   struct {
					Headers map[string]string
					RawBody string `json:"raw_body"`
				}
			}
			data, err := os.ReadFile(filepath.Join("testdata", name))
			if err != nil || json.Unmarshal(data, &f) != nil {
				t.Fatal(err)
			}
			want := normal(t, f.Request.RawBody)
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, 1, nil)
				var sent []string
				for host, shop := range l.net.shops {
					l.net.shops[host] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						body := new(strings.Builder)
						r.Body = http.MaxBytesReader(w, teeBody{r.Body, body}, 1<<20)
						shop.ServeHTTP(w, r)
						l.net.mu.Lock()
						sent = append(sent, normal(t, body.String()))
						l.net.mu.Unlock()
					})
				}
				act(l)
				if !strings.Contains(strings.Join(sent, "\n")+"\n", want+"\n") {
					t.Errorf("recorded\n%s\nsent\n%s", want, strings.Join(sent, "\n"))
				}
			})
		})
	}
}

// normal is an event without what differs from day to day.
func normal(t *testing.T, body string) string {
	t.Helper()
	var e event
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		t.Fatal(err)
	}
	e.Time, e.ID = 0, "id"
	for i := range e.Items {
		if e.Items[i].GID != "" {
			e.Items[i].GID = "gid"
		}
	}
	return string(phpJSON(e))
}

type teeBody struct {
	body interface {
		Read([]byte) (int, error)
		Close() error
	}
	copied *strings.Builder
}

func (b teeBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.copied.Write(p[:n])
	return n, err
}

func (b teeBody) Close() error { return b.body.Close() }

// The id of an event of generation 1 is the hash the plugin makes of it.
func TestEventIDs(t *testing.T) {
	t.Parallel()
	var v struct {
		V1 struct {
			Sender  string `json:"sender_store_id"`
			Payload string `json:"payload_json"`
			ID      string `json:"event_id"`
		} `json:"event_id_v1"`
	}
	data, err := os.ReadFile("testdata/signature-vectors.json")
	if err != nil || json.Unmarshal(data, &v) != nil {
		t.Fatal(err)
	}
	var e event
	if err := json.Unmarshal([]byte(v.V1.Payload), &e); err != nil {
		t.Fatal(err)
	}
	p := &Plugin{o: Options{ID: v.V1.Sender}}
	if got := p.hash(e); got != v.V1.ID {
		t.Errorf("%s of %s", got, phpJSON(e))
	}
}

// The real plugin's answers to hand-made requests.
func TestRecordedAnswers(t *testing.T) {
	t.Parallel()
	var f struct {
		Rows []struct {
			Case, To, Endpoint string
			RawBody            string `json:"raw_body"`
			Status             int
			Response           map[string]any
		}
	}
	data, err := os.ReadFile("testdata/responses_table.json")
	if err != nil || json.Unmarshal(data, &f) != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 1, nil)
		for i, row := range f.Rows {
			to, sender := 0, childID
			if row.To == "child1" {
				to, sender = 1, masterID
			}
			h := http.Header{"Content-Type": {"application/json"}}
			secret, nonce, timestamp := "test-secret", "n"+strconv.Itoa(i), strconv.FormatInt(time.Now().Unix(), 10)
			switch row.Case {
			case "unknown sender":
				sender = "44444444-4444-4444-8444-444444444444"
			case "wrong secret", "bad signature burns nonce":
				secret = "wrong"
			case "clock 301 s off":
				timestamp = strconv.FormatInt(time.Now().Unix()-301, 10)
			case "bad timestamp":
				timestamp = "soon"
			}
			switch row.Case {
			case "first use", "replay same nonce":
				nonce = "twice"
			case "bad signature burns nonce", "then right signature, same nonce":
				nonce = "burnt"
			}
			if row.Case != "no headers" {
				h.Set("X-Kitgenix-Store-Id", sender)
				h.Set("X-Kitgenix-Timestamp", timestamp)
				h.Set("X-Kitgenix-Nonce", nonce)
				h.Set("X-Kitgenix-Signature", sign(secret, timestamp, nonce, []byte(row.RawBody)))
			}
			status, answer := l.plugins[to].Serve(t.Context(), http.MethodPost, Root+"/"+row.Endpoint, h, []byte(row.RawBody))
			var got map[string]any
			if err := json.Unmarshal(phpJSON(answer), &got); err != nil {
				t.Fatal(err)
			}
			if status != row.Status || got["code"] != row.Response["code"] || got["message"] != row.Response["message"] || got["ok"] != row.Response["ok"] {
				t.Errorf("%s: %d %v, recorded %d %v", row.Case, status, got, row.Status, row.Response)
			}
			items, _ := got["items"].(map[string]any)
			recorded, _ := row.Response["items"].(map[string]any)
			for sku, want := range recorded {
				if sku == "NM-1" || sku == "SKU-0150" { // their stock came from what was done before
					continue
				}
				if string(phpJSON(items[sku])) != string(phpJSON(want)) {
					t.Errorf("%s: %s is %s, recorded %s", row.Case, sku, phpJSON(items[sku]), phpJSON(want))
				}
			}
		}
	})
}

// What somebody who relies on the plugin loses.
func TestDefects(t *testing.T) {
	t.Parallel()
	t.Run("the last change of a burst is dropped", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, 1, nil)
			for _, q := range []float64{50, 40} {
				if err := l.stores[0].EditStock("SKU-0001", q); err != nil {
					t.Fatal(err)
				}
			}
			if got := l.stocks("SKU-0001"); got != [3]float64{40, 50, 50} {
				t.Error(got)
			}
		})
	})
	t.Run("an old snapshot is tried again and wins", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, 1, nil)
			shop := l.net.shops["child2"]
			l.net.mu.Lock()
			delete(l.net.shops, "child2")
			l.net.mu.Unlock()
			l.sell(0, "SKU-0001")
			time.Sleep(10 * time.Second)
			l.net.mu.Lock()
			l.net.shops["child2"] = shop
			l.net.mu.Unlock()
			l.sell(1, "SKU-0001")
			before := l.stocks("SKU-0001")
			time.Sleep(10 * time.Minute)
			after := l.stocks("SKU-0001")
			if before != [3]float64{98, 98, 98} || after != [3]float64{98, 98, 99} {
				t.Errorf("%v, later %v", before, after)
			}
		})
	})
	t.Run("unmanaged items are made managed, and sold out", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, 1, nil)
			for _, s := range l.stores {
				if _, err := s.Create(woocommerce.NewItem{SKU: "FREE"}); err != nil {
					t.Fatal(err)
				}
			}
			l.plugins[0].Push(10, "FREE")
			time.Sleep(2 * time.Minute)
			if got, err := l.stores[1].Item("FREE"); err != nil || got.Manage != true || got.Status != "outofstock" {
				t.Errorf("%+v %v", got, err)
			}
		})
	})
	t.Run("a long event is never queued", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, 2, nil)
			if err := l.stores[1].EditBehind("SKU-0001", 3); err != nil {
				t.Fatal(err)
			}
			l.plugins[0].Push(200)
			time.Sleep(10 * time.Minute)
			if _, lost := l.plugins[0].Backlog(); lost == 0 || l.stocks("SKU-0001")[1] != 3 {
				t.Errorf("%d lost, %v", lost, l.stocks("SKU-0001"))
			}
			l.plugins[0].Push(20)
			time.Sleep(10 * time.Minute)
			if got := l.stocks("SKU-0001"); got != [3]float64{100, 100, 100} {
				t.Error(got)
			}
		})
	})
	t.Run("generation 2 loses one of two sales too, and keeps it to itself", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, 2, nil)
			together(func() { l.sell(1, "SKU-0001") }, func() { l.sell(2, "SKU-0001") })
			time.Sleep(30 * time.Minute)
			if got := l.stocks("SKU-0001"); got != [3]float64{99, 99, 99} {
				t.Error(got)
			}
		})
	})
	t.Run("a version left by another master stops the new one", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, 2, nil)
			id := l.stores[1].FindSKU("SKU-0001")
			if err := l.stores[1].Save(t.Context(), id, nil, map[string]string{MetaApplied: "1000"}); err != nil {
				t.Fatal(err)
			}
			l.sell(0, "SKU-0001")
			time.Sleep(10 * time.Minute)
			if got := l.stocks("SKU-0001"); got != [3]float64{99, 100, 99} {
				t.Error(got)
			}
		})
	})
	t.Run("twenty forged requests lock a real peer out", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, 2, nil)
			forged, known := Peer{URL: "https://master", Secret: "guess"}, Peer{URL: "https://master", Secret: "test-secret"}
			for range 20 {
				if status, _ := l.plugins[1].Call(t.Context(), forged, "/ping", map[string]any{"ping": true}); status != 401 {
					t.Fatal(status)
				}
			}
			if status, _ := l.plugins[1].Call(t.Context(), known, "/ping", map[string]any{"ping": true}); status != 429 {
				t.Error(status)
			}
			time.Sleep(16 * time.Minute)
			if status, _ := l.plugins[1].Call(t.Context(), known, "/ping", map[string]any{"ping": true}); status != 200 {
				t.Error(status)
			}
		})
	})
}

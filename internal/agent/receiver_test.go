package agent

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/internal/engine"
)

const testLedger = "0123456789abcdef0123456789abcdef"

// delivery is what a shop sends.
func delivery(t testing.TB, base, store, secret, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, base+"/webhooks/woocommerce/"+store, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-WC-Webhook-Topic", "product.updated")
	r.Header.Set("X-WC-Webhook-Signature", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return r
}

func metricsOf(t *testing.T, b *bench) string {
	t.Helper()
	res, err := http.Get("http://" + b.addrs["metrics"].String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("metrics: %s %v", res.Status, err)
	}
	return string(text)
}

// inboxes is a receiver with its clock standing still, and what it told.
type inboxes struct {
	*receiver
	mu     sync.Mutex
	hints  []string
	alive  []string
	counts map[string]int
	log    *logBook
}

func newInboxes() *inboxes {
	in := &inboxes{counts: map[string]int{}, log: &logBook{}}
	now := time.Unix(1_800_000_000, 0)
	in.receiver = newReceiver(testLedger, func() time.Time { return now }, hearing{
		hint: func(store string, products ...int64) {
			in.mu.Lock()
			defer in.mu.Unlock()
			in.hints = append(in.hints, fmt.Sprint(store, products))
		},
		sourceHint: func(store string, e engine.SourceEvent) {
			in.mu.Lock()
			defer in.mu.Unlock()
			in.hints = append(in.hints, fmt.Sprintf("%s%+v", store, e))
		},
		alive: func(store string) {
			in.mu.Lock()
			defer in.mu.Unlock()
			in.alive = append(in.alive, store)
		},
		count: func(store, result string) {
			in.mu.Lock()
			defer in.mu.Unlock()
			in.counts[store+" "+result]++
		},
	}, in.log.logger())
	in.configure(map[string]bool{"fr": false, "de": false, "off": true}, nil)
	return in
}

func (in *inboxes) send(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	in.ServeHTTP(w, r)
	return w
}

func fixtureBody(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "sim", "woocommerce", "testdata", "fixtures", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Request struct {
			Body string `json:"raw_body"`
		}
	}
	if err := json.Unmarshal(data, &f); err != nil || f.Request.Body == "" {
		t.Fatalf("%s: %v", name, err)
	}
	return f.Request.Body
}

func TestDeliveries(t *testing.T) {
	t.Parallel()
	secret := WebhookSecret(testLedger, "fr")
	topic := func(topic string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("X-WC-Webhook-Topic", topic) }
	}
	unsigned := func(r *http.Request) { r.Header.Del("X-WC-Webhook-Signature") }
	for _, tc := range []struct {
		name, store, secret, body string
		change                    func(*http.Request)
		want                      int
		hints                     []string
		count                     string
	}{
		{name: "a simple product", body: fixtureBody(t, "webhook_product_updated_simple"), want: 200, hints: []string{"fr[50]"}, count: "fr accepted"},
		{name: "a variation and its parent", body: fixtureBody(t, "webhook_product_updated_variation"), want: 200, hints: []string{"fr[311 310]"}, count: "fr accepted"},
		{name: "stock taken by an order", body: `{"action":"woocommerce_updated_product_stock","arg":77}`, change: topic("action.woocommerce_updated_product_stock"), want: 200, hints: []string{"fr[77]"}, count: "fr accepted"},
		{name: "a number as text", body: `{"id":"50"}`, want: 200, hints: []string{"fr[50]"}, count: "fr accepted"},
		{name: "no number at all", body: `{"id":{}}`, want: 200, hints: []string{"fr[]"}, count: "fr accepted"},
		{name: "an order, which we never asked for", body: fixtureBody(t, "webhook_order_created"), change: topic("order.created"), want: 200, count: "fr accepted"},
		{name: "the ping", body: fixtureBody(t, "webhook_ping"), change: func(r *http.Request) {
			r.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		}, want: 200, count: "fr ping"},
		{name: "a store that is off", store: "off", secret: WebhookSecret(testLedger, "off"), body: `{"id":1}`, want: 200, count: "off accepted"},
		{name: "another store's secret", secret: WebhookSecret(testLedger, "de"), body: `{"id":1}`, want: 401, count: "fr bad_signature"},
		{name: "no secret", secret: "-", body: `{"id":1}`, want: 401, count: "fr bad_signature"},
		{name: "no signature", body: `{"id":1}`, change: unsigned, want: 401, count: "fr bad_signature"},
		{name: "a signature that is none", body: `{"id":1}`, change: func(r *http.Request) { r.Header.Set("X-WC-Webhook-Signature", "%%%") }, want: 401, count: "fr bad_signature"},
		{name: "a changed body", body: `{"id":1}`, change: func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"id":2}`)) }, want: 401, count: "fr bad_signature"},
		{name: "a signed ping", body: "webhook_id=1", change: func(r *http.Request) {
			r.Header.Del("X-WC-Webhook-Topic")
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}, want: 200, count: "fr accepted"},
		{name: "no JSON", body: `{"id":`, want: 400, count: "fr malformed"},
		{name: "too large", body: strings.Repeat("x", maxDelivery+1), want: 413, count: "fr oversize"},
		{name: "an unknown store", store: "nope", body: `{"id":1}`, want: 404},
		{name: "a store and more", store: "fr/x", body: `{"id":1}`, want: 404},
		{name: "no store", store: "", body: `{"id":1}`, change: func(r *http.Request) { r.URL.Path = "/" }, want: 404},
		{name: "GET", body: "", change: func(r *http.Request) { r.Method = http.MethodGet }, want: 405},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			in := newInboxes()
			if tc.store == "" {
				tc.store = "fr"
			}
			if tc.secret == "" {
				tc.secret = secret
			}
			r := delivery(t, "http://agent", tc.store, tc.secret, tc.body)
			if tc.change != nil {
				tc.change(r)
			}
			w := in.send(r)
			if w.Code != tc.want {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
			if !slices.Equal(in.hints, tc.hints) {
				t.Errorf("hints %q", in.hints)
			}
			// Only what is signed tells that the shop is at work.
			if accepted := tc.count == tc.store+" accepted"; accepted != slices.Equal(in.alive, []string{tc.store}) || !accepted && len(in.alive) > 0 {
				t.Errorf("alive %q", in.alive)
			}
			if tc.count != "" && in.counts[tc.count] != 1 || tc.count == "" && len(in.counts) > 0 {
				t.Errorf("counted %v", in.counts)
			}
		})
	}
}

// A delivery sent again is one more hint, and a hint moves nothing.
func TestAReplayIsOnlyAHint(t *testing.T) {
	t.Parallel()
	in := newInboxes()
	for range 100 {
		if w := in.send(delivery(t, "http://agent", "fr", WebhookSecret(testLedger, "fr"), `{"id":5}`)); w.Code != http.StatusOK {
			t.Fatal(w.Code)
		}
	}
	if len(in.hints) != 100 || in.hints[0] != "fr[5]" {
		t.Error(in.hints)
	}
}

// Whoever forges is turned away with less and less attention, and cannot use up the place of the shop that signs.
func TestForgersDoNotBlockASignedDelivery(t *testing.T) {
	t.Parallel()
	in := newInboxes()
	server := newServer(in, logr.Discard())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	base := "http://" + l.Addr().String()

	// More slow senders than are read at a time, each promising a body and keeping it back.
	for range maxReading + 20 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		fmt.Fprintf(c, "POST /webhooks/woocommerce/fr HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000\r\nX-WC-Webhook-Signature: AAAA\r\n\r\n")
		// The server asks for the body when the handler reads it, so this one holds its place from now on.
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, "100") {
			t.Fatalf("%q %v", line, err)
		}
	}
	var limited int
	for range 3 * unsignedBurst {
		res, err := http.DefaultClient.Do(delivery(t, base, "fr", "forged", `{"id":666}`))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		switch res.StatusCode {
		case http.StatusTooManyRequests:
			limited++
		case http.StatusUnauthorized:
		default:
			t.Fatal(res.Status)
		}
	}
	if limited == 0 {
		t.Error("a flood of forged deliveries was never limited")
	}
	for _, store := range []string{"fr", "de"} {
		res, err := http.DefaultClient.Do(delivery(t, base, store, WebhookSecret(testLedger, store), `{"id":7}`))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("a signed delivery of %s: %s", store, res.Status)
		}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if !slices.Equal(in.hints, []string{"fr[7]", "de[7]"}) {
		t.Errorf("hints %q", in.hints)
	}
	if n := strings.Count(in.log.String(), "webhook refused"); n > unsignedBurst {
		t.Errorf("the flood made %d log lines", n)
	}
}

func TestTheOldestGivesWay(t *testing.T) {
	t.Parallel()
	c := &crowd{max: 2}
	var out []string
	enter := func(name string) func() { return c.enter(func() { out = append(out, name) }) }
	a := enter("a")
	enter("b")
	a()
	enter("c")
	if len(out) > 0 {
		t.Fatalf("%q left although there was room", out)
	}
	enter("d")
	enter("e")
	a() // leaving twice harms nobody
	if !slices.Equal(out, []string{"b", "c"}) {
		t.Errorf("%q left", out)
	}
}

func TestSecretsDifferByStoreAndLedger(t *testing.T) {
	t.Parallel()
	a, b, c := WebhookSecret(testLedger, "fr"), WebhookSecret(testLedger, "de"), WebhookSecret("f"+testLedger[1:], "fr")
	if a == b || a == c || len(a) != 64 || a != WebhookSecret(testLedger, "fr") {
		t.Error(a, b, c)
	}
}

// No request makes the receiver panic, and only a signed one makes it hint.
func FuzzDelivery(f *testing.F) {
	f.Add("product.updated", "application/json", []byte(`{"id":1,"parent_id":2}`), true)
	f.Add("", "application/x-www-form-urlencoded", []byte("webhook_id=1"), false)
	f.Add("action.woocommerce_updated_product_stock", "", []byte(`{"action":"x","arg":[1e999]}`), true)
	f.Add("product.updated", "application/json", []byte(`{"id":99999999999999999999,"parent_id":-1}`), true)
	f.Fuzz(func(t *testing.T, topic, kind string, body []byte, signed bool) {
		in := newInboxes()
		secret := "forged"
		if signed {
			secret = WebhookSecret(testLedger, "fr")
		}
		r := delivery(t, "http://agent", "fr", secret, string(body))
		r.Header.Set("X-WC-Webhook-Topic", topic)
		r.Header.Set("Content-Type", kind)
		w := in.send(r)
		if !signed && (w.Code == http.StatusOK || len(in.hints) > 0) {
			t.Fatalf("a forged delivery was taken: %d %q", w.Code, in.hints)
		}
		if strings.Contains(strings.Join(in.hints, ""), "-") {
			t.Fatalf("hint at a negative number: %q", in.hints)
		}
	})
}

package kitgenix

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/engine"
)

// recorded holds the exchanges of real plugins, which the simulator replays too.
const recorded = "../../sim/kitgenix/testdata"

func load(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(recorded, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

type vectors struct {
	Vectors []struct {
		Name, Secret, Timestamp, Nonce, Signature string
		StoreID                                   string `json:"store_id"`
		Body                                      []byte `json:"body_base64"`
	}
	Negative []struct{ Name, Uses, Timestamp, Signature string }
	Skew     []struct {
		Offset int64  `json:"offset_seconds"`
		Expect string `json:"expect"`
	} `json:"clock_skew"`
}

func TestSignaturesAreThoseOfThePlugin(t *testing.T) {
	t.Parallel()
	var v vectors
	load(t, "signature-vectors.json", &v)
	header := func(timestamp, nonce, signature string) http.Header {
		h := http.Header{}
		h.Set(HeaderTimestamp, timestamp)
		h.Set(HeaderNonce, nonce)
		h.Set(HeaderSignature, signature)
		return h
	}
	for _, x := range v.Vectors {
		if got := Sign(x.Secret, x.Timestamp, x.Nonce, x.Body); got != x.Signature {
			t.Errorf("%s: signed %s", x.Name, got)
		}
		seconds, err := strconv.ParseInt(x.Timestamp, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Unix(seconds, 0)
		if _, _, err := verify(header(x.Timestamp, x.Nonce, x.Signature), x.Body, []Secret{{Value: "another"}, {Value: x.Secret}}, now); err != nil {
			t.Errorf("%s: %v", x.Name, err)
		}
		if _, _, err := verify(header(x.Timestamp, x.Nonce, x.Signature), append([]byte(" "), x.Body...), []Secret{{Value: x.Secret}}, now); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: a changed body: %v", x.Name, err)
		}
		for _, n := range v.Negative {
			if n.Uses != x.Name {
				continue
			}
			timestamp := x.Timestamp
			if n.Timestamp != "" {
				timestamp = n.Timestamp
			}
			if _, _, err := verify(header(timestamp, x.Nonce, n.Signature), x.Body, []Secret{{Value: x.Secret}}, now); err == nil {
				t.Errorf("%s was accepted", n.Name)
			}
		}
	}
	x := v.Vectors[0]
	at, _ := strconv.ParseInt(x.Timestamp, 10, 64)
	for _, s := range v.Skew {
		_, _, err := verify(header(x.Timestamp, x.Nonce, x.Signature), x.Body, []Secret{{Value: x.Secret}}, time.Unix(at+s.Offset, 0))
		if (err == nil) != (s.Expect == "accept") {
			t.Errorf("%d s away: %v", s.Offset, err)
		}
	}
	// A secret that has run out, and one that has not.
	for _, c := range []struct {
		until time.Duration
		good  bool
	}{{-time.Second, false}, {time.Second, true}} {
		_, _, err := verify(header(x.Timestamp, x.Nonce, x.Signature), x.Body, []Secret{{Value: x.Secret, Until: time.Unix(at, 0).Add(c.until)}}, time.Unix(at, 0))
		if (err == nil) != c.good {
			t.Errorf("until %v: %v", c.until, err)
		}
	}
}

// Every event the plugin was recorded to send is read as what it says.
func TestRecordedEventsAreRead(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(recorded + "/event_*.json")
	if err != nil || len(files) < 7 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		var f struct {
			Secret  string
			Request struct {
				Headers map[string]string
				RawBody string `json:"raw_body"`
				Body    struct {
					EventType string `json:"event_type"`
					EventID   string `json:"event_id"`
					Items     []struct {
						GID, SKU string
						OldSKU   string `json:"old_sku"`
						Quantity *int64 `json:"stock_quantity"`
						Status   string `json:"stock_status"`
					}
				}
			}
		}
		load(t, filepath.Base(file), &f)
		e, err := ParseEvent([]byte(f.Request.RawBody))
		if err != nil {
			t.Fatal(file, err)
		}
		want := f.Request.Body
		if e.Type != want.EventType || e.ID != want.EventID || len(e.Items) != len(want.Items) {
			t.Errorf("%s: %+v", file, e)
		}
		for i, item := range want.Items {
			got := e.Items[i]
			if got.SKU != item.SKU || got.GID != item.GID || got.OldSKU != item.OldSKU || got.Status != item.Status || (got.Quantity == nil) != (item.Quantity == nil) ||
				got.Quantity != nil && *got.Quantity != *item.Quantity || len(got.Unreadable) > 0 {
				t.Errorf("%s: %+v, not %+v", file, got, item)
			}
		}
		h := http.Header{}
		for k, v := range f.Request.Headers {
			h.Set(k, v)
		}
		at, _ := strconv.ParseInt(h.Get(HeaderTimestamp), 10, 64)
		if _, _, err := verify(h, []byte(f.Request.RawBody), []Secret{{Value: f.Secret}}, time.Unix(at, 0)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// What PHP writes is understood, and what no number can be read from is named instead of taken for zero.
func TestOddJSON(t *testing.T) {
	t.Parallel()
	item := func(fields string) Item {
		t.Helper()
		e, err := ParseEvent([]byte(`{"event_type":"stock_state","items":[{"sku":"A",` + fields + `}]}`))
		if err != nil || len(e.Items) != 1 {
			t.Fatalf("%s: %+v, %v", fields, e, err)
		}
		return e.Items[0]
	}
	for text, want := range map[string]int64{"7": 7, `"7"`: 7, "7.0": 7, `" -3 "`: -3, "1e2": 100, "9007199254740993": 9007199254740993} {
		if got := item(`"stock_quantity":` + text); got.Quantity == nil || *got.Quantity != want || len(got.Unreadable) > 0 {
			t.Errorf("%s: %+v", text, got)
		}
	}
	for _, text := range []string{`"many"`, "7.5", "true", "[]", "[1]", `{"a":1}`, `""`, "1e400", "1e29", `"0x10"`, `"1/2"`, "92233720368547758070"} {
		if got := item(`"stock_quantity":` + text); got.Quantity != nil || len(got.Unreadable) != 1 {
			t.Errorf("%s: %+v", text, got)
		}
	}
	if got := item(`"stock_quantity":null`); got.Quantity != nil || len(got.Unreadable) > 0 {
		t.Errorf("null: %+v", got)
	}
	for text, want := range map[string]Management{"true": ManagesStock, "false": NoManagement, `"parent"`: ParentManages, `"yes"`: ManagesStock, "1": ManagesStock, "0": NoManagement} {
		if got := item(`"manage_stock":` + text); got.Management != want {
			t.Errorf("%s: %q", text, got.Management)
		}
	}
	for body, want := range map[string]string{
		`{"items":[{"sku":123},{"sku":" B "},{"sku":""},{"nothing":1},7]}`: "123,B",
		`{"items":{"1":{"sku":"B"},"0":{"sku":"A"}}}`:                      "A,B",
		`{"items":[]}`: "",
	} {
		skus, given, err := parseSKUs([]byte(body))
		if err != nil || !given || strings.Join(skus, ",") != want {
			t.Errorf("%s: %q %v %v", body, skus, given, err)
		}
	}
	for body, want := range map[string]string{
		`{"ok":true,"items":[]}`: "",
		`{"ok":true,"items":[{"exists":true,"stock_quantity":4},{"exists":false}]}`: "0",
		`{"ok":true,"items":{"X":{"exists":true,"stock_quantity":4}}}`:              "X",
	} {
		states, err := parseStates([]byte(body))
		if err != nil {
			t.Fatal(body, err)
		}
		got := ""
		for sku, s := range states {
			if s.Exists {
				got += sku
				if s.Quantity == nil || *s.Quantity != 4 {
					t.Errorf("%s: %+v", body, s)
				}
			}
		}
		if got != want {
			t.Errorf("%s: %q", body, got)
		}
	}
}

// memoryHub answers from maps, as the agent does from its ledger.
type memoryHub struct {
	mu      sync.Mutex
	peers   map[string]Peer
	role    Role
	seen    map[string]bool
	events  []Event
	counts  map[string]int
	broken  error
	refused int
}

func (h *memoryHub) Peer(id string) (Peer, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, ok := h.peers[id]
	return p, ok
}

func (h *memoryHub) Pong(Peer) Pong {
	return Pong{StoreID: "11111111-1111-4111-8111-111111111111", Name: "Hub", Role: h.role, WooCommerce: "9.9.5", Plugin: "2.0.0"}
}

func (h *memoryHub) Refused(string, error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused++
	return h.refused <= maxRefused
}

const maxRefused = 20

func (h *memoryHub) Remember(_ context.Context, text string, _ time.Time, _ bool) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fresh := !h.seen[text]
	h.seen[text] = true
	return fresh, nil
}

func (h *memoryHub) Event(_ context.Context, _ Peer, id string, _ time.Time, e Event) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broken != nil {
		return false, h.broken
	}
	if h.seen["event|"+id] {
		return true, nil
	}
	h.seen["event|"+id] = true
	h.events = append(h.events, e)
	return false, nil
}

func (h *memoryHub) Stock(_ context.Context, _ Peer, skus []string) (map[string]State, error) {
	return h.states(skus, false), nil
}

func (h *memoryHub) States(_ context.Context, _ Peer, skus []string) (map[string]State, error) {
	return h.states(skus, true), nil
}

func (h *memoryHub) states(skus []string, all bool) map[string]State {
	m := map[string]State{}
	for _, sku := range skus {
		if strings.HasPrefix(sku, "SKU-") {
			q, low := int64(99), int64(0)
			s := State{Exists: true, Quantity: &q, Status: "instock", Backorders: "no"}
			if all {
				s.LowStockAmount, s.Management = &low, ManagesStock
			}
			m[sku] = s
		}
	}
	return m
}

func (h *memoryHub) Count(peer, route, outcome string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[peer+" "+route+" "+outcome]++
}

const child = "22222222-2222-4222-8222-222222222222"

func newHub(secrets ...Secret) *memoryHub {
	return &memoryHub{role: RoleMaster, peers: map[string]Peer{child: {StoreID: child, Secrets: secrets}}, seen: map[string]bool{}, counts: map[string]int{}}
}

var at = time.Unix(1790000000, 0)

func serve(t *testing.T, h *memoryHub) (*httptest.Server, *url.URL) {
	t.Helper()
	server := httptest.NewServer(NewServer(h, func() time.Time { return at }, logr.Discard(), nil))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return server, u
}

// post sends a body signed by the child, and returns the status and the answer.
func post(t *testing.T, server *httptest.Server, route, secret, nonce, body string, change func(http.Header)) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+route, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	signed(r.Header, child, secret, nonce, at, []byte(body))
	if change != nil {
		change(r.Header)
	}
	res, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var text json.RawMessage
	if err := json.NewDecoder(res.Body).Decode(&text); err != nil {
		t.Fatalf("status %d: %v", res.StatusCode, err)
	}
	return res.StatusCode, string(text)
}

// The table of the real plugin's answers: the same status everywhere, the same body where it is a success or says what
// is wrong with the request; but one answer for whatever is wrong with a signature.
func TestAnswersAreThoseOfThePlugin(t *testing.T) {
	t.Parallel()
	var f struct {
		Rows []struct {
			Case, To, Endpoint string
			RawBody            string `json:"raw_body"`
			Status             int
			Response           map[string]any
		}
	}
	load(t, "responses_table.json", &f)
	h := newHub(Secret{Value: "test-secret"})
	server, _ := serve(t, h)
	for i, row := range f.Rows {
		h.mu.Lock()
		h.role = RoleMaster
		if row.To != "master" {
			h.role = RoleChild
		}
		h.mu.Unlock()
		nonce := "nonce-" + strconv.Itoa(i)
		var change func(http.Header)
		secret := "test-secret"
		switch row.Case {
		case "no headers":
			change = func(h http.Header) {
				for _, name := range []string{HeaderStoreID, HeaderTimestamp, HeaderNonce, HeaderSignature} {
					h.Del(name)
				}
			}
		case "unknown sender":
			change = func(h http.Header) { h.Set(HeaderStoreID, "33333333-3333-4333-8333-333333333333") }
		case "wrong secret":
			secret = "wrong"
		case "clock 301 s off":
			change = func(h http.Header) { signed(h, child, secret, nonce, at.Add(301*time.Second), []byte(row.RawBody)) }
		case "bad timestamp":
			change = func(h http.Header) { h.Set(HeaderTimestamp, "soon") }
		case "first use", "replay same nonce":
			nonce = "twice"
		case "bad signature burns nonce", "then right signature, same nonce":
			continue // ours does not burn it: TestNobodyUsesUpANonce
		}
		status, body := post(t, server, Root+"/"+row.Endpoint, secret, nonce, row.RawBody, change)
		if status != row.Status {
			t.Errorf("%s: %d %s, not %d", row.Case, status, body, row.Status)
			continue
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		switch {
		case status == 401 && got["code"] != "kss_auth_failed", status != 401 && status != 200 && got["code"] != row.Response["code"], status == 200 && got["ok"] != true:
			t.Errorf("%s: %s", row.Case, body)
		}
		if items, ok := got["items"].(map[string]any); ok {
			for sku, v := range row.Response["items"].(map[string]any) {
				mine, _ := items[sku].(map[string]any)
				theirs := v.(map[string]any)
				if mine == nil || strings.HasPrefix(sku, "SKU-") && len(mine) != len(theirs) || sku == "NOPE-1" && mine["exists"] != false {
					t.Errorf("%s: %s: %v, not %v", row.Case, sku, mine, theirs)
				}
			}
		}
	}
}

// A forger who knows a store's id can neither use up its nonces nor lock it out.
func TestNobodyUsesUpANonce(t *testing.T) {
	t.Parallel()
	h := newHub(Secret{Value: "right"})
	server, _ := serve(t, h)
	for i := range 30 {
		want := 401
		if i >= maxRefused {
			want = 429 // whoever forges is turned away; the next one with the right secret is not
		}
		if status, body := post(t, server, RoutePing, "guess-"+strconv.Itoa(i), "the-nonce", `{"ping":true}`, nil); status != want || strings.Contains(body, "signature") {
			t.Fatalf("%d %s", status, body)
		}
	}
	if len(h.seen) != 0 {
		t.Errorf("forged requests are remembered: %v", h.seen)
	}
	if status, body := post(t, server, RoutePing, "right", "the-nonce", `{"ping":true}`, nil); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := post(t, server, RoutePing, "right", "the-nonce", `{"ping":true}`, nil); status == 200 {
		t.Errorf("a replay got %d", status)
	}
}

// An event is acknowledged once it is durable and not before; its copy changes nothing; a store that is off is told so.
func TestEvents(t *testing.T) {
	t.Parallel()
	h := newHub(Secret{Value: "s"})
	server, _ := serve(t, h)
	event := `{"event_type":"stock_state","event_id":"e1","items":[{"sku":"A","stock_quantity":5}]}`
	h.broken = errors.New("disk full")
	if status, _ := post(t, server, RouteEvent, "s", "n1", event, nil); status != 503 || len(h.events) != 0 {
		t.Errorf("%d, %d events", status, len(h.events))
	}
	h.broken = nil
	for i, want := range []int{1, 1} {
		if status, body := post(t, server, RouteEvent, "s", "m"+strconv.Itoa(i), event, nil); status != 200 || body != `{"ok":true,"processed":true}` || len(h.events) != want {
			t.Errorf("%d %s, %d events", status, body, len(h.events))
		}
	}
	// Without an id the bytes are the identity.
	anonymous := `{"event_type":"stock_state","items":[{"sku":"A","stock_quantity":4}]}`
	for i := range 2 {
		if status, _ := post(t, server, RouteEvent, "s", "o"+strconv.Itoa(i), anonymous, nil); status != 200 || len(h.events) != 2 {
			t.Errorf("%d, %d events", status, len(h.events))
		}
	}
	if status, _ := post(t, server, RouteEvent, "s", "p", `{"event_type":"weird","items":[{"sku":"A","stock_quantity":0}]}`, nil); status != 200 || len(h.events) != 2 {
		t.Errorf("an unknown type: %d, %d events", status, len(h.events))
	}
	large := `{"event_type":"stock_state","x":"` + strings.Repeat("x", MaxBody) + `"}`
	if status, _ := post(t, server, RouteEvent, "s", "q", large, nil); status != 413 {
		t.Errorf("%d", status)
	}
	h.peers[child] = Peer{StoreID: child, Secrets: []Secret{{Value: "s"}}, Off: true}
	if status, body := post(t, server, RouteEvent, "s", "r", event, nil); status != 403 || !strings.Contains(body, "Off") {
		t.Errorf("%d %s", status, body)
	}
	if h.counts[child+" event duplicate"] != 2 || h.counts[child+" event unknown"] != 1 || h.counts[child+" event off"] != 1 || h.counts[" event unreadable"] != 1 {
		t.Error(h.counts)
	}
}

// Both sides change their secret at their own time, and no request is lost meanwhile.
func TestClientAndServerRotate(t *testing.T) {
	t.Parallel()
	h := newHub(Secret{Value: "old"})
	server, u := serve(t, h)
	secrets := []Secret{{Value: "new"}, {Value: "old", Until: at.Add(time.Hour)}}
	c := NewClient(Options{URL: u, StoreID: child, RemoteStoreID: h.Pong(Peer{}).StoreID, Secrets: func() []Secret { return secrets },
		HTTP: server.Client().Transport, Now: func() time.Time { return at }, UserAgent: "test", Log: logr.Discard()})
	for range 2 {
		p, err := c.Ping(t.Context())
		if err != nil || p.Generation() != 2 || p.Role != RoleMaster || p.Time != at.Unix() {
			t.Fatalf("%+v, %v", p, err)
		}
	}
	// The second ping began with the secret that works, so the server refused one request in all.
	if h.counts[" ping refused"] != 1 {
		t.Error(h.counts)
	}
	h.mu.Lock()
	h.peers[child] = Peer{StoreID: child, Secrets: []Secret{{Value: "new"}}}
	h.mu.Unlock()
	q, low := int64(7), int64(0)
	e := Event{Type: TypeStockState, Origin: "child_local", Context: "stock_set", ID: "e", Time: at.Unix(),
		Items: []Item{{SKU: "A", Management: NoManagement, Quantity: &q, Status: "instock", Backorders: "no", LowStockAmount: &low}}}
	if err := c.Send(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if got := h.events[0].Items[0]; got.Management != NoManagement || *got.Quantity != 7 || *got.LowStockAmount != 0 {
		t.Errorf("%+v", got)
	}
	states, err := c.States(t.Context(), []string{"SKU-1", "123"})
	if err != nil || !states["SKU-1"].Exists || states["123"].Exists {
		t.Errorf("%+v, %v", states, err)
	}
	h.mu.Lock()
	h.peers[child] = Peer{StoreID: child, Secrets: []Secret{{Value: "a third"}}}
	h.mu.Unlock()
	if _, err := c.Ping(t.Context()); reason(err) != v1alpha1.ReasonSignatureRefused || strings.Contains(err.Error(), "new") && strings.Contains(err.Error(), "old") {
		t.Error(err)
	}
}

func reason(err error) string {
	f, ok := errors.AsType[*engine.Fault](err)
	if !ok {
		return ""
	}
	return f.Reason
}

// Whatever answers instead of the plugin is named, and a success in words only is none.
func TestAnswersThatAreNot(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		status int
		header string
		body   string
		want   string
		wait   time.Duration
	}{
		{"maintenance page", 200, "", "<html>be back soon</html>", v1alpha1.ReasonUnexpectedContent, 0},
		{"somebody else's JSON", 200, "", `{"ok":false}`, v1alpha1.ReasonUnexpectedContent, 0},
		{"redirect", 301, "Location: https://elsewhere.example.com", "", v1alpha1.ReasonUnexpectedContent, 0},
		{"locked out", 429, "", `{"code":"kss_rate_limited"}`, v1alpha1.ReasonRateLimited, 15 * time.Minute},
		{"locked out for longer", 429, "Retry-After: 1800", "", v1alpha1.ReasonRateLimited, 30 * time.Minute},
		{"no plugin", 404, "", `{"code":"rest_no_route"}`, v1alpha1.ReasonPluginMissing, 0},
		{"broken", 500, "", "", v1alpha1.ReasonServerError, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked++
				if name, value, ok := strings.Cut(c.header, ": "); ok {
					w.Header().Set(name, value)
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			defer server.Close()
			u, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			client := NewClient(Options{URL: u, StoreID: "a", Secrets: func() []Secret { return []Secret{{Value: "x"}, {Value: "y"}} },
				HTTP: server.Client().Transport, Now: func() time.Time { return at }, Log: logr.Discard()})
			err = client.Send(t.Context(), Event{Type: TypeStockState, ID: "1"})
			f, ok := errors.AsType[*engine.Fault](err)
			if !ok || f.Reason != c.want || f.RetryAfter != c.wait || asked != 1 {
				t.Errorf("%+v after %d requests", err, asked)
			}
		})
	}
}

func TestFirstVersion(t *testing.T) {
	t.Parallel()
	last := FirstVersion(at.UnixMicro(), 0)
	if last != at.UnixMicro() || FirstVersion(at.Add(-time.Hour).UnixMicro(), last) != last+1 {
		t.Error(last)
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob(recorded + "/event_*.json")
	for _, file := range files {
		var x struct {
			Request struct {
				RawBody string `json:"raw_body"`
			}
		}
		data, err := os.ReadFile(file)
		if err != nil || json.Unmarshal(data, &x) != nil {
			f.Fatal(file, err)
		}
		f.Add([]byte(x.Request.RawBody))
	}
	odd, _ := base64.StdEncoding.DecodeString("eyJpdGVtcyI6W1tdXX0=")
	f.Add(odd)
	f.Add([]byte(`{"event_type":"stock_state","items":{"0":{"sku":1,"stock_quantity":"1e9999"}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if e, err := ParseEvent(body); err == nil {
			again, err := e.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ParseEvent(again); err != nil {
				t.Fatal(err)
			}
		}
		_, _, _ = parseSKUs(body)
		_, _ = parseStates(body)
		_, _ = parsePong(body)
	})
}

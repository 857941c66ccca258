package agent

import (
	"context"
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
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/driver/kitgenix"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

// ponger answers pings by script.
type ponger struct {
	mu     sync.Mutex
	status int
	asked  []time.Time
}

// took are the times of the requests since the last call; from now on they are answered so.
func (p *ponger) took(status int) []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.asked
	p.status, p.asked = status, nil
	return asked
}

func (p *ponger) RoundTrip(*http.Request) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, time.Now())
	w := httptest.NewRecorder()
	w.WriteHeader(p.status)
	body := `{"ok":true,"store_id":"` + pluginID + `","role":"child","time":` + strconv.FormatInt(time.Now().Unix(), 10) + `,"plugin_version":"2.0.0","wc_version":"9.9.5"}`
	if p.status != http.StatusOK {
		body = `{"code":"kss_auth_failed"}`
	}
	_, _ = w.WriteString(body)
	return w.Result(), nil
}

func newLink(p *ponger, secrets ...string) *pluginLink {
	var list []kitgenix.Secret
	for _, s := range secrets {
		list = append(list, kitgenix.Secret{Value: s})
	}
	client := kitgenix.NewClient(kitgenix.Options{URL: &url.URL{Scheme: "https", Host: "fr.example.com"}, StoreID: hubID, RemoteStoreID: pluginID, RemoteRole: kitgenix.RoleChild,
		Secrets: func() []kitgenix.Secret { return list }, HTTP: p, Now: time.Now, Log: logr.Discard()})
	return &pluginLink{client: client, link: kitgenix.NewLink(client, kitgenix.RoleMaster, func() int64 { return time.Now().Unix() }), clock: SystemClock{},
		log: logr.Discard(), state: &pluginState{remote: pluginID}, save: func(contact) {}, wake: SystemClock{}.NewSignal()}
}

// A plugin is pinged every quarter of an hour. One that refuses every secret is left alone for longer than it counts
// refusals, so that it never locks us out; with another secret, or a sign from it, it is asked at once.
func TestPings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &ponger{status: http.StatusOK}
		l := newLink(p, "one", "two")
		ctx, cancel := context.WithCancel(t.Context())
		go l.run(ctx)
		time.Sleep(time.Hour + time.Minute)
		if asked := p.took(http.StatusUnauthorized); len(asked) != 5 || asked[4].Sub(asked[0]) != time.Hour {
			t.Errorf("pinged at %v", asked)
		}
		if known, _, _ := l.state.snapshot(); known.Pulse.Generation != 2 || known.Pulse.Plugin != "2.0.0" || known.connection(time.Now()) != agentapi.ConnectionOK {
			t.Errorf("%+v", known)
		}
		time.Sleep(2 * time.Hour)
		if asked := p.took(http.StatusOK); len(asked) != 16 { // two secrets, every quarter of an hour
			t.Errorf("refused %d times in two hours", len(asked))
		}
		known, _, _ := l.state.snapshot()
		if known.connection(time.Now()) != agentapi.ConnectionError || known.Fault.Reason != v1alpha1.ReasonSignatureRefused {
			t.Errorf("%+v", known)
		}
		if !l.state.asked(time.Now()) {
			t.Error("a signed request of the plugin is no reason to ask it again")
		}
		if l.state.asked(time.Now()) {
			t.Error("each of its requests is")
		}
		l.wake.Set()
		synctest.Wait()
		if known, _, _ := l.state.snapshot(); len(p.took(http.StatusOK)) != 1 || known.connection(time.Now()) != agentapi.ConnectionOK {
			t.Errorf("%+v", known)
		}
		cancel()
		synctest.Wait()
	})
}

// What a person sees of a plugin, whatever is wrong with it.
func TestPluginConditions(t *testing.T) {
	t.Parallel()
	plug := func(change func(v *view)) func(*view) {
		return func(v *view) {
			v.store.Settings.WooCommerce.URL = "https://fr.example.com"
			v.store.Settings.Kitgenix = &Kitgenix{SecretName: "key `secret` of Secret `fr-plugin`"}
			v.plugin = &pluginView{self: Identity{StoreID: hubID}, how: fromLedger,
				known: contact{Pulse: engine.Pulse{Generation: 2, Plugin: "2.0.0"}, Ponged: ago(time.Minute), Answered: ago(time.Minute), Asked: ago(time.Minute), Inbound: ago(time.Minute)}}
			if change != nil {
				change(v)
			}
		}
	}
	alone := func(change func(v *view)) func(*view) {
		return plug(func(v *view) {
			v.store.Settings.WooCommerce = WooCommerce{}
			if change != nil {
				change(v)
			}
		})
	}
	silent := func(v *view) { v.plugin.known.Asked, v.plugin.known.Inbound = time.Time{}, time.Time{} }
	hookless := func(v *view) { v.hooks = hooks{} }
	refused := func(v *view) {
		v.plugin.known.Failed, v.plugin.known.Fault = ago(time.Second), &engine.Fault{Reason: v1alpha1.ReasonSignatureRefused, Message: "refused"}
	}
	for _, tc := range []struct {
		name   string
		change func(*view)
		// hints, connected and checkout are reasons, the first with its status.
		hints, connected, checkout string
		tier, connection           string
		says                       string
	}{
		{"all well", plug(nil), "True PluginEventsActive", "Connected", "AnsweredFromLedger", agentapi.TierPluginAndREST, agentapi.ConnectionOK, ""},
		{"alone", alone(nil), "True PluginEventsActive", "Connected", "AnsweredFromLedger", agentapi.TierPlugin, agentapi.ConnectionOK, ""},
		{"never called, but webhooks", plug(silent), "True WebhooksActive", "Connected", "AnsweredFromLedger", agentapi.TierWebhooks, agentapi.ConnectionOK, ""},
		{"never called", plug(func(v *view) { silent(v); hookless(v) }), "False PluginEventsSilent", "Connected", "AnsweredFromLedger", agentapi.TierPolling, agentapi.ConnectionOK,
			"the Master URL https://sync.example.com and the Master Store ID " + hubID},
		{"the master's never called", plug(func(v *view) { silent(v); hookless(v); v.store.Master = true }), "False PluginEventsSilent", "Connected", "", agentapi.TierPolling,
			agentapi.ConnectionOK, "a child with the URL https://sync.example.com and the Store ID " + hubID},
		{"refuses us", plug(refused), "False SignatureRefused", "Connected", "AnsweredFromLedger", agentapi.TierWebhooks, agentapi.ConnectionError, "`fr-plugin`"},
		{"is refused", plug(func(v *view) { v.plugin.refused, v.plugin.cause = ago(time.Second), kitgenix.ErrSignature }), "False SignatureRefused", "Connected", "AnsweredFromLedger",
			agentapi.TierWebhooks, agentapi.ConnectionOK, "the secrets on both sides differ"},
		{"was refused long ago", plug(func(v *view) { v.plugin.refused, v.plugin.cause = ago(2*time.Minute), kitgenix.ErrSignature }), "True PluginEventsActive", "Connected",
			"AnsweredFromLedger", agentapi.TierPluginAndREST, agentapi.ConnectionOK, ""},
		{"nothing known", alone(func(v *view) { v.plugin.known = contact{} }), "False PluginEventsSilent", "Connected", "AnsweredFromLedger", agentapi.TierPlugin, agentapi.ConnectionNever, ""},
		{"not heard for a day", alone(func(v *view) {
			v.plugin.known.Answered, v.plugin.known.Inbound, v.plugin.known.Asked = ago(25*time.Hour), ago(26*time.Hour), ago(26*time.Hour)
		}), "False PluginEventsSilent", "PluginSilent", "AnsweredFromLedger", agentapi.TierPlugin, agentapi.ConnectionStale, ""},
		{"a clock ahead", plug(func(v *view) { v.plugin.known.Skew = 100 * time.Second }), "True ClockSkew", "Connected", "AnsweredFromLedger", agentapi.TierPluginAndREST, agentapi.ConnectionOK,
			"1m40s ahead"},
		{"a clock behind", alone(func(v *view) { v.plugin.known.Skew = -100 * time.Second }), "True ClockSkew", "ClockSkew", "AnsweredFromLedger", agentapi.TierPlugin, agentapi.ConnectionOK,
			"1m40s behind"},
		{"no address", plug(func(v *view) { v.publicURL = "" }), "False PollingOnly", "Connected", "AnsweredFromLedger", agentapi.TierPolling, agentapi.ConnectionOK, "publicURL"},
		{"off", plug(func(v *view) { v.store.Mode = engine.Off }), "Unknown Off", "Off", "Off", agentapi.TierPolling, agentapi.ConnectionOK, ""},
		{"fails open", plug(func(v *view) { v.plugin.how, v.plugin.silent = failedOpen, time.Hour }), "True PluginEventsActive", "Connected", "CheckoutFailingOpen", agentapi.TierPluginAndREST,
			agentapi.ConnectionOK, "1h0m0s"},
		{"too old", plug(func(v *view) { v.plugin.how = tooOld }), "True PluginEventsActive", "Connected", "CheckoutFailingOpen", agentapi.TierPluginAndREST, agentapi.ConnectionOK, ""},
		{"fails closed", plug(func(v *view) { v.plugin.how = failedClosed }), "True PluginEventsActive", "Connected", "MasterUnreachable", agentapi.TierPluginAndREST, agentapi.ConnectionOK, "refused"},
		{"last known", plug(func(v *view) { v.plugin.how = lastKnown }), "True PluginEventsActive", "Connected", "MasterUnreachable", agentapi.TierPluginAndREST, agentapi.ConnectionOK, "maxAgeSeconds"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			v := good()
			tc.change(&v)
			st := v.status(sinces{}.at(v.now))
			checkout := ""
			if st.CheckoutValidated != nil {
				checkout = st.CheckoutValidated.Reason
			}
			if got := st.HintsAvailable.Status + " " + st.HintsAvailable.Reason; got != tc.hints || st.Connected.Reason != tc.connected || checkout != tc.checkout || st.Tier != tc.tier ||
				st.Plugin.Connection != tc.connection || !strings.Contains(asJSON(st), tc.says) {
				t.Errorf("%s", asJSON(st))
			}
		})
	}
}

// What real plugins were recorded to send is answered as their real peers answered, by a hub that is the master to the
// children and a child to the master.
func TestRecordedRequestsAreAnswered(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../sim/kitgenix/testdata/*_to_*.json")
	if err != nil || len(files) < 6 {
		t.Fatal(files, err)
	}
	more, _ := filepath.Glob("../sim/kitgenix/testdata/event_child_*.json")
	for _, file := range append(files, more...) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			var f struct {
				Secret  string
				Request struct {
					Path    string
					Headers map[string]string
					RawBody string `json:"raw_body"`
				}
				Response struct {
					Status int
					Body   map[string]any
				}
			}
			data, err := os.ReadFile(file)
			if err != nil || json.Unmarshal(data, &f) != nil {
				t.Fatal(err)
			}
			seconds, err := strconv.ParseInt(f.Request.Headers[kitgenix.HeaderTimestamp], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			l, events, alive := ledger.NewMemory(), 0, 0
			set(t, l, "SKU-0150", 99)
			set(t, l, "SKU-0153", 100)
			remembered, err := newNonces(t.Context(), l, SystemClock{}, logr.Discard())
			if err != nil {
				t.Fatal(err)
			}
			now := func() time.Time { return time.Unix(seconds, 0) }
			ps := &plugins{ledger: l, nonces: remembered, now: now, log: logr.Discard(), heard: func(string) time.Time { return now() }, again: func(string) {},
				alive: func(string) { alive++ }, count: func(string, string, string) {}, validated: func(string, answered) {},
				receive: func(_ context.Context, store string, e engine.PeerEvent, _ time.Time) (bool, error) {
					if store != "peer" || e.ID == "" || len(e.Items) == 0 {
						return false, errors.New("not what was sent")
					}
					events++
					return false, nil
				}}
			ps.serve()
			remote := f.Request.Headers[kitgenix.HeaderStoreID]
			ps.state("peer", remote)
			fromMaster := remote == "11111111-1111-4111-8111-111111111111"
			ps.configure(pluginsConfig{id: hubID, master: "hq", plugins: []*plugin{{store: "peer", master: fromMaster, mode: engine.Sync, remote: remote,
				secrets: []kitgenix.Secret{{Value: f.Secret}}, excluded: func(stock.Key) bool { return false }, policy: stock.Policy{Master: fromMaster}}}})
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, f.Request.Path, strings.NewReader(f.Request.RawBody))
			for k, v := range f.Request.Headers {
				r.Header.Set(k, v)
			}
			w := httptest.NewRecorder()
			ps.mount(http.NotFoundHandler()).ServeHTTP(w, r)
			var got map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != f.Response.Status {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			for k, v := range f.Response.Body {
				switch k {
				case "store_id", "store_name":
				case "role":
					if want := map[bool]string{true: "child", false: "master"}[fromMaster]; got[k] != want {
						t.Errorf("role %v, not %s", got[k], want)
					}
				case "items":
					for sku := range v.(map[string]any) {
						if mine, ok := got["items"].(map[string]any)[sku].(map[string]any); !ok || mine["exists"] == nil {
							t.Errorf("nothing is answered for %s: %s", sku, w.Body)
						}
					}
					if strings.HasSuffix(f.Request.Path, "/stock") && asJSON(got["items"]) != asJSON(v) {
						t.Errorf("answered %s, the real master %s", asJSON(got["items"]), asJSON(v))
					}
				default:
					if got[k] != v {
						t.Errorf("%s is %v, not %v", k, got[k], v)
					}
				}
			}
			if (events > 0) != strings.HasSuffix(f.Request.Path, "/event") || alive != events {
				t.Errorf("%d events were taken in, %d told that the shop is at work", events, alive)
			}
		})
	}
}

// set makes a pool and an item of it in the store "peer".
func set(t *testing.T, l *ledger.Memory, sku string, units int64) {
	t.Helper()
	err := l.Update(t.Context(), func(tx engine.Tx) error {
		p, err := tx.NewPool(sku, stock.KeyOf(sku))
		if err != nil {
			return err
		}
		p.Set, p.Units = true, units
		return errors.Join(tx.PutPool(p), tx.PutPlacement(stock.Placement{Store: "peer", Pool: p.ID, SKU: sku, Ref: stock.Ref{Product: p.ID}, Enrolled: true}))
	})
	if err != nil {
		t.Fatal(err)
	}
}

package woocommerce

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	sim "stocksync.dev/stocksync/internal/sim/woocommerce"
)

// reach is the reading part of a probe.
func reach(ctx context.Context, c *Client) error {
	if err := c.index(ctx); err != nil {
		return err
	}
	return c.readOne(ctx, "products")
}

func TestReach(t *testing.T) {
	t.Parallel()
	index := func(w http.ResponseWriter) { answerJSON(w, row{"namespace": "wc/v3", "routes": row{}}) }
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		reason  string
	}{
		"well": {func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/products") {
				answerJSON(w, []row{{"id": 1}})
				return
			}
			index(w)
		}, ""},
		"no WooCommerce": {func(w http.ResponseWriter, _ *http.Request) {
			fixture(t, "products_variations_global_route_404").replay(w)
		}, v1alpha1.ReasonWooCommerceMissing},
		"another site": {func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, row{"hello": "world"}) }, v1alpha1.ReasonUnexpectedContent},
		"bad key": {func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" {
				fixture(t, "auth_bad_secret_401").replay(w)
				return
			}
			index(w)
		}, v1alpha1.ReasonAuthenticationFailed},
	} {
		c, s := newClient(t, tc.handler)
		err := reach(context.Background(), c)
		if tc.reason == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else if f := faultOf(t, err); f.Reason != tc.reason {
			t.Errorf("%s: %+v", name, f)
		}
		for _, r := range s.requests() {
			if r.method != http.MethodGet {
				t.Errorf("%s: a probe writes", name)
			}
		}
	}
}

// told are the checks of a probe: their names, and the reason of what failed.
func told(checks []agentapi.PingCheck) string {
	var out []string
	for _, c := range checks {
		if c.OK != (c.Reason == "") || c.OK != (c.Message == "") {
			out = append(out, "WRONG")
		}
		out = append(out, strings.TrimSuffix(c.Name+"="+c.Reason, "="))
	}
	return strings.Join(out, " ")
}

func TestProbeOfASimulatedShop(t *testing.T) {
	t.Parallel()
	const reached = "DNS TCP TLS RESTAPI "
	for name, tc := range map[string]struct {
		key, secret string
		behaviour   sim.Behaviour
		want        string
	}{
		"well":         {testKey, testSecret, sim.Behaviour{}, reached + "Authentication ReadProducts ReadOrders Write Clock"},
		"read only":    {"ck_read", "cs_read", sim.Behaviour{}, reached + "Authentication ReadProducts ReadOrders Write=ReadOnlyKey Clock"},
		"no orders":    {"ck_blind", "cs_blind", sim.Behaviour{}, reached + "Authentication ReadProducts ReadOrders=OrdersUnreadable Write Clock"},
		"wrong secret": {testKey, "cs_wrong", sim.Behaviour{}, reached + "Authentication=AuthenticationFailed"},
		"unknown key":  {"ck_unknown", "cs", sim.Behaviour{}, reached + "Authentication=AuthenticationFailed"},
		"no shop":      {testKey, testSecret, sim.Behaviour{NoWooCommerce: true}, "DNS TCP TLS RESTAPI=WooCommerceMissing"},
	} {
		_, s, ck := simulated(t)
		before, err := json.Marshal(s.Items())
		if err != nil {
			t.Fatal(err)
		}
		s.SetBehaviour(tc.behaviour)
		c := clientOf(t, s, ck.Now, tc.key, tc.secret)
		if got := told(c.Probe(context.Background())); got != tc.want {
			t.Errorf("%s: %s", name, got)
		}
		if after, err := json.Marshal(s.Items()); err != nil || string(after) != string(before) {
			t.Errorf("%s: the probe changed the shop", name)
		}
	}
	_, s, ck := simulated(t)
	late := clientOf(t, s, func() time.Time { return ck.Now().Add(3 * time.Minute) }, testKey, testSecret)
	checks := late.Probe(context.Background())
	if got := told(checks); !strings.HasSuffix(got, "Write Clock=ClockSkew") || !strings.Contains(checks[len(checks)-1].Message, "3m0s") {
		t.Errorf("a wrong clock: %s %+v", got, checks)
	}
}

func TestProbeTellsHowFarItCame(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"no such name":   {&net.DNSError{Err: "no such host", Name: "x"}, "DNS=NameNotResolved"},
		"port closed":    {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "DNS TCP=Unreachable"},
		"private CA":     {x509.UnknownAuthorityError{}, "DNS TCP TLS=UntrustedCertificate"},
		"plain HTTP":     {http.ErrSchemeMismatch, "DNS TCP TLS=PlainHTTP"},
		"does not speak": {context.DeadlineExceeded, "DNS TCP TLS RESTAPI=Timeout"},
	} {
		if got := told(over(t, failing{tc.err}).Probe(context.Background())); got != tc.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	c, s := newClient(t, func(w http.ResponseWriter, _ *http.Request) { fixture(t, "system_status_trimmed").replay(w) })
	v, err := c.Versions(context.Background())
	if err != nil || v != (Versions{WooCommerce: "9.9.5", WordPress: "6.9"}) {
		t.Errorf("%+v, %v", v, err)
	}
	if f := s.requests()[0].query["_fields"][0]; f != "environment.version,environment.wp_version" {
		t.Errorf("asked for %s", f)
	}
	status := 403
	c, _ = newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"code":"woocommerce_rest_cannot_view"}`)
	})
	if v, err := c.Versions(context.Background()); err != nil || v != (Versions{}) {
		t.Errorf("%+v, %v", v, err)
	}
	status = 401
	if _, err := c.Versions(context.Background()); err == nil {
		t.Error("a refused key is no error")
	}
}

package woocommerce

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"stocksync.dev/stocksync/api/v1alpha1"
)

func TestProbe(t *testing.T) {
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
		err := c.Probe(context.Background())
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

package woocommerce

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

// TestFaults holds, for every kind of answer that is not a success, what people are told and whether a write
// so answered may be counted as not having happened.
func TestFaults(t *testing.T) {
	t.Parallel()
	jsonError := func(code string) string { return `{"code":"` + code + `","message":"Nachricht","data":{"status":400}}` }
	h := func(kv ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return m
	}
	for name, tc := range map[string]struct {
		status int
		header map[string]string
		body   string
		read   string // reason of a read, empty when as the write
		write  string
		unsent bool
		after  time.Duration
		says   string
	}{
		"unknown key":          {401, nil, jsonError("woocommerce_rest_cannot_view"), "", v1alpha1.ReasonAuthenticationFailed, true, 0, "consumerKey"},
		"wrong secret":         {401, nil, `{"code":"woocommerce_rest_authentication_error","message":"Consumer secret is invalid."}`, "", v1alpha1.ReasonAuthenticationFailed, true, 0, "consumerSecret"},
		"read-only key":        {401, nil, `{"code":"woocommerce_rest_authentication_error","message":"The API key provided does not have write permissions."}`, v1alpha1.ReasonAuthenticationFailed, v1alpha1.ReasonReadOnlyKey, true, 0, ""},
		"user may not edit":    {403, nil, jsonError("woocommerce_rest_cannot_batch"), v1alpha1.ReasonAuthenticationFailed, v1alpha1.ReasonReadOnlyKey, true, 0, "may edit products"},
		"web server password":  {401, h("WWW-Authenticate", "Basic"), "<html>401</html>", "", v1alpha1.ReasonAuthenticationFailed, false, 0, "password of its own"},
		"security plugin":      {401, nil, jsonError("rest_not_logged_in"), "", v1alpha1.ReasonAuthenticationFailed, true, 0, "security plugin"},
		"firewall":             {403, nil, "<html>Forbidden</html>", "", v1alpha1.ReasonUnexpectedContent, false, 0, "firewall"},
		"no WooCommerce":       {404, nil, jsonError("rest_no_route"), "", v1alpha1.ReasonWooCommerceMissing, true, 0, "install and activate"},
		"plain permalinks":     {404, nil, "<html>Not found</html>", "", v1alpha1.ReasonUnexpectedContent, false, 0, "permalinks"},
		"unknown id":           {404, nil, jsonError("woocommerce_rest_product_something"), "", v1alpha1.ReasonUnexpectedContent, true, 0, "woocommerce_rest_product_something"},
		"too many items":       {413, nil, jsonError("woocommerce_rest_request_entity_too_large"), "", v1alpha1.ReasonUnexpectedContent, true, 0, "size"},
		"nginx body limit":     {413, nil, "<html>", "", v1alpha1.ReasonUnexpectedContent, true, 0, "size"},
		"bad request":          {400, nil, jsonError("rest_invalid_param"), "", v1alpha1.ReasonUnexpectedContent, true, 0, "rest_invalid_param"},
		"bad request, no code": {400, nil, "<html>Bad Request</html>", "", v1alpha1.ReasonUnexpectedContent, false, 0, "400"},
		"rate limit":           {429, h("Retry-After", "7"), "", "", v1alpha1.ReasonRateLimited, true, 7 * time.Second, "fewer"},
		"rate limit with date": {429, h("Retry-After", testTime.Add(90*time.Second).Format(http.TimeFormat)), "slow down", "", v1alpha1.ReasonRateLimited, true, 90 * time.Second, ""},
		"rate limit for weeks": {429, h("Retry-After", "1e9"), "", "", v1alpha1.ReasonRateLimited, true, time.Hour, ""},
		"negative wait":        {429, h("Retry-After", "-5"), "", "", v1alpha1.ReasonRateLimited, true, 0, ""},
		"nonsense wait":        {429, h("Retry-After", "soon"), "", "", v1alpha1.ReasonRateLimited, true, 0, ""},
		"maintenance":          {503, h("Retry-After", "600"), jsonError("wp_die"), "", v1alpha1.ReasonMaintenance, false, 10 * time.Minute, "maintenance"},
		"maintenance page":     {503, nil, "<!DOCTYPE html><title>Maintenance</title>", "", v1alpha1.ReasonMaintenance, false, 0, ""},
		"overloaded":           {503, h("Retry-After", "30"), "<html>busy</html>", "", v1alpha1.ReasonServerError, false, 30 * time.Second, "503"},
		"php fatal":            {500, nil, jsonError("internal_server_error"), "", v1alpha1.ReasonServerError, false, 0, "internal_server_error"},
		"php gone":             {502, nil, "<html>502</html>", "", v1alpha1.ReasonServerError, false, 0, "502"},
		"proxy timeout":        {504, nil, "<html>504</html>", "", v1alpha1.ReasonTimeout, false, 0, "gave up"},
		"redirect to www":      {301, h("Location", "https://www.store.example/wp-json/x?ck=1"), "", "", v1alpha1.ReasonUnexpectedContent, false, 0, "https://www.store.example,"},
		"redirect to http":     {302, h("Location", "http://store.example/"), "", "", v1alpha1.ReasonPlainHTTP, false, 0, "https://"},
		"redirect inside":      {308, h("Location", "/en/wp-json/"), "", "", v1alpha1.ReasonUnexpectedContent, false, 0, "another path"},
		"captcha":              {200, nil, `<html><div class="g-recaptcha">`, "", v1alpha1.ReasonUnexpectedContent, false, 0, "captcha"},
		"html":                 {200, nil, "<!doctype html><title>Coming soon</title>", "", v1alpha1.ReasonUnexpectedContent, false, 0, "HTML page"},
		"php warning":          {200, nil, "<br />\n<b>Warning</b>: x in y.php<br />[]", "", v1alpha1.ReasonUnexpectedContent, false, 0, "WP_DEBUG_DISPLAY"},
		"empty":                {200, nil, "", "", v1alpha1.ReasonUnexpectedContent, false, 0, "empty"},
		"cut short":            {200, nil, `{"update":[{"id":1`, "", v1alpha1.ReasonUnexpectedContent, false, 0, "cut short"},
		"json and more":        {200, nil, "[]\n<!-- cached -->", "", v1alpha1.ReasonUnexpectedContent, false, 0, "behind it"},
		"not even html":        {200, nil, "OK", "", v1alpha1.ReasonUnexpectedContent, false, 0, "else than JSON"},
		"null":                 {200, nil, "null", "", v1alpha1.ReasonUnexpectedContent, false, 0, "another shape"},
		"other shape":          {200, nil, `"hello"`, "", v1alpha1.ReasonUnexpectedContent, false, 0, "another shape"},
		"an empty object":      {200, nil, `{}`, "", v1alpha1.ReasonUnexpectedContent, false, 0, ""},
		"no content":           {204, nil, "", "", v1alpha1.ReasonUnexpectedContent, false, 0, ""},
		"teapot":               {418, nil, jsonError("teapot"), "", v1alpha1.ReasonUnexpectedContent, false, 0, "418"},
	} {
		c, s := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
			for k, v := range tc.header {
				w.Header().Set(k, v)
			}
			w.WriteHeader(tc.status)
			_, _ = io.WriteString(w, tc.body)
		})
		r := c.Push(context.Background(), []engine.Push{{Ref: stock.Ref{Product: 1}, Units: 1}})
		f := faultOf(t, r[0].Err)
		if f.Reason != tc.write || f.Unsent != tc.unsent || f.RetryAfter != tc.after || !strings.Contains(f.Message, tc.says) {
			t.Errorf("%s, writing: %+v", name, f)
		}
		if len(s.requests()) != 1 {
			t.Errorf("%s: %d requests were sent, so a redirect was followed", name, len(s.requests()))
		}
		want := tc.read
		if want == "" {
			want = tc.write
		}
		_, err := c.Catalogue(context.Background(), "")
		if f := faultOf(t, err); f.Reason != want {
			t.Errorf("%s, reading: %+v", name, f)
		}
	}
}

func TestRecordedFaults(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"auth_none_401":                        v1alpha1.ReasonAuthenticationFailed,
		"auth_unknown_key_401":                 v1alpha1.ReasonAuthenticationFailed,
		"auth_bad_secret_401":                  v1alpha1.ReasonAuthenticationFailed,
		"auth_readonly_key_write_401":          v1alpha1.ReasonReadOnlyKey,
		"products_variations_global_route_404": v1alpha1.ReasonWooCommerceMissing,
		"products_batch_101_413":               v1alpha1.ReasonUnexpectedContent,
		"bad_json_400":                         v1alpha1.ReasonUnexpectedContent,
	} {
		c, _ := newClient(t, func(w http.ResponseWriter, _ *http.Request) { fixture(t, name).replay(w) })
		r := c.Push(context.Background(), []engine.Push{{Ref: stock.Ref{Product: 1}, Units: 1}})
		if f := faultOf(t, r[0].Err); f.Reason != want || !f.Unsent {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// TestReadOnlyKeyWithoutEnglish: a shop in another language says the same code for a wrong secret and a key
// that may only read. That the key just read tells them apart.
func TestReadOnlyKeyWithoutEnglish(t *testing.T) {
	t.Parallel()
	var refuse bool
	c, _ := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		if refuse || r.Method == http.MethodPost {
			w.WriteHeader(401)
			_, _ = io.WriteString(w, `{"code":"woocommerce_rest_authentication_error","message":"Keine Schreibrechte"}`)
			return
		}
		answerJSON(w, []any{})
	})
	push := func() string {
		r := c.Push(context.Background(), []engine.Push{{Ref: stock.Ref{Product: 1}, Units: 1}})
		return faultOf(t, r[0].Err).Reason
	}
	if _, err := c.Catalogue(context.Background(), ""); err != nil {
		t.Fatal(err)
	}
	if got := push(); got != v1alpha1.ReasonReadOnlyKey {
		t.Errorf("after a read that worked: %s", got)
	}
	refuse = true
	if _, err := c.Catalogue(context.Background(), ""); faultOf(t, err).Reason != v1alpha1.ReasonAuthenticationFailed {
		t.Error(err)
	}
	if got := push(); got != v1alpha1.ReasonAuthenticationFailed {
		t.Errorf("after a read that was refused: %s", got)
	}
}

func TestCachesAreFound(t *testing.T) {
	t.Parallel()
	c, _ := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Age", "31")
		answerJSON(w, []any{})
	})
	_, err := c.Catalogue(context.Background(), "")
	if f := faultOf(t, err); !strings.Contains(f.Message, "cache") {
		t.Error(f)
	}
	c, _ = newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Del("Date")
		answerJSON(w, []any{})
	})
	_, err = c.Catalogue(context.Background(), "")
	if f := faultOf(t, err); !strings.Contains(f.Message, "Date") {
		t.Error(f)
	}
}

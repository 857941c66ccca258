package woocommerce

import (
	"encoding/json"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/engine"
	sim "stocksync.dev/stocksync/internal/sim/woocommerce"
	"stocksync.dev/stocksync/internal/stock"
)

// The signature is the one that a real store accepted.
func TestSignatureAsRecorded(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/oauth1_vector.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Method, URL, Signature           string
		Query                            map[string]string
		Key                              string `json:"consumer_key"`
		Secret                           string `json:"consumer_secret"`
		Timestamp                        string `json:"oauth_timestamp"`
		Nonce                            string `json:"oauth_nonce"`
		Base                             string `json:"base_string"`
		SignatureMethod, WooCommerceNote string
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), v.Method, v.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	q := r.URL.Query()
	for k, val := range v.Query {
		q.Set(k, val)
	}
	r.URL.RawQuery = q.Encode()
	base := signatureBase(v.Method, *r.URL, map[string]string{"oauth_consumer_key": v.Key, "oauth_nonce": v.Nonce,
		"oauth_signature_method": "HMAC-SHA256", "oauth_timestamp": v.Timestamp})
	if base != v.Base {
		t.Errorf("signed is\n%s\nrecorded was\n%s", base, v.Base)
	}
	at, err := strconv.ParseInt(v.Timestamp, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	sign(r, v.Key, v.Secret, v.Nonce, time.Unix(at, 0))
	if h := r.Header.Get("Authorization"); !strings.Contains(h, `oauth_signature="`+unreserved(v.Signature)+`"`) || strings.Contains(h, v.Secret) {
		t.Errorf("%s, want the signature %s", h, v.Signature)
	}
}

// insecure is a client of a store that is reached over plain HTTP.
func insecure(t *testing.T, s *sim.Store, secret string, now func() time.Time) *Client {
	t.Helper()
	c, err := New(Options{URL: "http://store.example", Transport: v1alpha1.TransportInsecureHTTP, ConsumerKey: testKey, ConsumerSecret: secret,
		StoreID: "fr", HTTP: s.Transport(), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Over plain HTTP everything works by signed requests: lists with their filters, orders, writes. The secret itself
// never travels.
func TestSignedRequests(t *testing.T) {
	t.Parallel()
	_, s, ck := simulated(t)
	c := insecure(t, s, testSecret, ck.Now)
	ref := refOf(t, s, "SKU-0001")
	page, err := c.Read(t.Context(), []stock.Ref{ref, refOf(t, s, "VAR-1-S")})
	if err != nil || len(page.Items) != 2 {
		t.Fatalf("%+v, %v", page, err)
	}
	if _, err := c.Modified(t.Context(), testTime.Add(-time.Hour), ""); err != nil {
		t.Error(err)
	}
	if _, err := c.Orders(t.Context(), engine.OrderQuery{Since: testTime.Add(-time.Hour)}); err != nil {
		t.Error(err)
	}
	r := c.Push(t.Context(), []engine.Push{pushOf(ref, -3, 1)})
	if r[0].Err != nil || r[0].Item.Quantity != 97 {
		t.Errorf("%+v", r[0])
	}
	for _, a := range s.AccessLog(0) {
		if strings.Contains(a.Query+string(a.Body), testSecret) || strings.Contains(a.Query, testKey) {
			t.Errorf("the key travels in %s?%s", a.Path, a.Query)
		}
	}
}

func TestSignedByTheWrongSecret(t *testing.T) {
	t.Parallel()
	_, s, ck := simulated(t)
	_, err := insecure(t, s, "cs_wrong", ck.Now).Catalogue(t.Context(), "")
	if f := faultOf(t, err); f.Reason != v1alpha1.ReasonAuthenticationFailed || !strings.Contains(f.Message, "Site Address") {
		t.Errorf("%+v", f)
	}
}

// A shop refuses signatures that are a quarter of an hour off its clock: the first answer tells how far that is.
func TestSignedByAWrongClock(t *testing.T) {
	t.Parallel()
	_, s, ck := simulated(t)
	c := insecure(t, s, testSecret, func() time.Time { return ck.Now().Add(-5 * time.Hour) })
	if _, err := c.Catalogue(t.Context(), ""); faultOf(t, err).Reason != v1alpha1.ReasonAuthenticationFailed {
		t.Errorf("the shop took a signature of five hours ago: %v", err)
	}
	if _, err := c.Catalogue(t.Context(), ""); err != nil {
		t.Error(err)
	}
}

package agent

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
)

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

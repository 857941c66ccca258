package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"stocksync.dev/stocksync/internal/sim/woocommerce"
)

func env(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

// TestServe starts the command, reads and writes over REST, acts as a shopper and stops it gracefully.
func TestServe(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	logs, out := io.Pipe()
	done := make(chan error, 1)
	kept := filepath.Join(t.TempDir(), "shop.json")
	args := []string{"--listen", "127.0.0.1:0", "--name", "Test", "--seed-products", "3", "--quantity-factor", "2", "--state", kept}
	go func() {
		err := run(ctx, args,
			env(map[string]string{envKey: "ck", envSecret: "very-secret", envAdmin: "admin-secret"}), out)
		_ = out.Close()
		done <- err
	}()
	lines := bufio.NewScanner(logs)
	if !lines.Scan() {
		t.Fatal(<-done)
	}
	var open struct{ Address string }
	if err := json.Unmarshal(lines.Bytes(), &open); err != nil || open.Address == "" {
		t.Fatalf("first log line %q: %v", lines.Text(), err)
	}
	rest := make(chan string, 1)
	go func() {
		all := lines.Text()
		for lines.Scan() {
			all += lines.Text()
		}
		rest <- all
	}()
	call := func(method, path, body string, header ...string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, method, "http://"+open.Address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		if path[:3] == "/wp" {
			req.SetBasicAuth("ck", "very-secret")
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("%s %s: %s %s %v", method, path, res.Status, text, err)
		}
		return string(text)
	}
	call("POST", "/__sim/orders", `{"lines":[{"sku":"SKU-0001","quantity":1}]}`, "Authorization", "Bearer admin-secret")
	if got := call("GET", "/wp-json/wc/v3/products?sku=SKU-0001&_fields=stock_quantity", "", "X-Forwarded-Proto", "https"); got != `[{"stock_quantity":21}]` {
		t.Errorf("after a sale from 22: %s", got)
	}
	if page := call("GET", "/shop", ""); !strings.Contains(page, "21 in stock") {
		t.Error("the shop page does not show the stock")
	}
	const token = "Bearer admin-secret"
	call("PUT", "/__sim/plugin", `{"generation":2,"id":"a","name":"Test","master":true,"peers":[{"id":"b","url":"http://127.0.0.1:1","secret":"peer-secret"}]}`, "Authorization", token)
	if got := call("GET", "/wp-json/kitgenix-stock-sync/v1", ""); !strings.Contains(got, `kitgenix-stock-sync\/v1`) {
		t.Errorf("the plugin's namespace: %s", got)
	}
	if got := call("DELETE", "/__sim/plugin", "", "Authorization", token); !strings.Contains(got, `"active":false`) {
		t.Errorf("deactivated: %s", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("stopped with %v", err)
	}
	store := woocommerce.New(woocommerce.Options{})
	defer store.Close()
	if err := fill(store, config{state: kept}); err != nil {
		t.Fatal(err)
	}
	if got, _ := store.Quantity("SKU-0001"); got != 21 {
		t.Errorf("the next run starts with %v, want 21", got)
	}
	if all := <-rest; strings.Contains(all, "secret") {
		t.Errorf("a secret is in the log: %s", all)
	}
}

// TestUsage: what is wrong is said, with what is allowed; secrets are no flags.
func TestUsage(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"between 0 and 200000": {"--seed-products", "-1"},
		"unexpected argument":  {"serve"},
		"above zero":           {"--webhook-interval", "0s"},
		"cannot listen":        {"--listen", "256.0.0.1:1"},
		"must start with http": {"--home-url", "shop.example"},
		"together, or neither": {"--tls-cert", "shop.crt"},
		"shop.crt":             {"--listen", "127.0.0.1:0", "--tls-cert", "shop.crt", "--tls-key", "shop.key"},
		"not defined":          {"--consumer-secret", "x"},
	} {
		if err := run(t.Context(), args, env(nil), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want one that says %q", args, err, want)
		}
	}
	if err := run(t.Context(), nil, env(map[string]string{envKey: "ck"}), io.Discard); err == nil || !strings.Contains(err.Error(), envSecret) {
		t.Errorf("half a key: %v", err)
	}
	var text strings.Builder
	_ = run(t.Context(), []string{"--help"}, env(nil), &text)
	for _, want := range []string{"/__sim/orders", envSecret, "-quantity-factor"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("--help does not mention %s", want)
		}
	}
}

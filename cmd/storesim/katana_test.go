package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/internal/agent"
	"stocksync.dev/stocksync/internal/driver/katana"
)

// TestKatana starts an account, reads it with the driver, acts in it as its people would, and stops it.
func TestKatana(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	logs, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"katana", "--listen", "127.0.0.1:0", "--seed-products", "3", "--quantity-factor", "2"},
			env(map[string]string{envToken: "very-secret", envAdmin: "admin-secret"}), out)
		_ = out.Close()
		done <- err
	}()
	lines := bufio.NewScanner(logs)
	if !lines.Scan() {
		t.Fatal(<-done)
	}
	var open struct {
		Address  string
		Location json.Number
	}
	if err := json.Unmarshal(lines.Bytes(), &open); err != nil || open.Address == "" || open.Location == "" {
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

	// The driver speaks TLS alone; a server in front ends it.
	front := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := r.Clone(r.Context())
		req.RequestURI, req.URL.Scheme, req.URL.Host = "", "http", open.Address
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer res.Body.Close()
		maps.Copy(w.Header(), res.Header)
		w.WriteHeader(res.StatusCode)
		_, _ = io.Copy(w, res.Body)
	}))
	defer front.Close()
	clock := agent.SystemClock{}
	c, err := katana.New(katana.Options{URL: front.URL + "/v1", Token: "very-secret", Budgets: katana.NewBudgets(clock), Clock: clock,
		HTTP: front.Client().Transport, Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	items, err := c.Items(ctx, time.Time{})
	if err != nil || len(items.Items) != 3 || items.Items[2].SKU != "SKU-0001" {
		t.Fatalf("items %+v: %v", items.Items, err)
	}
	item := items.Items[2].ID
	body := strings.NewReader(`{"variant":` + item + `,"location":` + string(open.Location) + `,"change":"-1.5"}`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+open.Address+"/__sim/adjust", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer admin-secret")
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("adjust: %v %v", res, err)
	}
	_ = res.Body.Close()
	levels, err := c.Levels(ctx, string(open.Location), []string{item})
	if err != nil || len(levels.Levels) != 1 || levels.Levels[0].OnHand.String() != "20.5" {
		t.Errorf("22 less 1.5: %+v %v", levels.Levels, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("stopped with %v", err)
	}
	if all := <-rest; strings.Contains(all, "secret") {
		t.Errorf("a secret is in the log: %s", all)
	}
}

func TestKatanaUsage(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"between 0 and 200000": {"katana", "--seed-products", "-1"},
		"unexpected argument":  {"katana", "serve"},
		"-1 for no limit":      {"katana", "--rate-limit", "0"},
		"together, or neither": {"katana", "--tls-cert", "a.crt"},
		"cannot listen":        {"katana", "--listen", "256.0.0.1:1"},
		"not defined":          {"katana", "--api-key", "x"},
	} {
		if err := run(t.Context(), args, env(nil), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want one that says %q", args, err, want)
		}
	}
	var text strings.Builder
	_ = run(t.Context(), []string{"katana", "--help"}, env(nil), &text)
	for _, want := range []string{"/__sim/orders", envToken, "-rate-limit"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("--help does not mention %s", want)
		}
	}
}

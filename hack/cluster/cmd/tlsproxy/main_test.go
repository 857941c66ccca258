package main

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestProxyPicksTheShopByNameAndSaysHTTPS(t *testing.T) {
	t.Parallel()
	table := routes{}
	for _, name := range []string{"hq", "fr.example.test"} {
		shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, name+" "+r.Host+" "+r.Header.Get("X-Forwarded-Proto"))
		}))
		t.Cleanup(shop.Close)
		if err := table.Set(name + "=" + shop.URL); err != nil {
			t.Fatal(err)
		}
	}
	front := httptest.NewTLSServer(handler(table, log.New(io.Discard, "", 0)))
	t.Cleanup(front.Close)
	for host, want := range map[string]string{
		"hq":                              "hq hq https",
		"HQ.stores.svc.cluster.local:443": "hq HQ.stores.svc.cluster.local:443 https",
		"fr.example.test":                 "fr.example.test fr.example.test https",
		"fr":                              "no such shop here\n",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, front.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		req.Header.Set("X-Forwarded-Proto", "http") // what a visitor claims does not count
		resp, err := front.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if string(got) != want {
			t.Errorf("host %s: got %q, want %q", host, got, want)
		}
	}
}

func TestRouteMustBeAPlainHTTPServer(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "hq", "=http://x", "hq=https://x", "hq=ftp://x", "hq=http://", "hq=:"} {
		if err := (routes{}).Set(text); err == nil {
			t.Errorf("%q accepted", text)
		}
	}
}

// TestAnswersBeforeTheRequestHasEnded: a shop that answers early, as one that refuses a large batch does, is heard, and what
// comes after is passed on to it.
func TestAnswersBeforeTheRequestHasEnded(t *testing.T) {
	t.Parallel()
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, "heard ")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(w, r.Body)
	}))
	t.Cleanup(shop.Close)
	table := routes{}
	if err := table.Set("127=" + shop.URL); err != nil {
		t.Fatal(err)
	}
	front := httptest.NewTLSServer(handler(table, log.New(io.Discard, "", 0)))
	t.Cleanup(front.Close)
	body, rest := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	context.AfterFunc(ctx, func() { _ = rest.Close() }) // the client waits for the body, however long its context is done
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, front.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := front.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	go func() {
		_, _ = io.WriteString(rest, "and the rest")
		_ = rest.Close()
	}()
	got, err := io.ReadAll(resp.Body)
	if err != nil || string(got) != "heard and the rest" {
		t.Errorf("got %q, %v", got, err)
	}
}

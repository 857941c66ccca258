package main

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"
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

package agent

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/ledger"
)

// putIdentity writes certificate and token as the operator mounts them and returns a client that trusts them.
func putIdentity(t *testing.T, dir, token string) *http.Client {
	t.Helper()
	cert, key := newCertificate(t, "agent.shops.svc")
	for name, data := range map[string][]byte{agentapi.TLSCertFile: cert, agentapi.TLSKeyFile: key, agentapi.TokenFile: []byte(token + "\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "agent.shops.svc"}}}
}

func TestThePrivatePort(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	client := putIdentity(t, dir, "first")
	b := startAgent(t, benchOptions{clock: SystemClock{}, dial: (&dialer{}).dial, ledger: ledger.NewMemory(), private: true, dir: dir}, stubDocs("")...)
	ask := func(client *http.Client, method, path, authorization string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(method, "https://"+b.addrs["private"].String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		res, err := client.Do(r)
		if err != nil {
			return 0, err.Error()
		}
		defer res.Body.Close()
		var s agentapi.Status
		if res.StatusCode == http.StatusOK {
			if err := json.NewDecoder(res.Body).Decode(&s); err != nil {
				t.Fatal(err)
			}
		}
		return res.StatusCode, s.LedgerID
	}
	for _, tc := range []struct {
		method, path, authorization string
		want                        int
	}{
		{"GET", "/v1/status", "Bearer first", 200},
		{"GET", "/v1/status", "", 401},
		{"GET", "/v1/status", "Bearer ", 401},
		{"GET", "/v1/status", "Bearer second", 401},
		{"GET", "/v1/status", "first", 401},
		{"GET", "/v1/status", "Basic first", 401},
		{"GET", "/metrics", "", 401},
		{"GET", "/metrics", "Bearer first", 404},
		{"POST", "/v1/status", "Bearer first", 405},
	} {
		if got, _ := ask(client, tc.method, tc.path, tc.authorization); got != tc.want {
			t.Errorf("%+v: %d", tc, got)
		}
	}
	if _, id := ask(client, "GET", "/v1/status", "Bearer first"); id != b.agent.LedgerID() {
		t.Errorf("ledger id %q", id)
	}
	old := tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12} //nolint:gosec // to be refused
	if _, err := tls.Dial("tcp", b.addrs["private"].String(), &old); err == nil {
		t.Error("TLS 1.2 was taken")
	}

	// Renewed files are used from the next connection on, without a restart.
	renewed := putIdentity(t, dir, "second")
	if got, _ := ask(renewed, "GET", "/v1/status", "Bearer second"); got != 200 {
		t.Errorf("after the renewal: %d", got)
	}
	if got, what := ask(client, "GET", "/v1/status", "Bearer second"); got != 0 || !strings.Contains(what, "certificate") {
		t.Errorf("the old certificate is still served: %d", got)
	}
	if got, _ := ask(renewed, "GET", "/v1/status", "Bearer first"); got != 401 {
		t.Errorf("the old token: %d", got)
	}
	// Broken ones are not.
	if err := os.WriteFile(filepath.Join(dir, agentapi.TLSKeyFile), []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, agentapi.TokenFile)); err != nil {
		t.Fatal(err)
	}
	if got, _ := ask(renewed, "GET", "/v1/status", "Bearer second"); got != 200 {
		t.Errorf("with broken files the last good ones must stay: %d", got)
	}
	if text := b.log.String(); strings.Contains(text, "second") || strings.Contains(text, "PRIVATE KEY") {
		t.Error("the log holds a secret")
	}
}

func TestThePrivatePortNeedsItsFiles(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(dir string) error{
		"token": func(dir string) error { return os.Remove(filepath.Join(dir, agentapi.TokenFile)) },
		"tls.":  func(dir string) error { return os.WriteFile(filepath.Join(dir, agentapi.TLSCertFile), nil, 0o600) },
		"token ": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, agentapi.TokenFile), []byte("\n"), 0o600)
		},
	} {
		dir := t.TempDir()
		putIdentity(t, dir, "x")
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		id := &identity{dir: dir, log: logr.Discard()}
		if err := id.load(); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(name)) {
			t.Errorf("%s: %v", name, err)
		}
		// An empty token must never let anybody in.
		r, _ := http.NewRequest("GET", "https://x/v1/status", nil)
		r.Header.Set("Authorization", "Bearer ")
		if id.rightOf(r) != nothing {
			t.Errorf("%s: authorised", name)
		}
	}
}

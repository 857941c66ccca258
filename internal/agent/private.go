package agent

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"sync"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/internal/agentapi"
)

// identity is the certificate and the token of the private port, read again when their files change.
type identity struct {
	dir string
	log logr.Logger

	mu    sync.Mutex
	seen  [3]string // the files' texts when they were last understood
	cert  *tls.Certificate
	token [sha256.Size]byte
}

// load reads the files. When they cannot be used, what was read before stays in use; the error is then only
// logged, once for each state of the files.
func (id *identity) load() error {
	var texts [3]string
	for i, name := range []string{agentapi.TLSCertFile, agentapi.TLSKeyFile, agentapi.TokenFile} {
		data, err := readFile(filepath.Join(id.dir, name), 1<<20)
		if err != nil {
			return id.keep(fmt.Errorf("the private port needs %s: %w", name, cause(err)))
		}
		texts[i] = string(data)
	}
	id.mu.Lock()
	same := id.cert != nil && texts == id.seen
	id.mu.Unlock()
	if same {
		return nil
	}
	cert, err := tls.X509KeyPair([]byte(texts[0]), []byte(texts[1]))
	if err != nil {
		return id.keep(fmt.Errorf("%s and %s must hold a certificate and its key in PEM form", agentapi.TLSCertFile, agentapi.TLSKeyFile))
	}
	token := strings.TrimSpace(texts[2])
	if token == "" {
		return id.keep(fmt.Errorf("%s must hold a token", agentapi.TokenFile))
	}
	id.mu.Lock()
	defer id.mu.Unlock()
	id.seen, id.cert, id.token = texts, &cert, sha256.Sum256([]byte(token))
	return nil
}

func cause(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}

func (id *identity) keep(err error) error {
	id.mu.Lock()
	defer id.mu.Unlock()
	if id.cert == nil {
		return err
	}
	id.log.Error(err, "the private port keeps the certificate and token it has", "dir", id.dir)
	return nil
}

func (id *identity) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if err := id.load(); err != nil {
		return nil, err
	}
	id.mu.Lock()
	defer id.mu.Unlock()
	return id.cert, nil
}

func (id *identity) tlsConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: id.certificate, NextProtos: []string{"http/1.1"}}
}

// authorised compares the bearer token in constant time.
func (id *identity) authorised(r *http.Request) bool {
	_ = id.load() // a failure keeps the token there is
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	got := sha256.Sum256([]byte(token))
	id.mu.Lock()
	defer id.mu.Unlock()
	return subtle.ConstantTimeCompare(got[:], id.token[:]) == 1 && ok && id.cert != nil
}

// statusHandler answers GET [agentapi.StatusPath] for whoever is authorised.
func statusHandler(authorised func(*http.Request) bool, status func(context.Context) (agentapi.Status, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !authorised(r):
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(w, http.StatusUnauthorized, "a bearer token is needed")
		case r.URL.Path != agentapi.StatusPath:
			refuse(w, http.StatusNotFound, "there is only "+agentapi.StatusPath)
		case r.Method != http.MethodGet:
			w.Header().Set("Allow", http.MethodGet)
			refuse(w, http.StatusMethodNotAllowed, "status is read by GET")
		default:
			s, err := status(r.Context())
			if err != nil {
				refuse(w, http.StatusServiceUnavailable, "the ledger cannot be read: "+err.Error())
				return
			}
			writeJSON(w, s)
		}
	})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v) // the peer went away
}

package agent

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
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

// identity is the certificate and the tokens of the private port, read again when their files change.
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

// rightOf is the right of the request's bearer token. The tokens are compared in constant time, each of them.
func (id *identity) rightOf(r *http.Request) right {
	_ = id.load() // a failure keeps the token there is
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	got := sha256.Sum256([]byte(token))
	id.mu.Lock()
	known := map[right][sha256.Size]byte{}
	if id.cert != nil {
		known[readStatus] = id.token
	}
	id.mu.Unlock()
	for may, name := range map[right]string{readAll: agentapi.ReadTokenFile, writeAll: agentapi.WriteTokenFile} {
		// Read anew each time: a token that is taken away must not live on. Without the file nobody has the right.
		text, err := readFile(filepath.Join(id.dir, name), 4096)
		if token := strings.TrimSpace(string(text)); err == nil && token != "" {
			known[may] = sha256.Sum256([]byte(token))
		}
	}
	may := nothing
	for m, want := range known {
		if subtle.ConstantTimeCompare(got[:], want[:]) == 1 && ok {
			may = max(may, m)
		}
	}
	return may
}

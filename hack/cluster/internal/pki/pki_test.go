package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"stocksync.dev/stocksync/hack/cluster/internal/pki"
)

func TestIssuedCertificateIsTrustedForItsHostsOnly(t *testing.T) {
	t.Parallel()
	ca, err := pki.NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(pki.Leaf{CommonName: "shop", Organizations: []string{"shops"}, Hosts: []string{"hq.shops", "10.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca.Cert) {
		t.Fatal("the authority's certificate is not PEM")
	}
	for host, trusted := range map[string]bool{"hq.shops": true, "10.0.0.1": true, "fr.shops": false, "10.0.0.2": false} {
		_, err := loaded.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host})
		if trusted != (err == nil) {
			t.Errorf("%s: trusted should be %t, error is %v", host, trusted, err)
		}
	}
	if _, err := loaded.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("as a client: %v", err)
	}
}

func TestKeyFileIsPrivate(t *testing.T) {
	t.Parallel()
	ca, err := pki.NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := ca.Write(dir, "ca"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the key is %o", info.Mode().Perm())
	}
}

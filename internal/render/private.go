package render

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"time"

	corev1 "k8s.io/api/core/v1"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
)

const (
	certificateLifetime = 90 * 24 * time.Hour
	renewBefore         = 30 * 24 * time.Hour
	tokenBytes          = 32
)

// Private guards the agent's private port. The certificate is its own authority, so that no signing key exists
// that could be stolen.
type Private struct {
	// Certificate and Key are PEM.
	Certificate, Key []byte
	// CA holds, in PEM, the certificate and the one before it: until the agent has read the new one it still
	// shows the old.
	CA []byte
	// Token is what the operator shows the agent, ReadToken what audits and readers show, WriteToken what
	// reconciles and people who act show. They stay the same when the certificate is renewed.
	Token, ReadToken, WriteToken []byte
}

// PrivateFrom reads what a Secret holds.
func PrivateFrom(data map[string][]byte) Private {
	return Private{
		Certificate: data[agentapi.TLSCertFile],
		Key:         data[agentapi.TLSKeyFile],
		CA:          data[agentapi.CAFile],
		Token:       data[agentapi.TokenFile],
		ReadToken:   data[agentapi.ReadTokenFile],
		WriteToken:  data[agentapi.WriteTokenFile],
	}
}

// Valid returns nil as long as the files are complete, made for this server name and not due for renewal at
// this time; otherwise it says what is wrong.
func (p Private) Valid(serverName string, at time.Time) error {
	if min(len(p.Token), len(p.ReadToken), len(p.WriteToken)) < tokenBytes || len(p.Key) == 0 {
		return fmt.Errorf("token or key missing")
	}
	certificate, err := parseCertificate(p.Certificate)
	if err != nil {
		return err
	}
	if err := certificate.VerifyHostname(serverName); err != nil {
		return err
	}
	if !bytes.Contains(p.CA, p.Certificate) {
		return fmt.Errorf("the certificate is not among its own authorities")
	}
	if !at.Before(p.RenewAt()) {
		return fmt.Errorf("the certificate expires at %s", certificate.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// RenewAt is when the certificate is due for renewal; the zero time when there is none.
func (p Private) RenewAt() time.Time {
	certificate, err := parseCertificate(p.Certificate)
	if err != nil {
		return time.Time{}
	}
	return certificate.NotAfter.Add(-renewBefore)
}

// Renew makes a certificate for the server name, valid from the given time on, and the tokens that are missing.
func (p Private) Renew(serverName string, at time.Time, random io.Reader) (Private, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Private{}, fmt.Errorf("making a key for the agent's private port: %w", err)
	}
	serial, err := rand.Int(random, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return Private{}, fmt.Errorf("making a serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "stocksync-agent"},
		DNSNames:     []string{serverName},
		// An hour of grace for a node whose clock is behind.
		NotBefore:   at.Add(-time.Hour),
		NotAfter:    at.Add(certificateLifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(random, template, template, &key.PublicKey, key)
	if err != nil {
		return Private{}, fmt.Errorf("making a certificate for the agent's private port: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Private{}, fmt.Errorf("writing the key of the agent's private port: %w", err)
	}
	renewed := Private{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		Token:       p.Token,
		ReadToken:   p.ReadToken,
		WriteToken:  p.WriteToken,
	}
	renewed.CA = bytes.Clone(renewed.Certificate)
	if _, err := parseCertificate(p.Certificate); err == nil {
		renewed.CA = append(renewed.CA, p.Certificate...)
	}
	for _, token := range []*[]byte{&renewed.Token, &renewed.ReadToken, &renewed.WriteToken} {
		if len(*token) >= tokenBytes {
			continue
		}
		fresh := make([]byte, tokenBytes)
		if _, err := io.ReadFull(random, fresh); err != nil {
			return Private{}, fmt.Errorf("making a token for the agent's private port: %w", err)
		}
		*token = []byte(hex.EncodeToString(fresh))
	}
	return renewed, nil
}

func parseCertificate(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("no PEM certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// PrivateSecret holds the files of the agent's private port.
func PrivateSecret(t *v1alpha1.StockSyncTopology, p Private) *coreac.SecretApplyConfiguration {
	return coreac.Secret(NamesOf(t.Name).PrivateSecret, t.Namespace).
		WithLabels(labels(t)).
		WithOwnerReferences(owner(t)).
		WithType(corev1.SecretTypeOpaque).
		WithData(map[string][]byte{
			agentapi.TLSCertFile:    p.Certificate,
			agentapi.TLSKeyFile:     p.Key,
			agentapi.CAFile:         p.CA,
			agentapi.TokenFile:      p.Token,
			agentapi.ReadTokenFile:  p.ReadToken,
			agentapi.WriteTokenFile: p.WriteToken,
		})
}

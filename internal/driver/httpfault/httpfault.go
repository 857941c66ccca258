// Package httpfault is what all clients of peers that speak HTTP share: how their requests are carried, and what can go
// wrong between agent and peer, in the reasons and words of the condition Connected.
package httpfault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/engine"
)

// MaxRetryAfter bounds what a peer may ask for.
const MaxRetryAfter = time.Hour

// Transport makes what carries a client's requests: it trusts the PEM certificates of a bundle instead of the system's
// where there is one, follows no redirects, and keeps idle connections to a host for a minute, so many at most. The error
// says what a bundle must hold.
func Transport(caBundle []byte, idle int) (*http.Transport, error) {
	var roots *x509.CertPool
	if len(caBundle) > 0 {
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(caBundle) {
			return nil, errors.New("the CA bundle holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
		}
	}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    idle,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
	}, nil
}

// Network sorts the error of a request that was not answered, with the reasons of Connected. peer is who was asked, as
// a sentence names it: "the shop". The text holds nothing of the error's own, which may name URLs and, from shared certificates, other shops.
func Network(ctx context.Context, peer string, err error) *engine.Fault {
	unsent := func(reason, message string) *engine.Fault {
		return &engine.Fault{Reason: reason, Message: message, Unsent: true}
	}
	var (
		dns       *net.DNSError
		op        *net.OpError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		timeout   net.Error
	)
	switch {
	case errors.As(err, &dns):
		return unsent(v1alpha1.ReasonNameNotResolved, peer+"'s host name has no address: check the URL and the cluster's DNS")
	case errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect"):
		return unsent(v1alpha1.ReasonUnreachable, "no connection to "+peer+": it refuses or does not answer on its port; check the URL, firewalls and egress network policies")
	case errors.As(err, &authority):
		return unsent(v1alpha1.ReasonUntrustedCertificate, peer+"'s certificate is signed by an authority that is not trusted: for a private CA, name its PEM certificate in caBundleSecretKeyRef")
	case errors.As(err, &name):
		return unsent(v1alpha1.ReasonUntrustedCertificate, peer+"'s certificate is for another host name: use the name it was made for in the URL, or replace it")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return unsent(v1alpha1.ReasonUntrustedCertificate, peer+"'s certificate has expired or is not yet valid: renew it, or set the clock right")
	case errors.As(err, &invalid), errors.As(err, &verify):
		return unsent(v1alpha1.ReasonUntrustedCertificate, peer+"'s certificate is not valid: replace it, or name its CA's PEM certificate in caBundleSecretKeyRef")
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record):
		return unsent(v1alpha1.ReasonPlainHTTP, peer+" answers in plain HTTP on this port: give it TLS, or use the URL and port where it has it")
	case errors.Is(context.Cause(ctx), context.Canceled):
		return &engine.Fault{Reason: v1alpha1.ReasonTimeout, Message: "the request was given up because the agent stops or was configured anew"}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return &engine.Fault{Reason: v1alpha1.ReasonTimeout, Message: peer + " did not answer in time"}
	}
	return &engine.Fault{Reason: v1alpha1.ReasonUnreachable, Message: "the connection to " + peer + " was cut before its answer was complete"}
}

// RetryAfter reads the header of that name in both its forms, 0 without one and an hour at most, so that a wrong header
// cannot silence a lane for days; a date counts from the answer's own Date.
func RetryAfter(h http.Header) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	var d time.Duration
	if seconds, err := strconv.ParseFloat(v, 64); err == nil {
		d = time.Duration(min(max(seconds, 0), MaxRetryAfter.Seconds()) * float64(time.Second))
	} else if at, err := http.ParseTime(v); err == nil {
		if date, err := http.ParseTime(h.Get("Date")); err == nil {
			d = at.Sub(date)
		}
	}
	return min(max(d, 0), MaxRetryAfter)
}

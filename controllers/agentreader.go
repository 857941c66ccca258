package controllers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"

	"stocksync.dev/stocksync/internal/agentapi"
)

// maxReport bounds an agent's answer: well above what a thousand stores make.
const maxReport = 16 << 20

// HTTPAgentReader asks agents over TLS, verified against the certificate the operator made, with a bearer token.
type HTTPAgentReader struct {
	// Dial opens the connection to an agent's address; nil dials it as it is, by the cluster's DNS.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// ReadStatus asks the agent once. Every read is a connection of its own: they are rare, and a kept one would
// outlive the pod behind it.
func (r HTTPAgentReader) ReadStatus(ctx context.Context, target AgentTarget) (agentapi.Status, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(target.CA)) {
		return agentapi.Status{}, errors.New("the Secret of the private port holds no certificate")
	}
	transport := &http.Transport{
		DialContext:       r.Dial,
		TLSClientConfig:   &tls.Config{RootCAs: roots, ServerName: target.ServerName, MinVersion: tls.VersionTLS13},
		DisableKeepAlives: true,
	}
	address := "https://" + net.JoinHostPort(target.ServerName, strconv.Itoa(agentapi.PrivatePort)) + agentapi.StatusPath
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return agentapi.Status{}, err
	}
	request.Header.Set("Authorization", "Bearer "+target.Token)
	response, err := transport.RoundTrip(request)
	if err != nil {
		return agentapi.Status{}, plain(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return agentapi.Status{}, fmt.Errorf("the agent answers %s", response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxReport+1))
	if err != nil {
		return agentapi.Status{}, fmt.Errorf("reading the agent's answer: %w", err)
	}
	if len(body) > maxReport {
		return agentapi.Status{}, fmt.Errorf("the agent's answer is longer than %d bytes", maxReport)
	}
	var status agentapi.Status
	if err := json.Unmarshal(body, &status); err != nil {
		return agentapi.Status{}, fmt.Errorf("the agent's answer is not the expected JSON: %w", err)
	}
	return status, nil
}

// plain leaves out the addresses and ports of a failed connection: they change from read to read, and the error is
// shown in a condition.
func plain(err error) error {
	if lookup, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("the name %s is not resolved: %s", lookup.Name, lookup.Err)
	}
	if operation, ok := errors.AsType[*net.OpError](err); ok {
		if call, ok := errors.AsType[*os.SyscallError](operation.Err); ok {
			return fmt.Errorf("%s: %w", operation.Op, call.Err)
		}
		return fmt.Errorf("%s: %w", operation.Op, operation.Err)
	}
	return err
}

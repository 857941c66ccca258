package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// tunnel reaches a port of a pod through the API server, as `kubectl port-forward` does, but without opening a
// port on this machine: every connection is a stream.
type tunnel struct {
	dialer httpstream.Dialer
	port   int

	mu       sync.Mutex
	to       httpstream.Connection
	requests int
}

// newTunnel prepares a tunnel to the port of the pod; it connects with the first dial. A WebSocket is tried first
// and SPDY where something on the way does not let it through.
func newTunnel(config *rest.Config, core rest.Interface, namespace, pod string, port int) (*tunnel, error) {
	url := core.Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	overWebSocket, err := portforward.NewSPDYOverWebsocketDialerForStreamingWithLogger(logr.Discard(), url, config)
	if err != nil {
		return nil, err
	}
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	plain := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	return &tunnel{port: port, dialer: portforward.NewFallbackDialerForStreaming(overWebSocket, plain, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})}, nil
}

// dial opens a connection to the pod's port.
func (t *tunnel) dial(ctx context.Context) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	// The streaming library knows no contexts.
	done := make(chan result, 1)
	go func() {
		conn, err := t.open()
		done <- result{conn, err}
	}()
	select {
	case r := <-done:
		return r.conn, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.conn != nil {
				_ = r.conn.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

func (t *tunnel) open() (net.Conn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.to != nil {
		select {
		case <-t.to.CloseChan():
			t.to = nil
		default:
		}
	}
	if t.to == nil {
		to, protocol, err := t.dialer.Dial(portforward.PortForwardProtocolV1Name)
		if err != nil {
			return nil, err
		}
		if protocol != portforward.PortForwardProtocolV1Name {
			_ = to.Close()
			return nil, fmt.Errorf("the API server forwards by %q, which this version does not know", protocol)
		}
		t.to = to
	}
	t.requests++
	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(t.port))
	headers.Set(corev1.PortForwardRequestIDHeader, strconv.Itoa(t.requests))
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	failure, err := t.to.CreateStream(headers)
	if err != nil {
		return nil, err
	}
	_ = failure.Close() // nothing is written to it
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := t.to.CreateStream(headers)
	if err != nil {
		return nil, err
	}
	c := &stream{Stream: data, to: t.to, failure: failure, failed: make(chan struct{}), closed: make(chan struct{})}
	go c.watch()
	return c, nil
}

// close ends every connection of the tunnel.
func (t *tunnel) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.to != nil {
		_ = t.to.Close()
		t.to = nil
	}
}

// stream is one connection. It has no deadlines: requests are bounded by their contexts, which close it.
type stream struct {
	httpstream.Stream
	to      httpstream.Connection
	failure httpstream.Stream

	failed chan struct{} // closed once why is known
	why    error

	closed    chan struct{}
	closeOnce sync.Once
}

// watch waits for what the node says when it cannot reach the port.
func (s *stream) watch() {
	defer close(s.failed)
	text, err := io.ReadAll(io.LimitReader(s.failure, 64<<10))
	if message := strings.TrimSpace(string(text)); message != "" {
		s.why = errors.New(message)
	} else if err != nil {
		s.why = err
	}
	if s.why != nil {
		_ = s.Reset() // nothing will come: end a read that waits
	}
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	if n > 0 || err == nil {
		return n, err
	}
	// The node closes both streams, and what it has to say may come last.
	select {
	case <-s.failed:
		if s.why != nil {
			return 0, s.why
		}
	case <-s.closed:
	case <-s.to.CloseChan():
	}
	return 0, err
}

func (s *stream) Close() error {
	s.closeOnce.Do(func() { close(s.closed) })
	err := s.Reset()
	_ = s.failure.Reset()
	s.to.RemoveStreams(s.Stream, s.failure)
	return err
}

func (*stream) LocalAddr() net.Addr              { return address{} }
func (*stream) RemoteAddr() net.Addr             { return address{} }
func (*stream) SetDeadline(time.Time) error      { return nil }
func (*stream) SetReadDeadline(time.Time) error  { return nil }
func (*stream) SetWriteDeadline(time.Time) error { return nil }

type address struct{}

func (address) Network() string { return "portforward" }
func (address) String() string  { return "agent" }

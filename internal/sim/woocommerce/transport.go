package woocommerce

import (
	"bytes"
	"io"
	"net/http"
)

// Transport carries requests to the store inside the process, with the manners of a network: a client
// that gives up gets its context's error while the store works on, and a closed connection is
// [io.ErrUnexpectedEOF].
func (s *Store) Transport() http.RoundTripper { return transport{s} }

type transport struct{ s *Store }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// The body is read here: after RoundTrip returned it belongs to the client again.
	req := r.Clone(ctx)
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil {
			return nil, err
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	if req.URL.Scheme == "https" {
		req.Header.Set("X-Forwarded-Proto", "https")
	}
	w := &answer{header: http.Header{}, done: make(chan struct{})}
	t.s.work.run(func() {
		defer close(w.done)
		defer func() {
			if v := recover(); v == http.ErrAbortHandler { //nolint:errorlint // a panic with this very value, as net/http asks for it
				w.cut = true
			} else if v != nil {
				panic(v)
			}
		}()
		t.s.handle(w, req)
	})
	select {
	case <-w.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if w.cut {
		return nil, io.ErrUnexpectedEOF
	}
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(bytes.NewReader(w.body.Bytes())), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
	done   chan struct{}
	cut    bool
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) { a.status = status }

func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

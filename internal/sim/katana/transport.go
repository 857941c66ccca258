package katana

import (
	"bytes"
	"errors"
	"io"
	"net/http"
)

// Transport carries requests to the account inside the process. A closed connection is
// [io.ErrUnexpectedEOF].
func (a *Account) Transport() http.RoundTripper { return transport{a} }

type transport struct{ a *Account }

// RoundTrip implements [http.RoundTripper].
func (t transport) RoundTrip(r *http.Request) (res *http.Response, err error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	req := r.Clone(r.Context())
	if req.Body == nil {
		req.Body = http.NoBody
	}
	w := &recorder{header: http.Header{}}
	defer func() {
		if v := recover(); v != nil {
			cut, ok := v.(error)
			if !ok || !errors.Is(cut, http.ErrAbortHandler) {
				panic(v)
			}
			if err = r.Context().Err(); err == nil {
				err = io.ErrUnexpectedEOF
			}
			res = nil
		}
	}()
	t.a.handle(w, req)
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) WriteHeader(status int)      { w.status = status }
func (w *recorder) Write(b []byte) (int, error) { return w.body.Write(b) }

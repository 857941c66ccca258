package woocommerce

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

func TestNormalizeURL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://Shop.Example.com":                   "https://shop.example.com",
		"HTTPS://shop.example.com:443/":              "https://shop.example.com",
		"http://shop.example.com:80//":               "http://shop.example.com",
		"https://shop.example.com.:8443/Sub//":       "https://shop.example.com:8443/Sub",
		" https://shop.example.com/wp-json/wc/v3/\n": "https://shop.example.com",
		"https://shop.example.com/x/wp-json":         "https://shop.example.com/x",
		"https://[2001:DB8::1]:443/":                 "https://[2001:db8::1]",
		"https://[2001:db8::1]:444":                  "https://[2001:db8::1]:444",
	} {
		if got, err := NormalizeURL(in); err != nil || got != want {
			t.Errorf("NormalizeURL(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "shop.example.com", "/shop", "https://", "ftp://shop.example.com", "https://ck:cs@shop.example.com",
		"https://shop.example.com/?a=b", "https://shop.example.com/?", "https://shop.example.com/#x", "mailto:a@b", "https://%zz", "https://shop:x"} {
		if got, err := NormalizeURL(in); err == nil {
			t.Errorf("NormalizeURL(%q) = %q, want an error", in, got)
		} else if strings.Contains(err.Error(), "cs@") {
			t.Errorf("NormalizeURL(%q) shows the password: %v", in, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := Options{URL: "https://shop.example.com", ConsumerKey: testKey, ConsumerSecret: testSecret}
	for name, tc := range map[string]struct {
		change func(*Options)
		reason string
		says   string
	}{
		"no url":        {func(o *Options) { o.URL = "" }, v1alpha1.ReasonInvalidConfiguration, "absolute"},
		"plain url":     {func(o *Options) { o.URL = "http://shop.example.com" }, v1alpha1.ReasonPlainHTTP, "https://"},
		"insecure":      {func(o *Options) { o.Transport = v1alpha1.TransportInsecureHTTP }, v1alpha1.ReasonInvalidConfiguration, "must begin with http://"},
		"no key":        {func(o *Options) { o.ConsumerKey = " \n" }, v1alpha1.ReasonInvalidConfiguration, "consumerKey"},
		"no secret":     {func(o *Options) { o.ConsumerSecret = "" }, v1alpha1.ReasonInvalidConfiguration, "consumerSecret"},
		"broken bundle": {func(o *Options) { o.CABundle = []byte("MIIC") }, v1alpha1.ReasonInvalidConfiguration, "PEM"},
	} {
		o := good
		tc.change(&o)
		_, err := New(o)
		f := faultOf(t, err)
		if f.Reason != tc.reason || !strings.Contains(f.Message, tc.says) {
			t.Errorf("%s: %v", name, f)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}

// TestTLS checks what a user with a private CA goes through, over a real connection.
func TestTLS(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, []any{}) }))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	read := func(url string, ca []byte) error {
		c, err := New(Options{URL: url, ConsumerKey: testKey, ConsumerSecret: testSecret, CABundle: ca})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Orders(context.Background(), engine.OrderQuery{})
		return err
	}
	if err := read(srv.URL, bundle); err != nil {
		t.Errorf("with the CA bundle: %v", err)
	}
	f := faultOf(t, read(srv.URL, nil))
	if f.Reason != v1alpha1.ReasonUntrustedCertificate || !strings.Contains(f.Message, "caBundleSecretKeyRef") || !f.Unsent {
		t.Errorf("without it: %+v", f)
	}
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	if f := faultOf(t, read("https://localhost:"+port, bundle)); f.Reason != v1alpha1.ReasonUntrustedCertificate || !strings.Contains(f.Message, "another host name") {
		t.Errorf("under another name: %+v", f)
	}
	plain := httptest.NewServer(srv.Config.Handler)
	defer plain.Close()
	if f := faultOf(t, read(strings.Replace(plain.URL, "http", "https", 1), nil)); f.Reason != v1alpha1.ReasonPlainHTTP || !f.Unsent {
		t.Errorf("plain http: %+v", f)
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	if f := faultOf(t, read(strings.Replace(gone.URL, "http", "https", 1), nil)); f.Reason != v1alpha1.ReasonUnreachable || !f.Unsent {
		t.Errorf("nobody listens: %+v", f)
	}
}

type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// TestNetworkFaults also holds that a write is only called unsent where no connection came about, and that
// nothing of an error's own text is passed on.
func TestNetworkFaults(t *testing.T) {
	t.Parallel()
	wrapped := func(err error) error {
		return &url.Error{Op: "Post", URL: "https://" + testKey + ":" + testSecret + "@store.example/x", Err: err}
	}
	for name, tc := range map[string]struct {
		err    error
		reason string
		unsent bool
	}{
		"dns":           {&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "store.example"}}, v1alpha1.ReasonNameNotResolved, true},
		"refused":       {&net.OpError{Op: "dial", Err: errors.New("connection refused")}, v1alpha1.ReasonUnreachable, true},
		"dial timeout":  {&net.OpError{Op: "dial", Err: context.DeadlineExceeded}, v1alpha1.ReasonUnreachable, true},
		"proxy":         {&net.OpError{Op: "proxyconnect", Err: errors.New("refused")}, v1alpha1.ReasonUnreachable, true},
		"unknown CA":    {&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, v1alpha1.ReasonUntrustedCertificate, true},
		"other name":    {x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"other-tenant.example"}}, Host: "x"}, v1alpha1.ReasonUntrustedCertificate, true},
		"expired":       {x509.CertificateInvalidError{Reason: x509.Expired}, v1alpha1.ReasonUntrustedCertificate, true},
		"bad chain":     {x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign}, v1alpha1.ReasonUntrustedCertificate, true},
		"not tls":       {http.ErrSchemeMismatch, v1alpha1.ReasonPlainHTTP, true},
		"timeout":       {context.DeadlineExceeded, v1alpha1.ReasonTimeout, false},
		"cut":           {io.ErrUnexpectedEOF, v1alpha1.ReasonUnreachable, false},
		"reset":         {&net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, v1alpha1.ReasonUnreachable, false},
		"write failed":  {&net.OpError{Op: "write", Err: errors.New("broken pipe")}, v1alpha1.ReasonUnreachable, false},
		"remote alert":  {&net.OpError{Op: "remote error", Err: tls.AlertError(40)}, v1alpha1.ReasonUnreachable, false},
		"anything else": {errors.New("strange"), v1alpha1.ReasonUnreachable, false},
	} {
		c := over(t, failing{wrapped(tc.err)})
		r := c.Push(context.Background(), []engine.Push{{Ref: stock.Ref{Product: 1}, Units: 1}})
		f := faultOf(t, r[0].Err)
		if f.Reason != tc.reason || f.Unsent != tc.unsent {
			t.Errorf("%s: %+v", name, f)
		}
		for _, secret := range []string{testKey, testSecret, "other-tenant"} {
			if strings.Contains(f.Error(), secret) {
				t.Errorf("%s: the error shows %q: %v", name, secret, f)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if f := faultOf(t, reach(ctx, over(t, failing{context.Canceled}))); f.Reason != v1alpha1.ReasonTimeout || f.Unsent {
		t.Errorf("given up: %+v", f)
	}
}

func TestBodyCutShort(t *testing.T) {
	t.Parallel()
	c := over(t, body{func() io.Reader { return io.MultiReader(strings.NewReader(`{"update":[`), errReader{}) }})
	r := c.Push(context.Background(), []engine.Push{{Ref: stock.Ref{Product: 1}, Units: 1}})
	if f := faultOf(t, r[0].Err); f.Unsent || f.Reason != v1alpha1.ReasonUnreachable {
		t.Errorf("%+v", f)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) {
	return 0, &net.OpError{Op: "dial", Err: io.ErrUnexpectedEOF}
}

// body answers 200 with whatever reader it is given.
type body struct{ of func() io.Reader }

func (b body) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{"Date": {testTime.Format(http.TimeFormat)}}, Body: io.NopCloser(b.of())}, nil
}

type endless struct{ n *int64 }

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '['
	}
	*e.n += int64(len(p))
	return len(p), nil
}

func TestHugeAnswerIsBounded(t *testing.T) {
	t.Parallel()
	var n int64
	c := over(t, body{func() io.Reader { return endless{&n} }})
	_, err := c.Versions(context.Background())
	if f := faultOf(t, err); f.Reason != v1alpha1.ReasonUnexpectedContent || !strings.Contains(f.Message, "MiB") {
		t.Errorf("%+v", f)
	}
	if n > 2*maxBody {
		t.Errorf("%d bytes were read", n)
	}
}

func TestWindowIsOnTheShopsClock(t *testing.T) {
	t.Parallel()
	now := testTime.Add(-90 * time.Second)
	s := &shop{handler: func(w http.ResponseWriter, _ *http.Request) {
		now = now.Add(3 * time.Second)
		answerJSON(w, []any{})
	}}
	c, err := New(Options{URL: "https://store.example", ConsumerKey: testKey, ConsumerSecret: testSecret, HTTP: s, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Catalogue(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	if want := (stock.Window{From: testTime.Add(-3 * time.Second), To: testTime.Add(time.Second)}); p.Window != want {
		t.Errorf("window %v, want %v", p.Window, want)
	}
	if skew := c.Skew(); skew < 87*time.Second || skew > 88*time.Second || skew < MaxSkew {
		t.Errorf("skew %v", skew)
	}
}

func TestEveryRequestIsPolite(t *testing.T) {
	t.Parallel()
	c, s := newClient(t, func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, map[string]any{"namespace": "wc/v3"}) })
	_ = reach(context.Background(), c)
	_, _ = c.Versions(context.Background())
	reqs := s.requests()
	if got := reqs[0].header.Get("Authorization"); got != "" {
		t.Error("the route index was asked for with credentials")
	}
	user, pass, _ := (&http.Request{Header: reqs[1].header}).BasicAuth()
	if user != testKey || pass != testSecret {
		t.Errorf("credentials %q", user)
	}
	for _, r := range reqs {
		// Without Accept, WordPress answers its maintenance page in HTML.
		if r.header.Get("Accept") != "application/json" || r.header.Get("User-Agent") != "StockSync" {
			t.Errorf("headers %v", r.header)
		}
		if strings.Contains(fmt.Sprint(r.query), "consumer") {
			t.Error("the key travels in the query, where access logs keep it")
		}
	}
}

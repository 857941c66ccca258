// Command tlsproxy ends TLS in front of plain HTTP servers, as a shop's web server does: it picks the server by
// the name asked for and tells it, in X-Forwarded-Proto, that the visitor came by https.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// routes maps a lower-case host name to the server behind it.
type routes map[string]*url.URL

// String is the flag's text form.
func (r routes) String() string {
	var parts []string
	for host, to := range r {
		parts = append(parts, host+"="+to.String())
	}
	return strings.Join(parts, " ")
}

// Set adds one "host=url" of the command line.
func (r routes) Set(text string) error {
	host, target, ok := strings.Cut(text, "=")
	if !ok || host == "" {
		return fmt.Errorf("must be HOST=URL, such as hq=http://hq-store:8080")
	}
	u, err := url.Parse(target)
	if err != nil {
		return err
	}
	if u.Scheme != "http" || u.Host == "" {
		return fmt.Errorf("the URL must be http://HOST:PORT")
	}
	r[strings.ToLower(host)] = u
	return nil
}

// find returns the server for a Host header. A bare service name matches its longer forms: hq also takes
// hq.stores and hq.stores.svc.cluster.local.
func (r routes) find(host string) *url.URL {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(host)
	if u := r[host]; u != nil {
		return u
	}
	first, _, _ := strings.Cut(host, ".")
	return r[first]
}

func handler(r routes, logger *log.Logger) http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(r.find(pr.In.Host))
			pr.Out.Host = pr.In.Host
			pr.SetXForwarded()
		},
		ErrorLog: logger,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if r.find(req.Host) == nil {
			http.Error(w, "no such shop here", http.StatusMisdirectedRequest)
			return
		}
		// Else net/http closes the request's body with the first byte of the answer, maybe under the very read that would
		// have met its end, and the answer is cut short ("invalid Read on closed Body").
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			logger.Print(err)
		}
		proxy.ServeHTTP(w, req)
	})
}

func main() {
	listen := flag.String("listen", ":8443", "address to listen on")
	cert := flag.String("cert", "/tls/tls.crt", "certificate chain, PEM")
	key := flag.String("key", "/tls/tls.key", "its key, PEM")
	health := flag.String("health", ":8081", "address that answers /healthz in plain HTTP")
	table := routes{}
	flag.Var(table, "route", "`HOST=URL` of a server behind the proxy; repeat for each")
	flag.Parse()

	logger := log.New(os.Stderr, "", log.LstdFlags|log.LUTC)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *listen, *health, *cert, *key, handler(table, logger), logger); err != nil {
		logger.Fatal(err)
	}
}

func serve(ctx context.Context, listen, health, cert, key string, h http.Handler, logger *log.Logger) error {
	server := &http.Server{Addr: listen, Handler: h, ReadHeaderTimeout: 10 * time.Second, ErrorLog: logger}
	healthy := http.NewServeMux()
	healthy.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	probe := &http.Server{Addr: health, Handler: healthy, ReadHeaderTimeout: 10 * time.Second, ErrorLog: logger}

	failed := make(chan error, 2)
	go func() { failed <- probe.ListenAndServe() }()
	go func() { failed <- server.ListenAndServeTLS(cert, key) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	quiet, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(server.Shutdown(quiet), probe.Shutdown(quiet))
}

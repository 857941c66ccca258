// Command storesim runs one simulated WooCommerce store over HTTP: REST, Store API, webhooks, a shop page
// for people and, with an admin token, routes to act on it from outside; or, as storesim katana, one simulated
// Katana account. It is for demos and tests.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/internal/sim/woocommerce"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Getenv, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "storesim:", err)
		os.Exit(1)
	}
}

// Environment variables; secrets are never taken from the command line.
const (
	envKey    = "STORESIM_CONSUMER_KEY"
	envSecret = "STORESIM_CONSUMER_SECRET"
	envAdmin  = "STORESIM_ADMIN_TOKEN"
)

const help = `storesim runs one simulated WooCommerce store.

Usage: storesim [flags]
       storesim katana [flags]   a Katana account instead; see storesim katana --help

Environment:
  STORESIM_CONSUMER_KEY, STORESIM_CONSUMER_SECRET   the REST key (read and write); both or neither
  STORESIM_ADMIN_TOKEN                              opens the admin routes

Flags:
`

type config struct {
	listen, name, homeURL, version string
	cert, key                      string
	products                       int
	factor                         float64
	offset                         time.Duration
	interval                       time.Duration
	sync, block, realistic         bool
	workers                        int
	seed                           uint64
	verbose                        bool
	state                          string
}

func parse(args []string, out io.Writer) (config, error) {
	var c config
	flags := flag.NewFlagSet("storesim", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&c.listen, "listen", "127.0.0.1:8080", "address and port to listen on")
	flags.StringVar(&c.name, "name", "Store", "title of the shop")
	flags.StringVar(&c.homeURL, "home-url", "", "the site's own address as visitors see it, without a slash at the end (default http:// or https:// and the listen address)")
	flags.StringVar(&c.cert, "tls-cert", "", "PEM file with the certificate, to speak https; without it plain http, as behind a web server that ends TLS")
	flags.StringVar(&c.key, "tls-key", "", "PEM file with its key")
	flags.IntVar(&c.products, "seed-products", 20, "number of simple products to start with, SKU-0001 and so on; some others come with them")
	flags.Float64Var(&c.factor, "quantity-factor", 1, "multiplies the starting quantities, so that stores differ")
	flags.DurationVar(&c.offset, "site-offset", 2*time.Hour, "the site's offset from UTC")
	flags.StringVar(&c.version, "woocommerce-version", "9.9.5", "version the store claims")
	flags.DurationVar(&c.interval, "webhook-interval", time.Minute, "cron tick that delivers webhooks")
	flags.BoolVar(&c.sync, "webhook-sync", false, "deliver webhooks at the end of the request that caused them")
	flags.BoolVar(&c.block, "webhook-block-private", false, "refuse deliveries to private addresses and odd ports, as WordPress does by default")
	flags.BoolVar(&c.realistic, "realistic", false, "take as long for everything as a small server does")
	flags.IntVar(&c.workers, "workers", 8, "requests worked on at once; 0 is no bound")
	flags.Uint64Var(&c.seed, "seed", 1, "seed of everything random")
	flags.StringVar(&c.state, "state", "", "file to keep the shop in between runs: read at the start if it is there, written at the end")
	flags.BoolVar(&c.verbose, "v", false, "log every request")
	flags.Usage = func() {
		_, _ = io.WriteString(out, help)
		flags.PrintDefaults()
		_, _ = io.WriteString(out, "\n"+woocommerce.AdminHelp+pluginHelp)
	}
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	switch {
	case flags.NArg() > 0:
		return c, fmt.Errorf("unexpected argument %q: see --help for the flags", flags.Arg(0))
	case c.products < 0 || c.products > 200_000:
		return c, fmt.Errorf("--seed-products must be between 0 and 200000, not %d", c.products)
	case c.factor < 0 || c.factor > 1e6:
		return c, fmt.Errorf("--quantity-factor must be between 0 and 1000000, not %g", c.factor)
	case c.offset <= -24*time.Hour || c.offset >= 24*time.Hour:
		return c, fmt.Errorf("--site-offset must be less than a day, not %v", c.offset)
	case c.homeURL != "" && !strings.HasPrefix(c.homeURL, "http://") && !strings.HasPrefix(c.homeURL, "https://"):
		return c, fmt.Errorf("--home-url must start with http:// or https://, not %q", c.homeURL)
	case (c.cert == "") != (c.key == ""):
		return c, errors.New("--tls-cert and --tls-key must be given together, or neither")
	case c.interval <= 0:
		return c, fmt.Errorf("--webhook-interval must be above zero, not %v", c.interval)
	}
	return c, nil
}

func run(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	if len(args) > 0 && args[0] == katanaCommand {
		return runKatana(ctx, args[1:], getenv, out)
	}
	c, err := parse(args, out)
	if err != nil {
		return err
	}
	var keys []woocommerce.Key
	if key, secret := getenv(envKey), getenv(envSecret); key != "" && secret != "" {
		keys = append(keys, woocommerce.Key{ConsumerKey: key, ConsumerSecret: secret})
	} else if key != "" || secret != "" {
		return fmt.Errorf("set both %s and %s, or neither", envKey, envSecret)
	}
	log := newLog(out, c.verbose).WithValues("store", c.name)

	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.listen)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	if c.homeURL == "" {
		c.homeURL = "http://" + listener.Addr().String()
		if c.cert != "" {
			c.homeURL = "https://" + listener.Addr().String()
		}
	}
	options := woocommerce.Options{
		Name: c.name, HomeURL: strings.TrimSuffix(c.homeURL, "/"), Location: time.FixedZone("site", int(c.offset.Seconds())),
		Seed: c.seed, Keys: keys, Workers: c.workers, Version: c.version,
		WebhookInterval: c.interval, WebhookSync: c.sync, BlockPrivateWebhooks: c.block,
		AdminToken: getenv(envAdmin), Log: log,
	}
	if c.realistic {
		options.Pauses = woocommerce.RealisticPauses()
	}
	store := woocommerce.New(options)
	defer store.Close()
	if err := fill(store, c); err != nil {
		return fmt.Errorf("cannot fill the shop: %w", err)
	}

	log.Info("open", "address", listener.Addr().String(), "homeURL", c.homeURL, "products", c.products, "admin", options.AdminToken != "", "keys", len(keys))
	plugin := &pluginAdmin{store: store, token: options.AdminToken}
	defer plugin.Close()
	err = serve(ctx, listener, c.cert, c.key, plugin.over(store.Handler()), store.Run)
	err = errors.Join(err, save(store, c.state))
	log.Info("closed")
	return err
}

// serve serves a simulator, over TLS where there is a certificate, and runs what it does by itself, until ctx is done.
func serve(ctx context.Context, listener net.Listener, cert, key string, handler http.Handler, background func(context.Context) error) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	served := make(chan error, 1)
	go func() {
		if cert != "" {
			served <- server.ServeTLS(listener, cert, key)
			return
		}
		served <- server.Serve(listener)
	}()
	done := make(chan struct{})
	backgroundCtx, stop := context.WithCancel(ctx)
	go func() { defer close(done); _ = background(backgroundCtx) }()

	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		err = server.Shutdown(grace)
		cancel()
	}
	stop()
	<-done
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

func newLog(out io.Writer, verbose bool) logr.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.Level(-1)
	}
	return logr.FromSlogHandler(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level}))
}

// fill opens the shop as it was left, or a new one.
func fill(store *woocommerce.Store, c config) error {
	if c.state != "" {
		raw, err := os.ReadFile(c.state)
		if err == nil {
			var kept woocommerce.Snapshot
			if err := json.Unmarshal(raw, &kept); err != nil {
				return fmt.Errorf("%s: %w", c.state, err)
			}
			return store.Restore(&kept)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return store.Seed(woocommerce.SeedOptions{Products: c.products, Quantity: func(n int) float64 {
		return float64(int(float64(10+n%50) * c.factor))
	}})
}

func save(store *woocommerce.Store, path string) error {
	if path == "" {
		return nil
	}
	raw, err := json.Marshal(store.Snapshot())
	if err == nil {
		err = os.WriteFile(path, raw, 0o600)
	}
	if err != nil {
		return fmt.Errorf("cannot keep the shop: %w", err)
	}
	return nil
}

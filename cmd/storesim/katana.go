package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"

	"stocksync.dev/stocksync/internal/sim/katana"
	"stocksync.dev/stocksync/internal/sim/woocommerce"
)

// katanaCommand is the first argument that asks for a Katana account instead of a store.
const katanaCommand = "katana"

// envToken is the API key of the Katana account.
const envToken = "STORESIM_API_KEY"

const katanaHelp = `storesim katana runs one simulated Katana Cloud Inventory account.

Usage: storesim katana [flags]

Environment:
  STORESIM_API_KEY       the API key; without it every request is refused
  STORESIM_ADMIN_TOKEN   opens the admin routes

Flags:
`

type katanaConfig struct {
	listen, location, cert, key string
	products, limit             int
	factor                      float64
	plainHooks, verbose         bool
}

func parseKatana(args []string, out io.Writer) (katanaConfig, error) {
	var c katanaConfig
	flags := flag.NewFlagSet("storesim katana", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&c.listen, "listen", "127.0.0.1:8090", "address and port to listen on; the API is below /v1")
	flags.StringVar(&c.location, "location", "Warehouse", "name of the location there is")
	flags.StringVar(&c.cert, "tls-cert", "", "PEM file with the certificate, to speak https; without it plain http, as behind a server that ends TLS")
	flags.StringVar(&c.key, "tls-key", "", "PEM file with its key")
	flags.IntVar(&c.products, "seed-products", 20, "number of products to start with, SKU-0001 and so on, as the simulated stores have them")
	flags.Float64Var(&c.factor, "quantity-factor", 1, "multiplies the starting quantities")
	flags.IntVar(&c.limit, "rate-limit", 60, "requests a minute that are let through; -1 is no limit")
	flags.BoolVar(&c.plainHooks, "webhook-allow-http", false, "take webhooks with http URLs, which Katana does not")
	flags.BoolVar(&c.verbose, "v", false, "log every request")
	flags.Usage = func() {
		_, _ = io.WriteString(out, katanaHelp)
		flags.PrintDefaults()
		_, _ = io.WriteString(out, "\n"+katana.AdminHelp)
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
	case c.limit == 0 || c.limit < -1:
		return c, fmt.Errorf("--rate-limit must be above zero, or -1 for no limit, not %d", c.limit)
	case (c.cert == "") != (c.key == ""):
		return c, errors.New("--tls-cert and --tls-key must be given together, or neither")
	}
	return c, nil
}

func runKatana(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	c, err := parseKatana(args, out)
	if err != nil {
		return err
	}
	log := newLog(out, c.verbose).WithValues("account", "katana")
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.listen)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	scheme := "http"
	if c.cert != "" {
		scheme = "https"
	}
	options := katana.Options{
		BaseURL: scheme + "://" + listener.Addr().String() + "/v1", Clock: woocommerce.SystemClock{}, AdminToken: getenv(envAdmin), Log: log,
		Behaviour: katana.Behaviour{RateLimit: c.limit, PlainWebhooks: c.plainHooks},
	}
	if token := getenv(envToken); token != "" {
		options.Keys = []string{token}
	}
	account := katana.New(options)
	location := account.AddLocation(c.location)
	for n := 1; n <= c.products; n++ {
		v := account.AddProduct(fmt.Sprintf("SKU-%04d", n))
		if err := account.Adjust(v, location, katana.Units(int64(float64(10+n%50)*c.factor))); err != nil {
			return fmt.Errorf("cannot fill the account: %w", err)
		}
	}

	log.Info("open", "address", listener.Addr().String(), "api", options.BaseURL, "location", location, "products", c.products, "admin", options.AdminToken != "", "keys", len(options.Keys))
	err = serve(ctx, listener, c.cert, c.key, account.Handler(), account.Run)
	log.Info("closed")
	return err
}

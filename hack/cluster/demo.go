package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"stocksync.dev/stocksync/hack/cluster/internal/shop"
)

// The goods of the demo, and how many of the first are sold where.
var (
	demoSKUs  = []string{"SKU-0001", "SKU-0002", "SKU-0003"}
	demoSales = map[string]int{"fr": 3, "de": 2}
)

// runDemo brings up everything and plays the demo of a name.
func runDemo(ctx context.Context, c cluster, name string) error {
	sc, err := sceneOf(name)
	if err != nil {
		return err
	}
	fmt.Println("StockSync demo. Needs Debian or similar, root and Go; or Docker and kind.")
	start := time.Now()
	what := "three shops, hq, fr and de, each with a stock of its own"
	if sc.account {
		what = "a Katana account, and two shops, oslo and turin, each with a stock of its own"
	}
	for _, step := range []struct {
		what string
		run  func() error
	}{
		{"a Kubernetes cluster", func() error { return c.up(ctx) }},
		{"images", func() error { return load(ctx, c, nil) }},
		{"the operator", func() error { return installOperator(ctx, c) }},
		{what, func() error { return upStores(ctx, c, sc) }},
	} {
		fmt.Printf("\n==> %s\n", step.what)
		if err := step.run(); err != nil {
			return err
		}
	}
	if sc.account {
		return playKatana(ctx, c, sc, start)
	}
	return playShops(ctx, c, sc, start)
}

// playShops sells in two shops at once and shows that all shops agree.
func playShops(ctx context.Context, c cluster, sc scene, start time.Time) error {
	k, err := newKubectl(ctx, c)
	if err != nil {
		return err
	}
	shops, stop, err := openShops(ctx, c, k, sc)
	if err != nil {
		return err
	}
	defer stop()
	if _, err := printStock(ctx, shops); err != nil {
		return err
	}

	fmt.Print("\n==> a topology: hq is the master, fr and de follow\n")
	if err := applyTopology(ctx, c, sc); err != nil {
		return err
	}
	for _, object := range []string{"stocksynctopologies", "childstores"} {
		if _, err := k.run(ctx, nil, "wait", "--namespace", "shops", "--for=condition=Ready", "--timeout=120s", "--all", object); err != nil {
			return err
		}
	}
	if _, err := agreed(ctx, shops, nil); err != nil {
		return err
	}
	before, err := printStock(ctx, shops)
	if err != nil {
		return err
	}

	sku := demoSKUs[0]
	fmt.Printf("\n==> at the same moment fr sells %d and de sells %d of %s\n", demoSales["fr"], demoSales["de"], sku)
	if err := sellAtOnce(ctx, shops, sku); err != nil {
		return err
	}
	want := before[sku] - demoSales["fr"] - demoSales["de"]
	took, err := agreed(ctx, shops, map[string]int{sku: want})
	if err != nil {
		return err
	}
	fmt.Printf("every shop shows %d, %s after the sales\n", want, took.Round(100*time.Millisecond))
	if _, err := printStock(ctx, shops); err != nil {
		return err
	}

	fmt.Print("\n==> kubectl get sst,chs --namespace shops\n")
	// The operator writes numbers down every few seconds: wait for those after the sales.
	for _, object := range []string{"childstores", "stocksynctopologies"} {
		if _, err := k.run(ctx, nil, "wait", "--namespace", "shops", "--for=jsonpath={.status.backlog}=0", "--timeout=60s", "--all", object); err != nil {
			return err
		}
	}
	out, err := k.run(ctx, nil, "get", "sst,chs", "--namespace", "shops")
	if err != nil {
		return err
	}
	fmt.Printf("%s\nDone in %s. To look around:\n\n  export KUBECONFIG=%s\n  alias kubectl=%s\n", out, time.Since(start).Round(time.Second), k.config, k.program)
	fmt.Print(`  kubectl describe childstore fr --namespace shops
  kubectl logs emea-agent-0 --namespace shops
  kubectl port-forward service/fr-store 8080 --namespace stores   # then the shop is at http://localhost:8080/

To tear down: make cluster-down
`)
	return nil
}

// openShops prepares REST requests to the shops. stop ends what was started for it.
func openShops(ctx context.Context, c cluster, k kubectl, sc scene) (shops []*shop.Shop, stop func(), err error) {
	ca, err := k.secret(ctx, "shops", "stores-ca")
	if err != nil {
		return nil, nil, err
	}
	address, stop, err := frontAddress(ctx, c, k, sc.stores[0].ID)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range sc.stores {
		if err := s.fillKeys(ctx, k); err != nil {
			stop()
			return nil, nil, err
		}
		opened, err := shop.Open(s.ID, s.Host, address, s.ConsumerKey, s.ConsumerSecret, ca["ca.crt"])
		if err != nil {
			stop()
			return nil, nil, err
		}
		shops = append(shops, opened)
	}
	return shops, stop, nil
}

// frontAddress is where the shops' web server is reached from here: its service address on this machine's own
// cluster, a forwarded port elsewhere.
func frontAddress(ctx context.Context, c cluster, k kubectl, service string) (address string, stop func(), err error) {
	if _, ok := c.(local); ok {
		ip, err := k.run(ctx, nil, "get", "service", service, "--namespace", "stores", "-o", "jsonpath={.spec.clusterIP}")
		return net.JoinHostPort(string(ip), "443"), func() {}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, k.program, "--kubeconfig", k.config, "port-forward", "--namespace", "stores", "service/"+service, ":443")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		cancel()
		return "", nil, err
	}
	stop = func() { cancel(); _ = cmd.Wait() }
	line, err := bufio.NewReader(out).ReadString('\n')
	// "Forwarding from 127.0.0.1:40123 -> 8443"
	if f := strings.Fields(line); err == nil && len(f) > 2 {
		return f[2], stop, nil
	}
	stop()
	return "", nil, fmt.Errorf("kubectl port-forward said %q: %w", line, err)
}

func sellAtOnce(ctx context.Context, shops []*shop.Shop, sku string) error {
	results := make(chan error, len(demoSales))
	for _, s := range shops {
		if units := demoSales[s.ID]; units > 0 {
			go func() {
				_, err := s.Sell(ctx, sku, units)
				results <- err
			}()
		}
	}
	var errs []error
	for range demoSales {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

// agreed waits until all shops show the same stock of the demo's goods, and of the SKUs in want that number.
func agreed(ctx context.Context, shops []*shop.Shop, want map[string]int) (time.Duration, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		differs, err := difference(ctx, shops, want)
		if err == nil && differs == "" {
			return time.Since(start), nil
		}
		select {
		case <-ctx.Done():
			return 0, errors.Join(fmt.Errorf("the shops do not agree within a minute: %s", differs), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// difference names a shop and SKU that shows another number than the first shop, or than wanted; empty if there is none.
func difference(ctx context.Context, shops []*shop.Shop, want map[string]int) (string, error) {
	for _, sku := range demoSKUs {
		wanted, known := want[sku]
		for _, s := range shops {
			p, err := s.Find(ctx, sku)
			if err != nil {
				return "", err
			}
			if !known {
				wanted, known = *p.StockQuantity, true
			}
			if *p.StockQuantity != wanted {
				return fmt.Sprintf("%s shows %d of %s instead of %d", s.ID, *p.StockQuantity, sku, wanted), nil
			}
		}
	}
	return "", nil
}

// printStock prints what each shop shows and returns what the first does.
func printStock(ctx context.Context, shops []*shop.Shop) (map[string]int, error) {
	first := map[string]int{}
	fmt.Printf("%-10s", "SKU")
	for _, s := range shops {
		fmt.Printf("%6s", s.ID)
	}
	fmt.Println()
	for _, sku := range demoSKUs {
		fmt.Printf("%-10s", sku)
		for i, s := range shops {
			p, err := s.Find(ctx, sku)
			if err != nil {
				return nil, err
			}
			if i == 0 {
				first[sku] = *p.StockQuantity
			}
			fmt.Printf("%6d", *p.StockQuantity)
		}
		fmt.Println()
	}
	return first, nil
}

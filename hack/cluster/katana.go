package main

import (
	"context"
	"fmt"
	"io"
	"text/template"
	"time"

	"stocksync.dev/stocksync/hack/cluster/internal/shop"
)

const (
	katanaProducts = 20
	// katanaLocation is the only location of the simulated account.
	katanaLocation = 1001
)

// account is the demo's simulated Katana account.
type account struct {
	Host     string
	Products int
	// The API key and the token of the simulator's own controls; made once, then kept in the cluster.
	APIKey, AdminToken string
}

func newAccount(ctx context.Context, k kubectl) (account, error) {
	a := account{Host: "katana" + domain, Products: katanaProducts, APIKey: random(20), AdminToken: random(20)}
	data, err := k.secret(ctx, "stores", "katana-keys")
	if data != nil {
		a.APIKey, a.AdminToken = string(data["apiKey"]), string(data["adminToken"])
	}
	return a, err
}

func (a account) manifest(to io.Writer) error {
	t, err := template.ParseFS(demo, "demo/katana.yaml")
	if err != nil {
		return err
	}
	return t.Execute(to, a)
}

// playKatana shows an order made in Katana, a sale in a shop, and what Katana's import of it changes: nothing.
func playKatana(ctx context.Context, c cluster, sc scene, start time.Time) error {
	k, err := newKubectl(ctx, c)
	if err != nil {
		return err
	}
	shops, stop, err := openShops(ctx, c, k, sc)
	if err != nil {
		return err
	}
	defer stop()
	account, closeAccount, err := openAccount(ctx, c, k)
	if err != nil {
		return err
	}
	defer closeAccount()
	show := func() error { return printKatana(ctx, account, shops) }
	if err := show(); err != nil {
		return err
	}

	fmt.Print("\n==> a topology: Katana is the master, oslo and turin show its stock\n")
	if err := applyTopology(ctx, c, sc); err != nil {
		return err
	}
	if _, err := k.run(ctx, nil, "wait", "--namespace", "shops", "--for=condition=Ready", "--timeout=120s", "stocksynctopology/erp", "childstore/oslo", "childstore/turin"); err != nil {
		return err
	}
	fmt.Println("connected. As with Katana's own stock sync nothing is written yet: items follow as they change, all at once only when asked")
	if err := show(); err != nil {
		return err
	}

	fmt.Print("\n==> everything at once, because somebody asks for it: agent reconcile --strategy Push\n")
	asked := time.Now()
	if _, err := k.run(ctx, nil, "exec", "--namespace", "shops", "erp-agent-0", "--", "/agent", "reconcile", "--strategy", "Push"); err != nil {
		return err
	}
	inStock, held, err := account.Stock(ctx, demoSKUs)
	if err != nil {
		return err
	}
	all := map[string]int{}
	for _, sku := range demoSKUs {
		all[sku] = inStock[sku] - held[sku]
	}
	if _, err := agreed(ctx, shops, all); err != nil {
		return err
	}
	fmt.Printf("every shop shows Katana's stock, %s after it was asked for\n", time.Since(asked).Round(100*time.Millisecond))
	if err := show(); err != nil {
		return err
	}

	sku := demoSKUs[0]
	fmt.Printf("\n==> somebody makes an order for 3 of %s in Katana\n", sku)
	if err := account.Order(ctx, sku, 3); err != nil {
		return err
	}
	want := map[string]int{sku: all[sku] - 3}
	took, err := agreed(ctx, shops, want)
	if err != nil {
		return err
	}
	fmt.Printf("every shop shows %d, %s after the order\n", want[sku], took.Round(100*time.Millisecond))

	oslo := shops[0]
	fmt.Printf("\n==> oslo sells 2 of %s; Katana does not know yet\n", sku)
	order, err := oslo.Sell(ctx, sku, 2)
	if err != nil {
		return err
	}
	want[sku] -= 2
	if took, err = agreed(ctx, shops, want); err != nil {
		return err
	}
	fmt.Printf("turin shows %d, too, %s after the sale\n", want[sku], took.Round(100*time.Millisecond))
	if err := show(); err != nil {
		return err
	}

	fmt.Printf("\n==> later Katana imports order %d of oslo\n", order)
	if err := account.Import(ctx, oslo, order, sku, 2); err != nil {
		return err
	}
	if err := stays(ctx, shops, want, 10*time.Second); err != nil {
		return err
	}
	fmt.Printf("every shop still shows %d: the sale is not counted twice\n", want[sku])
	if err := show(); err != nil {
		return err
	}

	fmt.Printf("\n==> why is it %d? agent history %s\n", want[sku], sku)
	why, err := k.run(ctx, nil, "exec", "--namespace", "shops", "erp-agent-0", "--", "/agent", "history", sku)
	if err != nil {
		return err
	}
	fmt.Printf("%s\n==> kubectl get sst,chs --namespace shops\n", why)
	out, err := k.run(ctx, nil, "get", "sst/erp", "chs/oslo", "chs/turin", "--namespace", "shops")
	if err != nil {
		return err
	}
	fmt.Printf("%s\nDone in %s. To look around:\n\n  export KUBECONFIG=%s\n  alias kubectl=%s\n", out, time.Since(start).Round(time.Second), k.config, k.program)
	fmt.Print(`  kubectl describe stocksynctopology erp --namespace shops
  kubectl logs erp-agent-0 --namespace shops
  kubectl port-forward service/oslo-store 8080 --namespace stores   # then the shop is at http://localhost:8080/

To tear down: make cluster-down
`)
	return nil
}

// openAccount prepares requests to the account, by the shops' web server. stop ends what was started for it.
func openAccount(ctx context.Context, c cluster, k kubectl) (a *shop.Account, stop func(), err error) {
	ca, err := k.secret(ctx, "shops", "stores-ca")
	if err != nil {
		return nil, nil, err
	}
	keys, err := newAccount(ctx, k)
	if err != nil {
		return nil, nil, err
	}
	address, stop, err := frontAddress(ctx, c, k, "katana")
	if err != nil {
		return nil, nil, err
	}
	a, err = shop.OpenAccount("katana", keys.Host, address, keys.APIKey, keys.AdminToken, katanaLocation, ca["ca.crt"])
	if err != nil {
		stop()
	}
	return a, stop, err
}

// stays watches that all shops go on showing these numbers.
func stays(ctx context.Context, shops []*shop.Shop, want map[string]int, limit time.Duration) error {
	for end := time.Now().Add(limit); time.Now().Before(end); {
		differs, err := difference(ctx, shops, want)
		if err != nil {
			return err
		}
		if differs != "" {
			return fmt.Errorf("the numbers should have stayed: %s", differs)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
	return nil
}

// printKatana prints what Katana knows and what each shop shows.
func printKatana(ctx context.Context, a *shop.Account, shops []*shop.Shop) error {
	inStock, held, err := a.Stock(ctx, demoSKUs)
	if err != nil {
		return err
	}
	fmt.Printf("%-10s%12s%12s%12s", "SKU", "in Katana", "- orders", "= to sell")
	for _, s := range shops {
		fmt.Printf("%8s", s.ID)
	}
	fmt.Println()
	for _, sku := range demoSKUs {
		fmt.Printf("%-10s%12d%12d%12d", sku, inStock[sku], held[sku], inStock[sku]-held[sku])
		for _, s := range shops {
			p, err := s.Find(ctx, sku)
			if err != nil {
				return err
			}
			fmt.Printf("%8d", *p.StockQuantity)
		}
		fmt.Println()
	}
	return nil
}

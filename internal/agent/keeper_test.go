package agent

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/driver/woocommerce"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

func newKeeper(shop Shop, log *logBook) *keeper {
	return &keeper{peer: shop, url: "https://sync.example.com/x", secret: "s", clock: SystemClock{}, log: log.logger(),
		ours: func(context.Context) (bool, error) { return true, nil }, tell: func(stock.Kind, string, string) {}}
}

func TestKeeperTellsRepairsFromTheFirstTime(t *testing.T) {
	t.Parallel()
	shop := newStubShop("fr")
	k := newKeeper(shop, &logBook{})
	shop.find = []woocommerce.Repair{{Topic: "product.updated", Why: woocommerce.Missing}}
	if err := k.keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := k.snapshot(); !s.repairedAt.IsZero() || s.since.IsZero() || s.ensuredAt.IsZero() || s.versions.WooCommerce != "9.9.5" {
		t.Errorf("making the webhooks is no repair: %+v", s)
	}
	first := k.snapshot()
	shop.find = []woocommerce.Repair{{Topic: "product.updated", Why: woocommerce.Disabled}, {Topic: "product.deleted", Why: woocommerce.Missing},
		{Topic: "product.created", Why: woocommerce.Paused}, {Topic: "product.restored", Why: woocommerce.Surplus}}
	if err := k.keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := k.snapshot()
	if s.repairedAt.IsZero() || !slices.Equal(s.repaired, []string{"product.updated", "product.deleted"}) || !slices.Equal(s.paused, []string{"product.created"}) || s.since != first.since {
		t.Errorf("%+v", s)
	}
	shop.find, shop.err = nil, &engine.Fault{Reason: v1alpha1.ReasonWebhooksRefused, Message: "no"}
	if err := k.keep(t.Context()); err == nil || k.snapshot().fault == nil {
		t.Error("a refusal went unnoticed")
	}
	shop.err = nil
	if err := k.keep(t.Context()); err != nil || k.snapshot().fault != nil || len(k.snapshot().paused) != 0 {
		t.Error("a refusal outlived its cause")
	}
}

// Nothing is written to a shop before it is known that no other ledger keeps it.
func TestKeeperWaitsUntilTheShopIsOurs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shop := newStubShop("fr")
		k := newKeeper(shop, &logBook{})
		began := time.Now()
		k.ours = func(context.Context) (bool, error) { return time.Since(began) > 3*time.Minute, nil }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); k.run(ctx) }()
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if n := shop.count(); n > 0 {
			t.Errorf("wrote %d times", n)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if !shop.did("ensure https://sync.example.com/x") {
			t.Error("the webhooks were not made once the shop was ours")
		}
		cancel()
		<-done
	})
}

func TestKeeperBacksOffAndComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shop := newStubShop("fr")
		shop.err = &engine.Fault{Reason: v1alpha1.ReasonTimeout, Message: "slow"}
		k := newKeeper(shop, &logBook{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); k.run(ctx) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := shop.count(); n < 12 || n > 25 {
			t.Errorf("asked %d times in an hour of failure", n)
		}
		cancel()
		<-done
	})
}

func TestRemovalIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &logBook{}
		shop := newStubShop("fr")
		shop.hang = true
		began := time.Now()
		newKeeper(shop, log).remove(t.Context())
		if took := time.Since(began); took != removeWithin {
			t.Errorf("took %s", took)
		}
		if !strings.Contains(log.String(), "left behind") {
			t.Error("nobody was told")
		}
	})
}

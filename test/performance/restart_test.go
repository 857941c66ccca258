package performance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/internal/agent"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

const (
	largeSKUs, largeShops = 50_000, 21
	largeUnits            = 100
	restartVariable       = "STOCKSYNC_PERFORMANCE_LEDGER"
)

// largeShop lists many items in which nothing ever changes.
type largeShop struct{}

func (largeShop) window() stock.Window {
	now := time.Now()
	return stock.Window{From: now.Add(-time.Second), To: now}
}

func (s largeShop) Catalogue(_ context.Context, cursor string) (engine.Page, error) {
	from, _ := strconv.Atoi(cursor)
	page := engine.Page{Window: s.window()}
	for n := from; n < min(from+engine.BatchSize, largeSKUs); n++ {
		page.Items = append(page.Items, engine.Item{Ref: stock.Ref{Product: int64(n + 1)}, SKUs: []string{sku(n)}, Managed: engine.Own, Quantity: largeUnits})
	}
	if from += engine.BatchSize; from < largeSKUs {
		page.Next = strconv.Itoa(from)
	}
	return page, nil
}

func (s largeShop) Modified(context.Context, time.Time, string) (engine.Page, error) {
	return engine.Page{Window: s.window()}, nil
}

func (s largeShop) Read(context.Context, []stock.Ref) (engine.Page, error) {
	return engine.Page{Window: s.window()}, nil
}

func (s largeShop) Orders(context.Context, engine.OrderQuery) (engine.OrderPage, error) {
	return engine.OrderPage{Window: s.window()}, nil
}

func (largeShop) Push(_ context.Context, pushes []engine.Push) []engine.Result {
	return make([]engine.Result, len(pushes))
}

func (largeShop) Forget(context.Context, []stock.Ref) error { return nil }

func largeStores() []engine.Store {
	var stores []engine.Store
	for n := range largeShops {
		stores = append(stores, engine.Store{ID: fmt.Sprintf("shop-%02d", n), Mode: engine.Sync, Policy: stock.Policy{Master: n == 0},
			Driver: largeShop{}, MinInterval: 5 * time.Second, MaxLoad: 0.02, Revision: "1"})
	}
	return stores
}

// fillLedger makes the ledger of stores in which every SKU is enrolled with the same number.
func fillLedger(ctx context.Context, path string, skus int, stores []engine.Store) (err error) {
	l, err := ledger.Open(ctx, path, ledger.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	now := time.Now()
	const step = 250
	for from := 0; from < skus && err == nil; from += step {
		err = l.Update(ctx, func(tx engine.Tx) error {
			for n := from; n < from+step; n++ {
				pool, err := tx.NewPool(sku(n), stock.KeyOf(sku(n)))
				if err != nil {
					return err
				}
				pool.Set, pool.Units = true, largeUnits
				if err := tx.PutPool(pool); err != nil {
					return err
				}
				for _, st := range stores {
					p := stock.Placement{Store: st.ID, Pool: pool.ID, Ref: stock.Ref{Product: int64(n + 1)}, SKU: pool.SKU, Enrolled: true,
						Quantity: largeUnits, Shown: largeUnits, Contained: largeUnits, ReadAt: now}
					if err := tx.PutPlacement(p); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	if err != nil {
		return err
	}
	return l.Update(ctx, func(tx engine.Tx) error {
		for _, st := range stores {
			if err := tx.SetValue(st.ID, "adopted", st.Revision); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestMain is also the process that BenchmarkRestart starts anew.
func TestMain(m *testing.M) {
	if path := os.Getenv(restartVariable); path != "" {
		if err := restarted(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// restarted says when it is ready, goes on for a while, and says what memory it holds.
func restarted(path string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	l, err := ledger.Open(ctx, path, ledger.Options{})
	if err != nil {
		return err
	}
	e := engine.New(l, "0123456789abcdef0123456789abcdef", agent.SystemClock{}, logr.Discard())
	if err := e.Configure(ctx, largeStores()); err != nil {
		return err
	}
	fmt.Println("ready")
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	// The whole catalogue of each shop is being read meanwhile.
	time.Sleep(30 * time.Second)
	states, err := e.Status(ctx)
	if err != nil {
		return err
	}
	for _, s := range states {
		if s.Stats.Enrolled != largeSKUs {
			return fmt.Errorf("%d of %d SKUs are enrolled in %s", s.Stats.Enrolled, largeSKUs, s.StoreID)
		}
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		if field, value, _ := strings.Cut(line, ":"); field == "VmRSS" || field == "VmHWM" {
			fmt.Println(field, strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		}
	}
	cancel()
	return errors.Join(<-ended, l.Close())
}

// BenchmarkRestart starts a process with the ledger of a master and 20 children with 50,000 SKUs each: how long from the start of the process until
// the engine is ready, and what memory it holds while it reads all catalogues anew. Engine and ledger only: the HTTP client's buffers come on top.
func BenchmarkRestart(b *testing.B) {
	path := filepath.Join(b.TempDir(), "ledger.db")
	if err := fillLedger(b.Context(), path, largeSKUs, largeStores()); err != nil {
		b.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	for range b.N {
		cmd := exec.CommandContext(b.Context(), self)
		cmd.Env = append(os.Environ(), restartVariable+"="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		for lines := bufio.NewScanner(out); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), " ")
			kB, _ := strconv.ParseFloat(strings.TrimSpace(value), 64)
			switch name {
			case "ready":
				b.ReportMetric(time.Since(began).Seconds(), "ready-s")
			case "VmRSS":
				b.ReportMetric(kB/1000, "rss-MB")
			case "VmHWM":
				b.ReportMetric(kB/1000, "rss-peak-MB")
			}
		}
		if err := cmd.Wait(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op")
}

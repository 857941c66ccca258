package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/internal/driver/kitgenix"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

// BenchmarkCheckout is the plugin's signed question for a cart of five SKUs, over HTTP on loopback and one connection,
// from the ledger of 50,000 SKUs in a master and four children on disk, while a hundred sales a second are merged and
// somebody looks at the status ten times a second.
func BenchmarkCheckout(b *testing.B) {
	const skus = 50_000
	l, err := ledger.Open(b.Context(), filepath.Join(b.TempDir(), LedgerName), ledger.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	stores := []string{"hq", "fr", "de", "it", "es"}
	for from := 1; from <= skus; from += 500 {
		err := l.Update(b.Context(), func(tx engine.Tx) error {
			for i := from; i < from+500; i++ {
				p, err := tx.NewPool(fmt.Sprint("SKU-", i), stock.Key(fmt.Sprint("sku-", i)))
				if err != nil {
					return err
				}
				p.Set, p.Units = true, 100
				err = tx.PutPool(p)
				for _, store := range stores {
					err = errors.Join(err, tx.PutPlacement(stock.Placement{Store: store, Pool: p.ID, SKU: p.SKU, Enrolled: true, Ref: stock.Ref{Product: p.ID}, Contained: 100, Quantity: 100, Shown: 100}))
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(b.Context())
	var busy sync.WaitGroup
	defer busy.Wait()
	defer cancel()
	clock := SystemClock{}
	remembered, err := newNonces(ctx, l, clock, logr.Discard())
	if err != nil {
		b.Fatal(err)
	}
	ps := &plugins{ledger: l, nonces: remembered, now: clock.Now, log: logr.Discard(), heard: func(string) time.Time { return time.Now() },
		again: func(string) {}, count: func(string, string, string) {}, validated: func(string, answered) {}}
	ps.serve()
	ps.state("fr", pluginID)
	ps.configure(pluginsConfig{id: hubID, master: "hq", plugins: []*plugin{{store: "fr", mode: engine.Sync, remote: pluginID, secrets: []kitgenix.Secret{{Value: "s3cret"}},
		excluded: func(stock.Key) bool { return false }, checkout: Checkout{Grace: time.Minute}}}})
	busy.Go(func() { remembered.run(ctx) })
	busy.Go(func() {
		for n := int64(0); ctx.Err() == nil; n++ {
			_ = l.Update(ctx, func(tx engine.Tx) error {
				p, err := tx.Pool(n%skus + 1)
				if err != nil {
					return err
				}
				p.Units--
				return errors.Join(tx.PutPool(p), tx.Append(stock.Entry{Kind: stock.Ordered, Store: "de", Pool: p.ID, Delta: -1}))
			})
			time.Sleep(10 * time.Millisecond)
		}
	})
	busy.Go(func() {
		for ctx.Err() == nil {
			_ = l.View(ctx, func(tx engine.Tx) error {
				_, err := tx.Stats("fr")
				return err
			})
			time.Sleep(100 * time.Millisecond)
		}
	})
	server := httptest.NewServer(ps.mount(http.NotFoundHandler()))
	defer server.Close()
	took := make([]time.Duration, 0, b.N)
	for n := 0; b.Loop(); n++ {
		var q struct {
			Items []map[string]string `json:"items"`
		}
		for i := range 5 {
			q.Items = append(q.Items, map[string]string{"sku": fmt.Sprint("SKU-", (n*7919+i*104729)%skus+1)})
		}
		body, err := json.Marshal(q)
		if err != nil {
			b.Fatal(err)
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+kitgenix.RouteStock, bytes.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		timestamp, nonce := strconv.FormatInt(time.Now().Unix(), 10), fmt.Sprintf("nonce%011d", n)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set(kitgenix.HeaderStoreID, pluginID)
		r.Header.Set(kitgenix.HeaderTimestamp, timestamp)
		r.Header.Set(kitgenix.HeaderNonce, nonce)
		r.Header.Set(kitgenix.HeaderSignature, kitgenix.Sign("s3cret", timestamp, nonce, body))
		began := time.Now()
		res, err := server.Client().Do(r)
		if err != nil {
			b.Fatal(err)
		}
		_, err = io.Copy(io.Discard, res.Body)
		if _ = res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
			b.Fatal(res.Status, err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

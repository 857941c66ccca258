// Package shop is a shop owner's own view of a WooCommerce store, and of an account of Katana, over their APIs: what the
// demo shows does not come from StockSync.
package shop

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// peer is a server of the demo.
type peer struct {
	// ID is its short name, Host the name it is reached by.
	ID, Host string
	http     *http.Client
}

// Shop is one store.
type Shop struct {
	peer
	key, secret string
}

// Open prepares requests to https://host, trusting the authorities in caPEM, at the address of a server that may
// be another than the one DNS gives for host.
func Open(id, host, address, key, secret string, caPEM []byte) (*Shop, error) {
	p, err := open(id, host, address, caPEM)
	return &Shop{p, key, secret}, err
}

func open(id, host, address string, caPEM []byte) (peer, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(caPEM) {
		return peer{}, errors.New("no certificate authority for the shops")
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
		},
	}
	return peer{id, host, &http.Client{Timeout: 20 * time.Second, Transport: transport}}, nil
}

// Product is a product and its stock.
type Product struct {
	ID            int64  `json:"id"`
	Name          string `json:"name"`
	SKU           string `json:"sku"`
	StockQuantity *int   `json:"stock_quantity"`
}

// Find returns the product of the SKU.
func (s *Shop) Find(ctx context.Context, sku string) (Product, error) {
	var found []Product
	if err := s.rest(ctx, http.MethodGet, "products?"+url.Values{"sku": {sku}}.Encode(), nil, &found); err != nil {
		return Product{}, err
	}
	if len(found) != 1 || found[0].StockQuantity == nil {
		return Product{}, fmt.Errorf("%s has no stock of %s", s.ID, sku)
	}
	return found[0], nil
}

// Sell places a paid order of units of the SKU, and returns its id.
func (s *Shop) Sell(ctx context.Context, sku string, units int) (int64, error) {
	p, err := s.Find(ctx, sku)
	if err != nil {
		return 0, err
	}
	order := map[string]any{"status": "processing", "line_items": []any{map[string]any{"product_id": p.ID, "quantity": units}}}
	var answer struct {
		ID int64 `json:"id"`
	}
	err = s.rest(ctx, http.MethodPost, "orders", order, &answer)
	return answer.ID, err
}

func (s *Shop) rest(ctx context.Context, method, path string, body, into any) error {
	return s.do(ctx, func(r *http.Request) { r.SetBasicAuth(s.key, s.secret) }, method, "/wp-json/wc/v3/"+path, body, into)
}

func (p peer) do(ctx context.Context, authorize func(*http.Request), method, path string, body, into any) error {
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "https://"+p.Host+path, &b)
	if err != nil {
		return err
	}
	authorize(req)
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s: %s %s: %s: %.200s", p.ID, method, path, resp.Status, answer)
	}
	return json.Unmarshal(answer, into)
}

// Package shop is a shop owner's own view of a WooCommerce store, over its REST API: what the demo shows does not
// come from StockSync.
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

// Shop is one store.
type Shop struct {
	// ID is its short name, Host the name it is reached by.
	ID, Host    string
	key, secret string
	http        *http.Client
}

// Open prepares requests to https://host, trusting the authorities in caPEM, at the address of a server that may
// be another than the one DNS gives for host.
func Open(id, host, address, key, secret string, caPEM []byte) (*Shop, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(caPEM) {
		return nil, errors.New("no certificate authority for the shops")
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
		},
	}
	return &Shop{ID: id, Host: host, key: key, secret: secret, http: &http.Client{Timeout: 20 * time.Second, Transport: transport}}, nil
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
	if err := s.do(ctx, http.MethodGet, "products?"+url.Values{"sku": {sku}}.Encode(), nil, &found); err != nil {
		return Product{}, err
	}
	if len(found) != 1 || found[0].StockQuantity == nil {
		return Product{}, fmt.Errorf("%s has no stock of %s", s.ID, sku)
	}
	return found[0], nil
}

// Sell places a paid order of units of the SKU.
func (s *Shop) Sell(ctx context.Context, sku string, units int) error {
	p, err := s.Find(ctx, sku)
	if err != nil {
		return err
	}
	order := map[string]any{"status": "processing", "line_items": []any{map[string]any{"product_id": p.ID, "quantity": units}}}
	var answer struct{}
	return s.do(ctx, http.MethodPost, "orders", order, &answer)
}

func (s *Shop) do(ctx context.Context, method, path string, body, into any) error {
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "https://"+s.Host+"/wp-json/wc/v3/"+path, &b)
	if err != nil {
		return err
	}
	req.SetBasicAuth(s.key, s.secret)
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s: %s %s: %s: %.200s", s.ID, method, path, resp.Status, answer)
	}
	return json.Unmarshal(answer, into)
}

//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// shop is a store as its owner's own tools see it: over its REST API, never through StockSync.
type shop struct {
	id, host string
	// scheme is https where it is empty.
	scheme      string
	key, secret string
	// admin opens the simulator's own controls, for what a shop's owner does in its pages.
	admin string
	http  *http.Client
}

// product is what the tests read of a product.
type product struct {
	ID            int64  `json:"id"`
	SKU           string `json:"sku"`
	ManageStock   any    `json:"manage_stock"`
	StockQuantity *int   `json:"stock_quantity"`
}

// openShop reads the shop's key and certificate authority from the cluster.
func openShop(ctx context.Context, c client.Client, id string) (*shop, error) {
	var keys, ca corev1.Secret
	var service corev1.Service
	for _, get := range []struct {
		namespace, name string
		into            client.Object
	}{{"stores", id + "-keys", &keys}, {"shops", "stores-ca", &ca}, {"stores", id, &service}} {
		if err := c.Get(ctx, client.ObjectKey{Namespace: get.namespace, Name: get.name}, get.into); err != nil {
			return nil, err
		}
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca.Data["ca.crt"]) {
		return nil, fmt.Errorf("secret stores-ca holds no certificate")
	}
	address := net.JoinHostPort(service.Spec.ClusterIP, "443")
	return &shop{
		id:     id,
		host:   id + ".stores.svc.cluster.local",
		key:    string(keys.Data["consumerKey"]),
		secret: string(keys.Data["consumerSecret"]),
		admin:  string(keys.Data["adminToken"]),
		http: &http.Client{
			Timeout: 20 * time.Second,
			Transport: &http.Transport{
				TLSClientConfig: &tls.Config{RootCAs: roots},
				// The tests run beside the cluster, where its DNS is not asked.
				DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
				},
			},
		},
	}, nil
}

// do sends one REST request with an optional body and decodes the answer.
func (s *shop) do(ctx context.Context, method, path string, query url.Values, body, into any) error {
	authorize := func(r *http.Request) { r.SetBasicAuth(s.key, s.secret) }
	return s.send(ctx, authorize, method, "/wp-json/wc/v3/"+path, query, body, into)
}

// control uses the simulator's own controls.
func (s *shop) control(ctx context.Context, method, path string, body any) error {
	var answer struct{}
	return s.ask(ctx, method, path, body, &answer)
}

// ask is control with an answer.
func (s *shop) ask(ctx context.Context, method, path string, body, into any) error {
	authorize := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+s.admin) }
	return s.send(ctx, authorize, method, "/__sim/"+path, nil, body, into)
}

// changeKey gives the shop's REST key another secret; the one before stops working.
func (s *shop) changeKey(ctx context.Context, secret string) error {
	keys := []any{map[string]any{"ConsumerKey": s.key, "ConsumerSecret": secret}}
	if err := s.control(ctx, http.MethodPut, "keys", keys); err != nil {
		return err
	}
	s.secret = secret
	return nil
}

// down makes the shop's server drop every connection until up is called, at the latest at the test's end.
func (s *shop) down(t *testing.T) (up func()) {
	t.Helper()
	if err := s.control(t.Context(), http.MethodPost, "faults", map[string]any{"kind": "cut-before"}); err != nil {
		t.Fatal(err)
	}
	up = sync.OnceFunc(func() {
		if err := s.control(context.Background(), http.MethodDelete, "faults", nil); err != nil {
			t.Errorf("bringing %s up again: %v", s.id, err)
		}
	})
	t.Cleanup(up)
	return up
}

func (s *shop) send(ctx context.Context, authorize func(*http.Request), method, path string, query url.Values, body, into any) error {
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			return err
		}
	}
	u := url.URL{Scheme: cmp.Or(s.scheme, "https"), Host: s.host, Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), &b)
	if err != nil {
		return err
	}
	authorize(req)
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s: %s %s: %s: %.300s", s.id, method, path, resp.Status, answer)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("%s: %s %s: %w: %.300s", s.id, method, path, err, answer)
	}
	return nil
}

func (s *shop) product(ctx context.Context, sku string) (product, error) {
	var found []product
	if err := s.do(ctx, http.MethodGet, "products", url.Values{"sku": {sku}}, nil, &found); err != nil {
		return product{}, err
	}
	if len(found) != 1 {
		return product{}, fmt.Errorf("%s: %d products have the SKU %s", s.id, len(found), sku)
	}
	return found[0], nil
}

// stock is the quantity the shop shows.
func (s *shop) stock(ctx context.Context, sku string) (int, error) {
	p, err := s.product(ctx, sku)
	if err != nil {
		return 0, err
	}
	if p.StockQuantity == nil {
		return 0, fmt.Errorf("%s: %s has no quantity", s.id, sku)
	}
	return *p.StockQuantity, nil
}

// all lists the quantity of every simple product that manages its stock, by SKU.
func (s *shop) all(ctx context.Context) (map[string]int, error) {
	stock := map[string]int{}
	for page := 1; ; page++ {
		var found []product
		err := s.do(ctx, http.MethodGet, "products", url.Values{
			"per_page": {"100"}, "page": {strconv.Itoa(page)}, "orderby": {"id"}, "order": {"asc"}, "type": {"simple"},
		}, nil, &found)
		if err != nil {
			return nil, err
		}
		for _, p := range found {
			if p.SKU != "" && p.ManageStock == true && p.StockQuantity != nil {
				stock[p.SKU] = *p.StockQuantity
			}
		}
		if len(found) < 100 {
			return stock, nil
		}
	}
}

// order is what the tests read of an order.
type order struct {
	ID    int64 `json:"id"`
	Lines []struct {
		ID int64 `json:"id"`
	} `json:"line_items"`
}

// sell places a paid order of n units.
func (s *shop) sell(ctx context.Context, sku string, n int) (order, error) {
	p, err := s.product(ctx, sku)
	if err != nil {
		return order{}, err
	}
	var o order
	return o, s.do(ctx, http.MethodPost, "orders", nil, map[string]any{
		"status":     "processing",
		"line_items": []any{map[string]any{"product_id": p.ID, "quantity": n}},
	}, &o)
}

// refund gives n units of the order's first line back to the shelf.
func (s *shop) refund(ctx context.Context, o order, n int) error {
	var answer struct{}
	return s.do(ctx, http.MethodPost, fmt.Sprintf("orders/%d/refunds", o.ID), nil, map[string]any{
		"amount":     "0",
		"api_refund": false,
		"line_items": []any{map[string]any{"id": o.Lines[0].ID, "quantity": n, "refund_total": 0}},
	}, &answer)
}

// webhook is what the tests read of one.
type webhook struct {
	Status      string `json:"status"`
	Topic       string `json:"topic"`
	DeliveryURL string `json:"delivery_url"`
}

func (s *shop) webhooks(ctx context.Context) ([]webhook, error) {
	var found []webhook
	return found, s.do(ctx, http.MethodGet, "webhooks", nil, nil, &found)
}

// edit types a quantity, as a person does in the shop's administration.
func (s *shop) edit(ctx context.Context, sku string, quantity int) error {
	p, err := s.product(ctx, sku)
	if err != nil {
		return err
	}
	var answer struct{}
	return s.do(ctx, http.MethodPut, fmt.Sprintf("products/%d", p.ID), nil, map[string]any{"stock_quantity": quantity}, &answer)
}

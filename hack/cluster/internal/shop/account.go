package shop

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

// Account is an account of Katana Cloud Inventory, as its owner's own tools see it.
type Account struct {
	peer
	token, admin string
	location     int64
	// variants are those looked for before, by SKU.
	variants map[string]int64
}

// OpenAccount prepares requests to https://host, as [Open] does. admin opens the simulator's own controls, for what people
// and Katana's own import do in it; location is where the stock is.
func OpenAccount(id, host, address, token, admin string, location int64, caPEM []byte) (*Account, error) {
	p, err := open(id, host, address, caPEM)
	return &Account{p, token, admin, location, map[string]int64{}}, err
}

// Stock is what is in stock of some SKUs, and what of it open sales orders hold. It takes few of the requests that the key
// is good for, which the agent needs.
func (a *Account) Stock(ctx context.Context, skus []string) (inStock, held map[string]int, err error) {
	var orders struct {
		Data []struct {
			Rows []struct {
				Variant  int64   `json:"variant_id"`
				Quantity float64 `json:"quantity"`
			} `json:"sales_order_rows"`
		}
	}
	if err := a.get(ctx, "sales_orders", url.Values{"status": {"NOT_SHIPPED"}}, &orders); err != nil {
		return nil, nil, err
	}
	byVariant := map[int64]float64{}
	for _, o := range orders.Data {
		for _, r := range o.Rows {
			byVariant[r.Variant] += r.Quantity
		}
	}
	inStock, held = map[string]int{}, map[string]int{}
	for _, sku := range skus {
		variant, err := a.variant(ctx, sku)
		if err != nil {
			return nil, nil, err
		}
		var level struct{ Quantity string }
		path := fmt.Sprintf("/__sim/quantity?variant=%d&location=%d", variant, a.location)
		if err := a.do(ctx, bearer(a.admin), http.MethodGet, path, nil, &level); err != nil {
			return nil, nil, err
		}
		quantity, err := strconv.ParseFloat(level.Quantity, 64)
		if err != nil {
			return nil, nil, err
		}
		inStock[sku], held[sku] = int(quantity), int(byVariant[variant])
	}
	return inStock, held, nil
}

// Order makes a sales order in Katana.
func (a *Account) Order(ctx context.Context, sku string, units int) error {
	return a.order(ctx, map[string]any{"source": "katana"}, sku, units)
}

// Import makes the sales order that Katana's own integration makes of an order of a shop, some time after it was placed.
func (a *Account) Import(ctx context.Context, s *Shop, order int64, sku string, units int) error {
	return a.order(ctx, map[string]any{"source": "api", "platform": "wooCommerce", "shop": s.Host, "shopOrder": strconv.FormatInt(order, 10)}, sku, units)
}

func (a *Account) order(ctx context.Context, order map[string]any, sku string, units int) error {
	variant, err := a.variant(ctx, sku)
	if err != nil {
		return err
	}
	order["location"] = a.location
	order["rows"] = []any{map[string]any{"variant": variant, "quantity": strconv.Itoa(units)}}
	var answer struct{}
	return a.do(ctx, bearer(a.admin), http.MethodPost, "/__sim/orders", order, &answer)
}

func (a *Account) variant(ctx context.Context, sku string) (int64, error) {
	if id := a.variants[sku]; id != 0 {
		return id, nil
	}
	var found struct{ Data []struct{ ID int64 } }
	if err := a.get(ctx, "variants", url.Values{"sku": {sku}}, &found); err != nil {
		return 0, err
	}
	if len(found.Data) != 1 {
		return 0, fmt.Errorf("%s has %d variants with the code %s", a.ID, len(found.Data), sku)
	}
	a.variants[sku] = found.Data[0].ID
	return a.variants[sku], nil
}

func (a *Account) get(ctx context.Context, path string, query url.Values, into any) error {
	return a.do(ctx, bearer(a.token), http.MethodGet, "/v1/"+path+"?"+query.Encode(), nil, into)
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

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
}

// OpenAccount prepares requests to https://host, as [Open] does. admin opens the simulator's own controls, for what people
// and Katana's own import do in it; location is where the stock is.
func OpenAccount(id, host, address, token, admin string, location int64, caPEM []byte) (*Account, error) {
	p, err := open(id, host, address, caPEM)
	return &Account{p, token, admin, location}, err
}

// Stock is what is in stock of a SKU, and what of it open sales orders hold.
func (a *Account) Stock(ctx context.Context, sku string) (inStock, held int, err error) {
	variant, err := a.variant(ctx, sku)
	if err != nil {
		return 0, 0, err
	}
	var levels struct {
		Data []struct {
			InStock string `json:"quantity_in_stock"`
		}
	}
	query := url.Values{"variant_id": {strconv.FormatInt(variant, 10)}, "location_id": {strconv.FormatInt(a.location, 10)}}
	if err := a.get(ctx, "inventory", query, &levels); err != nil {
		return 0, 0, err
	}
	if len(levels.Data) != 1 {
		return 0, 0, fmt.Errorf("%s has %d levels of %s", a.ID, len(levels.Data), sku)
	}
	quantity, err := strconv.ParseFloat(levels.Data[0].InStock, 64)
	if err != nil {
		return 0, 0, err
	}
	var orders struct {
		Data []struct {
			Rows []struct {
				Variant  int64   `json:"variant_id"`
				Quantity float64 `json:"quantity"`
			} `json:"sales_order_rows"`
		}
	}
	if err := a.get(ctx, "sales_orders", url.Values{"status": {"NOT_SHIPPED"}}, &orders); err != nil {
		return 0, 0, err
	}
	for _, o := range orders.Data {
		for _, r := range o.Rows {
			if r.Variant == variant {
				held += int(r.Quantity)
			}
		}
	}
	return int(quantity), held, nil
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
	var found struct{ Data []struct{ ID int64 } }
	if err := a.get(ctx, "variants", url.Values{"sku": {sku}}, &found); err != nil {
		return 0, err
	}
	if len(found.Data) != 1 {
		return 0, fmt.Errorf("%s has %d variants with the code %s", a.ID, len(found.Data), sku)
	}
	return found.Data[0].ID, nil
}

func (a *Account) get(ctx context.Context, path string, query url.Values, into any) error {
	return a.do(ctx, bearer(a.token), http.MethodGet, "/v1/"+path+"?"+query.Encode(), nil, into)
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

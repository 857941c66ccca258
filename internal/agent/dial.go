package agent

import (
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/driver/woocommerce"
)

// DialWooCommerce makes the clients of WooCommerce stores. They say who they are by version, and log no more
// than method, path and outcome of a request.
func DialWooCommerce(version string, now func() time.Time, log logr.Logger) func(Store) (Shop, error) {
	return func(s Store) (Shop, error) {
		w := s.Settings.WooCommerce
		o := woocommerce.Options{
			URL: w.URL, ConsumerKey: string(w.ConsumerKey), ConsumerSecret: string(w.ConsumerSecret), StoreID: s.ID,
			Now: now, UserAgent: "StockSync/" + version, Log: log.WithName("woocommerce"),
		}
		if w.Insecure {
			o.Transport = v1alpha1.TransportInsecureHTTP
		}
		if w.CABundle != "" {
			o.CABundle = []byte(w.CABundle)
		}
		return woocommerce.New(o)
	}
}

package katana

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// replay says how a fixture comes about.
type replay struct {
	method, path, body string
	status             int
	// free names values that are the fixture's own; their type is compared all the same.
	free []string
}

// money and the like: synchronisers read none of it.
var freeEverywhere = []string{"sales_price", "price_per_unit", "price_per_unit_in_base_currency", "total", "total_in_base_currency", "average_cost",
	"value_in_stock", "cost", "subassemblies_cost", "total_planned_time", "delivery_date", "production_deadline_date"}

var replays = map[string]replay{
	"inventory-list":                       {path: "/inventory"},
	"variants-list":                        {path: "/variants"},
	"products-list":                        {path: "/products"},
	"locations-list":                       {path: "/locations", free: []string{"address", "address_id", "manufacturing_allowed"}},
	"sales-orders-list":                    {path: "/sales_orders"},
	"sales-order-fulfillments-list":        {path: "/sales_order_fulfillments"},
	"bom-rows-list":                        {path: "/bom_rows"},
	"manufacturing-orders-list":            {path: "/manufacturing_orders"},
	"manufacturing-order-recipe-rows-list": {path: "/manufacturing_order_recipe_rows", free: []string{"id"}},
	"error-422-nested":                     {method: "POST", path: "/webhooks", status: 422, body: `{"url":"https://hooks.example.com/katana","subscribed_events":[]}`, free: []string{"message"}},
	"webhook-create-response":              {method: "POST", path: "/webhooks", body: hookBody, free: []string{"token"}},
	"webhook-event-sales-order-updated":    {},
}

const hookBody = `{"url":"https://hooks.example.com/katana","description":"stock source demo","subscribed_events":["current_inventory.product_updated",` +
	`"sales_order.created","sales_order.updated","sales_order.deleted","sales_order.packed","sales_order.delivered"]}`

// TestFixtures brings about what every fixture shows and compares field names, JSON types and values.
func TestFixtures(t *testing.T) {
	t.Parallel()
	for name, r := range replays {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(filepath.Join("testdata", "fixtures", name+".json"))
			must(t, err)
			var want, got any
			must(t, json.Unmarshal(raw, &want))
			must(t, json.Unmarshal(r.run(t), &got))
			for _, d := range differences("", want, got, append(slices.Clone(freeEverywhere), r.free...)) {
				t.Error(d)
			}
		})
	}
}

func (r replay) run(t *testing.T) []byte {
	var event []byte
	a, clock := workshop(t, func(o *Options) {
		o.WebhookTransport = receiver(func(req *http.Request) int {
			event, _ = io.ReadAll(req.Body)
			return 200
		})
	})
	clock.set(9, 2)
	a.SetNextID(31)
	if r.path == "" {
		ask(t, a, "POST", "/webhooks", hookBody)
		must(t, a.TouchOrder(8001))
		a.DeliverWebhooks(t.Context())
		return event
	}
	method := r.method
	if method == "" {
		method = "GET"
	}
	got := ask(t, a, method, r.path, r.body)
	if want := max(r.status, 200); got.status != want {
		t.Fatalf("status %d, want %d: %s", got.status, want, got.raw)
	}
	return got.raw
}

// receiver answers webhooks.
type receiver func(*http.Request) int

func (f receiver) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: f(r), Body: http.NoBody, Request: r}, nil
}

func differences(at string, want, got any, free []string) []string {
	name := at[strings.LastIndex(at, "/")+1:]
	if fmt.Sprintf("%T", want) != fmt.Sprintf("%T", got) && !(slices.Contains(free, name) && (want == nil || got == nil)) {
		return []string{fmt.Sprintf("%s: %v (%T), want %v (%T)", at, got, got, want, want)}
	}
	if slices.Contains(free, name) {
		return nil
	}
	var out []string
	switch w := want.(type) {
	case map[string]any:
		g := got.(map[string]any)
		for _, k := range slices.Sorted(maps.Keys(w)) {
			if _, ok := g[k]; !ok {
				out = append(out, at+"/"+k+" is missing")
				continue
			}
			out = append(out, differences(at+"/"+k, w[k], g[k], free)...)
		}
		for k := range g {
			if _, ok := w[k]; !ok {
				out = append(out, at+"/"+k+" is in no fixture")
			}
		}
	case []any:
		g := got.([]any)
		if len(w) != len(g) {
			return []string{fmt.Sprintf("%s: %d entries, want %d", at, len(g), len(w))}
		}
		for i := range w {
			out = append(out, differences(fmt.Sprintf("%s/%d", at, i), w[i], g[i], free)...)
		}
	default:
		if want != got {
			out = append(out, fmt.Sprintf("%s: %v, want %v", at, got, want))
		}
	}
	return out
}

// TestFixturesComplete: every fixture is replayed or is listed with a reason.
func TestFixturesComplete(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "fixtures", "*.json"))
	must(t, err)
	list, err := os.ReadFile(filepath.Join("testdata", "not-replayed.txt"))
	must(t, err)
	listed := map[string]bool{}
	for line := range strings.Lines(string(list)) {
		if name, reason, _ := strings.Cut(strings.TrimSpace(line), " "); name != "" && name != "#" {
			if listed[name] = true; strings.TrimSpace(reason) == "" {
				t.Errorf("%s is listed without a reason", name)
			}
		}
	}
	if len(files) != 12 {
		t.Errorf("there are %d fixtures, want 12", len(files))
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".json")
		if _, ok := replays[name]; ok == listed[name] {
			t.Errorf("%s must be either replayed or listed in not-replayed.txt", name)
		}
	}
}

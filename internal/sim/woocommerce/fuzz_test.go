package woocommerce

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FuzzRequest sends anything to any route: no panic, JSON back, and no quantity that is not a number.
func FuzzRequest(f *testing.F) {
	files, err := filepath.Glob("testdata/fixtures/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		var fx fixture
		if json.Unmarshal(raw, &fx) == nil && strings.HasPrefix(fx.Request.Path, "/wp-json") {
			f.Add(fx.Request.Method, fx.Request.Path, "application/json", []byte(fx.Request.Body))
		}
	}
	f.Add("POST", "/wp-json/wc/v3/products/batch", "application/json", []byte(`{"update":[{"id":10,"stock_quantity":1e999},{"id":[]},7,null],"create":{},"delete":[null,"x"]}`))
	f.Add("PUT", "/wp-json/wc/v3/products/10", "application/json", []byte(`{"inventory_delta":"-9e99","meta_data":[{"key":"_stock","value":"1e400"},{"id":"x"},[]],"low_stock_amount":[]}`))
	f.Add("POST", "/wp-json/wc/v3/orders", "application/x-www-form-urlencoded", []byte("status=processing&line_items[0]=1"))
	f.Add("POST", "/wp-json/wc/v3/orders", "application/json", []byte(`{"line_items":[{"product_id":10,"quantity":-5},{"sku":"sku-0001"}],"billing":7}`))
	f.Add("GET", "/wp-json/wc/v3/products?include[]=1&_fields=a.b.c&offset=-5&orderby=random", "", []byte(nil))
	f.Fuzz(func(t *testing.T, method, target, contentType string, body []byte) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !strings.HasPrefix(u.Path, "/wp-json/wc/v3/") || strings.ContainsAny(method, " \r\n\t") || method == "" {
			return
		}
		s := newLab(t, 20, func(o *Options) { o.WebhookTransport = refuseAll{} })
		req := httptest.NewRequest("GET", "/", strings.NewReader(string(body)))
		req.Method, req.URL = method, u
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("X-Forwarded-Proto", "https")
		req.SetBasicAuth(testKey.ConsumerKey, testKey.ConsumerSecret)
		a := send(t, s, req)
		if method != "HEAD" && !json.Valid(a.raw) {
			t.Errorf("%d %q is not JSON", a.status, a.raw)
		}
		if _, err := json.Marshal(s.Snapshot()); err != nil {
			t.Errorf("the shop cannot be saved any more: %v", err)
		}
		if list := ask(t, s, "GET", "/wp-json/wc/v3/products?per_page=100&search_sku=0", nil); list.status != 200 || !json.Valid(list.raw) {
			t.Errorf("the shop is broken: %d %s", list.status, list.raw)
		}
	})
}

// FuzzParams: the parsers of queries, forms and JSON bodies never panic and validation leaves one Go type
// per kind of parameter.
func FuzzParams(f *testing.F) {
	f.Add("include=1,2&per_page=5&modified_after=2026-11-21T20:15:00", "application/json", []byte(`{"stock_quantity":"7","manage_stock":"parent","sku":null}`))
	f.Add("a[]=1&a[b]=2&=x&%zz=1", "application/x-www-form-urlencoded", []byte("status=a,b"))
	f.Fuzz(func(t *testing.T, query, contentType string, body []byte) {
		p, err := parseParams(query, contentType, body)
		if err != nil {
			return
		}
		if p.validate(append(productListArgs, orderListArgs...)) != nil || p.validate(variationArgs) != nil {
			return
		}
		for name, want := range map[string]any{"per_page": int64(0), "stock_quantity": int64(0), "include": []int64{}, "sku": ""} {
			if v := p[name]; v != nil && kindOfGo(v) != kindOfGo(want) {
				t.Errorf("%s came out as %T", name, v)
			}
		}
		filterFields(object{{"a", object{{"b", 1}}}}, p.fields())
	})
}

func kindOfGo(v any) string {
	switch v.(type) {
	case int64:
		return "int"
	case []int64:
		return "ints"
	case string:
		return "string"
	}
	return "other"
}

// FuzzDate: whatever is taken for a date is one, with and without the flag.
func FuzzDate(f *testing.F) {
	for _, s := range []string{"2026-11-21T20:15:00", "2026-11-21T20:15:00Z", "2026-11-21 20:15:00.123+02:00", "2026-02-31T00:00:00", "9999-99-99T99:99:99-9"} {
		f.Add(s)
	}
	site := time.FixedZone("", 7200)
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := parseDate(s)
		if !ok {
			return
		}
		if off := d.moment(site, true).Sub(d.moment(site, false)); off != 2*time.Hour {
			t.Errorf("%q: the flag shifts by %v, want the site's two hours", s, off)
		}
	})
}

// FuzzJSON: what our encoder writes reads back as the same.
func FuzzJSON(f *testing.F) {
	f.Add(`{"a":["é/\u0000😀",1.5,null,true,{}]}`)
	f.Fuzz(func(t *testing.T, s string) {
		raw := encodeJSON(nil, s)
		var back string
		if err := json.Unmarshal(raw, &back); err != nil || back != strings.ToValidUTF8(s, "\ufffd") && strings.ToValidUTF8(s, "") == s {
			t.Errorf("%q became %s: %v", s, raw, err)
		}
		if v, err := decodeJSON([]byte(s)); err == nil && !json.Valid(encodeJSON(nil, v)) {
			t.Errorf("%q is written as %s", s, encodeJSON(nil, v))
		}
	})
}

package oracle

import (
	"go/parser"
	"go/token"
	"math/big"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestStandsAlone: what judges the driver shares no code with it, nor with anything else of this project.
func TestStandsAlone(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			// A path without a dot in its first part is the standard library's, which imports nothing of ours.
			path, _ := strconv.Unquote(spec.Path.Value)
			if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") {
				t.Errorf("%s imports %s: the oracle must stand alone", f, path)
			}
		}
	}
}

const account = `{"levels":[{"variant":1,"location":5,"inStock":"-1.50000"},{"variant":1,"location":6,"inStock":"100.00000"}],
"orders":[
 {"id":1,"status":"NOT_SHIPPED","location":5,"platform":"WOOCOMMERCE","rows":[{"id":11,"variant":1,"location":null,"quantity":"2.25000"},{"id":12,"variant":2,"quantity":"50.00000"}]},
 {"id":2,"status":"PARTIALLY_PACKED","location":6,"source":"web","rows":[{"id":21,"variant":1,"location":5,"quantity":"4.00000"}]},
 {"id":3,"status":"PACKED","location":5,"rows":[{"id":31,"variant":1,"quantity":"9.00000"}]},
 {"id":4,"status":"PENDING","location":5,"rows":[{"id":41,"variant":1,"quantity":"0.50000"}]},
 {"id":5,"status":"NOT_SHIPPED","deleted":true,"location":5,"rows":[{"id":51,"variant":1,"quantity":"9.00000"}]},
 {"id":6,"status":"PARTIALLY_DELIVERED","location":5,"platform":"shopify","source":"web","rows":[{"id":61,"variant":1,"quantity":"1.00000"}]}],
"fulfilled":[{"row":21,"quantity":"1.00000"},{"row":61,"quantity":"3.00000"}]}`

func TestQuantity(t *testing.T) {
	t.Parallel()
	a, err := Read([]byte(account))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		variant, location int64
		c                 Choice
		want              string
		whole             int64
	}{
		{1, 5, Choice{}, "-27/4", -7}, // -1.5 - 2.25 - (4 - 1)
		{1, 5, Choice{Quotes: true}, "-29/4", -8},
		{1, 5, Choice{WooCommerceOnly: true}, "-15/4", -4},
		{1, 5, Choice{WooCommerceOnly: true, Sources: []string{"web"}}, "-27/4", -7},
		{1, 6, Choice{}, "100", 100},
		{2, 5, Choice{}, "-50", -50},
		{3, 5, Choice{}, "0", 0},
	} {
		got, err := a.Quantity(tc.variant, tc.location, tc.c)
		if err != nil || got.RatString() != tc.want || Whole(got) != tc.whole {
			t.Errorf("%+v: %v %v, want %s", tc, got, err, tc.want)
		}
	}
	if _, err := Read([]byte(`[]`)); err == nil {
		t.Error("a list is read as an account")
	}
	a.Levels[0].InStock = "many"
	if _, err := a.Quantity(1, 5, Choice{}); err == nil {
		t.Error("a quantity of many has no error")
	}
	if Whole(big.NewRat(7, 2)) != 3 {
		t.Error("3.5 is not rounded down to 3")
	}
}

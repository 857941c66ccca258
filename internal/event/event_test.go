package event_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"stocksync.dev/stocksync/internal/event"
	"stocksync.dev/stocksync/internal/stock"
)

func all() []event.Code { return slices.Concat(event.OfSKUs(), event.OfStores()) }

// TestEveryKindHasACode: what is written to the history is found in the table, and the table explains it.
func TestEveryKindHasACode(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"../stock/stock.go", "event.go"} {
		kinds := constants(t, file)
		if len(kinds) < 10 {
			t.Fatalf("%s has only the kinds %v", file, kinds)
		}
		for _, k := range kinds {
			if !slices.ContainsFunc(all(), func(c event.Code) bool { return c.Kind == k }) {
				t.Errorf("the kind %s of %s has no code", k, file)
			}
		}
	}
}

// constants are the values of all constants of type Kind in a file.
func constants(t *testing.T, file string) []stock.Kind {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []stock.Kind
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		var name string
		switch of := spec.Type.(type) {
		case *ast.Ident:
			name = of.Name
		case *ast.SelectorExpr:
			name = of.Sel.Name
		}
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok && name == "Kind" {
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, stock.Kind(value))
		}
		return true
	})
	return out
}

func TestCodes(t *testing.T) {
	t.Parallel()
	names, lines := map[string]bool{}, map[string]bool{}
	for _, c := range all() {
		line := string(c.Kind) + strconv.FormatBool(c.Conflict)
		if names[c.Name] || lines[line] {
			t.Errorf("%s is in the table twice, by its name or by what it stands for", c.Name)
		}
		names[c.Name], lines[line] = true, true
		if got := event.Of(c.Kind, c.Conflict); got != c {
			t.Errorf("a line of kind %s is told as %s", c.Kind, got.Name)
		}
		if !slices.Contains(event.Levels(), c.Level) || c.Cause == "" || c.Means == "" {
			t.Errorf("%s lacks a level, a cause or a meaning", c.Name)
		}
		if c.Conflict && !c.Level.AtLeast(event.Warning) {
			t.Errorf("%s waits for a person, and is less than a warning", c.Name)
		}
		if c.Level.AtLeast(event.Warning) && c.Advice == "" {
			t.Errorf("%s asks for a person and does not say what to do", c.Name)
		}
	}
}

// TestUnknownKind: a line written by a newer version is told by its name, and still counts as what it is.
func TestUnknownKind(t *testing.T) {
	t.Parallel()
	if c := event.Of("Later", true); c.Name != "Later" || c.Level != event.Warning {
		t.Errorf("an unknown conflict is told as %+v", c)
	}
	if c := event.Of("Later", false); c.Name != "Later" || c.Level != event.Info {
		t.Errorf("an unknown line is told as %+v", c)
	}
}

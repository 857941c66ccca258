package docs_test

import (
	"regexp"
	"strings"
	"testing"
)

var goBlock = regexp.MustCompile("(?ms)^```go\n(.*?)^```")

// TestDriversQuotesCode: the example of drivers.md is the one that tests run.
func TestDriversQuotesCode(t *testing.T) {
	t.Parallel()
	code := read(t, "internal/engine/source_memory_test.go")
	blocks := goBlock.FindAllStringSubmatch(read(t, "docs/drivers.md"), -1)
	if len(blocks) < 4 {
		t.Fatalf("found %d pieces of code", len(blocks))
	}
	for _, b := range blocks {
		if !strings.Contains(code, b[1]) {
			t.Errorf("not in source_memory_test.go:\n%s", b[1])
		}
	}
}

// TestDriversNamesMethods: drivers.md has a row for every method of engine.Source, and for nothing else.
func TestDriversNamesMethods(t *testing.T) {
	t.Parallel()
	_, source, _ := strings.Cut(read(t, "internal/engine/source.go"), "type Source interface {")
	methods := regexp.MustCompile(`(?m)^\t([A-Z]\w+)\(`).FindAllStringSubmatch(source, -1)
	if len(methods) < 12 {
		t.Fatalf("found %v", methods)
	}
	_, table, _ := strings.Cut(read(t, "docs/drivers.md"), "| Method |")
	table, _, _ = strings.Cut(table, "\n\n")
	for _, m := range methods {
		if !strings.Contains(table, "`"+m[1]+"`") {
			t.Errorf("docs/drivers.md has no row for %s", m[1])
		}
	}
	if got := strings.Count(table, "\n| `"); got != len(methods)-1 { // two share a row
		t.Errorf("docs/drivers.md has %d rows for %d methods", got, len(methods))
	}
}

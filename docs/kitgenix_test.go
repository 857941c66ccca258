package docs_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

var weakness = regexp.MustCompile(`(?m)^\| (\d+) \|.*\| ([^|]+) \|$`)

// TestKitgenixHasEveryRow: each of the plugin's 36 weaknesses has a row, with the tests that show what happens here or the
// words that it does not apply. That the tests exist is TestNamedTestsExist's.
func TestKitgenixHasEveryRow(t *testing.T) {
	t.Parallel()
	page := read(t, "docs/kitgenix.md")
	rows := weakness.FindAllStringSubmatch(page, -1)
	if len(rows) != 36 {
		t.Fatalf("%d rows, want 36", len(rows))
	}
	for i, row := range rows {
		if row[1] != fmt.Sprint(i+1) {
			t.Errorf("row %d is number %s", i+1, row[1])
		}
		if !namedTest.MatchString(row[2]) && !strings.HasPrefix(row[2], "does not apply") {
			t.Errorf("row %s names no test: %s", row[1], row[2])
		}
	}
	_, features, _ := strings.Cut(page, "\n## The plugin's features")
	if n := strings.Count(features, "\n| "); n != 19 { // and the heading
		t.Errorf("%d features, want 18", n-1)
	}
}

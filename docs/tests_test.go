package docs_test

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z]\w*)\(`)
	namedTest    = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w*)`")
)

// TestNamedTestsExist: a page that names a test as proof names one there is.
func TestNamedTestsExist(t *testing.T) {
	t.Parallel()
	known := testFunctions(t)
	for _, page := range pages(t) {
		for _, m := range namedTest.FindAllStringSubmatch(read(t, page), -1) {
			if !known[m[1]] {
				t.Errorf("%s names %s, and there is no such test", page, m[1])
			}
		}
	}
}

// TestEveryRuleOfKatanaHasATest: K1 to K28, each with one test of its own that the page names.
func TestEveryRuleOfKatanaHasATest(t *testing.T) {
	t.Parallel()
	page, code := read(t, "docs/algebra.md"), read(t, "internal/engine/rules_test.go")
	for n := 1; n <= 28; n++ {
		row := regexp.MustCompile(fmt.Sprintf("(?m)^\\| K%d \\| [^|]+ \\| `(TestK%02d[A-Z]\\w+)` \\|$", n, n)).FindStringSubmatch(page)
		if row == nil {
			t.Errorf("docs/algebra.md names no test of rule K%d", n)
			continue
		}
		if strings.Count(code, "\nfunc "+row[1]+"(") != 1 {
			t.Errorf("internal/engine/rules_test.go has no %s", row[1])
		}
	}
}

// testFunctions are all of the repository.
func testFunctions(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		for _, m := range testFunction.FindAllStringSubmatch(read(t, name), -1) {
			known[m[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(known) < 300 {
		t.Fatalf("found only %d tests", len(known))
	}
	return known
}

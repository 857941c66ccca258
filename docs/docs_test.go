// Package docs_test holds the written documentation against the code it speaks of.
package docs_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = ".."

// TestConditionsAreDescribed: conditions.md has one row for every reason of the API, in the section of its
// condition, and none for a reason that does not exist.
func TestConditionsAreDescribed(t *testing.T) {
	t.Parallel()
	inCode := reasonsInCode(t)
	inPage := reasonsInPage(t)
	for _, known := range inCode {
		if !slices.Contains(inPage, known) {
			t.Errorf("docs/conditions.md has no row for %s", known)
		}
	}
	for _, written := range inPage {
		if !slices.Contains(inCode, written) {
			t.Errorf("docs/conditions.md describes %s, which api/v1alpha1/conditions.go does not have", written)
		}
	}
}

var (
	groupOf    = regexp.MustCompile(`^Reasons of (\w+)`)
	rowReason  = regexp.MustCompile("^\\| `(\\w+)` \\|")
	sectionOf  = regexp.MustCompile(`^## (\w+)$`)
	tableStart = "| Reason |"
)

// reasonsInCode are "Condition/Reason", from the constants and the comment above each group of them.
func reasonsInCode(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "api/v1alpha1/conditions.go"), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		condition := groupOf.FindStringSubmatch(group.Doc.Text())
		if condition == nil {
			continue
		}
		for _, spec := range group.Specs {
			value, err := strconv.Unquote(spec.(*ast.ValueSpec).Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, condition[1]+"/"+value)
		}
	}
	if len(out) < 40 {
		t.Fatalf("found only %d reasons in the code: %v", len(out), out)
	}
	return out
}

func reasonsInPage(t *testing.T) []string {
	t.Helper()
	var out []string
	section, inTable := "", false
	for line := range strings.SplitSeq(read(t, "docs/conditions.md"), "\n") {
		if m := sectionOf.FindStringSubmatch(line); m != nil {
			section = m[1]
		}
		inTable = strings.HasPrefix(line, tableStart) || inTable && strings.HasPrefix(line, "|")
		if m := rowReason.FindStringSubmatch(line); m != nil && inTable {
			out = append(out, section+"/"+m[1])
		}
	}
	return out
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.+)$`)
	fence   = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	makes   = regexp.MustCompile("`make ([a-z][a-z0-9-]*)|(?m:^(?:sudo )?make ([a-z][a-z0-9-]*))")
	target  = regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):`)
)

// TestLinksLead: every relative link leads to a file, and every anchor to a heading.
func TestLinksLead(t *testing.T) {
	t.Parallel()
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(read(t, page), ""), -1) {
			if err := leads(page, m[1]); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			}
		}
	}
}

func leads(page, to string) error {
	if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
		return nil
	}
	path, anchor, _ := strings.Cut(to, "#")
	if path == "" {
		path = filepath.Base(page)
	}
	content, err := os.ReadFile(filepath.Join(root, filepath.Dir(page), path))
	if err != nil {
		if info, statErr := os.Stat(filepath.Join(root, filepath.Dir(page), path)); statErr == nil && info.IsDir() && anchor == "" {
			return nil
		}
		return err
	}
	if anchor != "" && !slices.Contains(anchors(string(content)), anchor) {
		return fmt.Errorf("no heading gives the anchor #%s", anchor)
	}
	return nil
}

// anchors are what code hosts make of headings.
func anchors(text string) []string {
	var out []string
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		var b strings.Builder
		for _, r := range strings.ToLower(m[1]) {
			switch {
			case r == ' ':
				b.WriteRune('-')
			case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r > 127:
				b.WriteRune(r)
			}
		}
		out = append(out, b.String())
	}
	return out
}

// TestMakeTargetsExist: what the pages tell people to make can be made.
func TestMakeTargetsExist(t *testing.T) {
	t.Parallel()
	var known []string
	for _, m := range target.FindAllStringSubmatch(read(t, "Makefile"), -1) {
		known = append(known, m[1])
	}
	for _, page := range pages(t) {
		for _, m := range makes.FindAllStringSubmatch(read(t, page), -1) {
			if name := m[1] + m[2]; !slices.Contains(known, name) {
				t.Errorf("%s names `make %s`, which the Makefile does not have", page, name)
			}
		}
	}
}

// pages are all Markdown files of the repository.
func pages(t *testing.T) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case !d.IsDir() && filepath.Ext(path) == ".md":
			page, err := filepath.Rel(root, path)
			out = append(out, page)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 8 {
		t.Fatalf("found only %v", out)
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n")))
}

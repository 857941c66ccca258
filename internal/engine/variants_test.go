package engine_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// edit replaces a text in a source file of the module.
type edit struct{ file, old, new string }

// variants are the rules broken one at a time, each with the story that catches it within a number of seeds.
var variants = []struct {
	name  string
	story string
	seeds int
	edits []edit
}{
	{"one slot instead of four", "jams", 20, []edit{{"internal/stock/stock.go", "const Slots = 4", "const Slots = 1"}}},
	{"marker ignored", "network", 20, []edit{{"internal/stock/observe.go", "fresh, older := p.inspect(r, ledger)", "fresh, older := false, false"}}},
	{"first reading with an unanswered marker merged", "crash", 30, []edit{{"internal/stock/observe.go",
		"			p.Attempts[i].State, p.Attempts[i].Base = Seen, r.Quantity\n			fresh = true\n",
		"			p.Contained += p.Attempts[i].Units\n			p.Attempts = slices.Delete(p.Attempts, i, i+1)\n"}}},
	{"unclean samples judged", "calm", 60, []edit{{"internal/stock/judge.go",
		"	if swept.Before(s.Window.To.Add(Settle)) {\n		return false\n	}\n", "	s.Taken = taken\n	if taken >= 0 || taken < 0 {\n		return true\n	}\n"}}},
	{"baseline from an unclean sample", "arrivals", 20, []edit{{"internal/engine/sweep.go",
		"		case !l.judged(s):\n", "		case !p.Enrolled:\n			s.Taken = p.Taken\n			clean = append(clean, s)\n		case !l.judged(s):\n"}}},
	{"pool recomputed on removal", "joins", 10, []edit{{"internal/engine/run.go",
		"		if err := tx.DeletePlacement(store, p.Pool); err != nil {\n			return err\n		}\n",
		"		if pool, err := tx.Pool(p.Pool); err == nil {\n			pool.Units -= p.Counted\n			_ = tx.PutPool(pool)\n		}\n		if err := tx.DeletePlacement(store, p.Pool); err != nil {\n			return err\n		}\n"}}},
	{"losses not repaired", "calm", 20, []edit{{"internal/stock/judge.go", "if orders, ok := subsetOf(racing, d); ok {", "if orders, ok := subsetOf(racing, d); ok && false {"}}},
	{"trashed orders give units back", "calm", 10, []edit{{"internal/engine/sweep.go",
		"		if began.IsZero() {\n			began = page.Window.From\n		}\n",
		"		if began.IsZero() {\n			began = page.Window.From\n		}\n		for _, o := range page.Orders {\n			for i := range o.Lines {\n				if trashed {\n					o.Lines[i].Units = 0\n				}\n			}\n		}\n"}}},
	{"edits of two shops both counted", "feeds", 5, []edit{{"internal/stock/judge.go", "lines, now); stop != \"\" {", "lines, now); stop != \"\" && false {"}}},
	{"a late write of a field taken for a choice", "registers", 40, []edit{{"internal/stock/register.go", "		case s.awaits(f, v[f], now):\n", "		case s.awaits(f, v[f], now) && false:\n"}}},
	{"names exchanged without a temporary one", "renames", 10, []edit{{"internal/stock/identity.go",
		"				steps = append(steps, NameStep{items[next].Pool, items[next].Temporary})\n", ""}}},
	{"what was sold in the gap of a write forgotten", "plugins", 12, []edit{{"internal/stock/absolute.go", "	if len(near) == 0 {\n", "	if len(near) >= 0 {\n"}}},
	{"a write that landed late counted as the shop's own", "plugins and network", 12, []edit{{"internal/stock/absolute.go", "	if best == nil {\n", "	if best == nil || best != nil {\n"}}},
	{"absolute instead of relative push", "calm", 5, []edit{
		{"internal/engine/shop_test.go", "	quantity, seen, read := it.quantity+p.Units, it.markers, w.now\n", "	quantity, seen, read := it.listed+p.Units, it.markers, w.now\n"},
		{"internal/engine/shop_test.go", "			i := len(page.Items)\n", "			i := len(page.Items)\n			it.listed = it.quantity\n"},
		{"internal/engine/shop_test.go", "	deleted               bool\n}", "	deleted               bool\n	listed                int64\n}"},
	}},
	{"sales held back by nobody", "late imports", 5, []edit{{"internal/engine/source_match.go", "	units := l.Units\n", "	units := int64(0)\n"}}},
	{"sales held back after their import", "late imports", 5, []edit{{"internal/engine/source_turn.go", "		if has {\n			o.Units = 0\n", "		if has && false {\n			o.Units = 0\n"}}},
	{"sales forgotten with the next reading", "late imports", 5, []edit{{"internal/engine/source_turn.go", "	reflected, err := t.reflected(&item, u.Level.Location)\n",
		"	item.Owed = nil\n	reflected, err := t.reflected(&item, u.Level.Location)\n"}}},
}

// TestBrokenVariantsAreCaught checks the checker: with any rule broken, the simulation must fail. The variants
// are compiled with `go test -overlay`, so nothing in the product knows of them.
func TestBrokenVariantsAreCaught(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			overlay := map[string]string{}
			for i, e := range v.edits {
				path := filepath.Join(root, e.file)
				from := path
				if overlay[path] != "" {
					from = overlay[path]
				}
				text, err := os.ReadFile(from)
				if err != nil {
					t.Fatal(err)
				}
				if strings.Count(string(text), e.old) != 1 {
					t.Fatalf("%s must hold this text once, to be replaced:\n%s", e.file, e.old)
				}
				changed := filepath.Join(dir, fmt.Sprintf("%d.go", i))
				if err := os.WriteFile(changed, []byte(strings.Replace(string(text), e.old, e.new, 1)), 0o600); err != nil {
					t.Fatal(err)
				}
				overlay[path] = changed
			}
			list, err := json.Marshal(map[string]any{"Replace": overlay})
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "overlay.json")
			if err := os.WriteFile(file, list, 0o600); err != nil {
				t.Fatal(err)
			}
			binary := filepath.Join(dir, "variant.test")
			build := exec.CommandContext(t.Context(), "go", "test", "-c", "-overlay", file, "-o", binary, "./internal/engine")
			build.Dir = root
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("the variant does not compile: %v\n%s", err, out)
			}
			simulation := "^TestFedSimulation$"
			if slices.ContainsFunc(stories, func(s story) bool { return s.name == v.story }) {
				simulation = "^TestSimulation$"
			}
			run := exec.CommandContext(t.Context(), binary, "-test.run", simulation, "-story", v.story, "-perstory", fmt.Sprint(v.seeds))
			run.Dir = filepath.Join(root, "internal/engine")
			out, err := run.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "silent errors") {
				t.Fatalf("not caught within %d seeds of %q: %v\n%s", v.seeds, v.story, err, out)
			}
			t.Logf("caught within %d seeds of %q: %d findings", v.seeds, v.story, strings.Count(string(out), ": SKU-"))
		})
	}
}

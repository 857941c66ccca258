package plugin

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stocksync.dev/stocksync/internal/agentapi"
)

// TestAsKubectlPlugin: with the two files that `make plugin` makes in PATH, kubectl finds the plugin, runs it and
// completes its words.
func TestAsKubectlPlugin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.makeChild("fr", "emea")
	w.agent.says("GET /v1/conflicts", []agentapi.Entry{})
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "kubectl-stocksync"), "stocksync.dev/stocksync/cmd/kubectl-stocksync")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	must(t, os.Symlink("kubectl-stocksync", filepath.Join(bin, "kubectl_complete-stocksync")))
	for words, want := range map[string]string{
		"stocksync conflicts":            "No conflicts are open.\n",
		"stocksync conflicts -t apac":    "Error: namespace shops has no StockSyncTopology apac; it has: emea\n",
		"plugin list":                    "kubectl-stocksync\n",
		"__complete stocksync rec":       "reconcile\t",
		"__complete stocksync forget ":   "hq\nfr\n",
		"__complete stocksync ping hq -": "--topology\t",
	} {
		kubectl := exec.CommandContext(t.Context(), filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), strings.Split(words, " ")...)
		kubectl.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "KUBECONFIG="+w.file)
		out, _ := kubectl.CombinedOutput() // what it says tells enough
		if got := w.tidy(string(out)); !strings.Contains(got, want) {
			t.Errorf("kubectl %s prints\n%s\nwant %q", words, got, want)
		}
	}
}

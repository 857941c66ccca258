package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"stocksync.dev/stocksync/internal/plugin"
	"stocksync.dev/stocksync/internal/report"
)

// TestOnlyWhatItNeeds: people download it, so neither the ledger's database nor the engine nor the operator's
// libraries are in it.
func TestOnlyWhatItNeeds(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dependency := range strings.Lines(string(out)) {
		for _, unwanted := range []string{"modernc.org/", "internal/ledger", "internal/engine", "internal/agent\n", "sigs.k8s.io/controller-runtime", "k8s.io/client-go/informers"} {
			if strings.Contains(dependency, unwanted) {
				t.Errorf("the plugin depends on %s", dependency)
			}
		}
	}
}

// TestCompletionByLink: kubectl runs kubectl_complete-stocksync to complete words; that is a link to the plugin.
func TestCompletionByLink(t *testing.T) {
	t.Parallel()
	for program, want := range map[string][]string{
		"/usr/local/bin/kubectl-stocksync":          {"ping", ""},
		"/usr/local/bin/kubectl_complete-stocksync": {"__complete", "ping", ""},
		"kubectl_complete-stocksync.exe":            {"__complete", "ping", ""},
	} {
		if got := arguments([]string{program, "ping", ""}); !slices.Equal(got, want) {
			t.Errorf("as %s it runs %q, want %q", program, got, want)
		}
	}
}

func TestExitCode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		code int
		says string
	}{
		{nil, 0, ""},
		{errors.New("no cluster"), 1, "Error: no cluster\n"},
		{plugin.ExitError{Code: report.ExitNeedsAttention}, report.ExitNeedsAttention, ""},
		{fmt.Errorf("waiting: %w", context.Canceled), 130, ""},
	} {
		var stderr bytes.Buffer
		if code := exitCode(c.err, &stderr); code != c.code || stderr.String() != c.says {
			t.Errorf("%v: exit code %d and %q, want %d and %q", c.err, code, stderr.String(), c.code, c.says)
		}
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/agentapi"
)

// command runs the program with arguments and returns what it printed.
func command(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := newCommand("1.2.3")
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err := cmd.ExecuteContext(ctx)
	return out.String(), err
}

const manifests = `apiVersion: stocksync.dev/v1alpha1
kind: StockSyncTopology
metadata: {name: emea}
spec:
  master:
    storeID: hq
    woocommerce:
      url: https://127.0.0.1:1
      credentialsSecretRef: {name: hq-rest}
---
apiVersion: v1
kind: Secret
metadata: {name: hq-rest}
stringData: {consumerKey: ck_x, consumerSecret: cs_x}
`

// What the README shows: run it with a file, and ask it from another terminal.
func TestRunAndAsk(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "sst")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := filepath.Join(dir, "topology.yaml")
	loud := strings.Replace(manifests, "{name: emea}", "{name: emea, annotations: {stocksync.dev/log-verbosity: '1'}}", 1)
	if err := os.WriteFile(file, []byte(loud), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	ctx, stop := context.WithCancel(t.Context())
	type result struct {
		log string
		err error
	}
	ended := make(chan result, 1)
	go func() {
		log, err := command(ctx, "run", "--config", file, "--data", data, "--public-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0", "--log-format", "json")
		ended <- result{log, err}
	}()
	var text string
	limit := time.After(time.Minute)
	for !strings.Contains(text, "Unreachable") {
		select {
		case r := <-ended:
			t.Fatalf("ended: %v\n%s", r.err, r.log)
		case <-limit:
			t.Fatalf("the status never spoke of the shop: %s", text)
		case <-time.After(20 * time.Millisecond):
			text, _ = command(t.Context(), "status", "--data", data)
		}
	}
	for _, want := range []string{"Agent 1.2.3", "hq (master)", "Observe", "hq: Connected is False (Unreachable): ", "check the URL"} {
		if !strings.Contains(text, want) {
			t.Errorf("status does not say %q:\n%s", want, text)
		}
	}
	for _, tc := range []struct {
		args  []string
		out   string
		error string
	}{
		{args: []string{"conflicts", "list"}, out: "No conflicts are open."},
		{args: []string{"conflicts", "resolve", "NOPE", "3"}, error: "must be the SKU of an item of the master"},
		{args: []string{"conflicts", "resolve", "NOPE", "three"}, error: "must be a whole number"},
		{args: []string{"conflicts", "resolve", "NOPE", "-3"}, error: "put -- before a negative number"},
		{args: []string{"conflicts", "dismiss", "7"}, error: "`conflicts list` names the open ones"},
		{args: []string{"conflicts", "dismiss", "x"}, error: "must be the id of a conflict"},
		{args: []string{"history", "NOPE"}, error: "must be the SKU of an item of the master"},
		{args: []string{"run", "--config", file}, error: "in use by another process"},
	} {
		got, err := command(t.Context(), append(tc.args, "--data", data)...)
		if tc.args[len(tc.args)-1] == "-3" || tc.error != "" {
			if err == nil || !strings.Contains(err.Error(), tc.error) {
				t.Errorf("%q: %v", tc.args, err)
			}
			continue
		}
		if err != nil || !strings.Contains(got, tc.out) {
			t.Errorf("%q: %v %s", tc.args, err, got)
		}
	}
	backup := filepath.Join(dir, "monday.db")
	if out, err := command(t.Context(), "backup", backup, "--data", data); err != nil || !strings.Contains(out, "and is whole") {
		t.Errorf("backup: %v %s", err, out)
	}
	if out, err := command(t.Context(), "backup", "--check", backup); err != nil || !strings.Contains(out, "and is whole") {
		t.Errorf("backup --check: %v %s", err, out)
	}
	if _, err := command(t.Context(), "backup", "--check", file); err == nil || !strings.Contains(err.Error(), "not a whole backup") {
		t.Errorf("backup --check of manifests: %v", err)
	}
	if _, err := command(t.Context(), "backup", backup, "--data", data); err == nil || !strings.Contains(err.Error(), "name a new file") {
		t.Errorf("a backup over another: %v", err)
	}
	if out, err := command(t.Context(), "backup", "-", "--data", data); err != nil || !strings.HasPrefix(out, "SQLite format 3") {
		t.Errorf("a backup to standard output: %v", err)
	}
	if _, err := command(t.Context(), "restore", backup, "--data", data); err == nil || !strings.Contains(err.Error(), "--pending") {
		t.Errorf("a restore beside the agent: %v", err)
	}
	info, err := os.Stat(filepath.Join(data, agentapi.SocketName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket must be its owner's alone: %v %v", info, err)
	}
	stop()
	r := <-ended
	if r.err != nil {
		t.Errorf("stopped with %v", r.err)
	}
	for line := range strings.Lines(r.log) {
		if !json.Valid([]byte(line)) {
			t.Errorf("a log line is no JSON: %s", line)
		}
	}
	if !strings.Contains(r.log, `"level":"DEBUG"`) {
		t.Error("the annotation did not raise what is logged")
	}
	if strings.Contains(r.log, "cs_x") || strings.Contains(r.log, "ck_x") {
		t.Error("the log holds the keys")
	}
	if _, err := command(t.Context(), "status", "--data", data); err == nil || !strings.Contains(err.Error(), "no agent runs on") {
		t.Errorf("after the end: %v", err)
	}
	out, err := command(t.Context(), "restore", backup, "--data", data)
	if err != nil || !strings.Contains(out, "It is in place") || !strings.Contains(out, "agent conflicts") {
		t.Errorf("restore: %v %s", err, out)
	}
	if kept, err := filepath.Glob(filepath.Join(data, "*.replaced-*Z")); err != nil || len(kept) != 1 {
		t.Errorf("the replaced ledger: %v %v", kept, err)
	}
	if _, err := command(t.Context(), "restore", file, "--data", data); err == nil || !strings.Contains(err.Error(), "not a whole backup") {
		t.Errorf("manifests as a backup: %v", err)
	}
	if out, err := command(t.Context(), "restore", "--discard-replaced", "--data", data); err != nil || !strings.Contains(out, "Z is removed") {
		t.Errorf("discard: %v %s", err, out)
	}
	if out, err := command(t.Context(), "restore", "--discard-replaced", "--data", data); err != nil || !strings.Contains(out, "There is no replaced ledger") {
		t.Errorf("discard again: %v %s", err, out)
	}
	if _, err := command(t.Context(), "restore", backup, "--discard-replaced", "--data", data); err == nil {
		t.Error("a restore that discards was not refused")
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte(strings.Replace(manifests, "storeID: hq", "storeID: HQ", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"run"}, "--config must name the manifests"},
		{[]string{"run", "--config", bad, "--log-format", "xml"}, "--log-format must be json, text or auto"},
		{[]string{"run", "--config", filepath.Join(dir, "none"), "--data", dir, "--public-addr", "", "--metrics-addr", ""}, "no such file"},
		{[]string{"run", "--config", bad, "--data", dir, "--public-addr", "", "--metrics-addr", ""}, "document 1 (StockSyncTopology emea): spec.master.storeID: must be lower-case"},
		{[]string{"run", "--config", bad, "--data", dir, "--public-addr", "256.0.0.1:x"}, "--public-addr"},
		{[]string{"run", "--config", bad, "--data", bad}, "--data"},
		{[]string{"run", "--config", bad, "--data", dir, "--ledger-id-file", filepath.Join(dir, "none")}, "--ledger-id-file"},
		{[]string{"run", "--config", bad, "--data", dir, "--public-addr", "", "--metrics-addr", "", "--private-dir", dir}, "the private port needs tls.crt"},
		{[]string{"start"}, "unknown command"},
		{[]string{"conflicts", "resolve", "A"}, "agent conflicts resolve TSHIRT-M 7"},
		{[]string{"status", "--data", dir}, "start it with `agent run`"},
	} {
		if _, err := command(t.Context(), tc.args...); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v", tc.args, err)
		}
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, tc := range [][]string{
		{"", "agent run --config topology.yaml", "conflicts", "history", "status", "version"},
		{"run", "--private-dir", "--ledger-id-file", "keeps its last"},
		{"conflicts", "list", "resolve", "dismiss"},
		{"conflicts resolve", "conflicts resolve TSHIRT-M 7"},
	} {
		text, err := command(t.Context(), append(strings.Fields(tc[0]), "--help")...)
		for _, want := range tc[1:] {
			if err != nil || !strings.Contains(text, want) {
				t.Errorf("help of %q does not say %q: %v\n%s", tc[0], want, err, text)
			}
		}
	}
	if text, err := command(t.Context(), "version"); err != nil || text != "1.2.3\n" {
		t.Errorf("%q %v", text, err)
	}
}

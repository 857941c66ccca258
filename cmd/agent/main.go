// Command agent keeps the stock of the stores of one topology the same. The operator runs it as a pod; with a
// file of the same manifests it runs anywhere.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"

	"stocksync.dev/stocksync/internal/agent"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/report"
)

// version is set by the linker: -ldflags "-X main.version=1.2.3".
var version string

func main() {
	// Cobra rather than the standard flag package: commands of commands, help pages for each, and "did you mean".
	// It is in the module graph already, by way of the Kubernetes tools.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newCommand(buildVersion()).ExecuteContext(ctx); err != nil {
		code := exit{report.ExitFailed}
		if !errors.As(err, &code) {
			fmt.Fprintln(os.Stderr, "Error:", err)
		}
		stop()
		os.Exit(code.code)
	}
}

// buildVersion is what the linker was told or, in a build from a checkout, the commit.
func buildVersion() string {
	if version != "" {
		return version
	}
	commit, dirty := "", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				commit = s.Value[:min(len(s.Value), 12)]
			case s.Key == "vcs.modified" && s.Value == "true":
				dirty = "+changes"
			}
		}
	}
	if commit == "" {
		return "dev"
	}
	return "dev-" + commit + dirty
}

func newCommand(version string) *cobra.Command {
	root := &cobra.Command{
		Use:   "agent",
		Short: "Keeps the stock of several WooCommerce stores the same",
		Long: `The sync agent reads the stock of the stores of one StockSyncTopology, counts what each of them sells,
refunds and edits, and writes the difference to the others.

In Kubernetes the operator runs it. Anywhere else:

  agent run --config topology.yaml --data ./data

with a file that holds the same manifests: one StockSyncTopology, its ChildStores and the Secrets they name.
A topology without 'mode: Sync' is only observed: nothing is written to any store.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(runCommand(version), statusCommand(), pingCommand(), reconcileCommand(), auditCommand(), runsCommand(),
		conflictsCommand(), backlogCommand(), historyCommand(), eventsCommand(), breakerCommand(), exportCommand(), linkCommand(), forgetCommand(), backupCommand(), restoreCommand(),
		&cobra.Command{
			Use: "version", Short: "Print the version", Args: cobra.NoArgs,
			Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), version) },
		})
	return root
}

func runCommand(version string) *cobra.Command {
	o := agent.Options{Version: version}
	var format string
	var verbosity int
	cmd := &cobra.Command{
		Use:   "run --config FILE|DIR",
		Short: "Run the agent until it is told to stop",
		Long: `Run the agent until it gets SIGTERM or Ctrl-C.

The configuration is read again whenever it changes; a store whose new configuration is invalid keeps its last
good one, and every other store is not disturbed. 'agent status' in another terminal tells how things stand.

Ports: the public one takes webhooks from stores, the metrics port serves /metrics, /healthz and /readyz, and
the private one, only with --private-dir, serves the status to the operator and the tools to Jobs and kubectl
stocksync, by token. An empty address closes a port.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Config == "" {
				return errors.New("--config must name the manifests: a YAML file, or a directory that holds " + agentapi.ConfigFile)
			}
			level := &slog.LevelVar{}
			log, err := newLogger(cmd.ErrOrStderr(), format, level)
			if err != nil {
				return err
			}
			o.Log, o.Verbosity = log, func(wanted *int) {
				if wanted == nil {
					wanted = &verbosity
				}
				level.Set(slog.Level(-*wanted))
			}
			o.Verbosity(nil)
			return run(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.Config, "config", "", "the manifests: a YAML `file`, or a directory that holds "+agentapi.ConfigFile)
	dataFlag(cmd, &o.DataDir)
	f.StringVar(&o.LedgerIDFile, "ledger-id-file", "", "`file` with the ledger's id, 32 hexadecimal digits; without it the ledger makes one")
	f.StringVar(&o.PrivateDir, "private-dir", "", "`directory` with tls.crt, tls.key and token of the private port, and read-token and write-token for tools; without it that port is closed")
	f.StringVar(&o.PublicAddr, "public-addr", fmt.Sprint(":", agentapi.PublicPort), "`address` for webhooks, plain HTTP (TLS ends before it)")
	f.StringVar(&o.PrivateAddr, "private-addr", fmt.Sprint(":", agentapi.PrivatePort), "`address` for status and tools, HTTPS")
	f.StringVar(&o.MetricsAddr, "metrics-addr", fmt.Sprint(":", agentapi.MetricsPort), "`address` for metrics and probes, plain HTTP")
	f.StringVar(&format, "log-format", "auto", "json, text, or auto: text on a terminal")
	f.IntVar(&verbosity, "verbosity", 0, "how much is logged: 0, 1 (every request to a store, and what happens to each SKU) or 2")
	return cmd
}

func dataFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "data", agentapi.DataDir, "`directory` of the ledger")
}

func run(ctx context.Context, o agent.Options) (err error) {
	clock := agent.SystemClock{}
	o.Dial = agent.DialWooCommerce(o.Version, clock.Now, o.Log)
	o.DialSource = agent.DialKatana(o.Version, clock, o.Log)
	l, err := agent.Open(ctx, o.DataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	a, err := agent.New(ctx, o, l, clock)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

func newLogger(w io.Writer, format string, level slog.Leveler) (logr.Logger, error) {
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if level, ok := a.Value.Any().(slog.Level); ok && len(groups) == 0 && a.Key == slog.LevelKey && level < slog.LevelInfo {
			a.Value = slog.StringValue("DEBUG")
		}
		return a
	}}
	if format == "auto" {
		format = "json"
		if file, ok := w.(*os.File); ok {
			if info, err := file.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
				format = "text"
			}
		}
	}
	switch strings.ToLower(format) {
	case "json":
		return logr.FromSlogHandler(slog.NewJSONHandler(w, o)), nil
	case "text":
		return logr.FromSlogHandler(slog.NewTextHandler(w, o)), nil
	default:
		return logr.Logger{}, errors.New("--log-format must be json, text or auto")
	}
}

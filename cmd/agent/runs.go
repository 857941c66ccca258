package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/agentclient"
	"stocksync.dev/stocksync/internal/report"
)

// exit ends the program with a code; what there is to say was printed.
type exit struct{ code int }

func (e exit) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// progressEvery is how often a run under way is told, at most.
const progressEvery = 2 * time.Second

const exitCodes = `
Exit codes: 0 all is well; 1 the run failed, or the agent could not be asked; 2 what was found or could not be mended
needs a person; 3 somebody cancelled the run.

SIGTERM and Ctrl-C end the waiting, not the run: it belongs to the agent, survives its restarts, and is ended by
'agent runs cancel ID'.`

func reconcileCommand() *cobra.Command {
	q := agentapi.RunRequest{Kind: agentapi.KindReconcile}
	var strategy string
	var dry bool
	o := oneShot{}
	cmd := asking(&cobra.Command{
		Use:   "reconcile",
		Short: "Read every store, count what happened, and write what differs; wait for the end",
		Long: `Read every placement of every store, merge first what happened there, and then write what differs.

  --strategy DifferencesOnly  what an omitted strategy means
  --strategy Push             also rewrite the other fields where numbers agree
  --strategy DryRun           (or --dry-run) read and report, write nothing
  --strategy Reset            set every number to the master's; needs --confirm-reset
` + exitCodes,
		Args: cobra.NoArgs,
	}, report.Formats, func(cmd *cobra.Command, _ []string, c *agentclient.Client, p report.Printer) error {
		q.Strategy = agentapi.Strategy(strategy)
		switch {
		case dry && strategy != "" && q.Strategy != agentapi.DryRun:
			return errors.New("--dry-run writes nothing, and --strategy " + strategy + " does: give one of them")
		case dry:
			q.Strategy = agentapi.DryRun
		case q.Strategy == agentapi.Reset && !q.ConfirmReset:
			return errors.New("--strategy Reset sets the shared stock of every SKU to what the master shows: add --confirm-reset when that is what you want")
		case q.ConfirmReset && q.Strategy != agentapi.Reset:
			return errors.New("--confirm-reset is for --strategy Reset")
		}
		return o.run(cmd, c, q, func(run agentapi.Run) error { return p.Run(run) })
	})
	f := cmd.Flags()
	f.StringVar(&strategy, "strategy", "", "DifferencesOnly, Push, DryRun or Reset")
	f.BoolVar(&dry, "dry-run", false, "the same as --strategy DryRun")
	f.BoolVar(&q.ConfirmReset, "confirm-reset", false, "confirm --strategy Reset")
	o.flags(cmd, &q)
	return cmd
}

func auditCommand() *cobra.Command {
	q := agentapi.RunRequest{Kind: agentapi.KindAudit}
	o := oneShot{}
	cmd := asking(&cobra.Command{
		Use:   "audit",
		Short: "Compare what every store shows with what it should; wait for the end. Nothing is written",
		Long: `Compare quantity, status, backorders, low stock amount and management of every item with what it should show.
Progress goes to the standard error, the report to the standard output.
` + exitCodes,
		Args: cobra.NoArgs,
	}, report.AuditFormats, func(cmd *cobra.Command, _ []string, c *agentclient.Client, p report.Printer) error {
		return o.run(cmd, c, q, func(run agentapi.Run) error { return p.Audit(run, c.Findings(cmd.Context(), run.ID)) })
	})
	o.flags(cmd, &q)
	return cmd
}

// oneShot starts a run and waits for its end.
type oneShot struct{ terminationLog string }

func (o *oneShot) flags(cmd *cobra.Command, q *agentapi.RunRequest) {
	f := cmd.Flags()
	f.StringSliceVar(&q.SKUs, "sku", nil, "only these `SKUs`, separated by commas or given several times")
	f.StringSliceVar(&q.Stores, "store", nil, "only these `stores`")
	f.StringVar(&q.RequestID, "request-id", "", "asked again with the same `id`, the same run is waited for")
	f.StringVar(&o.terminationLog, "termination-log", "", "`file` for the result as JSON of at most 4 KiB: a container's termination message")
}

func (o *oneShot) run(cmd *cobra.Command, c *agentclient.Client, q agentapi.RunRequest, tell func(agentapi.Run) error) error {
	run, err := o.wait(cmd.Context(), c, cmd.ErrOrStderr(), q)
	if err == nil {
		err = tell(run)
	}
	if err != nil {
		return errors.Join(err, o.leave(report.FailedTermination(q.Kind, report.ExitFailed, err)))
	}
	if err := o.leave(report.Termination(run)); err != nil {
		return err
	}
	if code := report.ExitCode(run); code != report.ExitOK {
		return exit{code}
	}
	return nil
}

// wait starts a run, tells its progress and returns it at its end.
func (o *oneShot) wait(ctx context.Context, c *agentclient.Client, out io.Writer, q agentapi.RunRequest) (agentapi.Run, error) {
	if o.terminationLog == "" {
		// A person is told at once that no agent is there; a Job waits for one that is being restarted.
		if _, err := c.Runs(ctx); err != nil {
			return agentapi.Run{}, err
		}
	}
	run, err := c.Start(ctx, q, func(other agentapi.Run) {
		fmt.Fprintf(out, "Waiting for another run to end. %s\n", report.Progress(other))
	})
	if err != nil {
		return run, err
	}
	return follow(ctx, c, out, run)
}

// follow tells the progress of a run until it has ended.
func follow(ctx context.Context, c *agentclient.Client, out io.Writer, run agentapi.Run) (agentapi.Run, error) {
	var toldAt time.Time
	now := clock.RealClock{}.Now
	last, err := c.Follow(ctx, run, func(r agentapi.Run) {
		if r.State == agentapi.Running && now().Sub(toldAt) >= progressEvery {
			fmt.Fprintf(out, "%s %s\n", now().UTC().Format(time.TimeOnly), report.Progress(r))
			toldAt = now()
		}
	})
	if ctx.Err() != nil {
		return last, fmt.Errorf("no longer waiting for run %d, which goes on: `agent runs show %d` tells how it ends, `agent runs cancel %d` ends it", run.ID, run.ID, run.ID)
	}
	return last, err
}

// leave writes the termination message, where one is wanted.
func (o *oneShot) leave(text []byte) error {
	if o.terminationLog == "" {
		return nil
	}
	// The kubelet has made the file, and reads it when the container has ended.
	if err := os.WriteFile(o.terminationLog, text, 0o600); err != nil {
		return fmt.Errorf("write the result (--termination-log): %w", err)
	}
	return nil
}

func runsCommand() *cobra.Command {
	list := asking(&cobra.Command{Use: "list", Short: "List the recent runs, the newest first", Args: cobra.NoArgs}, report.Formats,
		func(cmd *cobra.Command, _ []string, c *agentclient.Client, p report.Printer) error {
			runs, err := c.Runs(cmd.Context())
			if err != nil {
				return err
			}
			return p.Runs(runs)
		})
	one := func(use, short string, formats []report.Format, fn func(ctx context.Context, cmd *cobra.Command, id int64, c *agentclient.Client, p report.Printer) error) *cobra.Command {
		return asking(&cobra.Command{Use: use + " ID", Short: short, Args: arguments("the id of one run as `agent runs list` shows it", 1, 1)}, formats,
			func(cmd *cobra.Command, args []string, c *agentclient.Client, p report.Printer) error {
				id, err := strconv.ParseInt(args[0], 10, 64)
				if err != nil {
					return fmt.Errorf("%q must be the id of a run, a number that `agent runs list` shows", args[0])
				}
				return fn(cmd.Context(), cmd, id, c, p)
			})
	}
	show := one("show", "Tell how a run stands or ended, with all it found", report.AuditFormats,
		func(ctx context.Context, _ *cobra.Command, id int64, c *agentclient.Client, p report.Printer) error {
			run, err := c.Run(ctx, id)
			if err != nil {
				return err
			}
			return p.Audit(run, c.Findings(ctx, id))
		})
	cancel := one("cancel", "End a run; what it has written stays", report.Formats,
		func(ctx context.Context, _ *cobra.Command, id int64, c *agentclient.Client, p report.Printer) error {
			run, err := c.CancelRun(ctx, id)
			if err != nil {
				return err
			}
			return p.Run(run)
		})
	wait := one("wait", "Wait for the end of a run, and exit as the command that started it", report.Formats,
		func(ctx context.Context, cmd *cobra.Command, id int64, c *agentclient.Client, p report.Printer) error {
			run, err := c.Run(ctx, id)
			if err == nil {
				run, err = follow(ctx, c, cmd.ErrOrStderr(), run)
			}
			if err != nil {
				return err
			}
			if err := p.Run(run); err != nil {
				return err
			}
			if code := report.ExitCode(run); code != report.ExitOK {
				return exit{code}
			}
			return nil
		})
	return family("runs", "List reconciles and audits, and wait for or cancel one", "", list, show, wait, cancel)
}

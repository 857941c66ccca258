package plugin

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/report"
)

func (t *tool) push() *cobra.Command {
	q := agentapi.RunRequest{Kind: agentapi.KindReconcile, Strategy: agentapi.Push}
	var wait bool
	cmd := &cobra.Command{
		Use:               "push SKU...",
		Short:             "Read these SKUs everywhere and write them anew, also where their numbers agree",
		Args:              arguments(1, many, "SKUs"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			q.SKUs = args
			return t.run(cmd, writing, q, wait)
		},
	}
	t.narrowing(cmd, &q, "store")
	waiting(cmd, &wait)
	return cmd
}

func (t *tool) reconcile() *cobra.Command {
	q := agentapi.RunRequest{Kind: agentapi.KindReconcile}
	var wait, dryRun bool
	cmd := &cobra.Command{
		Use:   "reconcile",
		Short: "Read every store, count what happened, then write what differs",
		Long: `Reads every SKU of every store. What was sold or edited meanwhile is counted first and never erased. Then it
writes, by strategy:

  DifferencesOnly  what differs; this is what holds when --strategy is left out
  Push             also registers, identity and status where numbers agree
  DryRun           nothing; it only tells
  Reset            the master's numbers everywhere: every SKU's stock becomes what the master shows

The exit code is 2 when something needs a person, 3 when somebody cancelled the run, 1 when it failed.`,
		Args:              noMore,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case dryRun && q.Strategy != "" && q.Strategy != agentapi.DryRun:
				return errors.New("--dry-run must not stand beside another --strategy")
			case dryRun:
				q.Strategy = agentapi.DryRun
			}
			right := writing
			switch q.Strategy {
			case "", agentapi.DifferencesOnly, agentapi.Push:
			case agentapi.DryRun:
				right = reading
			case agentapi.Reset:
				if err := confirmed(q.ConfirmReset, "--yes-reset", "Reset sets the stock of every SKU to what the master shows; sales the master does not know are lost"); err != nil {
					return err
				}
			default:
				return errors.New("--strategy must be DifferencesOnly, Push, DryRun or Reset")
			}
			return t.run(cmd, right, q, wait)
		},
	}
	cmd.Flags().StringVar((*string)(&q.Strategy), "strategy", "", "DifferencesOnly, Push, DryRun or Reset")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "write nothing, only tell: the same as --strategy DryRun")
	cmd.Flags().BoolVar(&q.ConfirmReset, "yes-reset", false, "yes, reset the stock to the master's numbers")
	complete(cmd, "strategy", words("DifferencesOnly", "Push", "DryRun", "Reset"))
	t.narrowing(cmd, &q, "store", "sku")
	waiting(cmd, &wait)
	return cmd
}

func (t *tool) audit() *cobra.Command {
	q := agentapi.RunRequest{Kind: agentapi.KindAudit}
	var id int64
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Compare every store with what it should show, and write nothing",
		Long: `Compares quantity, status, backorders, low stock amount and management mode of every SKU. Beside table, json and
yaml the findings come as csv and as junit, for pipelines.

The exit code is 2 when something was found, 3 when somebody cancelled the audit, 1 when it failed.`,
		Args:              noMore,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.ask(cmd, reading, func(ctx context.Context, s *session) error {
				run, err := s.audited(ctx, q, id)
				if err != nil {
					return err
				}
				if err := s.Audit(run, s.Findings(ctx, run.ID)); err != nil {
					return err
				}
				return ended(run)
			})
		},
	}
	cmd.Flags().Int64Var(&id, "run", 0, "show the audit of this `id`, which `runs` lists, instead of a new one")
	t.narrowing(cmd, &q, "store", "sku")
	return cmd
}

// audited is a new audit at its end or, where an id is given, that one as it is.
func (s *session) audited(ctx context.Context, q agentapi.RunRequest, id int64) (agentapi.Run, error) {
	if id == 0 {
		run, err := s.start(ctx, q)
		if err != nil {
			return run, err
		}
		return s.follow(ctx, run)
	}
	run, err := s.Client.Run(ctx, id)
	if err == nil && run.Request.Kind != agentapi.KindAudit {
		err = fmt.Errorf("run %d is no audit; `%s runs` lists them", id, s.Command)
	}
	return run, err
}

func (t *tool) runs() *cobra.Command {
	cmd := &cobra.Command{
		Use: "runs", Short: "List the recent reconciles and audits, follow or cancel one", Args: noMore,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.ask(cmd, reading, func(ctx context.Context, s *session) error {
				runs, err := s.Client.Runs(ctx)
				if err != nil {
					return err
				}
				return s.Printer.Runs(runs)
			})
		},
	}
	cmd.AddCommand(
		t.oneRun("follow ID", "Wait until a run has ended, and tell how", reading, func(ctx context.Context, s *session, id int64) (agentapi.Run, error) {
			run, err := s.Client.Run(ctx, id)
			if err != nil {
				return run, err
			}
			return s.follow(ctx, run)
		}),
		t.oneRun("cancel ID", "End a run; what it has written stays", writing, func(ctx context.Context, s *session, id int64) (agentapi.Run, error) {
			run, err := s.CancelRun(ctx, id)
			if err != nil {
				return run, err
			}
			return s.follow(ctx, run)
		}))
	return cmd
}

func (t *tool) oneRun(use, short string, a access, f func(context.Context, *session, int64) (agentapi.Run, error)) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: arguments(1, 1, "the id of a run, as `kubectl stocksync runs` shows it"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || id < 1 {
				return fmt.Errorf("%q must be the id of a run, a number that `kubectl stocksync runs` shows", args[0])
			}
			return t.ask(cmd, a, func(ctx context.Context, s *session) error {
				run, err := f(ctx, s, id)
				if err != nil {
					return err
				}
				return s.Printer.Run(run)
			})
		},
	}
}

func (t *tool) narrowing(cmd *cobra.Command, q *agentapi.RunRequest, flags ...string) {
	for _, flag := range flags {
		switch flag {
		case "store":
			cmd.Flags().StringArrayVar(&q.Stores, "store", nil, "only this store; may be repeated")
			complete(cmd, "store", t.completeStores)
		case "sku":
			cmd.Flags().StringArrayVar(&q.SKUs, "sku", nil, "only this SKU; may be repeated")
		}
	}
}

func waiting(cmd *cobra.Command, wait *bool) {
	cmd.Flags().BoolVar(wait, "wait", true, "wait for the end; --wait=false only starts the run")
}

// run starts a run and, if wanted, waits for its end.
func (t *tool) run(cmd *cobra.Command, a access, q agentapi.RunRequest, wait bool) error {
	return t.ask(cmd, a, func(ctx context.Context, s *session) error {
		run, err := s.start(ctx, q)
		if err != nil {
			return err
		}
		if wait {
			if run, err = s.follow(ctx, run); err != nil {
				return err
			}
		}
		if err := s.Printer.Run(run); err != nil || !wait {
			return err
		}
		return ended(run)
	})
}

// start starts a run, after the one that may be under way. The agent is asked for its status first: from then on
// silence is a restart, which a run outlives, and waited for.
func (s *session) start(ctx context.Context, q agentapi.RunRequest) (agentapi.Run, error) {
	if _, err := s.Client.Status(ctx); err != nil {
		return agentapi.Run{}, err
	}
	return s.Start(ctx, q, func(other agentapi.Run) {
		s.say(fmt.Sprintf("Waiting for the end of run %d (%s); `%s runs cancel %d` ends it.", other.ID, other.Request.Kind, s.Command, other.ID))
	})
}

func (s *session) follow(ctx context.Context, run agentapi.Run) (agentapi.Run, error) {
	end, err := s.Follow(ctx, run, func(r agentapi.Run) {
		if r.State == agentapi.Running {
			s.say(report.Progress(r))
		}
	})
	if errors.Is(err, context.Canceled) {
		return end, fmt.Errorf("run %d goes on without you; `%s runs follow %d` shows it, `%s runs cancel %d` ends it", run.ID, s.Command, run.ID, s.Command, run.ID)
	}
	return end, err
}

func ended(run agentapi.Run) error {
	if code := report.ExitCode(run); code != report.ExitOK {
		return ExitError{code}
	}
	return nil
}

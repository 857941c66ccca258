package plugin

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/agentclient"
	"stocksync.dev/stocksync/internal/report"
)

func (t *tool) ping() *cobra.Command {
	return &cobra.Command{
		Use:   "ping [STORE...]",
		Short: "Test the connection of every store, and say what is wrong",
		Long: `The agent tests name, certificate, key, rights and clock of each store, or of those named. It writes nothing.
The exit code is 1 when a test failed.`,
		ValidArgsFunction: t.completeStores,
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.ask(cmd, reading, func(ctx context.Context, s *session) error {
				if len(args) == 0 {
					args = []string{""} // all of them
				}
				var all []agentapi.Ping
				for _, store := range args {
					pings, err := s.Client.Ping(ctx, store)
					if err != nil {
						return err
					}
					all = append(all, pings...)
				}
				if err := s.Printer.Ping(all); err != nil {
					return err
				}
				for _, p := range all {
					if !p.OK {
						return ExitError{report.ExitFailed}
					}
				}
				return nil
			})
		},
	}
}

func (t *tool) history() *cobra.Command {
	var limit, days int
	cmd := &cobra.Command{
		Use:               "history SKU",
		Short:             "Tell why a SKU's number is what it is: who changed it when, which writes followed",
		Args:              arguments(1, 1, "one SKU"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.ask(cmd, reading, func(ctx context.Context, s *session) error {
				h, err := s.Client.History(ctx, args[0], limit)
				if err != nil {
					return err
				}
				return s.Printer.History(h)
			})
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "how many lines, the newest first; at most 10000")
	prune := &cobra.Command{
		Use:   "prune --older-than-days N",
		Short: "Forget the history of all SKUs before the last N days",
		Args:  noMore,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if days < 1 {
				return errors.New("--older-than-days must be given, at least 1: the days whose history is kept")
			}
			return t.ask(cmd, writing, func(ctx context.Context, s *session) error {
				pruned, err := s.Prune(ctx, days)
				if err != nil {
					return err
				}
				return s.Closed(pruned, report.Count(pruned.Count, "line", "lines")+" forgotten.")
			})
		},
	}
	prune.Flags().IntVar(&days, "older-than-days", 0, "the days whose history is kept, at least 1")
	cmd.AddCommand(prune)
	return cmd
}

func (t *tool) events() *cobra.Command {
	var q agentclient.EventsQuery
	var follow bool
	cmd := &cobra.Command{
		Use:               "events",
		Short:             "Print the event log, and with -f what is added to it",
		Args:              noMore,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.ask(cmd, reading, func(ctx context.Context, s *session) error {
				if follow {
					return s.Client.FollowEvents(ctx, q, s.Printer.Events)
				}
				rows, err := s.Client.Events(ctx, q)
				if err != nil {
					return err
				}
				return s.Printer.Events(rows, true)
			})
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&follow, "follow", "f", false, "go on until Ctrl-C")
	f.IntVar(&q.Limit, "limit", 50, "how many lines, the newest")
	f.StringVar(&q.Store, "store", "", "only those of this store")
	f.StringVar(&q.SKU, "sku", "", "only those of this SKU")
	f.StringVar(&q.Level, "level", "", "the least one: Info, Warning or Error")
	complete(cmd, "store", t.completeStores)
	complete(cmd, "level", words("Info", "Warning", "Error"))
	return cmd
}

func (t *tool) conflicts() *cobra.Command {
	var store, sku string
	list := func(cmd *cobra.Command, _ []string) error {
		return t.ask(cmd, reading, func(ctx context.Context, s *session) error {
			rows, err := s.Client.Conflicts(ctx, store, sku)
			if err != nil {
				return err
			}
			return s.Printer.Conflicts(rows)
		})
	}
	filters := func(cmd *cobra.Command) *cobra.Command {
		cmd.Flags().StringVar(&store, "store", "", "only those of this store")
		cmd.Flags().StringVar(&sku, "sku", "", "only those of this SKU")
		complete(cmd, "store", t.completeStores)
		return cmd
	}
	cmd := filters(&cobra.Command{
		Use:   "conflicts",
		Short: "List what waits for a person, and settle it",
		Long: `A conflict says that a number could not be known for sure, with the evidence. Most are a note: the lower stock
was taken, or a loss was repaired. A SKU that is stopped is not written until its number is set.`,
		Args: noMore, RunE: list,
	})
	cmd.AddCommand(
		filters(&cobra.Command{Use: "list", Short: "List the open conflicts, oldest first", Args: noMore, RunE: list}),
		t.resolve(),
		&cobra.Command{
			Use: "dismiss ID...", Short: "Close conflicts and leave every number as it is",
			Args: arguments(1, many, "the ids of conflicts"), ValidArgsFunction: cobra.NoFileCompletions,
			RunE: func(cmd *cobra.Command, args []string) error {
				ids := make([]int64, len(args))
				for i, arg := range args {
					var err error
					if ids[i], err = strconv.ParseInt(arg, 10, 64); err != nil {
						return fmt.Errorf("%q must be the id of a conflict, a number that `kubectl stocksync conflicts` shows", arg)
					}
				}
				return t.ask(cmd, writing, func(ctx context.Context, s *session) error {
					closed, err := s.Dismiss(ctx, ids...)
					if err != nil {
						return err
					}
					return s.Closed(closed, report.Count(closed.Count, "conflict", "conflicts")+" closed.")
				})
			},
		},
		&cobra.Command{
			Use: "rescan [STORE...]", Short: "Read whole catalogues again, which finds duplicate SKUs and new items",
			ValidArgsFunction: t.completeStores,
			RunE: func(cmd *cobra.Command, args []string) error {
				return t.ask(cmd, writing, func(ctx context.Context, s *session) error {
					closed, err := s.Rescan(ctx, args...)
					if err != nil {
						return err
					}
					return s.Closed(closed, report.Count(closed.Count, "store is", "stores are")+
						" read as a whole again; `"+s.Command+" conflicts` shows what is found.")
				})
			},
		})
	return cmd
}

func (t *tool) resolve() *cobra.Command {
	var fromMaster bool
	var fromStore string
	cmd := &cobra.Command{
		Use:   "resolve SKU (UNITS | --from-master | --from-store STORE)",
		Short: "Choose the number of a SKU, let it be written again and close its conflicts",
		Long: `The shared stock of the SKU becomes UNITS, or what the master or another store shows. Count the goods first:
the number holds in every store. A negative number goes behind --.`,
		Example: `  kubectl stocksync conflicts resolve TSHIRT-M 7
  kubectl stocksync conflicts resolve TSHIRT-M --from-store fr
  kubectl stocksync conflicts resolve -- TSHIRT-M -2`,
		Args:                  arguments(1, 2, "a SKU, and where its number comes from"),
		ValidArgsFunction:     cobra.NoFileCompletions,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			q := agentapi.ResolveRequest{SKU: args[0], Store: fromStore}
			ways := 0
			for _, given := range []bool{len(args) == 2, fromMaster, fromStore != ""} {
				if given {
					ways++
				}
			}
			if ways != 1 {
				return errors.New("must be given exactly one of UNITS, --from-master and --from-store STORE")
			}
			if len(args) == 2 {
				units, err := strconv.ParseInt(args[1], 10, 64)
				if err != nil {
					return fmt.Errorf("%q must be a whole number of units", args[1])
				}
				q.Units = &units
			}
			return t.ask(cmd, writing, func(ctx context.Context, s *session) error {
				if fromMaster {
					q.Store = s.topology.Spec.Master.StoreID
				}
				closed, err := s.Resolve(ctx, q)
				if err != nil {
					return err
				}
				number := "the number of " + q.Store
				if q.Units != nil {
					number = report.Count(int(*q.Units), "unit", "units")
				}
				return s.Closed(closed, fmt.Sprintf("%s has %s now; %s closed. The stores follow.",
					strings.TrimSpace(q.SKU), number, report.Count(closed.Count, "conflict", "conflicts")))
			})
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return fmt.Errorf("%w; put -- before a negative number: kubectl stocksync conflicts resolve -- SKU -2", err)
	})
	cmd.Flags().BoolVar(&fromMaster, "from-master", false, "take what the master shows")
	cmd.Flags().StringVar(&fromStore, "from-store", "", "take what this store shows")
	complete(cmd, "from-store", t.completeStores)
	return cmd
}

func (t *tool) backlog() *cobra.Command {
	var store string
	list := func(cmd *cobra.Command, _ []string) error {
		return t.ask(cmd, reading, func(ctx context.Context, s *session) error {
			return s.Printer.Backlog(s.Client.Backlog(ctx, store))
		})
	}
	filter := func(cmd *cobra.Command) *cobra.Command {
		cmd.Flags().StringVar(&store, "store", "", "only that of this store")
		complete(cmd, "store", t.completeStores)
		return cmd
	}
	cmd := filter(&cobra.Command{Use: "backlog", Short: "List what stores do not show yet, and hurry or end it", Args: noMore, RunE: list})
	cmd.AddCommand(
		filter(&cobra.Command{Use: "list", Short: "List the SKUs whose shelf differs from what it should show", Args: noMore, RunE: list}),
		&cobra.Command{
			Use: "retry [STORE...]", Short: "Try at once again what waits after failures", ValidArgsFunction: t.completeStores,
			RunE: func(cmd *cobra.Command, args []string) error {
				return t.ask(cmd, writing, func(ctx context.Context, s *session) error {
					closed, err := s.Retry(ctx, args...)
					if err != nil {
						return err
					}
					return s.Closed(closed, report.Count(closed.Count, "store is", "stores are")+" tried again at once.")
				})
			},
		},
		t.accept())
	return cmd
}

func (t *tool) accept() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               "accept STORE SKU...",
		Short:             "Make what a store shows the number of these SKUs everywhere",
		Args:              arguments(2, many, "a store and SKUs"),
		ValidArgsFunction: t.completeStore,
		RunE: func(cmd *cobra.Command, args []string) error {
			store, skus := args[0], args[1:]
			if err := confirmed(yes, "--yes", fmt.Sprintf("what %s shows of %s becomes the stock in every store",
				store, report.Count(len(skus), "SKU", "SKUs"))); err != nil {
				return err
			}
			return t.ask(cmd, writing, func(ctx context.Context, s *session) error {
				closed, err := s.Accept(ctx, agentapi.AcceptRequest{Store: store, SKUs: skus, Confirm: true})
				if err != nil {
					return err
				}
				return s.Closed(closed, fmt.Sprintf("%s now as %s shows. The other stores follow.",
					report.Count(closed.Count, "SKU is", "SKUs are"), store))
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "yes, this is what I want")
	return cmd
}

func (t *tool) breaker() *cobra.Command {
	show := func(cmd *cobra.Command, _ []string) error {
		return t.ask(cmd, reading, func(ctx context.Context, s *session) error {
			b, err := s.Client.Breaker(ctx)
			if err != nil {
				return err
			}
			return s.Printer.Breaker(b)
		})
	}
	cmd := &cobra.Command{
		Use:   "breaker",
		Short: "Show the circuit breaker, and let through what it holds",
		Long: `A change that would zero or multiply many SKUs at once is held: nothing is written, sales keep being counted.
It goes through once its trip is approved; if it was a mistake, put it right where it was made.`,
		Args: noMore, RunE: show,
	}
	cmd.AddCommand(
		&cobra.Command{Use: "show", Short: "Show whether it has tripped, and why", Args: noMore, RunE: show},
		&cobra.Command{
			Use: "approve TRIPID", Short: "Let through what this trip holds",
			Args: arguments(1, 1, "the id that `kubectl stocksync breaker` shows"), ValidArgsFunction: cobra.NoFileCompletions,
			RunE: func(cmd *cobra.Command, args []string) error {
				return t.ask(cmd, writing, func(ctx context.Context, s *session) error {
					closed, err := s.Approve(ctx, args[0])
					if err != nil {
						return err
					}
					return s.Closed(closed, "Trip "+args[0]+" is approved; writing goes on.")
				})
			},
		})
	return cmd
}

func (t *tool) forget() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "forget STORE",
		Short: "Remove our markers from a store that is in mode Off or Observe",
		Long: `Before a store leaves for good. The store's stock stays as it is. The store must be in mode Off or Observe; one
that comes back afterwards is enrolled anew.`,
		Args:              arguments(1, 1, "one store"),
		ValidArgsFunction: t.completeStore,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := confirmed(yes, "--yes", "every marker of ours in "+args[0]+" is removed, and with them what tells our writes from sales there"); err != nil {
				return err
			}
			return t.ask(cmd, writing, func(ctx context.Context, s *session) error {
				closed, err := s.Forget(ctx, agentapi.ForgetRequest{Store: args[0], Confirm: true})
				if err != nil {
					return err
				}
				return s.Closed(closed, fmt.Sprintf("%s removed from %s.", report.Count(closed.Count, "marker was", "markers were"), args[0]))
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "yes, this is what I want")
	return cmd
}

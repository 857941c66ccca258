package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/agentclient"
	"stocksync.dev/stocksync/internal/report"
)

// The commands below ask the running agent: the ledger belongs to it alone.

func statusCommand() *cobra.Command {
	return asking(&cobra.Command{Use: "status", Short: "Tell how the running agent and its stores are", Args: cobra.NoArgs}, report.Formats,
		func(cmd *cobra.Command, _ []string, c *agentclient.Client, p report.Printer) error {
			s, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			return p.Status(s)
		})
}

func pingCommand() *cobra.Command {
	return asking(&cobra.Command{Use: "ping [STORE]", Short: "Test the connection of every store, or of one, and say what is wrong",
		Long: `Test name, connection, certificate, REST key and clock of every store, or of one. Nothing is written: the permission
to write is asked for with an empty batch. Exit code 1 when a check failed.`,
		Args: cobra.MaximumNArgs(1)}, report.Formats,
		func(cmd *cobra.Command, args []string, c *agentclient.Client, p report.Printer) error {
			pings, err := c.Ping(cmd.Context(), strings.Join(args, ""))
			if err != nil {
				return err
			}
			if err := p.Ping(pings); err != nil {
				return err
			}
			for _, ping := range pings {
				if !ping.OK {
					return exit{code: report.ExitFailed}
				}
			}
			return nil
		})
}

func conflictsCommand() *cobra.Command {
	var store, sku string
	list := asking(&cobra.Command{Use: "list", Short: "List the open conflicts, oldest first", Args: cobra.NoArgs}, report.Formats,
		func(cmd *cobra.Command, _ []string, c *agentclient.Client, p report.Printer) error {
			rows, err := c.Conflicts(cmd.Context(), store, sku)
			if err != nil {
				return err
			}
			return p.Conflicts(rows)
		})
	list.Flags().StringVar(&store, "store", "", "only those of this `store`")
	list.Flags().StringVar(&sku, "sku", "", "only those of this `SKU`")

	var from string
	var fromMaster bool
	resolve := asking(&cobra.Command{
		Use:   "resolve SKU (UNITS | --from-master | --from-store STORE)",
		Short: "Set the shared stock of a SKU, let it be written again and close its conflicts",
		Example: `  agent conflicts resolve TSHIRT-M 7
  agent conflicts resolve TSHIRT-M --from-store fr
  agent conflicts resolve -- TSHIRT-M -2`,
		Args: arguments("the SKU and the number of units there really are, for example: agent conflicts resolve TSHIRT-M 7", 1, 2),
	}, nil, func(cmd *cobra.Command, args []string, c *agentclient.Client, p report.Printer) error {
		given := 0
		for _, is := range []bool{len(args) == 2, fromMaster, from != ""} {
			if is {
				given++
			}
		}
		if given != 1 {
			return errors.New("must be given exactly one of UNITS, --from-master and --from-store STORE, for example: agent conflicts resolve TSHIRT-M 7")
		}
		q, number := agentapi.ResolveRequest{SKU: args[0], Store: from}, ""
		switch {
		case len(args) == 2:
			units, err := strconv.ParseInt(args[1], 10, 64)
			if err != nil {
				return fmt.Errorf("%q must be a whole number of units", args[1])
			}
			q.Units, number = &units, fmt.Sprintf("%d units", units)
		case fromMaster:
			s, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			if len(s.Stores) == 0 {
				return errors.New("the agent has no usable configuration yet: `agent status` tells why")
			}
			q.Store = s.Stores[0].StoreID // the master comes first
		}
		if number == "" {
			number = "the number of " + q.Store
		}
		closed, err := c.Resolve(cmd.Context(), q)
		if err != nil {
			return err
		}
		return p.Closed(closed, fmt.Sprintf("%s has %s now; %d conflicts closed. The stores follow.", strings.TrimSpace(args[0]), number, closed.Count))
	})
	resolve.Flags().BoolVar(&fromMaster, "from-master", false, "take the number the master shows")
	resolve.Flags().StringVar(&from, "from-store", "", "take the number this `store` shows")
	resolve.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return fmt.Errorf("%w; put -- before a negative number: agent conflicts resolve -- SKU -2", err)
	})

	dismiss := asking(&cobra.Command{Use: "dismiss ID...", Short: "Close conflicts and leave every number as it is",
		Args: arguments("the ids of conflicts as `agent conflicts list` shows them", 1, 1000)}, nil,
		func(cmd *cobra.Command, args []string, c *agentclient.Client, p report.Printer) error {
			ids := make([]int64, len(args))
			for i, arg := range args {
				var err error
				if ids[i], err = strconv.ParseInt(arg, 10, 64); err != nil {
					return fmt.Errorf("%q must be the id of a conflict, a number that `agent conflicts list` shows", arg)
				}
			}
			closed, err := c.Dismiss(cmd.Context(), ids...)
			if err != nil {
				return err
			}
			return p.Closed(closed, fmt.Sprintf("%d conflicts closed.", closed.Count))
		})

	rescan := asking(&cobra.Command{Use: "rescan [STORE...]", Short: "Read whole catalogues again, which finds duplicate SKUs and new items"}, nil,
		func(cmd *cobra.Command, args []string, c *agentclient.Client, p report.Printer) error {
			n, err := c.Rescan(cmd.Context(), args...)
			if err != nil {
				return err
			}
			return p.Closed(n, fmt.Sprintf("The catalogues of %s are read again.", report.Count(n.Count, "store", "stores")))
		})
	return family("conflicts", "List what waits for a person, and settle it",
		`A conflict says that a number could not be known for sure, with the evidence. Most are a note: the
lower stock was taken, or a loss was repaired. A SKU that is stopped is not written until its number is set.`, list, resolve, dismiss, rescan)
}

func backlogCommand() *cobra.Command {
	var store string
	list := asking(&cobra.Command{Use: "list", Short: "List the SKUs that stores do not show as they should yet", Args: cobra.NoArgs}, report.Formats,
		func(cmd *cobra.Command, _ []string, c *agentclient.Client, p report.Printer) error {
			return p.Backlog(c.Backlog(cmd.Context(), store))
		})
	list.Flags().StringVar(&store, "store", "", "only those of this `store`")
	retry := asking(&cobra.Command{Use: "retry [STORE...]", Short: "Try failing stores again now, without waiting for their next turn"}, nil,
		func(cmd *cobra.Command, args []string, c *agentclient.Client, p report.Printer) error {
			n, err := c.Retry(cmd.Context(), args...)
			if err != nil {
				return err
			}
			return p.Closed(n, fmt.Sprintf("%s tried again now.", report.Count(n.Count, "store is", "stores are")))
		})
	var yes bool
	accept := asking(&cobra.Command{Use: "accept STORE SKU... --yes", Short: "Make what a store shows the number of SKUs, everywhere",
		Args: arguments("a store and the SKUs whose numbers there are right", 2, 10000)}, nil,
		func(cmd *cobra.Command, args []string, c *agentclient.Client, p report.Printer) error {
			if !yes {
				return fmt.Errorf("this makes the numbers of store %s those of every store: add --yes when you have counted", args[0])
			}
			n, err := c.Accept(cmd.Context(), agentapi.AcceptRequest{Store: args[0], SKUs: args[1:], Confirm: true})
			if err != nil {
				return err
			}
			return p.Closed(n, fmt.Sprintf("%s the number %s shows. The stores follow.", report.Count(n.Count, "SKU has", "SKUs have"), args[0]))
		})
	accept.Flags().BoolVar(&yes, "yes", false, "confirm that the numbers of this store are right")
	return family("backlog", "List what waits to be written, and hurry or accept it", "", list, retry, accept)
}

func historyCommand() *cobra.Command {
	var limit int
	cmd := asking(&cobra.Command{Use: "history SKU", Short: "Tell why a SKU's number is what it is", Args: arguments("one SKU", 1, 1)}, report.Formats,
		func(cmd *cobra.Command, args []string, c *agentclient.Client, p report.Printer) error {
			h, err := c.History(cmd.Context(), args[0], limit)
			if err != nil {
				return err
			}
			return p.History(h)
		})
	cmd.Flags().IntVar(&limit, "limit", 50, "how many lines, the newest first; at most 10000")
	days := 0
	prune := asking(&cobra.Command{Use: "prune --older-than-days N", Short: "Forget old history", Args: cobra.NoArgs}, nil,
		func(cmd *cobra.Command, _ []string, c *agentclient.Client, p report.Printer) error {
			if days < 1 {
				return errors.New("--older-than-days must be given, at least 1")
			}
			n, err := c.Prune(cmd.Context(), days)
			if err != nil {
				return err
			}
			return p.Closed(n, fmt.Sprintf("%s forgotten.", report.Count(n.Count, "line is", "lines are")))
		})
	prune.Flags().IntVar(&days, "older-than-days", 0, "forget what is older than so many `days`")
	cmd.AddCommand(prune)
	return cmd
}

func eventsCommand() *cobra.Command {
	q := agentclient.EventsQuery{}
	var follow bool
	cmd := asking(&cobra.Command{Use: "events", Short: "Print the newest lines of the event log, and with -f those that come", Args: cobra.NoArgs}, report.Formats,
		func(cmd *cobra.Command, _ []string, c *agentclient.Client, p report.Printer) error {
			if follow {
				return c.FollowEvents(cmd.Context(), q, p.Events)
			}
			lines, err := c.Events(cmd.Context(), q)
			if err != nil {
				return err
			}
			return p.Events(lines, true)
		})
	f := cmd.Flags()
	f.BoolVarP(&follow, "follow", "f", false, "go on with what comes, until Ctrl-C")
	f.IntVar(&q.Limit, "limit", 50, "how many lines; at most 10000")
	f.StringVar(&q.Store, "store", "", "only those of this `store`")
	f.StringVar(&q.SKU, "sku", "", "only those of this `SKU`")
	f.StringVar(&q.Level, "level", "", "the least `level`: Info, Warning or Error")
	return cmd
}

func forgetCommand() *cobra.Command {
	var yes bool
	cmd := asking(&cobra.Command{Use: "forget STORE --yes", Short: "Remove our markers from a store in mode Off or Observe",
		Args: arguments("one store", 1, 1)}, nil,
		func(cmd *cobra.Command, args []string, c *agentclient.Client, p report.Printer) error {
			if !yes {
				return fmt.Errorf("this removes our markers from store %s, which then starts anew: add --yes to do so", args[0])
			}
			n, err := c.Forget(cmd.Context(), agentapi.ForgetRequest{Store: args[0], Confirm: true})
			if err != nil {
				return err
			}
			return p.Closed(n, fmt.Sprintf("Our markers are removed from %s of %s.", report.Count(n.Count, "item", "items"), args[0]))
		})
	cmd.Flags().BoolVar(&yes, "yes", false, "confirm it")
	return cmd
}

func breakerCommand() *cobra.Command {
	cmd := asking(&cobra.Command{Use: "breaker", Short: "Tell whether the circuit breaker holds a change", Args: cobra.NoArgs}, report.Formats,
		func(cmd *cobra.Command, _ []string, c *agentclient.Client, p report.Printer) error {
			b, err := c.Breaker(cmd.Context())
			if err != nil {
				return err
			}
			return p.Breaker(b)
		})
	cmd.AddCommand(asking(&cobra.Command{Use: "approve TRIP", Short: "Let through what the trip of this id holds",
		Args: arguments("the id of the trip as `agent breaker` shows it", 1, 1)}, nil,
		func(cmd *cobra.Command, args []string, c *agentclient.Client, p report.Printer) error {
			n, err := c.Approve(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return p.Closed(n, fmt.Sprintf("Trip %s is approved: %s written now.", args[0], report.Count(n.Count, "SKU is", "SKUs are")))
		}))
	return cmd
}

func arguments(what string, least, most int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return errors.New("must be given " + what)
		}
		return nil
	}
}

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

// statusCommand and the others below ask the running agent: the ledger belongs to it alone.
func statusCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell how the running agent and its stores are",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := agentclient.Socket(data).Status(cmd.Context())
			if err != nil {
				return err
			}
			return printer(cmd).Status(s)
		},
	}
	dataFlag(cmd, &data)
	return cmd
}

func conflictsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "conflicts",
		Short: "List what waits for a person, and settle it",
		Long: `A conflict says that a number could not be known for sure, with the evidence. Most are a note: the
lower stock was taken, or a loss was repaired. A SKU that is stopped is not written until its number is set.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var data string
	list := &cobra.Command{
		Use: "list", Short: "List the open conflicts, oldest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rows, err := agentclient.Socket(data).Conflicts(cmd.Context(), "", "")
			if err != nil {
				return err
			}
			return printer(cmd).Conflicts(rows)
		},
	}
	resolve := &cobra.Command{
		Use:   "resolve SKU UNITS",
		Short: "Set the shared stock of a SKU, let it be written again and close its conflicts",
		Example: `  agent conflicts resolve TSHIRT-M 7
  agent conflicts resolve -- TSHIRT-M -2`,
		Args: arguments("the SKU and the number of units there really are, for example: agent conflicts resolve TSHIRT-M 7", 2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			units, err := strconv.ParseInt(args[1], 10, 64)
			if err != nil {
				return fmt.Errorf("%q must be a whole number of units", args[1])
			}
			closed, err := agentclient.Socket(data).Resolve(cmd.Context(), agentapi.ResolveRequest{SKU: args[0], Units: &units})
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s has %d units now; %d conflicts closed. The stores follow.\n", strings.TrimSpace(args[0]), units, closed.Count)
			return nil
		},
	}
	resolve.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return fmt.Errorf("%w; put -- before a negative number: agent conflicts resolve -- SKU -2", err)
	})
	dismiss := &cobra.Command{
		Use:   "dismiss ID...",
		Short: "Close conflicts and leave every number as it is",
		Args:  arguments("the ids of conflicts as `agent conflicts list` shows them", 1, 1000),
		RunE: func(cmd *cobra.Command, args []string) error {
			ids := make([]int64, len(args))
			for i, arg := range args {
				var err error
				if ids[i], err = strconv.ParseInt(arg, 10, 64); err != nil {
					return fmt.Errorf("%q must be the id of a conflict, a number that `agent conflicts list` shows", arg)
				}
			}
			if _, err := agentclient.Socket(data).Dismiss(cmd.Context(), ids...); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d conflicts closed.\n", len(ids))
			return nil
		},
	}
	for _, c := range []*cobra.Command{list, resolve, dismiss} {
		dataFlag(c, &data)
		cmd.AddCommand(c)
	}
	return cmd
}

func historyCommand() *cobra.Command {
	var data string
	var limit int
	cmd := &cobra.Command{
		Use:   "history SKU",
		Short: "Tell why a SKU's number is what it is",
		Args:  arguments("one SKU", 1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := agentclient.Socket(data).History(cmd.Context(), args[0], limit)
			if err != nil {
				return err
			}
			return printer(cmd).History(h)
		},
	}
	dataFlag(cmd, &data)
	cmd.Flags().IntVar(&limit, "limit", 50, "how many lines, the newest first; at most 10000")
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

func printer(cmd *cobra.Command) report.Printer {
	return report.Printer{Out: cmd.OutOrStdout(), Command: "agent"}
}

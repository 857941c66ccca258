package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"stocksync.dev/stocksync/internal/agent"
	"stocksync.dev/stocksync/internal/agentapi"
)

// statusCommand and the others below ask the running agent: the ledger belongs to it alone.
func statusCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell how the running agent and its stores are",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := agent.NewClient(data).Status(cmd.Context())
			if err != nil {
				return err
			}
			printStatus(cmd.OutOrStdout(), s)
			return nil
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
			rows, err := agent.NewClient(data).Conflicts(cmd.Context())
			if err != nil {
				return err
			}
			printConflicts(cmd.OutOrStdout(), rows)
			return nil
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
			closed, err := agent.NewClient(data).Resolve(cmd.Context(), args[0], units)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s has %d units now; %d conflicts closed. The stores follow.\n", strings.TrimSpace(args[0]), units, closed)
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
			if err := agent.NewClient(data).Dismiss(cmd.Context(), ids...); err != nil {
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
			h, err := agent.NewClient(data).History(cmd.Context(), args[0], limit)
			if err != nil {
				return err
			}
			printHistory(cmd.OutOrStdout(), h)
			return nil
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

func printStatus(w io.Writer, s agentapi.Status) {
	fmt.Fprintf(w, "Agent %s, configuration %s, ledger %s, up %s\n", s.AgentVersion, s.ConfigRevision, s.LedgerID, age(s.Now.Sub(s.StartedAt)))
	fmt.Fprintf(w, "%d pools, %d oversold (%d units), %d SKUs stopped, %d conflicts\n", s.Pools, s.OversoldPools, s.OversoldUnits, s.StoppedSKUs, s.Conflicts)
	if s.ConfigError != "" {
		fmt.Fprintln(w, "Configuration not in use:", s.ConfigError)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "STORE\tMODE\tCONNECTED\tIN-SYNC\tTIER\tSKUS\tENROLLED\tBACKLOG\tLAG\tCONFLICTS\tLAST-SEEN")
	for _, st := range s.Stores {
		name := st.StoreID
		if st.Master {
			name += " (master)"
		}
		seen := "never"
		if st.LastSeenTime != nil {
			seen = age(s.Now.Sub(*st.LastSeenTime)) + " ago"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%ds\t%d\t%s\n", name, st.Mode, st.Connected.Status, st.InSync.Status, st.Tier,
			st.Placements, st.Enrolled, st.Backlog, st.LagSeconds, st.Conflicts, seen)
	}
	_ = t.Flush()
	for _, st := range s.Stores {
		for _, c := range []struct {
			name string
			agentapi.Condition
		}{{"Accepted", st.Accepted}, {"Connected", st.Connected}, {"HintsAvailable", st.HintsAvailable}, {"InSync", st.InSync}} {
			if c.Status != "True" || c.Reason == "Conflicts" || c.Reason == "OrdersUnreadable" || c.Reason == "ClockSkew" {
				fmt.Fprintf(w, "\n%s: %s is %s (%s): %s\n", st.StoreID, c.name, c.Status, c.Reason, c.Message)
			}
		}
		for _, m := range st.Mismatches {
			fmt.Fprintf(w, "  %s: %s shows %d and should show %d\n", st.StoreID, m.SKU, m.Shown, m.Wanted)
		}
	}
}

func printConflicts(w io.Writer, rows []agentapi.Entry) {
	if len(rows) == 0 {
		fmt.Fprintln(w, "No conflicts are open.")
		return
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tWHEN\tSTORE\tSKU\tKIND\tUNITS\tEVIDENCE")
	for _, r := range rows {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%+d\t%s\n", r.ID, r.At.UTC().Format(time.DateTime), dash(r.Store), dash(r.SKU), r.Kind, r.Units, r.Evidence)
	}
	_ = t.Flush()
	fmt.Fprintln(w, "\n`agent conflicts resolve SKU UNITS` sets a number, `agent conflicts dismiss ID` leaves it as it is.")
}

func printHistory(w io.Writer, h agentapi.SKUHistory) {
	switch {
	case !h.Set:
		fmt.Fprintf(w, "%s has no number yet: it comes with the master's first clean reading.\n", h.SKU)
	default:
		fmt.Fprintf(w, "%s: %d units.\n", h.SKU, h.Units)
	}
	if h.Stopped != "" {
		fmt.Fprintf(w, "Stopped: %s. Nothing is written until `agent conflicts resolve %s UNITS`.\n", h.Stopped, h.SKU)
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "\nSTORE\tSHOWS\tTO-DO\tREAD\tNOTE")
	for _, s := range h.Shelves {
		fmt.Fprintf(t, "%s\t%d\t%+d\t%s\t%s\n", s.Store, s.Shown, s.Todo, s.ReadAt.UTC().Format(time.DateTime), s.Note)
	}
	fmt.Fprintln(t, "\nWHEN\tSTORE\tKIND\tSTOCK\tUNITS\tREADING\tEVIDENCE")
	for _, e := range h.Entries {
		mark := ""
		if e.Conflict {
			mark = " (conflict)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s%s\t%+d\t%+d\t%d\t%s\n", e.At.UTC().Format(time.DateTime), dash(e.Store), e.Kind, mark, e.Delta, e.Units, e.Quantity, e.Evidence)
	}
	_ = t.Flush()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func age(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return d.Round(time.Second).String()
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

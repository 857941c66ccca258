package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stocksync.dev/stocksync/internal/agent"
	"stocksync.dev/stocksync/internal/agentclient"
	"stocksync.dev/stocksync/internal/ledger"
)

// tellEvery is how often a long copy says how far it is.
const tellEvery = 3 * time.Second

func backupCommand() *cobra.Command {
	var data string
	var check bool
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a consistent copy of the running agent's ledger to a file",
		Long: `Write a consistent copy of the running agent's ledger to a new file, or to standard output where FILE is -.
Work goes on meanwhile. The copy holds ids, SKUs, dates and units: no personal data and no key of a store. Keep it as
a secret all the same: the secrets of webhooks are derived from the ledger's id in it.

It is made in the data directory first, which must have room for it. 'agent restore' puts it back.`,
		Example: `  agent backup ledger-monday.db --data ./data
  kubectl exec emea-agent-0 -- /agent backup - >ledger-monday.db
  agent backup --check ledger-monday.db`,
		Args: arguments("the file to write, or - for standard output", 1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, said := agentclient.Socket(data), tell(cmd.ErrOrStderr())
			if args[0] == "-" && !check {
				return c.Backup(cmd.Context(), cmd.OutOrStdout(), said)
			}
			var info ledger.Info
			var err error
			if check {
				info, err = ledger.Inspect(cmd.Context(), args[0])
			} else {
				info, err = backupTo(cmd.Context(), c, args[0], said)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s holds the ledger %s (schema %d, %d SKUs) and is whole.\n", args[0], info.ID, info.Schema, info.Pools)
			return nil
		},
	}
	dataFlag(cmd, &data)
	cmd.Flags().BoolVar(&check, "check", false, "take none: tell whether the backup in FILE is whole, and what it holds")
	return cmd
}

// tell says now and then how much of a backup was received.
func tell(w io.Writer) func(done, total int64) {
	last := time.Now()
	return func(done, total int64) {
		if now := time.Now(); now.Sub(last) >= tellEvery {
			last = now
			fmt.Fprintf(w, "%d of %d MiB\n", done>>20, total>>20)
		}
	}
}

// backupTo makes a file that is a whole backup or not there.
func backupTo(ctx context.Context, c *agentclient.Client, file string, said func(done, total int64)) (info ledger.Info, err error) {
	if _, err := os.Lstat(file); err == nil {
		return info, fmt.Errorf("%s exists already: name a new file", file)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return info, err
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*") // readable by its owner alone
	if err != nil {
		return info, err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	err = c.Backup(ctx, f, said)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return info, err
	}
	if info, err = ledger.Inspect(ctx, f.Name()); err != nil {
		return info, err
	}
	return info, os.Rename(f.Name(), file)
}

func restoreCommand() *cobra.Command {
	var data, idFile string
	var pending, discard bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup in the place of the ledger",
		Long: `Put a backup in the place of the ledger: FILE, or standard input where FILE is -. No agent may run on the data
directory; with --pending one may, and the backup takes the ledger's place when the agent starts the next time.

The backup must be whole, of this ledger (the same id) and not of a newer version. The ledger it replaces is kept
beside it, under a name with the date, until 'agent restore --discard-replaced' removes it. What was killed in
between leaves the old ledger or the new one.

A backup is older than the stores. So all it knows of stores is found again, as after a lost ledger: the master
sets every shared stock, each child follows, and conflicts name the SKUs with orders so new that some store may
not have heard of them. SKUs, history, conflicts and runs are those of the backup.`,
		Example: `  agent restore ledger-monday.db --data ./data
  kubectl exec -i emea-agent-0 -- /agent restore --pending - <ledger-monday.db && kubectl delete pod emea-agent-0`,
		Args: func(_ *cobra.Command, args []string) error {
			if (len(args) == 1) == discard || len(args) > 1 || discard && (pending || idFile != "") {
				return errors.New("must be given the backup, or - for standard input; or --discard-replaced alone")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if discard {
				return discardReplaced(cmd.OutOrStdout(), data)
			}
			from := cmd.InOrStdin()
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer func() { _ = f.Close() }()
				from = f
			}
			given := ""
			if idFile != "" {
				text, err := os.ReadFile(idFile)
				if err != nil {
					return fmt.Errorf("read the ledger's id (--ledger-id-file): %w", err)
				}
				given = strings.TrimSpace(string(text))
			}
			done, err := agent.Restore(cmd.Context(), from, data, given, pending, time.Now())
			if err != nil {
				return err
			}
			tellRestored(cmd.OutOrStdout(), done, pending)
			return nil
		},
	}
	dataFlag(cmd, &data)
	cmd.Flags().StringVar(&idFile, "ledger-id-file", "", "`file` with the id the backup must have; otherwise that of the ledger in place")
	cmd.Flags().BoolVar(&pending, "pending", false, "only make it ready: the agent puts it in place when it starts")
	cmd.Flags().BoolVar(&discard, "discard-replaced", false, "remove the ledgers that restores have replaced, and restore nothing")
	return cmd
}

func tellRestored(out io.Writer, done agent.Restored, pending bool) {
	until := "with an empty history"
	if !done.Info.Last.IsZero() {
		until = "up to " + done.Info.Last.Format(time.RFC3339)
	}
	next := "It is in place. Start the agent."
	if pending {
		next = "It takes the ledger's place when the agent starts the next time: restart it now. What the agent still writes is in the replaced ledger only."
	}
	fmt.Fprintf(out, "The backup holds the ledger %s (schema %d, %d SKUs), %s.\n%s\n", done.Info.ID, done.Info.Schema, done.Info.Pools, until, next)
	fmt.Fprintf(out, "A ledger that was there is kept as %s.\n", done.Replaced)
	fmt.Fprintln(out, "The stores are newer than the backup: the master sets every shared stock anew. Look at `agent conflicts list` afterwards.")
}

func discardReplaced(out io.Writer, data string) error {
	gone, err := ledger.Discard(filepath.Join(data, agent.LedgerName))
	for _, name := range gone {
		fmt.Fprintf(out, "%s is removed.\n", name)
	}
	if err == nil && len(gone) == 0 {
		fmt.Fprintln(out, "There is no replaced ledger.")
	}
	return err
}

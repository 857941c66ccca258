package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"stocksync.dev/stocksync/internal/ledger"
)

// Restored says what [Restore] did.
type Restored struct {
	// Info is of the backup.
	Info ledger.Info
	// Replaced is where the ledger is kept, or will be, that gives way to it.
	Replaced string
}

// Restore puts a backup in the place of the ledger of a data directory; pending leaves that to the next start of
// the agent, which may run meanwhile. given is the id the backup must have; empty: that of the ledger in place.
// Errors: those of [ledger.Stage], and [ledger.ErrInUse] while an agent runs and it is not pending.
func Restore(ctx context.Context, backup io.Reader, dataDir, given string, pending bool, now time.Time) (Restored, error) {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return Restored{}, fmt.Errorf("make the data directory (--data): %w", err)
	}
	path := filepath.Join(dataDir, LedgerName)
	put := func() error {
		l, err := ledger.Open(ctx, path, ledger.Options{})
		if err != nil {
			return err
		}
		return l.Close()
	}
	if !pending {
		if err := ledger.Unused(path); errors.Is(err, ledger.ErrInUse) {
			return Restored{}, fmt.Errorf("an agent runs on %s: stop it first, or add --pending and restart it then: %w", dataDir, err)
		} else if err != nil {
			return Restored{}, err
		}
	}
	info, err := ledger.Stage(ctx, backup, path, given, now)
	if err == nil && !pending {
		err = put()
	}
	return Restored{Info: info, Replaced: ledger.Replaced(path, now)}, err
}

package agent

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/agentclient"
	"stocksync.dev/stocksync/internal/ledger"
)

// A backup is taken of the running agent, made ready while it runs, and in place after its next start; without
// --pending it waits for the agent to end.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	// The agent of before was killed while it made a copy.
	if err := os.WriteFile(filepath.Join(dir, backupName), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := startAgent(t, benchOptions{clock: SystemClock{}, dial: (&dialer{}).dial, dir: dir}, stubDocs("")...)
	if _, err := os.Stat(filepath.Join(dir, backupName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a copy was left: %v", err)
	}
	id := b.agent.LedgerID()
	var copied bytes.Buffer
	seen, total := int64(0), int64(0)
	if err := b.client.Backup(t.Context(), &copied, func(done, of int64) { seen, total = done, of }); err != nil {
		t.Fatal(err)
	}
	if seen != total || seen != int64(copied.Len()) || seen == 0 {
		t.Errorf("told %d of %d bytes, and got %d", seen, total, copied.Len())
	}
	if left, err := os.ReadDir(dir); err != nil || strings.Contains(names(left), "backup") {
		t.Errorf("left in the data directory: %s %v", names(left), err)
	}
	if _, err := Restore(t.Context(), bytes.NewReader(copied.Bytes()), dir, "", false, time.Now()); !errors.Is(err, ledger.ErrInUse) || !strings.Contains(err.Error(), "--pending") {
		t.Errorf("beside a running agent: %v", err)
	}
	done, err := Restore(t.Context(), bytes.NewReader(copied.Bytes()), dir, "", true, time.Now())
	if err != nil || done.Info.ID != id {
		t.Fatalf("restored %+v: %v", done, err)
	}
	if err := b.client.Backup(t.Context(), failingWriter{}, nil); !errors.Is(err, errNoRoom) {
		t.Errorf("a backup to a full disk ends with %v", err)
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(done.Replaced); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was replaced too early: %v", err)
	}
	b = startAgent(t, benchOptions{clock: SystemClock{}, dial: (&dialer{}).dial, dir: dir}, stubDocs("")...)
	if b.agent.LedgerID() != id {
		t.Errorf("the id became %s", b.agent.LedgerID())
	}
	lines, err := b.client.Events(t.Context(), agentclient.EventsQuery{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	restored := false
	for _, l := range lines {
		restored = restored || l.Kind == "LedgerRestored"
	}
	if _, err := os.Stat(done.Replaced); err != nil || !restored {
		t.Errorf("the backup did not take the ledger's place: %v %v", lines, err)
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), bytes.NewReader(copied.Bytes()), dir, "", false, time.Now()); err != nil {
		t.Errorf("without an agent: %v", err)
	}
}

func names(entries []os.DirEntry) string {
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

var errNoRoom = errors.New("no room")

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errNoRoom }

// A ledger in memory, and an agent that is too old, say so.
func TestBackupRefused(t *testing.T) {
	t.Parallel()
	b := startAgent(t, benchOptions{clock: SystemClock{}, dial: (&dialer{}).dial, ledger: ledger.NewMemory()}, stubDocs("")...)
	var told *agentclient.Error
	if err := b.client.Backup(t.Context(), io.Discard, nil); !errors.As(err, &told) || told.Status != http.StatusNotImplemented {
		t.Errorf("of a ledger in memory: %v", err)
	}
}

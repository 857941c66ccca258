package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/event"
	"stocksync.dev/stocksync/internal/stock"
)

// ErrNoBackup says that a file is not a whole ledger.
var ErrNoBackup = errors.New("this is not a whole backup of a ledger: use another one")

// Backup writes a consistent copy of the ledger as it is at this moment to a file, which is made or replaced and
// readable by the owner alone; it has a ledger's application id, schema and id. Work goes on meanwhile. The copy is
// checked. When Backup fails or ctx ends, the file is removed.
func (s *SQLite) Backup(ctx context.Context, path string) (err error) {
	if err := s.usable(ctx); err != nil {
		return err
	}
	if err := removeFile(path); err != nil {
		return err
	}
	if err := private(path); err != nil {
		return full(err)
	}
	defer func() {
		if err != nil {
			_ = removeFile(path)
			err = fmt.Errorf("copy the ledger: %w", err)
		}
	}()
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return explain(err)
	}
	_, err = conn.ExecContext(ctx, `VACUUM INTO ?`, path)
	if err = errors.Join(explain(err), conn.Close()); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	_, err = Inspect(ctx, path)
	return err
}

// Info is what a ledger's file says of itself.
type Info struct {
	// ID is the ledger's; Schema how many migrations the file has had; Pools how many SKUs it knows.
	ID            string
	Schema, Pools int
	// Last is when the newest line of its history was written; zero if there is none.
	Last time.Time
}

// Inspect looks at a ledger's file without changing it, and at every page of it. Errors: [ErrNoBackup] and
// [ErrNewerSchema].
func Inspect(ctx context.Context, path string) (Info, error) {
	info, err := inspect(ctx, path, true)
	if err != nil {
		return Info{}, fmt.Errorf("look at %s: %w", path, err)
	}
	return info, nil
}

// inspect reads what a file says of itself; whole reads every page too.
func inspect(ctx context.Context, path string, whole bool) (info Info, err error) {
	if stat, err := os.Stat(path); err != nil {
		return info, err
	} else if !stat.Mode().IsRegular() {
		return info, fmt.Errorf("%w (it is not a regular file)", ErrNoBackup)
	}
	if path, err = filepath.Abs(path); err != nil {
		return info, err
	}
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{
		"mode": {"ro"}, "_dqs": {"0"}, "_pragma": {"busy_timeout(10000)", "query_only(1)"},
	}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var application int
	ask := func(to any, text string) {
		if err == nil {
			err = db.QueryRowContext(ctx, text).Scan(to)
		}
	}
	ask(&application, `PRAGMA application_id`)
	ask(&info.Schema, `PRAGMA user_version`)
	switch {
	case ctx.Err() != nil:
		return info, context.Cause(ctx)
	case err != nil:
		return info, fmt.Errorf("%w (%w)", ErrNoBackup, err)
	case application != applicationID || info.Schema == 0:
		return info, ErrNoBackup
	case info.Schema > len(migrations):
		return info, fmt.Errorf("%w (schema %d; this one knows up to %d)", ErrNewerSchema, info.Schema, len(migrations))
	}
	sound := "ok"
	if whole {
		ask(&sound, `PRAGMA integrity_check(1)`)
	}
	var last int64
	ask(&info.ID, `SELECT id FROM ledger`)
	ask(&info.Pools, `SELECT coalesce(max(id), 0) FROM pools`)
	ask(&last, `SELECT coalesce((SELECT at FROM history ORDER BY id DESC LIMIT 1), 0)`)
	switch {
	case ctx.Err() != nil:
		return info, context.Cause(ctx)
	case err != nil:
		return info, fmt.Errorf("%w (%w)", ErrNoBackup, err)
	case sound != "ok":
		return info, fmt.Errorf("%w (it is damaged: %s)", ErrNoBackup, sound)
	case info.ID != "" && !idForm.MatchString(info.ID):
		return info, fmt.Errorf("%w (its id is not a ledger's)", ErrNoBackup)
	}
	if last != 0 {
		info.Last = moment(last)
	}
	return info, nil
}

// The files of a restore, beside the ledger's.
const (
	// incoming is the copy while it is written and made ready; left over, it means nothing.
	incoming = ".incoming"
	// staged is one that is ready: the next Open puts it in the ledger's place.
	staged = ".restore"
)

// Stage makes a backup ready to take the place of the ledger in a file, which the next [Open] does, at once and
// whole: whatever is killed when, there is the old ledger or the new one. given is the ledger's own id; without it
// the backup must have the one of the ledger in place, if there is one. The ledger may be in use meanwhile.
//
// A ledger put back is older than the stores: what they sold and what was written to them since is not in it. So
// all it knows of stores is forgotten and found again as after a lost ledger, and it keeps the SKUs, their history,
// conflicts and runs. Errors: [ErrNoBackup], [ErrNewerSchema], [ErrDiskFull].
func Stage(ctx context.Context, backup io.Reader, path, given string, now time.Time) (Info, error) {
	info, err := stage(ctx, backup, path, given, now)
	if err != nil {
		return Info{}, fmt.Errorf("restore the ledger %s: %w", path, err)
	}
	return info, nil
}

func stage(ctx context.Context, backup io.Reader, path, given string, now time.Time) (info Info, err error) {
	if given, err = expected(ctx, path, given); err != nil {
		return info, err
	}
	held, err := lock(path + incoming + ".lock")
	if err != nil {
		if errors.Is(err, ErrInUse) {
			err = errors.New("another restore is under way: wait for it")
		}
		return info, err
	}
	defer func() { _ = unlock(held) }()
	// The ledger that is opened below takes a lock of its own, by another name.
	copied := path + incoming + ".db"
	clean := func() error {
		return errors.Join(removeFile(copied), removeFile(copied+"-wal"), removeFile(copied+"-shm"), removeFile(copied+"-journal"), removeFile(copied+".lock"), removeFile(copied+staged))
	}
	if err := clean(); err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, clean()) }()
	if err := take(ctx, backup, copied); err != nil {
		return info, full(err)
	}
	if info, err = inspect(ctx, copied, true); err != nil {
		return info, err
	}
	if given != "" && info.ID != given {
		return info, fmt.Errorf("the backup is of the ledger %s, and this one has the id %s: the markers in the stores would be a stranger's; "+
			"use a backup of this ledger", info.ID, given)
	}
	if err := forgetStores(ctx, copied, info, now); err != nil {
		return info, err
	}
	if err := syncFile(copied); err != nil {
		return info, full(err)
	}
	// The time of this file names the ledger it replaces.
	if err := os.Chtimes(copied, now, now); err != nil {
		return info, err
	}
	if err := os.Rename(copied, path+staged); err != nil {
		return info, err
	}
	return info, syncDir(path)
}

// expected is the id a backup must have; empty when it may have any.
func expected(ctx context.Context, path, given string) (string, error) {
	if given != "" {
		return chooseID("", given)
	}
	info, err := inspect(ctx, path, false)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("the ledger in place cannot be read, so its id is not known (give it, or move that file away): %w", err)
	}
	return info.ID, nil
}

// take copies what is read to a new file.
func take(ctx context.Context, from io.Reader, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	// A terminal or a pipe that says nothing more cannot be interrupted, and must not keep a person waiting.
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(f, from)
		copied <- err
	}()
	select {
	case err = <-copied:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return errors.Join(err, f.Close())
}

// forgottenAttempts is by how much the numbers of attempts go up: more than were used since any backup, also those
// whose markers nobody has seen yet.
const forgottenAttempts = 1 << 30

// forgetStores brings a copy's schema up to date and leaves in it what holds whatever the stores did since.
func forgetStores(ctx context.Context, path string, was Info, now time.Time) (err error) {
	s, err := open(ctx, path, Options{Readers: 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	stay, set := engine.RestoredValues(now)
	return s.update(ctx, func(tx *sqliteTx) error {
		names := make([]any, len(stay))
		for i, name := range stay {
			names[i] = name
		}
		err := errors.Join(
			tx.s.exec(`DELETE FROM placements`),
			tx.s.exec(`DELETE FROM lines`),
			tx.s.exec(`DELETE FROM imports`),
			tx.s.exec(`UPDATE items SET supplies = '', owed = ''`),
			tx.s.exec(`DELETE FROM store_values WHERE name NOT IN (?`+strings.Repeat(`, ?`, len(names)-1)+`)`, names...),
			tx.s.exec(`UPDATE pools SET is_set = 0, edits = '', registers = ''`),
			tx.s.exec(`UPDATE ledger SET attempt = attempt + ?`, forgottenAttempts))
		for name, value := range set {
			err = errors.Join(err, tx.SetValue("", name, value))
		}
		upTo := "without history"
		if !was.Last.IsZero() {
			upTo = "up to " + was.Last.Format(time.RFC3339)
		}
		return errors.Join(err, tx.Append(stock.Entry{Kind: event.LedgerRestored, At: now,
			Evidence: "the ledger was put back from a backup (" + upTo + "); every shared stock is taken from the master again"}))
	})
}

// adopt puts a staged ledger in the place of the one in the file, which it keeps beside it under a name with the
// date. It is done again after any interruption; only with the ledger's lock held.
func adopt(path string) error {
	next, err := os.Stat(path + staged)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	// The old write-ahead log goes with its ledger: beside another it would be played into that.
	old := Replaced(path, next.ModTime())
	for _, part := range []string{"", "-wal"} {
		if err := os.Rename(path+part, old+part); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := removeFile(path + "-shm"); err != nil {
		return err
	}
	if err := syncDir(path); err != nil {
		return err
	}
	if err := os.Rename(path+staged, path); err != nil {
		return err
	}
	return syncDir(path)
}

// replaced begins the end of the name of a ledger that gave way to a backup.
const replaced = ".replaced-"

// Discard removes the ledgers that gave way to backups, and returns their names. The ledger may be in use.
func Discard(path string) (gone []string, err error) {
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), filepath.Base(path)+replaced) {
			continue
		}
		if err := removeFile(filepath.Join(dir, e.Name())); err != nil {
			return gone, err
		}
		gone = append(gone, e.Name())
	}
	return gone, nil
}

// Replaced is the name under which a ledger is kept that gave way to a backup staged at a time.
func Replaced(path string, at time.Time) string {
	return path + replaced + at.UTC().Format("20060102T150405.000Z")
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncDir makes the names in the directory of a file durable.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// full tells a full disk from other errors of the file system.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w (%w)", ErrDiskFull, err)
	}
	return err
}

// Unused tells whether nobody has the ledger in a file open: [ErrInUse] otherwise.
func Unused(path string) error {
	f, err := lock(path + ".lock")
	if err != nil {
		return err
	}
	return unlock(f)
}

package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/internal/agentapi"
)

const (
	// settle is how long a burst of file events is waited out; pollFiles how often files are looked at without
	// any, for file systems and moments that lose events.
	settle    = 100 * time.Millisecond
	pollFiles = 10 * time.Second
)

// source is a file, or a directory that holds [agentapi.ConfigFile] and [agentapi.RevisionFile].
type source struct{ path string }

// files are the two paths of the source; revision is empty for a file alone.
func (s source) files() (config, revision string) {
	if info, err := os.Stat(s.path); err == nil && info.IsDir() {
		return filepath.Join(s.path, agentapi.ConfigFile), filepath.Join(s.path, agentapi.RevisionFile)
	}
	return s.path, ""
}

// read returns the stream and its revision, both of one state of the directory: the kubelet exchanges all
// files at once, and between two reads.
func (s source) read() (stream []byte, revision string, err error) {
	config, revisionFile := s.files()
	for range 3 {
		before, err := revisionOf(revisionFile)
		if err != nil {
			return nil, "", err
		}
		if stream, err = readFile(config, MaxConfigBytes); err != nil {
			return nil, "", err
		}
		if revision, err = revisionOf(revisionFile); err != nil {
			return nil, "", err
		}
		if before == revision {
			if revision == "" {
				sum := sha256.Sum256(stream)
				revision = hex.EncodeToString(sum[:8])
			}
			return stream, revision, nil
		}
	}
	return nil, "", fmt.Errorf("%s changes faster than it can be read", s.path)
}

func revisionOf(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	text, err := readFile(file, 4096)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

// readFile reads a file that must not be larger than most.
func readFile(path string, most int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err == nil && len(data) > most {
		err = fmt.Errorf("%s must be at most %d bytes", path, most)
	}
	return data, err
}

// watch tells, until ctx is done, that the files of the source may have changed: on events where the system
// has them, and every few seconds in any case.
func (s source) watch(ctx context.Context, log logr.Logger) <-chan struct{} {
	changed := make(chan struct{}, 1)
	var events <-chan fsnotify.Event
	var failures <-chan error
	dir := s.path
	if _, revision := s.files(); revision == "" {
		// Editors and git put a new file in the place of the old one; only the directory sees that.
		dir = filepath.Dir(s.path)
	}
	w, err := fsnotify.NewWatcher()
	if err == nil {
		events, failures = w.Events, w.Errors
		err = w.Add(dir)
	}
	if err != nil {
		log.Info("no file events, the configuration is looked at every few seconds", "path", dir, "interval", pollFiles.String(), "cause", err.Error())
	}
	go func() {
		if w != nil {
			defer func() { _ = w.Close() }()
		}
		notify(ctx, events, failures, changed)
	}()
	return changed
}

// notify passes bursts of events on as one.
func notify(ctx context.Context, events <-chan fsnotify.Event, failures <-chan error, changed chan<- struct{}) {
	poll := time.NewTicker(pollFiles)
	defer poll.Stop()
	var quiet <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			if quiet == nil {
				quiet = time.After(settle)
			}
			continue
		case _, ok := <-failures:
			if !ok {
				failures = nil
			}
			continue
		case <-quiet:
			quiet = nil
		case <-poll.C:
		}
		select {
		case changed <- struct{}{}:
		default:
		}
	}
}

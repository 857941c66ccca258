// Package proc starts programs that outlive the command that started them, and later stops exactly those.
package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Set is the programs of one cluster. Each has a record <RunDir>/<name>.pid and a log <LogDir>/<name>.log.
type Set struct {
	RunDir, LogDir string
}

// identity tells a process from a later one with the same pid: the kernel's start time goes with it.
type identity struct {
	pid   int
	start string
}

// Start runs the program in a session of its own and records it. The log starts anew.
func (s Set) Start(name, path string, args, env []string) error {
	log, err := os.Create(filepath.Join(s.LogDir, name+".log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the program has its own copy
	cmd := exec.Command(path, args...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	start, _, err := stat(cmd.Process.Pid)
	if err != nil {
		return errors.Join(fmt.Errorf("starting %s: %w", name, err), cmd.Process.Kill())
	}
	record := fmt.Sprintf("%d %s\n", cmd.Process.Pid, start)
	if err := os.WriteFile(s.record(name), []byte(record), 0o644); err != nil {
		return errors.Join(err, cmd.Process.Kill())
	}
	// Reap it if it dies while this command still runs; afterwards init does.
	go func() { _ = cmd.Wait() }()
	return nil
}

// Alive reports whether the recorded process still runs.
func (s Set) Alive(name string) bool {
	id, err := s.read(name)
	return err == nil && id.alive()
}

// Stop asks the named programs to end, all at once, kills what is left after grace, and forgets them. Programs that were never
// started are no error.
func (s Set) Stop(ctx context.Context, grace time.Duration, names ...string) error {
	ids := make(map[string]identity)
	for _, n := range names {
		id, err := s.read(n)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		ids[n] = id
		id.signal(syscall.SIGTERM)
	}
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	for n, id := range ids {
		if !id.waitGone(ctx) {
			id.signal(syscall.SIGKILL)
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			gone := id.waitGone(last)
			cancel()
			if !gone {
				return fmt.Errorf("%s (pid %d) does not end", n, id.pid)
			}
		}
		if err := os.Remove(s.record(n)); err != nil {
			return err
		}
	}
	return nil
}

// Tail is the end of a program's log, for error messages.
func (s Set) Tail(name string, lines int) string {
	b, err := os.ReadFile(filepath.Join(s.LogDir, name+".log"))
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func (s Set) record(name string) string { return filepath.Join(s.RunDir, name+".pid") }

func (s Set) read(name string) (identity, error) {
	b, err := os.ReadFile(s.record(name))
	if err != nil {
		return identity{}, err
	}
	fields := strings.Fields(string(b))
	if len(fields) != 2 {
		return identity{}, fmt.Errorf("%s: must hold a pid and a start time; remove it if that process is gone", s.record(name))
	}
	pid, err := strconv.Atoi(fields[0])
	if err != nil || pid <= 1 {
		return identity{}, fmt.Errorf("%s: %q is no pid; remove the file if that process is gone", s.record(name), fields[0])
	}
	return identity{pid: pid, start: fields[1]}, nil
}

func (id identity) alive() bool {
	start, state, err := stat(id.pid)
	return err == nil && start == id.start && state != "Z" && state != "X"
}

func (id identity) signal(sig syscall.Signal) {
	if id.alive() {
		_ = syscall.Kill(id.pid, sig) // gone in between is as good as stopped
	}
}

func (id identity) waitGone(ctx context.Context) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for id.alive() {
		select {
		case <-ctx.Done():
			return !id.alive()
		case <-tick.C:
		}
	}
	return true
}

// stat reads a process's start time (in ticks since boot) and state.
func stat(pid int) (start, state string, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", "", err
	}
	// The second field is the program's name in brackets and may hold anything, so count from the last bracket.
	text := string(b)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return "", "", fmt.Errorf("/proc/%d/stat: too short", pid)
	}
	return fields[19], fields[0], nil
}

package proc_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/hack/cluster/internal/proc"
)

func TestStopEndsWhatStartStarted(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"obedient": "sleep 600",
		"stubborn": "trap '' TERM; while :; do sleep 600; done",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := proc.Set{RunDir: t.TempDir(), LogDir: t.TempDir()}
			if err := s.Start("p", "/bin/sh", []string{"-c", "echo started $GREETING; " + script}, []string{"GREETING=hello"}); err != nil {
				t.Fatal(err)
			}
			if !s.Alive("p") {
				t.Fatal("not alive after Start")
			}
			if err := s.Stop(t.Context(), 200*time.Millisecond, "p", "never-started"); err != nil {
				t.Fatal(err)
			}
			if s.Alive("p") {
				t.Error("alive after Stop")
			}
			if left, _ := filepath.Glob(filepath.Join(s.RunDir, "*")); len(left) > 0 {
				t.Errorf("records left: %v", left)
			}
		})
	}
}

// A record may outlive its process, and the pid may be given to someone else's.
func TestStopSparesAnotherProcessWithTheSamePid(t *testing.T) {
	t.Parallel()
	other := exec.CommandContext(t.Context(), "sleep", "600")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	s := proc.Set{RunDir: t.TempDir(), LogDir: t.TempDir()}
	record := strconv.Itoa(other.Process.Pid) + " 1\n"
	if err := os.WriteFile(filepath.Join(s.RunDir, "p.pid"), []byte(record), 0o600); err != nil {
		t.Fatal(err)
	}
	if s.Alive("p") {
		t.Error("another process counts as ours")
	}
	if err := s.Stop(t.Context(), time.Second, "p"); err != nil {
		t.Fatal(err)
	}
	if stat, err := os.ReadFile("/proc/" + strconv.Itoa(other.Process.Pid) + "/stat"); err != nil || strings.Contains(string(stat), ") Z ") {
		t.Error("the other process was ended")
	}
}

func TestStopRefusesARecordItCannotRead(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"empty": "", "no start": "123\n", "init": "1 1\n", "words": "a b\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := proc.Set{RunDir: t.TempDir(), LogDir: t.TempDir()}
			if err := os.WriteFile(filepath.Join(s.RunDir, "p.pid"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := s.Stop(t.Context(), time.Second, "p"); err == nil {
				t.Error("accepted")
			}
		})
	}
}

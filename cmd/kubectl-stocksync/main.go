// Command kubectl-stocksync is a kubectl plugin: `kubectl stocksync` asks and steers the sync agents of a cluster.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"stocksync.dev/stocksync/internal/plugin"
)

// version is set by the linker: -ldflags "-X main.version=1.2.3".
var version string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	command := plugin.NewCommand(plugin.Options{Version: buildVersion(), Now: time.Now})
	command.SetArgs(arguments(os.Args))
	code := exitCode(command.ExecuteContext(ctx), os.Stderr)
	stop()
	os.Exit(code)
}

// completionName is what kubectl looks for in PATH to complete the words after `kubectl stocksync`: a link of this
// name to the plugin is enough.
const completionName = "kubectl_complete-stocksync"

func arguments(args []string) []string {
	if strings.TrimSuffix(filepath.Base(args[0]), ".exe") == completionName {
		return append([]string{cobra.ShellCompRequestCmd}, args[1:]...)
	}
	return args[1:]
}

// interrupted is what a shell makes of a program that Ctrl-C ended.
const interrupted = 130

// exitCode tells what went wrong, where that was not told yet. After Ctrl-C there is nothing to tell.
func exitCode(err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	if exit, ok := errors.AsType[plugin.ExitError](err); ok {
		return exit.Code
	}
	if errors.Is(err, context.Canceled) {
		return interrupted
	}
	fmt.Fprintln(stderr, "Error:", err)
	return 1
}

// buildVersion is what the linker was told or, in a build from a checkout, the commit.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return "dev-" + s.Value[:min(len(s.Value), 12)]
			}
		}
	}
	return "dev"
}

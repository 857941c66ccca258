// Command cluster runs a real, closed, one-node Kubernetes on this machine for tests and demos, from programs it
// builds itself. See usage for what it can do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"stocksync.dev/stocksync/hack/cluster/internal/binaries"
)

const usage = `usage: go -C hack/cluster run . COMMAND

  binaries         build the cluster's programs, once, into a folder shared by all checkouts
  envtest-assets   build what the API server tests need and print its folder, for KUBEBUILDER_ASSETS
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return flag.ErrHelp
	}
	switch command := args[0]; command {
	case "binaries":
		_, err := build(ctx, binaries.All())
		return err
	case "envtest-assets":
		dir, err := build(ctx, binaries.ForEnvtest)
		if err == nil {
			fmt.Println(dir)
		}
		return err
	default:
		return fmt.Errorf("unknown command %q\n\n%s", command, usage)
	}
}

// build makes the named programs if they are missing; progress goes to stderr, so that stdout stays usable.
func build(ctx context.Context, names []string) (string, error) {
	dir, err := binaries.Dir()
	if err != nil {
		return "", err
	}
	module, err := moduleDir()
	if err != nil {
		return "", err
	}
	return dir, binaries.Build(ctx, module, dir, names, os.Stderr)
}

// moduleDir is the folder of this source file: the command is only ever run from its checkout.
func moduleDir() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return "", errors.New("must be run from its checkout, without -trimpath: go -C hack/cluster run . COMMAND")
	}
	return filepath.Dir(file), nil
}

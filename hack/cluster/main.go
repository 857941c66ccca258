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
	"strings"
	"syscall"

	"stocksync.dev/stocksync/hack/cluster/internal/binaries"
)

const usage = `usage: go -C hack/cluster run . COMMAND

  up               start the cluster; does nothing if it already runs
  down             stop it and remove what it made
  kubeconfig       print the administrator's kubeconfig file
  audit-log        print the file of the API server's audit log, nothing where it cannot be read
  load [TARGET…]   make the images of the Dockerfiles' targets and load them into the cluster; all without TARGET
  operator         install the operator, with the settings of hack/cluster/operator
  stores [katana]  start the demo's simulated shops and the web server in front of them, with keys and certificates;
                   with katana the shops and the account of that demo
  demo             all of it, then two sales at once and what every shop shows; with $DEMO=katana a Katana account
                   and two shops
  topology [katana]  apply the demo's topology
  diagnose         print pods, events, objects and logs
  images DIR       make the images of all targets as archives in DIR
  volumes          make the volumes anew whose claims are gone; up does it too
  kubelet stop|start  cut the node off, with all that runs on it, and let it come back; only where CLUSTER is local
  binaries         build the cluster's programs, once, into a folder shared by all checkouts
  envtest-assets   build what the API server tests need and print its folder, for KUBEBUILDER_ASSETS

Which cluster: $CLUSTER is "local" (one node on this machine, needs root), "kind" (needs kind and a Docker engine)
or "existing" (the one of $KUBECONFIG); without it kind where it can be used, and local elsewhere.
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
	switch args[0] {
	case "binaries":
		_, err := build(ctx, binaries.All())
		return err
	case "envtest-assets":
		dir, err := build(ctx, binaries.ForEnvtest)
		if err == nil {
			fmt.Println(dir)
		}
		return err
	case "images":
		if len(args) != 2 {
			return errors.New("images needs the folder for the archives")
		}
		_, err := makeImages(ctx, nil, args[1])
		return err
	}
	c, err := choose(ctx)
	if err != nil {
		return err
	}
	switch args[0] {
	case "up":
		return c.up(ctx)
	case "down":
		return c.down(ctx)
	case "kubeconfig":
		file, err := c.kubeconfig(ctx)
		if err == nil {
			fmt.Println(file)
		}
		return err
	case "audit-log":
		fmt.Println(c.auditLog())
		return nil
	case "load":
		return load(ctx, c, args[1:])
	case "operator":
		return installOperator(ctx, c)
	case "diagnose":
		return diagnose(ctx, c)
	case "stores":
		sc, err := sceneOf(strings.Join(args[1:], " "))
		if err != nil {
			return err
		}
		return upStores(ctx, c, sc)
	case "demo":
		return runDemo(ctx, c, os.Getenv("DEMO"))
	case "topology":
		sc, err := sceneOf(strings.Join(args[1:], " "))
		if err != nil {
			return err
		}
		return applyTopology(ctx, c, sc)
	case "volumes":
		return c.volumes(ctx)
	case "kubelet":
		return kubelet(ctx, c, strings.Join(args[1:], " "))
	}
	return fmt.Errorf("unknown command %q\n\n%s", args[0], usage)
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

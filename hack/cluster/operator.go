package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// installOperator applies the operator's own manifests, with the settings of hack/cluster/operator, and waits for it.
func installOperator(ctx context.Context, c cluster) error {
	k, err := newKubectl(ctx, c)
	if err != nil {
		return err
	}
	module, err := moduleDir()
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "installing the operator")
	if _, err := k.run(ctx, nil, "apply", "--server-side", "--force-conflicts", "-k", filepath.Join(module, "operator")); err != nil {
		return err
	}
	_, err = k.run(ctx, nil, "rollout", "status", "deployment", "--namespace", "stocksync-system", "--timeout", "120s")
	return err
}

// diagnose prints what one looks at first when something went wrong.
func diagnose(ctx context.Context, c cluster) error {
	k, err := newKubectl(ctx, c)
	if err != nil {
		return err
	}
	var errs []error
	show := func(args ...string) {
		out, err := k.run(ctx, nil, args...)
		fmt.Printf("\n--- kubectl %s\n%s", strings.Join(args, " "), out)
		errs = append(errs, err)
	}
	show("get", "pods,persistentvolumeclaims", "--all-namespaces", "-o", "wide")
	show("get", "persistentvolumes")
	show("get", "events", "--all-namespaces", "--sort-by=.lastTimestamp")
	show("get", "stocksync", "--all-namespaces", "-o", "yaml")
	pods, err := k.run(ctx, nil, "get", "pods", "--all-namespaces", "-o", `jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name}{"\n"}{end}`)
	errs = append(errs, err)
	for line := range strings.Lines(string(pods)) {
		if f := strings.Fields(line); len(f) == 2 {
			show("logs", "--namespace", f[0], f[1], "--all-containers", "--tail=80")
		}
	}
	return errors.Join(errs...)
}

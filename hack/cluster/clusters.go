package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"stocksync.dev/stocksync/hack/cluster/internal/binaries"
	"stocksync.dev/stocksync/hack/cluster/internal/node"
)

// cluster is one of the ways to have a Kubernetes.
type cluster interface {
	up(context.Context) error
	down(context.Context) error
	// kubeconfig is the file of its administrator.
	kubeconfig(context.Context) (string, error)
	// load takes an image archive.
	load(ctx context.Context, archive string) error
	// auditLog is the API server's log of writes, empty where it cannot be read.
	auditLog() string
	// volumes makes released volumes usable again, where the cluster does not do so by itself.
	volumes(context.Context) error
}

// choose follows $CLUSTER, and without it takes kind where kind and a Docker engine answer.
func choose(ctx context.Context) (cluster, error) {
	switch which := os.Getenv("CLUSTER"); which {
	case "local":
		return newLocal()
	case "kind":
		return kind{}, nil
	case "existing":
		return existing{}, nil
	case "":
		if _, err := exec.LookPath("kind"); err == nil && exec.CommandContext(ctx, "docker", "info").Run() == nil {
			return kind{}, nil
		}
		return newLocal()
	default:
		return nil, fmt.Errorf("$CLUSTER is %q: must be local, kind or existing", which)
	}
}

// local is a node of processes on this machine.
type local struct{ *node.Node }

func newLocal() (cluster, error) {
	bin, err := binaries.Dir()
	if err != nil {
		return nil, err
	}
	n := &node.Node{Dir: filepath.Clean(node.DefaultDir()), Bin: bin, Out: os.Stderr}
	n.PauseTar = func(ctx context.Context) (string, error) {
		archives, err := makeImages(ctx, []string{"pause"}, filepath.Join(n.Dir, "images"))
		return strings.Join(archives, ""), err
	}
	return local{n}, nil
}

func (l local) up(ctx context.Context) error {
	unlock, err := l.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := build(ctx, binaries.All()); err != nil {
		return err
	}
	return l.Up(ctx)
}

func (l local) down(ctx context.Context) error {
	unlock, err := l.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	return l.Down(ctx)
}

func (l local) kubeconfig(context.Context) (string, error) {
	if _, err := os.Stat(l.Kubeconfig()); err != nil {
		return "", fmt.Errorf("no cluster is up, run `make cluster-up`: %w", err)
	}
	return l.Kubeconfig(), nil
}

func (l local) load(ctx context.Context, archive string) error { return l.Import(ctx, archive) }

func (l local) auditLog() string { return l.AuditLog() }

func (l local) volumes(ctx context.Context) error { return l.RenewVolumes(ctx) }

// kubelet stops and starts the kubelet of a node that is ours.
func kubelet(ctx context.Context, c cluster, what string) error {
	l, ours := c.(local)
	if !ours {
		return errors.New("kubelet needs a cluster on this machine: CLUSTER=local")
	}
	switch what {
	case "stop":
		return l.StopKubelet(ctx)
	case "start":
		return l.StartKubelet(ctx)
	}
	return fmt.Errorf("kubelet %q: must be stop or start", what)
}

// kind is a cluster in a container of the Docker engine.
type kind struct{}

const kindName = "stocksync"

func (kind) up(ctx context.Context) error {
	names, err := exec.CommandContext(ctx, "kind", "get", "clusters").Output()
	if err != nil {
		return err
	}
	if slices.Contains(strings.Fields(string(names)), kindName) {
		return nil
	}
	return show(ctx, "kind", "create", "cluster", "--name", kindName, "--wait", "120s")
}

func (kind) down(ctx context.Context) error {
	return show(ctx, "kind", "delete", "cluster", "--name", kindName)
}

func (kind) kubeconfig(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	file := filepath.Join(cache, "stocksync", "kind.kubeconfig")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return "", err
	}
	return file, show(ctx, "kind", "export", "kubeconfig", "--name", kindName, "--kubeconfig", file)
}

func (kind) load(ctx context.Context, archive string) error {
	return show(ctx, "kind", "load", "image-archive", archive, "--name", kindName)
}

func (kind) auditLog() string { return "" }

func (kind) volumes(context.Context) error { return nil }

// existing is the cluster of $KUBECONFIG. It is neither started nor stopped here, and gets its images from a registry.
type existing struct{}

func (e existing) up(ctx context.Context) error {
	_, err := e.kubeconfig(ctx)
	return err
}

func (existing) down(context.Context) error { return nil }

func (existing) kubeconfig(context.Context) (string, error) {
	file := os.Getenv("KUBECONFIG")
	if file == "" {
		return "", errors.New("CLUSTER=existing needs KUBECONFIG")
	}
	return file, nil
}

func (existing) load(_ context.Context, archive string) error {
	name := strings.TrimSuffix(filepath.Base(archive), ".tar")
	fmt.Fprintf(os.Stderr, "an existing cluster pulls its images: it must be able to get %s (docker build --target %s)\n", reference(name), name)
	return nil
}

func (existing) auditLog() string { return "" }

func (existing) volumes(context.Context) error { return nil }

func show(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}

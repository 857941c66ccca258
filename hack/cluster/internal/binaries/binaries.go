// Package binaries builds the programs of a Kubernetes cluster from their Go modules, once per version, into a
// cache outside the checkout. Nothing is downloaded but modules, which the Go checksum database vouches for.
package binaries

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
)

// Versions of what is built. KubernetesVersion and EtcdVersion repeat go.mod; Build fails when they part.
const (
	KubernetesVersion = "v1.36.3"
	EtcdVersion       = "v3.6.8"
	CoreDNSVersion    = "v1.15.0"
)

// program is one binary and where it comes from.
type program struct {
	name    string
	pkg     string
	module  string
	version string
	// alone: built by `go install pkg@version` with the module's own requirements, outside our go.mod.
	alone bool
	// about is how long the first build takes on two cores.
	about string
}

func kubernetes(name, about string) program {
	return program{name: name, pkg: "k8s.io/kubernetes/cmd/" + name, module: "k8s.io/kubernetes", version: KubernetesVersion, about: about}
}

// programs in the order they are built: those the API tests need come first.
var programs = []program{
	{name: "etcd", pkg: "go.etcd.io/etcd/server/v3", module: "go.etcd.io/etcd/server/v3", version: EtcdVersion, about: "20 s"},
	kubernetes("kube-apiserver", "4 min"),
	kubernetes("kubectl", "30 s"),
	kubernetes("kube-controller-manager", "40 s"),
	kubernetes("kube-scheduler", "10 s"),
	kubernetes("kubelet", "40 s"),
	kubernetes("kube-proxy", "10 s"),
	{name: "coredns", pkg: "github.com/coredns/coredns", module: "github.com/coredns/coredns", version: CoreDNSVersion, alone: true, about: "150 s"},
}

// ForEnvtest are the programs an API server test needs, under the names KUBEBUILDER_ASSETS must hold.
var ForEnvtest = []string{"etcd", "kube-apiserver", "kubectl"}

// All names every program of a cluster.
func All() []string {
	var names []string
	for _, p := range programs {
		names = append(names, p.name)
	}
	return names
}

// Dir is the folder the programs are built into: $STOCKSYNC_KUBE_BIN, or a folder of the user's cache named
// after the Kubernetes version, so that every checkout shares it.
func Dir() (string, error) {
	if dir := os.Getenv("STOCKSYNC_KUBE_BIN"); dir != "" {
		return filepath.Abs(dir)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder for the cluster's programs, set STOCKSYNC_KUBE_BIN: %w", err)
	}
	return filepath.Join(cache, "stocksync", "kube-"+KubernetesVersion), nil
}

// Build makes those of the named programs in dir that are not there yet in the wanted version, and reports its
// progress to out. moduleDir is the folder of the go.mod that requires them. A build that is interrupted leaves
// nothing half made.
func Build(ctx context.Context, moduleDir, dir string, names []string, out io.Writer) error {
	wanted := make(map[string]bool, len(names))
	for _, n := range names {
		wanted[n] = true
	}
	var missing []program
	for _, p := range programs {
		if wanted[p.name] && !p.present(dir) {
			missing = append(missing, p)
		}
		delete(wanted, p.name)
	}
	for n := range wanted {
		return fmt.Errorf("no program %q: must be one of %s", n, strings.Join(All(), ", "))
	}
	if len(missing) == 0 {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i, p := range missing {
		fmt.Fprintf(out, "building %s %s (%d of %d, about %s the first time on two cores)\n", p.name, p.version, i+1, len(missing), p.about)
		start := time.Now()
		if err := p.build(ctx, moduleDir, dir, out); err != nil {
			return fmt.Errorf("building %s: %w", p.name, err)
		}
		if !p.present(dir) {
			return fmt.Errorf("%s was built, but not as %s %s: the versions in go.mod and in this package must agree", p.name, p.module, p.version)
		}
		fmt.Fprintf(out, "  built %s in %s\n", p.name, time.Since(start).Round(time.Second))
	}
	return nil
}

// present reports whether dir holds the program in the wanted version, by what Go wrote into the file.
func (p program) present(dir string) bool {
	info, err := buildinfo.ReadFile(filepath.Join(dir, p.name))
	if err != nil || info.Path != p.pkg {
		return false
	}
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Path == p.module && m.Version == p.version {
			return true
		}
	}
	return false
}

func (p program) build(ctx context.Context, moduleDir, dir string, out io.Writer) error {
	tmp, err := os.MkdirTemp(dir, ".build-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()

	flags := []string{"-trimpath", "-ldflags", p.ldflags()}
	var cmd *exec.Cmd
	if p.alone {
		cmd = exec.CommandContext(ctx, "go", append(append([]string{"install"}, flags...), p.pkg+"@"+p.version)...)
	} else {
		cmd = exec.CommandContext(ctx, "go", append(append([]string{"build", "-mod=readonly", "-o", filepath.Join(tmp, p.name)}, flags...), p.pkg)...)
	}
	cmd.Dir = moduleDir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOBIN="+tmp)
	cmd.Stdout, cmd.Stderr = out, out

	done := make(chan struct{})
	defer close(done)
	go heartbeat(done, out)
	if err := cmd.Run(); err != nil {
		return err
	}
	return os.Rename(filepath.Join(tmp, p.name), filepath.Join(dir, p.name))
}

func (p program) ldflags() string {
	if p.module != "k8s.io/kubernetes" {
		return "-s -w"
	}
	const pkg = "k8s.io/component-base/version"
	parts := strings.SplitN(strings.TrimPrefix(p.version, "v"), ".", 3)
	return fmt.Sprintf("-s -w -X %[1]s.gitVersion=%[2]s -X %[1]s.gitMajor=%[3]s -X %[1]s.gitMinor=%[4]s -X %[1]s.gitTreeState=clean",
		pkg, p.version, parts[0], parts[1])
}

// heartbeat shows that a long silent build is alive.
func heartbeat(done <-chan struct{}, out io.Writer) {
	start := time.Now()
	tick := time.NewTicker(20 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			fmt.Fprintf(out, "  … %s\n", time.Since(start).Round(time.Second))
		}
	}
}

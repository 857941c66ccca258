// Package node runs a one-node Kubernetes on this machine: control plane, container runtime, kubelet, service proxy
// and DNS, as plain processes with all their state in one folder.
//
// The cluster is closed. Pods have routes to the service addresses, to each other and to the node, and no default
// route; service and pod addresses that are not in use end on this machine; nothing is masqueraded.
package node

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"

	"stocksync.dev/stocksync/hack/cluster/internal/proc"
)

//go:embed files
var files embed.FS

// Addresses and names of the cluster. They are fixed, so a machine holds one such cluster at a time.
const (
	NodeName    = "stocksync-node"
	NodeIP      = "10.213.0.1"
	PodCIDR     = "10.244.0.0/22"
	ServiceCIDR = "10.96.0.0/16"
	apiIP       = "10.96.0.1"
	bridge      = "stocksync0"
	apiPort     = "6443"
	etcdURL     = "https://127.0.0.1:12379"
	etcdPeerURL = "https://127.0.0.1:12380"
	cniNetwork  = "stocksync"
)

// PauseImage holds a pod's namespaces open.
const PauseImage = "stocksync.dev/pause:dev"

// volumes is how many local volumes there are: enough for several topologies, with spares for lost ones.
const volumes = 16

// Node is the cluster of this machine.
type Node struct {
	// Dir holds everything: certificates, data, containers, logs.
	Dir string
	// Bin is the folder of the cluster's programs.
	Bin string
	// Out gets the progress.
	Out io.Writer
	// PauseTar makes the archive of [PauseImage].
	PauseTar func(context.Context) (string, error)
}

// DefaultDir is where a cluster keeps its state: $STOCKSYNC_CLUSTER_DIR or a fixed folder, the same for every checkout.
func DefaultDir() string {
	if dir := os.Getenv("STOCKSYNC_CLUSTER_DIR"); dir != "" {
		return dir
	}
	return "/var/lib/stocksync-cluster"
}

// The programs, in groups that stop together. Whoever watches the API server stops before it: its graceful stop
// waits for watches to end.
var (
	clients = []string{"kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns"}
	server  = []string{"kube-apiserver"}
	stores  = []string{"etcd", "containerd"}
)

func everything() []string {
	return append(append(append([]string{}, clients...), server...), stores...)
}

// Kubeconfig is the file with which a person or a test is the cluster's administrator.
func (n *Node) Kubeconfig() string { return n.path("kubeconfig", "admin.conf") }

// AuditLog is the file the API server writes one JSON event per write to.
func (n *Node) AuditLog() string { return n.path("logs", "audit.log") }

// ContainerdSocket is the address of the cluster's own containerd.
func (n *Node) ContainerdSocket() string { return n.path("containerd", "containerd.sock") }

func (n *Node) path(elem ...string) string { return filepath.Join(append([]string{n.Dir}, elem...)...) }

func (n *Node) processes() proc.Set {
	return proc.Set{RunDir: n.path("run"), LogDir: n.path("logs")}
}

// Running reports whether every program of the cluster runs and the API server is ready.
func (n *Node) Running(ctx context.Context) bool {
	for _, name := range everything() {
		if !n.processes().Alive(name) {
			return false
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := n.Kubectl(ctx, nil, "get", "--raw", "/readyz")
	return err == nil
}

// Lock keeps two commands from changing the cluster at once, until the returned function is called.
func (n *Node) Lock() (unlock func(), err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("a cluster on this machine needs root (namespaces, mounts, routes): run as root, or set KUBECONFIG and CLUSTER=existing to use another cluster")
	}
	if err := os.MkdirAll(n.Dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Clean(n.Dir)+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// Kubectl runs kubectl as administrator and returns what it printed.
func (n *Node) Kubectl(ctx context.Context, stdin []byte, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(n.Bin, "kubectl"), append([]string{"--kubeconfig", n.Kubeconfig()}, args...)...)
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	}
	return output(cmd)
}

// Import loads an image archive into the cluster's container runtime.
func (n *Node) Import(ctx context.Context, archive string) error {
	_, err := n.ctr(ctx, "images", "import", archive)
	return err
}

func (n *Node) ctr(ctx context.Context, args ...string) (string, error) {
	return run(ctx, "ctr", append([]string{"--address", n.ContainerdSocket(), "--namespace", "k8s.io"}, args...)...)
}

// render fills in one of the embedded files.
func (n *Node) render(name string) ([]byte, error) {
	text, err := files.ReadFile("files/" + name)
	if err != nil {
		return nil, err
	}
	t, err := template.New(name).Option("missingkey=error").Parse(string(text))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]string{
		"Dir": n.Dir, "ContainerdSocket": n.ContainerdSocket(), "PauseImage": PauseImage, "Network": cniNetwork,
		"NodeName": NodeName, "NodeIP": NodeIP, "PodCIDR": PodCIDR, "ServiceCIDR": ServiceCIDR,
	})
	return b.Bytes(), err
}

func run(ctx context.Context, name string, args ...string) (string, error) {
	return output(exec.CommandContext(ctx, name, args...))
}

// output runs a command; its error carries what the command said.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(stderr.String())
		if said == "" {
			said = strings.TrimSpace(stdout.String())
		}
		return stdout.String(), fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, said)
	}
	return stdout.String(), nil
}

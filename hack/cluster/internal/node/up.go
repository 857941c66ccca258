package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"stocksync.dev/stocksync/hack/cluster/internal/pki"
)

// packages names the Debian package of each file the node needs.
var packages = []struct{ file, name string }{
	{"containerd", "containerd"},
	{"ctr", "containerd"},
	{"runc", "runc"},
	{"/usr/lib/cni/ptp", "containernetworking-plugins"},
	{"nft", "nftables"},
	{"iptables", "iptables"},
	{"conntrack", "conntrack"},
	{"ip", "iproute2"},
}

// Up starts the cluster and returns once it takes work. A cluster that already runs is left alone; what a crashed
// one left behind is removed first.
func (n *Node) Up(ctx context.Context) error {
	if n.Running(ctx) {
		n.say("cluster is already up")
		return n.RenewVolumes(ctx)
	}
	start := time.Now()
	if err := n.Down(ctx); err != nil {
		return fmt.Errorf("removing what an earlier cluster left: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := n.installPackages(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(n.path("logs")); err != nil { // an earlier cluster's, kept until now to be read
		return err
	}
	if err := n.writeFiles(); err != nil {
		return err
	}
	n.say("network")
	if err := n.networkUp(ctx); err != nil {
		return err
	}
	n.say("etcd, containerd, API server")
	if err := n.start(ctx, "etcd", "containerd", "kube-apiserver"); err != nil {
		return err
	}
	archive, err := n.PauseTar(ctx)
	if err != nil {
		return err
	}
	if err := n.wait(ctx, "containerd", func(ctx context.Context) error { return n.Import(ctx, archive) }); err != nil {
		return err
	}
	if err := n.wait(ctx, "the API server", func(ctx context.Context) error {
		_, err := n.Kubectl(ctx, nil, "get", "--raw", "/readyz")
		return err
	}); err != nil {
		return err
	}
	base, err := n.render("base.yaml")
	if err != nil {
		return err
	}
	if _, err := n.Kubectl(ctx, base, "apply", "-f", "-"); err != nil {
		return err
	}
	n.say("controllers, scheduler, kubelet, service proxy, DNS")
	if err := n.start(ctx, clients...); err != nil {
		return err
	}
	if err := n.RenewVolumes(ctx); err != nil {
		return err
	}
	if err := n.waitReady(ctx); err != nil {
		return err
	}
	n.say("ready after %s; kubectl with KUBECONFIG=%s, programs in %s", time.Since(start).Round(time.Second), n.Kubeconfig(), n.Bin)
	return nil
}

func (n *Node) waitReady(ctx context.Context) error {
	for _, c := range []struct {
		what  string
		check func(context.Context) error
	}{
		{"the node", func(ctx context.Context) error {
			_, err := n.Kubectl(ctx, nil, "wait", "--for=condition=Ready", "node/"+NodeName, "--timeout=10s")
			return err
		}},
		{"service accounts", func(ctx context.Context) error {
			_, err := n.Kubectl(ctx, nil, "get", "serviceaccount", "default")
			return err
		}},
		{"service addresses", func(ctx context.Context) error {
			conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", apiIP+":443")
			if err != nil {
				return err
			}
			return conn.Close()
		}},
		{"cluster DNS", func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, NodeIP+":53")
			}}
			_, err := r.LookupHost(ctx, "kubernetes.default.svc.cluster.local.")
			return err
		}},
	} {
		if err := n.wait(ctx, c.what, c.check); err != nil {
			return err
		}
	}
	return nil
}

// wait repeats check until it succeeds. It gives up early when one of the programs has ended, and then shows why.
func (n *Node) wait(ctx context.Context, what string, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		records, _ := filepath.Glob(n.path("run", "*.pid"))
		for _, r := range records {
			if name := strings.TrimSuffix(filepath.Base(r), ".pid"); !n.processes().Alive(name) {
				return fmt.Errorf("%s ended while waiting for %s; the end of its log:\n%s", name, what, n.processes().Tail(name, 15))
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s (logs in %s): %w", what, n.path("logs"), err)
		case <-tick.C:
		}
	}
}

func (n *Node) installPackages(ctx context.Context) error {
	missing := map[string]bool{}
	for _, p := range packages {
		if _, err := exec.LookPath(p.file); err != nil {
			missing[p.name] = true
		}
	}
	if len(missing) == 0 {
		return nil
	}
	var names []string
	for name := range missing {
		names = append(names, name)
	}
	n.say("installing Debian packages: %s", strings.Join(names, " "))
	install := func() error {
		cmd := exec.CommandContext(ctx, "apt-get", append([]string{"install", "--yes", "--no-install-recommends"}, names...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		_, err := output(cmd)
		return err
	}
	if install() == nil {
		return nil
	}
	if _, err := run(ctx, "apt-get", "update"); err != nil {
		return fmt.Errorf("the packages %s are needed and cannot be installed here: %w", strings.Join(names, " "), err)
	}
	return install()
}

// identities are the certificates of the cluster: who each program is to the others.
func identities() map[string]pki.Leaf {
	return map[string]pki.Leaf{
		"etcd": {CommonName: "etcd", Hosts: []string{"127.0.0.1"}},
		"kube-apiserver": {CommonName: "kube-apiserver", Hosts: []string{
			NodeIP, apiIP, "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}},
		"kube-apiserver-kubelet-client": {CommonName: "kube-apiserver-kubelet-client", Organizations: []string{"system:masters"}},
		"kubelet":                       {CommonName: "system:node:" + NodeName, Organizations: []string{"system:nodes"}, Hosts: []string{NodeName, NodeIP}},
		"admin":                         {CommonName: "admin", Organizations: []string{"system:masters"}},
		"kube-controller-manager":       {CommonName: "system:kube-controller-manager"},
		"kube-scheduler":                {CommonName: "system:kube-scheduler"},
		"kube-proxy":                    {CommonName: "system:kube-proxy"},
		"coredns":                       {CommonName: "coredns"},
	}
}

// configured are the identities that get a kubeconfig.
var configured = []string{"admin", "kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns"}

func (n *Node) writeFiles() error {
	for _, dir := range []string{"pki", "kubeconfig", "run", "logs/pods", "etcd", "containerd", "cni/conf", "kubelet", "volumes", "conf"} {
		if err := os.MkdirAll(n.path(dir), 0o700); err != nil {
			return err
		}
	}
	// Containers with other user ids pass through on the way to their volumes and logs.
	for _, dir := range []string{".", "volumes", "kubelet", "logs", "logs/pods", "containerd"} {
		if err := os.Chmod(n.path(dir), 0o711); err != nil {
			return err
		}
	}
	for file, to := range map[string]string{
		"containerd.toml": "conf/containerd.toml", "cni.conflist": "cni/conf/10-stocksync.conflist", "kubelet.yaml": "conf/kubelet.yaml",
		"kube-proxy.yaml": "conf/kube-proxy.yaml", "audit.yaml": "conf/audit.yaml", "Corefile": "conf/Corefile",
	} {
		b, err := n.render(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(n.path(to), b, 0o600); err != nil {
			return err
		}
	}
	// The kubelet adds the cluster's DNS to it; of the machine's own resolver pods learn nothing.
	if err := os.WriteFile(n.path("resolv.conf"), nil, 0o644); err != nil {
		return err
	}
	ca, err := pki.NewAuthority("stocksync-test-cluster")
	if err != nil {
		return err
	}
	if err := os.WriteFile(n.path("pki", "ca.crt"), ca.Cert, 0o644); err != nil {
		return err
	}
	private, public, err := pki.NewKey()
	if err != nil {
		return err
	}
	if err := os.WriteFile(n.path("pki", "service-accounts.key"), private, 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(n.path("pki", "service-accounts.pub"), public, 0o644); err != nil {
		return err
	}
	for name, leaf := range identities() {
		pair, err := ca.Issue(leaf)
		if err != nil {
			return err
		}
		if err := pair.Write(n.path("pki"), name); err != nil {
			return err
		}
	}
	for _, name := range configured {
		if err := os.WriteFile(n.path("kubeconfig", name+".conf"), n.kubeconfig(name), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) kubeconfig(name string) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: stocksync
contexts:
- {name: stocksync, context: {cluster: stocksync, user: %[2]s}}
clusters:
- {name: stocksync, cluster: {server: "https://%[3]s:%[4]s", certificate-authority: %[1]s/ca.crt}}
users:
- {name: %[2]s, user: {client-certificate: %[1]s/%[2]s.crt, client-key: %[1]s/%[2]s.key}}
`, n.path("pki"), name, NodeIP, apiPort)
}

// StartKubelet runs the kubelet again after [Node.StopKubelet].
func (n *Node) StartKubelet(ctx context.Context) error {
	if n.processes().Alive("kubelet") {
		return nil
	}
	return n.start(ctx, "kubelet")
}

// start runs the named programs.
func (n *Node) start(ctx context.Context, names ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(n.Bin, name)
		if name == "containerd" {
			found, err := exec.LookPath(name)
			if err != nil {
				return err
			}
			path = found
		}
		if err := n.processes().Start(name, path, n.args(name), nil); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) args(name string) []string {
	cert := func(name string) string { return n.path("pki", name+".crt") }
	key := func(name string) string { return n.path("pki", name+".key") }
	conf := "--kubeconfig=" + n.path("kubeconfig", name+".conf")
	switch name {
	case "etcd":
		return []string{
			"--name=stocksync", "--data-dir=" + n.path("etcd"), "--log-level=warn",
			"--listen-client-urls=" + etcdURL, "--advertise-client-urls=" + etcdURL,
			"--listen-peer-urls=" + etcdPeerURL, "--initial-advertise-peer-urls=" + etcdPeerURL, "--initial-cluster=stocksync=" + etcdPeerURL,
			"--client-cert-auth", "--trusted-ca-file=" + cert("ca"), "--cert-file=" + cert("etcd"), "--key-file=" + key("etcd"),
			"--peer-client-cert-auth", "--peer-trusted-ca-file=" + cert("ca"), "--peer-cert-file=" + cert("etcd"), "--peer-key-file=" + key("etcd"),
			"--unsafe-no-fsync", // the cluster's own data is not worth waiting for the disk
		}
	case "containerd":
		return []string{"--config", n.path("conf", "containerd.toml")}
	case "kube-apiserver":
		return []string{
			"--bind-address=" + NodeIP, "--advertise-address=" + NodeIP, "--secure-port=" + apiPort,
			"--etcd-servers=" + etcdURL, "--etcd-cafile=" + cert("ca"), "--etcd-certfile=" + cert("etcd"), "--etcd-keyfile=" + key("etcd"),
			"--client-ca-file=" + cert("ca"), "--tls-cert-file=" + cert(name), "--tls-private-key-file=" + key(name),
			"--kubelet-certificate-authority=" + cert("ca"), "--kubelet-preferred-address-types=InternalIP",
			"--kubelet-client-certificate=" + cert("kube-apiserver-kubelet-client"), "--kubelet-client-key=" + key("kube-apiserver-kubelet-client"),
			"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
			"--service-account-key-file=" + n.path("pki", "service-accounts.pub"), "--service-account-signing-key-file=" + key("service-accounts"),
			"--service-cluster-ip-range=" + ServiceCIDR,
			"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
			"--audit-policy-file=" + n.path("conf", "audit.yaml"), "--audit-log-path=" + n.AuditLog(),
			"--profiling=false",
		}
	case "kube-controller-manager":
		return []string{
			conf, "--bind-address=127.0.0.1", "--leader-elect=false", "--use-service-account-credentials", "--profiling=false",
			"--root-ca-file=" + cert("ca"), "--service-account-private-key-file=" + key("service-accounts"),
		}
	case "kube-scheduler":
		return []string{conf, "--bind-address=127.0.0.1", "--leader-elect=false", "--profiling=false"}
	case "kubelet":
		return []string{
			conf, "--config=" + n.path("conf", "kubelet.yaml"), "--root-dir=" + n.path("kubelet"),
			"--hostname-override=" + NodeName, "--node-ip=" + NodeIP,
		}
	case "kube-proxy":
		return []string{"--config=" + n.path("conf", "kube-proxy.yaml")}
	case "coredns":
		return []string{"-conf", n.path("conf", "Corefile")}
	}
	return nil
}

// RenewVolumes makes the local volumes, and makes those anew whose claim is gone: a released one never binds again.
func (n *Node) RenewVolumes(ctx context.Context) error {
	out, err := n.Kubectl(ctx, nil, "get", "persistentvolumes", "-l", "stocksync.dev/local-volume",
		"-o", `jsonpath={range .items[*]}{.metadata.name} {.status.phase}{"\n"}{end}`)
	if err != nil {
		return err
	}
	phases := map[string]string{}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 2 {
			phases[f[0]] = f[1]
		}
	}
	text, err := files.ReadFile("files/volume.yaml")
	if err != nil {
		return err
	}
	manifest := template.Must(template.New("volume.yaml").Parse(string(text)))
	var b bytes.Buffer
	for i := range volumes {
		name := fmt.Sprintf("local-%02d", i)
		switch phases[name] {
		case "":
		case "Released", "Failed":
			if _, err := n.Kubectl(ctx, nil, "delete", "persistentvolume", name, "--timeout=20s"); err != nil {
				return err
			}
		default:
			continue
		}
		path := n.path("volumes", name)
		if err := errors.Join(os.RemoveAll(path), os.MkdirAll(path, 0o755)); err != nil {
			return err
		}
		if err := manifest.Execute(&b, map[string]string{"Name": name, "Path": path, "Node": NodeName}); err != nil {
			return err
		}
	}
	if b.Len() == 0 {
		return nil
	}
	_, err = n.Kubectl(ctx, b.Bytes(), "create", "-f", "-")
	return err
}

func (n *Node) say(format string, args ...any) {
	fmt.Fprintf(n.Out, "cluster: "+format+"\n", args...)
}

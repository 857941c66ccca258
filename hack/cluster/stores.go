package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"stocksync.dev/stocksync/hack/cluster/internal/pki"
)

//go:embed demo/*.yaml
var demo embed.FS

// store is one of the demo's simulated shops.
type store struct {
	ID, Name, Host string
	Products       int
	// Factor multiplies the quantities the store starts with, so that the stores differ before the first sync.
	Factor string
	// Slow makes the store take the time a small server takes, with the races that come of it.
	Slow bool
	// The REST key and the token of the simulator's own controls; made once, then kept in the cluster.
	ConsumerKey, ConsumerSecret, AdminToken string
}

// scene is what one demo shows.
type scene struct {
	stores []store
	// account: there is an account of Katana, too. topology is the file of the demo's objects.
	account  bool
	topology string
}

// sceneOf is the demo of a name: the plain one, or "katana".
func sceneOf(name string) (scene, error) {
	switch name {
	case "":
		// A head office with the whole range, and two shops that sell it too.
		return scene{topology: "demo/topology.yaml", stores: at(300,
			store{ID: "hq", Name: "Head office", Factor: "1"},
			store{ID: "fr", Name: "Boutique FR", Factor: "0.5", Slow: true},
			store{ID: "de", Name: "Laden DE", Factor: "2", Slow: true})}, nil
	case "katana":
		return scene{topology: "demo/topology-katana.yaml", account: true, stores: at(katanaProducts,
			store{ID: "oslo", Name: "Butikk Oslo", Factor: "0.5"},
			store{ID: "turin", Name: "Negozio Torino", Factor: "2"})}, nil
	}
	return scene{}, fmt.Errorf("there is no demo %q: leave it out, or name katana", name)
}

// hosts are the names of all that is behind the front.
func hosts() []string {
	var out []string
	for _, name := range []string{"hq", "fr", "de", "oslo", "turin", "katana"} {
		out = append(out, name+domain)
	}
	return out
}

const domain = ".stores.svc.cluster.local"

func at(products int, all ...store) []store {
	for i := range all {
		all[i].Host, all[i].Products = all[i].ID+domain, products
	}
	return all
}

// kubectl runs kubectl against a cluster.
type kubectl struct{ program, config string }

func newKubectl(ctx context.Context, c cluster) (kubectl, error) {
	bin, err := build(ctx, []string{"kubectl"})
	if err != nil {
		return kubectl{}, err
	}
	config, err := c.kubeconfig(ctx)
	return kubectl{filepath.Join(bin, "kubectl"), config}, err
}

func (k kubectl) run(ctx context.Context, stdin []byte, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, k.program, append([]string{"--kubeconfig", k.config}, args...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// apply sends YAML to the API server.
func (k kubectl) apply(ctx context.Context, yaml []byte) error {
	_, err := k.run(ctx, yaml, "apply", "--server-side", "--force-conflicts", "--field-manager=stocksync-demo", "-f", "-")
	return err
}

// secret reads a Secret's data, nil when there is no such Secret.
func (k kubectl) secret(ctx context.Context, namespace, name string) (map[string][]byte, error) {
	out, err := k.run(ctx, nil, "get", "secret", name, "--namespace", namespace, "--ignore-not-found", "-o", "json")
	if err != nil || len(out) == 0 {
		return nil, err
	}
	var s struct{ Data map[string][]byte }
	return s.Data, json.Unmarshal(out, &s)
}

// upStores starts what a demo needs and the web server in front of it, and waits until all of it answers. Keys and
// certificates that are already in the cluster stay.
func upStores(ctx context.Context, c cluster, sc scene) error {
	k, err := newKubectl(ctx, c)
	if err != nil {
		return err
	}
	namespaces, err := demo.ReadFile("demo/namespaces.yaml")
	if err != nil {
		return err
	}
	if err := k.apply(ctx, namespaces); err != nil {
		return err
	}
	if err := applyCertificates(ctx, k); err != nil {
		return err
	}
	manifest, err := template.ParseFS(demo, "demo/store.yaml")
	if err != nil {
		return err
	}
	objects, err := demo.ReadFile("demo/front.yaml")
	if err != nil {
		return err
	}
	all := bytes.NewBuffer(objects)
	wait := []string{"front"}
	if sc.account {
		a, err := newAccount(ctx, k)
		if err != nil {
			return err
		}
		all.WriteString("---\n")
		if err := a.manifest(all); err != nil {
			return err
		}
		wait = append(wait, "katana-account")
	}
	for _, s := range sc.stores {
		wait = append(wait, s.ID+"-store")
		if err := s.fillKeys(ctx, k); err != nil {
			return err
		}
		all.WriteString("---\n")
		if err := manifest.Execute(all, s); err != nil {
			return err
		}
	}
	if err := k.apply(ctx, all.Bytes()); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "waiting for the stores")
	for _, name := range wait {
		if _, err := k.run(ctx, nil, "rollout", "status", "deployment/"+name, "--namespace", "stores", "--timeout", "120s"); err != nil {
			return err
		}
	}
	return nil
}

// fillKeys takes the store's keys from the cluster, or makes new ones.
func (s *store) fillKeys(ctx context.Context, k kubectl) error {
	data, err := k.secret(ctx, "stores", s.ID+"-keys")
	if err != nil {
		return err
	}
	if data == nil {
		s.ConsumerKey, s.ConsumerSecret, s.AdminToken = "ck_"+random(20), "cs_"+random(20), random(20)
		return nil
	}
	s.ConsumerKey, s.ConsumerSecret, s.AdminToken = string(data["consumerKey"]), string(data["consumerSecret"]), string(data["adminToken"])
	return nil
}

// applyCertificates makes the private authority of the stores: its certificate goes to the topology's namespace, what it
// signed to the front.
func applyCertificates(ctx context.Context, k kubectl) error {
	ca, err := k.secret(ctx, "shops", "stores-ca")
	if err != nil {
		return err
	}
	leaf, err := k.secret(ctx, "stores", "front-tls")
	if err != nil || (ca != nil && names(leaf["tls.crt"], hosts())) {
		return err
	}
	authority, err := pki.NewAuthority("stocksync-demo-stores")
	if err != nil {
		return err
	}
	pair, err := authority.Issue(pki.Leaf{CommonName: "front", Hosts: hosts()})
	if err != nil {
		return err
	}
	encoded := base64.StdEncoding.EncodeToString
	return errors.Join(
		k.apply(ctx, fmt.Appendf(nil, "{apiVersion: v1, kind: Secret, metadata: {name: stores-ca, namespace: shops}, data: {ca.crt: %s}}", encoded(authority.Cert))),
		k.apply(ctx, fmt.Appendf(nil, "{apiVersion: v1, kind: Secret, type: kubernetes.io/tls, metadata: {name: front-tls, namespace: stores}, data: {tls.crt: %s, tls.key: %s}}",
			encoded(pair.Cert), encoded(pair.Key))),
	)
}

// names tells whether a certificate is for all these hosts.
func names(certificate []byte, hosts []string) bool {
	block, _ := pem.Decode(certificate)
	if block == nil {
		return false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	return err == nil && !slices.ContainsFunc(hosts, func(h string) bool { return cert.VerifyHostname(h) != nil })
}

// applyTopology applies a demo's topology.
func applyTopology(ctx context.Context, c cluster, sc scene) error {
	k, err := newKubectl(ctx, c)
	if err != nil {
		return err
	}
	yaml, err := demo.ReadFile(sc.topology)
	if err != nil {
		return err
	}
	return k.apply(ctx, yaml)
}

// random is n random bytes in hexadecimal.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

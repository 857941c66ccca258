package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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

// stores are the demo's shops: a head office with the whole range, and two that sell it too.
func stores() []store {
	all := []store{
		{ID: "hq", Name: "Head office", Factor: "1"},
		{ID: "fr", Name: "Boutique FR", Factor: "0.5", Slow: true},
		{ID: "de", Name: "Laden DE", Factor: "2", Slow: true},
	}
	for i := range all {
		all[i].Host = all[i].ID + ".stores.svc.cluster.local"
		all[i].Products = 300
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

// upStores starts the simulated shops and the web server in front of them, and waits until they answer. Keys and
// certificates that are already in the cluster stay.
func upStores(ctx context.Context, c cluster) error {
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
	for _, s := range stores() {
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
	for _, name := range []string{"front", "hq-store", "fr-store", "de-store"} {
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
	if err != nil || (ca != nil && leaf != nil) {
		return err
	}
	authority, err := pki.NewAuthority("stocksync-demo-stores")
	if err != nil {
		return err
	}
	var hosts []string
	for _, s := range stores() {
		hosts = append(hosts, s.Host)
	}
	pair, err := authority.Issue(pki.Leaf{CommonName: "front", Hosts: hosts})
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

// applyTopology applies the sample topology.
func applyTopology(ctx context.Context, c cluster) error {
	k, err := newKubectl(ctx, c)
	if err != nil {
		return err
	}
	yaml, err := demo.ReadFile("demo/topology.yaml")
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

package main

import (
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func TestFlags(t *testing.T) {
	t.Parallel()
	f, err := parseFlags(strings.Fields("--agent-image=agent:1 --leader-elect --heartbeat-interval=15s --namespace=stocksync-system"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if f.agentImage != "agent:1" || !f.leaderElection || f.heartbeat != 15*time.Second || f.readInterval != 15*time.Second || f.namespace != "stocksync-system" {
		t.Errorf("read %+v", f)
	}
	for arguments, want := range map[string]string{
		"":                          "",
		"--namespaces=":             "",
		"--namespaces=shops":        "shops",
		"--namespaces=shops,outlet": "shops,outlet",
		"--namespaces shops --namespaces outlet,shops": "shops,outlet",
	} {
		if f, err := parseFlags(strings.Fields("--agent-image=x "+arguments), io.Discard); err != nil || f.namespaces.String() != want {
			t.Errorf("%q: namespaces %q, %v; want %q", arguments, f.namespaces, err, want)
		}
	}
	for arguments, want := range map[string]string{
		"--agent-image=x --namespaces=Shops":        `"Shops" is no name of a namespace`,
		"--agent-image=x --namespaces=shops,,a":     `"" is no name of a namespace`,
		"":                                          "--agent-image must be set",
		"--agent-image=x extra":                     `unexpected argument "extra"`,
		"--agent-image=x --agent-dial=magic":        "--agent-dial must be DNS or ServiceIP",
		"--agent-image=x --heartbeat-interval=1ms":  "must be at least 1s",
		"--agent-image=x --agent-read-interval=0s":  "must be at least 1s",
		"--agent-image=x --concurrency=0":           "--concurrency must be at least 1",
		"--agent-image=x --heartbeat-interval=soon": "invalid value",
		"--agent-image=x --log-level=loud":          "invalid value",
		"--agent-image=x --leader-elect --lease=1":  "not defined",
	} {
		if _, err := parseFlags(strings.Fields(arguments), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", arguments, err, want)
		}
	}
	if _, err := parseFlags([]string{"--help"}, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("--help: %v", err)
	}
}

// TestFlagsAreDocumented keeps docs/operator.md complete.
func TestFlagsAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/operator.md")
	if err != nil {
		t.Fatal(err)
	}
	var help strings.Builder
	_, _ = parseFlags([]string{"--help"}, &help)
	for line := range strings.Lines(help.String()) {
		if name, isFlag := strings.CutPrefix(line, "  -"); isFlag {
			name = "`--" + strings.Fields(name)[0] + "`"
			if !strings.Contains(string(page), name) {
				t.Errorf("docs/operator.md does not mention %s", name)
			}
		}
	}
}

func TestDialServiceIP(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	dial := dialServiceIP(fake.NewClientBuilder().WithObjects(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shops", Name: "emea-agent-private"},
		Spec:       corev1.ServiceSpec{ClusterIP: "127.0.0.1"},
	}).Build())
	connection, err := dial(t.Context(), "tcp", "emea-agent-private.shops.svc:"+port)
	if err != nil {
		t.Fatal(err)
	}
	_ = connection.Close()
	if _, err := dial(t.Context(), "tcp", "gone-agent-private.shops.svc:1"); err == nil || !strings.Contains(err.Error(), "looking for the agent's Service") {
		t.Errorf("a missing Service: %v", err)
	}
}

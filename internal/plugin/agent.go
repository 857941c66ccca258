package plugin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/agentclient"
	"stocksync.dev/stocksync/internal/render"
)

// access is what a command wants of the agent: each kind has a Secret and a Role of its own, made by the operator.
type access struct{ what, secretSuffix, roleSuffix string }

var (
	reading = access{"read from the agent", agentapi.ReadSecretSuffix, "-tools-read"}
	writing = access{"change anything", agentapi.WriteSecretSuffix, "-tools"}
)

// role is what allows it for a topology.
func (a access) role(topology string) role {
	return role{flag: "--role=" + topology + a.roleSuffix, binding: topology + a.roleSuffix}
}

// link is a way to the agent of a topology.
type link struct {
	cluster *cluster
	pod     string
	lacking role
	tunnel  *tunnel
	secret  string
	token   string
	http    *http.Client
	server  string
}

// link prepares the way to the agent: the token and the certificate from the Secret the user may read, and a tunnel
// to its pod.
func (c *cluster) link(ctx context.Context, t *v1alpha1.StockSyncTopology, a access) (*link, error) {
	pod, name := render.NamesOf(t.Name).Pod, t.Name+a.secretSuffix
	lacking := a.role(t.Name)
	secret, err := c.core.Secrets(t.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("the operator has not made the Secret %s yet: see that it runs, in a version as new as this plugin's, "+
			"and what `kubectl describe sst %s --namespace %s` says", name, t.Name, t.Namespace)
	}
	if err != nil {
		return nil, c.explain(ctx, err, fmt.Sprintf("%s of %s (get the Secret %s)", a.what, t.Name, name), lacking)
	}
	roots := x509.NewCertPool()
	token := strings.TrimSpace(string(secret.Data[agentapi.TokenFile]))
	if token == "" || !roots.AppendCertsFromPEM(secret.Data[agentapi.CAFile]) {
		return nil, fmt.Errorf("the Secret %s holds no %s or %s: delete it, the operator makes it anew", name, agentapi.TokenFile, agentapi.CAFile)
	}
	tun, err := newTunnel(c.config, c.core.RESTClient(), t.Namespace, pod, agentapi.PrivatePort)
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig cannot be used: %w", err)
	}
	server := render.ServerName(t)
	return &link{cluster: c, pod: pod, secret: name, lacking: lacking, tunnel: tun, token: token, server: server, http: &http.Client{Transport: &http.Transport{
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return tun.dial(ctx) },
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: server, MinVersion: tls.VersionTLS13},
	}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

func (l *link) client() *agentclient.Client {
	return agentclient.New(l.http, "https://"+l.server, l.token)
}

func (l *link) close() {
	l.http.CloseIdleConnections()
	l.tunnel.close()
}

// explain says of a question that failed what to do next.
func (l *link) explain(ctx context.Context, err error) error {
	if refused, ok := errors.AsType[*agentclient.Error](err); ok {
		return l.refusal(refused)
	}
	if _, ok := errors.AsType[*agentclient.UnreachableError](err); !ok {
		return err
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("the agent shows a certificate that its Secret does not vouch for (%w); it may just have been renewed: try again in a minute", err)
	}
	if strings.Contains(err.Error(), "forbidden") {
		return l.cluster.forbidden(ctx, "forward to the agent's pod "+l.pod, l.lacking)
	}
	pod, getting := l.cluster.core.Pods(l.cluster.namespace).Get(ctx, l.pod, metav1.GetOptions{})
	if apierrors.IsNotFound(getting) {
		workload := strings.TrimSuffix(l.pod, "-0")
		return fmt.Errorf("the agent's pod %s does not exist; `kubectl describe statefulset %s --namespace %s` says why", l.pod, workload, l.cluster.namespace)
	}
	if getting == nil {
		if trouble := podTrouble(pod); trouble != nil {
			return trouble
		}
	}
	return fmt.Errorf("the agent's pod %s does not answer: %w; `kubectl logs %s --namespace %s` says more", l.pod, err, l.pod, l.cluster.namespace)
}

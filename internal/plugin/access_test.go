package plugin

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/render"
)

// TestRights: a user with nothing is told what to ask for, one with the read role looks and does not write, one with
// the other role does both; the operator's roles are enough.
func TestRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.report()
	w.allow("rita", "emea-tools-read")
	w.allow("walter", "emea-tools")
	w.agent.says("GET /v1/conflicts", []agentapi.Entry{})
	w.agent.says("POST /v1/conflicts/dismiss", agentapi.Closed{Count: 1})
	end := agentapi.Run{ID: 8, State: agentapi.Succeeded, Request: agentapi.RunRequest{Kind: agentapi.KindReconcile}}
	w.agent.says("POST /v1/runs", end)
	w.agent.says("GET /v1/runs/8/findings", []agentapi.Finding{})
	w.transcript("rights", "status --as nina", "conflicts --as nina -t emea",
		"conflicts --as rita", "conflicts dismiss 50 --as rita", "push TSHIRT-M --as rita",
		"conflicts --as walter", "conflicts dismiss 50 --as walter")
	for _, command := range []string{"status --as rita", "status --as walter", "audit --as rita", "reconcile --dry-run --as rita", "push TSHIRT-M --as walter"} {
		if out, err := w.try(strings.Fields(command)...); err != nil || strings.Contains(out, "cannot be asked") {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
	}

	// A role of somebody's own, without the port-forward.
	w.create(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "half"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}},
		{APIGroups: []string{v1alpha1.SchemeGroupVersion.Group}, Resources: []string{"stocksynctopologies"}, Verbs: []string{"get"}}}})
	w.allow("hanna", "half")
	w.transcript("rights_no_forward", "conflicts -t emea --as hanna")
}

// TestTokens: looking shows the agent the token that may only read.
func TestTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agent.says("GET /v1/conflicts", []agentapi.Entry{})
	w.agent.says("POST /v1/conflicts/dismiss", agentapi.Closed{Count: 1})
	w.run("conflicts")
	w.run("conflicts", "dismiss", "50")
	if got, want := w.agent.tokens, []string{readToken, writeToken}; !slices.Equal(got, want) {
		t.Errorf("the agent is shown %q, want %q", got, want)
	}
}

// TestForwardWithoutWebSockets: where something on the way lets no WebSocket through, SPDY does.
func TestForwardWithoutWebSockets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agent.says("GET /v1/breaker", nil)
	config, err := rest.TLSConfigFor(serverConfig)
	must(t, err)
	target, err := url.Parse(serverConfig.Host)
	must(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = &http.Transport{TLSClientConfig: config}
	var refused atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			refused.Add(1)
			http.Error(rw, "no WebSockets here", http.StatusForbidden)
			return
		}
		proxy.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	w.file = w.kubeconfig(server.URL)
	if out := w.run("breaker"); out != "The circuit breaker has not tripped.\n" || refused.Load() == 0 {
		t.Errorf("with %d WebSockets refused:\n%s", refused.Load(), out)
	}
}

// TestCertificateOfSomebodyElse: no token is shown to a server the Secret does not vouch for.
func TestCertificateOfSomebodyElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other, err := render.Private{}.Renew("emea-agent-private."+w.namespace+".svc", time.Now(), rand.Reader)
	must(t, err)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "emea" + agentapi.ReadSecretSuffix, Namespace: w.namespace},
		Data: map[string][]byte{agentapi.TokenFile: []byte(readToken), agentapi.CAFile: other.CA}}
	must(t, w.admin.Update(t.Context(), secret))
	if out := w.run("breaker"); !strings.Contains(out, "does not vouch for") || len(w.agent.tokens) > 0 {
		t.Errorf("the agent is shown %d tokens:\n%s", len(w.agent.tokens), out)
	}
	secret.Data[agentapi.TokenFile] = nil
	must(t, w.admin.Update(t.Context(), secret))
	w.transcript("error_empty_secret", "breaker")
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.makeChild("fr", "emea")
	w.makeChild("it", "emea")
	w.makeTopology("apac")
	for words, want := range map[string]string{
		"conflicts --topology ":                     "apac emea",
		"status ":                                   "apac emea",
		"status --output ":                          "table json yaml",
		"audit -o ":                                 "table json yaml csv junit",
		"ping -t emea ":                             "hq fr it",
		"ping -t emea fr ":                          "hq it",
		"forget -t emea fr ":                        "",
		"events -t emea --store ":                   "hq fr it",
		"reconcile --strategy ":                     "DifferencesOnly Push DryRun Reset",
		"backlog accept -t emea ":                   "hq fr it",
		"conflicts resolve -t emea X --from-store ": "hq fr it",
		"push ": "",
		"ping ": "", // which topology?
	} {
		args := append([]string{"__complete"}, strings.Fields(words)...)
		out, err := w.try(append(args, "")...)
		var offered []string
		for line := range strings.Lines(out) {
			if line[0] == ':' {
				break
			}
			offered = append(offered, strings.TrimSpace(line))
		}
		if got := strings.Join(offered, " "); err != nil || got != want || !strings.Contains(out, "NoFileComp") {
			t.Errorf("after %q is offered %q, want %q; %v\n%s", words, got, want, err, out)
		}
	}
}

func TestWhatToBind(t *testing.T) {
	t.Parallel()
	for user, want := range map[string]string{
		"alice":                          "--user=alice",
		"alice@example.com":              "--user=alice@example.com",
		"Alice O'Neil":                   `--user='Alice O'\''Neil'`,
		"$(reboot)":                      `--user='$(reboot)'`,
		"system:serviceaccount:ci:robot": "--serviceaccount=ci:robot",
	} {
		if got := subjectFlag(user); got != want {
			t.Errorf("%s: %s, want %s", user, got, want)
		}
	}
}

//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"stocksync.dev/stocksync/api/v1alpha1"
)

// What agent and operator show after all the tests before is what alert rules and dashboard ask for: every expression of
// both returns something, by Prometheus' own engine. The file's name makes it the last test.
func TestMetricsAnswerRulesAndDashboard(t *testing.T) {
	w := openWorld(t)
	w.statusAgrees(t)
	w.fr.down(t) // a panel lists what is not well
	eventuallyChild(t, "fr", v1alpha1.ConditionConnected, metav1.ConditionFalse, "")
	scraper := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "scraper", Namespace: operatorNamespace}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "stocksync-e2e-scraper"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "stocksync-operator-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: scraper.Name, Namespace: scraper.Namespace}},
	}
	for _, o := range []client.Object{scraper, binding} {
		if err := cluster.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cluster.Delete(context.Background(), o) })
	}
	out, err := exec.CommandContext(t.Context(), "kubectl", "create", "token", scraper.Name, "--namespace", scraper.Namespace).Output()
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(string(out))
	dir := t.TempDir()
	for name, target := range map[string]struct{ namespace, service, scheme string }{
		"agent":    {namespace, topology + "-agent-metrics", "http"},
		"operator": {operatorNamespace, "stocksync-operator-metrics", "https"},
	} {
		var text []byte
		eventually(t, 60*time.Second, "the metrics of the "+name, func() (err error) {
			text, err = scrape(t.Context(), target.namespace, target.service, target.scheme, token)
			if err == nil && name == "agent" && !outage.Match(text) {
				err = notYet("the outage of fr is not counted")
			}
			return err
		})
		if err := os.WriteFile(filepath.Join(dir, name+".prom"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	monitoring := exec.CommandContext(t.Context(), "go", "-C", "../../hack/monitoring", "test", "-count=1", "./...")
	monitoring.Env = append(os.Environ(), "STOCKSYNC_SCRAPES="+dir)
	if out, err := monitoring.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// outage is the count of fr's outage.
var outage = regexp.MustCompile(`(?m)^stocksync_events_total\{code="Disconnected",level="Error",store="fr"\} [1-9]`)

// scrape reads the metrics behind a Service, as Prometheus in the cluster does.
func scrape(ctx context.Context, namespace, name, scheme, token string) ([]byte, error) {
	var service corev1.Service
	if err := cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &service); err != nil {
		return nil, err
	}
	host := net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(int(service.Spec.Ports[0].Port)))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+host+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	if scheme == "https" { // the agent's metrics need no token, so it gets none
		req.Header.Set("Authorization", "Bearer "+token)
	}
	// The operator's certificate is one it made for itself.
	scraping := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	res, err := scraping.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = notYet("%s answers %s", name, res.Status)
	}
	return text, err
}

package plugin

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/apitest"
	"stocksync.dev/stocksync/internal/render"
)

// serverConfig is an administrator's access to a real API server.
var serverConfig *rest.Config

func TestMain(m *testing.M) {
	logf.SetLogger(logr.Discard())
	os.Exit(apitest.Main(m, func(cfg *rest.Config) { serverConfig = cfg }))
}

// now is the plugin's clock.
// gracePeriod0 deletes at once: there is no kubelet to wait for.
var gracePeriod0 = client.GracePeriodSeconds(0)

var now = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

// kubelet is the part of a node that forwards ports: to servers of this process instead of to pods.
type kubelet struct {
	mu   sync.Mutex
	pods map[string]string // namespace/pod to address
}

// startKubelet registers the only node of the cluster, once.
var startKubelet = sync.OnceValues(func() (*kubelet, error) {
	k := &kubelet{pods: map[string]string{}}
	server := httptest.NewTLSServer(k)
	address := server.Listener.Addr().(*net.TCPAddr)
	c, err := newClient()
	if err != nil {
		return nil, err
	}
	object := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node"}}
	if err := c.Create(context.Background(), object); err != nil {
		return nil, err
	}
	object.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address.IP.String()}}
	object.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(address.Port)
	return k, c.Status().Update(context.Background(), object)
})

func (k *kubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	pod := strings.TrimPrefix(r.URL.Path, "/portForward/")
	k.mu.Lock()
	address := k.pods[pod]
	k.mu.Unlock()
	if _, err := httpstream.Handshake(r, w, []string{"portforward.k8s.io"}); err != nil {
		return
	}
	streams := make(chan httpstream.Stream, 10)
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, _ <-chan struct{}) error {
		streams <- s
		return nil
	})
	if conn == nil {
		return
	}
	defer func() { _ = conn.Close() }()
	failures := map[string]httpstream.Stream{}
	for {
		select {
		case <-conn.CloseChan():
			return
		case s := <-streams:
			request := s.Headers().Get(corev1.PortForwardRequestIDHeader)
			if s.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
				failures[request] = s
				continue
			}
			go forward(s, failures[request], s.Headers().Get(corev1.PortHeader), address)
		}
	}
}

func forward(data, failure httpstream.Stream, port, address string) {
	defer func() { _ = failure.Close() }()
	to, err := net.Dial("tcp", address)
	if address == "" || port != strconv.Itoa(agentapi.PrivatePort) || err != nil {
		fmt.Fprintf(failure, "error forwarding port %s to pod: connection refused", port)
		return
	}
	go func() {
		_, _ = io.Copy(to, data)
		_ = to.Close()
	}()
	_, _ = io.Copy(data, to)
	_ = data.Close()
}

func newClient() (client.Client, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return client.New(serverConfig, client.Options{Scheme: scheme})
}

// world is a namespace with a topology emea (master hq, children fr and it), made as the operator would, and an agent
// that answers by script.
type world struct {
	testing.TB
	namespace string
	admin     client.Client
	node      *kubelet
	agent     *agent
	file      string // the kubeconfig
}

func newWorld(t testing.TB) *world {
	t.Helper()
	node, err := startKubelet()
	must(t, err)
	w := &world{TB: t, node: node}
	w.admin, err = newClient()
	must(t, err)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "shops-"}}
	must(t, w.admin.Create(t.Context(), ns))
	w.namespace = ns.Name
	w.file = w.kubeconfig(serverConfig.Host)
	w.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}})
	w.startAgent(w.makeTopology("emea"))
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) kubeconfig(host string) string {
	w.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: host, CertificateAuthorityData: serverConfig.CAData}
	config.AuthInfos["admin"] = &clientcmdapi.AuthInfo{ClientCertificateData: serverConfig.CertData, ClientKeyData: serverConfig.KeyData}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "admin", Namespace: w.namespace}
	config.CurrentContext = "test"
	file := filepath.Join(w.TempDir(), "kubeconfig")
	must(w, clientcmd.WriteToFile(*config, file))
	return file
}

func (w *world) create(object client.Object) {
	w.Helper()
	object.SetNamespace(w.namespace)
	must(w, w.admin.Create(w.Context(), object))
}

func (w *world) makeTopology(name string) *v1alpha1.StockSyncTopology {
	w.Helper()
	t := &v1alpha1.StockSyncTopology{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.StockSyncTopologySpec{
		Mode: v1alpha1.ModeSync, Master: v1alpha1.Master{StoreID: "hq", WooCommerce: shop("https://hq." + name + ".example.com")}}}
	w.create(t)
	return t
}

func shop(url string) *v1alpha1.WooCommerce {
	return &v1alpha1.WooCommerce{URL: url, CredentialsSecretRef: v1alpha1.LocalObjectReference{Name: "rest"}}
}

func (w *world) makeChild(name, topology string) *v1alpha1.ChildStore {
	w.Helper()
	c := &v1alpha1.ChildStore{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ChildStoreSpec{
		TopologyRef: v1alpha1.TopologyReference{Name: topology}, WooCommerce: shop("https://" + name + ".example.com")}}
	w.create(c)
	return c
}

// The tokens the agent knows.
const (
	readToken  = "token-that-may-only-read"
	writeToken = "token-that-may-write-too"
)

// startAgent runs an agent's private port where the API server finds the pod of the topology, and makes what the
// operator makes for the tools.
func (w *world) startAgent(t *v1alpha1.StockSyncTopology) {
	w.Helper()
	private, err := render.Private{}.Renew(render.ServerName(t), time.Now(), rand.Reader)
	must(w, err)
	certificate, err := tls.X509KeyPair(private.Certificate, private.Key)
	must(w, err)
	private.ReadToken, private.WriteToken = []byte(readToken), []byte(writeToken)
	for _, secret := range render.ToolSecrets(t, private) {
		must(w, w.admin.Apply(w.Context(), secret, client.FieldOwner("operator")))
	}
	for _, role := range render.ToolRoles(t) {
		must(w, w.admin.Apply(w.Context(), role, client.FieldOwner("operator")))
	}
	w.agent = &agent{TB: w.TB, answers: map[string]any{}}
	server := httptest.NewUnstartedServer(w.agent)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13}
	server.StartTLS()
	w.Cleanup(server.Close)

	names := render.NamesOf(t.Name)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: names.Pod}, Spec: corev1.PodSpec{NodeName: "node",
		Containers: []corev1.Container{{Name: "agent", Image: "agent"}}}}
	w.create(pod)
	pod.Status.Phase = corev1.PodRunning
	must(w, w.admin.Status().Update(w.Context(), pod))
	w.route(t.Name, server.Listener.Addr().String())
}

// route says where the port of a topology's agent leads; empty refuses.
func (w *world) route(topology, address string) {
	w.node.mu.Lock()
	defer w.node.mu.Unlock()
	w.node.pods[w.namespace+"/"+render.NamesOf(topology).Pod] = address
}

// allow gives a user roles, and waits until the API server knows.
func (w *world) allow(user string, roles ...string) {
	w.Helper()
	for _, name := range roles {
		w.create(&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name + "-" + user},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}}})
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: user,
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: w.namespace, Verb: "get", Resource: "secrets", Name: "emea" + agentapi.ReadSecretSuffix}}}
	must(w, wait.PollUntilContextTimeout(w.Context(), 10*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		asked := review.DeepCopy()
		err := w.admin.Create(ctx, asked)
		return asked.Status.Allowed, err
	}))
}

// run is what a user types after `kubectl stocksync`. It returns what the terminal shows.
func (w *world) run(args ...string) string {
	w.Helper()
	out, err := w.try(args...)
	if exit, ok := errors.AsType[ExitError](err); ok {
		return out + fmt.Sprintf("(exit code %d)\n", exit.Code)
	}
	if err != nil {
		return out + "Error: " + w.tidy(err.Error()) + "\n"
	}
	return out
}

func (w *world) try(args ...string) (string, error) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	command := NewCommand(Options{Version: "1.2.3", Now: func() time.Time { return now }})
	command.SetOut(&out)
	command.SetErr(&out)
	command.SetArgs(append([]string{"--kubeconfig", w.file}, args...))
	err := command.ExecuteContext(ctx)
	for _, token := range []string{readToken, writeToken} {
		if strings.Contains(out.String()+fmt.Sprint(err), token) {
			w.Errorf("%v shows a token", args)
		}
	}
	return w.tidy(out.String()), err
}

// tidy takes out what differs from run to run.
func (w *world) tidy(text string) string {
	host, _ := url.Parse(serverConfig.Host)
	return strings.NewReplacer(w.namespace, "shops", host.Host, "cluster.example.com").Replace(text)
}

// agent answers by script and writes down what it is asked.
type agent struct {
	testing.TB
	mu      sync.Mutex
	answers map[string]any // by method and path: a value, or an [answer]
	asked   []string
	tokens  []string
}

// answer is one that is not 200.
type answer struct {
	status int
	text   string
}

func (a *agent) says(request string, value any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[request] = value
}

// took are the requests since the last call, with their bodies.
func (a *agent) took() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	asked := a.asked
	a.asked = nil
	return asked
}

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	defer a.mu.Unlock()
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if token != readToken && token != writeToken {
		http.Error(w, "a bearer token is needed", http.StatusUnauthorized)
		return
	}
	a.tokens = append(a.tokens, token)
	request := r.Method + " " + r.URL.RequestURI()
	a.asked = append(a.asked, strings.TrimSpace(request+" "+string(body)))
	value, ok := a.answers[request]
	if !ok {
		value, ok = a.answers[r.Method+" "+r.URL.Path]
	}
	if !ok {
		http.Error(w, "there is no "+request, http.StatusNotFound)
		return
	}
	if list, ok := value.([]any); ok { // one after the other; the last stays
		value = list[0]
		if len(list) > 1 {
			a.answers[r.Method+" "+r.URL.Path] = list[1:]
		}
	}
	if refusal, ok := value.(answer); ok {
		http.Error(w, refusal.text, refusal.status)
		return
	}
	_ = json.NewEncoder(w).Encode(value)
}

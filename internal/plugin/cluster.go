package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"stocksync.dev/stocksync/api/v1alpha1"
)

// cluster is the Kubernetes cluster of the chosen context, seen with the rights of whoever runs the plugin.
type cluster struct {
	config    *rest.Config
	namespace string
	objects   rest.Interface
	core      coreclient.CoreV1Interface
	reviews   authenticationclient.AuthenticationV1Interface
}

func connect(kubeconfig clientcmd.ClientConfig) (*cluster, error) {
	config, err := kubeconfig.ClientConfig()
	switch {
	case clientcmd.IsEmptyConfig(err):
		return nil, errors.New("no Kubernetes cluster is configured: name your cluster's file with --kubeconfig or in KUBECONFIG; `kubectl cluster-info` must work first")
	case err != nil:
		return nil, fmt.Errorf("the kubeconfig cannot be used: %w; `kubectl config get-contexts` lists what it offers", err)
	}
	namespace, _, err := kubeconfig.Namespace()
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig cannot be used: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	ours := rest.CopyConfig(config)
	ours.APIPath, ours.GroupVersion = "/apis", &v1alpha1.SchemeGroupVersion
	ours.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	c := &cluster{config: config, namespace: namespace}
	if c.objects, err = rest.RESTClientFor(ours); err != nil {
		return nil, fmt.Errorf("the kubeconfig cannot be used: %w", err)
	}
	if c.core, err = coreclient.NewForConfig(config); err != nil {
		return nil, err
	}
	c.reviews, err = authenticationclient.NewForConfig(config)
	return c, err
}

// topology is the one of this name or, without a name, the only one of the namespace.
func (c *cluster) topology(ctx context.Context, name string) (*v1alpha1.StockSyncTopology, error) {
	if name != "" {
		t := &v1alpha1.StockSyncTopology{}
		err := c.objects.Get().Namespace(c.namespace).Resource("stocksynctopologies").Name(name).Do(ctx).Into(t)
		if apierrors.IsNotFound(err) {
			return nil, c.noSuchTopology(ctx, name)
		}
		return t, c.explain(ctx, err, "read StockSyncTopologies", reading.role(name))
	}
	all, err := c.topologies(ctx)
	if err != nil {
		return nil, c.explain(ctx, err, "list StockSyncTopologies", viewRole)
	}
	switch len(all) {
	case 0:
		return nil, c.noTopology()
	case 1:
		return &all[0], nil
	}
	return nil, fmt.Errorf("namespace %s has several topologies; name one with --topology: %s", c.namespace, names(all))
}

func (c *cluster) topologies(ctx context.Context) ([]v1alpha1.StockSyncTopology, error) {
	list := &v1alpha1.StockSyncTopologyList{}
	err := c.objects.Get().Namespace(c.namespace).Resource("stocksynctopologies").Do(ctx).Into(list)
	return list.Items, err
}

// children are the ChildStores of a topology, ordered by storeID.
func (c *cluster) children(ctx context.Context, topology string) ([]v1alpha1.ChildStore, error) {
	list := &v1alpha1.ChildStoreList{}
	if err := c.objects.Get().Namespace(c.namespace).Resource("childstores").Do(ctx).Into(list); err != nil {
		return nil, c.explain(ctx, err, "list ChildStores", reading.role(topology))
	}
	own := slices.DeleteFunc(list.Items, func(s v1alpha1.ChildStore) bool { return s.Spec.TopologyRef.Name != topology })
	slices.SortFunc(own, func(a, b v1alpha1.ChildStore) int { return cmp.Compare(a.EffectiveStoreID(), b.EffectiveStoreID()) })
	return own, nil
}

func (c *cluster) noTopology() error {
	return fmt.Errorf("namespace %s has no StockSyncTopology; name another namespace with --namespace, `kubectl get sst --all-namespaces` lists them all", c.namespace)
}

func (c *cluster) noSuchTopology(ctx context.Context, name string) error {
	all, err := c.topologies(ctx)
	switch {
	case apierrors.IsNotFound(err):
		return c.explain(ctx, err, "list StockSyncTopologies", viewRole)
	case err != nil: // it may not be listed, or the cluster went away: that it is not there is known
		return fmt.Errorf("namespace %s has no StockSyncTopology %s", c.namespace, name)
	case len(all) == 0:
		return c.noTopology()
	}
	return fmt.Errorf("namespace %s has no StockSyncTopology %s; it has: %s", c.namespace, name, names(all))
}

func names(topologies []v1alpha1.StockSyncTopology) string {
	var out []string
	for _, t := range topologies {
		out = append(out, t.Name)
	}
	return strings.Join(out, ", ")
}

// viewRole lets a person read our kinds, whatever the topologies are called: config/rbac/user_roles.yaml adds them to
// the cluster's own role.
var viewRole = role{flag: "--clusterrole=view", binding: "view"}

// role is what a person lacks, as kubectl create rolebinding wants it.
type role struct{ flag, binding string }

// explain says of an answer of the API server what to do next. doing is what was tried, and lacking the role that
// allows it.
func (c *cluster) explain(ctx context.Context, err error, doing string, lacking role) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err):
		return c.forbidden(ctx, doing, lacking)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("the cluster at %s does not know you: your credentials are wrong or have expired; sign in again, `kubectl auth whoami` must work first", c.config.Host)
	case apierrors.IsNotFound(err):
		return fmt.Errorf("the cluster at %s does not know StockSync's kinds; install the operator with `kubectl apply -k config/default`, or choose another cluster with --context", c.config.Host)
	case errors.Is(err, context.Canceled):
		return err
	}
	if _, ok := errors.AsType[*apierrors.StatusError](err); ok {
		return fmt.Errorf("cannot %s; the cluster answers: %w", doing, err)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // the rest repeats the address
	}
	return fmt.Errorf("the cluster at %s does not answer: %w; `kubectl cluster-info` must work first, --context chooses another", c.config.Host, err)
}

func (c *cluster) forbidden(ctx context.Context, doing string, lacking role) error {
	who, subject := "you", "--user=YOUR-NAME"
	review, err := c.reviews.SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if name := ""; err == nil {
		name = review.Status.UserInfo.Username
		who, subject = name, subjectFlag(name)
		lacking.binding += "-" + strings.Trim(unfit.ReplaceAllString(strings.ToLower(name), "-"), "-")
	}
	return fmt.Errorf("%s may not %s in namespace %s; who administers it can allow that:\n  kubectl create rolebinding %s --namespace %s %s %s",
		who, doing, c.namespace, lacking.binding, c.namespace, lacking.flag, subject)
}

var (
	unfit      = regexp.MustCompile(`[^a-z0-9.]+`)
	plainWord  = regexp.MustCompile(`^[A-Za-z0-9._@:/-]+$`)
	podAccount = regexp.MustCompile(`^system:serviceaccount:([^:]+:[^:]+)$`)
)

// subjectFlag names a user for kubectl create rolebinding, in a form a shell takes as it is.
func subjectFlag(user string) string {
	if account := podAccount.FindStringSubmatch(user); account != nil {
		return "--serviceaccount=" + account[1]
	}
	if !plainWord.MatchString(user) {
		user = "'" + strings.ReplaceAll(user, "'", `'\''`) + "'"
	}
	return "--user=" + user
}

// podTrouble says what is wrong with the agent's pod, nil when nothing is known to be.
func podTrouble(pod *corev1.Pod) error {
	next := fmt.Sprintf("`kubectl describe pod %s --namespace %s` says more", pod.Name, pod.Namespace)
	for _, s := range pod.Status.ContainerStatuses {
		if w := s.State.Waiting; w != nil {
			return fmt.Errorf("the agent's pod %s does not run: %s %s; %s", pod.Name, w.Reason, sentence(w.Message), next)
		}
	}
	if pod.Status.Phase != corev1.PodRunning {
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodScheduled && condition.Status != corev1.ConditionTrue {
				return fmt.Errorf("the agent's pod %s has no node: %s; %s", pod.Name, sentence(condition.Message), next)
			}
		}
		return fmt.Errorf("the agent's pod %s is %s; %s", pod.Name, pod.Status.Phase, next)
	}
	return nil
}

// sentence is a text without its full stop: more follows.
func sentence(text string) string { return strings.TrimRight(text, ". \n") }

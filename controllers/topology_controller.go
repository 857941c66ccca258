package controllers

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/render"
)

// +kubebuilder:rbac:groups=stocksync.dev,resources=stocksynctopologies,verbs=get;list;watch
// +kubebuilder:rbac:groups=stocksync.dev,resources=stocksynctopologies/status,verbs=patch
// +kubebuilder:rbac:groups=stocksync.dev,resources=childstores,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=services;serviceaccounts,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;patch
// +kubebuilder:rbac:groups=apps,resources=statefulsets,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=networking.k8s.io,resources=ingresses,verbs=get;list;watch;create;patch;delete

// topologyReconciler writes the objects that run a topology's agent, and the topology's status.
type topologyReconciler struct {
	client   client.Client // cached; Secrets as metadata only
	live     client.Reader
	operator render.Operator
	agents   *Agents
	secrets  *secretReader
	links    *linkReader
	applier  *applier
	status   *statusWriter
	events   events.EventRecorder
	rollouts *rollouts
	clock    clock.PassiveClock
	random   io.Reader

	mu    sync.Mutex
	bumps map[types.NamespacedName]bump
}

// bump is the last time the kubelet was asked to refresh what is mounted in an agent's pod.
type bump struct {
	revision string
	times    int
	at       time.Time
}

// scope is what one reconciliation found; the phases fill it, the status is computed from it.
type scope struct {
	topology *v1alpha1.StockSyncTopology
	key      types.NamespacedName
	in       topologyInput

	accepted  []*v1alpha1.ChildStore // the children the agent is told of
	ledgerID  string
	private   render.Private
	privateIn bool // the private port's Secret was written just now
	wanted    wantedConfig
	again     time.Duration // when to come back at the latest; zero means no need
}

// comeBack asks for another reconciliation no later than this.
func (s *scope) comeBack(after time.Duration) {
	if after > 0 && (s.again == 0 || after < s.again) {
		s.again = after
	}
}

// Reconcile brings one topology to what its spec says and its status to what was found.
func (r *topologyReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	topology := &v1alpha1.StockSyncTopology{}
	if err := r.client.Get(ctx, req.NamespacedName, topology); err != nil {
		r.forget(req.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if topology.DeletionTimestamp != nil {
		r.forget(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	s := &scope{topology: topology, key: req.NamespacedName}
	err := r.reconcile(ctx, s)
	if errors.Is(err, errNamespaceTerminating) {
		return ctrl.Result{}, nil
	}
	if refused, ok := errors.AsType[*refusedError](err); ok {
		// Someone else has to act, and no watch will tell; ask again now and then.
		s.in.refused, err = refused, nil
		s.comeBack(time.Minute)
	}
	s.in.failing = err
	wait, statusErr := r.writeStatus(ctx, s)
	if err := errors.Join(err, statusErr); err != nil {
		return ctrl.Result{}, err
	}
	s.comeBack(wait)
	return ctrl.Result{RequeueAfter: s.again, Priority: lowPriority()}, nil
}

func (r *topologyReconciler) reconcile(ctx context.Context, s *scope) error {
	if err := r.look(ctx, s); err != nil {
		return err
	}
	if !s.in.verdict.accepted() {
		// Another object has the right to run. What this topology once had stays as it is.
		return nil
	}
	for _, phase := range []func(context.Context, *scope) error{
		r.ledger, r.privatePort, r.network, r.config, r.workload, r.listen, r.refresh, r.explain, r.tools,
	} {
		if err := phase(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// look reads the neighbours and judges.
func (r *topologyReconciler) look(ctx context.Context, s *scope) error {
	topologies, children, err := neighbours(ctx, r.client, s.topology.Namespace)
	if err != nil {
		return err
	}
	v := judge(topologies.Items, children.Items)
	s.in.topology, s.in.verdict, s.in.now = s.topology, v.topologies[s.topology.Name], r.clock.Now()
	for i := range children.Items {
		child := &children.Items[i]
		if child.Spec.TopologyRef.Name != s.topology.Name || child.DeletionTimestamp != nil {
			continue
		}
		s.in.children = append(s.in.children, child)
		if v.children[child.Name].accepted() {
			s.accepted = append(s.accepted, child)
		}
	}
	s.in.agent = r.agents.state(s.key)
	keys := s.topology.Spec.Master.SecretKeys()
	data, missing, err := r.secrets.read(ctx, s.topology.Namespace, keys)
	if err != nil {
		return err
	}
	s.in.secrets = secretsFinding(keys, missing).orFragile(s.topology.Spec.Master.Kitgenix, data)
	return r.lookTools(ctx, s)
}

// ledger makes the ledger's id once. It is looked for on the server, because a second id would disown every mark
// the first one left in the stores.
func (r *topologyReconciler) ledger(ctx context.Context, s *scope) error {
	name := render.NamesOf(s.topology.Name).LedgerSecret
	found := &corev1.Secret{}
	switch err := r.live.Get(ctx, client.ObjectKey{Namespace: s.topology.Namespace, Name: name}, found); {
	case apierrors.IsNotFound(err):
		id := make([]byte, 16)
		if _, err := io.ReadFull(r.random, id); err != nil {
			return fmt.Errorf("making the ledger's id: %w", err)
		}
		s.ledgerID = hex.EncodeToString(id)
	case err != nil:
		return fmt.Errorf("reading Secret %s: %w", name, err)
	default:
		s.ledgerID = string(bytes.TrimSpace(found.Data[agentapi.LedgerIDFile]))
		if id, err := hex.DecodeString(s.ledgerID); err != nil || len(id) != 16 {
			return &refusedError{fmt.Sprintf("Secret %s must hold, under the key %s, the ledger's id of 32 lower-case "+
				"hexadecimal digits; restore it, or delete the Secret to start with a new ledger", name, agentapi.LedgerIDFile)}
		}
	}
	_, err := r.applier.apply(ctx, s.topology, render.LedgerSecret(s.topology, s.ledgerID))
	return err
}

// privatePort makes and renews what guards the agent's private port.
func (r *topologyReconciler) privatePort(ctx context.Context, s *scope) error {
	name, server, now := render.NamesOf(s.topology.Name).PrivateSecret, render.ServerName(s.topology), r.clock.Now()
	files := []string{agentapi.TLSCertFile, agentapi.TLSKeyFile, agentapi.CAFile,
		agentapi.TokenFile, agentapi.ReadTokenFile, agentapi.WriteTokenFile}
	var keys []v1alpha1.SecretKeyReference
	for _, file := range files {
		keys = append(keys, v1alpha1.SecretKeyReference{Name: name, Key: file})
	}
	data, _, err := r.secrets.read(ctx, s.topology.Namespace, keys)
	if err != nil {
		return err
	}
	s.private = render.PrivateFrom(data[name])
	if s.private.Valid(server, now) != nil {
		if s.private, err = s.private.Renew(server, now, r.random); err != nil {
			return err
		}
	}
	s.privateIn, err = r.applier.apply(ctx, s.topology, render.PrivateSecret(s.topology, s.private))
	s.comeBack(s.private.RenewAt().Sub(now))
	return err
}

// network makes the Services, the NetworkPolicy and, where wanted, the Ingress.
func (r *topologyReconciler) network(ctx context.Context, s *scope) error {
	t := s.topology
	objects := []intent{
		render.NetworkPolicy(t, r.operator), render.PublicService(t), render.PrivateService(t), render.MetricsService(t),
	}
	ingress, err := render.Ingress(t, s.accepted)
	if err != nil {
		return &refusedError{err.Error()}
	}
	if ingress != nil {
		objects = append(objects, ingress)
	} else if err := r.applier.remove(ctx, t, networkingv1.SchemeGroupVersion.WithKind("Ingress"), render.NamesOf(t.Name).Workload); err != nil {
		return err
	}
	return r.applyAll(ctx, t, objects)
}

// config writes the agent's configuration. One that is too large is left out, and the one before stays.
func (r *topologyReconciler) config(ctx context.Context, s *scope) error {
	keys := s.topology.Spec.Master.SecretKeys()
	configMaps := render.ConfigMapData{}
	for _, child := range s.accepted {
		keys = append(keys, child.Spec.SecretKeys()...)
		if name := linksName(child); name != "" {
			links, found, err := r.links.read(ctx, types.NamespacedName{Namespace: s.topology.Namespace, Name: name})
			if err != nil {
				return err
			}
			if found {
				configMaps[name] = links
			}
		}
	}
	data, _, err := r.secrets.read(ctx, s.topology.Namespace, keys)
	if err != nil {
		return err
	}
	if err := r.keepSecretsBefore(ctx, s, data); err != nil {
		return err
	}
	config, err := render.NewConfig(s.topology, s.accepted, data, configMaps)
	if tooLarge, ok := errors.AsType[*render.TooLargeError](err); ok {
		s.in.tooLarge = tooLarge
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := r.applier.apply(ctx, s.topology, render.ConfigSecret(s.topology, config)); err != nil {
		return err
	}
	s.wanted = wantedConfig{revision: config.Revision, topology: s.topology.Generation, stores: map[string]wantedStore{}}
	for _, child := range s.accepted {
		s.wanted.stores[child.EffectiveStoreID()] = wantedStore{name: child.Name, uid: child.UID, generation: child.Generation}
	}
	return nil
}

// keepSecretsBefore adds what the secrets shared with plugins were before, for as long as they may be used, so that a
// plugin that was not told of a new one yet goes on working. What they were stands in the configuration the agent has.
// That is looked for on the server: from a cache that lags behind, a secret would be forgotten.
func (r *topologyReconciler) keepSecretsBefore(ctx context.Context, s *scope, data render.SecretData) error {
	if !render.Pairs(s.topology, s.accepted) {
		return nil
	}
	name := render.NamesOf(s.topology.Name).ConfigSecret
	before := &corev1.Secret{}
	if err := r.live.Get(ctx, client.ObjectKey{Namespace: s.topology.Namespace, Name: name}, before); err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("reading Secret %s: %w", name, err)
	}
	now := r.clock.Now()
	next, err := render.KeepBefore(before.Data[agentapi.ConfigFile], s.topology, s.accepted, data, now)
	if err != nil {
		return &refusedError{fmt.Sprintf("Secret %s: %v", name, err)}
	}
	if !next.IsZero() {
		s.comeBack(next.Sub(now))
	}
	return nil
}

// workload makes the ServiceAccount and the StatefulSet.
func (r *topologyReconciler) workload(ctx context.Context, s *scope) error {
	if err := r.applyAll(ctx, s.topology, []intent{render.ServiceAccount(s.topology)}); err != nil {
		return err
	}
	want := render.StatefulSet(s.topology, r.operator)
	found, err := r.applier.find(ctx, want)
	if err != nil {
		return err
	}
	if found != nil && render.Owned(s.topology, found) {
		same := found.Annotations[v1alpha1.AnnotationTemplateHash] == want.Annotations[v1alpha1.AnnotationTemplateHash]
		if same && found.Annotations[v1alpha1.AnnotationTemplateHashVersion] != render.TemplateHashVersion {
			// Another version of the operator wrote this template for the same wishes; ours would only restart the pod.
			return nil
		}
		if report := s.in.agent.report; report != nil {
			r.rollouts.done(s.key, report.StartedAt)
		}
		if !same && !r.rollouts.admit(s.key, r.clock.Now()) {
			s.in.queued = true
			s.comeBack(rollRetry)
			return nil
		}
	}
	return r.applyAll(ctx, s.topology, []intent{want})
}

// listen begins to ask the agent for its status.
func (r *topologyReconciler) listen(_ context.Context, s *scope) error {
	r.agents.watch(s.key, AgentTarget{
		ServerName: render.ServerName(s.topology), CA: string(s.private.CA), Token: string(s.private.Token),
	}, s.wanted)
	s.in.agent = r.agents.state(s.key)
	return nil
}

const (
	// bumpAgain is when the kubelet is asked a second time, if the agent still runs with an older configuration;
	// the time doubles with every try.
	bumpAgain = 5 * time.Second
	// bumpMost is how often it is asked for one revision. After that the kubelet's own refresh, every one to two
	// minutes, has to do.
	bumpMost = 5
)

// refresh makes the kubelet refresh what is mounted in the pod, by changing an annotation of the pod: it then looks
// at the Secrets at once instead of after a minute or two. Where it looked before the new Secret had reached it, the
// agent goes on reporting the old revision, and it is asked again.
func (r *topologyReconciler) refresh(ctx context.Context, s *scope) error {
	report := s.in.agent.report
	if report == nil {
		return nil // a pod that starts reads what is there
	}
	stale := s.wanted.revision != "" && report.ConfigRevision != s.wanted.revision
	now := r.clock.Now()
	r.mu.Lock()
	last := r.bumps[s.key]
	if stale && last.revision != s.wanted.revision {
		last = bump{revision: s.wanted.revision}
	}
	r.mu.Unlock()
	if !s.privateIn {
		if !stale || last.times >= bumpMost {
			return nil
		}
		if wait := last.at.Add(bumpAgain << max(0, last.times-1)).Sub(now); last.times > 0 && wait > 0 {
			s.comeBack(wait)
			return nil
		}
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{
		v1alpha1.AnnotationConfigRevision: s.wanted.revision + "-" + strconv.FormatInt(now.UnixMilli(), 36),
	}}})
	if err != nil {
		return err
	}
	pod := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: s.topology.Namespace, Name: render.NamesOf(s.topology.Name).Pod}}
	pod.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
	err = r.client.Patch(ctx, pod, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(FieldOwner))
	if client.IgnoreNotFound(err) != nil {
		return classify("Pod", pod.Name, err)
	}
	if stale {
		last.times, last.at = last.times+1, now
		r.mu.Lock()
		r.bumps[s.key] = last
		r.mu.Unlock()
		s.comeBack(bumpAgain << (last.times - 1))
	}
	return nil
}

// explain looks for what holds back the pod of an agent that does not answer.
func (r *topologyReconciler) explain(ctx context.Context, s *scope) error {
	if s.in.agent.report != nil && !s.in.agent.lost {
		return nil
	}
	s.comeBack(10 * time.Second)
	pod := &corev1.Pod{}
	err := r.live.Get(ctx, client.ObjectKey{Namespace: s.topology.Namespace, Name: render.NamesOf(s.topology.Name).Pod}, pod)
	if apierrors.IsNotFound(err) {
		s.in.podNote = "its pod does not exist; look at the events of the StatefulSet"
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the agent's pod: %w", err)
	}
	s.in.podNote = podNote(pod)
	return nil
}

// podNote says in a few words why a pod does not run; empty when it does.
func podNote(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return fmt.Sprintf("its pod is not scheduled: %s %s", c.Reason, c.Message)
		}
	}
	for _, c := range pod.Status.ContainerStatuses {
		if waiting := c.State.Waiting; waiting != nil && waiting.Reason != "" {
			note := fmt.Sprintf("its pod waits: %s, image %s", waiting.Reason, c.Image)
			if ended := c.LastTerminationState.Terminated; ended != nil {
				note += fmt.Sprintf(", last exit code %d", ended.ExitCode)
			}
			return note
		}
	}
	return ""
}

func (r *topologyReconciler) applyAll(ctx context.Context, t *v1alpha1.StockSyncTopology, objects []intent) error {
	var errs []error
	for _, object := range objects {
		if _, err := r.applier.apply(ctx, t, object); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (r *topologyReconciler) writeStatus(ctx context.Context, s *scope) (time.Duration, error) {
	if s.in.topology == nil {
		return 0, nil // nothing could be read; the error says so
	}
	before := latest(r.status, s.topology, s.topology.Status)
	after := topologyStatus(*before.DeepCopy(), s.in)
	written, wait, err := r.status.write(ctx, s.topology, v1alpha1.KindStockSyncTopology, &after, compareTopologyStatus(before, after), before.LastHeartbeatTime)
	if written {
		raise(r.events, s.topology, slices.Concat(breakerNotices(before.CircuitBreaker, after.CircuitBreaker),
			volumeNotices(before.Conditions, after.Conditions), conditionNotices(before.Conditions, after.Conditions)))
	}
	return wait, client.IgnoreNotFound(err)
}

func (r *topologyReconciler) forget(key types.NamespacedName) {
	r.agents.forget(key)
	r.applier.forget(key)
	r.rollouts.forget(key)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.bumps, key)
}

// neighbours lists both kinds in a namespace. The items are the cache's own: to be read, never written to.
func neighbours(ctx context.Context, c client.Reader, namespace string) (*v1alpha1.StockSyncTopologyList, *v1alpha1.ChildStoreList, error) {
	topologies, children := &v1alpha1.StockSyncTopologyList{}, &v1alpha1.ChildStoreList{}
	for _, list := range []client.ObjectList{topologies, children} {
		if err := c.List(ctx, list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
			return nil, nil, fmt.Errorf("listing the objects of the namespace: %w", err)
		}
	}
	return topologies, children, nil
}

// lowPriority keeps periodic work behind what users wait for.
func lowPriority() *int {
	p := handler.LowPriority
	return &p
}

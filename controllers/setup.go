package controllers

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/render"
)

// Options are what the controllers are made of.
type Options struct {
	// Operator is rendered into the agents' objects.
	Operator render.Operator
	// Agents asks the agents.
	Agents *Agents
	// Pace bounds status writes.
	Pace Pace
	// Clock is the time by which writes are paced and certificates renewed.
	Clock clock.PassiveClock
	// Concurrency is how many objects of a kind are reconciled at a time.
	Concurrency int
}

// NewScheme knows every type the operator reads and writes.
func NewScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("registering types: %w", err)
		}
	}
	return scheme, nil
}

// ManagerOptions are what a manager needs for [Setup], whichever way it is installed: a cache of the namespaces (of all
// when none is given), and of two managers with leader election one that waits with its cache filled and acts a second
// or two after the other has stopped.
func ManagerOptions(scheme *runtime.Scheme, namespaces []string) ctrl.Options {
	warmup, retry := true, time.Second
	return ctrl.Options{
		Scheme:           scheme,
		Cache:            cacheOptions(namespaces),
		Client:           client.Options{FieldOwner: FieldOwner},
		LeaderElectionID: "operator.stocksync.dev",
		// The process ends right after the manager, so another may take over at once.
		LeaderElectionReleaseOnCancel: true,
		// A released lease is found after at most 2.2 times this.
		RetryPeriod: &retry,
		Controller:  config.Controller{EnableWarmup: &warmup, ReconciliationTimeout: 2 * time.Minute},
	}
}

// cacheOptions keep the cache small: of Secrets and ConfigMaps only metadata, and of that not the annotations,
// where kubectl may have left the content; of the other kinds only our own objects; and only the namespaces, or all when none is given.
func cacheOptions(namespaces []string) cache.Options {
	var within map[string]cache.Config
	for _, namespace := range namespaces {
		if within == nil {
			within = map[string]cache.Config{}
		}
		within[namespace] = cache.Config{}
	}
	ours := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{"app.kubernetes.io/managed-by": render.ManagedBy})}
	return cache.Options{
		ReaderFailOnMissingInformer: true,
		DefaultTransform:            cache.TransformStripManagedFields(),
		DefaultNamespaces:           within,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}:              {Transform: stripSecret},
			&corev1.ConfigMap{}:           {Transform: stripSecret},
			&corev1.Service{}:             ours,
			&corev1.ServiceAccount{}:      ours,
			&appsv1.StatefulSet{}:         ours,
			&networkingv1.NetworkPolicy{}: ours,
			&networkingv1.Ingress{}:       ours,
			&rbacv1.Role{}:                ours,
			&batchv1.CronJob{}:            ours,
			&batchv1.Job{}:                {Label: ours.Label, Transform: stripJob},
		},
	}
}

func stripSecret(object any) (any, error) {
	if accessor, err := meta.Accessor(object); err == nil {
		accessor.SetAnnotations(nil)
		accessor.SetManagedFields(nil)
	}
	switch full := object.(type) {
	case *corev1.Secret:
		full.Data = nil
	case *corev1.ConfigMap:
		full.Data, full.BinaryData = nil, nil
	}
	return object, nil
}

// stripJob keeps of a Job whose it is and how it stands.
func stripJob(object any) (any, error) {
	if job, ok := object.(*batchv1.Job); ok {
		job.ManagedFields, job.Annotations, job.Spec = nil, nil, batchv1.JobSpec{}
	}
	return object, nil
}

// Names of the cache's indexes.
const (
	bySecret    = "stocksync.secret"
	byConfigMap = "stocksync.configmap"
	byURL       = "stocksync.url"
	byTopology  = "stocksync.topology"
)

// Setup adds both controllers, and the reading of agents, to the manager.
func Setup(ctx context.Context, mgr ctrl.Manager, o Options) error {
	if err := index(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	if err := mgr.Add(o.Agents); err != nil {
		return fmt.Errorf("adding the reader of agents: %w", err)
	}
	secrets, links := newSecretReader(mgr.GetClient(), mgr.GetAPIReader()), newLinkReader(mgr.GetClient(), mgr.GetAPIReader())
	topology := &topologyReconciler{
		client: mgr.GetClient(), live: mgr.GetAPIReader(), operator: o.Operator, agents: o.Agents, secrets: secrets, links: links,
		applier: newApplier(mgr.GetClient(), mgr.GetAPIReader()), status: newStatusWriter(mgr.GetClient(), o.Clock, o.Pace),
		rollouts: newRollouts(), clock: o.Clock, random: rand.Reader, bumps: map[types.NamespacedName]bump{},
	}
	child := &childStoreReconciler{
		client: mgr.GetClient(), agents: o.Agents, secrets: secrets, links: links,
		status: newStatusWriter(mgr.GetClient(), o.Clock, o.Pace), clock: o.Clock,
	}
	topology.events = mgr.GetEventRecorder(FieldOwner)
	child.events = topology.events
	wake := waker{reader: mgr.GetClient()}
	options := func() controller.Options {
		return controller.Options{
			MaxConcurrentReconciles: o.Concurrency,
			// After an outage of the API server nobody should wait for more than a minute.
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](5*time.Millisecond, time.Minute),
		}
	}
	changed := builder.WithPredicates(predicate.ResourceVersionChangedPredicate{})
	owned := []builder.OwnsOption{builder.OnlyMetadata, changed}

	err := ctrl.NewControllerManagedBy(mgr).Named("topology").WithOptions(options()).
		For(&v1alpha1.StockSyncTopology{}, builder.WithPredicates(written)).
		Owns(&appsv1.StatefulSet{}, owned...).
		Owns(&corev1.Service{}, owned...).
		Owns(&corev1.ServiceAccount{}, owned...).
		Owns(&networkingv1.NetworkPolicy{}, owned...).
		Owns(&networkingv1.Ingress{}, owned...).
		Owns(&rbacv1.Role{}, owned...).
		Owns(&batchv1.CronJob{}, builder.OnlyMetadata, builder.WithPredicates(specified)).
		Watches(&batchv1.Job{}, handler.EnqueueRequestsFromMapFunc(topologyOfJob), builder.WithPredicates(jobEnded)).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(wake.topologiesOfSecret), changed).
		WatchesMetadata(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(wake.topologiesOfConfigMap), changed).
		Watches(&v1alpha1.StockSyncTopology{}, handler.EnqueueRequestsFromMapFunc(wake.topologiesOfNamespace), builder.WithPredicates(written)).
		Watches(&v1alpha1.ChildStore{}, handler.EnqueueRequestsFromMapFunc(wake.topologiesOfChild), builder.WithPredicates(predicate.Or(written, counted))).
		WatchesRawSource(source.Channel(o.Agents.topologies, &handler.EnqueueRequestForObject{})).
		Complete(topology)
	if err != nil {
		return fmt.Errorf("setting up the topology controller: %w", err)
	}
	err = ctrl.NewControllerManagedBy(mgr).Named("childstore").WithOptions(options()).
		For(&v1alpha1.ChildStore{}, builder.WithPredicates(written)).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(wake.childrenOfSecret), changed).
		WatchesMetadata(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(wake.childrenOfConfigMap), changed).
		Watches(&v1alpha1.StockSyncTopology{}, handler.EnqueueRequestsFromMapFunc(wake.childrenOfNamespace), builder.WithPredicates(predicate.Or(written, accepted))).
		Watches(&v1alpha1.ChildStore{}, handler.EnqueueRequestsFromMapFunc(wake.rivals), builder.WithPredicates(predicate.Or(written, accepted))).
		WatchesRawSource(source.Channel(o.Agents.children, &handler.EnqueueRequestForObject{})).
		Complete(child)
	if err != nil {
		return fmt.Errorf("setting up the child store controller: %w", err)
	}
	return nil
}

// written holds back events of nothing but our own status.
var written = predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, goingPredicate{})

// specified holds back events of nothing but a status that is not ours.
var specified = predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{},
	predicate.LabelChangedPredicate{}, goingPredicate{})

// jobEnded lets pass a Job that has ended, and no step before.
var jobEnded = predicate.NewPredicateFuncs(func(object client.Object) bool {
	job, ok := object.(*batchv1.Job)
	return ok && endOf(job) != nil
})

// accepted lets pass a change of the condition Accepted: it may free a URL or a storeID, or take one.
var accepted = conditionChanged(v1alpha1.ConditionAccepted)

// counted lets pass a change of what a topology counts, or has to render, of its children.
var counted = conditionChanged(v1alpha1.ConditionAccepted, v1alpha1.ConditionReady, v1alpha1.ConditionInSync)

// goingPredicate lets pass the mark of deletion, which changes neither generation nor annotations.
type goingPredicate struct{ predicate.Funcs }

// Update reports whether the object has just been marked for deletion.
func (goingPredicate) Update(e event.UpdateEvent) bool {
	return (e.ObjectOld.GetDeletionTimestamp() == nil) != (e.ObjectNew.GetDeletionTimestamp() == nil)
}

func conditionChanged(types ...string) predicate.Predicate {
	conditions := func(object client.Object) []metav1.Condition {
		switch o := object.(type) {
		case *v1alpha1.ChildStore:
			return o.Status.Conditions
		case *v1alpha1.StockSyncTopology:
			return o.Status.Conditions
		default:
			return nil
		}
	}
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return slices.ContainsFunc(types, func(t string) bool {
			a, b := meta.FindStatusCondition(conditions(e.ObjectOld), t), meta.FindStatusCondition(conditions(e.ObjectNew), t)
			return (a == nil) != (b == nil) || a != nil && (a.Status != b.Status || a.Reason != b.Reason)
		})
	}}
}

func index(ctx context.Context, indexer client.FieldIndexer) error {
	secretNames := func(keys []v1alpha1.SecretKeyReference) []string {
		var names []string
		for _, key := range keys {
			if !slices.Contains(names, key.Name) {
				names = append(names, key.Name)
			}
		}
		return names
	}
	type indexed struct {
		object client.Object
		field  string
		values client.IndexerFunc
	}
	for _, i := range []indexed{
		{&v1alpha1.StockSyncTopology{}, bySecret, func(o client.Object) []string {
			return secretNames(o.(*v1alpha1.StockSyncTopology).Spec.Master.SecretKeys())
		}},
		{&v1alpha1.ChildStore{}, bySecret, func(o client.Object) []string {
			return secretNames(o.(*v1alpha1.ChildStore).Spec.SecretKeys())
		}},
		{&v1alpha1.ChildStore{}, byConfigMap, func(o client.Object) []string {
			if name := linksName(o.(*v1alpha1.ChildStore)); name != "" {
				return []string{name}
			}
			return nil
		}},
		{&v1alpha1.ChildStore{}, byURL, func(o client.Object) []string {
			return childURLs(o.(*v1alpha1.ChildStore))
		}},
		{&v1alpha1.ChildStore{}, byTopology, func(o client.Object) []string {
			return []string{o.(*v1alpha1.ChildStore).Spec.TopologyRef.Name}
		}},
	} {
		if err := indexer.IndexField(ctx, i.object, i.field, i.values); err != nil {
			return fmt.Errorf("indexing %T by %s: %w", i.object, i.field, err)
		}
	}
	return nil
}

// waker finds which objects an event concerns.
type waker struct{ reader client.Reader }

// topologiesOfSecret: those whose configuration the Secret is part of, and the one it was made for.
func (w waker) topologiesOfSecret(ctx context.Context, secret client.Object) []reconcile.Request {
	named := map[string]bool{}
	for _, t := range w.topologies(ctx, secret.GetNamespace(), client.MatchingFields{bySecret: secret.GetName()}) {
		named[t.Name] = true
	}
	for _, c := range w.children(ctx, secret.GetNamespace(), client.MatchingFields{bySecret: secret.GetName()}) {
		named[c.Spec.TopologyRef.Name] = true
	}
	if t := secret.GetLabels()[v1alpha1.LabelTopology]; t != "" {
		named[t] = true
	}
	return requests(secret.GetNamespace(), named)
}

func (w waker) childrenOfSecret(ctx context.Context, secret client.Object) []reconcile.Request {
	named := map[string]bool{}
	for _, c := range w.children(ctx, secret.GetNamespace(), client.MatchingFields{bySecret: secret.GetName()}) {
		named[c.Name] = true
	}
	return requests(secret.GetNamespace(), named)
}

// topologiesOfConfigMap: those with a child whose link table it is.
func (w waker) topologiesOfConfigMap(ctx context.Context, configMap client.Object) []reconcile.Request {
	named := map[string]bool{}
	for _, c := range w.children(ctx, configMap.GetNamespace(), client.MatchingFields{byConfigMap: configMap.GetName()}) {
		named[c.Spec.TopologyRef.Name] = true
	}
	return requests(configMap.GetNamespace(), named)
}

func (w waker) childrenOfConfigMap(ctx context.Context, configMap client.Object) []reconcile.Request {
	named := map[string]bool{}
	for _, c := range w.children(ctx, configMap.GetNamespace(), client.MatchingFields{byConfigMap: configMap.GetName()}) {
		named[c.Name] = true
	}
	return requests(configMap.GetNamespace(), named)
}

// topologyOfJob: the one whose CronJob made it.
func topologyOfJob(_ context.Context, job client.Object) []reconcile.Request {
	return requests(job.GetNamespace(), map[string]bool{job.GetLabels()[v1alpha1.LabelTopology]: true})
}

// topologiesOfNamespace: a new or changed topology may take a URL from another, or give one up. There are few.
func (w waker) topologiesOfNamespace(ctx context.Context, object client.Object) []reconcile.Request {
	named := map[string]bool{}
	for _, t := range w.topologies(ctx, object.GetNamespace()) {
		named[t.Name] = true
	}
	return requests(object.GetNamespace(), named)
}

// topologiesOfChild: the one the child refers to, and those whose master has its URL.
func (w waker) topologiesOfChild(ctx context.Context, object client.Object) []reconcile.Request {
	child, ok := object.(*v1alpha1.ChildStore)
	if !ok {
		return nil
	}
	named := map[string]bool{child.Spec.TopologyRef.Name: true}
	urls := childURLs(child)
	for _, t := range w.topologies(ctx, child.Namespace) {
		if slices.ContainsFunc(masterURLs(&t), func(url string) bool { return slices.Contains(urls, url) }) {
			named[t.Name] = true
		}
	}
	return requests(child.Namespace, named)
}

// childrenOfNamespace: those of the topology, and those that have the URL of its master.
func (w waker) childrenOfNamespace(ctx context.Context, object client.Object) []reconcile.Request {
	topology, ok := object.(*v1alpha1.StockSyncTopology)
	if !ok {
		return nil
	}
	named := map[string]bool{}
	fields := []client.MatchingFields{{byTopology: topology.Name}}
	for _, url := range masterURLs(topology) {
		fields = append(fields, client.MatchingFields{byURL: url})
	}
	for _, fields := range fields {
		for _, c := range w.children(ctx, topology.Namespace, fields) {
			named[c.Name] = true
		}
	}
	return requests(topology.Namespace, named)
}

// rivals: the children with the same URL, or the same storeID or plugin in the same topology.
func (w waker) rivals(ctx context.Context, object client.Object) []reconcile.Request {
	child, ok := object.(*v1alpha1.ChildStore)
	if !ok {
		return nil
	}
	named := map[string]bool{}
	for _, url := range childURLs(child) {
		for _, c := range w.children(ctx, child.Namespace, client.MatchingFields{byURL: url}) {
			named[c.Name] = true
		}
	}
	for _, c := range w.children(ctx, child.Namespace, client.MatchingFields{byTopology: child.Spec.TopologyRef.Name}) {
		if c.EffectiveStoreID() == child.EffectiveStoreID() || pluginID(child.Spec.Kitgenix) != "" && pluginID(c.Spec.Kitgenix) == pluginID(child.Spec.Kitgenix) {
			named[c.Name] = true
		}
	}
	delete(named, child.Name)
	return requests(child.Namespace, named)
}

// topologies and children list from the cache, without copying; that fails only while the operator stops.
func (w waker) topologies(ctx context.Context, namespace string, opts ...client.ListOption) []v1alpha1.StockSyncTopology {
	list := &v1alpha1.StockSyncTopologyList{}
	if err := w.reader.List(ctx, list, append(opts, client.InNamespace(namespace), client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing topologies")
	}
	return list.Items
}

func (w waker) children(ctx context.Context, namespace string, opts ...client.ListOption) []v1alpha1.ChildStore {
	list := &v1alpha1.ChildStoreList{}
	if err := w.reader.List(ctx, list, append(opts, client.InNamespace(namespace), client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing child stores")
	}
	return list.Items
}

func requests(namespace string, names map[string]bool) []reconcile.Request {
	var all []reconcile.Request
	for name := range names {
		all = append(all, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}})
	}
	return all
}

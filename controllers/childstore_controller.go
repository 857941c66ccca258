package controllers

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"stocksync.dev/stocksync/api/v1alpha1"
)

// +kubebuilder:rbac:groups=stocksync.dev,resources=stocksynctopologies;childstores,verbs=get;list;watch
// +kubebuilder:rbac:groups=stocksync.dev,resources=childstores/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets;configmaps,verbs=get;list;watch

// childStoreReconciler writes the status of a child. What runs for it is the topology's business.
type childStoreReconciler struct {
	client  client.Client
	agents  *Agents
	secrets *secretReader
	links   *linkReader
	status  *statusWriter
	events  events.EventRecorder
	clock   clock.PassiveClock
}

// Reconcile brings the status of one child to what is found.
func (r *childStoreReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	child := &v1alpha1.ChildStore{}
	if err := r.client.Get(ctx, req.NamespacedName, child); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if child.DeletionTimestamp != nil {
		r.status.forget(child.UID)
		return ctrl.Result{}, nil
	}
	topologies, children, err := neighbours(ctx, r.client, child.Namespace)
	if err != nil {
		return ctrl.Result{}, err
	}
	in := childInput{
		child:   child,
		verdict: judge(topologies.Items, children.Items).children[child.Name],
		agent:   r.agents.state(types.NamespacedName{Namespace: child.Namespace, Name: child.Spec.TopologyRef.Name}),
		now:     r.clock.Now(),
	}
	for i := range topologies.Items {
		if t := &topologies.Items[i]; t.Name == child.Spec.TopologyRef.Name && t.DeletionTimestamp == nil {
			in.topology = t
		}
	}
	keys := child.Spec.SecretKeys()
	data, missing, err := r.secrets.read(ctx, child.Namespace, keys)
	if err != nil {
		return ctrl.Result{}, err
	}
	in.secrets = secretsFinding(keys, missing).orFragile(child.Spec.Kitgenix, data)
	if name := linksName(child); name != "" && in.secrets.status == metav1.ConditionTrue {
		_, found, err := r.links.read(ctx, types.NamespacedName{Namespace: child.Namespace, Name: name})
		if err != nil {
			return ctrl.Result{}, err
		}
		if !found {
			in.secrets = isFalse(v1alpha1.ReasonConfigMapNotFound, fmt.Sprintf("ConfigMap %s does not exist in this namespace; create it, or remove `katana.linksConfigMapRef`", name))
		}
	}

	before := latest(r.status, child, child.Status)
	after := childStatus(*before.DeepCopy(), in)
	written, wait, err := r.status.write(ctx, child, v1alpha1.KindChildStore, &after, compareChildStatus(before, after), before.LastSeenTime)
	if written {
		raise(r.events, child, conditionNotices(before.Conditions, after.Conditions))
	}
	return ctrl.Result{RequeueAfter: wait, Priority: lowPriority()}, client.IgnoreNotFound(err)
}

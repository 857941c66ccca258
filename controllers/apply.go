package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/render"
)

// FieldOwner is the name under which the operator writes, in an object's managedFields.
const FieldOwner = "stocksync-operator"

// intent is an apply configuration that names its object.
type intent interface {
	runtime.ApplyConfiguration
	GetAPIVersion() *string
	GetKind() *string
	GetName() *string
	GetNamespace() *string
}

// refusedError says that an object cannot be as the topology needs it until a person helps.
type refusedError struct{ message string }

func (e *refusedError) Error() string { return e.message }

// applier writes objects by server-side apply and leaves out the request when neither the intent nor the object
// has changed since the last one.
type applier struct {
	client client.Client // reads metadata from the cache
	live   client.Reader

	mu   sync.Mutex
	done map[objectID]applied
}

type objectID struct{ kind, namespace, name string }

// applied is what was intended last, and the metadata of the object that came of it.
type applied struct {
	intent [sha256.Size]byte
	result metav1.ObjectMeta
}

// standsAs reports whether the object, as found, is still what the last write made of it. Its status may have
// changed since: where objects have a generation, that tells a changed spec from a changed status.
func (a applied) standsAs(found metav1.ObjectMeta) bool {
	return !newer(found.ResourceVersion, a.result.ResourceVersion) ||
		found.UID == a.result.UID && found.Generation > 0 && found.Generation == a.result.Generation &&
			semanticEqual(found.Labels, a.result.Labels) && semanticEqual(found.Annotations, a.result.Annotations) &&
			semanticEqual(found.OwnerReferences, a.result.OwnerReferences)
}

func newApplier(c client.Client, live client.Reader) *applier {
	return &applier{client: c, live: live, done: map[objectID]applied{}}
}

// apply makes the object as intended and reports whether the object changed. It returns a [*refusedError] when
// the object is someone else's or the API server refuses it for good.
func (a *applier) apply(ctx context.Context, t *v1alpha1.StockSyncTopology, want intent) (bool, error) {
	kind, name := *want.GetKind(), *want.GetName()
	id := objectID{kind, *want.GetNamespace(), name}
	content, err := json.Marshal(want)
	if err != nil {
		return false, fmt.Errorf("rendering %s %s: %w", kind, name, err)
	}
	sum := sha256.Sum256(content)

	found, err := a.find(ctx, want)
	if err != nil {
		return false, err
	}
	if found != nil {
		if !render.Owned(t, found) {
			return false, &refusedError{fmt.Sprintf(
				"%s %s exists and does not belong to this topology; rename or delete it", kind, name)}
		}
		a.mu.Lock()
		last, seen := a.done[id]
		a.mu.Unlock()
		if !seen {
			stands, err := a.standing(ctx, want, content)
			if err != nil {
				return false, err
			}
			if stands != nil {
				a.remember(id, applied{intent: sum, result: *stands})
				return false, nil
			}
		}
		if last.intent == sum && last.standsAs(found.ObjectMeta) {
			return false, nil
		}
	}
	if err := a.client.Apply(ctx, want, client.FieldOwner(FieldOwner), client.ForceOwnership); err != nil {
		return false, classify(kind, name, err)
	}
	result, err := metadataOf(want)
	if err != nil {
		return false, err
	}
	a.remember(id, applied{intent: sum, result: result})
	return found == nil || found.ResourceVersion != result.ResourceVersion, nil
}

func (a *applier) remember(id objectID, what applied) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done[id] = what
}

// find returns the metadata of the object as it is, or nil. An object that the cache does not hold is looked for
// on the server, because the cache holds only our own and lags behind.
func (a *applier) find(ctx context.Context, want intent) (*metav1.PartialObjectMetadata, error) {
	key := client.ObjectKey{Namespace: *want.GetNamespace(), Name: *want.GetName()}
	gvk := schema.FromAPIVersionAndKind(*want.GetAPIVersion(), *want.GetKind())
	for _, reader := range []client.Reader{a.client, a.live} {
		found := &metav1.PartialObjectMetadata{}
		found.SetGroupVersionKind(gvk)
		err := reader.Get(ctx, key, found)
		if err == nil {
			return found, nil
		}
		if !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("looking for %s %s: %w", gvk.Kind, key.Name, err)
		}
	}
	return nil, nil
}

// remove deletes an object of the topology if it is there.
func (a *applier) remove(ctx context.Context, t *v1alpha1.StockSyncTopology, gvk schema.GroupVersionKind, name string) error {
	found := &metav1.PartialObjectMetadata{}
	found.SetGroupVersionKind(gvk)
	err := a.client.Get(ctx, client.ObjectKey{Namespace: t.Namespace, Name: name}, found)
	if apierrors.IsNotFound(err) || err == nil && (!render.Owned(t, found) || found.DeletionTimestamp != nil) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for %s %s: %w", gvk.Kind, name, err)
	}
	uid := found.UID
	err = a.client.Delete(ctx, found, client.Preconditions{UID: &uid}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	return client.IgnoreNotFound(err)
}

// forget drops what is known of a topology's objects.
func (a *applier) forget(topology client.ObjectKey) {
	ours := render.NamesOf(topology.Name).All()
	a.mu.Lock()
	defer a.mu.Unlock()
	for id := range a.done {
		if id.namespace == topology.Namespace && slices.Contains(ours, id.name) {
			delete(a.done, id)
		}
	}
}

// errNamespaceTerminating: the namespace is going, and the topology with it. Nothing can or need be written.
var errNamespaceTerminating = errors.New("the namespace is being deleted")

func classify(kind, name string, err error) error {
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return errNamespaceTerminating
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return &refusedError{fmt.Sprintf("Kubernetes refuses %s %s: %v", kind, name, err)}
	default:
		return fmt.Errorf("applying %s %s: %w", kind, name, err)
	}
}

// metadataOf reads the metadata out of the answer that Apply left in the apply configuration.
func metadataOf(answer runtime.ApplyConfiguration) (metav1.ObjectMeta, error) {
	var object metav1.PartialObjectMetadata
	content, err := json.Marshal(answer)
	if err == nil {
		err = json.Unmarshal(content, &object)
	}
	if err != nil {
		return metav1.ObjectMeta{}, fmt.Errorf("reading the API server's answer: %w", err)
	}
	object.ManagedFields = nil
	return object.ObjectMeta, nil
}

package controllers

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/render"
)

// secretReader reads the keys our objects name, and nothing else, of Secrets that changed since it last did. What
// Secrets there are it knows from a cache of their metadata; no cache holds their content but its own, of the
// named keys alone.
type secretReader struct {
	metadata client.Reader
	live     client.Reader

	mu    sync.Mutex
	known map[types.NamespacedName]knownSecret
}

type knownSecret struct {
	version string
	data    map[string][]byte // a nil value: the key was looked for and is not there
}

func newSecretReader(metadata, live client.Reader) *secretReader {
	return &secretReader{metadata: metadata, live: live, known: map[types.NamespacedName]knownSecret{}}
}

// missingSecret says which of the wanted keys is not there.
type missingSecret struct{ reason, message string }

// read returns the keys that are there, and for each wanted key that is not, why.
func (r *secretReader) read(ctx context.Context, namespace string, wanted []v1alpha1.SecretKeyReference) (render.SecretData, map[v1alpha1.SecretKeyReference]missingSecret, error) {
	data, missing := render.SecretData{}, map[v1alpha1.SecretKeyReference]missingSecret{}
	keys := map[string][]string{}
	for _, w := range wanted {
		keys[w.Name] = append(keys[w.Name], w.Key)
	}
	for name, keys := range keys {
		content, found, err := r.readOne(ctx, types.NamespacedName{Namespace: namespace, Name: name}, keys)
		if err != nil {
			return nil, nil, err
		}
		for _, key := range keys {
			ref := v1alpha1.SecretKeyReference{Name: name, Key: key}
			switch {
			case !found:
				missing[ref] = missingSecret{v1alpha1.ReasonSecretNotFound,
					fmt.Sprintf("Secret %s does not exist in this namespace; create it with the key %s", name, key)}
			case len(content[key]) == 0:
				missing[ref] = missingSecret{v1alpha1.ReasonSecretKeyMissing,
					fmt.Sprintf("Secret %s must have the key %s, and it must not be empty", name, key)}
			default:
				if data[name] == nil {
					data[name] = map[string][]byte{}
				}
				data[name][key] = content[key]
			}
		}
	}
	return data, missing, nil
}

func (r *secretReader) readOne(ctx context.Context, secret types.NamespacedName, keys []string) (map[string][]byte, bool, error) {
	metadata := &metav1.PartialObjectMetadata{}
	metadata.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	if err := r.metadata.Get(ctx, secret, metadata); err != nil {
		if !apierrors.IsNotFound(err) {
			return nil, false, fmt.Errorf("looking for Secret %s: %w", secret.Name, err)
		}
		r.forget(secret)
		return nil, false, nil
	}
	if data, ok := r.recall(secret, metadata.ResourceVersion, keys); ok {
		return data, true, nil
	}
	live := &corev1.Secret{}
	if err := r.live.Get(ctx, secret, live); err != nil {
		if !apierrors.IsNotFound(err) {
			return nil, false, fmt.Errorf("reading Secret %s: %w", secret.Name, err)
		}
		r.forget(secret)
		return nil, false, nil
	}
	return r.remember(secret, live, keys), true, nil
}

func (r *secretReader) recall(secret types.NamespacedName, version string, keys []string) (map[string][]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.known[secret]
	if !ok || newer(version, known.version) {
		return nil, false
	}
	for _, key := range keys {
		if _, asked := known.data[key]; !asked {
			return nil, false
		}
	}
	return known.data, true
}

func (r *secretReader) remember(secret types.NamespacedName, live *corev1.Secret, keys []string) map[string][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	data := map[string][]byte{}
	for key := range r.known[secret].data {
		data[key] = live.Data[key]
	}
	for _, key := range keys {
		data[key] = live.Data[key]
	}
	// Whoever recalled the map before keeps it unchanged: it is replaced, never written to.
	r.known[secret] = knownSecret{version: live.ResourceVersion, data: data}
	return data
}

func (r *secretReader) forget(secret types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, secret)
}

// newer reports whether version a of an object comes after b; when that cannot be told, it says yes.
func newer(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err != nil || order > 0
}

// linkReader reads link tables: whole ConfigMaps, each when it has changed since.
type linkReader struct {
	metadata client.Reader
	live     client.Reader

	mu    sync.Mutex
	known map[types.NamespacedName]knownLinks
}

type knownLinks struct {
	version string
	data    map[string]string
}

func newLinkReader(metadata, live client.Reader) *linkReader {
	return &linkReader{metadata: metadata, live: live, known: map[types.NamespacedName]knownLinks{}}
}

// linksName names the ConfigMap with the links of a child; empty where it has none.
func linksName(c *v1alpha1.ChildStore) string {
	if k := c.Spec.Katana; k != nil && k.LinksConfigMapRef != nil {
		return k.LinksConfigMapRef.Name
	}
	return ""
}

// read returns what a ConfigMap holds, to be read only, and whether there is one.
func (r *linkReader) read(ctx context.Context, name types.NamespacedName) (map[string]string, bool, error) {
	metadata := &metav1.PartialObjectMetadata{}
	metadata.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	if err := r.metadata.Get(ctx, name, metadata); err != nil {
		return nil, false, r.gone(name, err)
	}
	r.mu.Lock()
	known, ok := r.known[name]
	r.mu.Unlock()
	if ok && !newer(metadata.ResourceVersion, known.version) {
		return known.data, true, nil
	}
	live := &corev1.ConfigMap{}
	if err := r.live.Get(ctx, name, live); err != nil {
		return nil, false, r.gone(name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[name] = knownLinks{version: live.ResourceVersion, data: live.Data}
	return live.Data, true, nil
}

// gone forgets a ConfigMap that is not there; any other error it passes on.
func (r *linkReader) gone(name types.NamespacedName, err error) error {
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading ConfigMap %s: %w", name.Name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, name)
	return nil
}

package render

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/yaml"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
)

// SecretData holds the needed keys of the Secrets that were found, by the Secret's name.
type SecretData map[string]map[string][]byte

// ConfigMapData holds the ConfigMaps that were found, by name.
type ConfigMapData map[string]map[string]string

// Config is what the agent reads.
type Config struct {
	// File is the content of [agentapi.ConfigFile].
	File []byte
	// Revision is the content of [agentapi.RevisionFile].
	Revision string
}

// TooLargeError says that a configuration does not fit into one Secret.
type TooLargeError struct{ Size int }

// Error says by how much the configuration is too large and what to do.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the topology, its ChildStores, and the Secrets and ConfigMaps they name take %d bytes together and must take "+
		"at most %d; shorten the exclusions (use skuPatterns), the CA bundles or the link tables, or split the topology", e.Size, maxConfig)
}

// maxConfig leaves room for the revision file beside the configuration in the 1 MiB a Secret may hold.
const maxConfig = corev1.MaxSecretSize - 1024

// NewConfig renders the agent's configuration: the topology, the children by name, the Secrets and the ConfigMaps by
// name. It returns a [*TooLargeError] when that does not fit into a Secret.
func NewConfig(t *v1alpha1.StockSyncTopology, children []*v1alpha1.ChildStore, secrets SecretData, configMaps ConfigMapData) (Config, error) {
	var file bytes.Buffer
	add := func(document any) error {
		text, err := yaml.Marshal(document)
		if err != nil {
			return fmt.Errorf("rendering the agent's configuration: %w", err)
		}
		if file.Len() > 0 {
			file.WriteString("---\n")
		}
		file.Write(text)
		return nil
	}
	if err := add(document(v1alpha1.KindStockSyncTopology, t, t.Spec)); err != nil {
		return Config{}, err
	}
	children = slices.SortedFunc(slices.Values(children), func(a, b *v1alpha1.ChildStore) int {
		return strings.Compare(a.Name, b.Name)
	})
	for _, child := range children {
		if err := add(document(v1alpha1.KindChildStore, child, child.Spec)); err != nil {
			return Config{}, err
		}
	}
	core := func(kind, name string, data any) error {
		return add(map[string]any{
			"apiVersion": "v1",
			"kind":       kind,
			"metadata":   map[string]any{"name": name, "namespace": t.Namespace},
			"data":       data,
		})
	}
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		if err := core("Secret", name, secrets[name]); err != nil {
			return Config{}, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(configMaps)) {
		if err := core("ConfigMap", name, configMaps[name]); err != nil {
			return Config{}, err
		}
	}
	if file.Len() > maxConfig {
		return Config{}, &TooLargeError{Size: file.Len()}
	}
	sum := sha256.Sum256(file.Bytes())
	return Config{File: file.Bytes(), Revision: hex.EncodeToString(sum[:8])}, nil
}

// document is the user's own manifest: what the agent needs of it, and nothing the cluster added.
func document(kind string, object metav1.Object, spec any) map[string]any {
	metadata := map[string]any{"name": object.GetName(), "namespace": object.GetNamespace()}
	annotations := map[string]string{}
	for key, value := range object.GetAnnotations() {
		if strings.HasPrefix(key, v1alpha1.SchemeGroupVersion.Group+"/") {
			annotations[key] = value
		}
	}
	if len(annotations) > 0 {
		metadata["annotations"] = annotations
	}
	return map[string]any{
		"apiVersion": v1alpha1.SchemeGroupVersion.String(),
		"kind":       kind,
		"metadata":   metadata,
		"spec":       spec,
	}
}

// ConfigSecret holds the agent's configuration.
func ConfigSecret(t *v1alpha1.StockSyncTopology, config Config) *coreac.SecretApplyConfiguration {
	return coreac.Secret(NamesOf(t.Name).ConfigSecret, t.Namespace).
		WithLabels(labels(t)).
		WithOwnerReferences(owner(t)).
		WithType(corev1.SecretTypeOpaque).
		WithData(map[string][]byte{
			agentapi.ConfigFile:   config.File,
			agentapi.RevisionFile: []byte(config.Revision),
		})
}

// LedgerSecret holds the ledger's id. It has an owner only where the ledger is to go with its topology.
func LedgerSecret(t *v1alpha1.StockSyncTopology, id string) *coreac.SecretApplyConfiguration {
	secret := coreac.Secret(NamesOf(t.Name).LedgerSecret, t.Namespace).
		WithLabels(labels(t)).
		WithType(corev1.SecretTypeOpaque).
		WithData(map[string][]byte{agentapi.LedgerIDFile: []byte(id)})
	if !t.RetainsLedger() {
		secret.WithOwnerReferences(owner(t))
	}
	return secret
}

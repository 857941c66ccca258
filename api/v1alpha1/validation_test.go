package v1alpha1_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"stocksync.dev/stocksync/internal/apitest"
)

const (
	minimalTopology = `
apiVersion: stocksync.dev/v1alpha1
kind: StockSyncTopology
metadata: {name: emea, namespace: default}
spec:
  master:
    storeID: hq
    woocommerce:
      url: https://hq.example.com
      credentialsSecretRef: {name: hq-rest}
`
	minimalChild = `
apiVersion: stocksync.dev/v1alpha1
kind: ChildStore
metadata: {name: fr, namespace: default}
spec:
  topologyRef: {name: emea}
  woocommerce:
    url: https://fr.example.com
    credentialsSecretRef: {name: fr-rest}
`
	fullTopology = `
apiVersion: stocksync.dev/v1alpha1
kind: StockSyncTopology
metadata: {name: emea, namespace: default}
spec:
  mode: Sync
  publicURL: https://sync.example.com
  master:
    storeID: hq
    displayName: Head office
    editPolicy: Count
    woocommerce:
      url: https://hq.example.com
      transport: HTTPS
      credentialsSecretRef: {name: hq-rest}
      caBundleSecretKeyRef: {name: corp-ca, key: ca.crt}
  exclusions: {skus: [GIFT-CARD], skuPatterns: ["SAMPLE-*"]}
  lagObjectiveSeconds: 60
  reconcile:
    schedule: "0 3 * * *"
    timeZone: Europe/Berlin
    strategy: DifferencesOnly
    suspend: true
    successfulJobsHistoryLimit: 3
    failedJobsHistoryLimit: 0
    startingDeadlineSeconds: 600
    activeDeadlineSeconds: 7200
  audit: {schedule: "@hourly", suspend: false}
  circuitBreaker: {mode: Enabled, sharePercent: 20, minimumSKUs: 20}
  agent:
    image: registry.example.com/agent:1
    imagePullSecrets: [{name: pull}]
    resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {memory: 256Mi}}
    scheduling:
      nodeSelector: {disktype: ssd}
      tolerations: [{key: shops, operator: Exists}]
      priorityClassName: important
    storage: {size: 1Gi, storageClassName: fast, retentionPolicy: Retain}
    exposure:
      ingress:
        className: nginx
        tlsSecretRef: {name: sync-tls}
        annotations: {cert-manager.io/cluster-issuer: corp}
`
	fullChild = `
apiVersion: stocksync.dev/v1alpha1
kind: ChildStore
metadata: {name: fr, namespace: default}
spec:
  topologyRef: {name: emea}
  storeID: fr
  displayName: Boutique FR
  mode: Sync
  editPolicy: Revert
  woocommerce:
    url: http://fr.example.com/shop
    transport: InsecureHTTP
    credentialsSecretRef: {name: fr-rest}
  allocation: {bufferUnits: 2}
  polling: {minIntervalSeconds: 5, maxStoreLoadPercent: 2}
  exclusions: {skus: [OLD-1]}
`
)

const (
	anID    = "6f1c1f4e-0d3b-4c5e-9a55-0b1d7b1f2c3d"
	otherID = "0b1d7b1f-2c3d-4c5e-9a55-6f1c1f4e0d3b"

	kitgenixTopology = `
apiVersion: stocksync.dev/v1alpha1
kind: StockSyncTopology
metadata: {name: emea, namespace: default}
spec:
  publicURL: https://sync.example.com
  identity: {storeID: 6f1c1f4e-0d3b-4c5e-9a55-0b1d7b1f2c3d, displayName: Hub}
  master:
    storeID: hq
    kitgenix:
      url: https://hq.example.com
      remoteStoreID: 0b1d7b1f-2c3d-4c5e-9a55-6f1c1f4e0d3b
      sharedSecretKeyRef: {name: hq-plugin, key: sharedSecret}
`
	kitgenixChild = `
apiVersion: stocksync.dev/v1alpha1
kind: ChildStore
metadata: {name: fr, namespace: default}
spec:
  topologyRef: {name: emea}
  kitgenix:
    url: https://fr.example.com
    transport: HTTPS
    remoteStoreID: 0b1d7b1f-2c3d-4c5e-9a55-6f1c1f4e0d3b
    sharedSecretKeyRef: {name: fr-plugin, key: sharedSecret}
    rotationOverlapSeconds: 3600
    caBundleSecretKeyRef: {name: corp-ca, key: ca.crt}
  checkoutValidation: {masterUnreachablePolicy: LastKnownGood, maxAgeSeconds: 600}
`
	katanaTopology = `
apiVersion: stocksync.dev/v1alpha1
kind: StockSyncTopology
metadata: {name: emea, namespace: default}
spec:
  master:
    storeID: erp
    katana:
      apiURL: https://katana.example.com/v1
      tokenSecretKeyRef: {name: katana, key: token}
      caBundleSecretKeyRef: {name: corp-ca, key: ca.crt}
      requestsPerMinute: 60
      pollIntervalSeconds: 60
      compareIntervalSeconds: 3600
      importGraceSeconds: 0
      wooCommerceSources: [api]
      skuComparison: CaseSensitive
`
	katanaChild = `
apiVersion: stocksync.dev/v1alpha1
kind: ChildStore
metadata: {name: fr, namespace: default}
spec:
  topologyRef: {name: emea}
  woocommerce:
    url: https://fr.example.com
    credentialsSecretRef: {name: fr-rest}
  katana:
    locationID: 4711
    committedOrders: WooCommerceOnly
    quotes: Count
    rounding: Nearest
    belowZero: Zero
    kits: Potential
    drift: Correct
    linksConfigMapRef: {name: fr-links}
`
)

// plugin and account are what no more than needed of kitgenix and katana looks like.
func plugin() map[string]any {
	return map[string]any{"url": "https://fr.example.com", "remoteStoreID": otherID,
		"sharedSecretKeyRef": map[string]any{"name": "fr-plugin", "key": "sharedSecret"}}
}

func account() map[string]any {
	return map[string]any{"tokenSecretKeyRef": map[string]any{"name": "katana", "key": "token"}}
}

// edit changes one field of a manifest, at a dotted path; nil removes it.
type edit struct {
	path  string
	value any
}

func parse(t *testing.T, manifest string, edits ...edit) *unstructured.Unstructured {
	t.Helper()
	text, err := yaml.YAMLToJSON([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	for _, e := range edits {
		path := strings.Split(e.path, ".")
		if e.value == nil {
			unstructured.RemoveNestedField(u.Object, path...)
			continue
		}
		if err := unstructured.SetNestedField(u.Object, e.value, path...); err != nil {
			t.Fatal(err)
		}
	}
	return u
}

func list(n int, format string) []any {
	l := make([]any, n)
	for i := range l {
		l[i] = fmt.Sprintf(format, i)
	}
	return l
}

func pairs(n int) map[string]any {
	m := map[string]any{}
	for i := range n {
		m[fmt.Sprintf("k%d", i)] = "v"
	}
	return m
}

func objects(n int, of map[string]any) []any {
	l := make([]any, n)
	for i := range l {
		m := map[string]any{}
		for k, v := range of {
			m[k] = strings.ReplaceAll(v.(string), "#", fmt.Sprint(i))
		}
		l[i] = m
	}
	return l
}

const (
	woo    = "spec.woocommerce"
	master = "spec.master.woocommerce"
)

// TestCreateRules gives every rule of the CRDs a manifest it refuses, with the text the user reads, and one it
// takes (want empty).
func TestCreateRules(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 600)
	cases := []struct {
		manifest string
		edit     edit
		want     string
	}{
		{minimalTopology, edit{}, ""},
		{minimalChild, edit{}, ""},
		{fullTopology, edit{}, ""},
		{fullChild, edit{}, ""},

		// Names.
		{minimalTopology, edit{"metadata.name", strings.Repeat("a", 40)}, ""},
		{minimalTopology, edit{"metadata.name", strings.Repeat("a", 41)}, "`metadata.name` must be a DNS label of at most 40 characters"},
		{minimalTopology, edit{"metadata.name", "e.mea"}, "`metadata.name` must be a DNS label of at most 40 characters"},
		{minimalTopology, edit{"metadata.name", "1emea"}, "beginning with a letter"},
		{minimalChild, edit{"metadata.name", strings.Repeat("a", 41)}, "must be a DNS label of at most 40 characters when `spec.storeID` is omitted"},
		{minimalChild, edit{"metadata.name", "shop.fr"}, "must be a DNS label of at most 40 characters when `spec.storeID` is omitted"},
		{fullChild, edit{"metadata.name", "shop.fr"}, ""},
		{minimalChild, edit{"spec.topologyRef.name", "E"}, "must be the name of a StockSyncTopology"},
		{minimalChild, edit{"spec.topologyRef.name", strings.Repeat("a", 41)}, "may not be more than 40"},
		{minimalChild, edit{"spec.topologyRef.name", ""}, "should be at least 1 chars long"},
		{minimalChild, edit{"spec.topologyRef", nil}, "spec.topologyRef: Required value"},
		{minimalChild, edit{"spec.topologyRef", map[string]any{}}, "spec.topologyRef.name: Required value"},

		// Store ids.
		{minimalTopology, edit{"spec.master.storeID", nil}, "spec.master.storeID: Required value"},
		{minimalTopology, edit{"spec.master.storeID", ""}, "should be at least 1 chars long"},
		{minimalTopology, edit{"spec.master.storeID", "HQ"}, "must be lower-case letters, digits and hyphens"},
		{minimalTopology, edit{"spec.master.storeID", "hq-"}, "must be lower-case letters, digits and hyphens"},
		{minimalTopology, edit{"spec.master.storeID", strings.Repeat("a", 41)}, "may not be more than 40"},
		{minimalTopology, edit{"spec.master.storeID", strings.Repeat("1", 40)}, ""},
		{minimalChild, edit{"spec.storeID", "fr_1"}, "must be lower-case letters, digits and hyphens"},
		{minimalChild, edit{"spec.storeID", strings.Repeat("a", 41)}, "may not be more than 40"},
		{minimalChild, edit{"spec.storeID", ""}, "should be at least 1 chars long"},
		{minimalChild, edit{"spec.storeID", "fr-1"}, ""},

		// Drivers.
		{minimalTopology, edit{"spec.master", nil}, "spec.master: Required value"},
		{minimalTopology, edit{master, nil}, "a way to reach the store must be given: `woocommerce`, `kitgenix` or both; or `katana`"},
		{minimalChild, edit{woo, nil}, "a way to reach the store must be given: `woocommerce`, `kitgenix` or both"},
		{kitgenixTopology, edit{}, ""},
		{kitgenixChild, edit{}, ""},
		{katanaTopology, edit{}, ""},
		{katanaChild, edit{}, ""},
		{minimalChild, edit{"spec.kitgenix", plugin()}, ""},
		{fullTopology, edit{"spec.master.kitgenix", plugin()}, ""},
		{minimalTopology, edit{"spec.master.kitgenix", plugin()}, "`publicURL` must be set when `master.kitgenix` is"},
		{minimalTopology, edit{"spec.master.katana", account()}, "`katana` must stand alone"},
		{kitgenixTopology, edit{"spec.master.katana", account()}, "`katana` must stand alone"},
		{katanaTopology, edit{"spec.master.katana", account()}, ""},
		{katanaTopology, edit{"spec.master.editPolicy", "Count"}, "`editPolicy` must be omitted with `katana`"},
		{katanaChild, edit{"spec.editPolicy", "Revert"}, "`editPolicy` must be omitted with `katana`"},
		{katanaChild, edit{"spec.kitgenix", plugin()}, "with `katana`, `woocommerce` must be given and `kitgenix` omitted"},
		{kitgenixChild, edit{"spec.katana", map[string]any{"locationID": int64(1)}}, "with `katana`, `woocommerce` must be given and `kitgenix` omitted"},
		{minimalChild, edit{"spec.checkoutValidation", map[string]any{}}, "`checkoutValidation` must be omitted without `kitgenix`"},
		{kitgenixChild, edit{"spec.checkoutValidation", map[string]any{}}, ""},

		// The plugin.
		{kitgenixTopology, edit{"spec.identity", map[string]any{}}, ""},
		{kitgenixTopology, edit{"spec.identity.storeID", strings.ToUpper(anID)}, "must be a UUID in lower case"},
		{kitgenixTopology, edit{"spec.identity.storeID", anID[1:]}, "should be at least 36 chars long"},
		{kitgenixTopology, edit{"spec.identity.storeID", anID + "0"}, "may not be more than 36"},
		{kitgenixTopology, edit{"spec.identity.displayName", ""}, "should be at least 1 chars long"},
		{kitgenixTopology, edit{"spec.identity.displayName", strings.Repeat("é", 101)}, "may not be more than 100"},
		{kitgenixChild, edit{"spec.kitgenix.url", nil}, "spec.kitgenix.url: Required value"},
		{kitgenixChild, edit{"spec.kitgenix.url", "fr.example.com"}, "must be an absolute URL such as https://shop.example.com"},
		{kitgenixChild, edit{"spec.kitgenix.url", "https://a:b@fr.example.com"}, "must hold no user, query or fragment"},
		{kitgenixChild, edit{"spec.kitgenix.url", "http://fr.example.com"}, "`url` must begin with https://; with `transport` InsecureHTTP it must begin with http://"},
		{kitgenixChild, edit{"spec.kitgenix.url", "https://" + long}, "may not be more than 500"},
		{kitgenixChild, edit{"spec.kitgenix.transport", "HTTP"}, `supported values: "HTTPS", "InsecureHTTP"`},
		{kitgenixChild, edit{"spec.kitgenix.transport", "InsecureHTTP"}, "`caBundleSecretKeyRef` must be omitted when `transport` is InsecureHTTP"},
		{kitgenixChild, edit{"spec.kitgenix.remoteStoreID", nil}, "spec.kitgenix.remoteStoreID: Required value"},
		{kitgenixChild, edit{"spec.kitgenix.remoteStoreID", "fr"}, "should be at least 36 chars long"},
		{kitgenixChild, edit{"spec.kitgenix.remoteStoreID", strings.ReplaceAll(otherID, "-", "0")}, "must be the Store ID the plugin shows"},
		{kitgenixChild, edit{"spec.kitgenix.sharedSecretKeyRef", nil}, "spec.kitgenix.sharedSecretKeyRef: Required value"},
		{kitgenixChild, edit{"spec.kitgenix.sharedSecretKeyRef.key", "a/b"}, "must be a Secret key"},
		{kitgenixChild, edit{"spec.kitgenix.caBundleSecretKeyRef.key", "a/b"}, "must be a Secret key"},
		{kitgenixChild, edit{"spec.kitgenix.rotationOverlapSeconds", int64(-1)}, "should be greater than or equal to 0"},
		{kitgenixChild, edit{"spec.kitgenix.rotationOverlapSeconds", int64(604801)}, "should be less than or equal to 604800"},
		{kitgenixChild, edit{"spec.kitgenix.rotationOverlapSeconds", int64(0)}, ""},
		{kitgenixChild, edit{"spec.checkoutValidation.masterUnreachablePolicy", "Open"}, `supported values: "FailOpen", "LastKnownGood", "FailClosed"`},
		{kitgenixChild, edit{"spec.checkoutValidation.masterUnreachablePolicy", "FailOpen"}, "`maxAgeSeconds` must be omitted unless `masterUnreachablePolicy` is LastKnownGood"},
		{kitgenixChild, edit{"spec.checkoutValidation", map[string]any{"masterUnreachablePolicy": "FailClosed"}}, ""},
		{kitgenixChild, edit{"spec.checkoutValidation.maxAgeSeconds", int64(59)}, "should be greater than or equal to 60"},
		{kitgenixChild, edit{"spec.checkoutValidation.maxAgeSeconds", int64(604801)}, "should be less than or equal to 604800"},

		// Katana.
		{katanaTopology, edit{"spec.master.katana.apiURL", "http://katana.example.com"}, "must be an absolute URL that begins with https://"},
		{katanaTopology, edit{"spec.master.katana.apiURL", "https://katana.example.com?a=b"}, "must hold no user, query or fragment"},
		{katanaTopology, edit{"spec.master.katana.apiURL", ""}, "should be at least 1 chars long"},
		{katanaTopology, edit{"spec.master.katana.apiURL", "https://" + long}, "may not be more than 500"},
		{katanaTopology, edit{"spec.master.katana.tokenSecretKeyRef", nil}, "spec.master.katana.tokenSecretKeyRef: Required value"},
		{katanaTopology, edit{"spec.master.katana.tokenSecretKeyRef.name", "K"}, "must be an object name"},
		{katanaTopology, edit{"spec.master.katana.caBundleSecretKeyRef.key", "a/b"}, "must be a Secret key"},
		{katanaTopology, edit{"spec.master.katana.requestsPerMinute", int64(9)}, "should be greater than or equal to 10"},
		{katanaTopology, edit{"spec.master.katana.requestsPerMinute", int64(6001)}, "should be less than or equal to 6000"},
		{katanaTopology, edit{"spec.master.katana.pollIntervalSeconds", int64(14)}, "should be greater than or equal to 15"},
		{katanaTopology, edit{"spec.master.katana.pollIntervalSeconds", int64(3601)}, "should be less than or equal to 3600"},
		{katanaTopology, edit{"spec.master.katana.compareIntervalSeconds", int64(299)}, "should be greater than or equal to 300"},
		{katanaTopology, edit{"spec.master.katana.compareIntervalSeconds", int64(604801)}, "should be less than or equal to 604800"},
		{katanaTopology, edit{"spec.master.katana.importGraceSeconds", int64(-1)}, "should be greater than or equal to 0"},
		{katanaTopology, edit{"spec.master.katana.importGraceSeconds", int64(604801)}, "should be less than or equal to 604800"},
		{katanaTopology, edit{"spec.master.katana.wooCommerceSources", list(17, "s%d")}, "must have at most 16 items"},
		{katanaTopology, edit{"spec.master.katana.wooCommerceSources", []any{""}}, "should be at least 1 chars long"},
		{katanaTopology, edit{"spec.master.katana.wooCommerceSources", []any{long}}, "may not be more than 100"},
		{katanaTopology, edit{"spec.master.katana.wooCommerceSources", []any{"a", "a"}}, "Duplicate value"},
		{katanaTopology, edit{"spec.master.katana.skuComparison", "Exact"}, `supported values: "CaseSensitive", "CaseInsensitive"`},
		{katanaTopology, edit{"spec.master.katana.skuComparison", "CaseInsensitive"}, ""},
		{katanaChild, edit{"spec.katana", map[string]any{"locationID": int64(1)}}, ""},
		{katanaChild, edit{"spec.katana.locationID", nil}, "spec.katana.locationID: Required value"},
		{katanaChild, edit{"spec.katana.locationID", int64(0)}, "should be greater than or equal to 1"},
		{katanaChild, edit{"spec.katana.locationID", int64(2147483648)}, "should be less than or equal to 2147483647"},
		{katanaChild, edit{"spec.katana.locationID", "main"}, "must be of type integer"},
		{katanaChild, edit{"spec.katana.committedOrders", "None"}, `supported values: "All", "WooCommerceOnly"`},
		{katanaChild, edit{"spec.katana.quotes", "Yes"}, `supported values: "Ignore", "Count"`},
		{katanaChild, edit{"spec.katana.rounding", "HalfUp"}, `supported values: "Down", "Nearest", "Up"`},
		{katanaChild, edit{"spec.katana.belowZero", "Clamp"}, `supported values: "Keep", "Zero"`},
		{katanaChild, edit{"spec.katana.kits", "Parts"}, `supported values: "InStock", "Potential"`},
		{katanaChild, edit{"spec.katana.drift", "Fix"}, `supported values: "Keep", "Correct"`},
		{katanaChild, edit{"spec.katana.linksConfigMapRef.name", "Links"}, "must be an object name"},

		// Addresses.
		{minimalChild, edit{woo + ".url", nil}, "spec.woocommerce.url: Required value"},
		{minimalChild, edit{woo + ".url", ""}, "should be at least 1 chars long"},
		{minimalChild, edit{woo + ".url", "https://" + long}, "may not be more than 500"},
		{minimalChild, edit{woo + ".url", "fr.example.com"}, "must be an absolute URL such as https://shop.example.com"},
		{minimalChild, edit{woo + ".url", "https://"}, "must be an absolute URL such as https://shop.example.com"},
		{minimalChild, edit{woo + ".url", "https://fr.example.com?x=1"}, "must hold no user, query or fragment"},
		{minimalChild, edit{woo + ".url", "https://ck:cs@fr.example.com"}, "must hold no user, query or fragment"},
		{minimalChild, edit{woo + ".url", "https://fr.example.com/#top"}, "must hold no user, query or fragment"},
		{minimalChild, edit{woo + ".url", "http://fr.example.com"}, "`url` must begin with https://; with `transport` InsecureHTTP it must begin with http://"},
		{minimalChild, edit{woo + ".url", "ftp://fr.example.com"}, "`url` must begin with https://"},
		{fullChild, edit{woo + ".url", "https://fr.example.com"}, "with `transport` InsecureHTTP it must begin with http://"},
		{minimalChild, edit{woo + ".url", "https://example.com:8443/shop/"}, ""},
		{minimalTopology, edit{master + ".url", "http://hq.example.com"}, "`url` must begin with https://"},
		{minimalChild, edit{woo + ".transport", "HTTP"}, `Unsupported value: "HTTP": supported values: "HTTPS", "InsecureHTTP"`},
		{fullChild, edit{woo + ".caBundleSecretKeyRef", map[string]any{"name": "ca", "key": "ca.crt"}}, "`caBundleSecretKeyRef` must be omitted when `transport` is InsecureHTTP"},

		// References.
		{minimalChild, edit{woo + ".credentialsSecretRef", nil}, "spec.woocommerce.credentialsSecretRef: Required value"},
		{minimalChild, edit{woo + ".credentialsSecretRef", map[string]any{}}, "spec.woocommerce.credentialsSecretRef.name: Required value"},
		{minimalChild, edit{woo + ".credentialsSecretRef.name", "Fr_Rest"}, "must be an object name: lower-case letters"},
		{minimalChild, edit{woo + ".credentialsSecretRef.name", strings.Repeat("a", 254)}, "may not be more than 253"},
		{minimalChild, edit{woo + ".credentialsSecretRef.name", ""}, "should be at least 1 chars long"},
		{fullTopology, edit{master + ".caBundleSecretKeyRef.name", "Corp"}, "must be an object name: lower-case letters"},
		{fullTopology, edit{master + ".caBundleSecretKeyRef.key", "ca/crt"}, "must be a Secret key: letters, digits, hyphens, dots and underscores"},
		{fullTopology, edit{master + ".caBundleSecretKeyRef.key", nil}, "caBundleSecretKeyRef.key: Required value"},
		{fullTopology, edit{master + ".caBundleSecretKeyRef.name", nil}, "caBundleSecretKeyRef.name: Required value"},
		{fullTopology, edit{master + ".caBundleSecretKeyRef.key", strings.Repeat("a", 254)}, "may not be more than 253"},

		// Modes and policies.
		{minimalTopology, edit{"spec.mode", "Off"}, `Unsupported value: "Off": supported values: "Observe", "Sync"`},
		{minimalTopology, edit{"spec.mode", "Observe"}, ""},
		{minimalChild, edit{"spec.mode", "Paused"}, `supported values: "Sync", "Observe", "Off"`},
		{minimalChild, edit{"spec.mode", "Off"}, ""},
		{minimalChild, edit{"spec.editPolicy", "Ignore"}, `supported values: "Count", "Revert"`},
		{minimalTopology, edit{"spec.master.editPolicy", "Ignore"}, `supported values: "Count", "Revert"`},
		{minimalTopology, edit{"spec.master.editPolicy", "Revert"}, ""},
		{minimalChild, edit{"spec.displayName", strings.Repeat("é", 101)}, "may not be more than 100"},
		{minimalChild, edit{"spec.displayName", ""}, "should be at least 1 chars long"},
		{minimalTopology, edit{"spec.master.displayName", strings.Repeat("é", 101)}, "may not be more than 100"},
		{minimalTopology, edit{"spec.master.displayName", ""}, "should be at least 1 chars long"},

		// Public address.
		{minimalTopology, edit{"spec.publicURL", "http://emea-agent-public.shops.svc:80"}, ""},
		{minimalTopology, edit{"spec.publicURL", "https://sync.example.com/"}, ""},
		{minimalTopology, edit{"spec.publicURL", "https://sync.example.com/hooks/emea/"}, ""},
		{minimalTopology, edit{"spec.publicURL", "https://sync.example.com/../emea"}, "must be https:// or http:// followed by a host, an optional port and an optional path"},
		{minimalTopology, edit{"spec.publicURL", "https://u@sync.example.com"}, "must be https:// or http:// followed by a host, an optional port and an optional path"},
		{minimalTopology, edit{"spec.publicURL", "sync.example.com"}, "must be https:// or http:// followed by a host, an optional port and an optional path"},
		{minimalTopology, edit{"spec.publicURL", "ftp://sync.example.com"}, "must be https:// or http:// followed by a host, an optional port and an optional path"},
		{minimalTopology, edit{"spec.publicURL", ""}, "should be at least 1 chars long"},
		{minimalTopology, edit{"spec.publicURL", "https://" + long}, "may not be more than 300"},
		{fullTopology, edit{"spec.publicURL", nil}, "`publicURL` must be set when `agent.exposure.ingress` is"},

		// Numbers.
		{minimalTopology, edit{"spec.lagObjectiveSeconds", int64(4)}, "should be greater than or equal to 5"},
		{minimalTopology, edit{"spec.lagObjectiveSeconds", int64(86401)}, "should be less than or equal to 86400"},
		{minimalTopology, edit{"spec.lagObjectiveSeconds", 1.5}, "must be of type integer"},
		{minimalChild, edit{"spec.allocation", map[string]any{"bufferUnits": int64(-1)}}, "should be greater than or equal to 0"},
		{minimalChild, edit{"spec.allocation", map[string]any{"bufferUnits": int64(1000001)}}, "should be less than or equal to 1000000"},
		{minimalChild, edit{"spec.allocation", map[string]any{"bufferUnits": int64(0)}}, ""},
		{minimalChild, edit{"spec.polling", map[string]any{"minIntervalSeconds": int64(0)}}, "should be greater than or equal to 1"},
		{minimalChild, edit{"spec.polling", map[string]any{"minIntervalSeconds": int64(3601)}}, "should be less than or equal to 3600"},
		{minimalChild, edit{"spec.polling", map[string]any{"maxStoreLoadPercent": int64(0)}}, "should be greater than or equal to 1"},
		{minimalChild, edit{"spec.polling", map[string]any{"maxStoreLoadPercent": int64(101)}}, "should be less than or equal to 100"},
		{minimalChild, edit{"spec.polling", map[string]any{}}, ""},

		// Schedules.
		{minimalTopology, edit{"spec.reconcile", map[string]any{}}, "spec.reconcile.schedule: Required value"},
		{minimalTopology, edit{"spec.audit", map[string]any{}}, "spec.audit.schedule: Required value"},
		{fullTopology, edit{"spec.audit.schedule", ""}, "should be at least 1 chars long"},
		{fullTopology, edit{"spec.audit.schedule", long}, "may not be more than 100"},
		{fullTopology, edit{"spec.audit.schedule", "*/15 0-6,22 1,15 jan-MAR,12 mon-fri/2"}, ""},
		{fullTopology, edit{"spec.audit.schedule", "05 03 01 ? 0,6"}, ""},
		{fullTopology, edit{"spec.audit.schedule", "@weekly"}, ""},
		{fullTopology, edit{"spec.audit.schedule", "@fortnightly"}, "or one of @hourly, @daily"},
		{fullTopology, edit{"spec.audit.schedule", "@every 5m"}, "must be five fields"},
		{fullTopology, edit{"spec.audit.schedule", "0 3 * *"}, "must be five fields"},
		{fullTopology, edit{"spec.audit.schedule", "0 0 3 * * *"}, "must be five fields"},
		{fullTopology, edit{"spec.audit.schedule", "0  3 * * *"}, "with one blank between them"},
		{fullTopology, edit{"spec.audit.schedule", "TZ=UTC 0 3 * * *"}, "a time zone belongs in `timeZone`"},
		{fullTopology, edit{"spec.audit.schedule", "CRON_TZ=UTC 0 3 * *"}, "the minute, the first field, must be"},
		{fullTopology, edit{"spec.audit.schedule", "60 3 * * *"}, "the minute, the first field, must be *, a number between 0 and 59"},
		{fullTopology, edit{"spec.audit.schedule", "0 24 * * *"}, "the hour, the second field, must be *, a number between 0 and 23"},
		{fullTopology, edit{"spec.audit.schedule", "0 3 32 * *"}, "the day of the month, the third field, must be *, a number between 1 and 31"},
		{fullTopology, edit{"spec.audit.schedule", "0 3 0 * *"}, "the day of the month, the third field"},
		{fullTopology, edit{"spec.audit.schedule", "0 3 * 13 *"}, "the month, the fourth field, must be *, a number between 1 and 12 or jan to dec"},
		{fullTopology, edit{"spec.audit.schedule", "0 3 * * 7"}, "the day of the week, the fifth field, must be *, a number between 0, which is Sunday, and 6"},
		{fullTopology, edit{"spec.audit.schedule", "*/0 3 * * *"}, "a step such as */2"},
		{fullTopology, edit{"spec.audit.schedule", "0 3 * * someday"}, "the day of the week, the fifth field"},
		{fullTopology, edit{"spec.reconcile.schedule", "60 3 * * *"}, "spec.reconcile.schedule: Invalid value"},
		{fullTopology, edit{"spec.audit.timeZone", "America/Argentina/Buenos_Aires"}, ""},
		{fullTopology, edit{"spec.audit.timeZone", "Etc/GMT+1"}, ""},
		{fullTopology, edit{"spec.audit.timeZone", "Local"}, "must be the name of a time zone such as Europe/Berlin or Etc/UTC"},
		{fullTopology, edit{"spec.audit.timeZone", "../etc/passwd"}, "must be the name of a time zone"},
		{fullTopology, edit{"spec.audit.timeZone", ""}, "should be at least 1 chars long"},
		{fullTopology, edit{"spec.audit.timeZone", long}, "may not be more than 64"},
		{fullTopology, edit{"spec.audit.suspend", "yes"}, "must be of type boolean"},
		{fullTopology, edit{"spec.audit.successfulJobsHistoryLimit", int64(-1)}, "should be greater than or equal to 0"},
		{fullTopology, edit{"spec.audit.successfulJobsHistoryLimit", int64(101)}, "should be less than or equal to 100"},
		{fullTopology, edit{"spec.audit.failedJobsHistoryLimit", int64(-1)}, "should be greater than or equal to 0"},
		{fullTopology, edit{"spec.audit.failedJobsHistoryLimit", int64(101)}, "should be less than or equal to 100"},
		{fullTopology, edit{"spec.audit.startingDeadlineSeconds", int64(9)}, "should be greater than or equal to 10"},
		{fullTopology, edit{"spec.audit.startingDeadlineSeconds", int64(604801)}, "should be less than or equal to 604800"},
		{fullTopology, edit{"spec.audit.activeDeadlineSeconds", int64(59)}, "should be greater than or equal to 60"},
		{fullTopology, edit{"spec.audit.activeDeadlineSeconds", int64(604801)}, "should be less than or equal to 604800"},
		{fullTopology, edit{"spec.reconcile.strategy", "Reset"}, `supported values: "DifferencesOnly", "Push", "DryRun"`},
		{fullTopology, edit{"spec.reconcile.strategy", "DryRun"}, ""},

		// The circuit breaker.
		{minimalTopology, edit{"spec.circuitBreaker", map[string]any{}}, ""},
		{fullTopology, edit{"spec.circuitBreaker.mode", "Off"}, `supported values: "Enabled", "Disabled"`},
		{fullTopology, edit{"spec.circuitBreaker.mode", "Disabled"}, ""},
		{fullTopology, edit{"spec.circuitBreaker.sharePercent", int64(0)}, "should be greater than or equal to 1"},
		{fullTopology, edit{"spec.circuitBreaker.sharePercent", int64(101)}, "should be less than or equal to 100"},
		{fullTopology, edit{"spec.circuitBreaker.minimumSKUs", int64(0)}, "should be greater than or equal to 1"},
		{fullTopology, edit{"spec.circuitBreaker.minimumSKUs", int64(1000001)}, "should be less than or equal to 1000000"},

		// Exclusions.
		{minimalTopology, edit{"spec.exclusions", map[string]any{"skus": list(1000, "S-%d")}}, ""},
		{minimalTopology, edit{"spec.exclusions", map[string]any{"skus": list(1001, "S-%d")}}, "must have at most 1000 items"},
		{minimalChild, edit{"spec.exclusions", map[string]any{"skus": []any{"A", "A"}}}, `Duplicate value: "A"`},
		{minimalChild, edit{"spec.exclusions", map[string]any{"skus": []any{""}}}, "should be at least 1 chars long"},
		{minimalChild, edit{"spec.exclusions", map[string]any{"skus": []any{long}}}, "may not be more than 100"},
		{minimalTopology, edit{"spec.exclusions", map[string]any{"skuPatterns": list(101, "S-%d*")}}, "must have at most 100 items"},
		{minimalTopology, edit{"spec.exclusions", map[string]any{"skuPatterns": []any{"A*", "A*"}}}, `Duplicate value: "A*"`},
		{minimalTopology, edit{"spec.exclusions", map[string]any{"skuPatterns": []any{""}}}, "should be at least 1 chars long"},
		{minimalTopology, edit{"spec.exclusions", map[string]any{"skuPatterns": []any{long}}}, "may not be more than 100"},

		// The agent's pod.
		{minimalTopology, edit{"spec.agent", map[string]any{}}, ""},
		{fullTopology, edit{"spec.agent.image", ""}, "should be at least 1 chars long"},
		{fullTopology, edit{"spec.agent.image", long}, "may not be more than 500"},
		{fullTopology, edit{"spec.agent.imagePullSecrets", objects(9, map[string]any{"name": "p#"})}, "must have at most 8 items"},
		{fullTopology, edit{"spec.agent.imagePullSecrets", objects(2, map[string]any{"name": "p"})}, "Duplicate value"},
		{fullTopology, edit{"spec.agent.resources.limits", map[string]any{"memory": "lots"}}, "spec.agent.resources.limits.memory in body should match"},
		{fullTopology, edit{"spec.agent.scheduling.nodeSelector", pairs(33)}, "must have at most 32 items"},
		{fullTopology, edit{"spec.agent.scheduling.tolerations", objects(33, map[string]any{"key": "k#", "operator": "Exists"})}, "must have at most 32 items"},
		{fullTopology, edit{"spec.agent.scheduling.priorityClassName", ""}, "should be at least 1 chars long"},
		{fullTopology, edit{"spec.agent.scheduling.priorityClassName", strings.Repeat("a", 254)}, "may not be more than 253"},
		{fullTopology, edit{"spec.agent.storage.size", "64Mi"}, ""},
		{fullTopology, edit{"spec.agent.storage.size", int64(1 << 30)}, ""},
		{fullTopology, edit{"spec.agent.storage.size", "63Mi"}, "must be at least 64Mi"},
		{fullTopology, edit{"spec.agent.storage.size", "big"}, "spec.agent.storage.size in body should match"},
		{fullTopology, edit{"spec.agent.storage.storageClassName", ""}, "should be at least 1 chars long"},
		{fullTopology, edit{"spec.agent.storage.storageClassName", strings.Repeat("a", 254)}, "may not be more than 253"},
		{fullTopology, edit{"spec.agent.storage.retentionPolicy", "Keep"}, `supported values: "Retain", "Delete"`},
		{fullTopology, edit{"spec.agent.storage.retentionPolicy", "Delete"}, ""},
		{fullTopology, edit{"spec.agent.exposure.ingress.className", ""}, "should be at least 1 chars long"},
		{fullTopology, edit{"spec.agent.exposure.ingress.className", strings.Repeat("a", 254)}, "may not be more than 253"},
		{fullTopology, edit{"spec.agent.exposure.ingress.annotations", pairs(33)}, "must have at most 32 items"},
		{fullTopology, edit{"spec.agent.exposure.ingress", map[string]any{}}, ""},
	}
	for i, c := range cases {
		t.Run(fmt.Sprintf("%d %s=%.20v", i, c.edit.path, c.edit.value), func(t *testing.T) {
			t.Parallel()
			var edits []edit
			if c.edit.path != "" {
				edits = append(edits, c.edit)
			}
			err := server.Create(t.Context(), parse(t, c.manifest, edits...), client.DryRunAll)
			assertRefusal(t, err, c.want)
		})
	}
}

// TestChangeRules does the same for what may not change after creation.
func TestChangeRules(t *testing.T) {
	t.Parallel()
	storageLater := "`agent.storage` must stay as it was created, whether set or omitted"
	storeIDLater := "`storeID` must stay as it was created, whether set or omitted"
	cases := []struct {
		name     string
		manifest string
		edit     edit
		want     string
	}{
		{"topologyRef", minimalChild, edit{"spec.topologyRef.name", "apac"}, "must stay as it was created; delete the ChildStore"},
		{"storeID changed", fullChild, edit{"spec.storeID", "be"}, storeIDLater},
		{"storeID set", minimalChild, edit{"spec.storeID", "fr"}, storeIDLater},
		{"storeID removed", fullChild, edit{"spec.storeID", nil}, storeIDLater},
		{"child otherwise", fullChild, edit{"spec.mode", "Off"}, ""},
		{"child url", fullChild, edit{"spec.woocommerce.url", "http://new.example.com"}, ""},
		{"master storeID", minimalTopology, edit{"spec.master.storeID", "main"}, "must stay as it was created; make a topology of another name"},
		{"storage set", minimalTopology, edit{"spec.agent", map[string]any{"storage": map[string]any{"size": "2Gi"}}}, storageLater},
		{"storage changed", fullTopology, edit{"spec.agent.storage.size", "2Gi"}, storageLater},
		{"storage removed", fullTopology, edit{"spec.agent.storage", nil}, storageLater},
		{"agent removed", fullTopology, edit{"spec.agent", nil}, storageLater},
		{"agent set", minimalTopology, edit{"spec.agent", map[string]any{"image": "x:1"}}, ""},
		{"katana added", minimalTopology, edit{"spec.master", map[string]any{"storeID": "hq", "katana": account()}}, "`katana` must stay set or omitted as it was created"},
		{"katana removed", katanaTopology, edit{"spec.master", parse(t, minimalTopology).Object["spec"].(map[string]any)["master"]}, "`katana` must stay set or omitted as it was created"},
		{"katana's account changed", katanaTopology, edit{"spec.master.katana", account()}, ""},
		{"plugin added beside REST keys", minimalChild, edit{"spec.kitgenix", plugin()}, ""},
		{"plugin of the master added", fullTopology, edit{"spec.master.kitgenix", plugin()}, ""},
		{"identity changed", kitgenixTopology, edit{"spec.identity.storeID", otherID}, ""},
		{"topology otherwise", fullTopology, edit{"spec.mode", "Observe"}, ""},
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			name := edit{"metadata.name", fmt.Sprintf("change-%d", i)}
			created := parse(t, c.manifest, name)
			if err := server.Create(t.Context(), created); err != nil {
				t.Fatal(err)
			}
			changed := parse(t, c.manifest, name, c.edit)
			changed.SetResourceVersion(created.GetResourceVersion())
			assertRefusal(t, server.Update(t.Context(), changed, client.DryRunAll), c.want)
		})
	}
}

func assertRefusal(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("refused, must be taken: %v", err)
	case want != "" && err == nil:
		t.Errorf("taken, must be refused with %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("refused with\n  %v\nmust say\n  %s", err, want)
	}
}

// TestServerInjectsNothing proves that a spec comes back as it was written, so that GitOps tools see no drift.
func TestServerInjectsNothing(t *testing.T) {
	t.Parallel()
	for i, manifest := range []string{minimalTopology, fullTopology, minimalChild, fullChild, kitgenixTopology, kitgenixChild, katanaTopology, katanaChild} {
		written := parse(t, manifest, edit{"metadata.name", fmt.Sprintf("inject-%d", i)})
		want := written.DeepCopy().Object["spec"]
		if err := server.Create(t.Context(), written); err != nil {
			t.Fatal(err)
		}
		got := written.DeepCopy()
		if err := server.Get(t.Context(), client.ObjectKeyFromObject(written), got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Object["spec"]); diff != "" {
			t.Errorf("the server changed the spec (-written +read):\n%s", diff)
		}
		if _, found := got.Object["status"]; found {
			t.Errorf("the server added a status: %v", got.Object["status"])
		}
	}
}

func TestChildrenAreSelectableByTopology(t *testing.T) {
	t.Parallel()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "select-"}}
	if err := server.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	for name, topology := range map[string]string{"fr": "emea", "de": "emea", "jp": "apac"} {
		child := parse(t, minimalChild, edit{"metadata.name", name}, edit{"metadata.namespace", ns.Name},
			edit{"spec.topologyRef.name", topology})
		if err := server.Create(t.Context(), child); err != nil {
			t.Fatal(err)
		}
	}
	children := &unstructured.UnstructuredList{}
	children.SetAPIVersion("stocksync.dev/v1alpha1")
	children.SetKind("ChildStoreList")
	err := server.List(t.Context(), children, client.InNamespace(ns.Name),
		client.MatchingFields{"spec.topologyRef.name": "emea"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range children.Items {
		names = append(names, c.GetName())
	}
	if diff := cmp.Diff([]string{"de", "fr"}, names); diff != "" {
		t.Errorf("children of emea (-want +got):\n%s", diff)
	}
}

// TestSamplesApplyTwice proves that every sample is valid and that applying it again changes nothing.
func TestSamplesApplyTwice(t *testing.T) {
	t.Parallel()
	dir, err := apitest.ModuleFile("config", "samples")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "samples-"}}
	if err := server.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	applied := 0
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for document := range strings.SplitSeq(string(content), "\n---\n") {
			var versions []string
			for range 2 {
				object := parse(t, document, edit{"metadata.namespace", ns.Name})
				if err := server.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object),
					client.FieldOwner("user")); err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				versions = append(versions, object.GetResourceVersion())
			}
			if versions[0] != versions[1] {
				t.Errorf("%s: applying it again wrote it: resourceVersion %v", file, versions)
			}
			applied++
		}
	}
	if applied < 18 {
		t.Errorf("applied %d sample objects of %s, want every sample's topology, its children and what they name", applied, dir)
	}
}

// TestCRDsStaySmall: client-side apply keeps a copy in an annotation of at most 256 KiB.
func TestCRDsStaySmall(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"stocksynctopologies", "childstores"} {
		file, err := apitest.ModuleFile("config", "crd", "bases", "stocksync.dev_"+name+".yaml")
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > 200_000 {
			t.Errorf("%s takes %d bytes, want at most 200000", name, info.Size())
		}
	}
}

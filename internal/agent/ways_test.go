package agent

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stocksync.dev/stocksync/api/v1alpha1"
)

const (
	pluginTopologyDoc = `apiVersion: stocksync.dev/v1alpha1
kind: StockSyncTopology
metadata: {name: emea, namespace: shops}
spec:
  publicURL: https://sync.example.com
  lagObjectiveSeconds: 90
  identity: {storeID: 6f1c1f4e-0d3b-4c5e-9a55-0b1d7b1f2c3d, displayName: Hub}
  master:
    storeID: hq
    kitgenix:
      url: https://hq.example.com/
      remoteStoreID: 1c2d3e4f-0d3b-4c5e-9a55-0b1d7b1f2c3d
      sharedSecretKeyRef: {name: hq-plugin, key: secret}
      caBundleSecretKeyRef: {name: corp-ca, key: ca.crt}
`
	pluginDoc = `apiVersion: stocksync.dev/v1alpha1
kind: ChildStore
metadata: {name: fr, namespace: shops}
spec:
  topologyRef: {name: emea}
  kitgenix:
    url: https://fr.example.com
    remoteStoreID: 0b1d7b1f-2c3d-4c5e-9a55-6f1c1f4e0d3b
    sharedSecretKeyRef: {name: fr-plugin, key: secret}
    rotationOverlapSeconds: 3600
  checkoutValidation: {maxAgeSeconds: 600}
`
	pluginSecretDocs = `apiVersion: v1
kind: Secret
metadata: {name: hq-plugin, namespace: shops}
stringData: {secret: hqSharedSecret}
---
apiVersion: v1
kind: Secret
metadata: {name: fr-plugin, namespace: shops}
stringData:
  secret: "fr<shared> secret\n"
  secret.until.20260102T150405Z: older
  secret.until.20260103T150405Z: "newer\n"
  secret.until.20260104T150405Z: ""
  other.until.20260104T150405Z: of another key
`
	katanaDoc = `apiVersion: stocksync.dev/v1alpha1
kind: StockSyncTopology
metadata: {name: emea, namespace: shops}
spec:
  mode: Sync
  master:
    storeID: erp
    katana:
      apiURL: https://katana.example.com/v1
      tokenSecretKeyRef: {name: katana, key: token}
      requestsPerMinute: 120
      pollIntervalSeconds: 30
      importGraceSeconds: 0
      wooCommerceSources: [web]
      skuComparison: CaseInsensitive
`
	locatedDoc = `apiVersion: stocksync.dev/v1alpha1
kind: ChildStore
metadata: {name: fr, namespace: shops}
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
	katanaSecretDocs = `apiVersion: v1
kind: Secret
metadata: {name: katana, namespace: shops}
stringData: {token: "0a1b2c-token\n"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: fr-links, namespace: shops}
data: {"2101": "345", "2102": " 346\n"}
`
)

func TestParseReadsPlugins(t *testing.T) {
	t.Parallel()
	c := parse(t, pluginTopologyDoc, pluginDoc, pluginSecretDocs, caDoc(t))
	if c.Identity != (Identity{StoreID: "6f1c1f4e-0d3b-4c5e-9a55-0b1d7b1f2c3d", Name: "Hub"}) {
		t.Errorf("identity %+v", c.Identity)
	}
	hq, fr := find(t, c, "hq"), find(t, c, "fr")
	if hq.Invalid != nil || fr.Invalid != nil {
		t.Fatalf("%v %v", hq.Invalid, fr.Invalid)
	}
	k := hq.Settings.Kitgenix
	if k == nil || k.URL != "https://hq.example.com" || k.CABundle == "" || !cmp.Equal(k.Secrets, []SharedSecret{{Value: "hqSharedSecret"}}) ||
		hq.Settings.WooCommerce.URL != "" || len(hq.Warnings) > 0 {
		t.Errorf("master: %+v %+v", hq, k)
	}
	want := &Kitgenix{
		URL: "https://fr.example.com", RemoteStoreID: "0b1d7b1f-2c3d-4c5e-9a55-6f1c1f4e0d3b", SecretName: "key `secret` of Secret `fr-plugin`",
		Secrets: []SharedSecret{
			{Value: "fr<shared> secret"},
			{Value: "newer", Until: time.Date(2026, 1, 3, 15, 4, 5, 0, time.UTC)},
			{Value: "older", Until: time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)},
		},
	}
	if diff := cmp.Diff(want, fr.Settings.Kitgenix); diff != "" {
		t.Errorf("the child's plugin (-want +got):\n%s", diff)
	}
	if got := fr.Settings.Checkout; got != (Checkout{Policy: v1alpha1.LastKnownGood, Grace: 90 * time.Second, MaxAge: 10 * time.Minute}) {
		t.Errorf("checkout %+v", got)
	}
	if len(fr.Warnings) != 1 || fr.Warnings[0].Reason != v1alpha1.ReasonSecretFragile || !strings.Contains(fr.Warnings[0].Message, "Secret `fr-plugin`") {
		t.Errorf("a secret that the plugin's form spoils is not warned of: %v", fr.Warnings)
	}
}

func TestParseReadsPluginsBesideRESTKeys(t *testing.T) {
	t.Parallel()
	both := edit(t, childDoc, "  allocation:", strings.TrimPrefix(pluginDoc[strings.Index(pluginDoc, "  kitgenix:"):], "")+"  allocation:")
	fr := find(t, parse(t, topologyDoc, both, secretDocs, pluginSecretDocs, caDoc(t)), "fr")
	if fr.Invalid != nil || fr.Settings.WooCommerce.ConsumerKey != "ck_fr" || fr.Settings.Kitgenix == nil {
		t.Fatalf("%+v", fr)
	}
	rest := find(t, parse(t, topologyDoc, childDoc, secretDocs, caDoc(t)), "fr")
	if rest.Settings.Kitgenix != nil || rest.Settings.Checkout != (Checkout{}) || rest.Settings.Katana != nil || rest.Settings.Supply != nil {
		t.Errorf("a plain store has more than REST: %+v", rest.Settings)
	}
}

func TestParseReadsKatana(t *testing.T) {
	t.Parallel()
	c := parse(t, katanaDoc, locatedDoc, secretDocs, katanaSecretDocs)
	erp, fr := find(t, c, "erp"), find(t, c, "fr")
	if erp.Invalid != nil || fr.Invalid != nil {
		t.Fatalf("%v %v", erp.Invalid, fr.Invalid)
	}
	wantKatana := &Katana{
		URL: "https://katana.example.com/v1", Token: "0a1b2c-token", SecretName: "key `token` of Secret `katana`", RequestsPerMinute: 120,
		Poll: 30 * time.Second, Compare: time.Hour, WooCommerceSources: []string{"web"}, IgnoreCase: true,
	}
	if diff := cmp.Diff(wantKatana, erp.Settings.Katana); diff != "" {
		t.Errorf("Katana (-want +got):\n%s", diff)
	}
	wantSupply := &Supply{
		Location: "4711", Committed: v1alpha1.CommittedWooCommerceOnly, Quotes: v1alpha1.QuotesCount, Rounding: v1alpha1.RoundNearest,
		BelowZero: v1alpha1.BelowZeroZero, Kits: v1alpha1.KitsPotential, Drift: v1alpha1.DriftCorrect, Links: map[string]int64{"2101": 345, "2102": 346},
	}
	if diff := cmp.Diff(wantSupply, fr.Settings.Supply); diff != "" {
		t.Errorf("the shop (-want +got):\n%s", diff)
	}

	// What is omitted has its documented value.
	least := edit(t, katanaDoc[:strings.Index(katanaDoc, "      requestsPer")], "      apiURL: https://katana.example.com/v1\n", "")
	located := locatedDoc[:strings.Index(locatedDoc, "    committedOrders")]
	c = parse(t, least, located, secretDocs, katanaSecretDocs)
	wantKatana = &Katana{
		URL: "https://api.katanamrp.com/v1", Token: "0a1b2c-token", SecretName: "key `token` of Secret `katana`",
		Poll: time.Minute, Compare: time.Hour, ImportGrace: time.Hour,
	}
	if diff := cmp.Diff(wantKatana, find(t, c, "erp").Settings.Katana); diff != "" {
		t.Errorf("Katana, all omitted (-want +got):\n%s", diff)
	}
	wantSupply = &Supply{
		Location: "4711", Committed: v1alpha1.CommittedAll, Quotes: v1alpha1.QuotesIgnore, Rounding: v1alpha1.RoundDown,
		BelowZero: v1alpha1.BelowZeroKeep, Kits: v1alpha1.KitsInStock, Drift: v1alpha1.DriftKeep,
	}
	if diff := cmp.Diff(wantSupply, find(t, c, "fr").Settings.Supply); diff != "" {
		t.Errorf("the shop, all omitted (-want +got):\n%s", diff)
	}
}

// What does not fit together is said at the store it concerns, with what to change.
func TestParseRefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	second := edit(t, edit(t, pluginDoc, "name: fr,", "name: gr,"), "fr.example.com", "gr.example.com")
	open := strings.Replace(pluginTopologyDoc, pluginTopologyDoc[strings.Index(pluginTopologyDoc, "    kitgenix:"):], "    woocommerce: {url: https://hq.example.com, credentialsSecretRef: {name: hq-rest}}\n", 1)
	for name, tc := range map[string]struct {
		docs   []string
		store  string
		reason string
		want   string
	}{
		"two with one id":            {[]string{pluginTopologyDoc, pluginDoc, second}, "gr", v1alpha1.ReasonDuplicateRemoteStoreID, "store fr already has it"},
		"the master's id":            {[]string{pluginTopologyDoc, edit(t, pluginDoc, "0b1d7b1f-2c3d-4c5e-9a55-6f1c1f4e0d3b", "1c2d3e4f-0d3b-4c5e-9a55-0b1d7b1f2c3d")}, "fr", v1alpha1.ReasonDuplicateRemoteStoreID, "store hq already has it"},
		"the master's URL":           {[]string{pluginTopologyDoc, edit(t, pluginDoc, "fr.example.com", "hq.example.com")}, "fr", v1alpha1.ReasonDuplicateURL, "spec.kitgenix.url: store hq"},
		"our own id":                 {[]string{pluginTopologyDoc, edit(t, pluginDoc, "0b1d7b1f-2c3d-4c5e-9a55-6f1c1f4e0d3b", "6f1c1f4e-0d3b-4c5e-9a55-0b1d7b1f2c3d")}, "fr", v1alpha1.ReasonTopologyMismatch, "must differ from the topology's own id"},
		"our own id at the master":   {[]string{edit(t, pluginTopologyDoc, "1c2d3e4f", "6f1c1f4e")}, "hq", v1alpha1.ReasonTopologyMismatch, "must differ from the topology's own id"},
		"no address for plugins":     {[]string{edit(t, open, "publicURL: https://sync.example.com", "mode: Sync"), pluginDoc}, "fr", v1alpha1.ReasonTopologyMismatch, "must have `publicURL`"},
		"Katana without a location":  {[]string{katanaDoc, childDoc}, "fr", v1alpha1.ReasonTopologyMismatch, "spec.katana: must be given"},
		"a location without Katana":  {[]string{open, locatedDoc}, "fr", v1alpha1.ReasonTopologyMismatch, "spec.katana: must be omitted"},
		"a plugin under Katana":      {[]string{katanaDoc, pluginDoc}, "fr", v1alpha1.ReasonTopologyMismatch, "spec.kitgenix: must be omitted"},
		"no such Secret":             {[]string{pluginTopologyDoc, edit(t, pluginDoc, "name: fr-plugin", "name: gone")}, "fr", v1alpha1.ReasonInvalidConfiguration, "Secret `gone` is missing"},
		"no such key":                {[]string{pluginTopologyDoc, edit(t, pluginDoc, "key: secret", "key: gone")}, "fr", v1alpha1.ReasonInvalidConfiguration, "must have the key `gone`, with a value"},
		"an expiry nobody can read":  {[]string{pluginTopologyDoc, edit(t, pluginDoc, "{name: fr-plugin, key: secret}", "{name: odd, key: secret}")}, "fr", v1alpha1.ReasonInvalidConfiguration, "must end in a time such as"},
		"no links":                   {[]string{katanaDoc, edit(t, locatedDoc, "name: fr-links", "name: gone")}, "fr", v1alpha1.ReasonInvalidConfiguration, "ConfigMap `gone` is missing"},
		"links to nowhere":           {[]string{katanaDoc, edit(t, locatedDoc, "name: fr-links", "name: words")}, "fr", v1alpha1.ReasonInvalidConfiguration, "ConfigMap `words`: key `A-1`"},
		"two links to one product":   {[]string{katanaDoc, edit(t, locatedDoc, "name: fr-links", "name: twice")}, "fr", v1alpha1.ReasonInvalidConfiguration, "the variants 1 and 2 are linked to one WooCommerce id, 7"},
		"links that are no text":     {[]string{katanaDoc, edit(t, locatedDoc, "name: fr-links", "name: numbers")}, "fr", v1alpha1.ReasonInvalidConfiguration, "whose `data` values are text"},
		"no token":                   {[]string{edit(t, katanaDoc, "key: token", "key: gone"), locatedDoc}, "erp", v1alpha1.ReasonInvalidConfiguration, "Secret `katana` must have the key `gone`"},
		"a token with a line inside": {[]string{edit(t, katanaDoc, "{name: katana, key: token}", "{name: odd, key: token}"), locatedDoc}, "erp", v1alpha1.ReasonInvalidConfiguration, "must be the API key as Katana showed it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			docs := append(tc.docs, secretDocs, pluginSecretDocs, katanaSecretDocs, caDoc(t),
				"apiVersion: v1\nkind: Secret\nmetadata: {name: odd}\nstringData: {secret: a, secret.until.tomorrow: b, token: \"a\\nb\"}\n",
				"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: words}\ndata: {A-1: \"7\"}\n",
				"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: twice}\ndata: {\"1\": \"7\", \"2\": \"7\"}\n",
				"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: numbers}\ndata: {\"1\": 7}\n")
			s := find(t, parse(t, docs...), tc.store)
			if s.Settings != nil || s.Invalid == nil {
				t.Fatal("accepted")
			}
			if s.Invalid.Reason != tc.reason || !strings.Contains(s.Invalid.Message, tc.want) || !strings.HasPrefix(s.Invalid.Message, "document ") {
				t.Errorf("%s: %s; want %s: %s", s.Invalid.Reason, s.Invalid.Message, tc.reason, tc.want)
			}
		})
	}
}

// Topologies may share a host; whatever stands in front may have taken the path off.
func TestPublicPortIsServedUnderThePathOfPublicURL(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ public, asked, want string }{
		{"https://sync.example.com", "/webhooks/woocommerce/fr", "/webhooks/woocommerce/fr"},
		{"https://sync.example.com/emea", "/emea/webhooks/woocommerce/fr", "/webhooks/woocommerce/fr"},
		{"https://sync.example.com/emea", "/webhooks/woocommerce/fr", "/webhooks/woocommerce/fr"},
		{"https://sync.example.com/emea", "/emeas/webhooks", "/emeas/webhooks"},
		{"", "/webhooks", "/webhooks"},
	} {
		a := &Agent{conf: Config{PublicURL: tc.public}}
		w := httptest.NewRecorder()
		a.under(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.URL.Path)
		})).ServeHTTP(w, httptest.NewRequest(http.MethodPost, tc.asked, nil))
		if w.Body.String() != tc.want {
			t.Errorf("%s asked for %s serves %s, want %s", tc.public, tc.asked, w.Body, tc.want)
		}
	}
}

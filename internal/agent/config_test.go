package agent

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

const (
	topologyDoc = `apiVersion: stocksync.dev/v1alpha1
kind: StockSyncTopology
metadata: {name: emea, namespace: shops}
spec:
  mode: Sync
  publicURL: https://sync.example.com/
  lagObjectiveSeconds: 90
  exclusions: {skus: [GIFT-CARD], skuPatterns: ["SAMPLE-*"]}
  master:
    storeID: hq
    editPolicy: Revert
    woocommerce:
      url: https://hq.example.com/
      credentialsSecretRef: {name: hq-rest}
      caBundleSecretKeyRef: {name: corp-ca, key: ca.crt}
`
	childDoc = `apiVersion: stocksync.dev/v1alpha1
kind: ChildStore
metadata: {name: fr, namespace: shops}
spec:
  topologyRef: {name: emea}
  woocommerce:
    url: https://fr.example.com
    credentialsSecretRef: {name: fr-rest}
  allocation: {bufferUnits: 2}
  polling: {minIntervalSeconds: 7, maxStoreLoadPercent: 3}
  exclusions: {skus: [" only-fr "]}
`
	secretDocs = `apiVersion: v1
kind: Secret
metadata: {name: hq-rest, namespace: shops}
stringData: {consumerKey: ck_hq, consumerSecret: cs_hq}
---
apiVersion: v1
kind: Secret
metadata: {name: fr-rest, namespace: shops}
data:
  consumerKey: Y2tfZnIK
  consumerSecret: Y3NfZnI=
`
)

func caDoc(t *testing.T) string {
	t.Helper()
	pem, _ := newCertificate(t, "ca.example.com")
	return "apiVersion: v1\nkind: Secret\nmetadata: {name: corp-ca}\ndata: {ca.crt: " + base64.StdEncoding.EncodeToString(pem) + "}\n"
}

func join(docs ...string) []byte { return []byte(strings.Join(docs, "---\n")) }

// edit replaces one text of a document and fails where it is not there.
func edit(t *testing.T, doc, from, to string) string {
	t.Helper()
	if !strings.Contains(doc, from) {
		t.Fatalf("the document does not hold %q", from)
	}
	return strings.Replace(doc, from, to, 1)
}

func parse(t *testing.T, docs ...string) Config {
	t.Helper()
	c, err := Parse(join(docs...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func find(t *testing.T, c Config, id string) Store {
	t.Helper()
	for _, s := range c.Stores {
		if s.ID == id {
			return s
		}
	}
	t.Fatalf("no store %s in %+v", id, c)
	return Store{}
}

func TestParseReadsWhatAUserWrites(t *testing.T) {
	t.Parallel()
	for name, docs := range map[string][]string{
		"in order":           {topologyDoc, childDoc, secretDocs, caDoc(t)},
		"secrets first":      {secretDocs, caDoc(t), childDoc, topologyDoc},
		"among other kinds":  {"apiVersion: v1\nkind: Namespace\nmetadata: {name: shops}\n", topologyDoc, "# nothing\n", childDoc, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n", secretDocs, caDoc(t)},
		"windows line ends":  {strings.ReplaceAll(topologyDoc, "\n", "\r\n"), childDoc, secretDocs, caDoc(t)},
		"with a foreign ns":  {topologyDoc, childDoc, secretDocs, caDoc(t), "apiVersion: v1\nkind: Secret\nmetadata: {name: hq-rest, namespace: other}\nstringData: {consumerKey: no}\n"},
		"leading separators": {"", topologyDoc, "\n", childDoc, secretDocs, caDoc(t)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := parse(t, docs...)
			if c.Topology != "emea" || c.PublicURL != "https://sync.example.com" || c.LagObjective != 90*time.Second || len(c.Problems) > 0 {
				t.Fatalf("topology: %+v", c)
			}
			hq := find(t, c, "hq")
			if !c.Stores[0].Master || hq.Invalid != nil || hq.Mode != engine.Sync {
				t.Fatalf("master: %+v", hq)
			}
			if hq.Settings.Policy != (stock.Policy{Master: true, Revert: true}) || hq.Settings.MinInterval != 5*time.Second || hq.Settings.MaxLoad != 0.02 {
				t.Fatalf("master: %+v", hq.Settings)
			}
			if w := hq.Settings.WooCommerce; w.URL != "https://hq.example.com" || w.ConsumerKey != "ck_hq" || w.ConsumerSecret != "cs_hq" || w.CABundle == "" || w.Insecure {
				t.Fatalf("master: %q", w.URL)
			}
			fr := find(t, c, "fr")
			if fr.Invalid != nil {
				t.Fatal(fr.Invalid)
			}
			if fr.Settings.Policy != (stock.Policy{BufferUnits: 2}) || fr.Settings.MinInterval != 7*time.Second || fr.Settings.MaxLoad != 0.03 {
				t.Fatalf("child: %+v", fr.Settings)
			}
			if w := fr.Settings.WooCommerce; w.ConsumerKey != "ck_fr" || w.ConsumerSecret != "cs_fr" {
				t.Fatal("the child's keys are not those of its Secret")
			}
			for sku, want := range map[string]bool{"gift-card": true, "GIFT-CARD ": true, "Sample-": true, "sample-9": true, "ONLY-FR": true, "SAMPLE": false, "X": false} {
				if got := fr.Settings.Exclusions.Excludes(stock.KeyOf(sku)); got != want {
					t.Errorf("fr excludes %q: %v", sku, got)
				}
			}
			if hq.Settings.Exclusions.Excludes("only-fr") {
				t.Error("hq excludes a SKU that only the child excludes")
			}
		})
	}
}

func TestEffectiveModeIsTheMoreCautious(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ topology, child, wantMaster, wantChild string }{
		{"", "", "Observe", "Observe"},
		{"", "Sync", "Observe", "Observe"},
		{"Observe", "Off", "Observe", "Off"},
		{"Sync", "", "Sync", "Sync"},
		{"Sync", "Observe", "Sync", "Observe"},
		{"Sync", "Sync", "Sync", "Sync"},
		{"Sync", "Off", "Sync", "Off"},
	} {
		top, chi := edit(t, topologyDoc, "  mode: Sync\n", ""), childDoc
		if tc.topology != "" {
			top = edit(t, topologyDoc, "mode: Sync", "mode: "+tc.topology)
		}
		if tc.child != "" {
			chi += "  mode: \"" + tc.child + "\"\n"
		}
		c := parse(t, top, chi, secretDocs, caDoc(t))
		if hq, fr := find(t, c, "hq"), find(t, c, "fr"); string(hq.Mode) != tc.wantMaster || string(fr.Mode) != tc.wantChild {
			t.Errorf("%+v: got %s and %s", tc, hq.Mode, fr.Mode)
		}
	}
}

// Documents that leave open what is meant are refused as a whole; the text says where and what is allowed.
func TestParseRefusesWhatItCannotTellApart(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		docs []string
		want []string
	}{
		{"nothing", []string{""}, []string{"must hold one StockSyncTopology"}},
		{"only a child", []string{childDoc}, []string{"must hold one StockSyncTopology"}},
		{"two topologies", []string{topologyDoc, edit(t, topologyDoc, "name: emea", "name: apac")}, []string{"document 2 (StockSyncTopology apac)", "must hold one"}},
		{"broken YAML", []string{topologyDoc, "kind: ChildStore\n  metadata: [\n"}, []string{"document 2, near line 18", "must be valid YAML"}},
		{"a tab", []string{topologyDoc, "kind:\n\t- x\n"}, []string{"document 2", "must be valid YAML"}},
		{"a key twice", []string{topologyDoc + "  mode: Observe\n"}, []string{"document 1", "must not hold the same key twice"}},
		{"no kind", []string{topologyDoc, "metadata: {name: fr}\n"}, []string{"document 2, line 16", "`apiVersion` and `kind`"}},
		{"a list", []string{"- a\n"}, []string{"document 1", "must be a Kubernetes object"}},
		{"a kubectl list", []string{topologyDoc, "apiVersion: v1\nkind: List\nitems: []\n"}, []string{"document 2 (List)", "separated by ---"}},
		{"misspelt kind", []string{topologyDoc, edit(t, childDoc, "kind: ChildStore", "kind: Childstore")}, []string{"document 2 (Childstore fr)", "must be StockSyncTopology or ChildStore"}},
		{"misspelt group", []string{topologyDoc, edit(t, childDoc, "stocksync.dev/v1alpha1", "stocksync.io/v1alpha1")}, []string{"document 2 (ChildStore fr)", "apiVersion: must be stocksync.dev/v1alpha1"}},
		{"newer version", []string{edit(t, topologyDoc, "v1alpha1", "v1")}, []string{"apiVersion: must be stocksync.dev/v1alpha1"}},
		{"unknown field", []string{topologyDoc + "  agents: {}\n"}, []string{"document 1 (StockSyncTopology emea)", "spec.agents"}},
		{"wrong type", []string{edit(t, topologyDoc, "Seconds: 90", "Seconds: soon")}, []string{"document 1 (StockSyncTopology emea)", "spec.lagObjectiveSeconds: must be a whole number"}},
		{"a child without a name", []string{topologyDoc, edit(t, childDoc, "name: fr, ", "") + "  what: 1\n"}, []string{"document 2 (ChildStore)", "spec.what"}},
		{"a child given twice", []string{topologyDoc, childDoc, childDoc}, []string{"document 3 (ChildStore fr)", "document 2 already has this name"}},
		{"a Secret given twice", []string{topologyDoc, secretDocs, secretDocs}, []string{"document 4 (Secret hq-rest)", "document 2 already has this name"}},
		{"public URL with a blank", []string{edit(t, topologyDoc, "com/", "com/a b")}, []string{"spec.publicURL: must be https:// or http:// followed by a host"}},
		{"topology name", []string{edit(t, topologyDoc, "name: emea", "name: EMEA")}, []string{"metadata.name: must be a DNS label"}},
		{"master id", []string{edit(t, topologyDoc, "storeID: hq", "storeID: Head_Office")}, []string{"spec.master.storeID: must be lower-case"}},
		{"child id", []string{topologyDoc, childDoc + "  storeID: F/R\n"}, []string{"document 2 (ChildStore fr)", "spec.storeID", "must be lower-case"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse(join(tc.docs...))
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
		})
	}
}

// A store that cannot be used says why, and disturbs no other.
func TestOneBadStoreLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	frSecret := "name: fr-rest, namespace: shops}\ndata:\n  consumerKey: Y2tfZnIK\n"
	for _, tc := range []struct {
		name    string
		child   string
		secrets string
		reason  string
		want    string
	}{
		{"unknown field", childDoc + "  odoo: {}\n", secretDocs, v1alpha1.ReasonInvalidConfiguration, "spec.odoo"},
		{"wrong type", edit(t, childDoc, "Units: 2", "Units: [2]"), secretDocs, v1alpha1.ReasonInvalidConfiguration, "spec.allocation.bufferUnits: must be a whole number"},
		{"wrong mode", childDoc + "  mode: sync\n", secretDocs, v1alpha1.ReasonInvalidConfiguration, "spec.mode: must be Sync, Observe or Off"},
		{"unquoted Off", childDoc + "  mode: Off\n", secretDocs, v1alpha1.ReasonInvalidConfiguration, "spec.mode: must be a text (in quotes"},
		{"no way in", edit(t, edit(t, childDoc, "woocommerce:\n    url: https://fr.example.com\n", "displayName: x\n"), "    credentialsSecretRef: {name: fr-rest}\n", ""), secretDocs, v1alpha1.ReasonInvalidConfiguration, "spec.woocommerce: a way to reach the store must be given: `woocommerce`, `kitgenix` or both"},
		{"relative URL", edit(t, childDoc, "https://fr.example.com", "fr.example.com"), secretDocs, v1alpha1.ReasonInvalidConfiguration, "spec.woocommerce.url: must be an absolute URL"},
		{"plain http", edit(t, childDoc, "https://fr", "http://fr"), secretDocs, v1alpha1.ReasonInvalidConfiguration, "must begin with https://"},
		{"keys in the URL", edit(t, childDoc, "https://fr", "https://ck:cs@fr"), secretDocs, v1alpha1.ReasonInvalidConfiguration, "credentials belong in the Secret"},
		{"Secret missing", edit(t, childDoc, "fr-rest", "de-rest"), secretDocs, v1alpha1.ReasonInvalidConfiguration, "Secret `de-rest` is missing"},
		{"key missing", childDoc, edit(t, secretDocs, "  consumerSecret: Y3NfZnI=\n", "  consumersecret: Y3NfZnI=\n"), v1alpha1.ReasonInvalidConfiguration, "Secret `fr-rest` must have the key `consumerSecret`"},
		{"key empty", childDoc, edit(t, secretDocs, "Y3NfZnI=", `""`), v1alpha1.ReasonInvalidConfiguration, "must have the key `consumerSecret`, with a value"},
		{"not base64", childDoc, edit(t, secretDocs, "Y3NfZnI=", "cs_plain!"), v1alpha1.ReasonInvalidConfiguration, "`data` values are base64"},
		{"a number as value", childDoc, edit(t, secretDocs, frSecret, "name: fr-rest, namespace: shops}\nstringData:\n  consumerKey: 7\n"), v1alpha1.ReasonInvalidConfiguration, "`stringData` values are text"},
		{"blanks in a key", childDoc, edit(t, secretDocs, "Y2tfZnIK", base64.StdEncoding.EncodeToString([]byte("ck fr"))), v1alpha1.ReasonInvalidConfiguration, "key `consumerKey` must be the text WooCommerce showed"},
		{"other topology", edit(t, childDoc, "{name: emea}", "{name: apac}"), secretDocs, v1alpha1.ReasonTopologyNotFound, "must be emea"},
		{"other namespace", edit(t, childDoc, "namespace: shops", "namespace: other"), secretDocs, v1alpha1.ReasonTopologyNotFound, "namespace"},
		{"the master's URL", edit(t, childDoc, "https://fr.example.com", "https://HQ.example.com:443"), secretDocs, v1alpha1.ReasonDuplicateURL, "store hq already has this URL"},
		{"not a bundle", edit(t, childDoc, "{name: fr-rest}", "{name: fr-rest}\n    caBundleSecretKeyRef: {name: fr-rest, key: consumerKey}"), secretDocs, v1alpha1.ReasonInvalidConfiguration, "must hold PEM certificates"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			other := edit(t, edit(t, childDoc, "name: fr,", "name: de,"), "https://fr", "https://de")
			other = edit(t, other, "{name: fr-rest}", "{name: hq-rest}")
			c := parse(t, topologyDoc, tc.child, other, tc.secrets, caDoc(t))
			fr := find(t, c, "fr")
			if fr.Invalid == nil || fr.Settings != nil {
				t.Fatalf("accepted: %+v", fr)
			}
			if fr.Invalid.Reason != tc.reason || !strings.Contains(fr.Invalid.Message, tc.want) || !strings.HasPrefix(fr.Invalid.Message, "document 2 (ChildStore fr): ") {
				t.Errorf("got %s: %s", fr.Invalid.Reason, fr.Invalid.Message)
			}
			for _, id := range []string{"hq", "de"} {
				if s := find(t, c, id); s.Invalid != nil || s.Settings == nil {
					t.Errorf("%s suffers: %v", id, s.Invalid)
				}
			}
		})
	}
}

func TestTheOlderOfTwoStoresWithOneIDKeepsIt(t *testing.T) {
	t.Parallel()
	older := edit(t, childDoc, "{name: fr, namespace: shops}", `{name: zz, creationTimestamp: "2026-01-01T00:00:00Z"}`) + "  storeID: fr\n"
	newer := edit(t, edit(t, childDoc, "{name: fr, namespace: shops}", `{name: fr, creationTimestamp: "2026-01-02T00:00:00Z"}`), "https://fr", "https://aa")
	c := parse(t, topologyDoc, newer, older, secretDocs, caDoc(t))
	if len(c.Stores) != 2 || find(t, c, "fr").Settings.WooCommerce.URL != "https://fr.example.com" {
		t.Fatalf("%+v", c.Stores)
	}
	if len(c.Problems) != 1 || !strings.Contains(c.Problems[0], "document 2 (ChildStore fr)") || !strings.Contains(c.Problems[0], "must be the only one") {
		t.Fatalf("%q", c.Problems)
	}
	// The master's id is taken before all others.
	c = parse(t, topologyDoc, childDoc+"  storeID: hq\n", secretDocs, caDoc(t))
	if len(c.Stores) != 1 || len(c.Problems) != 1 {
		t.Fatalf("%+v", c)
	}
}

func TestLastGoodSettingsStayAndTheBrakeWorks(t *testing.T) {
	t.Parallel()
	good := parse(t, topologyDoc, childDoc, secretDocs, caDoc(t))
	broken := parse(t, topologyDoc, edit(t, childDoc, "fr-rest", "gone")+"  mode: Observe\n", secretDocs, caDoc(t)).Keep(good)
	fr := find(t, broken, "fr")
	if fr.Invalid == nil || fr.Settings == nil || fr.Settings.WooCommerce.ConsumerKey != "ck_fr" {
		t.Fatalf("the last good settings are gone: %+v", fr)
	}
	if fr.Mode != engine.Observe {
		t.Fatalf("mode is %s; the more cautious must hold", fr.Mode)
	}
	// Broken twice in a row: still the last good ones.
	again := parse(t, topologyDoc, edit(t, childDoc, "fr-rest", "gone"), secretDocs, caDoc(t)).Keep(broken)
	if fr := find(t, again, "fr"); fr.Settings == nil {
		t.Fatal("the last good settings are gone after a second broken configuration")
	}
	// Without an earlier one there is nothing to keep, but the store is still there.
	first := parse(t, topologyDoc, edit(t, childDoc, "fr-rest", "gone"), secretDocs, caDoc(t)).Keep(Config{})
	if fr := find(t, first, "fr"); fr.Settings != nil || fr.Invalid == nil {
		t.Fatalf("%+v", fr)
	}
	mended := parse(t, topologyDoc, childDoc, secretDocs, caDoc(t)).Keep(again)
	if fr := find(t, mended, "fr"); fr.Invalid != nil || fr.Mode != engine.Sync {
		t.Fatalf("%+v", fr)
	}
}

// However broken the documents are, nothing that is printed holds a value of a Secret.
func TestNoSecretIsEverPrinted(t *testing.T) {
	t.Parallel()
	const canary = "s3cr3tcanary"
	for name, secret := range map[string]string{
		"good":          "apiVersion: v1\nkind: Secret\nmetadata: {name: fr-rest}\nstringData: {consumerKey: " + canary + ", consumerSecret: " + canary + "}\n",
		"alias":         "apiVersion: v1\nkind: Secret\nmetadata: {name: fr-rest}\nstringData: {consumerKey: *" + canary + "}\n",
		"tag":           "apiVersion: v1\nkind: Secret\nmetadata: {name: fr-rest}\nstringData: {consumerKey: !" + canary + " x}\n",
		"directive":     "apiVersion: v1\nkind: Secret\nmetadata: {name: fr-rest}\nstringData: {consumerKey: %" + canary + "}\n",
		"at sign":       "apiVersion: v1\nkind: Secret\nmetadata: {name: fr-rest}\nstringData: {consumerKey: @" + canary + "}\n",
		"bad base64":    "apiVersion: v1\nkind: Secret\nmetadata: {name: fr-rest}\ndata: {consumerKey: \"" + canary + "!\"}\n",
		"wrong types":   "apiVersion: v1\nkind: Secret\nmetadata: {name: fr-rest}\ndata: [" + canary + "]\n",
		"metadata":      "apiVersion: v1\nkind: Secret\nmetadata: " + canary + "\n",
		"block":         "apiVersion: v1\nkind: Secret\nmetadata: {name: fr-rest}\nstringData:\n  consumerKey: |\n " + canary + "\n",
		"control":       "apiVersion: v1\nkind: Secret\nmetadata: {name: fr-rest}\nstringData: {consumerKey: \"" + canary + "\\x\"}\n",
		"blank inside":  "apiVersion: v1\nkind: Secret\nmetadata: {name: fr-rest}\nstringData: {consumerKey: " + canary + " x}\n",
		"as a CA":       "apiVersion: v1\nkind: Secret\nmetadata: {name: corp-ca}\nstringData: {ca.crt: " + canary + "}\n",
		"as an integer": "apiVersion: v1\nkind: Secret\nmetadata: {name: fr-rest}\nimmutable: " + canary + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := Parse(join(topologyDoc, childDoc, secret))
			asJSON, jsonErr := json.Marshal(c)
			if jsonErr != nil {
				t.Fatal(jsonErr)
			}
			printed := fmt.Sprintf("%v %+v %#v %s %v", c, c, c.Stores, asJSON, err)
			for _, s := range c.Stores {
				printed += fmt.Sprintf("%+v %+v", s.Invalid, s.Settings)
				if s.Settings != nil {
					printed += fmt.Sprintf("%#v", *s.Settings)
				}
			}
			if strings.Contains(printed, canary) {
				t.Errorf("a value of a Secret was printed: %s", printed)
			}
		})
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pattern, sku string
		want         bool
	}{
		{"SAMPLE-*", "sample-1", true}, {"SAMPLE-*", "SAMPLE-", true}, {"SAMPLE-*", "xSAMPLE-1", false},
		{"*-B", "A-B", true}, {"*-B", "A-B-C", false}, {"A?C", "abc", true}, {"A?C", "ac", false}, {"A?C", "aéc", true},
		{"*", "anything", true}, {"a*b*c", "a-b-b-c", true}, {"a*b*c", "a-c-b", false}, {"a[0-9]", "a1", false}, {"a[0-9]", "A[0-9]", true},
		{"a.c", "abc", false}, {"", "a", false}, {"**a**", "a", true}, {`\*`, `\x`, true},
	} {
		e := NewExclusions(&v1alpha1.Exclusions{SKUPatterns: []string{tc.pattern}})
		if got := e.Excludes(stock.KeyOf(tc.sku)); got != tc.want {
			t.Errorf("%q on %q: %v", tc.pattern, tc.sku, got)
		}
	}
	if (Exclusions{}).Excludes("a") {
		t.Error("the zero value excludes")
	}
	long := NewExclusions(&v1alpha1.Exclusions{SKUPatterns: []string{strings.Repeat("*a", 50) + "b"}})
	if long.Excludes(stock.Key(strings.Repeat("a", 100_000))) {
		t.Error("matched")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(topologyDoc))
	f.Add(join(topologyDoc, childDoc, secretDocs))
	f.Add(join(topologyDoc, childDoc+"  katana: {}\n"))
	f.Add(join(pluginTopologyDoc, pluginDoc, pluginSecretDocs))
	f.Add(join(katanaDoc, locatedDoc, katanaSecretDocs, secretDocs))
	f.Add([]byte("a: &a [*a, *a]\n---\n- \n---\n%YAML 1.1\n"))
	f.Add([]byte("{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":3}}"))
	if files, err := filepath.Glob("../../config/samples/*.yaml"); err == nil {
		for _, file := range files {
			if data, err := os.ReadFile(file); err == nil {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data)
		if err != nil {
			return
		}
		if len(c.Stores) == 0 || !c.Stores[0].Master || c.Topology == "" {
			t.Fatalf("accepted without a master: %+v", c)
		}
		ids := map[string]bool{}
		for _, s := range c.Keep(c).Stores {
			if (s.Settings == nil) == (s.Invalid == nil) || ids[s.ID] || !storeID.MatchString(s.ID) {
				t.Fatalf("bad store %+v", s)
			}
			ids[s.ID] = true
		}
	})
}

func TestParseReadsTheCircuitBreaker(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]stock.Breaker{
		"": {SharePercent: 20, MinimumSKUs: 20},
		"  circuitBreaker: {sharePercent: 5, minimumSKUs: 3}\n": {SharePercent: 5, MinimumSKUs: 3},
		"  circuitBreaker: {mode: Disabled}\n":                  {Disabled: true, SharePercent: 20, MinimumSKUs: 20},
	} {
		if c := parse(t, strings.Replace(topologyDoc, "spec:\n", "spec:\n"+text, 1), childDoc, secretDocs, caDoc(t)); c.Breaker != want {
			t.Errorf("%q: %+v", text, c.Breaker)
		}
	}
}

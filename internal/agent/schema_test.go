package agent

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"stocksync.dev/stocksync/api/v1alpha1"
)

// crd is what the API server makes of one generated definition.
type crd struct {
	structural *schema.Structural
	schema     validation.SchemaValidator
	rules      *cel.Validator
}

func loadCRD(t *testing.T, file string) crd {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "config", "crd", "bases", file))
	if err != nil {
		t.Fatal(err)
	}
	var v1 apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(data, &v1); err != nil {
		t.Fatal(err)
	}
	var props apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v1.Spec.Versions[0].Schema.OpenAPIV3Schema, &props, nil); err != nil {
		t.Fatal(err)
	}
	structural, err := schema.NewStructural(&props)
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := validation.NewSchemaValidator(&props)
	if err != nil {
		t.Fatal(err)
	}
	return crd{structural, v, cel.NewValidator(structural, true, celconfig.PerCallLimit)}
}

func (c crd) refuses(t *testing.T, doc string) field.ErrorList {
	t.Helper()
	var object map[string]any
	if err := yaml.Unmarshal([]byte(doc), &object); err != nil {
		t.Fatal(err)
	}
	var errs field.ErrorList
	for _, unknown := range pruning.PruneWithOptions(object, c.structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}) {
		errs = append(errs, field.Invalid(field.NewPath(unknown), "", "unknown field"))
	}
	errs = append(errs, validation.ValidateCustomResource(nil, object, c.schema)...)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, c.structural, object)...)
	found, _ := c.rules.Validate(t.Context(), nil, c.structural, object, nil, celconfig.RuntimeCELCostBudget)
	return append(errs, found...)
}

func numbered(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`"A-%d-*"`, i)
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// A file is accepted on a laptop exactly when its objects would be accepted by the API server.
func TestFilesMeetTheRulesOfTheAPIServer(t *testing.T) {
	t.Parallel()
	topologies, children := loadCRD(t, "stocksync.dev_stocksynctopologies.yaml"), loadCRD(t, "stocksync.dev_childstores.yaml")
	const master = "https://hq.example.com/"
	long := strings.Repeat("x", 101)
	type change struct{ old, new string }
	for _, tc := range []struct {
		of string
		change
	}{
		{"topology", change{"", ""}},
		{"topology", change{"mode: Sync", "mode: Observe"}},
		{"topology", change{"mode: Sync", `mode: "Off"`}},
		{"topology", change{"name: emea", "name: 1emea"}},
		{"topology", change{"name: emea", "name: " + strings.Repeat("a", 40)}},
		{"topology", change{"name: emea", "name: " + strings.Repeat("a", 41)}},
		{"topology", change{"name: emea", "name: e.mea"}},
		{"topology", change{"https://sync.example.com/", "http://10.0.0.7:8080"}},
		{"topology", change{"https://sync.example.com/", "https://sync.example.com/x"}},
		{"topology", change{"https://sync.example.com/", "https://sync.example.com/x/y-1.z/"}},
		{"topology", change{"https://sync.example.com/", "https://sync.example.com//x"}},
		{"topology", change{"https://sync.example.com/", "https://sync.example.com/../x"}},
		{"topology", change{"https://sync.example.com/", "https://sync.example.com/%20"}},
		{"topology", change{"https://sync.example.com/", "https://sync.example.com?x"}},
		{"topology", change{"https://sync.example.com/", "sync.example.com"}},
		{"topology", change{"https://sync.example.com/", "ftp://sync.example.com"}},
		{"topology", change{"https://sync.example.com/", "https://me@sync.example.com"}},
		{"topology", change{"https://sync.example.com/", "https://"}},
		{"topology", change{"Seconds: 90", "Seconds: 5"}},
		{"topology", change{"Seconds: 90", "Seconds: 4"}},
		{"topology", change{"Seconds: 90", "Seconds: 86401"}},
		{"topology", change{"Seconds: 90", "Seconds: 1.5"}},
		{"topology", change{"storeID: hq", "storeID: 0"}},
		{"topology", change{"storeID: hq", "storeID: \"0\""}},
		{"topology", change{"storeID: hq", "storeID: hq-"}},
		{"topology", change{"storeID: hq", "displayName: x"}},
		{"topology", change{"editPolicy: Revert", "editPolicy: revert"}},
		{"topology", change{"editPolicy: Revert", "displayName: " + long}},
		{"topology", change{"[GIFT-CARD]", "[A, A]"}},
		{"topology", change{"[GIFT-CARD]", `[""]`}},
		{"topology", change{"[GIFT-CARD]", "[" + long + "]"}},
		{"topology", change{"[GIFT-CARD]", "GIFT-CARD"}},
		{"topology", change{`["SAMPLE-*"]`, numbered(101)}},
		{"topology", change{`["SAMPLE-*"]`, numbered(100)}},
		{"topology", change{"[GIFT-CARD]", "[" + strings.Repeat("é", 100) + "]"}},
		{"topology", change{"key: ca.crt", "key: ca/crt"}},
		{"topology", change{"name: corp-ca", "name: Corp"}},
		{"topology", change{"name: hq-rest", "name: hq_rest"}},
		{"topology", change{master, "https://hq.example.com/shop"}},
		{"topology", change{master, "https://hq.example.com/?a=b"}},
		{"topology", change{master, "https://hq.example.com/#a"}},
		{"topology", change{master, "https://a:b@hq.example.com/"}},
		{"topology", change{master, "HTTPS://hq.example.com/"}},
		{"topology", change{master, "https:///x"}},
		{"topology", change{master, "https://hq example.com"}},
		{"topology", change{master, "https://[::1]:8443"}},
		{"topology", change{master, "https://hq.example.com/" + strings.Repeat("a", 480)}},
		{"topology", change{master, "http://hq.example.com"}},
		{"topology", change{master, "https://hq.example.com\n      transport: HTTPS"}},
		{"topology", change{master, "http://hq.example.com\n      transport: InsecureHTTP"}},
		{"topology", change{master, "https://hq.example.com\n      transport: https"}},
		{"child", change{"", ""}},
		{"child", change{"name: fr,", "name: fr.shop,"}},
		{"child", change{"name: fr,", "name: fr.shop, generation: 1,"}},
		{"child", change{"topologyRef: {name: emea}", "topologyRef: {name: emea}\n  storeID: f-r"}},
		{"child", change{"topologyRef: {name: emea}", "topologyRef: {name: emea}\n  storeID: FR"}},
		{"child", change{"topologyRef: {name: emea}", "topologyRef: {name: emea}\n  storeID: " + strings.Repeat("a", 41)}},
		{"child", change{"topologyRef: {name: emea}", "topologyRef: {name: emea}\n  displayName: " + strings.Repeat("é", 100)}},
		{"child", change{"topologyRef: {name: emea}", "topologyRef: {name: emea}\n  mode: \"Off\""}},
		{"child", change{"topologyRef: {name: emea}", "topologyRef: {name: emea}\n  mode: off-line"}},
		{"child", change{"topologyRef: {name: emea}", "topologyRef: {name: emea}\n  editPolicy: Undo"}},
		{"child", change{"topologyRef: {name: emea}", "topologyRef: {name: emea}\n  editpolicy: Count"}},
		{"child", change{"Units: 2", "Units: 0"}},
		{"child", change{"Units: 2", "Units: -1"}},
		{"child", change{"Units: 2", "Units: 1000001"}},
		{"child", change{"Units: 2", "Units: \"2\""}},
		{"child", change{"Seconds: 7", "Seconds: 0"}},
		{"child", change{"Seconds: 7", "Seconds: 3601"}},
		{"child", change{"Percent: 3", "Percent: 0"}},
		{"child", change{"Percent: 3", "Percent: 101"}},
		{"plugin topology", change{"", ""}},
		{"plugin topology", change{"publicURL: https://sync.example.com", "mode: Sync"}},
		{"plugin topology", change{"storeID: 6f1c1f4e", "storeID: 6F1C1F4E"}},
		{"plugin topology", change{"storeID: 6f1c1f4e-", "storeID: 6f1c1f4e"}},
		{"plugin topology", change{"displayName: Hub", "displayName: " + long}},
		{"plugin topology", change{"  master:", "  master:\n    katana: {tokenSecretKeyRef: {name: katana, key: token}}"}},
		{"plugin", change{"", ""}},
		{"plugin", change{"https://fr.example.com", "http://fr.example.com"}},
		{"plugin", change{"https://fr.example.com", "https://fr.example.com?x"}},
		{"plugin", change{"https://fr.example.com", "fr.example.com"}},
		{"plugin", change{"https://fr.example.com", "http://fr.example.com\n    transport: InsecureHTTP"}},
		{"plugin", change{"https://fr.example.com", "https://fr.example.com\n    transport: http"}},
		{"plugin", change{"remoteStoreID: 0b1d7b1f", "remoteStoreID: 0B1D7B1F"}},
		{"plugin", change{"remoteStoreID: 0b1d7b1f-2c3d-4c5e-9a55-6f1c1f4e0d3b", "remoteStoreID: fr"}},
		{"plugin", change{"key: secret}", "key: a/b}"}},
		{"plugin", change{"{name: fr-plugin,", "{name: Fr,"}},
		{"plugin", change{"Seconds: 3600", "Seconds: 0"}},
		{"plugin", change{"Seconds: 3600", "Seconds: -1"}},
		{"plugin", change{"Seconds: 3600", "Seconds: 604801"}},
		{"plugin", change{"maxAgeSeconds: 600", "maxAgeSeconds: 59"}},
		{"plugin", change{"maxAgeSeconds: 600", "maxAgeSeconds: 604801"}},
		{"plugin", change{"maxAgeSeconds: 600", "masterUnreachablePolicy: FailOpen"}},
		{"plugin", change{"maxAgeSeconds: 600", "masterUnreachablePolicy: FailOpen, maxAgeSeconds: 60"}},
		{"plugin", change{"maxAgeSeconds: 600", "masterUnreachablePolicy: Open"}},
		{"plugin", change{"kitgenix:", "katana: {locationID: 1}\n  kitgenix:"}},
		{"child", change{"topologyRef: {name: emea}", "topologyRef: {name: emea}\n  checkoutValidation: {}"}},
		{"katana", change{"", ""}},
		{"katana", change{"https://katana.example.com/v1", "http://katana.example.com/v1"}},
		{"katana", change{"https://katana.example.com/v1", "https://katana.example.com/v1?x"}},
		{"katana", change{"https://katana.example.com/v1", "https:///v1"}},
		{"katana", change{"key: token", "key: to/ken"}},
		{"katana", change{"PerMinute: 120", "PerMinute: 9"}},
		{"katana", change{"PerMinute: 120", "PerMinute: 6001"}},
		{"katana", change{"pollIntervalSeconds: 30", "pollIntervalSeconds: 14"}},
		{"katana", change{"pollIntervalSeconds: 30", "pollIntervalSeconds: 3601"}},
		{"katana", change{"pollIntervalSeconds: 30", "compareIntervalSeconds: 299"}},
		{"katana", change{"pollIntervalSeconds: 30", "compareIntervalSeconds: 604801"}},
		{"katana", change{"GraceSeconds: 0", "GraceSeconds: -1"}},
		{"katana", change{"GraceSeconds: 0", "GraceSeconds: 604801"}},
		{"katana", change{"[web]", "[web, web]"}},
		{"katana", change{"[web]", `[""]`}},
		{"katana", change{"[web]", "[" + long + "]"}},
		{"katana", change{"[web]", numbered(17)}},
		{"katana", change{"CaseInsensitive", "Exact"}},
		{"katana", change{"storeID: erp", "storeID: erp\n    editPolicy: Count"}},
		{"located", change{"", ""}},
		{"located", change{"locationID: 4711", "locationID: 0"}},
		{"located", change{"locationID: 4711", "committedOrders: All"}},
		{"located", change{"locationID: 4711", "locationID: 2147483648"}},
		{"located", change{"WooCommerceOnly", "None"}},
		{"located", change{"quotes: Count", "quotes: Yes"}},
		{"located", change{"rounding: Nearest", "rounding: HalfUp"}},
		{"located", change{"belowZero: Zero", "belowZero: Clamp"}},
		{"located", change{"kits: Potential", "kits: Parts"}},
		{"located", change{"drift: Correct", "drift: Fix"}},
		{"located", change{"name: fr-links", "name: Links"}},
		{"located", change{"  katana:", "  editPolicy: Count\n  katana:"}},
	} {
		t.Run(tc.of+" "+tc.new, func(t *testing.T) {
			t.Parallel()
			docs := map[string]string{"topology": topologyDoc, "child": childDoc}
			switch tc.of {
			case "plugin topology", "plugin":
				docs = map[string]string{"plugin topology": pluginTopologyDoc, "plugin": pluginDoc}
			case "katana", "located":
				docs = map[string]string{"katana": katanaDoc, "located": locatedDoc}
			}
			if !strings.Contains(docs[tc.of], tc.old) {
				t.Fatalf("the document does not hold %q", tc.old)
			}
			docs[tc.of] = strings.Replace(docs[tc.of], tc.old, tc.new, 1)
			server := topologies
			if strings.Contains(docs[tc.of], "kind: ChildStore") {
				server = children
			}
			refused := server.refuses(t, docs[tc.of])
			c, err := Parse(join(append(slices.Collect(maps.Values(docs)), secretDocs, pluginSecretDocs, katanaSecretDocs, caDoc(t))...))
			ours := []string{}
			if err != nil {
				ours = append(ours, err.Error())
			}
			for _, s := range c.Stores {
				// That a Secret is missing, or another topology meant, is no rule of the API server.
				if s.Invalid != nil && s.Invalid.Reason == v1alpha1.ReasonInvalidConfiguration && strings.Contains(s.Invalid.Message, "spec.") {
					ours = append(ours, s.Invalid.Message)
				}
			}
			if (len(refused) > 0) != (len(ours) > 0) {
				t.Errorf("the API server says %v, the agent %q", refused, ours)
			}
		})
	}
}

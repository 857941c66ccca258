package agent

import (
	"fmt"
	"os"
	"path/filepath"
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
	} {
		t.Run(tc.of+" "+tc.new, func(t *testing.T) {
			t.Parallel()
			top, chi, server := topologyDoc, childDoc, topologies
			if tc.of == "topology" {
				top = strings.Replace(top, tc.old, tc.new, 1)
			} else {
				chi, server = strings.Replace(chi, tc.old, tc.new, 1), children
			}
			refused := server.refuses(t, map[string]string{"topology": top, "child": chi}[tc.of])
			c, err := Parse(join(top, chi, secretDocs, caDoc(t)))
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

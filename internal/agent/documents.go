package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"stocksync.dev/stocksync/api/v1alpha1"
)

// MaxConfigBytes is the largest configuration that is read; a Kubernetes Secret holds 1 MiB.
const MaxConfigBytes = 4 << 20

// document is one YAML document of the stream.
type document struct {
	// number counts from 1, line is where it begins in the stream.
	number, line int
	text         []byte
	json         []byte
	meta         metav1.PartialObjectMetadata
}

// String names the document in messages: its place, kind and name.
func (d document) String() string {
	s := fmt.Sprintf("document %d", d.number)
	if d.meta.Kind != "" {
		s += fmt.Sprintf(" (%s)", strings.TrimSpace(d.meta.Kind+" "+d.meta.Name))
	}
	return s
}

// split cuts a stream at its separator lines. It knows no YAML: a separator inside a block of text is
// indented and so no separator.
func split(stream []byte) []document {
	var docs []document
	d := document{number: 1, line: 1}
	flush := func() {
		if len(bytes.TrimSpace(d.text)) > 0 {
			docs = append(docs, d)
			d.number++
		}
		d.text = nil
	}
	line := 0
	for text := range bytes.Lines(stream) {
		line++
		rest, found := bytes.CutPrefix(text, []byte("---"))
		if found && (len(rest) == 0 || bytes.ContainsAny(rest[:1], " \t\r\n")) {
			flush()
			d.line, text = line, rest
		}
		d.text = append(d.text, text...)
	}
	flush()
	return docs
}

// read turns the document's YAML into JSON and finds what kind of object it is. It reports whether the
// document holds anything at all.
func (d *document) read() (bool, error) {
	j, err := yaml.YAMLToJSONStrict(d.text)
	if err != nil {
		return false, d.syntax(err)
	}
	if string(j) == "null" {
		return false, nil
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(j, &object) != nil {
		return false, fmt.Errorf("%s, line %d: must be a Kubernetes object with `apiVersion` and `kind`", d, d.line)
	}
	d.json = j
	// Errors here come back with the field's name when the whole object is decoded.
	_ = kjson.UnmarshalCaseSensitivePreserveInts(object["apiVersion"], &d.meta.APIVersion)
	_ = kjson.UnmarshalCaseSensitivePreserveInts(object["kind"], &d.meta.Kind)
	var name struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	}
	_ = kjson.UnmarshalCaseSensitivePreserveInts(object["metadata"], &name)
	d.meta.Name, d.meta.Namespace = name.Name, name.Namespace
	if d.meta.Kind == "" || d.meta.APIVersion == "" {
		return false, fmt.Errorf("%s, line %d: must be a Kubernetes object with `apiVersion` and `kind`", d, d.line)
	}
	return true, nil
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// syntax describes broken YAML without quoting it: the parser's own text may hold a piece of a Secret.
func (d *document) syntax(err error) error {
	line := d.line
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil && n > 0 {
			line += n - 1
		}
	}
	what := "must be valid YAML"
	if strings.Contains(err.Error(), "already set in map") || strings.Contains(err.Error(), "already defined") {
		what = "must not hold the same key twice"
	}
	return fmt.Errorf("%s, near line %d: %s", d, line, what)
}

// decode fills object from the document and refuses what the object does not have. Every error names the
// field; none quotes a value.
func (d *document) decode(object any) error {
	strict, err := kjson.UnmarshalStrict(d.json, object)
	if err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			return fmt.Errorf("%s: %s: must be %s", d, wrong.Field, kindOf(wrong.Type.Kind().String()))
		}
		return fmt.Errorf("%s: must have the fields of a %s, with values of their types (`kubectl explain` lists them)", d, d.meta.Kind)
	}
	if len(strict) > 0 {
		texts := make([]string, len(strict))
		for i, e := range strict {
			texts[i] = e.Error()
		}
		return fmt.Errorf("%s: %s; must hold only fields this version of the agent knows", d, strings.Join(texts, ", "))
	}
	return nil
}

// least finds what is needed to know which store a broken ChildStore means, and how cautious it wants to be.
func (d *document) least() (id string, mode v1alpha1.Mode, ok bool) {
	var object struct {
		Spec struct{ StoreID, Mode any } `json:"spec"`
	}
	if d.meta.Name == "" || json.Unmarshal(d.json, &object) != nil {
		return "", "", false
	}
	switch m := object.Spec.Mode.(type) {
	case string:
		mode = v1alpha1.Mode(m)
	case bool:
		// YAML takes an unquoted Off for the boolean false.
		mode = v1alpha1.ModeOff
	}
	id, isText := object.Spec.StoreID.(string)
	return id, mode, isText || object.Spec.StoreID == nil
}

// kindOf says in a user's words what a Go kind takes.
func kindOf(kind string) string {
	switch {
	case strings.HasPrefix(kind, "int"):
		return "a whole number"
	case kind == "string":
		return "a text (in quotes: YAML takes numbers, and words such as Off and No, for something else)"
	case kind == "bool":
		return "true or false"
	case kind == "slice":
		return "a list"
	default:
		return "an object"
	}
}

// role is what a document is to the agent.
type role int

const (
	other role = iota
	topology
	child
	secret
	configMap
)

// classify tells what a document is; manifests of other kinds may lie in the same file, but nothing that
// looks like a misspelt one of ours is passed over: a store would seem to have left.
func (d *document) classify() (role, error) {
	ours := v1alpha1.SchemeGroupVersion
	group, _, _ := strings.Cut(d.meta.APIVersion, "/")
	switch kind := d.meta.Kind; {
	case kind == v1alpha1.KindStockSyncTopology || kind == v1alpha1.KindChildStore:
		if d.meta.APIVersion != ours.String() {
			return other, fmt.Errorf("%s: apiVersion: must be %s", d, ours)
		}
		if kind == v1alpha1.KindChildStore {
			return child, nil
		}
		return topology, nil
	case group == ours.Group:
		return other, fmt.Errorf("%s: kind: must be %s or %s", d, v1alpha1.KindStockSyncTopology, v1alpha1.KindChildStore)
	case kind == "Secret" && d.meta.APIVersion == "v1":
		return secret, nil
	case kind == "ConfigMap" && d.meta.APIVersion == "v1":
		return configMap, nil
	case kind == "List" || strings.HasSuffix(kind, "StoreList") || strings.HasSuffix(kind, "TopologyList"):
		return other, fmt.Errorf("%s: must be written as documents of their own, separated by ---", d)
	default:
		return other, nil
	}
}

// values are those of one Secret or ConfigMap by key; bad says why they cannot be used.
type values struct {
	doc    document
	values map[string]string
	bad    string
}

func readSecret(d document) values {
	var s corev1.Secret
	if strict, err := kjson.UnmarshalStrict(d.json, &s); err != nil || len(strict) > 0 {
		// The cause may quote what it met, so it is not passed on.
		return values{doc: d, bad: fmt.Sprintf("%s: must be a Secret whose `data` values are base64 and whose `stringData` values are text", d)}
	}
	out := make(map[string]string, len(s.Data)+len(s.StringData))
	for k, v := range s.Data {
		out[k] = string(v)
	}
	maps.Copy(out, s.StringData)
	return values{doc: d, values: out}
}

// readConfigMap reads a ConfigMap; others than ours may lie in the same file, so only one that is named is complained
// about.
func readConfigMap(d document) values {
	var c corev1.ConfigMap
	if strict, err := kjson.UnmarshalStrict(d.json, &c); err != nil || len(strict) > 0 {
		return values{doc: d, bad: fmt.Sprintf("%s: must be a ConfigMap whose `data` values are text (in quotes: YAML takes numbers for something else)", d)}
	}
	return values{doc: d, values: c.Data}
}

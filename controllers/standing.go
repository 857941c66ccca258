package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// standing looks at an object that this process did not write yet. It returns the object's metadata when applying the
// intent would change nothing, else nil. So an operator that starts anew writes nothing to what is right.
func (a *applier) standing(ctx context.Context, want intent, content []byte) (*metav1.ObjectMeta, error) {
	var intended map[string]any
	if err := json.Unmarshal(content, &intended); err != nil {
		return nil, fmt.Errorf("reading the rendered %s: %w", *want.GetKind(), err)
	}
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(schema.FromAPIVersionAndKind(*want.GetAPIVersion(), *want.GetKind()))
	err := a.live.Get(ctx, client.ObjectKey{Namespace: *want.GetNamespace(), Name: *want.GetName()}, live)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s %s: %w", *want.GetKind(), *want.GetName(), err)
	}
	for _, entry := range live.GetManagedFields() {
		if entry.Manager != FieldOwner || entry.Operation != metav1.ManagedFieldsOperationApply || entry.Subresource != "" || entry.FieldsV1 == nil {
			continue
		}
		var owned map[string]any
		if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &owned); err != nil || !stands(intended, live.Object, owned) {
			return nil, nil //nolint:nilerr // what cannot be read is applied
		}
		var object metav1.PartialObjectMetadata
		if err := runtimeInto(live, &object); err != nil {
			return nil, err
		}
		object.ManagedFields = nil
		return &object.ObjectMeta, nil
	}
	return nil, nil
}

func runtimeInto(from *unstructured.Unstructured, to *metav1.PartialObjectMetadata) error {
	content, err := json.Marshal(map[string]any{"metadata": from.Object["metadata"]})
	if err == nil {
		err = json.Unmarshal(content, to)
	}
	if err != nil {
		return fmt.Errorf("reading the metadata of %s %s: %w", from.GetKind(), from.GetName(), err)
	}
	return nil
}

// stands reports whether the fields that the operator owns in an object are those of the intent, with its values.
// Who changes a value takes the field over, and what the intent no longer names is owned until it is applied: both
// show in the owned fields, a set in the form of managedFields.
func stands(intended, live, owned map[string]any) bool {
	intended = maps.Clone(intended)
	delete(intended, "apiVersion")
	delete(intended, "kind")
	if metadata, ok := intended["metadata"].(map[string]any); ok {
		metadata = maps.Clone(metadata)
		delete(metadata, "name")
		delete(metadata, "namespace")
		intended["metadata"] = metadata
	}
	return sameFields(intended, live, owned)
}

func sameFields(intended, live any, owned map[string]any) bool {
	if len(owned) == 0 {
		return covers(live, intended)
	}
	switch want := intended.(type) {
	case map[string]any:
		found, _ := live.(map[string]any)
		for name := range owned {
			field, isField := strings.CutPrefix(name, "f:")
			if _, intends := want[field]; name != "." && (!isField || !intends) {
				return false
			}
		}
		for field, value := range want {
			below, owns := owned["f:"+field].(map[string]any)
			if !owns || !sameFields(value, found[field], below) {
				return false
			}
		}
		return true
	case []any:
		found, _ := live.([]any)
		items := 0
		for name, below := range owned {
			if name == "." {
				continue
			}
			items++
			below, _ := below.(map[string]any)
			w, l := item(want, name), item(found, name)
			if w < 0 || l < 0 || !sameFields(want[w], found[l], below) {
				return false
			}
		}
		return items == len(want)
	}
	return false
}

// item finds the element of a list that a set of owned fields names by its keys or its value; -1 if there is none. A
// key that an element lacks is one that the API server fills in.
func item(list []any, name string) int {
	if text, ok := strings.CutPrefix(name, "k:"); ok {
		var keys map[string]any
		if json.Unmarshal([]byte(text), &keys) != nil {
			return -1
		}
		return slices.IndexFunc(list, func(element any) bool {
			object, _ := element.(map[string]any)
			for key, value := range keys {
				if has, ok := object[key]; ok && !covers(has, value) {
					return false
				}
			}
			return object != nil
		})
	}
	text, ok := strings.CutPrefix(name, "v:")
	var value any
	if !ok || json.Unmarshal([]byte(text), &value) != nil {
		return -1
	}
	return slices.IndexFunc(list, func(element any) bool { return covers(element, value) })
}

// covers reports whether a value holds all of what is intended; what else is in it the API server filled in.
func covers(live, intended any) bool {
	switch want := intended.(type) {
	case map[string]any:
		found, _ := live.(map[string]any)
		for field, value := range want {
			if !covers(found[field], value) {
				return false
			}
		}
		return found != nil || len(want) == 0
	case []any:
		found, _ := live.([]any)
		if len(found) != len(want) {
			return false
		}
		for i, value := range want {
			if !covers(found[i], value) {
				return false
			}
		}
		return true
	case float64:
		// An unstructured object holds whole numbers as such.
		whole, ok := live.(int64)
		return ok && float64(whole) == want || reflect.DeepEqual(live, intended)
	}
	return reflect.DeepEqual(live, intended)
}

package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReferenceIsCurrent(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	if err := write(&got, "../../config/crd/bases", "../../api/v1alpha1/conditions.go"); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("docs/api.md is old; run `make generate` (-file +generated):\n%s", diff)
	}
}

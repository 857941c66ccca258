package binaries_test

import (
	"io"
	"os"
	"strings"
	"testing"

	"stocksync.dev/stocksync/hack/cluster/internal/binaries"
)

func TestVersionsAgreeWithGoMod(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"k8s.io/kubernetes " + binaries.KubernetesVersion, "go.etcd.io/etcd/server/v3 " + binaries.EtcdVersion} {
		if !strings.Contains(string(b), line+" ") {
			t.Errorf("go.mod does not require %s", line)
		}
	}
}

func TestUnknownProgramIsRefused(t *testing.T) {
	t.Parallel()
	err := binaries.Build(t.Context(), ".", t.TempDir(), []string{"kubeadm"}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "must be one of etcd, kube-apiserver") {
		t.Errorf("error is %v", err)
	}
}

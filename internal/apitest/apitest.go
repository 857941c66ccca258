// Package apitest starts a real Kubernetes API server for tests.
package apitest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// Main runs the tests of a package beside an API server that knows the project's kinds, and returns the exit
// code for os.Exit. use is given the server's address and an administrator's credentials before the tests start.
// It fails when KUBEBUILDER_ASSETS does not name the folder with etcd and kube-apiserver.
func Main(m *testing.M, use func(*rest.Config)) int {
	cfg, stop, err := start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "the tests need a Kubernetes API server:", err)
		return 1
	}
	defer stop()
	use(cfg)
	return m.Run()
}

// ModuleFile is the path of a file of this module, given relative to the module's root.
func ModuleFile(elem ...string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(append([]string{dir}, elem...)...), nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above the working directory; run the tests inside the module")
		}
		dir = parent
	}
}

func start() (*rest.Config, func(), error) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return nil, nil, errors.New("KUBEBUILDER_ASSETS is not set; run `make test`, or " +
			"`export KUBEBUILDER_ASSETS=$(make -s envtest-assets)` first")
	}
	crds, err := ModuleFile("config", "crd", "bases")
	if err != nil {
		return nil, nil, err
	}
	env := &envtest.Environment{CRDDirectoryPaths: []string{crds}, ErrorIfCRDPathMissing: true}
	// The usual 254 addresses are fewer than the Services of a hundred topologies.
	env.ControlPlane.GetAPIServer().Configure().Set("service-cluster-ip-range", "10.0.0.0/16")
	stop := func() {
		if err := env.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the API server:", err)
		}
	}
	cfg, err := env.Start()
	if err != nil {
		// What did start, for example because a CRD was refused after it, must not outlive the tests.
		stop()
		return nil, nil, err
	}
	return cfg, stop, nil
}

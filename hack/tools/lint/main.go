// Command lint is golangci-lint with the two linters of Kubernetes that it does not carry: kube-api-linter and
// logcheck. It takes golangci-lint's own commands and flags.
package main

import (
	"fmt"
	"os"
	"runtime"

	"github.com/golangci/golangci-lint/v2/pkg/commands"
	"github.com/golangci/golangci-lint/v2/pkg/exitcodes"
	_ "sigs.k8s.io/kube-api-linter"             // registers kubeapilinter
	_ "sigs.k8s.io/logtools/logcheck/gclplugin" // registers logcheck
)

func main() {
	info := commands.BuildInfo{GoVersion: runtime.Version(), Version: "of hack/tools/go.mod"}
	if err := commands.Execute(info); err != nil {
		fmt.Fprintln(os.Stderr, "lint:", err)
		os.Exit(exitcodes.Failure)
	}
}

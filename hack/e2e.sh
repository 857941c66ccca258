#!/usr/bin/env bash
# The end-to-end tests, on a cluster made for them. Arguments go to `go test`, such as -run TestSales.
# KEEP_CLUSTER=1 leaves everything up afterwards, for a look or another run.
set -euo pipefail
cd "$(dirname "$0")/.."

cluster() { go -C hack/cluster run . "$@"; }

finish() {
  local status=$?
  ((status == 0)) || cluster diagnose || true
  [[ -n ${KEEP_CLUSTER:-} ]] || cluster down
  exit "$status"
}
trap finish EXIT

cluster up
cluster load
cluster operator
cluster stores
cluster topology
KUBECONFIG=$(cluster kubeconfig)
E2E_AUDIT_LOG=$(cluster audit-log)
PATH=$(cluster envtest-assets):$PATH # for its kubectl
export KUBECONFIG E2E_AUDIT_LOG PATH
if [[ -z $E2E_AUDIT_LOG ]]; then
  echo "left out: TestSettledWritesNothing, because this cluster's audit log cannot be read"
  set -- -skip TestSettledWritesNothing "$@"
fi
go test -tags e2e -count=1 -timeout 10m "$@" ./test/e2e

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
KUBECONFIG=$(cluster kubeconfig)
export KUBECONFIG
go test -tags e2e -count=1 -timeout 10m "$@" ./test/e2e

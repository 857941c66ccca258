#!/usr/bin/env bash
# The end-to-end tests, on a cluster made for them. Arguments go to `go test`, such as -run TestSales.
# KEEP_CLUSTER=1 takes a cluster that is up, and leaves it up afterwards, for a look or another run. Without it a
# cluster that is up is somebody's own: the tests would fail on it, and then stop it.
set -euo pipefail
cd "$(dirname "$0")/.."

cluster() { go -C hack/cluster run . "$@"; }

answers() {
  local file
  file=$(cluster kubeconfig 2>/dev/null) && "$(cluster envtest-assets)/kubectl" --kubeconfig "$file" --request-timeout 5s version >/dev/null 2>&1
}
if [[ -z ${KEEP_CLUSTER:-} && ${CLUSTER:-} != existing ]] && answers; then
  echo "a cluster is up already: stop it with \`make cluster-down\`, or set KEEP_CLUSTER=1 to run the tests on it" >&2
  exit 1
fi

finish() {
  local status=$?
  ((status == 0)) || cluster diagnose || true
  [[ -n ${KEEP_CLUSTER:-} ]] || cluster down
  exit "$status"
}
trap finish EXIT

cluster up
cluster load
IMAGE_VERSION=next cluster load operator agent # what TestUpgradeAndDowngrade upgrades to
cluster operator
cluster stores
cluster stores katana
cluster topology
KUBECONFIG=$(cluster kubeconfig)
E2E_AUDIT_LOG=$(cluster audit-log)
PATH=$(cluster envtest-assets):$PATH # for its kubectl
export KUBECONFIG E2E_AUDIT_LOG PATH
if [[ -z $E2E_AUDIT_LOG ]]; then
  echo "left out: TestSettledWritesNothing and TestNodeCutOff, because this cluster's audit log cannot be read and its kubelet not be stopped"
  set -- -skip '^(TestSettledWritesNothing|TestNodeCutOff)$' "$@"
fi
go test -tags e2e -count=1 -timeout 30m "$@" ./test/e2e

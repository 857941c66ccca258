#!/usr/bin/env bash
# All tests, one part after the other. A part this machine cannot run is named at the end, with how to run it.
set -euo pipefail
cd "$(dirname "$0")/.."

left_out=()
begin=$SECONDS

part() { # NAME COMMAND...
  local name=$1 from=$SECONDS
  shift
  printf '\n== %s\n' "$name"
  if ! "$@"; then
    printf '\nFAILED: %s, after %d s\n' "$name" $((SECONDS - begin))
    exit 1
  fi
  printf '== %s: passed in %d s\n' "$name" $((SECONDS - from))
}

# What is tested under the race detector takes many times longer, so it has fewer seeds of the simulation.
with_race() { CGO_ENABLED=1 go test -race -timeout 30m ./...; }
simulation() { go test -count=1 -timeout 20m -run '^TestSimulation$' ./internal/engine -seeds "${SEEDS:-2400}"; }

can_run_a_cluster() {
  [[ -n ${CLUSTER:-} ]] && return
  command -v kind >/dev/null && docker info >/dev/null 2>&1 && return
  [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null
}

KUBEBUILDER_ASSETS=$(go -C hack/cluster run . envtest-assets)
export KUBEBUILDER_ASSETS

if [[ -n $(go env CC) ]] && command -v "$(go env CC)" >/dev/null; then
  part "unit, property, simulation and API server tests, with the race detector" with_race
else
  part "unit, property, simulation and API server tests" go test -timeout 30m ./...
  left_out+=("the race detector: install gcc")
fi
part "simulation, many seeds" simulation
part "tests of the test cluster" go -C hack/cluster test ./...
part "alert rules and dashboard, by Prometheus' engine" go -C hack/monitoring test ./...
if can_run_a_cluster; then
  part "end-to-end tests" hack/e2e.sh
else
  left_out+=("the end-to-end tests: run as root on Debian or similar, or install Docker and kind, or set CLUSTER=existing and KUBECONFIG")
fi

echo
for what in "${left_out[@]}"; do echo "LEFT OUT: $what"; done
if ((${#left_out[@]})); then
  printf 'PASSED in %d s, but for what was left out\n' $((SECONDS - begin))
else
  printf 'PASSED: all tests, in %d s\n' $((SECONDS - begin))
fi

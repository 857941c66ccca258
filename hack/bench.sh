#!/usr/bin/env bash
# Runs the benchmarks COUNT times, those whose name matches BENCH, and prints a table with one row per figure.
set -euo pipefail
cd "$(dirname "$0")/.."
bench=${BENCH:-.} count=${COUNT:-3}
raw=$(mktemp)
trap 'rm -f "$raw"' EXIT

run() { go test -run '^$' -bench "$bench" -count "$count" -timeout 60m "$@" | tee /dev/stderr >>"$raw"; }

echo "load before: $(cut -d' ' -f1-3 /proc/loadavg 2>/dev/null || echo unknown)" >&2
# Each run of these takes many samples and reports percentiles itself.
run -benchtime 1x ./test/performance
run -benchtime 5000x ./internal/agent
run -benchtime 300x ./internal/ledger
run -benchtime 100x ./internal/sim/woocommerce
KUBEBUILDER_ASSETS=${KUBEBUILDER_ASSETS:-$(go -C hack/cluster run . envtest-assets)}
export KUBEBUILDER_ASSETS
run -benchtime 1x ./controllers

awk '
	/^Benchmark/ {
		name = $1
		sub(/^Benchmark/, "", name)
		sub(/-[0-9]+$/, "", name)
		for (i = 3; i < NF; i += 2) {
			key = name "\t" $(i + 1)
			if (!(key in values)) order[++n] = key
			values[key] = values[key] (key in values && values[key] != "" ? " / " : "") $i
		}
	}
	END {
		print "| benchmark | figure | runs |"
		print "|---|---|---|"
		for (i = 1; i <= n; i++) {
			split(order[i], k, "\t")
			printf "| %s | %s | %s |\n", k[1], k[2], values[order[i]]
		}
	}' "$raw"

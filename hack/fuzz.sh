#!/usr/bin/env bash
# Runs every fuzz target for a while: FUZZTIME each, 10s when unset. What it finds stays in the package's testdata.
set -euo pipefail
cd "$(dirname "$0")/.."
grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r dir; do
  for target in $(go test -list '^Fuzz' "$dir" | grep '^Fuzz'); do
    echo "== $dir $target"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10s}" "$dir"
  done
done

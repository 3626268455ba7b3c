#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test: scripts/test.sh [fast|all]
#   fast  the release build's tests
#   all   (default) also the unit tests under the address, undefined-behaviour and thread sanitizers
set -euo pipefail
cd "$(dirname "$0")/.."
mode=${1:-all}
case "$mode" in fast | all) ;; *) echo "test.sh: fast or all, not '$mode'" >&2; exit 2 ;; esac

scripts/install_deps.sh
scripts/build.sh release
if [ "$mode" = all ]; then
  scripts/build.sh asan unit_tests
  scripts/build.sh tsan unit_tests
fi

status=0
# Sanitizer runs come first, so that the last lines are the summary of the whole suite.
if [ "$mode" = all ]; then
  for preset in asan tsan; do
    echo "== unit tests, $preset"
    ctest --test-dir "build/$preset" --label-regex unit --output-on-failure --parallel "$(nproc)" || status=1
  done
fi
echo "== all tests, release"
ctest --test-dir build/release --output-on-failure --parallel "$(nproc)" || status=1
exit $status

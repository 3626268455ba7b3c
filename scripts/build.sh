#!/usr/bin/env bash
# Builds one preset: scripts/build.sh [release|debug|asan|tsan|fuzz] [target…]
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
shift || true
cmake --preset "$preset"
cmake --build "build/$preset" --parallel "$(nproc)" ${1:+--target "$@"}

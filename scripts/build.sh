#!/usr/bin/env bash
# Builds one preset: scripts/build.sh [release|cpu|debug|lto|asan|tsan|fuzz] [target…]
# Kernels are compiled for every GPU that is supported; LAPIDARY_EVERY_GPU=OFF: for the H100 and H200 alone.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
shift || true
cmake --preset "$preset" -DLAPIDARY_EVERY_GPU="${LAPIDARY_EVERY_GPU:-ON}"
cmake --build "build/$preset" --parallel "$(nproc)" ${1:+--target "$@"}

#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test.
#   scripts/test.sh             the release build: unit tests, real MPI processes, the program as users run it; and a link of
#                               the whole program that finds two types of one name
#   scripts/test.sh sanitizers  the unit tests under the address, undefined-behaviour and thread sanitizers
set -euo pipefail
cd "$(dirname "$0")/.."
mode=${1:-release}
case "$mode" in
  release) presets=(release) target=() select=() ;;
  sanitizers) presets=(asan tsan) target=(unit_tests) select=(--label-regex unit) ;;
  *) echo "test.sh: without an argument, or 'sanitizers', not '$mode'" >&2; exit 2 ;;
esac

# Where there is no GPU, nothing runs what nvcc compiled. That all kernels compile shows on one architecture, and that their
# instructions do on each (tests/cuda/instructions.cu); LAPIDARY_EVERY_GPU=ON compiles all for all, as scripts/build.sh does.
# A folder that was built for all stays so.
[ -e /dev/nvidiactl ] || grep -qs 'LAPIDARY_EVERY_GPU:BOOL=ON' build/release/CMakeCache.txt ||
  export LAPIDARY_EVERY_GPU="${LAPIDARY_EVERY_GPU:-OFF}"

scripts/install_deps.sh
status=0
if [ "$mode" = release ]; then
  # Two different types of one name in one program: the linker sees them when it sees the whole.
  echo "== the program linked as a whole (two types of one name are an error)"
  scripts/build.sh lto lapidary || { echo "test.sh: the program does not link as a whole" >&2; status=1; }
fi
for preset in "${presets[@]}"; do
  scripts/build.sh "$preset" "${target[@]}"
  echo "== tests, $preset"
  ctest --test-dir "build/$preset" "${select[@]}" --output-on-failure --parallel "$(nproc)" || status=1
done
exit $status

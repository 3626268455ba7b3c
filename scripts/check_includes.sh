#!/usr/bin/env bash
# Who may include whom, one direction only:
#   coordinator → configs;  worker → sharding, kernels, configs;  sharding → kernels, configs;  configs and kernels →
#   nothing of ours. The program (coordinator/main.cpp and its command_*.cpp) also knows worker and what is below it.
# Also: mpi.h and nccl.h in one file each, that of nccl.h a header for sharding/nccl_* alone; CUDA's headers under
# kernels/cuda/gpu, elsewhere its kernels know <cuda_platform.h> alone; no #ifdef outside the choice of files; includes
# from the root; #pragma once in each header; a source includes its own header first, which shows that it compiles alone.
# What differs between GPUs is named in kernels/cuda/gpu, and each of its instructions is compiled for all by
# tests/cuda/instructions.cu.
set -euo pipefail
cd "${1:-$(dirname "$0")/..}"
status=0
complain() { echo "check_includes: $*" >&2; status=1; }

allowed() {
  case "$1" in
    configs) echo "configs" ;;
    kernels) echo "kernels" ;;
    sharding) echo "sharding kernels configs" ;;
    worker) echo "worker sharding kernels configs" ;;
    coordinator) echo "coordinator configs" ;;
    program) echo "coordinator worker sharding kernels configs" ;;
  esac
}

while IFS= read -r file; do
  folder=${file%%/*}
  who=$folder
  case "$file" in coordinator/main.cpp | coordinator/command_*.cpp | coordinator/command_*.h | coordinator/commands.h) who=program ;; esac
  while IFS= read -r included; do
    top=${included%%/*}
    [ "$top" != "$included" ] || { complain "$file includes \"$included\", not from the root"; continue; }
    case " $(allowed "$who") " in *" $top "*) ;; *) complain "$file may not include \"$included\"" ;; esac
    # Generated messages exist in the build folder only.
    case "$included" in *.pb.h) ;; *) [ -f "$included" ] || complain "$file includes \"$included\", which is not there" ;; esac
  done < <(sed -n 's/^#include "\([^"]*\)".*/\1/p' "$file")
  if grep -nE '^#\s*(if|ifdef|ifndef)\b' "$file" >/dev/null; then complain "$file chooses code by #if; choose files in CMake"; fi
  own=${file%.*}.h
  case "$file" in coordinator/command_*) ;; *.cpp | *.cu)
    if [ -f "$own" ] && [ "$(grep -m1 '^#include' "$file")" != "#include \"$own\"" ]; then
      complain "$file does not include $own first"
    fi ;;
  esac
  case "$file" in *.h | *.cuh) grep -q '^#pragma once' "$file" || complain "$file has no #pragma once" ;; esac
  while IFS= read -r system; do
    case "$file:$system" in
      kernels/cuda/gpu/*) ;;
      kernels/cuda/*.cu:cuda_platform.h | kernels/cuda/*.cuh:cuda_platform.h) ;;
      *) complain "$file may not include <$system>: CUDA's headers belong to kernels/cuda/gpu" ;;
    esac
  done < <(sed -nE 's/^#include <((cu|nv|cooperative_groups|mma|device_launch|thrust)[^>]*)>.*/\1/p' "$file")
done < <(find configs kernels sharding worker coordinator -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')

mpi_users=$(grep -lE '^#include <mpi\.h>' -r configs kernels sharding worker coordinator || true)
[ "$mpi_users" = sharding/mpi_comm.cpp ] || complain "mpi.h belongs to sharding/mpi_comm.cpp alone, found in: $mpi_users"
nccl_users=$(grep -lE '^#include <nccl\.h>' -r configs kernels sharding worker coordinator || true)
case "$nccl_users" in
  '' | sharding/nccl_library.h) ;;
  *) complain "nccl.h belongs to sharding/nccl_library.h alone, found in: $nccl_users" ;;
esac
while IFS= read -r file; do complain "$file knows NCCL's own types: they are for sharding/nccl_*.cpp"; done < <(
  grep -lE '^#include "sharding/nccl_(library|connection)\.h"' -r configs kernels sharding worker coordinator tests | grep -v '^sharding/nccl_' || true)
while IFS= read -r file; do complain "$file knows GPUs apart: that belongs to kernels/cuda/gpu"; done < <(
  grep -lE '__CUDA_ARCH|NV_IF_TARGET|\basm\b' kernels/cuda/*.* || true)
if [ -f kernels/cuda/gpu/cuda_platform.h ]; then
  while IFS= read -r instruction; do
    grep -q "ptx::$instruction\b" tests/cuda/instructions.cu || complain "tests/cuda/instructions.cu lacks ptx::$instruction"
  done < <(sed -n '/^namespace ptx/,/^}  .*ptx/p' kernels/cuda/gpu/cuda_platform.h | sed -nE 's/^__device__ __forceinline__ [a-z0-9_]+ ([a-z0-9_]+)\(.*/\1/p')
fi
exit $status

#!/usr/bin/env bash
# The rules of the house, a row a room: who may include whom. A room may include itself, `configs/*.h`, and the rooms of its
# row ("a/*": all of the house a).
# Also: mpi.h in one file, nccl.h in one header, launchers' variables in one file; CUDA's headers under kernels/cuda/gpu,
# elsewhere its kernels know <cuda_platform.h> alone; no #ifdef outside the choice of files; includes from the root; #pragma
# once in each header; a source includes its own header first, which shows that it compiles alone; a README in each room, at
# most 30 sources in it, at most 400 lines in each.
# What differs between GPUs is named in kernels/cuda/gpu, and each of its instructions is compiled for all by
# tests/cuda/instructions.cu.
set -euo pipefail
cd "${1:-$(dirname "$0")/..}"
status=0
complain() { echo "check_includes: $*" >&2; status=1; }

declare -A may_include=(
  [configs]=""
  [configs/model]=""
  [configs/wire]=""

  [kernels]=""
  [kernels/cpu/isa]="kernels"
  [kernels/cpu]="kernels kernels/cpu/isa"
  [kernels/cuda/runtime]="kernels"
  [kernels/cuda/rows]="kernels kernels/cuda/runtime"
  [kernels/cuda/matmul]="kernels kernels/cuda/runtime kernels/cuda/rows"
  [kernels/cuda/probe]="kernels kernels/cuda/runtime kernels/cuda/matmul"
  [kernels/cuda/attention]="kernels kernels/cuda/runtime kernels/cuda/rows kernels/cuda/probe"
  [kernels/cuda/sampling]="kernels kernels/cuda/runtime kernels/cuda/rows"
  [kernels/cuda/peer]="kernels kernels/cuda/runtime kernels/cuda/rows"
  [kernels/cuda/gpu]="kernels kernels/cuda/runtime kernels/cuda/matmul"
  [kernels/cuda]="kernels kernels/cuda/*"

  [sharding/plan]="kernels"
  [sharding/checkpoint]="kernels sharding/plan configs/model"
  [sharding/comm]="kernels sharding/plan"

  [worker/jpeg]=""
  [worker/images]="configs/wire configs/model worker/jpeg"
  [worker/masks]="configs/model worker/images"
  [worker/model]="kernels sharding/* configs/*"
  [worker/engine]="kernels kernels/cpu/isa sharding/* configs/* worker/model worker/images"
  [worker/control]="configs/wire"
  [worker/lanes]="kernels sharding/comm configs/* worker/*"

  [coordinator/telemetry]="configs/wire"
  [coordinator/text]="configs/model"
  [coordinator/masks]=""
  [coordinator/dataset]="configs/wire coordinator/text"
  [coordinator/schedule]="configs/wire"
  [coordinator/records]="configs/wire coordinator/text coordinator/dataset"
  [coordinator/annotations]="coordinator/masks coordinator/records coordinator/text"
  [coordinator/fleet]="configs/wire coordinator/schedule"
  [coordinator/caption]="configs/wire coordinator/telemetry coordinator/dataset coordinator/schedule coordinator/records coordinator/fleet"
  [coordinator/serve/http]="configs/wire"
  [coordinator/serve/page]=""
  [coordinator/serve/engine]="configs/wire coordinator/schedule coordinator/fleet"
  [coordinator/serve]="configs/* coordinator/text coordinator/schedule coordinator/serve/*"
  [coordinator/planner]="configs/* coordinator/telemetry coordinator/schedule"
  [coordinator/serve/openai]="configs/wire configs/model coordinator/text"
  [coordinator/serve/openai/answers]="configs/wire configs/model coordinator/text coordinator/serve/openai"
  [coordinator/cli]="configs/* kernels kernels/* sharding/* worker/* coordinator/*"
  [coordinator/cli/sinks]="configs/* worker/images worker/masks worker/lanes coordinator/*"
  [coordinator/cli/bench]="configs/* kernels kernels/* sharding/* worker/* coordinator/*"
)

# Whether the rooms of row $1 hold room $2.
holds() {
  local row
  for row in $1; do
    case "$row" in
      */\*) case "$2" in "${row%/\*}" | "${row%\*}"*) return 0 ;; esac ;;
      "$2") return 0 ;;
    esac
  done
  return 1
}

set -f
while IFS= read -r file; do
  room=${file%/*}
  row=${may_include[$room]-none}
  [ "$row" != none ] || { complain "$file lies in no room: $room has no row in scripts/check_includes.sh"; continue; }
  while IFS= read -r included; do
    there=${included%/*}
    [ "$there" != "$included" ] || { complain "$file includes \"$included\", not from the root"; continue; }
    holds "$room configs $row" "$there" || complain "$file may not include \"$included\""
    # Generated messages exist in the build folder only.
    case "$included" in *.pb.h) ;; *) [ -f "$included" ] || complain "$file includes \"$included\", which is not there" ;; esac
  done < <(sed -n 's/^#include "\([^"]*\)".*/\1/p' "$file")
  if grep -qE '^#\s*(if|ifdef|ifndef)\b' "$file"; then complain "$file chooses code by #if; choose files in CMake"; fi
  own=${file%.*}.h
  case "$file" in *.cpp | *.cu)
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
set +f

for room in "${!may_include[@]}"; do
  [ -d "$room" ] || { complain "the room $room has a row and is not there"; continue; }
  [ -f "$room/README.md" ] || complain "$room has no README.md"
  count=$(find "$room" -maxdepth 1 \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.proto' \) | wc -l)
  [ "$count" -le 30 ] || complain "$room holds $count sources; 30 are enough for a room"
done
while read -r lines file; do
  [ "$lines" -le 400 ] || grep -q '^// Made by scripts/' "$file" || complain "$file has $lines lines; 400 are enough for a file"
done < <(find configs kernels sharding worker coordinator tests \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) -exec wc -l {} + | grep -v ' total$')
mpi_users=$(grep -lE '^#include <mpi\.h>' -r configs kernels sharding worker coordinator || true)
[ "$mpi_users" = sharding/comm/mpi_comm.cpp ] || complain "mpi.h belongs to sharding/comm/mpi_comm.cpp alone, found in: $mpi_users"
nccl_users=$(grep -lE '^#include <nccl\.h>' -r configs kernels sharding worker coordinator || true)
case "$nccl_users" in
  '' | sharding/comm/nccl_library.h) ;;
  *) complain "nccl.h belongs to sharding/comm/nccl_library.h alone, found in: $nccl_users" ;;
esac
while IFS= read -r file; do complain "$file knows NCCL's own types: they are for sharding/comm/nccl_*.cpp"; done < <(
  grep -lE '^#include "sharding/comm/nccl_(library|connection)\.h"' -r configs kernels sharding worker coordinator tests |
    grep -v '^sharding/comm/nccl_' || true)
while IFS= read -r file; do complain "$file reads a launcher's variable: those are for sharding/comm/launch_environment.cpp"; done < <(
  grep -rlE 'getenv.*(OMPI_|PMI|SLURM)|"(OMPI_|PMIX?_|SLURM_)' configs kernels sharding worker coordinator |
    grep -v '^sharding/comm/launch_environment.cpp$' || true)
while IFS= read -r file; do complain "$file knows GPUs apart: that belongs to kernels/cuda/gpu"; done < <(
  grep -rlE '__CUDA_ARCH|NV_IF_TARGET|\basm\b' kernels/cuda --include='*.cu' --include='*.cuh' --include='*.h' --include='*.cpp' |
    grep -v '^kernels/cuda/gpu/' || true)
while IFS= read -r instruction; do
  grep -q "ptx::$instruction\b" tests/cuda/instructions.cu || complain "tests/cuda/instructions.cu lacks ptx::$instruction"
done < <(sed -n '/^namespace ptx/,/^}  .*ptx/p' kernels/cuda/gpu/cuda_platform.h | sed -nE 's/^__device__ __forceinline__ [a-z0-9_]+ ([a-z0-9_]+)\(.*/\1/p')
exit $status

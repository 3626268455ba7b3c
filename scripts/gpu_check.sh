#!/usr/bin/env bash
# On a machine with a GPU: the tests, compute-sanitizer on the small ones, ranks that share the GPU by NCCL, and the
# benchmarks, each beside its limit, into one report (a table on standard output, and JSON).
#   scripts/gpu_check.sh [--programs FOLDER] [--report FILE.json] [--quick]
#     --programs  a bundle (scripts/bundle.sh FOLDER --tests) or a build's bin; default: build/release/bin
#     --quick     the 3B model only
set -uo pipefail
cd "$(dirname "$0")/.." || exit
programs=build/release/bin report=gpu_check.json quick=
while [ $# -gt 0 ]; do
  case "$1" in
    --programs) programs=$2 && shift 2 ;;
    --report) report=$2 && shift 2 ;;
    --quick) quick=yes && shift ;;
    *) echo "gpu_check.sh: unknown argument '$1' (--programs, --report, --quick)" >&2 && exit 2 ;;
  esac
done
command -v nvidia-smi >/dev/null || { echo "gpu_check.sh: no nvidia-smi here: this machine has no GPU, or no driver" >&2; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mpirun=mpirun
[ ! -x "$programs/mpirun" ] || mpirun=$programs/mpirun
ranks=("$mpirun" --oversubscribe --bind-to none)
[ "$(id -u)" -ne 0 ] || ranks+=(--allow-run-as-root)
status=0

# row NAME VALUE UNIT SHARE GOAL: one line of the report; SHARE in % of the limit, GOAL in %, or -.
rows=()
row() {
  printf '%-48s %12s %-10s %8s %6s\n' "$1" "$2" "$3" "$4" "$5"
  rows+=("{\"name\": \"$1\", \"value\": \"$2\", \"unit\": \"$3\", \"share_percent\": \"$4\", \"goal_percent\": \"$5\"}")
}
# passes NAME COMMAND...: a row that says whether it ended well; its output is shown where it did not.
passes() {
  local name=$1
  shift
  if "$@" >"$work/log" 2>&1; then
    row "$name" passed - - -
  else
    row "$name" FAILED - - -
    tail -30 "$work/log"
    status=1
  fi
}
# speeds NAME FLAG...: what `bench model` measured on the GPU.
speeds() {
  local name=$1 part ms rate unit share goal
  shift
  if ! "$programs/lapidary" bench model --device cuda --load-format dummy --dtype bfloat16 "$@" >"$work/log" 2>&1; then
    row "$name" FAILED - - -
    tail -5 "$work/log"
    status=1
    return
  fi
  while IFS='|' read -r part ms rate unit share goal; do row "$name: $part" "$ms ms, $rate" "$unit" "$share" "$goal"; done < <(
    awk '/ %( |$)/ && !/^#/ { for (i = 1; i <= NF; ++i) if ($i == "%") break
      name = ""; for (j = 1; j < i - 4; ++j) name = name (j > 1 ? " " : "") $j
      goal = "-"; for (j = i + 1; j <= NF; ++j) if ($j == "goal") goal = $(j + 1)
      print name "|" $(i - 4) "|" $(i - 3) "|" $(i - 2) "|" $(i - 1) "|" goal }' "$work/log")
}

device=$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | head -1)
echo "$device, $(date -u +%F)"
printf '%-48s %12s %-10s %8s %6s\n' what value unit share goal

if [ -x "$programs/tests_cuda" ]; then
  passes "tests on the GPU" "$programs/tests_cuda"
else
  row "tests on the GPU" "not built" - - -
fi
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck synccheck; do
    passes "compute-sanitizer $tool" compute-sanitizer --tool "$tool" --error-exitcode 9 "$programs/lapidary" caption \
      --model configs/demo/model --max-new-tokens 2 --quiet --device cuda configs/demo/samples
  done
fi

# The same captions on one rank and on several that share the GPU; bit by bit where that is asked for.
demo=(caption --model configs/demo/model --max-new-tokens 16 --quiet --device cuda configs/demo/samples)
passes "captions, one rank" bash -c '"$@" >"$0/solo.jsonl"' "$work" "$programs/lapidary" "${demo[@]}" --deterministic
for tp in 2 4; do
  passes "captions, --tp $tp by NCCL, the same bits" bash -c 'w=$1 && shift && "$@" >"$w/tp.jsonl" && cmp "$w/solo.jsonl" "$w/tp.jsonl"' - \
    "$work" "${ranks[@]}" -np "$tp" "$programs/lapidary" "${demo[@]}" --tp "$tp" --deterministic --test-shared-gpu
done

models=(3b:224 3b:448 3b:896)
[ -n "$quick" ] || models+=(10b:448 28b:224 28b:896)
for model in "${models[@]}"; do
  config=configs/models/paligemma2-${model%:*}-pt-${model#*:}.json
  speeds "${model%:*} ${model#*:} px" --model "$config" --new-tokens 32
done
[ -n "$quick" ] || speeds "28b 896 px, 32 sequences" --model configs/models/paligemma2-28b-pt-896.json --new-tokens 16 --sequences 32

{
  echo "{\"date\": \"$(date -u +%F)\", \"device\": \"$device\", \"command\": \"scripts/gpu_check.sh\", \"rows\": ["
  for ((i = 0; i < ${#rows[@]}; ++i)); do echo "  ${rows[$i]}$([ $((i + 1)) -eq ${#rows[@]} ] || echo ,)"; done
  echo "]}"
} >"$report"
echo "written to $report"
exit $status

#!/usr/bin/env bash
# Proves and measures the GPU backend on this machine, the most telling things first: the limits of the GPU, the tests,
# speeds beside those limits, ranks that share the GPU by NCCL, one of them killed, what a user gets wrong, captions from
# end to end and beside transformers, compute-sanitizer. Each step has a time limit of its own, and what is known is
# written after each: a run that is cut off leaves a whole report.
#   scripts/gpu_check.sh [--programs FOLDER] [--report FILE.json] [--minutes N] [--device cuda|cpu] [--quick]
#     --programs  a bundle (scripts/bundle.sh FOLDER --tests) or a build's bin; default: beside this script, else
#                 build/release/bin
#     --report    also FILE.md, the same as a table, and FILE.lines, the figures as they come
#     --minutes   for all of it, 10 without; steps that do not fit are named as skipped
#     --device    cpu: a rehearsal without a GPU, every step with a small model on the CPU backend
#     --quick     the 3B model only
# Ends with 0 where every step passed, 1 where one failed, 77 where there is no GPU. A missed goal is a figure, no failure.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
usage() { echo "gpu_check.sh: $*; $(sed -n 's/^#   \(scripts.*\)/\1/p' "$here/$(basename "$0")")" >&2; exit 2; }
programs='' report=gpu_check.json minutes=10 device=cuda quick=
arguments=$*
while [ $# -gt 0 ]; do
  case "$1" in
    --quick) quick=yes && shift && continue ;;
    --programs | --report | --minutes | --device) [ $# -ge 2 ] || usage "$1 needs a value" ;;
    *) usage "unknown argument '$1'" ;;
  esac
  case "$1" in
    --programs) programs=$2 ;;
    --report) report=$2 ;;
    --minutes) minutes=$2 ;;
    --device) device=$2 ;;
  esac
  shift 2
done
case "$minutes" in '' | *[!0-9]*) usage "--minutes is a whole number, not '$minutes'" ;; esac
case "$device" in cuda | cpu) ;; *) usage "--device is cuda or cpu, not '$device'" ;; esac
data=$here/..                                 # configs/ and tests/golden
[ -d "$data/configs/demo" ] || data=$here     # in a bundle
data=$(cd "$data" && pwd)
if [ -z "$programs" ]; then
  programs=$data/build/release/bin
  [ ! -x "$here/lapidary" ] || programs=$here
fi
[ -x "$programs/lapidary" ] || usage "no program $programs/lapidary"
programs=$(cd "$programs" && pwd)
lapidary=$programs/lapidary
if [ "$device" = cuda ] && ! command -v nvidia-smi >/dev/null; then
  echo "gpu_check.sh: no nvidia-smi here: this machine has no GPU, or no driver (--device cpu rehearses without)" >&2
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
figures=${report%.json}.lines
: >"$figures" || exit 2
mpirun=${MPIRUN:-mpirun}
[ ! -x "$programs/mpirun" ] || mpirun=$programs/mpirun
ranks=("$mpirun" --oversubscribe --bind-to none)
[ "$(id -u)" -ne 0 ] || ranks+=(--allow-run-as-root)
until=$((SECONDS + 60 * minutes)) status=0

# --- the report
if [ "$device" = cuda ]; then
  gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -1)
  driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -1)
else
  gpu="none: a rehearsal on the CPU" driver=none
fi
machine="$(uname -m), $(nproc) cores, $(awk '/MemTotal/ {printf "%.0f GB", $2 / 1e6}' /proc/meminfo)"
commit=$(cat "$data/commit" 2>/dev/null || git -C "$data" rev-parse --short HEAD 2>/dev/null || echo unknown)
write_report() {
  "$lapidary" bench report "$figures" --out "$report" --table "${report%.json}.md" --date "$(date -u +%F)" --device "$gpu" \
    --driver "$driver" --machine "$machine" --command "scripts/gpu_check.sh $arguments" --commit "$commit" >/dev/null
}
note() { "$lapidary" bench note --figures "$figures" "$@"; }

# --- steps
# skip NAME WHY
skip() {
  echo "== $1: skipped, $2"
  note "$1" --verdict skipped --note "$2"
  write_report
}
# limited SECONDS COMMAND…: its exit code; 124 where it was not done by then. It and all it started are ended.
limited() {
  local limit=$1 code=0 group watchdog
  shift
  set -m # a process group for each, so that nothing of it stays
  "$@" </dev/null &
  group=$!
  { sleep "$limit" && : >"$work/late" && kill -TERM -- "-$group" && sleep 5 && kill -KILL -- "-$group"; } >/dev/null 2>&1 &
  watchdog=$!
  set +m
  wait "$group" || code=$?
  kill -KILL -- "-$watchdog" 2>/dev/null
  wait "$watchdog" 2>/dev/null
  [ ! -e "$work/late" ] || { rm "$work/late" && return 124; }
  return $code
}
# step SECONDS NAME COMMAND…: runs it (a program, or a function of this script) with at most so much time. How it ended
# goes to the report, and the end of its output to standard output where it failed; 77: it says that it could not run.
step() {
  local limit=$1 name=$2 code=0 left=$((until - SECONDS)) begin=$SECONDS
  shift 2
  if [ "$left" -lt 5 ]; then skip "$name" "no time left"; return 77; fi
  [ "$limit" -le "$left" ] || limit=$left
  echo "== $name"
  limited "$limit" "$@" >"$work/log" 2>&1 || code=$?
  case $code in
    0) note "$name" --verdict passed --value "$((SECONDS - begin))" --unit s ;;
    77) note "$name" --verdict skipped --note "$(tail -1 "$work/log" | head -c 200)" ;;
    *)
      [ $code -ne 124 ] || echo "gpu_check.sh: not done after $limit s" >>"$work/log"
      note "$name" --verdict failed --note "$(grep -v '^ *$' "$work/log" | tail -1 | head -c 200)"
      tail -30 "$work/log"
      status=1
      ;;
  esac
  write_report
  return $code
}
# speeds SECONDS SIZE PX SUFFIX FLAG…: a step of `bench model`, whose figures go to the report.
speeds() {
  local limit=$1 label
  label=$(label "$2" "$3")$4
  local flags=(--model "$(config "$2" "$3")" --dtype bfloat16 --new-tokens "$tokens" "${@:5}")
  step "$limit" "$label: benchmark" "$lapidary" bench model --device "$device" --load-format dummy --figures "$figures" --label "$label" "${flags[@]}" &&
    cat "$work/log"
}
# figure NAME: its value, the last of this name.
figure() { grep -F "\"name\":\"$1\"" "$figures" | tail -1 | sed -n 's/.*"value":\([-+0-9.eE]*\).*/\1/p'; }
has_flag() { "$lapidary" bench model --help | grep -q -e "$1"; }

# shellcheck source=scripts/gpu_check_steps.bash
source "$here/gpu_check_steps.bash"

# --- what is run: real shapes on a GPU, a small model in a rehearsal
tiny=$data/configs/demo/model/config.json
if [ "$device" = cuda ]; then
  config() { echo "$data/configs/models/paligemma2-$1-pt-$2.json"; }
  many=32 tokens=32 pictures=1024 captioned=1024
  # All the ranks have the one GPU; NCCL minds that unless it is told.
  together=(--device cuda --test-shared-gpu)
else
  config() { echo "$tiny"; }
  many=4 tokens=4 pictures=400 captioned=6
  together=(--device cpu --threads 1)
fi
# label SIZE PX: what figures begin with
label() { if [ "$device" = cuda ]; then echo "$1 $2 px"; else echo "rehearsal of $1 $2 px"; fi; }
run_tests() {
  if [ ! -x "$programs/tests_cuda" ]; then skip "tests on the GPU" "tests_cuda is not among the programs"; return; fi
  # One of the two kernels is for one kind of GPU alone. A fault ends a process: they come first, by themselves, and where
  # they fail nothing below tries that one.
  local tests=(env LAPIDARY_TEST_DATA="$data" "$programs/tests_cuda" --gtest_brief=1)
  local code=0
  step 90 "tests of prefill attention" "${tests[@]}" '--gtest_filter=CudaAttention.*:Prefill*' || code=$?
  case $code in 0 | 77) ;; *) export LAPIDARY_PREFILL_KERNEL=warps ;; esac
  step 240 "tests on the GPU" "${tests[@]}" '--gtest_filter=-*EveryLayout*:GoldenInstructionSets*:CudaAttention.*:Prefill*'
}

# Pictures, each with bytes of its own, so that none is found encoded.
make_pictures() {
  local samples=("$data"/configs/demo/samples/*.jpg) i
  mkdir -p "$work/pictures"
  for ((i = 0; i < $1; ++i)); do
    cp "${samples[$((i % ${#samples[@]}))]}" "$work/pictures/$i.jpg"
    echo "$i" >>"$work/pictures/$i.jpg"
  done
}
# end_to_end SIZE PX PICTURES AT_ONCE: captions of 32 tokens from files to records, beside the floor of the rates of this run.
end_to_end() {
  local label
  label=$(label "$1" "$2")
  local image rate floor
  image=$(grep -oE '"image_token_(index|id)": *[0-9]+' "$tiny" | head -1 | grep -oE '[0-9]+$')
  sed -E "s/(\"image_token_index\": )[0-9]+/\1$image/" "$(config "$1" "$2")" >"$work/config.json"
  mkdir -p "$work/some" && rm -f "$work"/some/*
  find "$work/pictures" -name '*.jpg' | head -n "$3" | while read -r file; do ln "$file" "$work/some/"; done
  step 120 "$label: captions end to end" "$lapidary" caption --model "$work/config.json" --load-format dummy --dtype bfloat16 \
    --tokenizer "$data/configs/demo/model" --device "$device" --ignore-eos --max-new-tokens "$tokens" --max-num-seqs "$4" \
    --output "$work/captions.jsonl" "$work/some" || return
  rate=$(sed -nE 's/.*images? in .*\(([0-9.]+) images\/s.*/\1/p' "$work/log" | tail -1)
  floor=$(figure "$label: caption floor")
  note "$label: captions, end to end" --value "${rate:-0}" --unit images/s --goal 0.8 \
    --share "$(awk "BEGIN {print (\"${floor:-0}\" > 0) ? ${rate:-0} / ${floor:-1} : 0}")" --note "of the caption floor above"
  write_report
}
# beside_transformers SIZE PX SECONDS
beside_transformers() {
  local label
  label=$(label "$1" "$2")
  local python=${PYTHON:-python3} goal=(--goal 3)
  if ! "$python" -c 'import torch, transformers' 2>/dev/null; then
    skip "$label: transformers" "this Python has no torch and transformers"
    return
  fi
  [ "$1" != 28b ] || goal=() # stated as it is
  step "$3" "$label: transformers" "$python" -B "$here/compare_transformers.py" --model "$(config "$1" "$2")" --device "$device" \
    --figures "$figures" --label "$label" --seconds-per-case $(($3 / 3)) || return
  cat "$work/log"
  note "$label: captions, ours over transformers' best" --of "$label: captions, end to end" --over "$label: transformers, best" "${goal[@]}"
  write_report
}
sanitized() { # TOOL
  if ! command -v compute-sanitizer >/dev/null; then skip "compute-sanitizer $1" "it is not on this machine"; return; fi
  step 60 "compute-sanitizer $1" env LAPIDARY_TEST_DATA="$data" compute-sanitizer --tool "$1" --target-processes all --error-exitcode 9 "$programs/tests_cuda" \
    '--gtest_filter=*RowOps.RmsNorm*:*RowOps.GeluMul*:CudaAttention.SpansAroundATile:*MatmulTest.AddsLeaves*/bf16:CudaKvPages.NewTokens*:*Draws.TopKOfRows*'
}

# loading SIZE PX: a checkpoint of the model's size, made here, from the page cache to the device.
loading() {
  local label
  label=$(label "$1" "$2")
  step 90 "$label: loading" "$lapidary" bench load --model "$(config "$1" "$2")" --save "$work/saved" --dtype bfloat16 \
    --device "$device" --figures "$figures" --label "$label" && cat "$work/log"
  rm -rf "$work/saved"
}

# --- in order of worth
[ "$device" = cuda ] && size=8 || size=0.05
step 60 "limits of the device" "$lapidary" bench device --device "$device" --gigabytes "$size" --figures "$figures" && cat "$work/log"
run_tests
if [ -z "$quick" ]; then
  speeds 150 28b 896 "" --sequences "1,$many" --vision-images 4 --together
fi
speeds 60 3b 224 "" --sequences "1,$many" --prefills 2 --together
loading 3b 224
step 30 "bad input is one sentence" bad_input
step 30 "captions, one rank" solo --deterministic
for tp in 2 4; do step 60 "captions, --tp $tp by NCCL, the same bits" same_captions "$tp" --deterministic; done
make_pictures "$pictures"
step 90 "a rank is killed" lost_rank KILL
step 90 "a rank is stopped" lost_rank STOP
if [ -n "$quick" ]; then
  skip "FP8 decode against bf16" "--quick"
elif has_flag --quantization; then
  speeds 120 28b 896 " fp8" --sequences 1 --quantization fp8 &&
    note "28b: FP8 decode, times faster than bf16" --of "$(label 28b 896): decode, one token" --over "$(label 28b 896) fp8: decode, one token" --goal 1.85
else
  skip "FP8 decode against bf16" "this program has no --quantization"
fi
end_to_end 3b 224 "$captioned" 64
beside_transformers 3b 224 90
step 30 "captions, one rank, sums in any order" solo
step 60 "captions, --tp 2 by NCCL, sums in any order" like_captions 2
step 60 "sums over 2 ranks" "${ranks[@]}" -np 2 "$lapidary" bench ranks "${together[@]}" --repeats 5 --figures "$figures" && cat "$work/log"
if [ "$device" = cuda ]; then # on a CPU it takes minutes
  step 60 "attention" "$lapidary" bench kernels --device cuda --only attention --repeats 3 --figures "$figures" && cat "$work/log"
fi
if [ -z "$quick" ]; then
  end_to_end 28b 896 $((captioned / 16 + 1)) 32
  speeds 60 3b 896 "" --sequences "1,$many" --vision-images 4
  speeds 90 10b 448 "" --sequences "1,$many"
  end_to_end 10b 448 $((captioned / 4)) 64
  beside_transformers 10b 448 120
  for tp in 2 4 8; do
    [ "$device" = cuda ] || [ "$tp" -le 4 ] || continue # the small model has four heads
    speeds 60 28b 896 "" --sequences 1 --shard-of "$tp"
  done
fi
if [ "$device" = cuda ]; then
  [ -n "$quick" ] || step 90 "products" "$lapidary" bench kernels --device cuda --only products --repeats 3 --figures "$figures"
  for tool in memcheck racecheck synccheck initcheck; do sanitized "$tool"; done
  [ -n "$quick" ] || beside_transformers 28b 896 150
fi
write_report
echo
cat "${report%.json}.md"
echo "written to $report"
exit $status

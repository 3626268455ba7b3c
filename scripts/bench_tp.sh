#!/usr/bin/env bash
# What tensor parallelism costs on one machine: N ranks of one thread beside one rank of N threads, in turn, so that a
# machine whose speed drifts drifts for both. Prints the medians and their ratio; goal: within 5 %.
#   scripts/bench_tp.sh [MODEL_CONFIG] [RANKS] [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")/.."
model=${1:-configs/models/paligemma2-3b-pt-224.json} ranks=${2:-2} rounds=${3:-3}
scripts/build.sh release lapidary >/dev/null
bench=(build/release/bin/lapidary bench model --model "$model" --load-format dummy --new-tokens 12 --repeats 3)
mpirun=(mpirun -np "$ranks" --oversubscribe --bind-to none)
[ "$(id -u)" -ne 0 ] || mpirun+=(--allow-run-as-root)

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for ((round = 0; round < rounds; ++round)); do
  "${bench[@]}" --threads "$ranks" >>"$folder/threads"
  "${mpirun[@]}" "${bench[@]}" --threads 1 >>"$folder/ranks"
done
# median FILE PART: milliseconds
median() { sed -n "s/^$2 *\([0-9.]*\) .*/\1/p" "$folder/$1" | sort -n | sed -n "$((rounds / 2 + 1))p"; }
printf '%-20s %16s %16s %8s\n' part "1 x $ranks threads, ms" "$ranks ranks x 1, ms" ratio
for part in "prefill, both" "decode, one token"; do
  threads=$(median threads "$part") ranked=$(median ranks "$part")
  printf '%-20s %16s %16s %8.3f\n' "$part" "$threads" "$ranked" "$(awk "BEGIN { print $ranked / $threads }")"
done

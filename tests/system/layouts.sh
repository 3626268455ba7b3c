#!/usr/bin/env bash
# One prompt traced alone and by real MPI processes: the files, with every tensor and logit in them, are equal byte by
# byte, whatever the number of ranks and threads.
#   layouts.sh LAPIDARY SOURCE MPIRUN…
set -euo pipefail
lapidary=$1 source=$2
shift 2
mpirun=("$@")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

compared=0
for case in like3b like28b; do
  model=$source/tests/golden/models/$case
  for dtype in float32 bfloat16; do
    arguments=(trace --model "$model" --image "$model/image0.png" --prompt "caption en" --max-new-tokens 12
      --ignore-eos --dtype "$dtype")
    "$lapidary" "${arguments[@]}" --threads 2 --output "$folder/solo" >/dev/null
    for ranks in 1 2 3 4 8; do
      "${mpirun[@]}" -np "$ranks" "$lapidary" "${arguments[@]}" --threads 1 --tp "$ranks" --output "$folder/split" >/dev/null
      cmp "$folder/solo" "$folder/split" || { echo "$case $dtype: $ranks ranks differ from one" >&2; exit 1; }
      compared=$((compared + 1))
    done
  done
done
echo "$compared layouts, all equal to one rank"

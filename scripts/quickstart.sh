#!/usr/bin/env bash
# From a fresh Debian 12 machine to captions: installs, builds, and captions the sample pictures with the demo model
# that ships with the repository, on two MPI ranks. Needs root or sudo for the packages; no GPU, no download of weights.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install_deps.sh
preset=release
if [ ! -e /dev/nvidiactl ]; then
  preset=cpu # kernels for GPUs would take longer than all else together
  echo "== no GPU here: building for CPUs alone. For GPUs: scripts/build.sh release lapidary"
fi
scripts/build.sh "$preset" lapidary

out=demo-out
rm -rf "$out"
mkdir -p "$out"
mpirun=(mpirun -np 2 --oversubscribe --bind-to none)
[ "$(id -u)" -ne 0 ] || mpirun+=(--allow-run-as-root)
lapidary=("build/$preset/bin/lapidary")
model=configs/demo/model
samples=configs/demo/samples

echo
echo "== captions, 2 ranks: mpirun -np 2 lapidary caption --model $model --tp 2 $samples"
"${mpirun[@]}" "${lapidary[@]}" caption --model "$model" --tp 2 --input "$samples" --output "$out/captions.jsonl" \
  --draw "$out/pictures"

echo
echo "== questions and boxes, from one manifest with a prompt a line"
"${mpirun[@]}" "${lapidary[@]}" caption --model "$model" --tp 2 --input "$samples/prompts.jsonl" \
  --output "$out/answers.jsonl" --draw "$out/boxes" --quiet

show() { sed -E 's/^\{"key": ?"([^"]*)", ?"prompt": ?"([^"]*)", ?"text": ?"([^"]*)".*/  \1  [\2]  \3/' "$1"; }
echo
show "$out/captions.jsonl"
echo
show "$out/answers.jsonl"
echo
echo "Pictures with their captions: $out/pictures, with boxes: $out/boxes. Records: $out/*.jsonl"

#!/usr/bin/env bash
# How good is the demo model, through lapidary itself? Draws fresh scenes (Python with numpy and Pillow), captions,
# questions and boxes them, and scores the records against the truth; fails under 90 % right or a mean IoU under 0.7.
#   scripts/check_demo.sh [COUNT] [SEED]      PYTHON=… chooses the interpreter
set -euo pipefail
cd "$(dirname "$0")/.."
count=${1:-200} seed=${2:-$RANDOM}
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

scripts/build.sh release lapidary >/dev/null
"$python" -B scripts/make_demo_model.py draw --count "$count" --seed "$seed" --out "$folder"
build/release/bin/lapidary caption --model configs/demo/model --input "$folder/prompts.jsonl" --max-new-tokens 96 \
  --max-model-len 256 --output "$folder/records.jsonl"
echo "== $count scenes never seen in training (seed $seed)"
"$python" -B scripts/make_demo_model.py score --truth "$folder/truth.jsonl" --records "$folder/records.jsonl"

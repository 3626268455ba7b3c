#!/usr/bin/env bash
# What lanes and stages gain on one machine, a thread a rank, at the 3B model's widths (dummy weights):
# - overlap: a vision rank beside a decoder rank (6 layers, about the tower's work), 24 pictures, beside each alone;
# - pipeline: two stages of 6 layers beside one of 12, 12 pictures (ideal with 12 batches: 1.85 x).
#   scripts/bench_runtime.sh
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${LAPIDARY:-}" ]; then
  scripts/build.sh release lapidary >/dev/null
  LAPIDARY=build/release/bin/lapidary
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mpirun=(mpirun -np 2 --oversubscribe --bind-to none)
[ "$(id -u)" -ne 0 ] || mpirun+=(--allow-run-as-root)

# config NAME LAYERS VISION_LAYERS: the 3B model with other depths, and the demo tokenizer's image token.
image=$(grep -oE '"image_token_(index|id)": *[0-9]+' configs/demo/model/config.json | head -1 | grep -oE '[0-9]+$')
config() {
  sed -E "s/(\"num_hidden_layers\": )26/\1$2/; s/(\"num_hidden_layers\": )27/\1$3/; s/(\"vocab_size\": )[0-9]+/\132768/g; s/(\"image_token_index\": )[0-9]+/\1$image/" \
    configs/models/paligemma2-3b-pt-224.json >"$folder/$1.json"
}
config overlap 6 27
config pipeline 12 1
mkdir "$folder/pictures"
samples=(configs/demo/samples/*.jpg)
for ((i = 0; i < 24; ++i)); do # each with bytes of its own, so that none is found encoded
  { cat "${samples[$((i % ${#samples[@]}))]}" && echo "$i"; } >"$folder/pictures/$i.jpg"
done
caption=(caption --load-format dummy --dtype bfloat16 --tokenizer configs/demo/model --ignore-eos --max-num-seqs 4 --threads 1
  --vision-threads 1 --output "$folder/out.jsonl")
show() { grep -E 'images in|overlap|bubble|stage|vision'; }

echo "== overlap: each alone, a picture"
"$LAPIDARY" bench model --model "$folder/overlap.json" --load-format dummy --threads 1 | grep -E '^(vision|decoder prefill|decode)'
echo "== overlap: 24 pictures, a vision rank and a decoder rank"
"${mpirun[@]}" "$LAPIDARY" "${caption[@]}" --model "$folder/overlap.json" --max-new-tokens 2 --vision-ranks 1 "$folder/pictures" \
  --trace "$folder/trace.json" 2>&1 | show
rm "$folder"/pictures/{12..23}.jpg
pipeline=("${caption[@]}" --model "$folder/pipeline.json" --max-new-tokens 4 --max-num-batched-tokens 460 "$folder/pictures")
echo "== pipeline: 12 pictures, one stage"
"$LAPIDARY" "${pipeline[@]}" 2>&1 | show
echo "== pipeline: 12 pictures, two stages"
"${mpirun[@]}" "$LAPIDARY" "${pipeline[@]}" --pp 2 --pp-layers 6,6 --trace "$folder/trace.json" 2>&1 | show

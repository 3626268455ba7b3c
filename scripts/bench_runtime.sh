#!/usr/bin/env bash
# What lanes and stages gain on one machine, a thread a rank, at the 3B model's widths (dummy weights):
# - overlap: a vision rank beside a decoder rank (6 layers, about the tower's work), 24 pictures, beside each alone;
# - lanes: the tower beside the decoder (6 layers) in one rank, a core each and with both cores the decoder's: what an
#   encode does to decode steps;
# - pipeline: two stages of 6 layers beside one of 12, 24 pictures, each a prefill of its own, 8 at once (ideal with 24
#   batches and two stages: 48/25 = 1.92 x).
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
caption=(caption --load-format dummy --dtype bfloat16 --tokenizer configs/demo/model --ignore-eos --vision-threads 1
  --output "$folder/out.jsonl")
show() { grep -E 'images in|overlap|bubble|stage|vision|decode steps'; }

echo "== overlap: each alone, a picture"
"$LAPIDARY" bench model --model "$folder/overlap.json" --load-format dummy --threads 1 | grep -E '^(vision|decoder prefill|decode)'
echo "== overlap: 24 pictures, a vision rank and a decoder rank"
"${mpirun[@]}" "$LAPIDARY" "${caption[@]}" --threads 1 --model "$folder/overlap.json" --max-num-seqs 4 --max-new-tokens 2 --vision-ranks 1 "$folder/pictures" \
  --trace "$folder/trace.json" 2>&1 | show
for threads in 1 2; do
  echo "== lanes: $threads threads for the decoder, one for the tower"
  "$LAPIDARY" "${caption[@]}" --model "$folder/overlap.json" --max-num-seqs 2 --max-new-tokens 48 --threads "$threads" "$folder/pictures" \
    --trace "$folder/trace.json" 2>&1 | show
done
pipeline=("${caption[@]}" --threads 1 --model "$folder/pipeline.json" --max-num-seqs 8 --max-new-tokens 4 --max-num-batched-tokens 460 "$folder/pictures")
echo "== pipeline: 24 pictures, one stage"
"$LAPIDARY" "${pipeline[@]}" 2>&1 | show
echo "== pipeline: 24 pictures, two stages"
"${mpirun[@]}" "$LAPIDARY" "${pipeline[@]}" --pp 2 --pp-layers 6,6 --trace "$folder/trace.json" 2>&1 | show

#!/usr/bin/env bash
# `lapidary tokenize`, `detokenize`, `inspect`.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"

printf 'caption en\n\n<bos> two  spaces, é😈\ttab <loc0001>\n' >text
run 0 "$program" tokenize --model "$model" text
[ "$(lines out)" -eq 3 ] && [ -z "$(sed -n 2p out)" ] || fail "not a line a line"
mv out ids
run 0 "$program" detokenize --model "$model/tokenizer.json" ids
same out text
run 0 bash -c '"$@" <text' - "$program" tokenize --model "$model"
same out ids
run 0 "$program" tokenize --model "$model" --text "caption en" --json
has out '{"ids": [' '"pieces": ["'
run 0 "$program" detokenize --model "$model" --text "2 $(head -1 ids) 1" --skip-special
[ "$(cat out)" = "caption en" ] || fail "special tokens: $(cat out)"
run 0 "$program" detokenize --model "$model" --text "2" --json
[ "$(cat out)" = '"<bos>"' ] || fail "as JSON: $(cat out)"

says 1 "line 2" "UTF-8" -- bash -c 'printf "a\n\xff\n" | "$@"' - "$program" tokenize --model "$model"
says 1 "line 1" "4x" -- "$program" detokenize --model "$model" <(echo 3 4x)
says 1 "nowhere" -- "$program" tokenize --model "$model" nowhere
says 1 "tokenizer.json" -- "$program" tokenize --model "$work" --text x
says 1 "standard output" -- bash -c '"$@" >/dev/full' - "$program" tokenize --model "$model" --text x

run 0 "$program" inspect "$model" --tp 2
has out "vision tower" "8 heads of 12, 4 KV heads" "checkpoint    5" "Shard plan of 2 ranks" "0-3 (4)" "Memory of each rank"
run 0 "$program" inspect --model "$source_dir/configs/models/paligemma2-28b-pt-896.json" --tp 8
has out "46 layers" "4096 tokens an image" "bfloat16" "is a config"
says 1 "17 ranks" "16" -- "$program" inspect "$source_dir/configs/models/paligemma2-10b-pt-448.json" --tp 17

# A device, or what a link leads to, is written into or refused: nothing takes its place.
ln -s /dev/null device
says 1 "device" "no regular file" -- "$program" trace --model "$model" --image "$models/like28b/image0.png" --prompt a --max-new-tokens 1 --output device
[ -c device ] && [ -L device ] || fail "a device was replaced"
ln -s real.safetensors link
: >real.safetensors
run 0 "$program" trace --model "$model" --image "$models/like28b/image0.png" --prompt a --max-new-tokens 1 --output link
[ -L link ] && [ -s real.safetensors ] || fail "a link was replaced"

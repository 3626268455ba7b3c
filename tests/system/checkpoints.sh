#!/usr/bin/env bash
# Checkpoints of other people: one door for all commands, what it reads as transformers does, and what it refuses by name.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
demo=$source_dir/configs/demo/model
picture=$source_dir/configs/demo/samples/beach-day.jpg
n=0

caption() { "$program" caption --model "$1" "$picture" --output "$work/r.jsonl" "${@:2}"; }
text() { grep -o '"text": "[^"]*"' r.jsonl; }
# fresh: a copy of the demo model in ./m.
fresh() {
  rm -rf m r.jsonl t.safetensors
  cp -r "$demo" m
  chmod -R u+w m
}
# edit FILE OLD NEW: in a copy's file.
edit() {
  grep -q -- "$2" "m/$1" || fail "no '$2' in $1"
  sed -i "s|$2|$3|" "m/$1"
}
# refused TEXT...: all commands end with the same sentence.
refused() {
  local first=
  for command in "inspect m" "trace --model m --image $picture --output t.safetensors" "caption --model m $picture --output r.jsonl" \
    "bench model --model m --prompt-tokens 4 --new-tokens 2"; do
    # shellcheck disable=SC2086
    says 1 "$@" -- "$program" $command
    sed 's/^lapidary[a-z ]*: //' sentence >now
    [ -z "$first" ] && mv now first && first=1 || same first now
  done
}
# accepted: all commands run it; the caption is the right one.
accepted() {
  run 0 "$program" inspect m
  run 0 "$program" trace --model m --image "$picture" --output t.safetensors
  rm -f r.jsonl
  run 0 caption m
  [ "$(text)" = "$right" ] || fail "another caption: $(text), not $right"
}

run 0 caption "$demo"
right=$(text)
[ -n "$right" ] || fail "no caption"

# Settings of generation: what is off or unused changes nothing, what is in force is refused by name.
for settings in '{}' '{"eos_token_id": null, "do_sample": null, "temperature": null, "max_new_tokens": null}' \
  '{"eos_token_id": [1, 107], "pad_token_id": -1}' '{"eos_token_id": 1, "temperature": "0.5", "num_beams": 1, "max_length": 20}' \
  '{"eos_token_id": 1, "do_sample": true, "temperature": 0.1, "top_k": 1}'; do
  fresh
  printf '%s' "$settings" >m/generation_config.json
  accepted
done
fresh
rm m/generation_config.json
accepted
echo '{"eos_token_id": 1, "num_beams": 4, "repetition_penalty": 1.3}' >m/generation_config.json
refused "generation_config.json: num_beams is 4" "--generation-config none"
rm -f r.jsonl
run 0 caption m --generation-config none
[ "$(text)" = "$right" ] || fail "another caption without the file: $(text)"

# `trace` ends where generation_config.json says.
fresh
run 0 "$program" trace --model m --image "$picture" --output t.safetensors
all=$(wc -w <out)
third=$("$program" tokenize --model m --text " $(cut -d' ' -f3 out)" | cut -d' ' -f1)
printf '{"eos_token_id": [1, %s]}' "$third" >m/generation_config.json
run 0 "$program" trace --model m --image "$picture" --output t.safetensors
[ "$(wc -w <out)" -lt "$all" ] || fail "trace went on past the end: $(cat out)"

# What stands in a file's place, adapters, and what is missing.
pointer='version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4624120\n'
for file in model.safetensors config.json generation_config.json preprocessor_config.json; do
  fresh
  # shellcheck disable=SC2059
  printf "$pointer" >"m/$file"
  refused "m/$file: is a git-lfs pointer to a file of 4624120 bytes" "git lfs pull"
done
fresh
# shellcheck disable=SC2059
printf "$pointer" >m/tokenizer.json
refused "m/tokenizer.json: is a git-lfs pointer"
for file in model.safetensors config.json; do
  fresh
  rm "m/$file"
  mkfifo "m/$file"
  refused "m/$file" "not a regular file"
done
fresh
echo '{"base_model_name_or_path": "google/paligemma2-3b-pt-224", "peft_type": "LORA"}' >m/adapter_config.json
refused "an adapter of the base model google/paligemma2-3b-pt-224 lies beside the model" "not run yet"
rm m/config.json m/model.safetensors
refused "is an adapter of the base model google/paligemma2-3b-pt-224" "give --model"
fresh
rm m/model.safetensors
refused "holds neither model.safetensors nor"
run 0 "$program" inspect m/config.json
has out "is a config"

# Configs as Python and transformers take them.
fresh
printf '\xef\xbb\xbf' | cat - m/config.json >c && mv c m/config.json
edit config.json '"pad_token_id": 0,' '"pad_token_id": -1, "a": NaN, "b": [-Infinity, "\\ud800"], "initializer_range": Infinity,'
edit config.json '"num_hidden_layers": 4' '"num_hidden_layers": 4.0'
accepted
fresh
edit config.json '^    "tie_word_embeddings": true' '    "tie_word_embeddings": false'
accepted

# A tokenizer that knows more than the model: an error record, in every mode.
fresh
more=
for i in $(seq 0 34); do
  more+=", {\"id\": $((1758 + i)), \"content\": \"<far$i>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false,"
  more+=" \"normalized\": false, \"special\": false}"
done
sed -i -z "s|\n \],\n \"normalizer\"|$more\n ],\n \"normalizer\"|" m/tokenizer.json
[ "$("$program" tokenize --model m --text "<far34>")" = 1792 ] || fail "no token beyond the vocabulary"
for prompt in "caption en" "<far34>" "<far33>" "caption en"; do
  printf '{"image": "%s", "prompt": "%s", "id": %d}\n' "$picture" "$prompt" $((++n))
done >m.jsonl
for launcher in "" "${mpirun[*]} -np 2"; do
  [ -n "$launcher" ] && [ "${#mpirun[@]}" -eq 0 ] && continue
  rm -f r.jsonl
  # shellcheck disable=SC2086
  run 0 $launcher "$program" caption --model m m.jsonl --output r.jsonl
  [ "$(grep -c '"status": "ok"' r.jsonl)" -eq 3 ] || fail "not three captions: $(cat r.jsonl)"
  grep '"status": "error"' r.jsonl >bad
  has bad "the prompt's token '<far34>' has the id 1792, but the model's vocabulary has 1792 rows"
done
says 1 "the prompt's token '<far34>'" -- "$program" caption --model m "$picture" --prompt "<far34>" --output r2.jsonl
says 1 "the prompt's token '<far34>'" -- "$program" trace --model m --image "$picture" --prompt "<far34>" --output t.safetensors

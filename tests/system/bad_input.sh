#!/usr/bin/env bash
# What a user gets wrong, or a file: one sentence that names it, exit code 1 (2 for wrong usage), nothing else.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
make_pictures
make_manifest 3 list.jsonl
caption=("$program" caption --model "$model" --max-new-tokens 4)

mkdir nothing
says 1 "nothing" "without images" -- "${caption[@]}" nothing
says 1 "nowhere.png" "no such file" -- "${caption[@]}" pictures nowhere.png
for line in '{"image": ' '["a.png"]' '{"prompt": "x"}' '{"image": 3}' '{"image": "a.png", "prompt": 3}'; do
  {
    cat list.jsonl
    echo "$line"
  } >bad.jsonl
  says 1 "bad.jsonl" "line 4" -- "${caption[@]}" bad.jsonl
done
: >none.jsonl
says 1 "none.jsonl" -- "${caption[@]}" none.jsonl

cp list.jsonl kept.jsonl
says 1 "list.jsonl" "one of the inputs" -- "${caption[@]}" list.jsonl --output list.jsonl
same list.jsonl kept.jsonl
says 1 "no/such/out.jsonl" "No such file" -- "${caption[@]}" list.jsonl --output no/such/out.jsonl
says 1 "list.jsonl" "folder" -- "${caption[@]}" list.jsonl --draw list.jsonl/sub
says 1 "prompt" "UTF-8" -- "${caption[@]}" list.jsonl --prompt $'\xff'

says 1 "--listen" "LAPIDARY_TOKEN" -- "${caption[@]}" list.jsonl --listen 127.0.0.1:0
says 1 "nohosts" -- "${caption[@]}" list.jsonl --replicas 2 --hostfile nohosts
says 1 "--max-model-len" "9000" "8192" -- "${caption[@]}" list.jsonl --max-model-len 9000
says 1 "profile" "nope" -- "${caption[@]}" list.jsonl --profile nope
for wrong in "--no-such-option" "--dtype int3" "--temperature -1" "--top-p 2" "--max-new-tokens 0" "--threads x"; do
  # shellcheck disable=SC2086
  run 2 "${caption[@]}" list.jsonl $wrong
  [ ! -s out ] || fail "output beside a usage error"
done
run 0 "$program"
run 2 "$program" caption --model "$model"
run 2 "$program" no-such-command
for command in "" caption trace inspect tokenize detokenize bench; do
  # shellcheck disable=SC2086
  run 0 "$program" $command --help
  has out "Usage: lapidary"
done
run 0 "$program" --version
has out "lapidary "

# Checkpoints with one thing wrong.
says 1 "nowhere" -- "$program" caption --model nowhere list.jsonl
broken() { # broken NAME: a copy of the model to spoil
  rm -rf "$1"
  cp -r "$model" "$1"
}
broken no_config && rm no_config/config.json
says 1 "no_config/config.json" -- "$program" caption --model no_config list.jsonl
broken other && sed -i 's/"paligemma"/"llava"/; s/PaliGemmaFor/LlavaFor/' other/config.json
says 1 "other/config.json" "llava" -- "$program" caption --model other list.jsonl
broken no_weights && rm no_weights/model.safetensors
says 1 "no_weights" "safetensors" -- "$program" caption --model no_weights list.jsonl
broken cut && truncate -s -1000 cut/model.safetensors
says 1 "cut/model.safetensors" -- "$program" caption --model cut list.jsonl
broken narrow && sed -i 's/"intermediate_size": 72/"intermediate_size": 80/' narrow/config.json
says 1 "mlp" "72" "80" -- "$program" caption --model narrow list.jsonl
broken deep && sed -i 's/"num_hidden_layers": 2/"num_hidden_layers": 3/' deep/config.json
says 1 "layers.2" -- "$program" caption --model deep list.jsonl
broken shallow && sed -i 's/"num_hidden_layers": 2/"num_hidden_layers": 1/' shallow/config.json
says 1 "layers.1" -- "$program" caption --model shallow list.jsonl
broken no_tokenizer && rm no_tokenizer/tokenizer.json
says 1 "no_tokenizer/tokenizer.json" -- "$program" caption --model no_tokenizer list.jsonl
broken wordpiece && sed -i 's/"type": *"BPE"/"type": "WordPiece"/' wordpiece/tokenizer.json
says 1 "wordpiece/tokenizer.json" "WordPiece" -- "$program" caption --model wordpiece list.jsonl

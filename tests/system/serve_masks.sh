#!/usr/bin/env bash
# Segmentation over HTTP: masks are those of captioning's records, whole and in the last event of a stream.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
# shellcheck source=tests/system/serve.bash
source "$(dirname "$0")/serve.bash"
decoder=$source_dir/tests/golden/masks/decoder.npz

# The demo model does not segment: its word for a tree gets codes in front of it, as in masks.sh.
tree="$(printf '<seg%03d>' 3 14 15 92 65 35 89 79 32 38 46 26 43 38 32 79) tree"
sed -z "s|\"added_tokens\": \[|&{\"id\": 546, \"content\": \"$tree\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": false},|
s|\"▁tree\": 546|\"$tree\": 546|; s|\[\n *\"▁t\",\n *\"ree\"\n *\],||" "$demo/tokenizer.json" >tokenizer.json
picture=$samples/meadow-day.png
run 0 "$program" caption --model "$demo" --tokenizer tokenizer.json --prompt "detect$tree" --mask-decoder "$decoder" --quiet --input "$picture"
expected=$(sed -n 's/.*"counts": \("[^ ]*"\)}.*/\1/p' out)
[ -n "$expected" ] || fail "no mask in $(cat out)"

start_server --model "$demo" --tokenizer tokenizer.json --mask-decoder "$decoder"
wait_until_ready
ask "$picture" "detect$tree" ',"max_tokens":20'
is 200 '"detections":[{"label":"tree","box":[' "\"mask\":{\"rle\":{\"size\":[400,600],\"counts\":$expected},\"polygon\":[["
ask "$picture" "detect$tree" ',"max_tokens":20,"stream":true'
is 200 "\"mask\":{\"rle\":{\"size\":[400,600],\"counts\":$expected}" "data: [DONE]"
[ "$(grep -c '"mask"' answer)" -eq 1 ] || fail "masks in more than one event"
grep '"mask"' answer | grep -q '"finish_reason":"stop"' || fail "the mask is not in the last event"
stop_server TERM
[ "$code" -eq 0 ] || fail "the server ended with $code"
says 1 "nowhere.npz" -- "$program" serve --model "$demo" --mask-decoder nowhere.npz

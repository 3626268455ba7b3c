#!/usr/bin/env bash
# Boxes with masks: in records, in drawings, as a COCO dataset; decoders that are none.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
demo=$source_dir/configs/demo
golden=$source_dir/tests/golden/masks

# The demo model does not segment. Its word for a tree, and that for a house, get codes in front of them: it is asked for
# such things and finds such. Nothing else makes these words any more.
tree="$(printf '<seg%03d>' 3 14 15 92 65 35 89 79 32 38 46 26 43 38 32 79) tree"
house="$(printf '<seg%03d>' {100..115}) house"
added() { echo "{\"id\": $1, \"content\": \"$2\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": false},"; }
sed -z "s|\"added_tokens\": \[|&$(added 546 "$tree")$(added 526 "$house")|
s|\"▁tree\": 546|\"$tree\": 546|; s|\[\n *\"▁t\",\n *\"ree\"\n *\],||
s|\"▁house\": 526|\"$house\": 526|; s|\[\n *\"▁hous\",\n *\"e\"\n *\],||" "$demo/model/tokenizer.json" >tokenizer.json
mkdir pictures
cp "$demo"/samples/{meadow-day.png,meadow-night.png,snow-sunset.jpg,beach-day.jpg} pictures/
head -c 100 pictures/meadow-day.png >pictures/cut.png
caption=("$program" caption --model "$demo/model" --tokenizer tokenizer.json --prompt "detect$tree" --prompt "detect$house" --input pictures)

# Without a decoder records have the codes.
run 0 "${caption[@]}" --output codes --quiet
cat codes/part-*.jsonl >codes.jsonl
[ "$(lines codes.jsonl)" -eq 10 ] || fail "$(lines codes.jsonl) records, not 10"
has codes.jsonl '"segments": [3, 14, 15, 92, 65, 35, 89, 79, 32, 38, 46, 26, 43, 38, 32, 79]}' '"segments": [100, 101, '
! grep -q '"mask"' codes.jsonl || fail "a mask without a decoder"

# With one they have masks, too: run lengths as pycocotools write them.
run 0 "${caption[@]}" --output job --mask-decoder "$golden/decoder.npz" --draw drawn --annotations coco coco.json
has err "coco.json: 4 images, " "without 2 records that have errors"
cat job/part-*.jsonl >masks.jsonl
sed 's/, "mask": {[^}]*}//g' masks.jsonl | sort >stripped
sort codes.jsonl | cmp -s - stripped || fail "masks change more of a record than its masks"
[ "$(grep -o '"segments"' masks.jsonl | wc -l)" -eq "$(grep -o '"mask"' masks.jsonl | wc -l)" ] || fail "codes without a mask"
expected=$(sed -n 's/.*"size": \[400, 600\], "box": \[47, 253, 122, 347\].*"counts": \("[^ ]*"\)}.*/\1/p' "$golden/boxes.json")
[ -n "$expected" ] || fail "no such box in $golden/boxes.json"
has masks.jsonl "\"mask\": {\"size\": [400, 600], \"counts\": $expected}"
has coco.json "\"segmentation\": {\"size\": [400, 600], \"counts\": $expected}, \"area\": "

# Each box once in the dataset, each picture once, and no more.
[ "$(grep -c '"image_id"' coco.json)" -eq "$(grep -o '"xyxy"' masks.jsonl | wc -l)" ] || fail "not as many annotations as boxes"
grep -o '"file_name": "[^"]*"' coco.json | sort >names
printf '"file_name": "%s"\n' beach-day.jpg meadow-day.png meadow-night.png snow-sunset.jpg | cmp -s - names || fail "images: $(cat names)"
grep -o '"name": "[^"]*"' coco.json >labels
printf '"name": "%s"\n' house tree | cmp -s - labels || fail "categories: $(cat labels)"
[ "$(grep -o '"id": [0-9]*, "image_id"' coco.json | sort -u | wc -l)" -eq "$(grep -c '"image_id"' coco.json)" ] || fail "ids twice"

# The drawing shows the mask: it is another one than without.
run 0 "${caption[@]}" --output plain --draw plain_drawn --quiet
! cmp -s drawn/meadow-day.png plain_drawn/meadow-day.png || fail "no mask in the drawing"
same drawn/beach-day.png plain_drawn/beach-day.png

# Again: nothing is left to do, and the dataset is the same. Parts, ranks and order do not matter; nor does a single file.
mv coco.json first.json
run 0 "${caption[@]}" --output job --mask-decoder "$golden/decoder.npz" --annotations coco coco.json --quiet
same coco.json first.json
run 0 "${caption[@]}" --output records.jsonl --mask-decoder "$golden/decoder.npz" --annotations coco coco.json --quiet
same coco.json first.json
printf 'annotations: [coco, coco.json]\nmask-decoder: %s\n' "$golden/decoder.npz" >job.yaml
rm coco.json
run 0 "${caption[@]}" --output small --records-per-part 1 --config job.yaml --quiet
same coco.json first.json
if [ ${#mpirun[@]} -gt 0 ]; then
  rm coco.json
  run 0 start_ranks 2 "${caption[@]}" --tp 2 --output ranks --config job.yaml --quiet
  same coco.json first.json
fi

# A job that is stopped leaves no dataset, and the next run writes it.
rm coco.json
for i in {1..40}; do cp pictures/meadow-day.png "pictures/again$i.png"; done
"${caption[@]}" --output stopped --config job.yaml --max-num-seqs 1 >out 2>err &
wait_for 60 grep -qs . stopped/.part-00000.jsonl.open
kill -INT $!
code=0
wait $! || code=$?
if [ "$code" -ne 0 ]; then [ "$code" -eq 130 ] && [ ! -e coco.json ] || fail "stopped with $code: $(ls)"; fi
run 0 "${caption[@]}" --output stopped --config job.yaml --quiet
[ "$(grep -c '"file_name"' coco.json)" -eq 44 ] || fail "not 44 images in the dataset of a job that was stopped"
rm pictures/again*

# Masks belong to the job: it is not gone on with without them, nor with another decoder.
says 1 "mask-decoder" -- "${caption[@]}" --output job
says 1 "mask-decoder" -- "${caption[@]}" --output codes --mask-decoder "$golden/decoder.npz"

# What is no decoder is refused before any work, in a sentence with the array and both shapes.
says 1 "decoded.npz: has no array _vq_vae._embedding, expected one of the shape [128, 512]" -- \
  "${caption[@]}" --mask-decoder "$golden/decoded.npz"
head -c 3000 "$golden/decoder.npz" >cut.npz
says 1 "cut.npz: " -- "${caption[@]}" --mask-decoder cut.npz
says 1 "tokenizer.json: is no file of arrays" -- "${caption[@]}" --mask-decoder tokenizer.json
says 1 "absent.npz: no such file" -- "${caption[@]}" --mask-decoder absent.npz

# So are annotations that could not be written.
says 1 "--annotations needs --output" -- "${caption[@]}" --annotations coco x.json
says 1 "absent is no folder" -- "${caption[@]}" --output new --annotations coco absent/x.json
says 1 "--annotations pictures is one of the inputs" -- "${caption[@]}" --output new --annotations coco pictures
says 1 "drawn is no regular file" -- "${caption[@]}" --output new --annotations coco drawn
says 1 "--annotations and --output are the same file" -- "${caption[@]}" --output x.jsonl --annotations coco ./x.jsonl
run 2 "${caption[@]}" --output new --annotations voc x.json
has err "voc" "coco"
run 2 "${caption[@]}" --output new --annotations coco

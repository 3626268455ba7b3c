#!/usr/bin/env bash
# `lapidary caption` in one process: what a record says, the order of records, and what fails beside what succeeds.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
make_pictures
caption=("$program" caption --model "$model" --max-new-tokens 12)

# A folder with pictures and files that are none: a record each, sorted by path.
run 0 "${caption[@]}" pictures
[ "$(lines out)" -eq 6 ] || fail "$(lines out) records, not 6"
grep -o '^{"key": "[^"]*"' out >keys
printf '{"key": "%s"\n' a.png b.png cut.png deep/c.PNG empty.webp text.jpg >expected
same keys expected
[ "$(grep -c '"status": "ok", "error": null, "width": [0-9]*, "height": [0-9]*, "boxes": \[' out)" -eq 3 ] || fail "ok records"
[ "$(grep -c '"status": "error", "error": ".*/pictures/.*", "width": null, "height": null, "boxes": \[\]}$' out)" -eq 3 ] ||
  fail "error records"
has err "6 images" "3 of them failed" "KV pages"
grep '"status": "ok"' out >ok.jsonl

# The same from a file, and from each picture alone; nothing is said when quiet.
run 0 "${caption[@]}" --input pictures --output records.jsonl --quiet
[ ! -s err ] && [ ! -s out ] || fail "not quiet: $(cat err)"
grep '"status": "ok"' records.jsonl | cmp -s - ok.jsonl || fail "--output differs from standard output"
for key in a.png b.png deep/c.PNG; do run 0 "${caption[@]}" --quiet "pictures/$key" && cat out; done |
  sed 's|"pictures/|"|' >alone
same alone ok.jsonl

# Neither the batch, nor the readers, nor the threads, nor the order change an answer.
make_manifest 20 list.jsonl
run 0 "${caption[@]}" list.jsonl --quiet --max-num-seqs 1
mv out one
for options in "--max-num-seqs 7" "--max-num-seqs 7 --image-workers 1 --threads 1" "--max-num-batched-tokens 150"; do
  # shellcheck disable=SC2086
  run 0 "${caption[@]}" list.jsonl --quiet $options
  same out one
done
tac list.jsonl >reversed.jsonl
run 0 "${caption[@]}" reversed.jsonl --quiet
tac out >forth
same forth one
has one '{"key": "0", "prompt": "caption en"' '{"key": "no. 19", "prompt": "detect thing 19"'

# Sampling follows the seed alone; the likeliest of one token is greedy.
run 0 "${caption[@]}" list.jsonl --quiet --temperature 2 --seed 5
mv out seed5
run 0 "${caption[@]}" list.jsonl --quiet --temperature 2 --seed 5 --max-num-seqs 3
same out seed5
run 0 "${caption[@]}" list.jsonl --quiet --temperature 2 --seed 6
! cmp -s out seed5 || fail "another seed, the same texts"
run 0 "${caption[@]}" list.jsonl --quiet --top-k 1
same out one

# A prompt that does not fit fails its record alone.
{
  head -1 list.jsonl
  printf '{"image": "pictures/b.png", "id": "long", "prompt": "%0500d"}\n' 7
} >mixed.jsonl
run 0 "${caption[@]}" mixed.jsonl --max-model-len 100
head -1 out | cmp -s - <(head -1 one) || fail "the record beside it changed"
grep '"key": "long"' out >long
has long '"status": "error"' "tokens" ", but a sequence may have 100 (--max-model-len)"
has err "1 of them failed"

# Where nothing succeeds, neither does the command.
says 1 "pictures/cut.png" "broken PNG" -- "${caption[@]}" pictures/cut.png
[ "$(lines out)" -eq 1 ] || fail "the failed record is missing"

# Drawings carry the names of their records.
run 0 "${caption[@]}" pictures --quiet --draw drawn/here
(cd drawn/here && find . -type f | sort) >drawn_names
printf '%s\n' ./a.png ./b.png ./deep/c.png | cmp -s - drawn_names || fail "drawn: $(cat drawn_names)"
for name in a.png deep/c.png; do head -c 8 "drawn/here/$name" | grep -q PNG || fail "$name is no PNG"; done

# Drawings: a name too long for the PNG's, a picture that goes away, and names that only differ in their extension.
mkdir names
long=$(printf 'x%.0s' {1..251})
cp pictures/a.png "names/$long.png"
cp pictures/a.png names/same.png
cp pictures/a.png names/same.jpg
run 0 "${caption[@]}" names --output long_records --draw long_drawn
[ "$(find long_drawn -type f -size +0 | wc -l)" -eq 3 ] || fail "drawn: $(ls long_drawn) $(cat err)"
[ -f long_drawn/same.png ] && [ -f long_drawn/same-2.png ] || fail "drawn: $(ls long_drawn)"
# What cannot be drawn is counted, and its record is there.
mkdir -p blocked/same.png
run 0 "${caption[@]}" names --output blocked_records --draw blocked
has err "a drawing could not be made: "
[ "$(cat blocked_records/*.jsonl | wc -l)" -eq 3 ] || fail "not all records: $(cat err)"

#!/usr/bin/env bash
# Every item has one record under a key of its own: keys that repeat, jobs that are killed between two of them, inputs that
# grow or are spelled otherwise, and two programs on one output.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
samples=$source_dir/configs/demo/samples
caption=("$program" caption --model "$model" --max-new-tokens 4 --threads 1)

# all_keys FILE...: the records' keys, sorted.
all_keys() { cat "$@" | grep -o '^{"key": "[^"]*"' | cut -d'"' -f4 | LC_ALL=C sort; }

# Two pictures of one id, one picture twice: keys of their own, counted.
mkdir m
cp "$samples"/{sea-day,beach-day,snow-day}.jpg m
printf '{"image": "%s", "id": "x"}\n' sea-day.jpg beach-day.jpg >m/m.jsonl
printf '{"image": "%s"}\n' snow-day.jpg snow-day.jpg >>m/m.jsonl
run 0 "${caption[@]}" m/m.jsonl
all_keys out >keys
printf '%s\n' snow-day.jpg 'snow-day.jpg#2' x 'x#2' >expected
same keys expected
has err "2 keys were there before, and got a number behind"

# A death between two of one id: what the journal has is not made again, what it has not is.
reading() { [ "$(cat job/.part-*.open job/part-*.jsonl 2>/dev/null | wc -l)" -ge "$1" ]; }
for i in $(seq 40); do printf '{"image": "%s", "id": "x"}\n' sea-day.jpg beach-day.jpg snow-day.jpg; done >m/many.jsonl
run 0 "${caption[@]}" m/many.jsonl --quiet --output whole
cat whole/part-*.jsonl | LC_ALL=C sort >want
[ "$(all_keys want | uniq | wc -l)" -eq 120 ] || fail "120 pictures, $(all_keys want | uniq | wc -l) keys"
for at in 1 40 80; do
  rm -rf job
  "${caption[@]}" m/many.jsonl --quiet --max-num-seqs 1 --output job 2>/dev/null &
  wait_for 60 reading $at
  kill -9 $! 2>/dev/null || true
  wait $! 2>/dev/null || true
  run 0 "${caption[@]}" m/many.jsonl --quiet --output job
  cat job/part-*.jsonl | LC_ALL=C sort >have
  same have want
done

# The same names twice in a tar, with WebDataset's files.
mkdir stage
cp "$samples/sea-day.jpg" stage/a.jpg
tar -cf t.tar -C stage a.jpg
cp "$samples/snow-day.jpg" stage/a.jpg
tar -rf t.tar -C stage a.jpg
cp "$samples/meadow-day.png" stage/a.png
tar -rf t.tar -C stage a.png
run 0 "${caption[@]}" t.tar --quiet --output wds --output-format webdataset
grep -o '^{"key": "[^"]*"' wds/t.jsonl | cut -d'"' -f4 >keys
printf '%s\n' t/a 't/a#2' t/a.png >expected
same keys expected
cp wds/t.jsonl before
run 0 "${caption[@]}" t.tar --quiet --output wds --output-format webdataset
same wds/t.jsonl before

# Names that are no UTF-8: records are, and their keys differ.
mkdir latin
cp "$samples/sea-day.jpg" $'latin/caf\xe9.jpg'
cp "$samples/snow-day.jpg" $'latin/caf\xe8.jpg'
run 0 "${caption[@]}" latin --quiet
[ "$(all_keys out | uniq | wc -l)" -eq 2 ] && iconv -f UTF-8 -t UTF-8 out >/dev/null || fail "$(cat out)"
has out '"key": "caf\\xe8.jpg"' '"key": "caf\\xe9.jpg"' '"status": "ok"'

# Inputs that grow, or are spelled otherwise, make only what is new.
mkdir p1 p2
for name in sea-day beach-day; do cp "$samples/$name.jpg" p1; done
cp "$samples/snow-day.jpg" p2/sea-day.jpg
job=("${caption[@]}" --quiet --output grown)
run 0 "${job[@]}" p1
cp "$samples/meadow-sunset.jpg" p1
run 0 "${job[@]}" ./p1/
run 0 "${job[@]}" p2 "$work/p1"
run 0 "${job[@]}" p1 p2
all_keys grown/part-*.jsonl >keys
printf '%s\n' beach-day.jpg meadow-sunset.jpg p2/sea-day.jpg sea-day.jpg >expected
same keys expected

# Lines that share an id, put behind or between those that are done: each picture once, done ones under their old keys.
text_of() { cat grow/part-*.jsonl | sed -n "s/^{\"key\": \"$1\".*\"token_ids\": \(\[[^]]*\]\).*/\1/p"; }
line() { printf '{"image": "%s.jpg", "id": "x"}\n' "$@"; }
line sea-day >m/first.jsonl
line beach-day >m/second.jsonl
grow=("${caption[@]}" --quiet --output grow m/first.jsonl m/second.jsonl)
run 0 "${grow[@]}"
first=$(text_of x) second=$(text_of 'x#2')
line sea-day snow-day >m/first.jsonl
run 0 "${grow[@]}"
line meadow-sunset sea-day snow-day >m/first.jsonl
cp "$samples/meadow-sunset.jpg" m
run 0 "${grow[@]}"
run 0 "${grow[@]}"
all_keys grow/part-*.jsonl >keys
printf '%s\n' x 'x#2' 'x#3' 'x#4' >expected
same keys expected
[ "$(text_of x)" = "$first" ] && [ "$(text_of 'x#2')" = "$second" ] || fail "a record that was done has changed"
for picture in sea-day beach-day snow-day meadow-sunset; do line $picture >m/one.jsonl && "${caption[@]}" --quiet m/one.jsonl; done |
  grep -o '"token_ids": .*' | LC_ALL=C sort >want
cat grow/part-*.jsonl | grep -o '"token_ids": .*' | LC_ALL=C sort >have
same have want

# Two folders of one spelling are two sources; a dataset that has moved as a whole is the same.
mkdir -p d1/p d2/p
cp "$samples/sea-day.jpg" d1/p/a.jpg
cp "$samples/snow-day.jpg" d2/p/a.jpg
(cd d1 && run 0 "${caption[@]}" p --quiet --output ../places)
(cd d2 && run 0 "${caption[@]}" p --quiet --output ../places)
[ "$(cat places/part-*.jsonl | wc -l)" -eq 2 ] || fail "two folders called p, $(cat places/part-*.jsonl | wc -l) records"
mv d1 d3
mkdir d1
(cd d3 && run 0 "${caption[@]}" p --quiet --output ../places)
[ "$(cat places/part-*.jsonl | wc -l)" -eq 2 ] || fail "a folder that has moved, $(cat places/part-*.jsonl | wc -l) records"

# Whatever decides a record is the job's.
cp -r "$model" changed
run 0 "$program" caption --model changed --max-new-tokens 4 --quiet --output settings p1
for file in preprocessor_config.json processor_config.json tokenizer.json generation_config.json; do
  [ ! -e "changed/$file" ] || cp "changed/$file" kept
  if [ -e "changed/$file" ]; then echo >>"changed/$file"; else echo '{}' >"changed/$file"; fi
  says 1 "settings was made with $file" "use another --output" -- "$program" caption --model changed --max-new-tokens 4 --quiet --output settings p1
  if [ -e "$model/$file" ]; then cp kept "changed/$file"; else rm "changed/$file"; fi
done
run 0 "$program" caption --model changed --max-new-tokens 4 --quiet --output settings p1
sed -i 's/"version": 2/"version": 1/' settings/job.json
says 1 "settings/job.json is of version 1" "use another --output" -- "$program" caption --model changed --max-new-tokens 4 --quiet --output settings p1

# Two programs on one output: the second is refused in a sentence, and nothing is mixed.
for output in two.jsonl two; do
  mkfifo held
  (exec 3<>held && "${caption[@]}" --quiet - --output $output <&3) &
  first=$!
  sleep 0.1
  exec 4>held
  writes() { pgrep -P $first >/dev/null || [ -e /proc/$first ]; [ -e $output ]; }
  wait_for 30 writes
  sleep 0.3
  says 1 "$output: another run" "has not ended within 5 s" "srun needs --mpi=pmix" -- "${caption[@]}" --quiet p1 --output $output
  kill -9 $first $(pgrep -P $first) 2>/dev/null || true
  wait $first 2>/dev/null || true
  exec 4>&-
  rm held
done

# Tasks that know nothing of each other are told.
run 0 env SLURM_STEP_NUM_TASKS=4 "${caption[@]}" --quiet p2
has err "has started 4 tasks" "srun needs --mpi=pmix"

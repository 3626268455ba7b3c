#!/usr/bin/env bash
# A folder as output: parts, WebDataset's form, what is refused, and failed records made again.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
make_pictures
caption=("$program" caption --model "$model" --max-new-tokens 4 --quiet)

for shard in 00000 00001; do
  mkdir stage
  for i in 1 2 3 4; do
    cp pictures/a.png "stage/${shard}_$i.png"
    echo '{}' >"stage/${shard}_$i.json"
  done
  echo "no picture" >"stage/${shard}_5.jpg"
  tar -C stage --sort=name -cf $shard.tar .
  rm -r stage
done

# WebDataset's form: a file and its numbers for each tar, in the tar's order.
run 0 "${caption[@]}" '{00000..00001}.tar' --output wds --output-format webdataset
(cd wds && ls) >files
printf '%s\n' 00000.jsonl 00000_stats.json 00001.jsonl 00001_stats.json job.json >expected
same files expected
grep -o '"key": "[^"]*"' wds/00001.jsonl >keys
printf '"key": "00001/00001_%d"\n' 1 2 3 4 5 >expected
same keys expected
tr -d ' \n' <wds/00000_stats.json >stats
has stats '"count":5' '"successes":4' '"failed":1'

# Run again: nothing is left to do. Another prompt or form is not this job.
cp -r wds before
run 0 "${caption[@]}" '{00000..00001}.tar' --output wds --output-format webdataset
diff -r wds before --exclude=job.json --exclude=.journal --exclude=.lock --exclude=.mpirun >differences || fail "a finished job changed: $(cat differences)"
says 1 "wds" "caption en" "detect cat" -- "${caption[@]}" '{00000..00001}.tar' --output wds --output-format webdataset --prompt "detect cat"
says 1 "wds" "webdataset" "jsonl" -- "${caption[@]}" '{00000..00001}.tar' --output wds

# Nor on several ranks, which may come when the job is over already.
if [ ${#mpirun[@]} -gt 0 ]; then
  for layout in "--tp 2" "--replicas 2" "--vision-ranks 1"; do
    for i in 1 2 3; do
      read -ra flags <<<"$layout"
      run 0 start_ranks 2 "${caption[@]}" '{00000..00001}.tar' --output wds --output-format webdataset "${flags[@]}"
      [ ! -s err ] || fail "$layout: a job that was done already:"$'\n'"$(cat err)"
    done
    run 0 "${caption[@]}" '{00000..00001}.tar' --output wds --output-format webdataset "${flags[@]}"
    [ ! -s err ] || fail "a mpirun a replica, $layout: a job that was done already:"$'\n'"$(cat err)"
  done
  diff -r wds before --exclude=job.json --exclude=.journal --exclude=.lock --exclude=.mpirun >differences || fail "a finished job changed: $(cat differences)"
fi

# Parts of three records; a picture that is mended later becomes a good record.
run 0 "${caption[@]}" pictures --output parts --records-per-part 3
[ "$(cat parts/part-*.jsonl | wc -l)" -eq 6 ] && [ -f parts/part-00001.jsonl ] || fail "parts: $(ls parts)"
[ "$(cat parts/part-*.jsonl | grep -c '"status": "error"')" -eq 3 ] || fail "not three failed records"
cp pictures/a.png pictures/cut.png
run 0 "${caption[@]}" pictures --output parts --records-per-part 3
[ "$(cat parts/part-*.jsonl | grep -c '"status": "error"')" -eq 3 ] || fail "made again without being asked"
run 0 "${caption[@]}" pictures --output parts --records-per-part 3 --retry-failed
[ "$(cat parts/part-*.jsonl | wc -l)" -eq 6 ] || fail "$(cat parts/part-*.jsonl | wc -l) records after --retry-failed"
[ "$(cat parts/part-*.jsonl | grep -c '"status": "error"')" -eq 2 ] || fail "the mended picture has no record"

# A picture with two prompts, from a list on standard input.
printf '%s\n' pictures/a.png pictures/b.png >list
run 0 bash -c '"$@" <list' - "${caption[@]}" - --prompt "caption en" --prompt "detect cat"
grep -o '"key": "[^"]*", "prompt": "[^"]*"' out >keys
printf '"key": "pictures/%s.png", "prompt": "%s"\n' a "caption en" a "detect cat" b "caption en" b "detect cat" >expected
same keys expected

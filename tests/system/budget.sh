#!/usr/bin/env bash
# Pictures that weigh far more than the memory a job may hold, in plain and compressed tars: who reads waits for who captions,
# no process holds more than it may, and nobody is dropped for having been given too much.
#   LAPIDARY_BUDGET_PICTURES=200 LAPIDARY_BUDGET_GB=1: the whole check, of which this is a part
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
pictures=${LAPIDARY_BUDGET_PICTURES:-24}
budget_gb=${LAPIDARY_BUDGET_GB:-0.4}
side=2600  # noise: files of 20 MB, whose pixels are as many
distinct=4

"$(dirname "$program")/noise_pictures" noise $distinct $side
[ "$(stat -c %s noise/0.png)" -gt 20000000 ] || fail "a picture of noise has $(stat -c %s noise/0.png) bytes"
mkdir many
for ((i = 0; i < pictures; ++i)); do ln "noise/$((i % distinct)).png" "many/$(printf '%03d' "$i").png"; done
# Links of the same file would be links in the tar.
tar -C many --hard-dereference -cf many.tar .
tar -C many --hard-dereference -cf - . | gzip -1 >many.tar.gz
tar -C many --hard-dereference -cf - . | zstd -q -1 >many.tar.zst
cp "$source_dir"/tests/golden/images/size_17x300.png small.png

# peak COMMAND...: the most memory that any process of the job had, kB, in `peak`; its exit code has to be 0.
peak() {
  local pid job most=0
  "$@" >out 2>err &
  job=$!
  while kill -0 $job 2>/dev/null; do
    for pid in $(pgrep -x lapidary || true); do
      # Of this test alone, whatever else runs; ranks get the variable from mpirun.
      grep -qzFx "LAPIDARY_TEST_WORK=$work" "/proc/$pid/environ" 2>/dev/null || continue
      most=$(awk -v most="$most" '/^VmHWM/ { if ($2 > most) most = $2 } END { print most }' "/proc/$pid/status" 2>/dev/null || echo "$most")
    done
    sleep 0.05
  done
  wait $job || fail "the job ended with $?: $(tail -5 err)"
  peak=$most
}

export LAPIDARY_TEST_WORK=$work
caption=("$program" caption --model "$model" --max-new-tokens 2 --image-workers 4 --max-num-seqs 16 --encoder-cache-slots 16)
limit=$(awk -v gb="$budget_gb" 'BEGIN { printf "%d", gb * 1e9 / 1024 }')
flags=()
job() { peak "${@:3}" "${caption[@]}" "${flags[@]}" --image-memory-gb "$budget_gb" --output "$work/job$1" "$2"; }

# What the program holds without such pictures; a job that ends before it is looked at is done again.
for ((i = 0, peak = 0; peak == 0; ++i)); do
  [ $i -lt 20 ] || fail "no process of $i jobs was seen"
  job "base$i" small.png
done
base=$peak

# check NAME: every picture has its record, and no process held more than the budget and what it holds without pictures.
check() {
  local records
  records=$(cat "$work/job$1"/*.jsonl | grep -c '"status": "ok"')
  [ "$records" -eq "$pictures" ] || fail "$1: $records records of $pictures"
  echo "$1: peak $peak kB, without pictures $base kB, budget $limit kB"
  [ "$peak" -le $((base + limit)) ] || fail "$1: a process held $peak kB, more than $base and the budget of $limit kB"
}

for input in many.tar many.tar.gz many.tar.zst many; do
  job "alone-$input" "$input"
  check "alone-$input"
  case "$input" in *gz | *zst) has err "pictures read ahead held" "of $(awk -v gb="$budget_gb" 'BEGIN { printf "%.0f MB", gb * 1000 / 8 }') at most" ;; esac
done
if [ ${#mpirun[@]} -gt 0 ]; then
  job ranks-many.tar.gz many.tar.gz "${mpirun[@]}" -np 2
  check ranks-many.tar.gz
  # A coordinator of its own, and two mpiruns.
  flags=(--replicas 2)
  job replicas-many.tar.gz many.tar.gz
  check replicas-many.tar.gz
fi

# A picture that is larger than what may be read ahead is an error that says so; the rest goes on.
run 0 "${caption[@]}" --image-memory-gb 0.1 --output "$work/jobtight" many.tar.gz small.png
[ "$(cat "$work/jobtight"/*.jsonl | grep -c 'more than the 12500000 that a picture in a compressed tar may have (an eighth of --image-memory-gb)')" -eq "$pictures" ] ||
  fail "$(head -c 1000 "$work"/jobtight/*.jsonl)"
[ "$(cat "$work/jobtight"/*.jsonl | grep -c '"status": "ok"')" -eq 1 ] || fail "the small picture has no record"

# Prompts wait too: 300 of a megabyte each, none of which the model can take.
head -c 1000000 /dev/zero | tr '\0' a >prompt
for ((i = 0; i < 300; ++i)); do
  printf '{"image": "small.png", "id": "p%d", "prompt": "%s"}\n' "$i" "$(cat prompt)"
done >prompts.jsonl
peak "${caption[@]}" --output "$work/jobprompts" prompts.jsonl small.png
echo "prompts: peak $peak kB"
[ "$peak" -le $((base + 400000)) ] || fail "300 prompts of 1 MB took $peak kB, beside $base kB without"

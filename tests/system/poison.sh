#!/usr/bin/env bash
# An item that crashes its job at every run ends as a record with an error at the third, alone; what was merely beside it, or in a
# job that was killed, does not.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
ulimit -c 0
make_pictures
for i in 0 1 2; do printf '{"image": "pictures/a.png", "id": "item %s"}\n' "$i"; done >list.jsonl
# Long enough to be met at work.
caption=("$program" caption --model "$model" --max-new-tokens 1500 --ignore-eos --max-num-seqs 3 --threads 1 --quiet list.jsonl)

# works FOLDER STATE: an item is being worked on (1: beside others, 2: alone), as the file of this run says. 16 bytes an item.
works() {
  [ "$1/.in-flight" -nt begun ] && od -An -v -t u4 -w16 -j24 "$1/.in-flight" 2>/dev/null | awk -v state="$2" '$4 == state {n = 1} END {exit !n}'
}
# crash FOLDER STATE SIGNAL: one run, which gets the signal while it is at work.
crash() {
  touch begun
  "${caption[@]}" --output "$1" 2>>crashes &
  local job=$!
  wait_for 120 works "$1" "$2"
  kill "-$3" "$job"
  wait "$job" 2>/dev/null && fail "it outlived signal $3"
  return 0
}
whole() { [ "$(cat "$1"/part-*.jsonl | grep -c '"status": "ok"')" -eq 3 ] || fail "$1: not 3 captions: $(cat "$1"/part-*.jsonl | cut -b 1-300)"; }

# Killed from outside, however often: nothing is held against anybody.
for _ in 1 2 3; do crash killed 1 KILL; done
run 0 "${caption[@]}" --output killed
whole killed

# A crash: each of the three is worked on alone at the next run, and that one is well.
crash once 1 SEGV
run 0 "${caption[@]}" --output once
whole once

# Two crashes, the second at one item alone: it is given up, the others are captioned.
crash twice 1 SEGV
crash twice 2 SEGV
run 0 "${caption[@]}" --output twice
cat twice/part-*.jsonl >records
[ "$(lines records)" -eq 3 ] || fail "$(lines records) records of 3"
[ "$(grep -c '"status": "ok"' records)" -eq 2 ] || fail "not two captions"
grep '"status": "error"' records >given_up
has given_up "given up: a run crashed while it worked on this item and others" "--retry-failed"
[ ! -e twice/.in-flight ] || fail "the job is done, but its items in flight are there"
run 0 "${caption[@]}" --output twice --retry-failed
whole twice

[ ${#mpirun[@]} -gt 0 ] || exit 0
# The same where another rank than the coordinator's crashes.
crash_rank() { # crash_rank FOLDER STATE
  touch begun
  "${mpirun[@]}" -np 2 "${caption[@]}" --tp 2 --output "$1" 2>>crashes &
  local job=$! rank
  wait_for 120 works "$1" "$2"
  for rank in $(pgrep -P "$job"); do
    if tr '\0' '\n' <"/proc/$rank/environ" | grep -qx OMPI_COMM_WORLD_RANK=1; then kill -SEGV "$rank"; fi
  done
  wait "$job" 2>/dev/null && fail "it outlived its rank"
  return 0
}
crash_rank ranks 1
crash_rank ranks 2
run 0 start_ranks 2 "${caption[@]}" --tp 2 --output ranks
cat ranks/part-*.jsonl >records
[ "$(lines records)" -eq 3 ] || fail "$(lines records) records of 3"
[ "$(grep -c '"status": "error"' records)" -eq 1 ] || fail "not one error: $(cut -b 1-300 records)"

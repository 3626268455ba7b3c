#!/usr/bin/env bash
# Every layout gives the records of one process, bit by bit: tensor and pipeline parallel ranks, replicas, vision ranks, both
# modes of the scheduler, any order of arrival. LAPIDARY_LAYOUTS=all tries the whole product of at most 16 ranks.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
need_ranks
make_pictures
make_manifest 9 list.jsonl
shuf --random-source="$model/model.safetensors" list.jsonl >shuffled.jsonl
caption=("$program" caption --model "$model" --max-new-tokens 6 --threads 1 --quiet)

run 0 "${caption[@]}" list.jsonl
sort out >solo
[ "$(lines solo)" -eq 9 ] || fail "$(lines solo) records of 9 lines"

# layout TP PP REPLICAS VISION_RANKS MODE LIST
tried=0
layout() {
  local ranks=$((($1 * $2 + $4) * $3))
  run 0 start_ranks "$ranks" "${caption[@]}" --tp "$1" --pp "$2" --replicas "$3" --vision-ranks "$4" --mode "$5" "$6"
  sort out >have
  cmp -s solo have || fail "tp $1, pp $2, $3 replicas, $4 vision ranks, $5 mode, $6: other records:"$'\n'"$(diff solo have | head -c 2000)"
  tried=$((tried + 1))
}

if [ "${LAPIDARY_LAYOUTS:-}" = all ]; then
  for tp in 1 2 4; do for pp in 1 2 3; do for replicas in 1 2 3; do for vision in 0 1 2; do for mode in throughput latency; do
    if (((tp * pp + vision) * replicas <= 16)); then layout $tp $pp $replicas $vision $mode shuffled.jsonl; fi
  done; done; done; done; done
else # each pair of values is in one of them
  layout 1 1 1 0 latency list.jsonl
  layout 1 2 2 1 throughput shuffled.jsonl
  layout 1 3 3 2 latency shuffled.jsonl
  layout 2 1 2 2 latency shuffled.jsonl
  layout 2 2 3 0 throughput list.jsonl
  layout 2 3 1 1 throughput shuffled.jsonl
  layout 4 1 3 1 throughput shuffled.jsonl
  layout 4 2 1 2 throughput list.jsonl
  layout 4 3 1 0 latency shuffled.jsonl
  layout 1 2 1 0 latency list.jsonl
  layout 1 1 2 0 throughput shuffled.jsonl
fi
echo "$tried layouts gave the records of one process"

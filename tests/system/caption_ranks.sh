#!/usr/bin/env bash
# `lapidary caption` under mpirun: the records of one process to the last byte, and one sentence for all ranks.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
need_ranks
make_pictures
make_manifest 7 list.jsonl
caption=("$program" caption --model "$model" --max-new-tokens 6 --quiet)

run 0 "${caption[@]}" list.jsonl pictures
mv out solo
run 0 start_ranks 1 "${caption[@]}" list.jsonl pictures --tp 1
same out solo
run 0 start_ranks 2 "${caption[@]}" list.jsonl pictures --tp 2 --max-num-seqs 3
same out solo
says 1 "cut.png" -- start_ranks 2 "${caption[@]}" pictures/cut.png

says 1 "--tp 3" "needs 3 processes" "2 were started" -- start_ranks 2 "${caption[@]}" list.jsonl --tp 3
says 1 "9 ranks" "8 attention heads" -- start_ranks 9 "${caption[@]}" list.jsonl
says 1 "nowhere" "no such file" -- start_ranks 2 "${caption[@]}" nowhere
says 1 "/dev/full" "No space left" -- start_ranks 2 "${caption[@]}" list.jsonl --output /dev/full
cp -r "$model" cut && truncate -s -1000 cut/model.safetensors
says 1 "cut/model.safetensors" -- start_ranks 2 "$program" caption --model cut list.jsonl
says 1 "nowhere" -- start_ranks 2 "$program" caption --model nowhere list.jsonl
run 2 start_ranks 2 "${caption[@]}" --no-such-option

#!/usr/bin/env bash
# A standard stream that is closed is no file of ours: records stay whole, and nothing waits for input that cannot come.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
demo=$source_dir/configs/demo
caption=("$program" caption --model "$demo/model" --max-new-tokens 3 --threads 1)
pictures=("$demo/samples/beach-day.jpg" "$demo/samples/sea-day.jpg")

run 0 "${caption[@]}" "${pictures[@]}"
mv out wanted
"${caption[@]}" "${pictures[@]}" --output records.jsonl 2>&-
same records.jsonl wanted
"${caption[@]}" "${pictures[@]}" --output records.jsonl >&- 2>&- <&-
same records.jsonl wanted
"${caption[@]}" "${pictures[@]}" --output job 2>&-
sort wanted >wanted_sorted # a folder has records as they end
sort job/part-00000.jsonl >job_sorted
same job_sorted wanted_sorted
grep -q '[^0-9]' job/.lock && fail "the job's lock holds more than a process: $(cat job/.lock)"
"${caption[@]}" - --output none.jsonl <&- 2>err && fail "no input is no success"
has err "there is no picture in the inputs"
[ ! -s none.jsonl ] || fail "records of no input"

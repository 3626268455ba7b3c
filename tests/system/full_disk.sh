#!/usr/bin/env bash
# A disk that fills, and a reader that goes away: one sentence, exit code 1, and every record that was written is whole.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
make_pictures
make_manifest 30 list.jsonl
caption=("$program" caption --model "$model" --max-new-tokens 12 --quiet)

says 1 "/dev/full" "No space left" "0 records" -- "${caption[@]}" list.jsonl --output /dev/full
says 1 "standard output" "No space left" -- bash -c '"$@" >/dev/full' - "${caption[@]}" list.jsonl

# The largest file that may be written (3 kB) stands in for the disk; so it needs no disk of its own.
says 1 "out.jsonl" "records are written" -- bash -c 'trap "" XFSZ; ulimit -f 3; "$@"' - "${caption[@]}" list.jsonl --output out.jsonl
[ "$(tail -c 1 out.jsonl)" = "" ] && [ "$(lines out.jsonl)" -gt 3 ] || fail "$(lines out.jsonl) whole records"
has sentence "$(lines out.jsonl) records are written"
run 0 "${caption[@]}" list.jsonl
head -n "$(lines out.jsonl)" out | cmp -s - out.jsonl || fail "what was written is not how it begins"

# The reader is gone long before the first record.
says 1 "standard output" "Broken pipe" -- bash -c '"$@" | true; exit "${PIPESTATUS[0]}"' - "${caption[@]}" list.jsonl

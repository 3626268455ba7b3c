#!/usr/bin/env bash
# A terminal that takes no output and prompts of a megabyte hold up nobody: the coordinator goes on, and each item has its record.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
make_pictures
caption=("$program" caption --model "$model" --max-new-tokens 4 --threads 1)
picture=$work/pictures/a.png

# Standard error is a pipe that is full, and stays so: nobody reads it.
mkfifo full
exec 9<>full
dd if=/dev/zero of=full bs=1024 count=4096 oflag=nonblock 2>dd_says && fail "the pipe took 4 MB"
for ((i = 0; i < 12; ++i)); do printf '{"image": "%s", "id": "%s"}\n' "$picture" "$i"; done >list.jsonl
timeout 120 "${caption[@]}" list.jsonl --step-deadline 60 >out 2>full || fail "exit code $? where nobody reads standard error"
[ "$(grep -c '"status": "ok"' out)" -eq 12 ] || fail "not 12 records"
exec 9>&-

# A megabyte of prompt is refused by its length, before it is cut into tokens.
long=$(head -c 1000000 /dev/zero | tr '\0' x)
for ((i = 0; i < 30; ++i)); do printf '{"image": "%s", "id": "long %s", "prompt": "%s%s"}\n' "$picture" "$i" "$i" "$long"; done >long.jsonl
cat list.jsonl >>long.jsonl
run 0 "${caption[@]}" long.jsonl
[ "$(lines out)" -eq 42 ] || fail "$(lines out) records of 42"
[ "$(grep -c '"status": "ok"' out)" -eq 12 ] || fail "not 12 captions beside long prompts"
cut -b 1000000- out >ends
[ "$(grep -c 'the prompt has 100000[12] bytes, but' ends)" -eq 30 ] || fail "not 30 errors that name the length: $(cut -b 1-300 ends | head -3)"

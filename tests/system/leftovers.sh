#!/usr/bin/env bash
# A job whose mpirun is killed leaves a session's folder and shared memory behind; the next run of the same job removes them.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
need_ranks
make_pictures
make_manifest 3000 list.jsonl
mkdir tmp
export TMPDIR=$work/tmp # where Open MPI's sessions are
caption=("$program" caption --model "$model" --max-new-tokens 20 --ignore-eos --threads 1 --quiet --tp 2 --output job)

"${mpirun[@]}" -np 2 "${caption[@]}" list.jsonl >out 2>err &
running=$!
begun() { [ "$(cat job/.part* 2>/dev/null | wc -l)" -gt 5 ]; }
wait_for 120 begun
mapfile -t ranks < <(pgrep -P "$running")
kill -9 "$running" "${ranks[@]}"
wait "$running" || true
session=$(find tmp -type d -name "pid.$running")
[ -n "$session" ] || fail "mpirun left nothing behind: $(find tmp)"
segments() { find /dev/shm -name "vader_segment.*.$(printf '%x' "$(sed -n 2p job/.mpirun.before)").*"; }
cp job/.mpirun job/.mpirun.before
[ -n "$(segments)" ] || echo "(no shared memory was left)"
head -30 list.jsonl >short.jsonl
"${mpirun[@]}" -np 2 "${caption[@]}" short.jsonl >out 2>err || fail "the next run: $(cat err)"
[ ! -e "$session" ] || fail "$session is still there"
[ -z "$(segments)" ] || fail "still there: $(segments)"
echo "nothing was left"

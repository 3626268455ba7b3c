#!/usr/bin/env bash
# Ctrl-C and SIGTERM: the running step ends, finished records stay, the exit code tells.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
make_pictures
total=20000 # far more than any machine captions before the signal
make_manifest $total list.jsonl
caption=("$program" caption --model "$model" --max-new-tokens 60 --ignore-eos)

has_records() { [ -f records.jsonl ] && [ "$(lines records.jsonl)" -ge "$1" ]; }

# check_records: whole lines, and the first ones of what an undisturbed run writes.
check_records() {
  local n
  n=$(lines records.jsonl)
  [ "$n" -lt $total ] || fail "it was done before the signal"
  head -n "$n" list.jsonl >first.jsonl
  run 0 "${caption[@]}" first.jsonl --quiet
  same out records.jsonl
}

none_alive() {
  local rank
  for rank in $ranks; do ! kill -0 "$rank" 2>/dev/null || return 1; done
}

not_alive() { ! kill -0 "$1" 2>/dev/null; }

for signal in INT TERM; do
  rm -f records.jsonl
  "${caption[@]}" list.jsonl --output records.jsonl 2>err &
  pid=$!
  wait_for 120 has_records 9
  kill -s $signal $pid
  code=0
  wait $pid || code=$?
  [ $code -eq $((128 + $(kill -l $signal))) ] || fail "exit code $code after SIG$signal: $(cat err)"
  has err "not done"
  check_records
done

# A list on standard input that nobody goes on with does not hold up the end.
mkfifo pipe
exec 9<>pipe
echo pictures/a.png >&9
for signal in INT TERM; do
  rm -f records.jsonl
  env --default-signal=INT "$program" caption --model "$model" --max-new-tokens 4 - --output records.jsonl <pipe 2>err 9>&- &
  pid=$!
  wait_for 120 has_records 1
  kill -s $signal $pid
  wait_for 60 not_alive $pid
  code=0
  wait $pid || code=$?
  [ $code -eq $((128 + $(kill -l $signal))) ] || fail "exit code $code after SIG$signal: $(cat err)"
  echo pictures/a.png >&9
done
exec 9>&-

if [ ${#mpirun[@]} -gt 0 ]; then # mpirun passes a signal on as SIGTERM, and kills what does not end soon
  rm -f records.jsonl
  # A shell without job control has its background commands ignore SIGINT, and mpirun would.
  env --default-signal=INT "${mpirun[@]}" -np 2 "${caption[@]}" list.jsonl --output records.jsonl 2>err &
  pid=$!
  wait_for 200 has_records 1
  ranks=$(pgrep -P $pid)
  kill -s INT $pid
  wait $pid && fail "mpirun ended well"
  wait_for 60 none_alive
  check_records
fi

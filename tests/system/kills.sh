#!/usr/bin/env bash
# Captioning loses nothing and doubles nothing, whatever dies: the records of an undisturbed run, after kill -9 of workers,
# mpiruns and coordinators at random moments, and after a disk that was full. LAPIDARY_KILLS and LAPIDARY_IMAGES make it longer, LAPIDARY_SEED another one.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
# shellcheck source=tests/system/dataset.bash
source "$source_dir/tests/system/dataset.bash"
need_ranks
kills=${LAPIDARY_KILLS:-12}
images=${LAPIDARY_IMAGES:-600}
RANDOM=${LAPIDARY_SEED:-7}
make_dataset "$images"
# The path of the output names all of a run's processes.
caption=("$program" caption --model "$model" --max-new-tokens 4 --threads 1 --quiet)

run 0 "${caption[@]}" "${dataset[@]}" --output "$work/whole"
records whole want
[ "$(lines want)" -eq "$images" ] || fail "$(lines want) records of $images images"
[ "$(grep -c '"status": "error"' want)" -eq "$broken" ] || fail "not $broken failed"

started=$(date +%s%N)
run 0 "${caption[@]}" "${dataset[@]}" --output "$work/again"
records again have
same have want
took=$((($(date +%s%N) - started) / 1000000)) # milliseconds of an undisturbed run: what moments are worth striking

pids() { pgrep -f -- "$1" | sort -n || true; }
none_left() { [ -z "$(pids "$work/$1")" ]; }
moment() {
  local ms=$((RANDOM % (took + 400) + 50))
  sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"
}
# strike PID...: kill -9 of one of them.
killed=0
strike() {
  local all=("$@")
  [ $# -gt 0 ] && [ -n "$1" ] || return 0
  if kill -9 "${all[$((RANDOM % $#))]}" 2>/dev/null; then killed=$((killed + 1)); fi
}

# One mpirun with everything: it, its coordinator or a worker is struck in up to three runs, then a run gets through.
one_mpirun() {
  local out=$1 ranks=$2 run code all
  shift 2
  for run in 1 2 3 last; do
    code=0
    start_ranks "$ranks" "${caption[@]}" "${dataset[@]}" --output "$work/$out" "$@" >out 2>err &
    local job=$!
    if [ "$run" != last ]; then
      moment
      mapfile -t all < <(pids "$work/$out")
      strike "${all[@]}"
    fi
    await "$job"
    wait_for 30 none_left "$out"
    if ((code == 0)); then break; fi
    [ "$run" != last ] || fail "the last run ended with $code:"$'\n'"$(cat err)"
  done
  records "$out" have
  same have want
}

# A mpirun a replica: the job goes on by itself when a rank or a mpirun is struck; a struck coordinator is run again.
many_mpiruns() {
  local out=$1 code=1 strikes=4 job mpi all
  shift
  while ((code != 0)); do
    code=0
    "${caption[@]}" "${dataset[@]}" --output "$work/$out" "$@" >out 2>err &
    job=$!
    while ((strikes > 0)); do
      moment
      kill -0 "$job" 2>/dev/null || break
      strikes=$((strikes - 1))
      if ((RANDOM % 4 == 0)); then
        strike "$job"
        break
      fi
      mapfile -t all < <(for mpi in $(pgrep -P "$job"); do echo "$mpi" && pgrep -P "$mpi"; done)
      strike "${all[@]}"
    done
    wait "$job" || code=$?
    ((code == 0 || code == 137)) || fail "replica mode ended with $code:"$'\n'"$(cat err)"
    wait_for 30 none_left "$out"
  done
  records "$out" have
  same have want
}

# A disk of its own where root may mount one; else the largest file that may be written stands in for it.
mkdir disk
if mount -t tmpfs -o size=8m lapidary disk 2>/dev/null; then
  trap 'umount -l "$work/disk"; rm -rf "$work"' EXIT
  own_disk=yes
else
  echo "no disk can be mounted here: a limit on the size of files stands in for a full one"
fi

# fill_disk OUT COMMAND...: the job's disk fills up, at some record; it says so, and what it wrote stays.
fills=0
fill_disk() {
  local out=$1 room=$((RANDOM % (size * 3 / 4) + 1)) code=0 # kB
  shift
  if [ -n "${own_disk:-}" ]; then
    dd if=/dev/zero of=disk/rest bs=1k count=$((8 * 1024 - room)) status=none
    "$@" >out 2>err || code=$?
    rm disk/rest
  else
    (trap '' XFSZ && ulimit -f "$room" && "$@") >out 2>err || code=$?
  fi
  [ "$code" -ne 0 ] || fail "$room kB were enough for $size kB of records"
  grep -qE 'No space left|File too large' err || fail "a full disk was not named:"$'\n'"$(cat err)"
  wait_for 30 none_left "$out"
  fills=$((fills + 1))
}
size=$(du -k --total whole/*.jsonl | tail -1 | cut -f1)

round=0
while ((killed < kills)); do
  round=$((round + 1))
  case $((round % 6)) in
    0) one_mpirun "out$round" 3 --pp 2 --vision-ranks 1 --output-format webdataset ;;
    1) many_mpiruns "out$round" --replicas 2 --tp 1 --output-format webdataset ;;
    2) one_mpirun "out$round" 2 --replicas 2 ;;
    3) many_mpiruns "out$round" --replicas 2 --vision-ranks 1 ;;
    4)
      fill_disk "disk/out$round" start_ranks 2 "${caption[@]}" "${dataset[@]}" --output "$work/disk/out$round" --tp 2
      one_mpirun "disk/out$round" 2 --tp 2
      ;;
    5)
      fill_disk "disk/out$round" "${caption[@]}" "${dataset[@]}" --output "$work/disk/out$round" --replicas 2
      many_mpiruns "disk/out$round" --replicas 2
      ;;
  esac
  rm -rf "out$round" "disk/out$round"
done
echo "$killed kills and $fills full disks in $round jobs of $images images, each with the records of an undisturbed one; $stuck mpiruns locked themselves up in their end"

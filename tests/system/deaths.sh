#!/usr/bin/env bash
# Other deaths than kill -9 in the midst (kills.sh): in a job's first and last moments, stopped ranks, memory that ends, disks
# without room for one more file, and disks that say so only at fsync. Each ends with a sentence, and the job that is run again has
# the records of an undisturbed one, its drawings too. LAPIDARY_DEATHS=50: so many rounds of all of them.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
# shellcheck source=tests/system/dataset.bash
source "$source_dir/tests/system/dataset.bash"
need_ranks
rounds=${LAPIDARY_DEATHS:-1}
images=${LAPIDARY_IMAGES:-300}
RANDOM=${LAPIDARY_SEED:-11}
make_dataset "$images"
caption=("$program" caption --prompt "caption en" --prompt "ocr" --model "$model" --max-new-tokens 4 --threads 1 --quiet)
run 0 "${caption[@]}" "${dataset[@]}" --output "$work/whole"
records whole want
[ "$(lines want)" -eq $((2 * images)) ] || fail "$(lines want) records of $images images and two prompts"
started=$(date +%s%N)
run 0 start_ranks 2 "${caption[@]}" "${dataset[@]}" --output "$work/again" --replicas 2
took=$((($(date +%s%N) - started) / 1000000))

deaths=0
declare -A of_kind=()
count() {
  deaths=$((deaths + 1))
  of_kind[$1]=$((${of_kind[$1]-0} + 1))
}
pids() { pgrep -f -- "$1" | sort -n || true; }
none_left() { [ -z "$(pids "$work/$1")" ]; }
pause() { sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"; }
# sentence KIND: the job said why it ended.
sentence() {
  grep -qE 'lapidary|mpirun' err || fail "a job that ended by $1 said nothing"
}
# ends OUT [ARGUMENT...]: run again, the job gets through, and nothing is lost or doubled.
ends() {
  local out=$1
  shift
  wait_for 60 none_left "$out"
  run 0 start_ranks 2 "${caption[@]}" "${dataset[@]}" --output "$work/$out" --replicas 2 "$@"
  records "$out" have
  same have want
  rm -rf "${work:?}/$out"
}

# struck KIND MILLISECONDS [ARGUMENT...]: kill -9 of one of the job's processes, that long after its start.
struck() {
  local kind=$1 after=$2 out=struck all code=0
  shift 2
  start_ranks 2 "${caption[@]}" "${dataset[@]}" --output "$work/$out" --replicas 2 "$@" >out 2>err &
  local job=$!
  pause "$after"
  mapfile -t all < <(pids "$work/$out")
  if [ ${#all[@]} -gt 0 ] && kill -9 "${all[$((RANDOM % ${#all[@]}))]}" 2>/dev/null; then count "$kind"; fi
  await "$job"
  ends "$out" "$@"
}

# A rank that is stopped for long is given up, by its replica's others or as a replica.
stopped() {
  local out=stopped all code=0 seconds=${LAPIDARY_STOP_SECONDS:-6}
  "${caption[@]}" "${dataset[@]}" --output "$work/$out" --replicas 2 --step-deadline 3 >out 2>err &
  local job=$!
  has_workers() { ! kill -0 "$job" 2>/dev/null || [ -n "$(pgrep -P "$job")" ]; }
  wait_for 60 has_workers
  pause $((RANDOM % (took / 3 + 1)))
  mapfile -t all < <(pgrep -P "$job" || true)
  if [ ${#all[@]} -gt 0 ] && kill -STOP "${all[0]}" 2>/dev/null; then
    count stop
    (sleep "$seconds" && kill -CONT "${all[0]}" 2>/dev/null) &
  fi
  wait "$job" || code=$?
  [ "$code" -eq 0 ] || fail "a stopped rank ended the job with $code: $(cat err)"
  records "$out" have
  same have want
  wait_for 60 none_left "$out"
  rm -rf "${work:?}/$out"
}

# Too little memory: refused, ended in a sentence, or pictures with an error that --retry-failed makes again.
no_memory() {
  local code=0
  # shellcheck disable=SC2046
  (ulimit -v $((RANDOM % 700000 + 250000)) && "${caption[@]}" "${dataset[@]}" --output "$work/memory") >out 2>err || code=$?
  count memory
  [ "$code" -eq 0 ] || { [ "$code" -eq 1 ] && grep -q '^lapidary' err; } || fail "too little memory ended a job with $code: $(tail -3 err)"
  ends memory --retry-failed
}

# The kernel ends what takes more than its group of processes may have.
group=
for base in /sys/fs/cgroup/memory /sys/fs/cgroup; do
  [ -n "$group" ] || { mkdir "$base/lapidary$$" 2>/dev/null && [ -e "$base/lapidary$$/cgroup.procs" ] && group=$base/lapidary$$; } || true
done
trap '[ -z "$group" ] || rmdir "$group"; rm -rf "$work"' EXIT
out_of_memory() {
  local limit=$((RANDOM % 30 + 20)) code=0 file=$group/memory.max
  [ -e "$file" ] || file=$group/memory.limit_in_bytes
  [ -n "$group" ] && echo "${limit}M" >"$file" 2>/dev/null || { echo "skipped: no group of processes with a limit on memory here" && return; }
  (echo $BASHPID >"$group/cgroup.procs" && exec "${mpirun[@]}" -np 2 "${caption[@]}" "${dataset[@]}" --output "$work/group" --replicas 2) >out 2>err || code=$?
  count oom
  [ "$code" -eq 0 ] || [ -s err ] || fail "the kernel ended a job with $code and no word"
  ends group --retry-failed
}

# A disk without room for one more file.
no_inodes() {
  mkdir -p inodes
  mount -t tmpfs -o "size=16m,nr_inodes=$((RANDOM % 12 + 4))" lapidary inodes 2>/dev/null || { echo "skipped: no disk can be mounted here" && return; }
  local code=0
  "${caption[@]}" "${dataset[@]}" --records-per-part 40 --output "$work/inodes/out" >out 2>err || code=$?
  count inodes
  [ "$code" -ne 0 ] || fail "so few files were enough"
  grep -q 'No space left' err || fail "a disk without room for files was not named: $(cat err)"
  mount -o "remount,size=16m,nr_inodes=1000" inodes
  run 0 "${caption[@]}" "${dataset[@]}" --records-per-part 40 --output "$work/inodes/out"
  records inodes/out have
  same have want
  umount inodes
}

# A disk that says at fsync that it is full.
cat >full.c <<'EOF'
#include <errno.h>
#include <stdlib.h>
static int calls;
static int fails(void) {
  const char* at = getenv("LAPIDARY_TEST_FSYNC");
  if (at == 0 || ++calls < atoi(at)) return 0;
  errno = ENOSPC;
  return -1;
}
int fsync(int fd) { (void)fd; return fails(); }
int fdatasync(int fd) { (void)fd; return fails(); }
EOF
cc -shared -fPIC -o full.so full.c
no_fsync() {
  local code=0 at=$((RANDOM % 6 + 1))
  LAPIDARY_TEST_FSYNC=$at LD_PRELOAD=$work/full.so "${caption[@]}" "${dataset[@]}" --records-per-part 60 --output "$work/fsync" >out 2>err || code=$?
  count fsync
  [ "$code" -eq 1 ] || fail "a disk that is full at its fsync $at ended with $code: $(cat err)"
  grep -q 'No space left' err || fail "not named: $(cat err)"
  wait_for 60 none_left fsync
  run 0 "${caption[@]}" "${dataset[@]}" --records-per-part 60 --output "$work/fsync"
  records fsync have
  same have want
  rm -rf "${work:?}/fsync"
}

# Drawings belong to the job: what is killed in their midst has all of them in the end.
drawn() {
  rm -rf drawings
  struck draw $((RANDOM % took + 200)) --draw "$work/drawings"
  [ "$(find drawings -name '*.png' | wc -l)" -eq "$(grep -c '"status": "ok"' want)" ] ||
    fail "$(find drawings -name '*.png' | wc -l) drawings of $(grep -c '"status": "ok"' want) pictures and prompts"
}

for ((round = 0; round < rounds; ++round)); do
  struck first $((RANDOM % 400))
  struck last $((took - RANDOM % 400 > 0 ? took - RANDOM % 400 : 0))
  struck midst $((RANDOM % took)) --output-format webdataset
  stopped
  no_memory
  out_of_memory
  no_inodes
  no_fsync
  drawn
done
kinds=$(for kind in "${!of_kind[@]}"; do printf '%s %d, ' "$kind" "${of_kind[$kind]}"; done)
echo "$deaths deaths (${kinds%, }) of jobs of $images images and two prompts, each with the records of an undisturbed one; $stuck mpiruns locked themselves up in their end"

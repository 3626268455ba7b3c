#!/usr/bin/env bash
# What is wrong at the door, in the environment or with the system's limits ends in one sentence, and soon.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
make_pictures
caption=("$program" caption --model "$model" --max-new-tokens 2 --threads 1 --quiet)

# usage TEXT COMMAND...: wrong usage, and the text says which.
usage() {
  local text=$1
  shift
  run 2 "$@"
  has err "$text"
}

# --- addresses and numbers
usage "'99999' is no port" "${caption[@]}" pictures/a.png --listen 127.0.0.1:99999
usage "'abc' is no port" "${caption[@]}" pictures/a.png --listen 127.0.0.1:abc
usage "'' is no port" "${caption[@]}" pictures/a.png --listen 127.0.0.1:
usage "is no ADDRESS:PORT" "${caption[@]}" pictures/a.png --listen 8000
usage "is no IP address" "${caption[@]}" pictures/a.png --listen nowhere.example:80
usage "'nan' is no number from 0 to 1000" "${caption[@]}" pictures/a.png --temperature nan
usage "is no whole number from 0 to 18446744073709551615" "${caption[@]}" pictures/a.png --seed 99999999999999999999
usage "--image-workers" "${caption[@]}" pictures/a.png --image-workers 100000
(
  ulimit -v 4000000
  says 1 "/dev/zero has more than" -- "${caption[@]}" pictures/a.png --replicas 2 --hostfile /dev/zero
  says 1 "cannot read the hostfile pictures" -- "${caption[@]}" pictures/a.png --replicas 2 --hostfile pictures
  says 1 "processes on this host" -- "${caption[@]}" pictures/a.png --replicas 10000
)

# --- what a launcher has left in the environment
run 0 "${caption[@]}" pictures/a.png
mv out alone
for left in OMPI_COMM_WORLD_RANK=1 PMIX_RANK=1 "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_SIZE=2"; do
  # shellcheck disable=SC2086
  run 1 env $left "$program" caption --model nowhere pictures/a.png
  has err "nowhere: there is no such file" "names no launcher's server"
  # shellcheck disable=SC2086
  run 2 env $left "$program" caption --tp 0
  has err "--tp"
  # shellcheck disable=SC2086
  run 0 env $left "$program" --help
  has out Subcommands
  # shellcheck disable=SC2086
  run 0 env $left "${caption[@]}" pictures/a.png
  same out alone
done
says 1 "that mpirun has ended" "$work/gone" -- env PMIX_RANK=0 PMIX_NAMESPACE=1 "PMIX_SERVER_TMPDIR=$work/gone" \
  "PMIX_SERVER_URI2=1.0;tcp4://127.0.0.1:1" "${caption[@]}" pictures/a.png
if [ ${#mpirun[@]} -gt 0 ]; then # with a launcher that lives, the first rank's sentence is the only one
  says 1 "nowhere: there is no such file" -- start_ranks 2 "$program" caption --model nowhere pictures/a.png
fi

# --- a folder that is gone
mkdir gone
cd gone
rmdir ../gone
says_here() {
  local code=0
  "${caption[@]}" "$work/pictures/a.png" >"$work/out" 2>"$work/err" || code=$?
  cd "$work"
  [ "$code" -eq 1 ] || fail "exit code $code in a deleted folder: $(cat err)"
  has err "the working directory cannot be told" "it was deleted"
}
says_here

# --- names that become file names
long=$(printf 'x%.0s' {1..245})
mkdir tars
tar -C pictures -cf "tars/$long.tar" a.png
says 1 "has 245 bytes, at most 239" -- "${caption[@]}" "tars/$long.tar" --output records --output-format webdataset
run 0 "${caption[@]}" "tars/$long.tar" --output records.jsonl
mv "tars/$long.tar" "tars/${long:0:239}.tar"
run 0 "${caption[@]}" "tars/${long:0:239}.tar" --output records --output-format webdataset
[ -s "records/${long:0:239}.jsonl" ] || fail "no records: $(ls records)"

# --- a limit on threads: as many as a container's pids leave; root is bound by none
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
  user=61234
  chmod 755 "$work"
  mkdir -m 777 limited
  for most in $(seq 1 14); do
    code=0
    (
      cd limited
      exec timeout -s KILL 60 prlimit --nproc="$most" setpriv --reuid "$user" --clear-groups \
        "$program" caption --model "$model" --max-new-tokens 2 --threads 3 --quiet "$work/pictures/a.png" >out 2>err
    ) || code=$?
    case $code in
      0) grep -q '"status": "ok"' limited/out || fail "no record with $most threads" ;;
      1) grep -qE 'threads can be started' limited/err || fail "with $most threads: $(cat limited/err)" ;;
      *) fail "exit code $code with $most threads: $(cat limited/err)" ;;
    esac
  done
  [ "$code" -eq 0 ] || fail "14 threads are too few: $(cat limited/err)"
fi

# --- the end is not put off by what a compressed tar passes over
if command -v zstd >/dev/null; then # a member of 60 GB, of which nobody comes to the end
  mkdir bomb
  cp pictures/a.png bomb/0.png
  truncate -s 60G bomb/1.bin
  begin=$((512 + ($(stat -c %s bomb/0.png) + 511) / 512 * 512 + 512)) # with the member's header
  { tar -C bomb -cf - 0.png 1.bin 2>/dev/null || true; } | head -c "$begin" | zstd -q >bomb.tar.zst
  head -c 1G /dev/zero | zstd -q -1 >zeros.zst
  for _ in {1..60}; do cat zeros.zst; done >>bomb.tar.zst
  env --default-signal=TERM "${caption[@]}" bomb.tar.zst --output bomb.jsonl >out 2>err &
  job=$!
  has_record() { [ -s bomb.jsonl ]; }
  wait_for 60 has_record
  kill -s TERM "$job"
  ended() { ! kill -0 "$job" 2>/dev/null; }
  wait_for 5 ended
  code=0
  wait "$job" || code=$?
  [ "$code" -eq 143 ] || fail "exit code $code after SIGTERM: $(cat err)"
fi
echo "every door has its sentence"

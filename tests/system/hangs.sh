#!/usr/bin/env bash
# Who stops answering is dead after --step-deadline, and nothing waits for it: a worker that is stopped (SIGSTOP) at any moment
# ends one mpirun with a sentence, and costs a job of several mpiruns nothing but time. No process is left.
# LAPIDARY_STOPS makes it longer, LAPIDARY_SEED another one.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
# shellcheck source=tests/system/dataset.bash
source "$source_dir/tests/system/dataset.bash"
need_ranks
RANDOM=${LAPIDARY_SEED:-11}
make_dataset 600
caption=("$program" caption --model "$model" --max-new-tokens 6 --threads 1 --quiet)

# An undisturbed run tells what is slow on this machine now: no rank is to be dead because others keep it from its core.
started=$(date +%s%N)
run 0 start_ranks 2 "${caption[@]}" "${dataset[@]}" --output "$work/whole" --tp 2
took=$((($(date +%s%N) - started) / 1000000))
records whole want
deadline=$((took / 1000 + 2 < 20 ? took / 1000 + 2 : 20))
hurried=("${caption[@]}" --step-deadline "$deadline")
patience=$((60 + 6 * deadline)) # for a job to end: several deadlines, one after another

moment() {
  local ms=$((RANDOM % (took + 300) + 50))
  sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"
}
ended() { ! kill -0 "$1" 2>/dev/null; }
none_left() { [ -z "$(pgrep -f -- "$work/$1")" ]; }
# ranks MPIRUN...: the processes that they started.
ranks() { for mpi in "$@"; do pgrep -P "$mpi" || true; done; }
# stop_one RANK...: SIGSTOP to one of them.
stopped=0
stop_one() {
  local all=("$@")
  [ $# -gt 0 ] || return 0
  if kill -STOP "${all[$((RANDOM % $#))]}" 2>/dev/null; then stopped=$((stopped + 1)); fi
}

# ended_in OUT MPIRUN: the same; but a rank that was stopped in the last moment of all, inside MPI_Finalize, when the job is done
# and the other rank has gone without a word, is waited for by mpirun alone: it may go on.
ended_in() {
  local left
  if ended "$2"; then return 0; fi
  mapfile -t left < <(ranks "$2")
  if [ "${#left[@]}" -eq 1 ] && [ ! -s err ] && grep -q '"state": "done"' "$work/$1/job.json" 2>/dev/null; then
    kill -CONT "${left[0]}" 2>/dev/null || true
  fi
  return 1
}

# one_mpirun OUT: a rank is stopped; the job ends, and run again it is whole.
one_mpirun() {
  local code=0 job all
  "${mpirun[@]}" -np 2 "${hurried[@]}" "${dataset[@]}" --output "$work/$1" --tp 2 >out 2>err &
  job=$!
  moment
  mapfile -t all < <(ranks "$job")
  stop_one "${all[@]}"
  wait_for "$patience" ended_in "$1" "$job"
  wait "$job" || code=$?
  wait_for 30 none_left "$1"
  if [ "$code" -ne 0 ]; then run 0 start_ranks 2 "${caption[@]}" "${dataset[@]}" --output "$work/$1" --tp 2; fi
  records "$1" have
  same have want
}

# while_opening OUT RANK: the rank (0: the coordinator's) is stopped while the others wait for the job to be opened, which
# takes as long as somebody else is in its folder.
while_opening() {
  local code=0 job all
  mkdir "$1"
  flock "$1/.lock" sleep 4 &
  "${mpirun[@]}" -np 2 "${hurried[@]}" "${dataset[@]}" --output "$work/$1" --tp 2 >out 2>err &
  job=$!
  has_two_ranks() { [ "$(ranks "$job" | wc -l)" -eq 2 ]; }
  wait_for 60 has_two_ranks
  sleep 1
  mapfile -t all < <(ranks "$job")
  kill -STOP "${all[$2]}"
  stopped=$((stopped + 1))
  wait_for "$patience" ended "$job"
  wait "$job" || code=$?
  [ "$code" -ne 0 ] || fail "a job ended well with a rank stopped at its start"
  grep -qE '(within|for) [0-9]+ s' err || fail "not said what was waited for:"$'\n'"$(cat err)"
  wait_for 30 none_left "$1"
  run 0 start_ranks 2 "${caption[@]}" "${dataset[@]}" --output "$work/$1" --tp 2
  records "$1" have
  same have want
}

# many_mpiruns OUT: a rank of a replica is stopped; the job ends by itself.
many_mpiruns() {
  local code=0 job all
  "${hurried[@]}" "${dataset[@]}" --output "$work/$1" --replicas 2 >out 2>err &
  job=$!
  moment
  # shellcheck disable=SC2046
  mapfile -t all < <(ranks $(pgrep -P "$job"))
  stop_one "${all[@]}"
  wait_for "$patience" ended "$job"
  wait "$job" || code=$?
  [ "$code" -eq 0 ] || fail "replica mode ended with $code:"$'\n'"$(cat err)"
  wait_for 30 none_left "$1"
  records "$1" have
  same have want
}

while_opening first 0
while_opening other 1
round=0
while ((stopped < ${LAPIDARY_STOPS:-8})); do
  round=$((round + 1))
  if ((round % 2 == 1)); then one_mpirun "out$round"; else many_mpiruns "out$round"; fi
  rm -rf "out$round"
done
echo "$stopped ranks stopped in $round jobs, each with the records of an undisturbed one"

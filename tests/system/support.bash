# Sourced by the scripts beside it, which are called as: SCRIPT PROGRAM SOURCE_DIR [MPIRUN…]. Each ends at the first thing
# that is not as it should be.
set -euo pipefail
program=$1
source_dir=$2
shift 2
mpirun=("$@")
models=$source_dir/tests/golden/models
model=$models/like28b
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# run CODE COMMAND...: its standard output in `out`, its standard error in `err`.
run() {
  local expected=$1 code=0
  shift
  "$@" >out 2>err || code=$?
  [ "$code" -eq "$expected" ] || fail "exit code $code, not $expected: $*"$'\n'"$(tail -60 err)"
}

# has FILE TEXT...: each text is in the file.
has() {
  local file=$1 text
  shift
  for text in "$@"; do
    grep -qF -- "$text" "$file" || fail "no '$text' in $file:"$'\n'"$(head -c 3000 "$file")"
  done
}

same() { cmp -s "$1" "$2" || fail "$1 and $2 differ:"$'\n'"$(diff "$1" "$2" | head -c 2000)"; }

lines() { wc -l <"$1"; }

# says CODE TEXT... -- COMMAND...: the command ends with that code and one sentence that holds the texts.
says() {
  local expected=$1 texts=()
  shift
  while [ "$1" != -- ]; do
    texts+=("$1")
    shift
  done
  shift
  run "$expected" "$@"
  [ "$(grep -c '^lapidary' err)" -eq 1 ] || fail "not one sentence: $*"$'\n'"$(cat err)"
  grep '^lapidary' err >sentence
  has sentence "${texts[@]}"
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
  local until=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$until" ] || fail "never true: $*"
    sleep 0.05
  done
}

# start_ranks N COMMAND...
start_ranks() {
  local ranks=$1
  shift
  "${mpirun[@]}" -np "$ranks" "$@"
}

# await JOB: waits for it and sets `code`. A mpirun whose rank died while it joined can lock itself up in its end (the server of PMIx
# waits for a lock that nobody gives back): its ranks are all dead then, and it is killed, which `stuck` counts.
stuck=0
await() {
  local job=$1 mpi since=
  code=0
  while kill -0 "$job" 2>/dev/null; do
    mpi=$(pgrep -P "$job" -x mpirun | head -1 || true)
    if [ -n "$mpi" ] && pgrep -P "$mpi" >/dev/null && ! ps --ppid "$mpi" -o stat= | grep -qv '^Z'; then
      since=${since:-$SECONDS}
      if ((SECONDS - since > 20)); then
        kill -9 "$mpi" 2>/dev/null || true
        stuck=$((stuck + 1))
      fi
    else
      since=
    fi
    sleep 0.1
  done
  wait "$job" || code=$?
}

need_ranks() {
  if [ ${#mpirun[@]} -eq 0 ]; then
    echo "skipped: this build starts no ranks"
    exit 77
  fi
}

# Three pictures, in a folder and below it, and three files that are none.
make_pictures() {
  mkdir -p pictures/deep
  cp "$models/like28b/image0.png" pictures/b.png
  cp "$models/window/image0.png" pictures/deep/c.PNG
  cp "$models/like3b/image0.png" pictures/a.png
  head -c 60 pictures/b.png >pictures/cut.png
  echo "no picture" >pictures/text.jpg
  : >pictures/empty.webp
}

# make_manifest LINES FILE: pictures and prompts in turn.
make_manifest() {
  local i
  for ((i = 0; i < $1; ++i)); do
    case $((i % 3)) in
      0) echo "{\"image\": \"pictures/a.png\", \"id\": $i}" ;;
      1) echo "{\"image\": \"pictures/b.png\", \"id\": \"no. $i\", \"prompt\": \"detect thing $i\"}" ;;
      2) echo "{\"image\": \"$work/pictures/deep/c.PNG\", \"prompt\": \"answer en how many\", \"id\": \"count $i\"}" ;;
    esac
  done >"$2"
}

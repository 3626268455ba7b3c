#!/usr/bin/env bash
# Every option of every command with every odd value: the command ends in a sentence, or it runs, within a limit on memory.
# A number that is none, too large or too small never comes through as "std::bad_alloc", as a signal or as a row of digits.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
cp "$models/like28b/image0.png" picture.png
echo "describe en" >text
echo '{"name": "a", "value": 1, "unit": "s"}' >figures
numbers=(nan inf -inf -1 0 1e308 1e-308 2147483647 2147483648 9223372036854775807 99999999999999999999 100000 3.5 0x10 abc ' ' '')
few_numbers=(nan -1 1e308 2147483647 99999999999999999999)
texts=(nan 99999999999999999999 ' ' '')
small=(--max-num-seqs 2 --threads 1)

# base_of COMMAND: arguments with which it runs, and soon, in `base`.
base_of() {
  case $1 in
    caption) base=(--model "$model" --max-new-tokens 2 "${small[@]}" --quiet --input picture.png) ;;
    worker) base=(--model "$model" "${small[@]}" --coordinator 127.0.0.1:1) ;;
    trace) base=(--model "$model" --threads 1 --image picture.png --prompt a --output trace.out) ;;
    inspect) base=(--model "$model") ;;
    tokenize) base=(--model "$model") ;;
    detokenize) base=(--model "$model" --text 5) ;;
    'bench model') base=(--model "$model" --threads 1 --repeats 1 --new-tokens 1) ;;
    'bench load') base=(--model "$model" --threads 1 --repeats 1) ;;
    'bench images') base=(--width 16 --height 16 --target 14 --repeats 1) ;;
    'bench scheduler') base=(--running 16 --steps 10 --images 1) ;;
    'bench device') base=(--gigabytes 0.001 --threads 1) ;;
    'bench ranks') base=(--repeats 1) ;;
    'bench report') base=(figures) ;;
    'bench note') base=(name) ;;
    *) base=() ;;
  esac
}

# one COMMAND OPTION VALUE: prints a line where it does not end as it should.
one() {
  local command=$1 option=$2 value=$3 code=0 dir error base
  dir=$(mktemp -d odd.XXXXXX)
  base_of "$command"
  error=$dir/err
  # What is given twice would be refused as such.
  local i arguments=()
  for ((i = 0; i < ${#base[@]}; ++i)); do
    if [ "${base[i]}" = "$option" ]; then i=$((i + 1)); else arguments+=("${base[i]}"); fi
  done
  # shellcheck disable=SC2086
  (
    ulimit -v 4000000
    ulimit -c 0
    LAPIDARY_TOKEN=x exec timeout -k 5 5 "$program" $command "${arguments[@]}" "$option=$value" <text >"$dir/out" 2>"$error"
  ) 2>/dev/null || code=$?
  local shown="lapidary $command $option='$value'"
  case $code in
    0 | 124) ;; # it runs
    1 | 2)
      if [ ! -s "$error" ]; then echo "$shown: exit code $code without a word"; fi
      if grep -qE 'std::|bad_alloc|terminate|basic_|vector::|stoul|stoi|stod|what\(\)|filesystem error|Resource temporarily|[0-9]{25}' "$error"; then
        echo "$shown: $(tail -c 400 "$error" | tail -2)"
      fi
      ;;
    *) echo "$shown: exit code $code: $(tail -c 300 "$error" | tail -2)" ;;
  esac
  rm -rf "$dir"
}
export -f one base_of
export program model
declare -p small >small.bash # arrays are not exported

while IFS= read -r command; do
  # shellcheck disable=SC2086
  "$program" $command --help >help
  sed -nE 's/^ +(--[a-z-]+)[^ ]* (TEXT|INT|UINT|FLOAT).*/\1 \2/p' help >options
  [ -s options ] || fail "no options in the help of $command"
  while read -r option kind; do
    values=("${numbers[@]}")
    if [ "$command" != caption ]; then values=("${few_numbers[@]}"); fi # the others have the same table
    if [ "$kind" = TEXT ]; then values=("${texts[@]}"); fi
    for value in "${values[@]}"; do printf '%s\0%s\0%s\0' "$command" "$option" "$value"; done
  done <options
done >table <<'COMMANDS'
caption
worker
trace
inspect
tokenize
detokenize
bench model
bench kernels
bench ranks
bench device
bench load
bench images
bench scheduler
bench report
bench note
COMMANDS
xargs -0 -n 3 -P "$(nproc)" bash -c 'source small.bash; one "$1" "$2" "$3"' one <table >wrong
tried=$(($(tr -cd '\0' <table | wc -c) / 3))
[ ! -s wrong ] || fail "$(lines wrong) of $tried odd options end otherwise:"$'\n'"$(sort wrong | head -60)"
echo "$tried odd options end in a sentence or run"

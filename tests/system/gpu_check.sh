#!/usr/bin/env bash
# scripts/gpu_check.sh, rehearsed on the CPU: every step of its short form passes and is in the report; what fails is said and
# is the script's exit code; what has no time left is named.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
need_ranks
check=$source_dir/scripts/gpu_check.sh
export MPIRUN=${mpirun[0]} PYTHON=no-python-here
mkdir programs
ln -s "$program" programs/lapidary

run 0 "$check" --programs programs --device cpu --quick --minutes 5 --report report.json
has out "written to report.json"
for step in "limits of the device" "bad input is one sentence" "captions, one rank" "captions, --tp 2 by NCCL, the same bits" \
  "captions, --tp 4 by NCCL, the same bits" "rehearsal of 3b 224 px: benchmark" "rehearsal of 3b 224 px: loading" "rehearsal of 3b 224 px: captions end to end" \
  "sums over 2 ranks"; do
  grep -F "\"name\":\"$step\"" report.json | grep -qF '"verdict":"passed"' || fail "'$step' has not passed:"$'\n'"$(cat out)"
done
for figure in "memory read" "rehearsal of 3b 224 px: decode, one token" "rehearsal of 3b 224 px: decode, 4 tokens" \
  "rehearsal of 3b 224 px: load from page cache" "rehearsal of 3b 224 px: vision beside decode" "rehearsal of 3b 224 px: caption floor" "sum over 2 ranks, 8 bytes" \
  "rehearsal of 3b 224 px: captions, end to end"; do
  has report.json "\"name\":\"$figure\""
done
has report.md "| limits of the device |"
grep -q '"verdict":"failed"' report.json && fail "a step failed"
if command -v python3 >/dev/null; then run 0 python3 -c 'import json; json.load(open("report.json"))'; fi

# The report is that of the figures: also of those a run left that was cut off.
head -c -20 report.lines >cut.lines
run 0 "$program" bench report cut.lines --out cut.json
has cut.json '"figures":['

# A program that does nothing but keep the figures: every step fails.
mkdir broken
cat >broken/lapidary <<SCRIPT
#!/bin/sh
case "\$1 \$2" in "bench note" | "bench report") exec "$program" "\$@" ;; esac
echo "lapidary: broken" >&2
exit 3
SCRIPT
chmod +x broken/lapidary
run 1 "$check" --programs broken --device cpu --quick --report broken.json
grep -F '"name":"captions, one rank"' broken.json | grep -qF '"verdict":"failed","note":"lapidary: broken"' || fail "$(cat broken.json)"

run 0 "$check" --programs programs --device cpu --quick --minutes 0 --report none.json
has none.json "no time left"
run 2 "$check" --programs programs --minutes soon
run 2 "$check" --programs nowhere
if ! command -v nvidia-smi >/dev/null; then run 77 "$check" --programs programs; fi

# What the long form has beside this.
run 0 "$program" bench model --model "$source_dir/configs/demo/model/config.json" --load-format dummy --new-tokens 2 --repeats 1 \
  --shard-of 2 --figures shard.lines --label shard
has shard.lines '"name":"shard: decode, batch 1, one shard of 2 alone"'
says 1 "shard.lines" "no figure" -- "$program" bench note ratio --figures shard.lines --of nothing --over nowhere

#!/usr/bin/env bash
# Every command says in plain text what it can do, and takes its options from a file as well.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"

run 0 "$program"
has out Subcommands caption
while read -ra command; do
  run 0 "$program" "${command[@]}" --help
  has out --config
  if LC_ALL=C grep -nP '[\x00-\x08\x0b-\x1f\x7f]' out; then fail "the help of ${command[*]} holds control bytes"; fi
done <<'COMMANDS'
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

demo=$source_dir/configs/demo
run 0 "$program" caption --model "$demo/model" --max-new-tokens 3 --quiet "$demo/samples/beach-day.jpg"
mv out by_flags
printf 'model: %s\ninput: %s\nmax-new-tokens: 3\nquiet: true\n' "$demo/model" "$demo/samples/beach-day.jpg" >job.yaml
run 0 "$program" caption --config job.yaml
same out by_flags
run 0 "$program" caption --config job.yaml --max-new-tokens 1
cmp -s out by_flags && fail "the file wins over a flag"
echo 'max-new-token: 3' >>job.yaml
says 1 'job.yaml:5: "max-new-token" is no option of lapidary caption' -- "$program" caption --config job.yaml

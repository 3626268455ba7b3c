#!/usr/bin/env bash
# scripts/bundle.sh: the folder that it makes runs where nothing of this is installed: alone, on ranks, and as a job that
# starts its own mpirun; with the machine's C library and with the bundle's.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
need_ranks
samples=$source_dir/configs/demo/samples
run 0 env LAPIDARY_BUILD="$(dirname "$(dirname "$program")")" "$source_dir/scripts/bundle.sh" bundle
has out "to be started as"
mv bundle moved # it is what can be carried away

# All that the starters ask of a machine; neither mpirun nor ssh is among it.
mkdir tools
for tool in sh bash cat dirname basename awk sort head ldd; do ln -s "$(command -v "$tool")" tools/; done
bare() { run 0 env -i PATH="$work/tools" HOME="$HOME" OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "$@"; }
captions=(caption --model moved/configs/demo/model --max-new-tokens 8 --quiet)

run 0 "$program" "${captions[@]}" "$samples"
mv out expected
[ "$(wc -l <expected)" -eq 12 ] || fail "$(cat expected)"
theirs=$(cat moved/glibc/version)
for version in "$theirs" 9999; do # as if the machine's own were older
  echo "$version" >moved/glibc/version
  bare moved/lapidary "${captions[@]}" "$samples"
  cmp out expected
  bare moved/mpirun --oversubscribe --bind-to none -np 2 moved/lapidary "${captions[@]}" --tp 2 "$samples"
  cmp out expected
  [ ! -s err ] || fail "mpirun says: $(cat err)"
  bare moved/lapidary "${captions[@]}" --replicas 2 --threads 1 --output "job-$version" "$samples"
  sort "job-$version"/part-*.jsonl | cmp - <(sort expected)
done

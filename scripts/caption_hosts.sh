#!/usr/bin/env bash
# One mpirun over the hosts of a hostfile ("host slots=8" a line), a rank a slot:
#   scripts/caption_hosts.sh HOSTFILE --model DIR --input 'shards/{00000..00999}.tar' --output OUT --tp 8 --replicas 2
# The program, the model, the inputs and the output are on paths that every host sees. Run it again to go on after a death;
# `lapidary caption --replicas N --hostfile HOSTFILE` (without mpirun) survives deaths by itself.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,5p' "$0" | cut -c3- >&2; exit 2; }
hostfile=$1
shift
program=${LAPIDARY:-$(command -v lapidary || echo "$(dirname "$0")/../build/release/bin/lapidary")}
[ -r "$hostfile" ] || { echo "caption_hosts.sh: cannot read $hostfile" >&2; exit 2; }
ranks=$(awk '!/^[ \t]*(#|$)/ { n = 1; for (i = 2; i <= NF; ++i) if ($i ~ /^slots=/) n = substr($i, 7); sum += n } END { print sum + 0 }' "$hostfile")
root=()
if [ "$(id -u)" -eq 0 ]; then root=(--allow-run-as-root); fi
# Ranks have threads of their own for each lane: a core bound to each would hold them all.
exec mpirun "${root[@]}" --hostfile "$hostfile" -np "$ranks" --bind-to none "$program" caption "$@"

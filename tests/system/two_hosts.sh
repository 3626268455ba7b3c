#!/usr/bin/env bash
# Two hosts on one machine: network namespaces with names and addresses of their own, and a real mpirun across them.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
# shellcheck source=tests/system/dataset.bash
source "$source_dir/tests/system/dataset.bash"
need_ranks

a=lapA$$ b=lapB$$
if [ "$(id -u)" -ne 0 ] || ! ip netns add "$a" 2>err; then
  echo "skipped: no network namespaces here (needs root): $(cat err)"
  exit 77
fi
clean_up() {
  for host in "$a" "$b"; do
    ip netns pids "$host" 2>/dev/null | xargs -r kill -9 || true
    ip netns del "$host" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap clean_up EXIT
ip netns add "$b"
ip link add "vA$$" netns "$a" type veth peer name "vB$$" netns "$b"
ip -n "$a" addr add 10.77.0.1/24 dev "vA$$"
ip -n "$b" addr add 10.77.0.2/24 dev "vB$$"
for link in "$a vA$$" "$b vB$$"; do
  read -r host device <<<"$link"
  ip -n "$host" link set lo up
  ip -n "$host" link set "$device" up
done

# mpirun reaches the other host by this instead of ssh; there it finds another host name.
cat >agent.sh <<AGENT
#!/bin/sh
shift
exec ip netns exec $b unshare --uts sh -c 'hostname $b; exec sh -c "\$0"' "\$*"
AGENT
chmod +x agent.sh
export OMPI_MCA_plm_rsh_agent=$work/agent.sh
export OMPI_MCA_oob_tcp_if_include=10.77.0.0/24 OMPI_MCA_btl_tcp_if_include=10.77.0.0/24
on_a() { ip netns exec "$a" "$@"; }

make_pictures
make_manifest 24 list.jsonl
caption=("$program" caption --model "$model" --max-new-tokens 6 --threads 1 --quiet)
run 0 "${caption[@]}" list.jsonl pictures
mv out solo

# on_both RANKS_A RANKS_B FLAGS...: one job over both.
on_both() {
  local on_a=$1 on_b=$2
  shift 2
  run 0 on_a "${mpirun[@]}" --host "10.77.0.1:$on_a,10.77.0.2:$on_b" -np $((on_a + on_b)) "${caption[@]}" list.jsonl pictures "$@"
  same out solo
}
on_both 1 1 --tp 2
on_both 1 1 --pp 2
on_both 1 1 --replicas 2
on_both 1 2 --tp 2 --vision-ranks 1

# A mpirun a replica, each on a host of its own.
printf '10.77.0.1 slots=1\n10.77.0.2 slots=1\n' >hosts
run 0 on_a "${caption[@]}" list.jsonl pictures --replicas 2 --hostfile hosts
same out solo

# The network is cut in the middle: the far replica is declared dead, the near one does all of it, nothing is left.
make_dataset 400
run 0 "${caption[@]}" "${dataset[@]}" --output whole
records whole want
on_a "${caption[@]}" "${dataset[@]}" --output cut --replicas 2 --hostfile hosts --step-deadline 3 --trace trace.json >out 2>err &
job=$!
wait_for 60 eval '[ "$(cat cut/.part* cut/part* 2>/dev/null | wc -l)" -gt 20 ]'
ip -n "$b" link set "vB$$" down
wait "$job" || fail "the job did not survive the loss of a host:"$'\n'"$(tail -20 err)"
records cut have
same have want
wait_for 20 eval '[ -z "$(ip netns pids "$b")" ]'

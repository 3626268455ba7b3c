#!/usr/bin/env bash
# A stranger in the network connects to every port that a job of one host opens, says something that is no message, and stays:
# the job goes on, and its ranks listen nowhere.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
# shellcheck source=tests/system/dataset.bash
source "$source_dir/tests/system/dataset.bash"
need_ranks

a=lapS$$ b=lapT$$
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
ip link add "vS$$" netns "$a" type veth peer name "vT$$" netns "$b"
ip -n "$a" addr add 10.78.0.1/24 dev "vS$$"
ip -n "$b" addr add 10.78.0.2/24 dev "vT$$"
for link in "$a vS$$" "$b vT$$"; do
  read -r host device <<<"$link"
  ip -n "$host" link set lo up
  ip -n "$host" link set "$device" up
done
on_a() { ip netns exec "$a" "$@"; }

make_dataset 400
caption=("$program" caption --model "$model" --max-new-tokens 6 --threads 1 --quiet "${dataset[@]}")
run 0 "${caption[@]}" --output whole
records whole want

# The ports that are open to others, with who listens.
listeners() { on_a ss -tlnpH | grep -vE '^LISTEN +[0-9]+ +[0-9]+ +(127\.|\[::1\])' || true; }
ports() { listeners | awk '{print $4}' | sed 's/.*://' | sort -un; }
begun() { [ "$(cat "$1"/.part* "$1"/part* 2>/dev/null | wc -l)" -gt 10 ]; }
# visit SECONDS: connects to each port with 0, 1, 13 and 200 bytes, and stays for that long.
visit() {
  # shellcheck disable=SC2016
  ip netns exec "$b" bash -c '
    seconds=$1
    shift
    for port in "$@"; do
      for bytes in 0 1 13 200; do
        (exec 3<>"/dev/tcp/10.78.0.1/$port" && head -c "$bytes" /dev/zero | tr "\0" x >&3 && sleep "$seconds") 2>/dev/null &
      done
    done
    wait' visit "$1" $(ports)
}
ended() { ! kill -0 "$1" 2>/dev/null; }
all_there() { [ "$(cat "$1"/.part* "$1"/part* 2>/dev/null | wc -l)" -eq "$(cat whole/part* | wc -l)" ]; }

# job OUT COMMAND...: a stranger comes once there are records.
job() {
  local out=$1
  shift
  on_a "$@" --output "$out" >out 2>err &
  running=$!
  wait_for 120 begun "$out"
  if listeners | grep -q '"lapidary"'; then fail "a rank listens to all: $(listeners)"; fi
  visit 600 &
  wait_for 120 all_there "$out"
}

# mpirun of our own: whoever keeps it from its end is not waited for.
job ours "${caption[@]}" --tp 2
wait_for 120 ended "$running"
wait "$running" || fail "the job ended with $?: $(tail -5 err)"
records ours have
same have want
ip netns pids "$b" | xargs -r kill

# One mpirun of the user's: records come in spite of the stranger; mpirun itself waits until he has gone.
job theirs "${mpirun[@]}" -np 2 "${caption[@]}" --tp 2
ip netns pids "$b" | xargs -r kill
wait_for 120 ended "$running"
wait "$running" || fail "the job ended with $?: $(tail -5 err)"
records theirs have
same have want
echo "nobody was held up"

#!/usr/bin/env bash
# What comes to the coordinator's port and does not belong there is let out again with a line each, and the job goes on:
# random bytes, a frame of 4 GB, half a frame, a worker with another token, with another model, one that is there already.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
make_pictures
list=(pictures/a.png pictures/b.png pictures/deep/c.PNG)
export LAPIDARY_TOKEN=of-this-job
job=("$program" caption --model "$model" --max-new-tokens 6 --threads 1)

run 0 "${job[@]}" "${list[@]}" --quiet
mv out solo
mkfifo list
exec 9<>list # the job goes on until it is closed
printf '%s\n' "${list[@]}" >&9

"${job[@]}" - --listen 127.0.0.1:0 --output "$work/have.jsonl" <list >/dev/null 2>log 9>&- &
coordinator=$!
touch log
wait_for 20 grep -q '^  mpirun ' log
# What the coordinator says to start, without the model.
read -ra worker < <(sed -n "s|^  mpirun -np 1 lapidary|$program|p" log | sed "s| --model $model||")
read -ra portable <<<"$(sed "s|--isa auto|--isa portable|" <<<"${worker[*]}")"
port=$(sed -n 's/^listening on [^ ]*:\([0-9]*\);.*/\1/p' log)

same_lines() { [ -s have.jsonl ] && [ "$(lines have.jsonl)" -eq "${#list[@]}" ]; }
to_port() { cat >"/dev/tcp/127.0.0.1/$port" || true; }

head -c 4000 "$model/model.safetensors" | to_port
printf '\xff\xff\xff\xff' | to_port
printf '\x20\x00\x00\x00half' | to_port
says 1 "token" -- env LAPIDARY_TOKEN=another "${worker[@]}" --model "$model"
says 1 "model" -- "${worker[@]}" --model "$models/window"
says 1 "started with --isa portable, the coordinator with auto" -- "${portable[@]}" --model "$model"
says 1 "--replica is 5" -- "$program" worker --threads 1 --replica 5 --coordinator "127.0.0.1:$port" --model "$model"

"${worker[@]}" --model "$model" >worker.out 2>worker.err 9>&- &
guest=$!
wait_for 20 same_lines
says 1 "has joined already" -- "${worker[@]}" --model "$model"
exec 9>&-
wait "$coordinator" || fail "the job did not end well:"$'\n'"$(cat log)"
wait "$guest" || fail "the worker did not end well:"$'\n'"$(cat worker.err)"
same have.jsonl solo
[ "$(grep -c 'has not joined: closed the connection within a frame' log)" -eq 2 ] || fail "random bytes and half a frame:"$'\n'"$(cat log)"
[ "$(grep -c 'has not joined: sent a frame of 4294967295 bytes, at most' log)" -eq 1 ] || fail "a frame of 4 GB:"$'\n'"$(cat log)"
[ "$(grep -c '^refused .*wrong token' log)" -eq 1 ] || fail "another token:"$'\n'"$(cat log)"
[ "$(grep -c "^refused .*the worker's model is not the coordinator's" log)" -eq 1 ] || fail "another model:"$'\n'"$(cat log)"
[ "$(grep -c '^refused .*--isa' log)" -eq 1 ] || fail "another instruction set:"$'\n'"$(cat log)"
[ "$(grep -c '^refused .*has joined already' log)" -eq 1 ] || fail "twice:"$'\n'"$(cat log)"

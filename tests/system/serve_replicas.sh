#!/usr/bin/env bash
# Workers of a server that are killed: of two replicas, no request fails or changes its answer; of one, requests are told to come
# again, and it is back. LAPIDARY_SERVE_SECONDS=300: the whole check, of which this is a part.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
need_ranks
# shellcheck source=tests/system/serve.bash
source "$(dirname "$0")/serve.bash"
seconds=${LAPIDARY_SERVE_SECONDS:-15}
export LAPIDARY_TEST_WORK=$work
picture=$samples/beach-day.jpg

# workers REPLICA: process ids of its ranks, of this test alone.
workers() {
  local pid
  for pid in $(pgrep -f "worker .*--replica $1 " || true); do
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = lapidary ] || continue
    grep -qzFx "LAPIDARY_TEST_WORK=$work" "/proc/$pid/environ" 2>/dev/null && echo "$pid" || true
  done
}
ready_replicas() { curl -sf -m 5 "$url/cluster" | grep -o '"state":"ready"' | wc -l; }
all_ready() { [ "$(ready_replicas)" -eq "$1" ]; }

# What each client has to hear: greedy and drawn, long enough to be hit.
bodies() {
  chat_body "$picture" "caption en" ',"max_tokens":60,"ignore_eos":true,"stream":true' >greedy
  chat_body "$picture" "caption en" ',"max_tokens":60,"ignore_eos":true,"stream":true,"temperature":1,"seed":11' >drawn
}
# client N: asks until `over` is there; each answer has to be the first one's.
client() {
  local kind=greedy n=0
  [ $(($1 % 2)) -eq 0 ] || kind=drawn
  until [ -e over ]; do
    curl -sN -m 120 -o "heard.$1" -w '%{http_code}' --data-binary @$kind "$url/v1/chat/completions" >"status.$1" || echo "curl $?" >>"wrong.$1"
    [ "$(cat "status.$1")" = 200 ] || cat "status.$1" "heard.$1" >>"wrong.$1"
    [ "$(streamed "heard.$1")" = "$(cat "expected.$kind")" ] || { echo "another answer:"; cat "heard.$1"; } >>"wrong.$1"
    n=$((n + 1))
  done
  echo "$n" >"asked.$1"
}

# --- one of two replicas, again and again
under_fire() {
  local clients=() kills=0 replica until asked=0 i
  rm -f over wrong.* asked.*
  for i in 0 1 2 3 4 5; do
    client $i &
    clients+=($!)
  done
  until=$((SECONDS + seconds))
  while [ "$SECONDS" -lt "$until" ]; do
    replica=$((kills % 2))
    wait_for 60 all_ready 2
    kill -9 $(workers $replica | head -1) || fail "there is no worker of replica $replica"
    kills=$((kills + 1))
    sleep 1.5
  done
  touch over
  wait "${clients[@]}"
  cat wrong.* 2>/dev/null && fail "requests failed, or changed their answers, at one of $kills kills"
  for i in 0 1 2 3 4 5; do asked=$((asked + $(cat asked.$i))); done
  [ "$kills" -ge 3 ] && [ "$asked" -gt 20 ] || fail "only $kills kills among $asked requests"
  get /metrics
  has answer "lapidary_replica_restarts_total{model_name=\"model\",engine=\"0\"} $kills"
  echo "$kills kills among $asked requests"
}
bodies
for layout in "--replicas 2" "--replicas 2 --tp 2"; do
  # shellcheck disable=SC2086
  start_server --model "$demo" --threads 1 --max-num-seqs 4 --step-deadline 60 $layout
  wait_for 60 all_ready 2
  for kind in greedy drawn; do
    curl -sN -m 60 -o first --data-binary @$kind "$url/v1/chat/completions"
    streamed first >"expected.$kind"
    [ "$(wc -c <"expected.$kind")" -gt 60 ] || fail "an answer of $(cat "expected.$kind")"
  done
  under_fire
  stop_server TERM
  [ "$code" -eq 0 ] || fail "the server ended with $code: $(tail -3 log)"
  [ -z "$(workers 0)$(workers 1)" ] || fail "workers are left"
done

# --- the only replica
start_server --model "$demo" --threads 1
wait_until_ready
ask "$picture" "caption en" ',"max_tokens":24'
whole=$(content)
kill -9 $(workers 0)
refused=0
begin=$SECONDS
until ask "$picture" "caption en" ',"max_tokens":24' && [ "$status" = 200 ]; do
  is 503 '"code":"not_ready"'
  has headers "Retry-After: 1" "x-should-retry: true"
  refused=$((refused + 1))
  [ $((SECONDS - begin)) -lt 60 ] || fail "not back after 60 s"
  sleep 0.2
done
echo "back after $((SECONDS - begin)) s and $refused refusals"
[ "$(content)" = "$whole" ] || fail "another answer: $(content)"
stop_server TERM
[ "$code" -eq 0 ] || fail "the server ended with $code"

# --- a model that no worker can load ends the server, in a sentence
cp -r "$demo" broken
truncate -s 100000 broken/model.safetensors
says 1 "model.safetensors" -- "$program" serve --model broken --port 0

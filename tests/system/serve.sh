#!/usr/bin/env bash
# A server and real clients: answers are those of captioning, whole, streamed, many at once; what is wrong is refused with
# OpenAI's error; the end drains.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
# shellcheck source=tests/system/serve.bash
source "$(dirname "$0")/serve.bash"

run 0 "$program" caption --model "$demo" --prompt "caption en" --max-new-tokens 24 --quiet "$samples"/*.jpg
cp out records
picture=$samples/beach-day.jpg
start_server --model "$demo" --served-model-name paligemma other --max-num-seqs 8 --drain-timeout 30
wait_until_ready

# --- answers are those of captioning
for sample in "$samples"/*.jpg; do
  grep -F "$(basename "$sample")" records >record
  ask "$sample" "caption en" ',"max_tokens":24'
  is 200 '"object":"chat.completion"' '"finish_reason":"stop"' '"model":"paligemma"'
  [ "$(content)" = "$(recorded record)" ] || fail "$(content) is not $(recorded record)"
  ask "$sample" "caption en" ',"max_tokens":24,"stream":true,"stream_options":{"include_usage":true}'
  is 200 '"object":"chat.completion.chunk"' '"choices":[],"usage":{"prompt_tokens":' 'data: [DONE]'
  [ "$(streamed)" = "$(recorded record)" ] || fail "$(streamed) is not $(recorded record)"
done
has headers "text/event-stream" "X-Accel-Buffering: no" "Cache-Control: no-cache" "x-request-id: req_"
events=$(grep -c '^data: {' answer)
tokens=$(sed -n 's/.*"completion_tokens":\([0-9]*\).*/\1/p' answer | tail -1)
# A token an event; the end, of which there is no token, and the usage have theirs.
[ "$events" -eq $((tokens + 2)) ] || fail "$events events of $tokens tokens"

# --- how it ends, and what is asked for
ask "$picture" "caption en" ',"max_tokens":3'
is 200 '"finish_reason":"length"' '"completion_tokens":3,' '"image_tokens":64' '"cached_tokens":64'
whole=$(content)
ask "$picture" "caption en" ',"max_completion_tokens":3,"max_tokens":20'
[ "$(content)" = "$whole" ] || fail "max_completion_tokens did not win"
ask "$picture" "caption en" ',"max_tokens":24'
whole=$(content)
word=$(echo "$whole" | cut -d' ' -f3)
ask "$picture" "caption en" ",\"max_tokens\":24,\"stop\":[\" $word\"]"
is 200 '"finish_reason":"stop"' "\"stop_reason\":\" $word\""
[ "$(content)" = "$(echo "$whole" | cut -d' ' -f1,2)" ] || fail "'$(content)' before ' $word' of '$whole'"
ask "$picture" "caption en" ",\"max_tokens\":24,\"stop\":\" $word\",\"stream\":true,\"include_stop_str_in_output\":true"
[ "$(streamed)" = "$(echo "$whole" | cut -d' ' -f1-3)" ] || fail "'$(streamed)' with ' $word' of '$whole'"
ask "$picture" "caption en" ',"max_tokens":40,"ignore_eos":true'
is 200 '"finish_reason":"length"' '"completion_tokens":40,'
ask "$picture" "caption en" ',"max_tokens":8,"temperature":1,"seed":7,"n":3,"ignore_eos":true'
is 200 '"index":2' '"completion_tokens":24,'
cp answer first
ask "$picture" "caption en" ',"max_tokens":8,"temperature":1,"seed":7,"n":3,"ignore_eos":true'
[ "$(sed 's/.*"choices"//; s/"usage".*//' answer)" = "$(sed 's/.*"choices"//; s/"usage".*//' first)" ] || fail "a seed that gives two texts"
ask "$picture" "caption en" ',"max_tokens":5,"return_token_ids":true'
is 200 '"token_ids":[' '"prompt_token_ids":['

# --- the other endpoints
printf '{"model":"other","prompt":"caption en","images":["data:image/jpeg;base64,%s"],"max_tokens":24}' "$(base64 -w0 "$picture")" >body
post /v1/completions body
is 200 '"object":"text_completion"' "\"text\":\"$whole\""
printf '{"input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/jpeg;base64,%s"},{"type":"input_text","text":"caption en"}]}],"max_output_tokens":24,"stream":true}' "$(base64 -w0 "$picture")" >body
post /v1/responses body
is 200 'event: response.created' "\"text\":\"$whole\"" 'event: response.completed'
echo '{"prompt":"caption en","return_token_strs":true}' >body
post /tokenize body
is 200 '"count":4' '"max_model_len":'
sed 's/.*"tokens":\(\[[^]]*\]\).*/{"tokens":\1}/' answer >body
post /detokenize body
is 200 '<bos>caption en\n'
get /v1/models
is 200 '"id":"paligemma"' '"id":"other"' '"max_model_len":512'
for path in /health /ready /v2/health/live /v2/health/ready /version /cluster; do
  get $path
  is 200 "{"
done
get /metrics
is 200 'lapidary_request_success_total{model_name="paligemma",engine="0",finished_reason="length"}' "# TYPE lapidary_inter_token_latency_seconds histogram" \
  'lapidary_inter_token_latency_seconds_bucket{model_name="paligemma",engine="0",le="0.0005"}'

# --- what is wrong
head -c 3000 "$picture" >half.jpg
echo "no picture" >none.jpg
ask none.jpg "caption en"
is 400 '"code":"invalid_image"' "messages[0].content[0]"
has headers "x-should-retry: false"
ask "$picture" "caption en" ',"model":"nothing"'
is 404 '"code":"model_not_found"'
has headers "x-request-id: req_"
ask "$picture" "caption en" ',"max_tokens":5000'
is 400 '"code":"context_length_exceeded"' "but a sequence has at most 512"
ask "$picture" "caption en" ',"tools":[{"type":"function"}]'
is 400 '"param":"tools"'
ask "$picture" "caption en" ',"temperature":1e999'
is 400 '"param":"temperature"'
for wrong in '{' '[]' '{"messages":[]}' '{"messages":[{"role":"system","content":"x"},{"role":"user","content":"y"}]}' \
  '{"messages":[{"role":"user","content":[{"type":"image_url","image_url":"http://127.0.0.1/x.png"},{"type":"text","text":"x"}]}]}' \
  '{"messages":[{"role":"user","content":[{"type":"image_url","image_url":"file:///etc/passwd"},{"type":"text","text":"x"}]}]}'; do
  echo "$wrong" >body
  post /v1/chat/completions body
  is 400 '{"error":{"message":"' '"type":"invalid_request_error"'
done
get /nothing
is 404 '"code":"unknown_url"'
has headers "x-request-id: req_"
get /v1/chat/completions
is 405 "takes POST"
has headers "Allow: POST"
ask "$picture" "caption en" ',"max_tokens":3'
is 200 '"finish_reason":"length"'

# --- many at once, each as alone; clients that leave disturb none
client() {
  chat_body "$1" "caption en" ',"max_tokens":24,"stream":true' >"body.$2"
  curl -sN -m 100 -o "answer.$2" --data-binary @"body.$2" "$url/v1/chat/completions"
}
leaver() { curl -sN -m 0.03 -o /dev/null --data-binary @body.0 "$url/v1/chat/completions" || true; }
all=("$samples"/*.jpg)
clients=()
client "${all[0]}" 0
for ((i = 0; i < 60; ++i)); do
  client "${all[$((i % ${#all[@]}))]}" "$i" &
  clients+=($!)
  if ((i % 3 == 0)); then
    leaver &
    clients+=($!)
  fi
done
wait "${clients[@]}"
for ((i = 0; i < 60; ++i)); do
  grep -F "$(basename "${all[$((i % ${#all[@]}))]}")" records >record
  [ "$(streamed "answer.$i")" = "$(recorded record)" ] || fail "client $i heard '$(streamed "answer.$i")', not '$(recorded record)'"
done
nothing_runs() { get /metrics && grep -q '^lapidary_num_requests_running{[^}]*} 0$' answer && grep -q '^lapidary_num_requests_waiting{[^}]*} 0$' answer; }
wait_for 30 nothing_runs

# --- the end: who is here is served, and nobody else
chat_body "$picture" "caption en" ',"max_tokens":400,"ignore_eos":true,"stream":true,"stream_options":{"include_usage":true}' >body
curl -sN -m 60 -o last --data-binary @body "$url/v1/chat/completions" &
reader=$!
has_begun() { [ -s last ]; }
wait_for 30 has_begun
kill -s TERM "$server"
wait $reader || fail "a stream was cut: $?"
has last '"completion_tokens":400,' "data: [DONE]"
code=0
wait "$server" || code=$?
server=
[ "$code" -eq 0 ] || fail "the server ended with $code: $(tail -3 log)"
has log "ending: not ready any more"
pgrep -f "lapidary worker.*$demo" >/dev/null && fail "a worker is left" || true

# --- keys
printf '# of the team\nsecret-one\n\nsecret-two\n' >keys
start_server --model "$demo" --api-key-file keys --api-key secret-three --allowed-local-media-path "$samples" --drain-delay 2
wait_until_ready
chat_body "$picture" "caption en" ',"max_tokens":3' >body
for key in "" "Bearer wrong" "Bearer secret-on" "Bearer secret-onee" "Basic secret-one" "secret-one"; do
  post /v1/chat/completions body -H "Authorization: $key"
  is 401 '"code":"invalid_api_key"'
done
for key in secret-one secret-two secret-three; do
  post /v1/chat/completions body -H "Authorization: Bearer $key" -H "x-request-id: my-$key"
  is 200 '"finish_reason":"length"'
  has headers "x-request-id: my-$key"
done
get /v1/models
is 401
get /health
is 200
# Files below the folder, and no others.
ln -s /etc/passwd "$work/link"
for path in "$picture:200" "$samples/../README.md:400" "/etc/passwd:400" "$samples:400" "$work/link:400" "/dev/zero:400"; do
  printf '{"max_tokens":3,"messages":[{"role":"user","content":[{"type":"image_url","image_url":"file://%s"},{"type":"text","text":"caption en"}]}]}' "${path%:*}" >file
  post /v1/chat/completions file -H "Authorization: Bearer secret-one"
  is "${path##*:}"
done
! grep -q secret log || fail "a key is in the log"
# While balancers notice, requests are still taken.
kill -s TERM "$server"
is_not_ready() { ! is_ready; }
wait_for 10 is_not_ready
post /v1/chat/completions body -H "Authorization: Bearer secret-one"
is 200
code=0
wait "$server" || code=$?
server=
[ "$code" -eq 0 ] || fail "the server ended with $code"

# --- doors
says 1 "cannot listen on 127.0.0.1 port 1:" -- setpriv --reuid 61234 --clear-groups "$program" serve --model "$demo" --port 1 || true
says 1 "no IP address" -- "$program" serve --model "$demo" --host nowhere
says 1 "neither fleet nor fake:FILE" -- "$program" serve --model "$demo" --engine x
says 1 "belong together" -- "$program" serve --model "$demo" --ssl-certfile x
says 1 "nowhere: there is no such file" -- "$program" serve --model nowhere
echo "answers are those of captioning"

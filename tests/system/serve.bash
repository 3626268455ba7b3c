# Sourced after support.bash: a server, and clients of it.
demo=$source_dir/configs/demo/model
samples=$source_dir/configs/demo/samples
server=
trap 'stop_server KILL; rm -rf "$work"' EXIT

# start_server ARGUMENT...: `lapidary serve` on a free port, its log in `log`; sets `server` and `url`.
start_server() {
  rm -f log  # of the one before
  "$program" serve --port 0 "$@" >log 2>&1 &
  server=$!
  is_serving() { grep -qs "^serving on " log; }
  wait_for 60 is_serving
  url=$(sed -n 's/^serving on //p' log | head -1)
}

# stop_server SIGNAL: sets `code`, once the server has ended.
stop_server() {
  code=0
  [ -n "$server" ] || return 0
  kill -s "$1" "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || code=$?
  server=
}

is_ready() { curl -sf -m 5 "$url/ready" >/dev/null; }
wait_until_ready() { wait_for 60 is_ready; }

# chat_body IMAGE PROMPT [MORE]: the JSON of a request; MORE is ',"name":value…'.
chat_body() {
  printf '{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/jpeg;base64,%s"}},{"type":"text","text":"%s"}]}]%s}' \
    "$(base64 -w0 "$1")" "$2" "${3-}"
}

# post PATH FILE [CURL ARGUMENT...]: the answer in `answer`, its status in `status`, its headers in `headers`.
post() {
  status=$(curl -sN -m 60 -o answer -D headers -w '%{http_code}' -H 'content-type: application/json' "${@:3}" --data-binary @"$2" "$url$1") ||
    fail "no answer to POST $1: $(tail -3 log)"
}
get() {
  status=$(curl -s -m 60 -o answer -D headers -w '%{http_code}' "${@:2}" "$url$1") || fail "no answer to GET $1"
}

# ask IMAGE PROMPT [MORE]: by /v1/chat/completions.
ask() {
  chat_body "$@" >body
  post /v1/chat/completions body
}
# is STATUS TEXT...: what the last answer was, and said.
is() {
  [ "$status" = "$1" ] || fail "status $status, not $1: $(head -c 1000 answer)"
  has answer "${@:2}"
}

# The text of the answer, of its stream, of a record.
content() { sed -n 's/.*"message":{"role":"assistant","content":"\(\([^"\\]\|\\.\)*\)".*/\1/p' "${1-answer}"; }
streamed() { sed -n 's/.*"delta":{[^}]*"content":"\(\([^"\\]\|\\.\)*\)".*/\1/p' "${1-answer}" | tr -d '\n'; }
recorded() { sed -n 's/.*"text": "\(\([^"\\]\|\\.\)*\)", "token_ids".*/\1/p' "$1"; }

#!/usr/bin/env bash
# Behind nginx and HAProxy, on loopback: streams come token by token, connections are kept, a server that ends is left in time; and TLS,
# whose certificate is exchanged while it serves.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
# shellcheck source=tests/system/serve.bash
source "$(dirname "$0")/serve.bash"
for needed in nginx haproxy openssl; do
  PATH=$PATH:/usr/sbin command -v $needed >/dev/null && continue
  if [ "$(id -u)" -ne 0 ] || ! "$source_dir/scripts/install_deps.sh" --proxies >out 2>&1; then
    echo "skipped: no $needed here, and it cannot be installed: $(tail -1 out 2>/dev/null)"
    exit 77
  fi
  # Debian starts what it installs, on all addresses; here both run on loopback, for this test alone.
  for service in nginx haproxy; do service $service stop >out 2>&1 || true; done
done
PATH=$PATH:/usr/sbin
proxies=()
trap 'kill "${proxies[@]}" 2>/dev/null || true; stop_server KILL; rm -rf "$work"' EXIT
free_port() { # nobody listens there now, and the system gives it to nobody
  local port
  for ((port = 10000 + RANDOM % 10000; ; ++port)); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}

# A script: tokens a tenth of a second apart, so that it shows whether they come one by one.
ids=$("$program" tokenize --model "$demo" --text "a beach by day under a cloud and the sun" 2>/dev/null | grep -oE '[0-9]+' | tr '\n' ',' | sed 's/,$//' || true)
[ -n "$ids" ] || ids=425,398,506,429
echo "{\"sequences\": 64, \"prefill_ms\": 1, \"step_ms\": 100, \"tokens\": [$ids]}" >script.json
start_server --model "$demo" --engine "fake:$work/script.json" --drain-delay 3 --drain-timeout 20
wait_until_ready
first=$url
backend=${url#http://}

nginx_port=$(free_port)
mkdir -p nginx
as_root=$([ "$(id -u)" -ne 0 ] || echo "user root;") # its workers read and write in this test's folder
cat >nginx.conf <<EOF
$as_root daemon off; pid $work/nginx/pid; error_log $work/nginx/error.log;
events {}
http {
  access_log off; client_body_temp_path $work/nginx/body; proxy_temp_path $work/nginx/proxy; fastcgi_temp_path $work/nginx/f; uwsgi_temp_path $work/nginx/u; scgi_temp_path $work/nginx/s;
  client_max_body_size 200m;
  upstream lapidary { server $backend; keepalive 16; }
  server {
    listen 127.0.0.1:$nginx_port;
    location / { proxy_pass http://lapidary; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 60s; }
  }
}
EOF
nginx -c "$work/nginx.conf" 2>nginx.err &
proxies+=($!)
haproxy_port=$(free_port)
cat >haproxy.cfg <<EOF
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  retries 3
  option redispatch
frontend front
  bind 127.0.0.1:$haproxy_port
  default_backend lapidary
backend lapidary
  option httpchk GET /ready
  server one $backend check inter 200ms fall 2 rise 1
  server two SECOND check inter 200ms fall 2 rise 1
EOF

# streams_through URL: the answer is whole, and its events come apart.
streams_through() {
  local before at=() line
  echo '{"stream":true,"max_tokens":8,"ignore_eos":true,"messages":[{"role":"user","content":"answer en what"}]}' >body
  before=$(date +%s%N)
  while read -r line; do
    case $line in data:*) at+=($((($(date +%s%N) - before) / 1000000))) ;; esac
  done < <(curl -sN -m 60 --data-binary @body "$1/v1/chat/completions")
  [ ${#at[@]} -eq 9 ] || fail "$1: ${#at[@]} events, not 8 tokens and the end"
  # Seven steps of 100 ms lie between the first token and the last; a proxy that gathers them gives all at once.
  [ $((at[7] - at[0])) -ge 400 ] || fail "$1: all tokens came within $((at[7] - at[0])) ms"
}
nginx_answers() { curl -sf -m 5 "http://127.0.0.1:$nginx_port/health" >/dev/null; }
wait_for 20 nginx_answers
streams_through "$first"
streams_through "http://127.0.0.1:$nginx_port"
echo '{"max_tokens":3,"messages":[{"role":"user","content":"answer en what"}]}' >body
for _ in {1..20}; do
  curl -sf -m 20 -o answer --data-binary @body "http://127.0.0.1:$nginx_port/v1/chat/completions" || fail "nginx: no answer"
done
# A body of 3 MB, and one that is no JSON, come through as they are.
url=http://127.0.0.1:$nginx_port
ask "$samples/beach-day.jpg" "caption en" ',"max_tokens":3'
is 200 '"finish_reason":"length"'
echo '{' >body
post /v1/chat/completions body
is 400 '"error"'

# --- HAProxy before two servers, of which one ends in the midst of requests: none fails
one=$server
server=
cp log log.one
start_server --model "$demo" --engine "fake:$work/script.json"
wait_until_ready
two=$server
sed -i "s/SECOND/${url#http://}/" haproxy.cfg
haproxy -f haproxy.cfg >haproxy.err 2>&1 &
proxies+=($!)
haproxy_answers() { curl -sf -m 5 "http://127.0.0.1:$haproxy_port/ready" >/dev/null; }

wait_for 20 haproxy_answers
streams_through "http://127.0.0.1:$haproxy_port"
echo '{"max_tokens":3,"messages":[{"role":"user","content":"answer en what"}]}' >short
requests() {
  until [ -e over ]; do
    curl -s -m 30 -o "heard.$1" -w '%{http_code}\n' --data-binary @short "http://127.0.0.1:$haproxy_port/v1/chat/completions" >>"codes.$1" || echo "curl $?" >>"codes.$1"
  done
}
clients=()
for i in 1 2 3 4; do
  requests $i &
  clients+=($!)
done
sleep 1
kill -s TERM "$one"
code=0
wait "$one" || code=$?
[ "$code" -eq 0 ] || fail "the first server ended with $code: $(tail -3 log.one)"
sleep 1
touch over
wait "${clients[@]}"
sort codes.* | uniq -c >codes
[ "$(grep -vc ' 200$' codes)" -eq 0 ] || fail "requests failed while a server ended: $(cat codes)"
[ "$(awk '{ print $1 }' codes)" -gt 10 ] || fail "too few requests: $(cat codes)"
server=$two
stop_server TERM
[ "$code" -eq 0 ] || fail "the server ended with $code"

# --- TLS
certificate() { openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj "/CN=$1" -addext "subjectAltName=DNS:$1" 2>/dev/null; }
certificate one.example
start_server --model "$demo" --engine "fake:$work/script.json" --ssl-certfile cert.pem --ssl-keyfile key.pem
port=${url##*:}
[ "${url%%:*}" = https ] || fail "it serves $url"
secure() { curl -s -m 20 --cacert "$1" --resolve "$2:$port:127.0.0.1" -o answer -w '%{http_code}' --data-binary @short "https://$2:$port/v1/chat/completions"; }
cp cert.pem one.pem
is_secure() { [ "$(secure one.pem one.example)" = 200 ]; }
wait_for 20 is_secure
curl -s -m 5 "http://127.0.0.1:$port/health" -o plain && fail "plain HTTP was answered: $(cat plain)" || true
# A stream goes on over the exchange; new connections see the new certificate; a broken one changes nothing.
echo '{"stream":true,"max_tokens":20,"ignore_eos":true,"messages":[{"role":"user","content":"answer en what"}]}' >body
curl -sN -m 60 --cacert one.pem --resolve "one.example:$port:127.0.0.1" -o stream --data-binary @body "https://one.example:$port/v1/chat/completions" &
reader=$!
sleep 0.5
certificate two.example
kill -s HUP "$server"
was_read() { grep -q "the certificate was read again" log; }
wait_for 10 was_read
[ "$(secure cert.pem two.example)" = 200 ] || fail "the new certificate is not used"
secure one.pem one.example >/dev/null && fail "the old certificate is still used" || true
wait $reader || fail "a stream was cut by the exchange"
has stream "[DONE]"
echo broken >cert.pem
kill -s HUP "$server"
stays() { grep -q "the old certificate stays" log; }
wait_for 10 stays
head -c 2000 /dev/urandom >noise
(exec 3<>"/dev/tcp/127.0.0.1/$port" && cat noise >&3 && timeout 5 cat <&3 >/dev/null) 2>/dev/null || true
kill -0 "$server" || fail "noise ended the server"
stop_server TERM
[ "$code" -eq 0 ] || fail "the server ended with $code"
echo "streams come through nginx, HAProxy and TLS as they are sent"

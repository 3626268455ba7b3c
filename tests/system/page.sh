#!/usr/bin/env bash
# The page at / in a real browser, on a desktop's screen and a phone's: caption, boxes in their places, a question, an error.
# LAPIDARY_SHOTS=FOLDER keeps the screenshots. Chromium is installed where it is missing and root may.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
# shellcheck source=tests/system/serve.bash
source "$(dirname "$0")/serve.bash"
if ! command -v chromedriver >/dev/null; then
  if [ "$(id -u)" -ne 0 ] || ! "$source_dir/scripts/install_deps.sh" --browser >out 2>&1; then
    echo "skipped: no Chromium here, and it cannot be installed: $(tail -1 out 2>/dev/null)"
    exit 77
  fi
fi
start_server --model "$demo"
wait_until_ready
shots=${LAPIDARY_SHOTS:-$work/shots}
mkdir -p "$shots"
timeout 300 /usr/bin/python3 "$source_dir/tests/browser/page.py" "$url/" "$samples/meadow-day.png" "$shots"
get /page.css
has headers "Content-Security-Policy: default-src 'none'" "X-Content-Type-Options: nosniff"
stop_server TERM
[ "$code" -eq 0 ] || fail "the server ended with $code"

#!/usr/bin/env bash
# Drawings that cannot be made, or have names that no file can have: the job goes on, and says how many are missing.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
make_pictures
caption=("$program" caption --model "$model" --max-new-tokens 2 --threads 1)
long=$(printf 'x%.0s' {1..300})
for id in "$long" "$long" same same ../../out /etc/passwd . "a/b/c" "ä$long"; do
  printf '{"image": "pictures/a.png", "id": "%s"}\n' "$id"
done >list.jsonl
run 0 "${caption[@]}" list.jsonl --output job --draw drawings
[ "$(cat job/*.jsonl | grep -c '"status": "ok"')" -eq 9 ] || fail "$(cat job/*.jsonl | head -c 2000)"
[ "$(find drawings -name '*.png' | wc -l)" -eq 9 ] || fail "$(find drawings -name '*.png' | wc -l) drawings of 9"
[ ! -e out.png ] && [ ! -e ../out.png ] && [ ! -e /etc/passwd.png ] || fail "a drawing lies outside its folder"
# The same command again draws nothing anew, and lacks nothing.
find drawings -name '*.png' | sort >first
run 0 "${caption[@]}" list.jsonl --output job --draw drawings
find drawings -name '*.png' | sort | cmp -s - first || fail "another run has other drawings"

# What keeps drawings from being made keeps no record from it.
printf '{"image": "pictures/a.png"}\n{"image": "pictures/a.png", "id": "b"}\n' >two.jsonl
mkdir -p readonly
if [ "$(id -u)" -eq 0 ]; then
  # A disk that takes no file.
  mount -t tmpfs -o "size=4k,nr_inodes=1" lapidary readonly 2>/dev/null || exit 0
  trap 'umount -l "$work/readonly"; rm -rf "$work"' EXIT
  run 0 "${caption[@]}" two.jsonl --output three --draw "$work/readonly"
  [ "$(cat three/*.jsonl | grep -c '"status": "ok"')" -eq 2 ] || fail "records are missing with their drawings"
  has err "2 drawings could not be made, the first: "
fi

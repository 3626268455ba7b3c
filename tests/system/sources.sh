#!/usr/bin/env bash
# What a dataset holds is captioned, or named: pictures by their bytes, tars of folders, broken sources beside whole ones.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
samples=$source_dir/configs/demo/samples
caption=("$program" caption --model "$model" --max-new-tokens 2 --threads 1)
sea=$samples/sea-day.jpg
keys_are() { # keys_are KEY...: of `out`, in order, all well
  grep '"status": "ok"' out | grep -o '^{"key": "[^"]*"' | cut -d'"' -f4 >keys
  printf '%s\n' "$@" >expected
  same keys expected
}

# A folder.
mkdir -p f/.hidden f/deep
for name in a.JPG b.jfif c.jpe d e.img deep/g.txt .hidden/h.jpg; do cp "$sea" "f/$name"; done
echo GIF89a >f/i.gif
echo text >f/j.txt
ln -s ../../f f/deep/up
run 0 "${caption[@]}" f
keys_are a.JPG b.jfif c.jpe d deep/g.txt e.img
has err "left out: 2 files are no JPEG, PNG or WebP (1 .gif, 1 .txt), 1 hidden, 1 link leads back to a folder above"

# The same in tars, however compressed; and such tars in a folder, alone and beside a picture.
tar -cf plain.tar -C f --sort=name --no-recursion --transform 's|^deep/g.txt|../x/g.txt|' a.JPG b.jfif d deep/g.txt .hidden/h.jpg i.gif
mkdir shards
for filter in gzip:gz bzip2:bz2 xz:xz zstd:zst lz4:lz4; do
  command -v "${filter%:*}" >/dev/null || continue
  "${filter%:*}" -c <plain.tar >"shards/${filter#*:}.tar.${filter#*:}"
done
cp shards/gz.tar.gz shards/really-gz.tar
echo '{}' >shards/00000_stats.json
for shard in plain.tar shards/*.tar*; do
  stem=$(basename "$shard")
  stem=${stem%%.*}
  run 0 "${caption[@]}" "$shard"
  keys_are "$stem"/{a,b,d,../x/g,.hidden/h}
  has err "left out: 1 file is no JPEG, PNG or WebP (1 .gif)"
done
run 0 "${caption[@]}" shards
[ "$(grep -c '"status": "ok"' out)" -eq $((5 * $(find shards -name '*.tar*' | wc -l))) ] || fail "$(lines out) records of the folder of tars"
has err "1 .json"
mkdir mixed
cp plain.tar "$sea" mixed
run 0 "${caption[@]}" mixed
keys_are sea-day.jpg plain/{a,b,d,../x/g,.hidden/h}

# One bad source among others is a record with an error, in the exit code and in the summary; alone, or where one is strict, it
# ends the job before it begins.
head -c 3000 /dev/zero | tr '\0' x >bad.tar
says 1 "1 input is broken" "bad.tar" "all else has its records" -- "${caption[@]}" plain.tar bad.tar "$sea"
[ "$(lines out)" -eq 7 ] || fail "$(lines out) records beside a bad tar"
has out '"key": "bad.tar"' '"status": "error"'
says 1 "bad.tar: no tar" -- "${caption[@]}" plain.tar bad.tar "$sea" --strict
[ ! -s out ] || fail "strict, and records all the same"
says 1 "bad.tar: no tar" -- "${caption[@]}" bad.tar
printf '{"image": "%s"}\n{"image": 5}\n{"image": "%s"}\n' "$sea" "$sea" >list.jsonl
says 1 "1 input is broken" "list.jsonl, line 2" -- "${caption[@]}" list.jsonl
[ "$(lines out)" -eq 3 ] || fail "$(lines out) records beside a bad line"
says 1 "list.jsonl, line 2" -- "${caption[@]}" list.jsonl --strict
run 1 "${caption[@]}" list.jsonl --output job --quiet
run 1 "${caption[@]}" list.jsonl --output job --quiet
[ "$(cat job/part-*.jsonl | wc -l)" -eq 3 ] || fail "a broken line has more than one record"

# Sources without a picture are no success.
mkdir texts none
echo text >texts/a.txt
tar -cf texts.tar texts
cp texts/a.txt none
says 1 "no picture" -- "${caption[@]}" texts.tar
says 1 "without images" -- "${caption[@]}" none
run 0 "${caption[@]}" texts.tar "$sea"
has err "1 tar has no picture"

# Lists whose names are apart by NUL bytes, and other files than manifests, are named.
find f -name '*.JPG' -print0 >nul
printf 'f/b.jfif\0' >>nul
says 1 "NUL byte" "line ends" -- bash -c '"$@" <nul' - "${caption[@]}" -
printf '[\n{"image": "a"}\n]\n' >array.jsonl
says 1 "array.jsonl, line 1" "one object" -- "${caption[@]}" array.jsonl
gzip -c list.jsonl >list.jsonl.gz
says 1 "list.jsonl.gz, line 1" "gzip" -- "${caption[@]}" list.jsonl.gz
printf '\xef\xbb\xbf{"image": "%s", "score": NaN, "alt": "\\ud83d"}\n' "$sea" >python.jsonl
run 0 "${caption[@]}" python.jsonl
[ "$(grep -c '"status": "ok"' out)" -eq 1 ] || fail "what Python writes"
printf '\xef\xbb\xbflocalhost:2\n' >hosts
says 1 "hosts, line 1" 'localhost slots=2' -- "${caption[@]}" --replicas 2 --hostfile hosts "$sea"

# A picture that asks to be turned is counted, unless it is turned.
turned=$source_dir/tests/golden/images/jpeg_exif_turned.jpg
run 0 "${caption[@]}" "$turned" "$sea"
has err "1 picture has an EXIF orientation that was not applied; --orientation exif"
run 0 "${caption[@]}" "$turned" "$sea" --orientation exif
if grep -q "EXIF" err; then fail "a picture that was turned is counted"; fi
run 0 "${caption[@]}" "$turned" --quiet
[ ! -s err ] || fail "not quiet: $(cat err)"

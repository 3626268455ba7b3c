#!/usr/bin/env bash
# Small pictures that ask for gigabytes or minutes end as error records that say so, the rest of the job as ever; and those
# that only Pillow's newest libraries read are read.
# shellcheck source=tests/system/support.bash
source "$(dirname "$0")/support.bash" "$@"
images=$source_dir/tests/golden/images
mkdir pictures
cp "$images"/{jpeg_lossless_1.jpg,jpeg_420_cut_in_scan_2.jpg,size_17x300.png} pictures

# 13377 x 13377 pixels in 38 bytes, each without a bit.
printf 'RIFF\x1e\0\0\0WEBPVP8L\x11\0\0\0\x2f\x40\x34\x10\x0d\x07\x10\x11\x11\x88\x88\xfe\x07\0\0\0\0\0' >pictures/huge.webp

# The last scan of a progressive JPEG, 600 times.
progressive=$images/jpeg_444_progressive.jpg
size=$(stat -c %s "$progressive")
scan=$(LC_ALL=C grep -aobP '\xff\xda' "$progressive" | tail -1 | cut -d: -f1)
{
  head -c "$scan" "$progressive"
  for ((i = 0; i < 600; ++i)); do tail -c +$((scan + 1)) "$progressive" | head -c $((size - scan - 2)); done
  printf '\xff\xd9'
} >pictures/scans.jpg

caption=("$program" caption --model "$model" --max-new-tokens 4 --image-workers 3)
begin=$SECONDS
run 0 "${caption[@]}" --image-memory-gb 0.5 pictures
[ "$(lines out)" -eq 5 ] || fail "$(lines out) records, not 5"
for picture in jpeg_lossless_1.jpg jpeg_420_cut_in_scan_2.jpg size_17x300.png; do
  grep "\"key\": \"$picture\"" out >record
  has record '"status": "ok"'
done
grep '"key": "huge.webp"' out >record
has record '"status": "error"' "huge.webp: takes 14315" "bytes, more than the 312500000 that this process may hold of pictures being decoded" "--image-memory-gb"
grep '"key": "scans.jpg"' out >record
has record '"status": "error"' "scans.jpg: JPEG of 609 scans of 85 x 119 pixels, more than the limit of 500"
has err "2 of them failed"
[ $((SECONDS - begin)) -lt 60 ] || fail "it took $((SECONDS - begin)) s"

# Memory that is not there at all, and numbers that are none.
run 1 "${caption[@]}" --image-memory-gb 0.000000001 pictures
[ "$(grep -c '"status": "error"' out)" -eq 5 ] || fail "pictures were decoded in a byte"
for wrong in -1 nan x; do run 2 "${caption[@]}" --image-memory-gb $wrong pictures; done

#!/usr/bin/env python3
"""Makes tests/golden/images: small pictures of every kind the reader knows, and expected.txt, what Pillow sees in them.

Needed only to change the set: Python with Pillow 13 and numpy, and the program cjpeg (for samplings of colour that
Pillow cannot write). Each line of expected.txt: file, width, height, then the CRC-32 and Adler-32 (16 hex digits
together) of the RGB bytes of the picture and of its bicubic resize to 224, 448 and 896 pixels square.
"""
import io
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, __version__

from lossless_jpeg import lossless_files, waves

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "golden" / "images"
rng = np.random.default_rng(20)


def picture(width, height, channels=3, noise=0.0):
    """Soft waves with a few hard-edged rectangles: detail for the codecs, yet small files."""
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for c in range(channels):
        fx, fy, phase = rng.uniform(0.01, 0.15, 3)
        planes.append(127.5 + 120 * np.sin(fx * x + fy * y + 40 * phase))
    out = np.stack(planes, -1)
    for _ in range(6):
        left, top = rng.integers(0, width), rng.integers(0, height)
        out[top : top + height // 4 + 1, left : left + width // 4 + 1] = rng.integers(0, 256, channels)
    out += rng.normal(0, noise, out.shape) if noise else 0
    return np.clip(out, 0, 255).astype(np.uint8)


def rgb(width, height, noise=0.0):
    return Image.fromarray(picture(width, height, 3, noise))


def few_colours(width, height):
    return Image.fromarray(picture(width, height) // 16 * 17)


def saved(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


# ---- PNG, written by hand: depths and chunks that Pillow does not write ---------------------------------------------

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_rows(values, depth):
    """Unfiltered and up-filtered rows in turn."""
    lines, before = [], None
    for row in values:
        if depth == 16:
            packed = row.astype(">u2").tobytes()
        elif depth == 8:
            packed = row.astype(np.uint8).tobytes()
        else:
            bits = (row.reshape(-1, 1) >> np.arange(depth - 1, -1, -1)) & 1
            packed = np.packbits(bits.astype(np.uint8).reshape(-1)).tobytes()
        now = np.frombuffer(packed, np.uint8)
        up = before is not None and len(lines) % 2 == 1
        lines.append((b"\2" + (now - before).tobytes()) if up else (b"\0" + packed))
        before = now
    return b"".join(lines)


def png(width, height, kind, depth, interlaced=False, extra=(), high=None):
    if high is None:
        high = 1 << depth
    shape = picture(width, height, CHANNELS[kind]).astype(np.int64)
    values = shape * high // 256
    passes = [values[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlaced else [values]
    data = b"".join(png_rows(part, depth) for part in passes if part.size)
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlaced))
    chunks = [chunk(b"IHDR", header), *(chunk(k, d) for k, d in extra), chunk(b"IDAT", zlib.compress(data, 9))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


def palette(count):
    return b"PLTE", rng.integers(0, 256, 3 * count, dtype=np.uint8).tobytes()


def png_files():
    for depth in (1, 2, 4, 8, 16):
        yield f"grey{depth}.png", png(61, 37, 0, depth)
        yield f"grey{depth}_interlaced.png", png(45, 53, 0, depth, True)
    yield "grey16_dark.png", png(64, 40, 0, 16, high=700)  # around the value where 16-bit grey is clipped
    yield "grey_transparent.png", png(33, 29, 0, 8, extra=[(b"tRNS", b"\0\x40")])
    for depth in (8, 16):
        yield f"rgb{depth}.png", png(53, 71, 2, depth)
        yield f"rgb{depth}_interlaced.png", png(67, 43, 2, depth, True)
        yield f"grey_alpha{depth}.png", png(39, 65, 4, depth)
        yield f"rgba{depth}.png", png(75, 31, 6, depth)
        yield f"rgba{depth}_interlaced.png", png(29, 34, 6, depth, True)
    yield "rgb_transparent.png", png(40, 40, 2, 8, extra=[(b"tRNS", b"\0\x10\0\x20\0\x30")])
    yield "rgb_gamma.png", png(50, 42, 2, 8, extra=[(b"gAMA", struct.pack(">I", 22000))])
    for depth in (1, 2, 4, 8):
        yield f"palette{depth}.png", png(58, 47, 3, depth, extra=[palette(1 << depth)])
    yield "palette_interlaced.png", png(31, 63, 3, 4, True, extra=[palette(16)])
    yield "palette_short.png", png(44, 36, 3, 8, extra=[palette(100)])  # indices beyond it are black
    yield "palette_one_clear.png", png(48, 48, 3, 4, extra=[palette(16), (b"tRNS", b"\xff\xff\0")])
    yield "palette_alpha.png", png(48, 31, 3, 4, extra=[palette(16), (b"tRNS", bytes(range(0, 256, 16)))])
    sizes = [(1, 1), (1, 9), (9, 1), (2, 2), (3, 1000), (1000, 3), (7, 5), (223, 224), (224, 223), (449, 447), (17, 300),
             (224, 224), (448, 448), (896, 224), (224, 896), (448, 100), (100, 448), (333, 500)]
    for width, height in sizes:
        yield f"size_{width}x{height}.png", saved(few_colours(width, height), "PNG", optimize=True)
    noise = Image.fromarray(rng.integers(0, 256, (90, 110, 3), dtype=np.uint8))
    yield "noise.png", saved(noise, "PNG")
    extremes = Image.fromarray((rng.integers(0, 2, (80, 70, 3)) * 255).astype(np.uint8))  # overshoots both ways
    yield "black_and_white_noise.png", saved(extremes, "PNG")
    frames = [few_colours(50, 38) for _ in range(2)]
    yield "animated.png", saved(frames[0], "PNG", save_all=True, append_images=frames[1:])


# ---- JPEG -----------------------------------------------------------------------------------------------------------

def without_adobe(data):
    at = data.index(b"\xff\xee\x00\x0eAdobe")
    return data[:at] + data[at + 16 :]


def with_transform(data, transform):
    at = data.index(b"\xff\xee\x00\x0eAdobe") + 15
    return data[:at] + bytes([transform]) + data[at + 1 :]


def cjpeg(image, *options):
    ppm = b"P6 %d %d 255\n" % image.size + image.tobytes()
    return subprocess.run(["cjpeg", *options], input=ppm, capture_output=True, check=True).stdout


def jpeg_files():
    for name, sampling in (("444", 0), ("422", 1), ("420", 2)):
        yield f"jpeg_{name}.jpg", saved(rgb(123, 97, 6), "JPEG", quality=80, subsampling=sampling)
        yield f"jpeg_{name}_progressive.jpg", saved(rgb(85, 119, 6), "JPEG", subsampling=sampling, progressive=True)
    for sampling in ("4x1", "1x2", "1x4", "4x2", "2x1,1x2,1x1"):
        name = sampling.replace(",", "_")
        yield f"jpeg_sampling_{name}.jpg", cjpeg(rgb(101, 91, 4), "-sample", sampling)
    yield "jpeg_grey.jpg", saved(rgb(77, 59, 5).convert("L"), "JPEG")
    yield "jpeg_grey_progressive.jpg", saved(rgb(59, 77, 5).convert("L"), "JPEG", progressive=True)
    yield "jpeg_rgb.jpg", saved(rgb(66, 50), "JPEG", keep_rgb=True)
    yield "jpeg_restarts.jpg", saved(rgb(150, 110, 5), "JPEG", restart_marker_blocks=3)
    yield "jpeg_restarts_progressive.jpg", saved(rgb(90, 70, 5), "JPEG", restart_marker_blocks=5, progressive=True)
    yield "jpeg_arithmetic.jpg", cjpeg(rgb(83, 61, 4), "-arithmetic")
    yield "jpeg_quality_5.jpg", saved(rgb(160, 120, 9), "JPEG", quality=5)
    yield "jpeg_quality_100.jpg", saved(rgb(64, 48, 9), "JPEG", quality=100, subsampling=0)
    yield "jpeg_photo_size.jpg", saved(rgb(640, 480, 3), "JPEG", quality=70)
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn right": left alone
    yield "jpeg_exif_turned.jpg", saved(rgb(90, 60), "JPEG", exif=exif)
    for width, height in ((1, 1), (1, 17), (15, 1), (8, 8), (17, 16)):
        yield f"jpeg_{width}x{height}.jpg", saved(rgb(width, height), "JPEG")
    cmyk = saved(Image.fromarray(picture(71, 57, 4, 3), "CMYK"), "JPEG", quality=85)
    yield "jpeg_cmyk_adobe.jpg", cmyk
    yield "jpeg_cmyk_plain.jpg", without_adobe(cmyk)
    yield "jpeg_ycck.jpg", with_transform(cmyk, 2)
    yield "jpeg_ycck_420.jpg", with_transform(
        saved(Image.fromarray(picture(63, 81, 4, 3), "CMYK"), "JPEG", quality=85, subsampling=2), 2)


# ---- WebP -----------------------------------------------------------------------------------------------------------

def riff_chunk(kind, data):
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def first_frame_inside():
    """An animation of one lossless frame of 30 x 20 at (8, 6) of a canvas of 50 x 40."""
    def u24(value):
        return struct.pack("<I", value)[:3]
    image = saved(rgb(30, 20), "WEBP", lossless=True)[12:]  # its VP8L chunk
    frame = u24(4) + u24(3) + u24(29) + u24(19) + u24(100) + b"\2" + image
    body = riff_chunk(b"VP8X", b"\x02\0\0\0" + u24(49) + u24(39)) + riff_chunk(b"ANIM", b"\x80\x40\x20\xff\0\0")
    return riff_chunk(b"RIFF", b"WEBP" + body + riff_chunk(b"ANMF", frame))


def webp_files():
    yield "webp_lossy.webp", saved(rgb(131, 87, 6), "WEBP", quality=70)
    yield "webp_lossy_low.webp", saved(rgb(90, 151, 6), "WEBP", quality=5)
    yield "webp_lossless.webp", saved(rgb(57, 41), "WEBP", lossless=True)
    yield "webp_1x1.webp", saved(rgb(1, 1), "WEBP")
    yield "webp_3x50.webp", saved(rgb(3, 50), "WEBP")
    alpha = [Image.fromarray(picture(73 + 8 * i, 65, 4)) for i in range(3)]
    yield "webp_lossy_alpha.webp", saved(alpha[0], "WEBP", quality=60)
    yield "webp_lossless_alpha.webp", saved(alpha[1], "WEBP", lossless=True)
    yield "webp_exact_alpha.webp", saved(alpha[2], "WEBP", lossless=True, exact=True)
    frames = [rgb(60, 44) for _ in range(3)]
    yield "webp_animated.webp", saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], quality=60)
    frames = [Image.fromarray(picture(52, 64, 4)) for _ in range(2)]
    yield "webp_animated_alpha.webp", saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    yield "webp_frame_inside.webp", first_frame_inside()


def hashed(image):
    data = image.tobytes()
    return f"{zlib.crc32(data):08x}{zlib.adler32(data):08x}"


# ---- JPEG without all its scans -------------------------------------------------------------------------------------

def cut(data, scan, share):
    """Ends inside the data of a scan, closed with an end mark, so that readers guess what is missing."""
    begin = -1
    for _ in range(scan):
        begin = data.index(b"\xff\xda", begin + 1)
    begin += 2 + data[begin + 3]
    in_scan = {0, *range(0xD0, 0xD8)}  # what follows 0xff there
    end = next(at for at in range(begin, len(data)) if data[at] == 0xFF and data[at + 1] not in in_scan)
    return data[: begin + int((end - begin) * share)] + b"\xff\xd9"


def cut_jpeg_files(whole):
    """whole: the files so far, by name."""
    cuts = [("420", 1, 0.6), ("420", 2, 0.4), ("420", 5, 0.5), ("422", 3, 0.3), ("444", 4, 0.5), ("grey", 2, 0.4),
            ("restarts", 2, 0.5)]
    for name, scan, share in cuts:
        yield f"jpeg_{name}_cut_in_scan_{scan}.jpg", cut(whole[f"jpeg_{name}_progressive.jpg"], scan, share)
    for width, height in ((16, 40), (29, 17), (24, 32)):  # two blocks of colour, or of light, across or down
        image = Image.fromarray(np.stack([waves(c, height, width) for c in range(3)], -1))
        data = saved(image, "JPEG", quality=90, progressive=True)
        yield f"jpeg_narrow_{width}x{height}_cut.jpg", cut(data, 2, 0.7)


def main():
    if int(__version__.split(".")[0]) < 13:
        sys.exit(f"Pillow {__version__} resizes tall pictures otherwise; 13 or newer is needed")
    warnings.simplefilter("ignore")  # about palettes with alpha
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    lines = []
    files = dict((*png_files(), *jpeg_files(), *webp_files(), *lossless_files()))
    files.update(cut_jpeg_files(files))
    for name, data in files.items():
        (FOLDER / name).write_bytes(data)
        image = Image.open(io.BytesIO(data)).convert("RGB")
        resized = [image.resize((side, side), Image.Resampling.BICUBIC) for side in (224, 448, 896)]
        lines.append(" ".join([name, *map(str, image.size), *map(hashed, (image, *resized))]))
    (FOLDER / "expected.txt").write_text("\n".join(lines) + "\n")
    size = sum(file.stat().st_size for file in FOLDER.iterdir())
    print(f"{len(lines)} pictures, {size} bytes, by Pillow {__version__}")


if __name__ == "__main__":
    main()

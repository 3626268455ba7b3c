#!/usr/bin/env python3
"""Makes tests/golden/processor: what transformers' two image processors make of pictures, and small files with alpha.

Needed only to change the set: Python with transformers (5.21 or newer), torch, torchvision, Pillow 13 and numpy.
Pictures: those of tests/golden/images; files with every kind of transparency, written here; and ones that both this
script and the test make from a few numbers ("made"). expected.txt has, by the first word of a line,

file NAME, made KIND SEED WIDTH HEIGHT: for 70, 224, 448 and 896 pixels in turn the CRC-32 and Adler-32 (16 hex digits
    together) of the resized RGB bytes: torchvision on white, Pillow on white, torchvision and Pillow without alpha
    (of made pictures, which are opaque, the first two). pixel_values are those bytes by the table of values: checked here.
table BACKEND NORMALISES MEAN STD RESCALE: the checksums of 256 float32, the value of each byte.
turned N: the checksums of jpeg_17x16.jpg with EXIF orientation N as Pillow's exif_transpose turns it.
"""
import io
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from transformers import SiglipImageProcessor
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

sys.path.insert(0, str(Path(__file__).resolve().parent))
from make_image_golden import ADAM7, CHANNELS, chunk, png_rows  # noqa: E402

PICTURES = Path(__file__).resolve().parent.parent / "tests" / "golden" / "images"
FOLDER = PICTURES.parent / "processor"
SIDES = (70, 224, 448, 896)
BACKENDS = {"torchvision": SiglipImageProcessor, "pillow": SiglipImageProcessorPil}
rng = np.random.default_rng(21)


def hashed(data):
    return f"{zlib.crc32(data):08x}{zlib.adler32(data):08x}"


def processor_of(backend, side, **fields):
    return BACKENDS[backend](size={"height": side, "width": side}, **fields)


def values(processor, image):
    """[height, width, 3] float32"""
    return np.asarray(processor(image, return_tensors="np")["pixel_values"])[0].transpose(1, 2, 0).astype(np.float32)


def table(backend, **fields):
    """float32 of each byte: a picture that keeps its size shows it."""
    image = Image.fromarray(np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, -1))
    return values(processor_of(backend, 16, **fields), image)[..., 0].reshape(256)


TABLES = {backend: table(backend) for backend in BACKENDS}


def resized(backend, side, image):
    floats = values(processor_of(backend, side), image)
    of_byte = TABLES[backend]
    data = (floats * 127.5 + 127.5).round().clip(0, 255).astype(np.uint8)
    assert (of_byte[data].view(np.uint32) == floats.view(np.uint32)).all()
    return hashed(data.tobytes())


# ---- files with alpha -----------------------------------------------------------------------------------------------

def png(kind, depth, width, height, extra=(), interlaced=False):
    high = 1 << depth
    pixels = rng.integers(0, high, (height, width, CHANNELS[kind]))
    pixels[: height // 2] //= max(1, high // 4)  # few colours: some are the transparent one
    passes = [pixels[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlaced else [pixels]
    data = b"".join(png_rows(part, depth) for part in passes if part.size)
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlaced))
    chunks = [chunk(b"IHDR", header), *(chunk(k, d) for k, d in extra), chunk(b"IDAT", zlib.compress(data, 9))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


def alpha_files():
    for depth, clear in ((1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 85), (4, 3), (4, 17), (8, 64), (8, 300), (16, 255), (16, 256)):
        yield f"grey{depth}_clear_{clear}.png", png(0, depth, 19, 23, [(b"tRNS", struct.pack(">H", clear))])
    for depth, clear in ((8, (0, 0, 0)), (8, (256, 512, 768)), (16, (0, 0, 0)), (16, (257, 257, 257))):
        name = "_".join(map(str, clear))
        yield f"rgb{depth}_clear_{name}.png", png(2, depth, 17, 12, [(b"tRNS", struct.pack(">HHH", *clear))])
    for depth in (1, 2, 4, 8):
        colours = rng.integers(0, 256, 3 << depth, dtype=np.uint8).tobytes()
        alpha = rng.integers(0, 256, min(200, 1 << depth), dtype=np.uint8).tobytes()
        yield f"palette{depth}_alpha.png", png(3, depth, 31, 14, [(b"PLTE", colours), (b"tRNS", alpha)], depth == 4)
    for depth in (8, 16):
        for size in ((1, 1), (40, 3), (21, 33)):
            yield f"grey_alpha{depth}_{size[0]}x{size[1]}.png", png(4, depth, *size)
            yield f"rgba{depth}_{size[0]}x{size[1]}.png", png(6, depth, *size, interlaced=size[0] == 21)
    pixels = rng.integers(0, 256, (24, 18, 4), dtype=np.uint8)
    pixels[:6, :, 3], pixels[6:12, :, 3] = 0, 255
    for name, options in (("lossless", {"lossless": True, "exact": True}), ("lossy", {"quality": 50})):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "WEBP", **options)
        yield f"webp_{name}_alpha.webp", file.getvalue()


# ---- pictures made from numbers -------------------------------------------------------------------------------------

def made(kind, seed, width, height):
    """noise: bytes of a linear congruence; hard: its highest bit as 0 or 255; stripes: of seed pixels, slanted."""
    if kind == "stripes":
        y, x = np.mgrid[0:height, 0:width]
        planes = [((x + c * y) // seed % 2 * 255) for c in range(3)]
        return np.stack(planes, -1).astype(np.uint8)
    out = bytearray(3 * width * height)
    for i in range(len(out)):
        seed = (seed * 1664525 + 1013904223) & 0xFFFFFFFF
        out[i] = seed >> 24 if kind == "noise" else 255 * (seed >> 31)
    return np.frombuffer(bytes(out), np.uint8).reshape(height, width, 3)


SIZES = [(1, 1), (1, 2), (2, 1), (1, 200), (300, 1), (3, 3), (5, 1000), (900, 7), (69, 71), (70, 70), (71, 69), (223, 225),
         (225, 223), (224, 70), (70, 224), (447, 449), (128, 600), (600, 128), (320, 240), (240, 427), (897, 99)]


def main():
    warnings.simplefilter("ignore")  # about palettes with alpha
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    for name, data in alpha_files():
        (FOLDER / name).write_bytes(data)
    lines = []
    files = [*sorted(PICTURES.glob("*.*")), *sorted(FOLDER.glob("*.*"))]
    for path in files:
        if path.suffix == ".txt":
            continue
        image = Image.open(path)
        opaque = Image.fromarray(np.array(image.convert("RGB")))  # convert alone remembers a transparent colour
        kinds = [(backend, picture) for picture in (image, opaque) for backend in BACKENDS]
        hashes = [resized(backend, side, picture) for side in SIDES for backend, picture in kinds]
        lines.append(" ".join(["file", f"{path.parent.name}/{path.name}", *hashes]))
    for i, (width, height) in enumerate(SIZES):
        for kind, seed in (("noise", i + 1), ("hard", i + 100), ("stripes", i % 7 + 1)):
            image = Image.fromarray(made(kind, seed, width, height))
            hashes = [resized(backend, side, image) for side in SIDES for backend in BACKENDS]
            lines.append(f"made {kind} {seed} {width} {height} " + " ".join(hashes))
    pictures = len(lines)
    for backend in BACKENDS:
        for normalises, mean, std, rescale in ((1, 0.5, 0.5, 1 / 255), (1, 0.48145466, 0.26862954, 1 / 255),
                                               (1, 0.25, 2.0, 1 / 127.5), (0, 0.0, 1.0, 1 / 255), (0, 0.0, 1.0, 0.007)):
            fields = {"image_mean": [mean] * 3, "image_std": [std] * 3, "rescale_factor": rescale}
            got = table(backend, do_normalize=bool(normalises), **fields)
            lines.append(f"table {backend} {normalises} {mean!r} {std!r} {rescale!r} {hashed(got.tobytes())}")
    jpeg = (PICTURES / "jpeg_17x16.jpg").read_bytes()
    for n in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = n
        body = exif.tobytes()
        app1 = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(jpeg[:2] + app1 + jpeg[2:])))
        lines.append(f"turned {n} {image.width} {image.height} {hashed(image.convert('RGB').tobytes())}")
    (FOLDER / "expected.txt").write_text("\n".join(lines) + "\n")
    print(pictures, "pictures,", sum(file.stat().st_size for file in FOLDER.iterdir()), "bytes")


if __name__ == "__main__":
    main()

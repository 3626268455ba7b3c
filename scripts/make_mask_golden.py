#!/usr/bin/env python3
"""Makes tests/golden/masks: a mask decoder with made-up weights, what it decodes, and masks as pycocotools write them.

Needed only to change the set: Python with numpy, Pillow 13 and pycocotools.

decoder.npz  the arrays of vae-oid.npz that a decoder needs, and two that it does not; each is a short run of random
             numbers over and over, so that the file packs well. savez_compressed.
decoded.npz  codes [n, 16] and what numpy makes of them in float64 by definition, decoded [n, 64, 64]. savez.
boxes.json   such masks in boxes of pictures: Pillow's resize and pycocotools' counts.
runs.json    small pictures as rows of 0 and 1, and their counts.
"""
import json
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "golden" / "masks"
rng = np.random.default_rng(16)


def made_up(shape, scale):
    """Random multiples of scale/32 in [-scale, scale), repeated after 1021 of them: a prime, so that no row is another's."""
    run = rng.integers(-32, 32, 1021) * (scale / 32)
    return np.resize(run, shape).astype(np.float32)


def make_weights():
    arrays = {"_vq_vae._embedding": made_up((128, 512), 1)}

    def add(name, shape, outs, scale):
        arrays[name + ".weight"] = made_up(shape, scale)
        arrays[name + ".bias"] = made_up((outs,), 1 / 4)

    add("decoder.0", (128, 512, 1, 1), 128, 1 / 8)
    for block in ("decoder.2.net", "decoder.3.net"):
        add(block + ".0", (128, 128, 3, 3), 128, 1 / 16)
        add(block + ".2", (128, 128, 3, 3), 128, 1 / 16)
        add(block + ".4", (128, 128, 1, 1), 128, 1 / 8)
    add("decoder.4", (128, 128, 4, 4), 128, 1 / 8)
    add("decoder.6", (128, 64, 4, 4), 64, 1 / 8)
    add("decoder.8", (64, 32, 4, 4), 32, 1 / 8)
    add("decoder.10", (32, 16, 4, 4), 16, 1 / 4)
    add("decoder.12", (1, 16, 1, 1), 1, 1 / 4)
    return arrays


def correlate(x, w, b, pad):
    """x [in, h, w], w [out, in, kh, kw]: each output pixel is the sum of a window times the kernel."""
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], (1, 2))  # [in, h, w, kh, kw]
    return np.einsum("ihwkl,oikl->ohw", windows, w) + b[:, None, None]


def correlate_transposed(x, w, b):
    """w [in, out, 4, 4], stride 2, padding 1: zeros between the pixels, then a window with the turned kernel."""
    spread = np.zeros((x.shape[0], 2 * x.shape[1] - 1, 2 * x.shape[2] - 1))
    spread[:, ::2, ::2] = x
    turned = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    return correlate(spread, turned, b, 4 - 1 - 1)


def decode(arrays, codes):
    p = {name: value.astype(np.float64) for name, value in arrays.items()}

    def layer(x, name, pad):
        return correlate(x, p[name + ".weight"], p[name + ".bias"], pad)

    relu = lambda x: np.maximum(x, 0)  # noqa: E731
    x = p["_vq_vae._embedding"][codes].reshape(4, 4, 512).transpose(2, 0, 1)
    x = relu(layer(x, "decoder.0", 0))
    for block in ("decoder.2.net", "decoder.3.net"):
        y = relu(layer(x, block + ".0", 1))
        y = relu(layer(y, block + ".2", 1))
        x = x + layer(y, block + ".4", 0)
    for name in ("decoder.4", "decoder.6", "decoder.8", "decoder.10"):
        x = relu(correlate_transposed(x, p[name + ".weight"], p[name + ".bias"]))
    return layer(x, "decoder.12", 0)[0]


def paste(decoded, size, box):
    """As PaliGemma's demo does, and then what is above the half."""
    m64 = np.clip(decoded * 0.5 + 0.5, 0, 1)
    m64 = Image.fromarray((m64 * 255).astype("uint8"))
    x1, y1, x2, y2 = box
    mask = np.zeros(size)
    mask[y1:y2, x1:x2] = np.array(m64.resize([x2 - x1, y2 - y1])) / 255.0
    return mask > 0.5


def counts(mask):
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


def make_boxes(decoded):
    cases = []
    boxes = [(640, 480, 80, 120, 560, 360), (64, 64, 0, 0, 64, 64), (100, 90, 3, 5, 67, 69), (50, 70, 10, 20, 11, 21),
             (333, 500, 0, 0, 333, 500), (300, 40, 10, 30, 290, 35), (40, 300, 30, 10, 33, 290), (400, 20, 0, 2, 400, 15),
             (1500, 1001, 7, 9, 1490, 993), (64, 200, 0, 10, 64, 150), (200, 64, 10, 0, 150, 64), (48, 48, 8, 8, 40, 40), (30, 20, 29, 0, 30, 20),
             (600, 400, 47, 253, 122, 347)]
    for i, (width, height, *box) in enumerate(boxes):
        which = i % len(decoded)
        mask = paste(decoded[which], (height, width), box)
        cases.append({"mask": which, "size": [height, width], "box": box, "area": int(mask.sum()), "counts": counts(mask)})
    return cases


def make_runs():
    pictures = [np.zeros((1, 1)), np.ones((1, 1)), np.zeros((3, 5)), np.ones((3, 5)), np.eye(4), 1 - np.eye(4),
                np.arange(2000).reshape(1, 2000) % 977 > 3, np.arange(1200).reshape(40, 30) > 700]
    for height, width, share in [(7, 5, 0.5), (1, 40, 0.3), (40, 1, 0.7), (13, 17, 0.1), (20, 20, 0.9), (33, 9, 0.5)]:
        pictures.append(rng.random((height, width)) < share)
    rows = lambda picture: ["".join("01"[int(v)] for v in row) for row in picture]  # noqa: E731
    return [{"rows": rows(p), "area": int(p.sum()), "counts": counts(p)} for p in map(np.asarray, pictures)]


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    arrays = make_weights()
    # The last ones are those of tests/system/masks.sh.
    told = [3, 14, 15, 92, 65, 35, 89, 79, 32, 38, 46, 26, 43, 38, 32, 79]
    codes = np.stack([rng.integers(0, 128, 16) for _ in range(4)] + [np.full(16, 127), np.arange(16), np.array(told)])
    spread = np.std([decode(arrays, c) for c in codes])
    # Half of the pixels in, half of them out, and some beyond what is clipped.
    arrays["decoder.12.weight"] = (arrays["decoder.12.weight"] * 2.0 ** -np.round(np.log2(spread))).astype(np.float32)
    arrays["decoder.12.bias"][:] = 0
    arrays["decoder.12.bias"][:] = -np.median([decode(arrays, c) for c in codes])
    decoded = np.stack([decode(arrays, c) for c in codes]).astype(np.float32)
    print("decoded:", decoded.min(), decoded.max(), decoded.std(), (decoded > 0).mean())
    arrays["_vq_vae._ema_cluster_size"] = made_up((128,), 1)
    arrays["encoder.0.bias"] = made_up((16,), 1)
    np.savez_compressed(FOLDER / "decoder.npz", **arrays)
    np.savez(FOLDER / "decoded.npz", codes=codes.astype(np.float32), decoded=decoded)
    for name, cases in [("boxes.json", make_boxes(decoded)), ("runs.json", make_runs())]:
        lines = ",\n".join(json.dumps(case) for case in cases)
        (FOLDER / name).write_text("[\n" + lines + "\n]\n")


if __name__ == "__main__":
    main()

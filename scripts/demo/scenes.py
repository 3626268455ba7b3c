"""The demo's little landscapes: what is in a scene, how it is told, and how it is drawn.

A scene is a plain dictionary, so that caption, boxes and picture always come from the same facts:
{"ground", "time", "items": [{"kind", "color", "x", "y", "size", "box"}]}, boxes as fractions of the picture.
Needs numpy and Pillow only.
"""

import math

import numpy as np
from PIL import Image

from . import drawing

TIMES = ["day", "sunset", "night"]
GROUNDS = ["meadow", "snow", "beach", "sea"]
COLORS = ["red", "blue", "yellow", "white", "green", "purple", "orange", "black"]
ITEM_COLORS = {
    "house": ["red", "blue", "yellow", "white"],
    "boat": ["red", "yellow", "white", "green"],
    "umbrella": ["red", "blue", "yellow", "green"],
    "balloon": ["red", "yellow", "green", "purple"],
    "cat": ["orange", "white", "black"],
}
GROUND_KINDS = {
    "meadow": ["house", "tree", "cat"],
    "snow": ["house", "pine", "snowman"],
    "beach": ["palm", "umbrella", "cat"],
    "sea": ["boat", "whale"],
}
SKY_KINDS = ["balloon", "cloud", "sun", "moon"]
KINDS = ["house", "tree", "cat", "pine", "snowman", "palm", "umbrella", "boat", "whale"] + SKY_KINDS
PLURALS = {"snowman": "snowmen"}
# Height as a share of the shorter side, from and to.
SIZES = {
    "house": (0.24, 0.32), "tree": (0.24, 0.32), "cat": (0.17, 0.23), "pine": (0.24, 0.32),
    "snowman": (0.20, 0.28), "palm": (0.26, 0.33), "umbrella": (0.20, 0.27), "boat": (0.22, 0.30),
    "whale": (0.16, 0.20), "balloon": (0.22, 0.29), "cloud": (0.10, 0.13), "sun": (0.14, 0.19), "moon": (0.13, 0.18),
}
PLACES = {"meadow": "on a meadow", "snow": "in the snow", "beach": "on a beach", "sea": "at sea"}
EMPTY = {"meadow": "a quiet meadow", "snow": "a snowy field", "beach": "an empty beach", "sea": "a calm sea"}
WHEN = {"day": "by day", "sunset": "at sunset", "night": "at night"}
NUMBERS = ["no", "one", "two", "three"]
SIDES = ["on the left", "in the middle", "on the right"]


def plural(kind):
    return PLURALS.get(kind, kind + "s")


def make_scene(rng, width, height):
    """Chooses a scene for a picture of that many pixels; `rng` is a numpy Generator."""
    time = TIMES[rng.integers(3)]
    ground = GROUNDS[rng.integers(4)]
    horizon = float(rng.uniform(0.52, 0.60))
    items = []
    count = rng.choice(4, p=[0.07, 0.30, 0.35, 0.28])
    repeated = None
    for slot in sorted(rng.permutation(3)[:count]):
        kinds = GROUND_KINDS[ground]
        item = repeated if repeated and rng.random() < 0.35 else {"kind": kinds[rng.integers(len(kinds))]}
        repeated = _place(rng, item, slot, float(rng.uniform(0.72, 0.93)), width, height, items)
    lights = 1
    count = rng.choice(3, p=[0.2, 0.45, 0.35])
    for slot in sorted(rng.permutation(3)[:count]):
        kinds = ["balloon", "cloud"] + ["moon" if time == "night" else "sun"] * lights
        kind = kinds[rng.integers(len(kinds))]
        lights -= kind in ("sun", "moon")
        _place(rng, {"kind": kind}, slot, float(rng.uniform(0.06, 0.18)), width, height, items)
    return {"time": time, "ground": ground, "horizon": horizon, "items": items, "look": int(rng.integers(1 << 30))}


def _place(rng, like, slot, y, width, height, items):
    kind = like["kind"]
    colors = ITEM_COLORS.get(kind)
    color = like.get("color") or (colors[rng.integers(len(colors))] if colors else None)
    item = {"kind": kind, "color": color, "x": (slot + 0.5) / 3 + float(rng.uniform(-0.04, 0.04)), "y": y,
            "size": float(rng.uniform(*SIZES[kind])), "flip": bool(rng.random() < 0.5)}
    item["box"] = _box(item, width, height)
    items.append(item)
    return item


def _box(item, width, height):
    """The item's box (x0, y0, x1, y1) as fractions: sky things hang from y, all others stand on it."""
    tall = item["size"] * min(width, height)
    wide = tall * drawing.ASPECTS[item["kind"]]
    x = item["x"] * width
    y = item["y"] * height
    top = y if item["kind"] in SKY_KINDS else y - tall
    return [(x - wide / 2) / width, top / height, (x + wide / 2) / width, (top + tall) / height]


def render(scene, width, height, smooth=2):
    """Draws the scene; `smooth` is how many times larger it is drawn before it is averaged down."""
    canvas = drawing.background(scene, width * smooth, height * smooth)
    for item in sorted(scene["items"], key=lambda i: i["y"]):
        box = [v * (width, height)[i % 2] * smooth for i, v in enumerate(item["box"])]
        drawing.draw_item(canvas, item, box, scene["time"])
    return canvas.reduce(smooth) if smooth > 1 else canvas


def _article(words):
    return ("an " if words[0] in "aeiou" else "a ") + words


def _listing(items):
    """Left to right; equal things are told together where the first of them stands."""
    groups = {}
    for item in sorted(items, key=lambda i: i["x"]):
        groups.setdefault((item["kind"], item["color"]), []).append(item)
    parts = []
    for (kind, color), members in groups.items():
        paint = color + " " if color else ""
        if kind in ("sun", "moon"):
            parts.append("the " + kind)
        elif len(members) == 1:
            parts.append(_article(paint + kind))
        else:
            parts.append(f"{NUMBERS[len(members)]} {paint}{plural(kind)}")
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def on_ground(scene):
    return [i for i in scene["items"] if i["kind"] not in SKY_KINDS]


def in_sky(scene):
    return [i for i in scene["items"] if i["kind"] in SKY_KINDS]


def caption(scene):
    ground, sky = on_ground(scene), in_sky(scene)
    told = f"{_listing(ground)} {PLACES[scene['ground']]}" if ground else EMPTY[scene["ground"]]
    told += " " + WHEN[scene["time"]]
    return told + (" under " + _listing(sky) if sky else "")


def of_kind(scene, kind):
    return sorted((i for i in scene["items"] if i["kind"] == kind), key=lambda i: i["x"])


def loc_bin(fraction):
    """The <loc> number of a coordinate: every eighth one is used, 128 levels."""
    return 8 * min(127, max(0, math.floor(fraction * 128 + 0.5)))


def detection(scene, kind):
    """The text that answers `detect kind`: boxes as y0 x0 y1 x1, left to right; nothing when there is none."""
    parts = []
    for item in of_kind(scene, kind):
        x0, y0, x1, y1 = item["box"]
        parts.append("".join(f"<loc{loc_bin(v):04d}>" for v in (y0, x0, y1, x1)) + " " + kind)
    return " ; ".join(parts)


def questions(scene):
    """Every question that has one true answer in this scene, as (prompt, answer)."""
    sky = in_sky(scene)
    asked = [("what time of day is it?", scene["time"]),
             ("what is in the sky?", _listing(sky) if sky else "nothing")]
    for kind in KINDS:
        found = of_kind(scene, kind)
        if kind not in ("sun", "moon"):
            asked.append((f"how many {plural(kind)} are there?", str(len(found))))
        if len(found) == 1:
            asked.append((f"where is the {kind}?", SIDES[min(2, int(found[0]["x"] * 3))]))
            if found[0]["color"]:
                asked.append((f"what color is the {kind}?", found[0]["color"]))
    return [("answer en " + question, answer) for question, answer in asked]


def mirrored(scene):
    """The same scene seen in a mirror, for a second picture at no cost."""
    items = [dict(i, x=1 - i["x"], box=[1 - i["box"][2], i["box"][1], 1 - i["box"][0], i["box"][3]])
             for i in scene["items"]]
    return dict(scene, items=items)


def pixels(scene, width, height, side, smooth=1):
    """The drawn scene at the model's resolution, as uint8 [side, side, 3]."""
    return np.asarray(render(scene, width, height, smooth).resize((side, side), Image.BICUBIC))

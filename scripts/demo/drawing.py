"""Draws a scene's background and items with Pillow; every item fills its box exactly."""

import numpy as np
from PIL import Image, ImageDraw

# Width over height of every kind of item.
ASPECTS = {
    "house": 0.95, "tree": 0.72, "cat": 0.80, "pine": 0.62, "snowman": 0.58, "palm": 0.85, "umbrella": 1.05,
    "boat": 0.85, "whale": 1.45, "balloon": 0.70, "cloud": 1.95, "sun": 1.0, "moon": 1.0,
}
PAINT = {
    "red": (205, 45, 45), "blue": (50, 95, 215), "yellow": (245, 205, 50), "white": (245, 245, 240),
    "green": (45, 165, 75), "purple": (145, 65, 190), "orange": (235, 135, 40), "black": (35, 33, 38),
}
SKIES = {
    "day": ((105, 180, 240), (200, 230, 250)),
    "sunset": ((110, 75, 140), (250, 165, 95)),
    "night": ((12, 18, 52), (48, 62, 115)),
}
EARTH = {"meadow": (112, 180, 84), "snow": (232, 238, 246), "beach": (236, 214, 158), "sea": (45, 125, 185)}
LIGHT = {"day": (1.0, 1.0, 1.0), "sunset": (0.98, 0.82, 0.76), "night": (0.46, 0.52, 0.70)}
INK = (60, 50, 55)


def _lit(color, time):
    return tuple(int(c * l) for c, l in zip(color, LIGHT[time]))


def _blend(a, b, share):
    return tuple(int(x + (y - x) * share) for x, y in zip(a, b))


def _gradient(top, bottom, width, height):
    rows = np.linspace(0, 1, max(2, height))[:, None]
    column = np.asarray(top) * (1 - rows) + np.asarray(bottom) * rows
    return Image.fromarray(column.astype(np.uint8)[:, None, :]).resize((width, height), Image.NEAREST)


def background(scene, width, height):
    """Sky, far hills, ground and small ornaments; nothing that a caption speaks of by itself."""
    rng = np.random.default_rng(scene["look"])
    time, ground = scene["time"], scene["ground"]
    horizon = int(scene["horizon"] * height)
    tint = rng.uniform(-10, 10, 3)
    sky = [np.clip(np.asarray(c) + tint, 0, 255) for c in SKIES[time]]
    canvas = Image.new("RGB", (width, height))
    canvas.paste(_gradient(sky[0], sky[1], width, horizon), (0, 0))
    earth = np.clip(np.asarray(_lit(EARTH[ground], time)) + rng.uniform(-8, 8, 3), 0, 255)
    canvas.paste(_gradient(earth * 0.92, np.minimum(earth * 1.04, 255), width, height - horizon), (0, horizon))
    draw = ImageDraw.Draw(canvas)
    unit = min(width, height)
    if time == "night":
        for x, y in zip(rng.uniform(0, width, 26), rng.uniform(0, horizon, 26)):
            r = unit * rng.uniform(0.0018, 0.004)
            draw.ellipse((x - r, y - r, x + r, y + r), fill=(225, 225, 240))
    if ground in ("meadow", "snow"):
        far = _blend(tuple(int(v) for v in earth), tuple(int(v) for v in sky[1]), 0.45)
        for x in rng.uniform(-0.1, 1.1, 3):
            wide, tall = unit * rng.uniform(0.35, 0.6), unit * rng.uniform(0.04, 0.10)
            draw.pieslice((x * width - wide, horizon - tall, x * width + wide, horizon + tall), 180, 360, fill=far)
    if ground == "beach":
        band = int(height * rng.uniform(0.05, 0.08))
        draw.rectangle((0, horizon, width, horizon + band), fill=_lit(EARTH["sea"], time))
    _ornaments(draw, rng, ground, tuple(int(v) for v in earth), width, height, horizon, unit)
    return canvas


def _ornaments(draw, rng, ground, earth, width, height, horizon, unit):
    line = max(1, int(unit * 0.006))
    darker, lighter = _blend(earth, (0, 0, 0), 0.22), _blend(earth, (255, 255, 255), 0.35)
    low = horizon + 0.09 * height
    for x, y in zip(rng.uniform(0, width, 16), rng.uniform(low, height, 16)):
        r = unit * rng.uniform(0.010, 0.018)
        if ground == "meadow":
            draw.line((x, y, x - r / 2, y - r, x, y, x + r / 2, y - r), fill=darker, width=line)
        elif ground == "sea":
            draw.arc((x - 2 * r, y - r, x + 2 * r, y + r), 200, 340, fill=lighter, width=line)
        else:
            draw.ellipse((x - r, y - r / 4, x + r, y + r / 4), fill=darker if ground == "beach" else lighter)


class Pen:
    """Draws in an item's own coordinates: (0, 0) is its box's upper left corner, (1, 1) the lower right one."""

    def __init__(self, canvas, box, flip):
        self.draw = ImageDraw.Draw(canvas)
        self.box = box
        self.flip = flip
        self.ink = max(1, round((box[3] - box[1]) * 0.02))

    def at(self, x, y):
        x0, y0, x1, y1 = self.box
        return (x0 + (1 - x if self.flip else x) * (x1 - x0), y0 + y * (y1 - y0))

    def area(self, x0, y0, x1, y1):
        a, b = self.at(x0, y0), self.at(x1, y1)
        return [min(a[0], b[0]), a[1], max(a[0], b[0]), b[1]]

    def oval(self, x0, y0, x1, y1, fill, outline=None):
        self.draw.ellipse(self.area(x0, y0, x1, y1), fill=fill, outline=outline, width=self.ink)

    def rect(self, x0, y0, x1, y1, fill, outline=None):
        self.draw.rectangle(self.area(x0, y0, x1, y1), fill=fill, outline=outline, width=self.ink)

    def poly(self, points, fill, outline=None):
        self.draw.polygon([self.at(x, y) for x, y in points], fill=fill, outline=outline, width=self.ink)

    def line(self, points, fill, width):
        pixels = max(1, round(width * (self.box[3] - self.box[1])))
        self.draw.line([self.at(x, y) for x, y in points], fill=fill, width=pixels, joint="curve")


def draw_item(canvas, item, box, time):
    pen = Pen(canvas, box, item["flip"])
    base = PAINT.get(item["color"])
    # Things keep most of their color in the dark, so that its name stays true.
    shade = 0.25 if time == "night" else 0.1
    color = _blend(base, _lit(base, time), shade) if base else None
    DRAWERS[item["kind"]](pen, color, time)


def _house(pen, color, time):
    roof = (120, 72, 58) if time != "night" else (92, 58, 56)
    glass = (255, 225, 120) if time != "day" else (170, 215, 235)
    pen.rect(0.08, 0.40, 0.92, 1, color, INK)
    pen.poly([(0, 0.42), (0.5, 0), (1, 0.42)], roof, INK)
    pen.rect(0.20, 0.62, 0.42, 1, (96, 62, 44), INK)
    pen.rect(0.57, 0.55, 0.80, 0.78, glass, INK)


def _tree(pen, color, time):
    leaf = (48, 128, 58) if time != "night" else (18, 56, 40)
    pen.rect(0.40, 0.60, 0.60, 1, (112, 76, 48))
    pen.oval(0, 0.28, 0.62, 0.74, leaf)
    pen.oval(0.38, 0.28, 1, 0.74, leaf)
    pen.oval(0.14, 0, 0.86, 0.56, leaf)


def _pine(pen, color, time):
    leaf = (30, 98, 74) if time != "night" else (18, 60, 58)
    pen.rect(0.42, 0.84, 0.58, 1, (102, 70, 48))
    for top, bottom, half in ((0.40, 0.88, 0.5), (0.20, 0.64, 0.40), (0, 0.40, 0.29)):
        pen.poly([(0.5 - half, bottom), (0.5, top), (0.5 + half, bottom)], leaf)
    pen.poly([(0.40, 0.14), (0.5, 0), (0.60, 0.14)], (240, 244, 250))


def _cat(pen, color, time):
    eye = (120, 220, 90) if sum(color) < 400 else (50, 90, 50)
    pen.line([(0.70, 0.93), (0.92, 0.86), (0.94, 0.60)], color, 0.09)
    pen.oval(0.14, 0.40, 0.82, 1, color, INK)
    pen.poly([(0.06, 0), (0.10, 0.30), (0.36, 0.14)], color, INK)
    pen.poly([(0.74, 0), (0.70, 0.30), (0.44, 0.14)], color, INK)
    pen.oval(0.04, 0.08, 0.76, 0.56, color, INK)
    pen.oval(0.19, 0.25, 0.32, 0.36, eye)
    pen.oval(0.48, 0.25, 0.61, 0.36, eye)
    pen.poly([(0.36, 0.40), (0.44, 0.40), (0.40, 0.45)], (230, 130, 140))
    pen.rect(0.92, 0.56, 1, 0.62, color)


def _snowman(pen, color, time):
    snow = (250, 250, 252) if time != "night" else (205, 212, 232)
    pen.oval(0, 0.52, 1, 1, snow, INK)
    pen.oval(0.16, 0.20, 0.84, 0.60, snow, INK)
    pen.rect(0.26, 0, 0.74, 0.20, (45, 42, 50))
    pen.rect(0.12, 0.19, 0.88, 0.24, (45, 42, 50))
    pen.oval(0.32, 0.31, 0.40, 0.36, (30, 30, 30))
    pen.oval(0.60, 0.31, 0.68, 0.36, (30, 30, 30))
    pen.poly([(0.48, 0.38), (0.48, 0.44), (0.80, 0.42)], (240, 130, 40))
    pen.rect(0.18, 0.50, 0.82, 0.57, (200, 50, 50))


def _palm(pen, color, time):
    leaf = (52, 142, 70) if time != "night" else (32, 92, 62)
    pen.line([(0.36, 1), (0.42, 0.70), (0.50, 0.30)], (134, 96, 60), 0.08)
    for tip, bend in (((0, 0.42), (0.14, 0.06)), ((1, 0.42), (0.86, 0.06)), ((0.10, 0.66), (0.20, 0.26)),
                      ((0.90, 0.66), (0.80, 0.26)), ((0.26, 0), (0.40, 0)), ((0.74, 0), (0.60, 0))):
        pen.poly([(0.50, 0.24), bend, tip, (0.5 + (bend[0] - 0.5) * 0.55, bend[1] + 0.18)], leaf)
    pen.oval(0.43, 0.26, 0.53, 0.36, (110, 74, 44))


def _umbrella(pen, color, time):
    pale = _blend((250, 246, 236), _lit((250, 246, 236), time), 0.3)
    pen.rect(0.48, 0.30, 0.52, 1, (128, 100, 76))
    box = pen.area(0, 0, 1, 1.0)
    for start, fill in ((180, color), (218, pale), (244, color), (296, pale), (322, color)):
        end = {180: 218, 218: 244, 244: 296, 296: 322, 322: 360}[start]
        pen.draw.pieslice(box, start, end, fill=fill)
    pen.draw.arc(box, 180, 360, fill=INK, width=pen.ink)


def _boat(pen, color, time):
    pen.rect(0.46, 0.04, 0.50, 0.80, (96, 72, 56))
    pen.poly([(0.53, 0), (0.53, 0.68), (0.98, 0.68)], color, INK)
    pen.poly([(0.43, 0.14), (0.43, 0.68), (0.08, 0.68)], color, INK)
    pen.poly([(0, 0.75), (1, 0.75), (0.82, 1), (0.16, 1)], (122, 80, 54), INK)


def _whale(pen, color, time):
    skin = (86, 104, 134) if time != "night" else (58, 72, 102)
    spray = (215, 236, 248)
    pen.line([(0.30, 0.36), (0.30, 0.10), (0.20, 0.04)], spray, 0.06)
    pen.line([(0.30, 0.36), (0.30, 0.10), (0.40, 0.04)], spray, 0.06)
    pen.rect(0.18, 0, 0.24, 0.08, spray)
    pen.rect(0.36, 0, 0.42, 0.08, spray)
    pen.poly([(0.66, 0.80), (0.86, 0.56), (0.80, 0.30), (0.90, 0.38), (1, 0.26), (0.97, 0.60), (0.78, 0.96)], skin)
    pen.draw.pieslice(pen.area(0, 0.34, 0.84, 1.66), 180, 360, fill=skin)
    pen.oval(0.14, 0.62, 0.20, 0.71, (240, 240, 240))
    pen.line([(0.03, 0.86), (0.22, 0.88)], (220, 226, 236), 0.04)


def _balloon(pen, color, time):
    pale = _blend(color, (255, 255, 255), 0.45)
    pen.line([(0.20, 0.55), (0.40, 0.86)], INK, 0.015)
    pen.line([(0.80, 0.55), (0.60, 0.86)], INK, 0.015)
    pen.poly([(0.05, 0.46), (0.95, 0.46), (0.60, 0.78), (0.40, 0.78)], color)
    pen.oval(0, 0, 1, 0.70, color, INK)
    pen.oval(0.34, 0.01, 0.66, 0.69, pale)
    pen.rect(0.36, 0.84, 0.64, 1, (132, 90, 58), INK)


def _cloud(pen, color, time):
    white = {"day": (252, 253, 255), "sunset": (250, 214, 202), "night": (136, 146, 176)}[time]
    pen.oval(0, 0.36, 0.44, 1, white)
    pen.oval(0.56, 0.36, 1, 1, white)
    pen.oval(0.18, 0, 0.66, 0.86, white)
    pen.oval(0.44, 0.14, 0.84, 0.90, white)
    pen.rect(0.22, 0.60, 0.78, 1, white)


def _sun(pen, color, time):
    gold = (255, 222, 70) if time == "day" else (255, 150, 60)
    for angle in np.arange(12) * np.pi / 6:
        x, y = np.cos(angle), np.sin(angle)
        pen.poly([(0.5 + 0.5 * x, 0.5 + 0.5 * y), (0.5 + 0.36 * x - 0.10 * y, 0.5 + 0.36 * y + 0.10 * x),
                  (0.5 + 0.36 * x + 0.10 * y, 0.5 + 0.36 * y - 0.10 * x)], gold)
    pen.oval(0.14, 0.14, 0.86, 0.86, gold)


def _moon(pen, color, time):
    pen.oval(0, 0, 1, 1, (244, 238, 205))
    for x, y, r in ((0.36, 0.34, 0.11), (0.64, 0.52, 0.14), (0.38, 0.70, 0.08)):
        pen.oval(x - r, y - r, x + r, y + r, (216, 208, 176))


DRAWERS = {
    "house": _house, "tree": _tree, "pine": _pine, "cat": _cat, "snowman": _snowman, "palm": _palm,
    "umbrella": _umbrella, "boat": _boat, "whale": _whale, "balloon": _balloon, "cloud": _cloud, "sun": _sun,
    "moon": _moon,
}

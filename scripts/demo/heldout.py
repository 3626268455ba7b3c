"""Pictures for checking: fresh scenes at real sizes, as PNG and JPEG, with their truth beside them."""

import json
import os

import numpy as np

from . import scenes

SHAPES = [(448, 448), (640, 480), (512, 512), (600, 400), (480, 600), (576, 448)]
# Training seeds are far below this, so no picture drawn here was trained on.
FIRST_SEED = 1500000


def pictures(count, seed):
    """Yields (name, (width, height), scene) for `count` held-out scenes."""
    rng = np.random.default_rng(FIRST_SEED + seed)
    for i in range(count):
        width, height = SHAPES[rng.integers(len(SHAPES))]
        scene = scenes.make_scene(rng, width, height)
        yield f"scene{i:04d}.{'png' if rng.random() < 0.4 else 'jpg'}", (width, height), scene


def save(scene, size, path):
    image = scenes.render(scene, *size)
    if path.endswith(".jpg"):
        image.save(path, quality=84)
    else:
        image.save(path, optimize=True)


def pixel_boxes(scene, kind, size):
    return [{"label": kind, "xyxy": [round(v * size[k % 2], 1) for k, v in enumerate(item["box"])]}
            for item in scenes.of_kind(scene, kind)]


def truths(name, size, scene, rng):
    """The caption, one detection and two questions of a scene, as lines of truth.jsonl."""
    present = sorted({i["kind"] for i in scene["items"]}) or ["cloud"]
    kind = present[rng.integers(len(present))]
    asked = scenes.questions(scene)
    # Most "how many" questions have the answer 0; one in six of them is enough.
    telling = [q for q in asked if q[1] != "0" or rng.random() < 0.16]
    chosen = [telling[i] for i in rng.permutation(len(telling))[:2]]
    lines = [{"image": name, "prompt": "caption en", "expect": scenes.caption(scene), "boxes": []},
             {"image": name, "prompt": "detect " + kind, "expect": None, "boxes": pixel_boxes(scene, kind, size)}]
    return lines + [{"image": name, "prompt": p, "expect": a, "boxes": []} for p, a in chosen]


def write_lines(folder, name, lines):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as out:
        out.writelines(json.dumps(line) + "\n" for line in lines)


def draw(count, seed, folder):
    """Writes the pictures, truth.jsonl, and prompts.jsonl, the same prompts as an input manifest."""
    os.makedirs(folder, exist_ok=True)
    rng = np.random.default_rng(seed)
    lines = []
    for name, size, scene in pictures(count, seed):
        save(scene, size, os.path.join(folder, name))
        lines += truths(name, size, scene, rng)
    write_lines(folder, "truth.jsonl", lines)
    asked = [{"image": line["image"], "prompt": line["prompt"], "id": line["image"]} for line in lines]
    write_lines(folder, "prompts.jsonl", asked)
    print(f"{count} pictures, truth.jsonl and prompts.jsonl in {folder}")


def samples(seed, folder):
    """Writes one picture for each place and time, together showing every kind of thing; captions.jsonl with all their
    truth; and prompts.jsonl, an input manifest with one detection and one question a picture."""
    os.makedirs(folder, exist_ok=True)
    rng, places, seen, told, asked = np.random.default_rng(seed), set(), set(), [], []
    for name, size, scene in pictures(2000, seed):
        place, things = (scene["ground"], scene["time"]), {(i["kind"], i["color"]) for i in scene["items"]}
        if place in places or len(scene["items"]) < 4 or len(things - seen) < 2 - len(places) // 10:
            continue
        places.add(place)
        seen |= things
        name = "-".join(place) + name[-4:]
        save(scene, size, os.path.join(folder, name))
        questions = [q for q in scenes.questions(scene) if q[1] != "0" or rng.random() < 0.1]
        boxes = [b for kind in scenes.KINDS for b in pixel_boxes(scene, kind, size)]
        told.append({"image": name, "caption": scenes.caption(scene), "boxes": boxes,
                     "questions": [{"prompt": p, "answer": a} for p, a in questions]})
        # The first two questions are the same everywhere; one of the others tells more.
        for prompt in ("detect " + boxes[0]["label"], questions[2 + rng.integers(len(questions) - 2)][0]):
            asked.append({"image": name, "prompt": prompt, "id": name})
    write_lines(folder, "captions.jsonl", told)
    write_lines(folder, "prompts.jsonl", asked)
    missing = sorted(set(scenes.KINDS) - {kind for kind, _ in seen})
    print(f"{len(places)} pictures, captions.jsonl and prompts.jsonl in {folder}; not shown: {missing or 'nothing'}")

"""Compares records with the truth. Plain Python, no packages."""

import json
import os


def read_lines(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def overlap(a, b):
    """Intersection over union of two boxes x0, y0, x1, y1."""
    wide, tall = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(0.0, wide) * max(0.0, tall)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / union if union > 0 else 0.0


def match(true, found):
    """For every true box the overlap with the found box given to it: best pairs first, one to one, equal labels."""
    pairs = sorted(((overlap(t["xyxy"], f["xyxy"]), i, j) for i, t in enumerate(true) for j, f in enumerate(found)
                    if t["label"] == f["label"]), reverse=True)
    best, taken, used = [0.0] * len(true), set(), set()
    for share, i, j in pairs:
        if i not in taken and j not in used:
            best[i] = share
            taken.add(i)
            used.add(j)
    return best


class Tally:
    def __init__(self):
        self.right, self.asked, self.wrong = {}, {}, []

    def count(self, task, right, line):
        self.asked[task] = self.asked.get(task, 0) + 1
        self.right[task] = self.right.get(task, 0) + bool(right)
        if not right:
            self.wrong.append(line)

    def share(self, task):
        return self.right.get(task, 0) / max(1, self.asked.get(task, 0))


def run(truth_file, record_files, show=5):
    """Prints the shares; returns 0 when at least 90 % of captions and of answers are fully right, 90 % of the true
    boxes are found (overlap of a half or more) and their mean overlap is 0.7 or more, else 1. A task that no record
    has (captions only, say) is left out; in the others a missing record is a wrong one."""
    records = {(os.path.basename(r["key"]), r["prompt"].strip()): r for f in record_files for r in read_lines(f)}
    tasks = {prompt.split(" ")[0] for _, prompt in records}
    tally, overlaps, extra = Tally(), [], 0
    for line in read_lines(truth_file):
        task = line["prompt"].split(" ")[0]
        if task not in tasks:
            continue
        record = records.get((os.path.basename(line["image"]), line["prompt"]))
        answered = record is not None and not record.get("error")
        text = record.get("text", "").strip() if answered else "(no record)"
        if task == "detect":
            found = record["boxes"] if answered else []
            shares = match(line["boxes"], found)
            overlaps += shares
            extra += max(0, len(found) - len(line["boxes"]))
            right = len(found) == len(line["boxes"]) and all(s >= 0.5 for s in shares)
        else:
            right = text == line["expect"]
        true = line["expect"] if task != "detect" else line["boxes"]
        tally.count(task, right, f"{line['image']}  {line['prompt']}\n    true: {true}\n    told: {text}")
    return report(tally, overlaps, extra, show)


def report(tally, overlaps, extra, show):
    good = bool(tally.asked)
    for line in tally.wrong[:show]:
        print(line)
    for task in ("caption", "answer", "detect"):
        if task in tally.asked:
            print(f"{task:8} fully right {tally.right[task]} of {tally.asked[task]} ({100 * tally.share(task):.1f} %)")
            good = good and (task == "detect" or tally.share(task) >= 0.9)
    if overlaps:
        recall, mean = sum(s >= 0.5 for s in overlaps) / len(overlaps), sum(overlaps) / len(overlaps)
        print(f"boxes    mean IoU {mean:.3f}, found {100 * recall:.1f} % of {len(overlaps)}, {extra} too many")
        good = good and recall >= 0.9 and mean >= 0.7
    print("good" if good else "NOT good: 90 % of captions, answers and boxes and a mean IoU of 0.7 are asked for")
    return 0 if good else 1

"""Tests of the demo's scoring: plain Python, run as `python3 tests/demo/score_test.py`."""

import contextlib
import io
import json
import os
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts"))

from demo import score  # noqa: E402

SAMPLES = os.path.join(ROOT, "configs", "demo", "samples")


def box(label, *xyxy):
    return {"label": label, "xyxy": list(xyxy)}


def record(key, prompt, text="", boxes=(), error=None):
    return {"key": key, "prompt": prompt, "text": text, "boxes": list(boxes), "error": error, "status": "ok"}


class Overlap(unittest.TestCase):
    def test_equal_half_and_apart(self):
        self.assertEqual(score.overlap([0, 0, 2, 2], [0, 0, 2, 2]), 1.0)
        self.assertAlmostEqual(score.overlap([0, 0, 2, 2], [1, 0, 3, 2]), 2 / 6)
        self.assertEqual(score.overlap([0, 0, 1, 1], [2, 2, 3, 3]), 0.0)

    def test_each_found_box_serves_once(self):
        true = [box("cat", 0, 0, 10, 10), box("cat", 0, 0, 10, 8)]
        self.assertEqual(score.match(true, [box("cat", 0, 0, 10, 10)]), [1.0, 0.0])

    def test_labels_must_be_equal(self):
        self.assertEqual(score.match([box("cat", 0, 0, 1, 1)], [box("tree", 0, 0, 1, 1)]), [0.0])


class Run(unittest.TestCase):
    TRUTH = [{"image": "a.png", "prompt": "caption en", "expect": "a tree", "boxes": []},
             {"image": "a.png", "prompt": "detect tree", "expect": None, "boxes": [box("tree", 0, 0, 8, 8)]}]

    def run_score(self, *files):
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for i, lines in enumerate((self.TRUTH, *files)):
                paths.append(os.path.join(folder, f"{i}.jsonl"))
                with open(paths[-1], "w") as out:
                    out.writelines(json.dumps(line) + "\n" for line in lines)
            with contextlib.redirect_stdout(io.StringIO()) as told:
                code = score.run(paths[0], paths[1:])
        return code, told.getvalue()

    def test_right_records_of_several_files_pass(self):
        found = [box("tree", 0, 0, 8, 7)]
        code, told = self.run_score([record("a.png", "caption en", "a tree")],
                                    [record("a.png", "detect tree", "", found)])
        self.assertEqual(code, 0, told)
        self.assertIn("mean IoU 0.875", told)

    def test_wrong_caption_fails(self):
        self.assertEqual(self.run_score([record("a.png", "caption en", "a tree and a cat")])[0], 1)

    def test_an_error_is_not_right(self):
        self.assertEqual(self.run_score([record("a.png", "caption en", "a tree", error="broken")])[0], 1)

    def test_far_boxes_fail(self):
        self.assertEqual(self.run_score([record("a.png", "detect tree", "", [box("tree", 6, 6, 14, 14)])])[0], 1)

    def test_no_records_fail(self):
        self.assertEqual(self.run_score([])[0], 1)

    def test_a_missing_record_counts_as_wrong(self):
        code, told = self.run_score([record("other.png", "caption en", "a tree")])
        self.assertEqual(code, 1)
        self.assertIn("(no record)", told)


class Samples(unittest.TestCase):
    def test_every_sample_is_there_with_boxes_and_questions(self):
        lines = score.read_lines(os.path.join(SAMPLES, "captions.jsonl"))
        self.assertEqual(len(lines), 12)
        for line in lines:
            path = os.path.join(SAMPLES, line["image"])
            self.assertTrue(0 < os.path.getsize(path) <= 30000, path)
            self.assertTrue(line["caption"] and line["boxes"] and line["questions"], path)
            for item in line["boxes"]:
                x0, y0, x1, y1 = item["xyxy"]
                self.assertTrue(0 <= x0 < x1 <= 640 and 0 <= y0 < y1 <= 640, path)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""Writes what the tokenizer tests compare with, as the `tokenizers` library (0.23) computes it.

  make_tokenizer_golden.py [--gemma tokenizer.json.xz] [--demo tokenizer.json] [--unicode]

Into tests/golden/tokenizer:
  strings.jsonl   the texts, one JSON string a line
  NAME.json       small tokenizers: `small` as Gemma's, `flags` and `plain` for what Gemma's file leaves unused
  NAME.ids        "index<tab>ids" a line, for texts of strings.jsonl; where decoding does not give the text back, also
                  "<tab>decoded<tab>decoded without special tokens", both as JSON
  NAME.decode     "ids<tab>decoded<tab>decoded without special tokens" for ids that no text has
  prompts.jsonl   what transformers' PaliGemma processor makes of prompts, with the tokenizer `small`
`gemma` is Gemma's tokenizer with PaliGemma's added tokens, `demo` the demo model's; neither is copied here.
With --unicode also coordinator/text/unicode_words.cpp: what the library takes for a word character.
Needed only to write these files; neither building nor testing runs it.
"""

import argparse
import json
import lzma
import pathlib
import random

from tokenizers import Tokenizer

from tokenizer_golden import decoding, models, prompts, strings, words

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests/golden/tokenizer"


def dump(value):
    return json.dumps(value, ensure_ascii=False)


def write_ids(name, tokenizer, texts, indices):
    with open(FOLDER / f"{name}.ids", "w", encoding="utf-8", newline="\n") as out:
        for index in indices:
            ids = tokenizer.encode(texts[index], add_special_tokens=False).ids
            both = [tokenizer.decode(ids, skip_special_tokens=skip) for skip in (False, True)]
            line = f"{index}\t{' '.join(map(str, ids))}"
            if both != [texts[index]] * 2:
                line += "\t" + "\t".join(map(dump, both))
            out.write(line + "\n")


def write_decode(name, tokenizer, lists):
    with open(FOLDER / f"{name}.decode", "w", encoding="utf-8", newline="\n") as out:
        for ids in lists:
            both = [tokenizer.decode(ids, skip_special_tokens=skip) for skip in (False, True)]
            out.write("\t".join([" ".join(map(str, ids)), *map(dump, both)]) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gemma", type=pathlib.Path, default=ROOT / "../shared/data/gemma/tokenizer.json.xz")
    parser.add_argument("--demo", type=pathlib.Path, default=ROOT / "configs/demo/model/tokenizer.json")
    parser.add_argument("--unicode", action="store_true")
    args = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    if args.unicode:
        words.write(ROOT / "coordinator/text/unicode_words.cpp")

    texts, special = strings.make(random.Random(20))
    with open(FOLDER / "strings.jsonl", "w", encoding="utf-8", newline="\n") as out:
        out.writelines(dump(text) + "\n" for text in texts)

    # Small tokenizers give an id a letter: every sixth text, and those made for them, keep the files small.
    few = [i for i, text in enumerate(texts) if i in special or (i % 6 == 0 and len(text) < 400)]
    specs = {"small": models.small(), "flags": models.flags(), "plain": models.plain()}
    for name, spec in specs.items():
        path = FOLDER / f"{name}.json"
        path.write_text(dump(spec) + "\n", encoding="utf-8")
    loaded = {name: (Tokenizer.from_str(json.dumps(spec)), few) for name, spec in specs.items()}
    if args.gemma.exists():
        gemma = models.paligemma(json.loads(lzma.open(args.gemma).read()))
        loaded["gemma"] = (Tokenizer.from_str(json.dumps(gemma)), range(len(texts)))
    if args.demo.exists():
        loaded["demo"] = (Tokenizer.from_file(str(args.demo)), [i for i, text in enumerate(texts) if len(text) < 400])
    for name, (tokenizer, indices) in loaded.items():
        write_ids(name, tokenizer, texts, indices)
        write_decode(name, tokenizer, decoding.lists(tokenizer, random.Random(21)))
        print(f"{name}: {len(indices)} texts")
    prompts.write(FOLDER, specs["small"])


if __name__ == "__main__":
    main()

"""The demo's tokenizer: a small BPE in the form of Gemma's, made from the scenes' own words."""

import json

from . import scenes

LOCS, SEGS = 1024, 128


def words():
    """Every text that prompts and answers are made of, for the merges; a word is met whole."""
    texts = ["caption en", "detect ;", "answer en", "nothing", *scenes.TIMES, *scenes.COLORS, *scenes.SIDES]
    texts += [*scenes.PLACES.values(), *scenes.EMPTY.values(), *scenes.WHEN.values(), *scenes.NUMBERS]
    texts += [*scenes.KINDS, *map(scenes.plural, scenes.KINDS), "the a an and under"]
    texts += ["what time of day is it", "what is in the sky", "how many are there"]
    texts += ["where is the", "what color is the"]
    found = {}
    for text in texts:
        for place, word in enumerate(text.split(" ")):
            found["▁" + word] = found.get("▁" + word, 0) + 4
            if place == 0:
                found[word] = found.get(word, 0) + 1
    return found


def _merges(counts):
    """Plain byte-pair merging: the most frequent neighbours first, ties by name, until every word is one piece."""
    splits = {word: list(word) for word in counts}
    merges = []
    while True:
        pairs = {}
        for word, parts in splits.items():
            for pair in zip(parts, parts[1:]):
                pairs[pair] = pairs.get(pair, 0) + counts[word]
        if not pairs:
            return merges
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        for parts in splits.values():
            i = 0
            while i + 1 < len(parts):
                if (parts[i], parts[i + 1]) == best:
                    parts[i:i + 2] = ["".join(best)]
                i += 1


def build():
    """The content of tokenizer.json."""
    merges = _merges(words())
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>"] + [f"<0x{b:02X}>" for b in range(256)]
    pieces += ["\n", "▁"] + [chr(c) for c in range(33, 127)] + ["".join(m) for m in merges]
    vocab = {}
    for piece in pieces:
        vocab.setdefault(piece, len(vocab))
    added = [(vocab[t], t, True) for t in pieces[:4]]
    first = len(vocab)
    for token in [f"<loc{i:04d}>" for i in range(LOCS)] + [f"<seg{i:03d}>" for i in range(SEGS)]:
        added.append((len(vocab) + len(added) - 4, token, False))
    added.append((first + LOCS + SEGS, "<image>", True))
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": not special, "special": special} for i, t, special in added],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious",
                          "invert": False},
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": vocab, "merges": [list(m) for m in merges]},
    }


def numbers(content):
    """Named ids of a tokenizer.json's content: image, first loc, and the table's rows rounded up to 64."""
    ids = {t["content"]: t["id"] for t in content["added_tokens"]}
    rows = -(-(ids["<image>"] + 1) // 64) * 64
    return {"image": ids["<image>"], "loc": ids["<loc0000>"], "rows": rows}


def write(path):
    with open(path, "w", encoding="utf-8") as out:
        json.dump(build(), out, ensure_ascii=False, indent=1)

"""A tiny tokenizer built as Gemma's is: BPE with byte fallback, spaces as U+2581, added tokens."""

import json

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["th", "he", "an", "in", "er", "on", "en", "is", "at", "ea", "ch", "▁c", "▁t", "▁a", "▁o", "▁th",
         "▁the", "▁en", "▁on", "▁is", "ca", "cap", "ti", "tion", "caption", "▁wh", "▁be", "▁beach"]
MERGES = [("\n", "\n"), ("▁", "▁"), ("▁▁", "▁"), ("▁", "▁▁"), ("t", "h"), ("h", "e"), ("a", "n"), ("i", "n"),
          ("e", "r"), ("o", "n"), ("e", "n"), ("i", "s"), ("a", "t"), ("e", "a"), ("c", "h"), ("▁", "c"),
          ("▁", "t"), ("▁", "a"), ("▁", "o"), ("▁", "th"), ("▁t", "he"), ("▁th", "e"), ("▁", "en"), ("▁", "on"),
          ("▁", "is"), ("c", "a"), ("ca", "p"), ("t", "i"), ("ti", "on"), ("cap", "tion"), ("▁", "wh"),
          ("w", "h"), ("▁", "be"), ("b", "e"), ("▁be", "a"), ("▁be", "ach"), ("a", "ch")]
LOCS = [f"<loc{i:04d}>" for i in range(8)]
SEGS = [f"<seg{i:03d}>" for i in range(4)]


def build(old_notation):
    """tokenizer.json as a dict. old_notation: merges as "a b" strings and no pre-tokenizer."""
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "\n", "\n\n", "▁▁", "▁▁▁"]
    runs = pieces[4:]
    pieces += [f"<0x{i:02X}>" for i in range(256)]
    pieces += ["▁"] + list(LETTERS) + list("0123456789") + list(".?!")
    pieces += WORDS + ["ach", "be", "wh", "▁bea"]
    vocab = {}
    for piece in pieces:
        vocab.setdefault(piece, len(vocab))
    merges = [(a, b) for a, b in MERGES if a + b in vocab]
    assert all(a in vocab and b in vocab for a, b in merges)
    added = [(p, True, False) for p in pieces[:4]] + [(p, False, False) for p in runs]
    added += [(p, False, True) for p in LOCS + SEGS] + [("<image>", True, False)]
    ids = dict(vocab)
    for content, _, _ in added:
        ids.setdefault(content, len(ids))
    entries = [dict(id=ids[c], content=c, single_word=False, lstrip=False, rstrip=False, normalized=n, special=s)
               for c, s, n in added]
    bos = [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    pair = bos + [{"SpecialToken": {"id": "<bos>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}]
    split = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": entries,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": None if old_notation else split,
        "post_processor": {"type": "TemplateProcessing", "single": bos, "pair": pair,
                           "special_tokens": {"<bos>": {"id": "<bos>", "ids": [2], "tokens": ["<bos>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": vocab,
                  "merges": [f"{a} {b}" for a, b in merges] if old_notation else [list(m) for m in merges]},
    }


def config(image_token_id):
    return {"tokenizer_class": "GemmaTokenizer", "bos_token": "<bos>", "eos_token": "<eos>",
            "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>", "add_bos_token": True,
            "add_eos_token": False, "clean_up_tokenization_spaces": False, "padding_side": "left",
            "model_max_length": 1000000000000000019884624838656,
            "extra_special_tokens": {"image_token": "<image>"}}


def dump(path, old_notation):
    data = build(old_notation)
    path.write_text(json.dumps(data, ensure_ascii=False, indent=None if not old_notation else 1) + "\n",
                    encoding="utf-8")
    return {entry["content"]: entry["id"] for entry in data["added_tokens"]}["<image>"]

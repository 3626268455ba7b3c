"""The tokenizers that golden ids are made with."""

import json

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

CORPUS = """a photo of a red circle above a blue square
caption en
detect circle ; square
answer en how many triangles are there
the cat sat on the mat, the dog lay beside it; then they slept.
This is a test. Where is the cow standing? on the beach
for (int i = 0; i < 10; ++i) { total += values[i]; }
Der Fuchs springt über den Zaun. L'été est arrivé à l'école.
кот сидит на столе и смотрит в окно
生活的真谛是 生活 的 生活
1 2 3 10 20 30 100 200 1000 1234 2024
""" * 4


def token(index, content, **flags):
    entry = dict(id=index, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False,
                 special=False)
    entry.update(flags)
    return entry


def trained(size):
    """(pieces, merges) of a BPE over the corpus with spaces as U+2581; letters, bytes and a few controls in front."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"▁|\n"), "merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=["<pad>", "<eos>", "<bos>", "<unk>"],
                                  show_progress=False)
    tokenizer.train_from_iterator(CORPUS.splitlines(keepends=True), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].get)
    merges = [tuple(pair) for pair in model["merges"]]
    return pieces, merges


def with_runs(pieces, merges):
    """Runs of spaces and newlines merge too, as in Gemma."""
    runs = [char * n for char in "▁\n" for n in range(2, 9)]
    for run in runs:
        if run not in pieces:
            pieces.append(run)
        merges += [(run[:k], run[k:]) for k in range(1, len(run)) if (run[:k], run[k:]) not in merges]
    return pieces, merges


def bpe(pieces, merges, **options):
    model = {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False}
    model.update(options)
    assert len(set(pieces)) == len(pieces)
    model["vocab"] = {piece: index for index, piece in enumerate(pieces)}
    model["merges"] = [list(pair) for pair in merges]
    return model


def file(model, added, normalizer, pre_tokenizer, decoder):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer, "post_processor": None, "decoder": decoder, "model": model}


def paligemma_tokens(first):
    """<loc…> and <seg…> are ordinary tokens, <image> is a special one; ids count on from `first`."""
    names = [f"<loc{i:04d}>" for i in range(1024)] + [f"<seg{i:03d}>" for i in range(128)]
    tokens = [token(first + i, name, normalized=True) for i, name in enumerate(names)]
    return tokens + [token(first + len(names), "<image>", special=True)]


def paligemma(gemma):
    gemma = dict(gemma)
    gemma["added_tokens"] = gemma["added_tokens"] + paligemma_tokens(len(gemma["model"]["vocab"]))
    return gemma


REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
SPLIT = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
DECODER = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]


def small():
    """As Gemma's, in the newer notation: byte fallback, PaliGemma's added tokens (fewer), runs of white space."""
    pieces, merges = trained(420)
    head, rest = pieces[:4], pieces[4:]
    pieces = head + [f"<0x{byte:02X}>" for byte in range(256)] + ["\t"] + rest
    pieces, merges = with_runs(pieces, merges)
    added = [token(i, name, special=True) for i, name in enumerate(head)]
    added += [token(pieces.index("\n" * n), "\n" * n) for n in range(2, 9)]
    names = [f"<loc{i:04d}>" for i in range(16)] + [f"<seg{i:03d}>" for i in range(8)]
    added += [token(len(pieces) + i, name, normalized=True) for i, name in enumerate(names)]
    added.append(token(len(pieces) + len(names), "<image>", special=True))
    return file(bpe(pieces, merges), added, REPLACE, SPLIT, {"type": "Sequence", "decoders": DECODER})


def flags():
    """Every flag of an added token; a prefix; some bytes only, so that some characters stay unknown."""
    pieces, merges = trained(300)
    pieces += [f"<0x{byte:02X}>" for byte in [*range(0x20), *range(0x80, 0xC4), 0xE2, 0xE3]]
    start = len(pieces)
    added = [token(i, name, special=True) for i, name in enumerate(pieces[:4])]
    extra = [("<l>", dict(lstrip=True)), ("<r>", dict(rstrip=True)), ("<lr>", dict(lstrip=True, rstrip=True)),
             ("word", dict(single_word=True)), ("été", dict(single_word=True, normalized=True)),
             ("two words", dict(normalized=True)), ("two", dict(single_word=True)), ("<n>", dict(normalized=True)),
             ("<nr>", dict(normalized=True, rstrip=True, special=True)), ("<nl>", dict(normalized=True, lstrip=True)),
             ("<s>", dict(special=True, normalized=True)), ("<r><r>", dict(special=True)),
             ("猫", dict(single_word=True, lstrip=True))]
    added += [token(start + i, content, **options) for i, (content, options) in enumerate(extra)]
    normalizer = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, REPLACE,
                                                      {"type": "Replace", "pattern": {"String": "aa"}, "content": "b"}]}
    decoder = {"type": "Sequence", "decoders": DECODER + [{"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    return file(bpe(pieces, merges), added, normalizer, None, decoder)


def plain():
    """No normalizer, no decoder, no bytes: unknown characters one by one, words that are pieces left whole."""
    pieces, merges = trained(260)
    pieces = [piece.replace("▁", " ") for piece in pieces]
    merges = [(a.replace("▁", " "), b.replace("▁", " ")) for a, b in merges]
    pieces += ["photo ", "the ", "whole word ", "cat"]
    pieces = list(dict.fromkeys(pieces))
    added = [token(0, "<pad>", special=True), token(len(pieces), "<image>", special=True)]
    return file(bpe(pieces, merges, fuse_unk=False, byte_fallback=False, ignore_merges=True), added, None, SPLIT, None)

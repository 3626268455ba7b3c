"""Id lists that no text has: bytes that are no characters, runs of specials, ids beyond the vocabulary."""


def lists(tokenizer, rng, count=120):
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    bytes_ = [tokenizer.token_to_id(f"<0x{byte:02X}>") for byte in range(256)]
    bytes_ = [index for index in bytes_ if index is not None]
    marks = [tokenizer.token_to_id(name) for name in ["<bos>", "<eos>", "<pad>", "<image>", "<loc0003>", "▁"]]
    marks = [index for index in marks if index is not None]
    found = [[], [0], [size, size + 5, 2**31 - 1], [size - 1]]
    for text in ["é", "😀", "▁", "漢字"]:
        codes = [tokenizer.token_to_id(f"<0x{byte:02X}>") for byte in text.encode()]
        if None not in codes:
            found += [codes, codes[:-1], codes + codes[:1], [codes[0]] + codes, codes + [marks[0]] + codes]
    while len(found) < count:
        ids = []
        for _ in range(rng.randint(1, 12)):
            pool = rng.choice([range(size), bytes_ or range(size), marks])
            ids += [rng.choice(pool) for _ in range(rng.randint(1, 4))]
        found.append(ids)
    return found

"""Which characters count as part of a word, asked of the library one by one: a `single_word` token touches them."""

import json

from tokenizers import Tokenizer

HEAD = """// Written by scripts/make_tokenizer_golden.py --unicode.
#include <algorithm>
#include <cstdint>
#include <iterator>

#include "coordinator/text/utf8.h"

namespace lapidary {
namespace {

/// First and last of each range of word characters, in order.
// clang-format off
constexpr uint32_t kWords[][2] = {
"""

TAIL = """};
// clang-format on

}  // namespace

bool is_word(char32_t character) {
  const auto* range = std::upper_bound(std::begin(kWords), std::end(kWords), character,
                                       [](char32_t c, const uint32_t(&r)[2]) { return c < r[0]; });
  return range != std::begin(kWords) && character <= (*std::prev(range))[1];
}

}  // namespace lapidary
"""


def write(path):
    token = dict(id=2, content="xy", single_word=True, lstrip=False, rstrip=False, normalized=False, special=False)
    model = {"type": "BPE", "unk_token": "u", "vocab": {"u": 0, "v": 1}, "merges": []}
    tokenizer = Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [token], "model": model}))
    points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    found = tokenizer.encode_batch_fast(["xy" + chr(c) for c in points], add_special_tokens=False)
    ranges = []
    for point, encoding in zip(points, found):
        if 2 in encoding.ids:
            continue
        if ranges and ranges[-1][1] == point - 1:
            ranges[-1][1] = point
        else:
            ranges.append([point, point])
    items = [f"{{{a:#x},{b:#x}}}," for a, b in ranges]
    lines = [""]
    for item in items:
        if len(lines[-1]) + len(item) > 108:
            lines.append("")
        lines[-1] += item
    path.write_text(HEAD + "".join(f"  {line}\n" for line in lines) + TAIL, encoding="utf-8")

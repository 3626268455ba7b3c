#!/usr/bin/env python3
"""Makes tests/kernels/float8_reference.h: rows of numbers, and what they are as float8 (e4m3) with a scale a row.

Needed only to change the set: Python with numpy and ml_dtypes, whose float8_e4m3fn does the rounding. A row's scale is the
smallest power of two that brings its largest magnitude to at most 448; rows too small for one (below 2^-100) have 1.
The product is that of the rounded numbers, in float64.
"""
from pathlib import Path

import ml_dtypes
import numpy as np

TO = Path(__file__).resolve().parents[2] / "tests" / "kernels" / "float8_reference.h"
COLUMNS = 65
rng = np.random.default_rng(8)


def with_largest(largest, scale=1.0):
    row = rng.normal(0, scale, COLUMNS).astype(np.float32)
    row = np.clip(row, -largest, largest)
    row[COLUMNS // 2] = largest
    return row


def ties():
    """The middle of each pair of neighbours, a little less and a little more: 448 is the largest, the scale is 1."""
    codes = np.arange(0, 0x7E, dtype=np.uint8)
    low = codes.view(ml_dtypes.float8_e4m3fn).astype(np.float32)
    high = (codes + np.uint8(1)).view(ml_dtypes.float8_e4m3fn).astype(np.float32)
    middles = (low + high) / 2
    sign = np.where(np.arange(middles.size) % 2 == 0, 1, -1).astype(np.float32)
    both = np.concatenate([middles * sign, np.nextafter(middles, np.float32(0)), np.nextafter(middles, np.float32(1e3))])
    rows = [both[i : i + COLUMNS - 1] for i in range(0, both.size, COLUMNS - 1)]
    return [np.concatenate([np.resize(row, COLUMNS - 1), [448]]).astype(np.float32) for row in rows]


def rows():
    after = lambda x: np.nextafter(np.float32(x), np.float32(np.inf))  # noqa: E731
    made = [with_largest(448, 100), with_largest(after(448), 100), with_largest(224, 100), with_largest(after(224), 50)]
    made += [with_largest(3.5, 1), with_largest(0.02, 0.02), with_largest(9e4, 1), with_largest(3e-30, 1e-30)]
    # Numbers far below the largest: subnormal ones, and what rounds to zero.
    made.append((with_largest(1) * np.float32(2) ** -np.linspace(0, 24, COLUMNS)).astype(np.float32))
    made[-1][0] = 1
    made += [np.zeros(COLUMNS, np.float32), np.full(COLUMNS, -1e-35, np.float32), -with_largest(1.75, 1)]
    return np.stack(made + ties())


def scale_of(row):
    largest = np.abs(row).max()
    if largest < 2.0**-100:
        return np.float32(1)
    exponent = int(np.ceil(np.log2(np.float64(largest) / 448) - 1e-3)) - 1
    while np.float64(largest) / np.float64(2) ** exponent > 448:
        exponent += 1
    return np.float32(2.0**exponent)


def bits(values):
    return ", ".join(f"0x{b:08x}" for b in np.asarray(values, np.float32).view(np.uint32))


def wrapped(text):
    lines, line = [], ""
    for word in text.split(", "):
        if len(line) + len(word) > 104:
            lines.append(line.rstrip())
            line = ""
        line += word + ", "
    return "\n    ".join(lines + [line.rstrip(", ")])


def main():
    given = rows()
    scales = np.array([scale_of(row) for row in given], np.float32)
    codes = (given / scales[:, None]).astype(ml_dtypes.float8_e4m3fn)
    held = codes.astype(np.float64) * scales[:, None].astype(np.float64)
    x = rng.normal(0, 1, (3, COLUMNS)).astype(ml_dtypes.bfloat16).astype(np.float64)
    product, sizes = x @ held.T, np.abs(x) @ np.abs(held).T
    out = ["#pragma once", "", "// Made by scripts/reference/float8.py.", "", "#include <array>", "#include <cstdint>", ""]
    out += ["namespace lapidary {", "", "// clang-format off", "struct Float8Row {", "  uint32_t scale;  // of a float32"]
    out += [f"  std::array<uint32_t, {COLUMNS}> given;  // of float32", f"  std::array<uint8_t, {COLUMNS}> codes;"]
    out += [f"  std::array<uint32_t, {COLUMNS}> held;   // of float32: what codes and scale stand for", "};", ""]
    out.append(f"inline constexpr std::array<Float8Row, {len(given)}> kFloat8Rows{{{{")
    for r, row in enumerate(given):
        code_text = ", ".join(f"0x{c:02x}" for c in codes[r].view(np.uint8))
        out.append(f"  {{{bits(scales[r : r + 1])},\n   {{{wrapped(bits(row))}}},")
        out.append(f"   {{{wrapped(code_text)}}},\n   {{{wrapped(bits(held[r].astype(np.float32)))}}}}},")
    out += ["}};", "// clang-format on", "", "}  // namespace lapidary", ""]
    TO.with_name("float8_rows.h").write_text("\n".join(out))
    out = ["#pragma once", "", "// Made by scripts/reference/float8.py.", "", "#include <array>", "#include <cstdint>", ""]
    out += ['#include "tests/kernels/float8_rows.h"', "", "namespace lapidary {", "", "// clang-format off"]
    out += ["/// Rows of x, bfloat16 numbers, and x times the held rows with the sum of the terms' magnitudes."]
    out += ["struct Float8Product {", f"  std::array<uint32_t, {COLUMNS}> x;  // of float32"]
    out += [f"  std::array<double, {len(given)}> sums, sizes;", "};"]
    out.append(f"inline constexpr std::array<Float8Product, {len(x)}> kFloat8Products{{{{")
    for r, row in enumerate(x):
        sums, size = (", ".join(float(v).hex() for v in values[r]) for values in (product, sizes))
        out.append(f"  {{{{{wrapped(bits(row))}}},\n   {{{wrapped(sums)}}},\n   {{{wrapped(size)}}}}},")
    out += ["}};", "// clang-format on", "", "}  // namespace lapidary", ""]
    TO.write_text("\n".join(out))


if __name__ == "__main__":
    main()

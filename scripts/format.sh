#!/usr/bin/env bash
# Formats the C++ sources with clang-format 14; with --check only says which files differ.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=(-i)
if [ "${1:-}" = --check ]; then mode=(--dry-run --Werror); fi
find configs kernels sharding worker coordinator tests \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) -print0 |
  xargs -0 clang-format-14 "${mode[@]}"

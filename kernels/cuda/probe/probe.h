#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/runtime/device.h"

namespace lapidary::cuda {

/// `words` uint32 at `to`, each a hash of its place: probe_word().
void fill_with_hashes(Stream stream, uint32_t* to, int64_t words);
uint32_t probe_word(uint32_t place);

/// sum (one uint32, zeroed before) ^= all of `words` at `from`, a multiple of 4 at 16-byte addresses, each
/// read once.
void read_all(Stream stream, uint32_t* sum, const uint32_t* from, int64_t words, int multiprocessors);
/// The same memory, copied.
void copy_all(Stream stream, uint32_t* to, const uint32_t* from, int64_t words, int multiprocessors);

/// Every one of `multiprocessors` * kCountedEach words += 1, by a kernel that may start early
/// (early_start.h).
void count(Stream stream, uint32_t* words, int multiprocessors);
inline constexpr int kCountedEach = 32;

}  // namespace lapidary::cuda

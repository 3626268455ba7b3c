#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device.h"

namespace lapidary::cuda {

/// `words` uint32 at `to`, each a hash of its place: probe_word().
void fill_with_hashes(Stream stream, uint32_t* to, int64_t words);
uint32_t probe_word(uint32_t place);

/// sum (one uint32, zeroed before) ^= all of `words` at `from`, a multiple of 4 at 16-byte addresses, each
/// read once.
void read_all(Stream stream, uint32_t* sum, const uint32_t* from, int64_t words, int multiprocessors);
/// The same memory, copied.
void copy_all(Stream stream, uint32_t* to, const uint32_t* from, int64_t words, int multiprocessors);

/// Seconds from one tiny kernel of a graph to the next, which waits for it; `dependent`: the next one is
/// started while the first still runs (programmatic dependent launch). 0 where the device cannot.
double graph_boundary(bool dependent);

}  // namespace lapidary::cuda

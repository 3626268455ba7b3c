#pragma once

#include <cstddef>

#include "kernels/cpu/isa/isa.h"
#include "kernels/thread_pool.h"

namespace lapidary::cpu {

/// FLOP/s of one thread when the instruction that `isa` multiplies weights of `dtype` with works on registers
/// alone: what no product can exceed. The median of a few short runs.
double peak_tile_rate(const Isa& isa, DType dtype);

/// The same on all threads at once, added up (cores may slow each other down).
double peak_tile_rate(ThreadPool& threads, const Isa& isa, DType dtype);

/// Bytes/s at which all threads together read memory that no cache holds, once through: what bounds a product
/// of one row. Reads whole 256 KiB blocks of `data`, which is 64-byte aligned and several times the last
/// cache's size.
double read_bandwidth(ThreadPool& threads, const void* data, size_t bytes);

}  // namespace lapidary::cpu

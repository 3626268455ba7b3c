#pragma once

#include <cstdint>

#include "kernels/cuda/runtime/device.h"
#include "kernels/weight_loader.h"

namespace lapidary::cuda {

/// The numbers of rows first_row… and columns first_col… become the rows `to`, f32 or bf16.
void make_rows(Stream stream, const WeightRows& to, const DummyValues& made, int64_t first_row,
               int64_t first_col);

}  // namespace lapidary::cuda

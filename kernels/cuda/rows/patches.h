#pragma once

#include <cstdint>

#include "kernels/cuda/runtime/device.h"
#include "kernels/tensor.h"

namespace lapidary::cuda {

inline constexpr int64_t kChannels = 3;

/// Backend::patchify for some rows of patches: y [bands * (size / patch), kChannels * patch * patch], float32
/// or bfloat16, from `bands` bands of `patch` lines of an RGB8 image, rgb [bands * patch, size * kChannels];
/// value_of [256]. All in device memory. Shapes are checked on entry (std::logic_error).
void patchify(Stream stream, Tensor y, const uint8_t* rgb, int64_t size, int64_t patch,
              const float* value_of);

/// Backend::embed. y [ids, in], float32 or bfloat16; table [rows, in], float32 or bfloat16; ids [rows of y];
/// token_table [slots, 1] int32, or empty: then ids below 0 give zeros.
/// All in device memory.
void embed(Stream stream, Tensor y, Tensor table, const int32_t* ids, Tensor token_table, int64_t first_id,
           float factor);

}  // namespace lapidary::cuda

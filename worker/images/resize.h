#pragma once

#include "worker/images/image.h"

namespace lapidary {

/// Bit for bit what Pillow's `image.resize((width, height), Image.Resampling.BICUBIC)` gives for RGB: Keys'
/// cubic with a = -0.5, widened when shrinking (so it averages), the rows first and then the columns, with
/// weights of 22 fractional bits and bytes between the two passes; a pass whose size is already right is left
/// out. Throws Error when a side is not positive.
Image resize_bicubic(const Image& image, int width, int height);

/// resize_bicubic without the instructions that are chosen at run time: the same bits on any machine, slower.
Image resize_bicubic_portable(const Image& image, int width, int height);

}  // namespace lapidary

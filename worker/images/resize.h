#pragma once

#include "configs/model/image_words.h"
#include "worker/images/image.h"

namespace lapidary {

/// Keys' cubic with a = -0.5, widened when shrinking (so it averages), the rows first and then the columns,
/// with bytes between the two passes; a pass whose size is already right is left out. Bit for bit what one of
/// two libraries gives for RGB:
///  pillow: `image.resize((width, height), Image.Resampling.BICUBIC)`, weights of 22 fractional bits;
///  torchvision: `resize(image, [height, width], InterpolationMode.BICUBIC, antialias=True)` of a uint8
///  tensor on a CPU, 16-bit weights with as many fractional bits as the largest one leaves room for.
/// Throws Error when a side is not positive.
Image resize_bicubic(const Image& image, int width, int height, ImageProcessor like = ImageProcessor::pillow);

/// resize_bicubic without the instructions that are chosen at run time: the same bits on any machine, slower.
Image resize_bicubic_portable(const Image& image, int width, int height,
                              ImageProcessor like = ImageProcessor::pillow);

}  // namespace lapidary

#pragma once

#include <cstdint>
#include <span>

#include "worker/images/image.h"

/// The parts of decode_image, one per format. Each expects that the first bytes have been looked at.
namespace lapidary {

Image decode_jpeg(std::span<const uint8_t> bytes, const ImageLimits& limits);
Image decode_png(std::span<const uint8_t> bytes, const ImageLimits& limits, Alpha alpha);
Image decode_webp(std::span<const uint8_t> bytes, const ImageLimits& limits, Alpha alpha);

/// R, G, B, A pixels to R, G, B: blended onto white or black, else without their fourth byte. `rgb` may begin
/// where `rgba` does.
void blend(const uint8_t* rgba, uint8_t* rgb, size_t pixels, Alpha alpha);

/// Throws Error, naming the format and both numbers, unless the size is positive and within the limits.
void check_image_size(const char* format, int64_t width, int64_t height, const ImageLimits& limits);

/// Throws Error, naming both numbers, when decoding would hold more than the limit at once: the picture
/// itself and what its decoder needs beside it.
void check_image_memory(const char* format, int64_t bytes, const ImageLimits& limits);

}  // namespace lapidary

#pragma once

#include <cstdint>
#include <span>

#include "worker/images/image.h"

/// The parts of decode_image, one per format. Each expects that the first bytes have been looked at.
namespace lapidary {

Image decode_jpeg(std::span<const uint8_t> bytes, const ImageLimits& limits);
Image decode_jpeg_lossless(std::span<const uint8_t> bytes,
                           const ImageLimits& limits);  // called by decode_jpeg
Image decode_png(std::span<const uint8_t> bytes, const ImageLimits& limits, Alpha alpha);
Image decode_webp(std::span<const uint8_t> bytes, const ImageLimits& limits, Alpha alpha);

/// R, G, B, A pixels to R, G, B: blended onto white or black, else without their fourth byte. `rgb` may begin
/// where `rgba` does.
void blend(const uint8_t* rgba, uint8_t* rgb, size_t pixels, Alpha alpha);

/// Throws Error, naming the format and both numbers, unless the size is positive and within the limits.
void check_image_size(const char* format, int64_t width, int64_t height, const ImageLimits& limits);

/// Called once, before the picture's memory is taken: `bytes` are what decoding holds at once, the picture
/// itself and what its decoder needs beside it. Throws Error, naming both numbers, when that is more than the
/// limit; else tells `limits.before_decoding`.
void check_image_memory(const char* format, int64_t bytes, const ImageLimits& limits);

/// A JPEG's row of four inks to RGB, as Pillow does it. Such files hold inverted inks, so `inks[3]` is what
/// white paper is left under the black.
void cmyk_to_rgb(const uint8_t* inks, uint8_t* rgb, int pixels);

}  // namespace lapidary

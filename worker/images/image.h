#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <vector>

#include "configs/model/image_words.h"

namespace lapidary {

/// A picture in memory: rows from the top, pixels from the left, three bytes R, G, B each, no padding.
struct Image {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> rgb;  // [height, width, 3]

  size_t row_bytes() const { return static_cast<size_t>(width) * 3; }
  uint8_t* row(int y) { return rgb.data() + static_cast<size_t>(y) * row_bytes(); }
  const uint8_t* row(int y) const { return rgb.data() + static_cast<size_t>(y) * row_bytes(); }
};

/// A black picture. Throws Error when a side is not positive.
Image make_image(int width, int height);

/// What is refused from a file's header, before memory for its pixels is asked for.
struct ImageLimits {
  int64_t max_pixels = 178'956'970;        ///< where Pillow too speaks of a decompression bomb
  int max_side = 1'000'000;                ///< pixels in a row or a column
  int64_t max_bytes = int64_t{256} << 20;  ///< of the compressed file
  /// Held at once while decoding, beside the file: a little more than 9 bytes for each of the most pixels.
  /// All pictures meet it but progressive CMYK JPEGs of more than 152 million pixels.
  int64_t max_memory_bytes = int64_t{1600} << 20;
  /// Pixels that a JPEG's scans pass over, all together: seconds of work. Encoders make about ten scans.
  int64_t max_scanned_pixels = 5'000'000'000;
  /// Told, before memory is taken, how much decoding will hold at once, the picture and `file` included. May
  /// wait, or throw Error to refuse (ByteBudget).
  std::function<void(int64_t bytes)> before_decoding{};
};

/// Decodes JPEG, PNG or WebP, told apart by their first bytes, to what Pillow's
/// `Image.open(f).convert("RGB")` gives: alpha and transparent colours are dropped, or blended as
/// `Image.alpha_composite` does it (`automatic` is not known here and drops); 16-bit colours keep their high
/// byte, 16-bit greys are clipped at 255; CMYK is taken as Adobe writes it, inverted; colour profiles, gamma
/// and EXIF orientation (orientation.h) are left alone; an animation gives its first frame.
///
/// Damage is borne as far as Pillow bears it: entropy data of a JPEG that libjpeg only warns of; the
/// checksums of a PNG's pixels, and its end (png_chunks.h). Throws Error on other damage, on files that end
/// early, on sizes, memory and scans beyond `limits`, and on anything else, which is named by its kind.
Image decode_image(std::span<const uint8_t> bytes, const ImageLimits& limits = {}, Alpha alpha = Alpha::drop);

/// The bytes of a regular file; every Error begins with the path.
std::vector<uint8_t> read_image_file(const std::filesystem::path& path, const ImageLimits& limits = {});

/// decode_image of a regular file; every Error begins with the path.
Image read_image(const std::filesystem::path& path, const ImageLimits& limits = {});

/// The picture as a PNG file in memory (8-bit RGB).
std::vector<uint8_t> encode_png(const Image& image);

/// Throws Error when the file can't be written whole; what was written of it is then removed.
void write_png(const std::filesystem::path& path, const Image& image);

}  // namespace lapidary

#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lapidary {

/// What of a PNG file decides its pixels. All spans look into the file.
struct PngChunks {
  uint32_t width = 0;
  uint32_t height = 0;
  uint8_t bit_depth = 0;
  uint8_t colour_type = 0;
  bool interlaced = false;
  int64_t frames = 0;                          ///< pictures of an animation; 0: none
  std::span<const uint8_t> palette;            ///< R, G, B each; empty without one
  std::span<const uint8_t> transparency;       ///< tRNS: what of the palette, or which colour
  std::vector<std::span<const uint8_t>> data;  ///< the IDATs' bytes, one zlib stream; the last may be cut
  size_t data_bytes = 0;                       ///< of all of them
};

/// Takes the file apart as strictly as Pillow does, which is less than the standard asks: up to the pixels
/// every checksum must be right, and chunks of any name and order are passed over; the pixels' own checksums
/// are not looked at; the file may end anywhere behind them but inside another chunk. Of an animation nothing
/// is looked at behind the first picture.
///
/// `bytes` begin with PNG's signature. Throws Error.
PngChunks read_png_chunks(std::span<const uint8_t> bytes);

}  // namespace lapidary

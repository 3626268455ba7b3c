#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "worker/images/resize_passes.h"
#include "worker/masks/mask_decoder.h"

namespace lapidary {

/// A decoded mask at the size of its box, as PaliGemma's own demo makes it: clipped to -1…1 and cut to bytes,
/// resized by Pillow's default (bicubic), in where a byte is above the half. Bit for bit what Pillow gives,
/// a column at a time: the box of a large picture would take much memory.
class MaskInBox {
 public:
  /// The box in pixels; throws where a side is not positive.
  MaskInBox(const DecodedMask& mask, int width, int height);

  int width() const { return width_; }
  int height() const { return height_; }
  /// `in` [height]: from the top, 1 for each pixel of column `x` that is in the mask, else 0.
  void column(int x, std::span<uint8_t> in) const;

 private:
  int width_, height_;
  ResizeWeights across_, down_;
  bool columns_first_;
  std::vector<uint8_t>
      between_;  // after the first pass: [width, 64] from the left, or [height, 64] from the top
};

}  // namespace lapidary

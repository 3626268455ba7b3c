#include "worker/masks/mask_in_box.h"

#include <algorithm>

#include "configs/error.h"

namespace lapidary {
namespace {

constexpr size_t kSide = kMaskSide;

/// `transposed`: [x, y] instead of [y, x].
std::vector<uint8_t> bytes_of(const DecodedMask& mask, bool transposed) {
  std::vector<uint8_t> bytes(mask.size());
  for (size_t y = 0; y < kSide; ++y)
    for (size_t x = 0; x < kSide; ++x) {
      const float share = mask[y * kSide + x] * 0.5f + 0.5f;
      bytes[transposed ? x * kSide + y : y * kSide + x] =
          share > 0 ? static_cast<uint8_t>(std::min(share, 1.0f) * 255.0f) : uint8_t{0};
    }
  return bytes;
}

/// [64, 64] to [weights' outputs, 64].
std::vector<uint8_t> resized_rows(const std::vector<uint8_t>& from, const ResizeWeights& weights) {
  std::vector<uint8_t> to(weights.taps.size() * kSide);
  for (size_t i = 0; i < weights.taps.size(); ++i)
    vertical_from(0, to.data() + i * kSide, from.data(), kSide, weights, weights.taps[i]);
  return to;
}

}  // namespace

MaskInBox::MaskInBox(const DecodedMask& mask, int width, int height)
    : width_(width), height_(height), columns_first_(columns_first(kMaskSide, kMaskSide, width, height)) {
  if (width <= 0 || height <= 0) fail("a mask does not fit into a box of ", width, " x ", height, " pixels");
  across_ = bicubic_weights(kMaskSide, width, ImageProcessor::pillow);
  down_ = bicubic_weights(kMaskSide, height, ImageProcessor::pillow);
  between_ = resized_rows(bytes_of(mask, !columns_first_), columns_first_ ? down_ : across_);
}

void MaskInBox::column(int x, std::span<uint8_t> in) const {
  constexpr uint8_t kHalf = 127;
  for (size_t y = 0; y < in.size(); ++y) {
    const size_t line = columns_first_ ? y : static_cast<size_t>(x);
    const ResizeWeights& weights = columns_first_ ? across_ : down_;
    uint8_t byte = 0;
    vertical_from(0, &byte, between_.data() + line * kSide, 1, weights,
                  weights.taps[columns_first_ ? static_cast<size_t>(x) : y]);
    in[y] = byte > kHalf;
  }
}

}  // namespace lapidary

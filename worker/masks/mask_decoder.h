#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace lapidary {

constexpr int kMaskCodes = 16;       // of one mask, in the order of the text
constexpr int kMaskCodeCount = 128;  // each is below
constexpr int kMaskSide = 64;        // of what is decoded

/// [64, 64] from the top; inside a thing about 1, outside about -1.
using DecodedMask = std::array<float, static_cast<size_t>(kMaskSide) * kMaskSide>;

/// A square picture between two layers: [side, side, channels].
struct MaskPlane {
  int side = 0, channels = 0;
  std::vector<float> values;
};

/// The convolution from one plane to the next.
struct MaskConvolution {
  int in = 0, out = 0, kernel = 0;
  std::vector<float> weight;  // [kernel, kernel, in, out]
  std::vector<float> bias;    // [out]
};

/// The decoder half of the small autoencoder whose codes are the checkpoints' <seg…> tokens (vae-oid.npz):
/// 4 x 4 codes become 64 x 64 numbers. Float32, summed in one order: the same bits on any machine.
class MaskDecoder {
 public:
  /// Throws a sentence that names the file and the array that is not as it should be.
  explicit MaskDecoder(const std::filesystem::path& npz);

  /// 0.08 GFLOP. Any number of threads at once. Throws for a code that is none.
  DecodedMask decode(std::span<const int32_t> codes) const;

 private:
  struct ResidualBlock {
    MaskConvolution first, second, last;
  };
  MaskPlane embedded(std::span<const int32_t> codes) const;

  std::vector<float> embedding_;            // [128, 512]
  MaskConvolution input_, output_;          // 1 x 1
  std::array<ResidualBlock, 2> blocks_;     // 3 x 3, 3 x 3, 1 x 1
  std::array<MaskConvolution, 4> upwards_;  // 4 x 4, transposed: each doubles the side
};

}  // namespace lapidary

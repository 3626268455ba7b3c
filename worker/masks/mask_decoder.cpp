#include "worker/masks/mask_decoder.h"

#include <algorithm>

#include "configs/error.h"
#include "worker/masks/npz.h"

namespace lapidary {
namespace {

constexpr int kEmbedding = 512, kHidden = 128, kGrid = 4;

/// A convolution as the file has it: [out, in, kernel, kernel], or where it is transposed [in, out, …].
struct Entry {
  const char* name;
  int in, out, kernel;
  bool transposed = false;
};

constexpr Entry kInput{"decoder.0", kEmbedding, kHidden, 1}, kOutput{"decoder.12", 16, 1, 1};
constexpr Entry kBlocks[2][3] = {{{"decoder.2.net.0", kHidden, kHidden, 3},
                                  {"decoder.2.net.2", kHidden, kHidden, 3},
                                  {"decoder.2.net.4", kHidden, kHidden, 1}},
                                 {{"decoder.3.net.0", kHidden, kHidden, 3},
                                  {"decoder.3.net.2", kHidden, kHidden, 3},
                                  {"decoder.3.net.4", kHidden, kHidden, 1}}};
constexpr Entry kUpwards[4] = {{"decoder.4", kHidden, 128, 4, true},
                               {"decoder.6", 128, 64, 4, true},
                               {"decoder.8", 64, 32, 4, true},
                               {"decoder.10", 32, 16, 4, true}};
constexpr const char* kCodebook = "_vq_vae._embedding";

ArrayShapes wanted_arrays() {
  ArrayShapes wanted{{kCodebook, {kMaskCodeCount, kEmbedding}}};
  const auto want = [&](const Entry& entry) {
    const int first = entry.transposed ? entry.in : entry.out;
    const int second = entry.transposed ? entry.out : entry.in;
    wanted[cat(entry.name, ".weight")] = {first, second, entry.kernel, entry.kernel};
    wanted[cat(entry.name, ".bias")] = {entry.out};
  };
  want(kInput);
  for (const auto& block : kBlocks) std::for_each(std::begin(block), std::end(block), want);
  std::for_each(std::begin(kUpwards), std::end(kUpwards), want);
  want(kOutput);
  return wanted;
}

MaskConvolution convolution_of(const FloatArrays& arrays, const Entry& entry) {
  const std::vector<float>& stored = arrays.at(cat(entry.name, ".weight"));
  MaskConvolution made{entry.in, entry.out, entry.kernel, {}, arrays.at(cat(entry.name, ".bias"))};
  made.weight.reserve(stored.size());
  const int taps = entry.kernel * entry.kernel;
  for (int tap = 0; tap < taps; ++tap)
    for (int in = 0; in < entry.in; ++in)
      for (int out = 0; out < entry.out; ++out) {
        const int row = entry.transposed ? in * entry.out + out : out * entry.in + in;
        made.weight.push_back(stored[static_cast<size_t>(row * taps + tap)]);
      }
  return made;
}

/// Each pixel starts as the bias.
MaskPlane begin_plane(int side, const MaskConvolution& by) {
  MaskPlane plane{side, by.out, {}};
  plane.values.reserve(static_cast<size_t>(side * side * by.out));
  for (int i = 0; i < side * side; ++i)
    plane.values.insert(plane.values.end(), by.bias.begin(), by.bias.end());
  return plane;
}

/// One tap: to[out] += from[in] * weight[in, out].
void add_tap(float* to, const float* from, const MaskConvolution& by, int ky, int kx) {
  const float* weight = by.weight.data() + static_cast<size_t>((ky * by.kernel + kx) * by.in * by.out);
  for (int in = 0; in < by.in; ++in, weight += by.out)
    for (int out = 0; out < by.out; ++out) to[out] += from[in] * weight[out];
}

float* pixel(MaskPlane& plane, int y, int x) {
  return plane.values.data() + static_cast<size_t>((y * plane.side + x) * plane.channels);
}
const float* pixel(const MaskPlane& plane, int y, int x) {
  return plane.values.data() + static_cast<size_t>((y * plane.side + x) * plane.channels);
}

/// The side stays: out[y, x] = sum of in[y + ky - pad, x + kx - pad] * W[ky, kx].
MaskPlane convolve(const MaskPlane& plane, const MaskConvolution& by) {
  MaskPlane made = begin_plane(plane.side, by);
  const int pad = by.kernel / 2;
  for (int y = 0; y < plane.side; ++y)
    for (int x = 0; x < plane.side; ++x)
      for (int ky = 0; ky < by.kernel; ++ky)
        for (int kx = 0; kx < by.kernel; ++kx) {
          const int from_y = y + ky - pad, from_x = x + kx - pad;
          if (from_y >= 0 && from_y < plane.side && from_x >= 0 && from_x < plane.side)
            add_tap(pixel(made, y, x), pixel(plane, from_y, from_x), by, ky, kx);
        }
  return made;
}

/// The side doubles, as PyTorch defines it (stride 2, padding 1): out[2 y - 1 + ky, 2 x - 1 + kx] +=
/// in[y, x] * W[ky, kx].
MaskPlane convolve_transposed(const MaskPlane& plane, const MaskConvolution& by) {
  MaskPlane made = begin_plane(2 * plane.side, by);
  for (int y = 0; y < plane.side; ++y)
    for (int x = 0; x < plane.side; ++x)
      for (int ky = 0; ky < by.kernel; ++ky)
        for (int kx = 0; kx < by.kernel; ++kx) {
          const int to_y = 2 * y - 1 + ky, to_x = 2 * x - 1 + kx;
          if (to_y >= 0 && to_y < made.side && to_x >= 0 && to_x < made.side)
            add_tap(pixel(made, to_y, to_x), pixel(plane, y, x), by, ky, kx);
        }
  return made;
}

MaskPlane relu(MaskPlane plane) {
  for (float& value : plane.values) value = std::max(value, 0.0f);
  return plane;
}

}  // namespace

MaskDecoder::MaskDecoder(const std::filesystem::path& npz) {
  FloatArrays arrays = read_npz(npz, wanted_arrays());
  embedding_ = std::move(arrays.at(kCodebook));
  input_ = convolution_of(arrays, kInput);
  for (size_t i = 0; i < blocks_.size(); ++i)
    blocks_[i] = {convolution_of(arrays, kBlocks[i][0]), convolution_of(arrays, kBlocks[i][1]),
                  convolution_of(arrays, kBlocks[i][2])};
  for (size_t i = 0; i < upwards_.size(); ++i) upwards_[i] = convolution_of(arrays, kUpwards[i]);
  output_ = convolution_of(arrays, kOutput);
}

/// The code at (y, x) of the grid is codes[4 y + x].
MaskPlane MaskDecoder::embedded(std::span<const int32_t> codes) const {
  if (codes.size() != kMaskCodes) fail("a mask has ", codes.size(), " codes, not ", kMaskCodes);
  MaskPlane plane{kGrid, kEmbedding, {}};
  for (const int32_t code : codes) {
    if (code < 0 || code >= kMaskCodeCount)
      fail("a mask has the code ", code, ", not below ", kMaskCodeCount);
    const auto row = embedding_.begin() + static_cast<int64_t>(code) * kEmbedding;
    plane.values.insert(plane.values.end(), row, row + kEmbedding);
  }
  return plane;
}

DecodedMask MaskDecoder::decode(std::span<const int32_t> codes) const {
  MaskPlane plane = relu(convolve(embedded(codes), input_));  // [4, 4, 128]
  for (const ResidualBlock& block : blocks_) {
    const MaskPlane inner =
        convolve(relu(convolve(relu(convolve(plane, block.first)), block.second)), block.last);
    for (size_t i = 0; i < plane.values.size(); ++i) plane.values[i] += inner.values[i];
  }
  for (const MaskConvolution& up : upwards_) plane = relu(convolve_transposed(plane, up));  // … [64, 64, 16]
  plane = convolve(plane, output_);
  DecodedMask mask;
  std::copy(plane.values.begin(), plane.values.end(), mask.begin());
  return mask;
}

}  // namespace lapidary

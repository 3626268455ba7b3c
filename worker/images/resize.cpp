#include "worker/images/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "configs/error.h"
#include "worker/images/resize_passes.h"

namespace lapidary {
namespace {

constexpr int32_t kHalf = 1 << (kWeightBits - 1);

uint8_t byte_of_sum(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kWeightBits, 0, 255)); }

double cubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

int32_t fixed_point(double weight, int bits) {
  return static_cast<int32_t>((weight < 0 ? -0.5 : 0.5) + weight * (1 << bits));
}

/// torchvision's weights are 16-bit integers with as many fractional bits as the largest one leaves room for.
/// They become ours by a shift, which changes no sum's rounding: one pair of passes serves both libraries.
int torchvision_bits(double largest) {
  int bits = 0;
  while (bits < kWeightBits && static_cast<int>(0.5 + largest * (1 << (bits + 1))) < 1 << 15) ++bits;
  return bits;
}

/// The weights of one output sample, summing to one.
void weigh(std::vector<double>& weights, const Taps& taps, double centre, double inverse_scale) {
  double sum = 0;
  weights.resize(static_cast<size_t>(taps.count));
  for (int i = 0; i < taps.count; ++i) {
    const double weight = cubic((i + taps.first - centre + 0.5) * inverse_scale);
    weights[static_cast<size_t>(i)] = weight;
    sum += weight;
  }
  if (sum == 0) return;
  for (double& weight : weights) weight /= sum;
}

void split_weights(ResizeWeights& weights) {
  weights.halves.resize(weights.values.size() * 2);
  for (size_t i = 0; i < weights.values.size(); ++i) {
    const size_t at = i / 4 * 8 + i % 4;
    weights.halves[at] = static_cast<int16_t>(weights.values[i] & 0x7fff);
    weights.halves[at + 4] = static_cast<int16_t>(weights.values[i] >> 15);
  }
}

void horizontal_portable(uint8_t* out, const uint8_t* in, const ResizeWeights& weights) {
  for (const Taps& taps : weights.taps) {
    const uint8_t* pixel = in + static_cast<size_t>(taps.first) * 3;
    const int32_t* weight = weights.values.data() + taps.at;
    int32_t r = kHalf, g = kHalf, b = kHalf;
    for (int i = 0; i < taps.count; ++i, pixel += 3) {
      r += pixel[0] * weight[i];
      g += pixel[1] * weight[i];
      b += pixel[2] * weight[i];
    }
    *out++ = byte_of_sum(r);
    *out++ = byte_of_sum(g);
    *out++ = byte_of_sum(b);
  }
}

void vertical_portable(uint8_t* out, const uint8_t* in, size_t bytes, const ResizeWeights& weights,
                       const Taps& taps) {
  vertical_from(0, out, in, bytes, weights, taps);
}

/// Rows [first, first + count) of the picture, made `width` pixels wide.
Image resize_rows(const Image& image, const ResizeWeights& weights, int first, int count,
                  const ResizeKernel& kernel) {
  Image out = make_image(static_cast<int>(weights.taps.size()), count);
  std::vector<uint8_t> padded(image.row_bytes() + kReadAhead);  // for rows without enough bytes behind them
  const uint8_t* const end = image.rgb.data() + image.rgb.size();
  for (int y = 0; y < count; ++y) {
    const uint8_t* row = image.row(first + y);
    if (static_cast<size_t>(end - row) < padded.size()) {
      std::memcpy(padded.data(), row, image.row_bytes());
      row = padded.data();
    }
    kernel.horizontal(out.row(y), row, weights);
  }
  return out;
}

Image resize_columns(const Image& image, const ResizeWeights& weights, int first,
                     const ResizeKernel& kernel) {
  Image out = make_image(image.width, static_cast<int>(weights.taps.size()));
  for (int y = 0; y < out.height; ++y) {
    Taps taps = weights.taps[static_cast<size_t>(y)];
    taps.first -= first;
    kernel.vertical(out.row(y), image.rgb.data(), image.row_bytes(), weights, taps);
  }
  return out;
}

Image resize_with(const Image& image, int width, int height, ImageProcessor like,
                  const ResizeKernel& kernel) {
  if (image.width <= 0 || image.height <= 0 || width <= 0 || height <= 0)
    fail("cannot resize an image of ", image.width, " x ", image.height, " pixels to ", width, " x ", height);
  const ResizeWeights across = bicubic_weights(image.width, width, like);
  if (image.height == height)
    return image.width == width ? image : resize_rows(image, across, 0, height, kernel);
  const ResizeWeights weights = bicubic_weights(image.height, height, like);
  if (image.width == width) return resize_columns(image, weights, 0, kernel);
  if (like == ImageProcessor::pillow && columns_first(image.width, image.height, width, height))
    return resize_rows(resize_columns(image, weights, 0, kernel), across, 0, height, kernel);
  // Only rows that the second pass looks at are made narrow: a cubic's ends need not reach the picture's.
  const int first = weights.taps.front().first;
  const int last = weights.taps.back().first + weights.taps.back().count;
  return resize_columns(resize_rows(image, across, first, last - first, kernel), weights, first, kernel);
}

}  // namespace

bool columns_first(int from_width, int from_height, int width, int height) {
  return from_height > height && int64_t{from_height} - height > 2 * (int64_t{from_width} - width);
}

ResizeWeights bicubic_weights(int in, int out, ImageProcessor like) {
  // Pillow carries the size of the picture in float32, so sizes beyond 2^24 would round here too.
  const double scale = static_cast<double>(static_cast<float>(in)) / out;
  const double filter_scale = std::max(scale, 1.0);
  const double support = 2.0 * filter_scale;
  const double inverse_scale = 1.0 / filter_scale;
  ResizeWeights result;
  std::vector<double> weights, all;
  for (int i = 0; i < out; ++i) {
    const double centre = (i + 0.5) * scale;
    Taps taps;
    taps.first = std::max(0, static_cast<int>(centre - support + 0.5));
    taps.count = std::min(in, static_cast<int>(centre + support + 0.5)) - taps.first;
    taps.at = all.size();
    weigh(weights, taps, centre, inverse_scale);
    all.insert(all.end(), weights.begin(), weights.end());
    all.resize((all.size() + 3) / 4 * 4);
    result.taps.push_back(taps);
  }
  const int bits = like == ImageProcessor::torchvision
                       ? torchvision_bits(*std::max_element(all.begin(), all.end()))
                       : kWeightBits;
  for (double weight : all) result.values.push_back(fixed_point(weight, bits) * (1 << (kWeightBits - bits)));
  split_weights(result);
  return result;
}

void vertical_from(size_t begin, uint8_t* out, const uint8_t* in, size_t bytes, const ResizeWeights& weights,
                   const Taps& taps) {
  const int32_t* weight = weights.values.data() + taps.at;
  for (size_t x = begin; x < bytes; ++x) {
    const uint8_t* byte = in + static_cast<size_t>(taps.first) * bytes + x;
    int32_t sum = kHalf;
    for (int i = 0; i < taps.count; ++i, byte += bytes) sum += *byte * weight[i];
    out[x] = byte_of_sum(sum);
  }
}

ResizeKernel portable_resize() { return {horizontal_portable, vertical_portable}; }

Image resize_bicubic(const Image& image, int width, int height, ImageProcessor like) {
  return resize_with(image, width, height, like, best_resize());
}

Image resize_bicubic_portable(const Image& image, int width, int height, ImageProcessor like) {
  return resize_with(image, width, height, like, portable_resize());
}

}  // namespace lapidary

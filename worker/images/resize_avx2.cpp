#include <immintrin.h>

#include "worker/images/resize_passes.h"

// Only these functions are compiled for AVX2: the rest of the program runs on any x86-64, which decides at
// run time.
#define LAPIDARY_AVX2 __attribute__((target("avx2")))

namespace lapidary {
namespace {

/// Two sums, of the weights' low and high parts, are one: wrapping 32-bit arithmetic is exact because the
/// whole sum fits, whatever the parts do.
LAPIDARY_AVX2 inline __m256i rounded(__m256i low, __m256i high) {
  const __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, 15), low);
  return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(1 << (kWeightBits - 1))), kWeightBits);
}

/// Four pixels a step: the lower half of a register holds R, G, B of pixels 0 and 1 in pairs of 16 bits, the
/// upper half those of pixels 2 and 3, so that one multiply-add takes both of a pair.
LAPIDARY_AVX2 void horizontal_avx2(uint8_t* out, const uint8_t* in, const ResizeWeights& weights) {
  const __m256i pair_pixels = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,  //
                                               6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
  const __m256i pair_low = _mm256_setr_epi8(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3,  //
                                            4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7);
  const __m256i pair_high = _mm256_add_epi8(pair_low, _mm256_set1_epi8(8));
  for (const Taps& taps : weights.taps) {
    const uint8_t* pixel = in + static_cast<size_t>(taps.first) * 3;
    const int16_t* half = weights.halves.data() + taps.at * 2;
    __m256i low = _mm256_setzero_si256(), high = _mm256_setzero_si256();
    for (int i = 0; i < taps.count; i += 4, pixel += 12, half += 8) {
      const __m256i bytes =
          _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(pixel)));
      const __m256i weight =
          _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(half)));
      const __m256i pairs = _mm256_shuffle_epi8(bytes, pair_pixels);
      low = _mm256_add_epi32(low, _mm256_madd_epi16(pairs, _mm256_shuffle_epi8(weight, pair_low)));
      high = _mm256_add_epi32(high, _mm256_madd_epi16(pairs, _mm256_shuffle_epi8(weight, pair_high)));
    }
    low = _mm256_add_epi32(low, _mm256_permute2x128_si256(low, low, 1));
    high = _mm256_add_epi32(high, _mm256_permute2x128_si256(high, high, 1));
    const __m128i rgb = _mm256_castsi256_si128(rounded(low, high));
    const __m128i words = _mm_packs_epi32(rgb, rgb);
    const uint32_t packed = static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_packus_epi16(words, words)));
    *out++ = static_cast<uint8_t>(packed);
    *out++ = static_cast<uint8_t>(packed >> 8);
    *out++ = static_cast<uint8_t>(packed >> 16);
  }
}

LAPIDARY_AVX2 inline __m256i broadcast_pair(const int16_t* pair) {
  int32_t both;
  __builtin_memcpy(&both, pair, sizeof(both));
  return _mm256_set1_epi32(both);
}

/// Sixteen bytes of two rows a step, interleaved so that one multiply-add takes both rows.
LAPIDARY_AVX2 __m128i vertical_sixteen(const uint8_t* in, size_t stride, const int16_t* halves, int count) {
  __m256i low0 = _mm256_setzero_si256(), low1 = low0, high0 = low0, high1 = low0;
  for (int i = 0; i < count; i += 2, in += 2 * stride) {
    const uint8_t* next =
        i + 1 < count ? in + stride : in;  // the padding's weight is zero; its row must exist
    const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in));
    const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(next));
    const __m256i pairs0 = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b));
    const __m256i pairs1 = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b));
    const int16_t* pair = halves + i / 4 * 8 + i % 4;
    const __m256i weight_low = broadcast_pair(pair), weight_high = broadcast_pair(pair + 4);
    low0 = _mm256_add_epi32(low0, _mm256_madd_epi16(pairs0, weight_low));
    low1 = _mm256_add_epi32(low1, _mm256_madd_epi16(pairs1, weight_low));
    high0 = _mm256_add_epi32(high0, _mm256_madd_epi16(pairs0, weight_high));
    high1 = _mm256_add_epi32(high1, _mm256_madd_epi16(pairs1, weight_high));
  }
  const __m256i words = _mm256_packs_epi32(rounded(low0, high0), rounded(low1, high1));
  const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);  // packing works in halves: 0, 2, 1, 3
  return _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
}

LAPIDARY_AVX2 void vertical_avx2(uint8_t* out, const uint8_t* in, size_t bytes, const ResizeWeights& weights,
                                 const Taps& taps) {
  const uint8_t* first = in + static_cast<size_t>(taps.first) * bytes;
  const int16_t* halves = weights.halves.data() + taps.at * 2;
  size_t x = 0;
  for (; x + 16 <= bytes; x += 16)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + x),
                     vertical_sixteen(first + x, bytes, halves, taps.count));
  vertical_from(x, out, in, bytes, weights, taps);
}

}  // namespace

ResizeKernel best_resize() {
  if (__builtin_cpu_supports("avx2")) return {horizontal_avx2, vertical_avx2};
  return portable_resize();
}

}  // namespace lapidary

#include "worker/jpeg/bits.h"

#include <algorithm>

#include "configs/error.h"

namespace lapidary {
namespace {

constexpr uint8_t kMark = 0xff;
constexpr int kLongestCode = 16;
constexpr int kLargestSymbol = 16;

}  // namespace

JpegHuffman::JpegHuffman(std::span<const uint8_t, 16> lengths, std::span<const uint8_t> symbols)
    : codes_(size_t{1} << kLongestCode, Code{kLongestCode + 1, 0}) {
  size_t next = 0;   // symbol
  size_t begin = 0;  // first 16 bits that the next code stands for
  for (int bits = 1; bits <= kLongestCode; ++bits)
    for (int i = 0; i < lengths[static_cast<size_t>(bits - 1)]; ++i, ++next) {
      const size_t count = size_t{1} << (kLongestCode - bits);
      if (next == symbols.size() || symbols[next] > kLargestSymbol || begin + count > codes_.size())
        fail(
            "broken JPEG: a Huffman table of it cannot be (its codes are too many, or for differences of "
            "more than ",
            kLargestSymbol, " bits)");
      std::fill_n(codes_.begin() + static_cast<std::ptrdiff_t>(begin), count,
                  Code{static_cast<uint8_t>(bits), symbols[next]});
      begin += count;
    }
}

void JpegBits::fill() {
  while (held_bits_ <= 48) {
    held_ <<= 8;
    held_bits_ += 8;
    if (bytes_.empty()) {
      missing_bits_ = std::min(missing_bits_ + 8, 1 << 20);
      continue;
    }
    const uint8_t byte = bytes_[0];
    held_ |= byte;
    bytes_ = bytes_.subspan(1);
    if (byte != kMark) continue;
    while (!bytes_.empty() && bytes_[0] == kMark) bytes_ = bytes_.subspan(1);
    if (!bytes_.empty()) bytes_ = bytes_.subspan(1);  // the zero
  }
}

}  // namespace lapidary

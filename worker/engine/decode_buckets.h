#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

namespace lapidary {

/// Steps that only decode are padded to few sizes where a backend records them: one recording does for all
/// steps of a size.
struct DecodeBucket {
  int64_t rows = 0;    // sequences and padding
  int64_t tokens = 0;  // of the longest sequence, at most

  /// The smallest for `sequences` of up to `longest` tokens, within the most there can be. Up to 8 rows
  /// powers of two, where a row more costs most; then multiples of 8, and of 32 from 64 on.
  static DecodeBucket fitting(int64_t sequences, int64_t longest, int64_t max_sequences, int64_t max_tokens) {
    const auto power_of_two = [](int64_t n) {
      return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(n)));
    };
    const auto multiple = [](int64_t n, int64_t of) { return (n + of - 1) / of * of; };
    const int64_t rows = sequences <= 8    ? power_of_two(sequences)
                         : sequences <= 64 ? multiple(sequences, 8)
                                           : multiple(sequences, 32);
    return {std::min(rows, max_sequences),
            std::min(power_of_two(std::max(longest, kLeastTokens)), max_tokens)};
  }

  uint64_t key() const { return static_cast<uint64_t>(rows) << 32 | static_cast<uint64_t>(tokens); }

 private:
  static constexpr int64_t kLeastTokens = 512;
};

}  // namespace lapidary

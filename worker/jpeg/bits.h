#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace lapidary {

/// A Huffman table of a lossless JPEG: its symbols are the lengths of differences, 0 to 16.
class JpegHuffman {
 public:
  /// `lengths`: how many codes have 1, 2, … 16 bits; `symbols` in the order of their codes. Throws Error when
  /// they make no table.
  JpegHuffman(std::span<const uint8_t, 16> lengths, std::span<const uint8_t> symbols);

  /// What the next 16 bits begin with. A code that is none has 17 bits and the symbol 0, as in libjpeg.
  struct Code {
    uint8_t bits;
    uint8_t symbol;
  };
  Code code_of(uint32_t next16) const { return codes_[next16]; }

 private:
  std::vector<Code> codes_;
};

/// The bits between two marks of a JPEG file, first the highest of each byte; zeros behind the last.
class JpegBits {
 public:
  /// `bytes` as they stand in the file, a zero behind each 0xff.
  explicit JpegBits(std::span<const uint8_t> bytes = {}) : bytes_(bytes) {}

  /// The next difference of two samples.
  int difference(const JpegHuffman& table) {
    const JpegHuffman::Code code = table.code_of(peek(16));
    skip(code.bits);
    if (code.symbol == 0) return 0;
    if (code.symbol == 16) return 32768;  // without bits of its own
    const int bits = static_cast<int>(peek(code.symbol));
    skip(code.symbol);
    return bits >> (code.symbol - 1) != 0 ? bits : bits - (1 << code.symbol) + 1;
  }

  /// More bits were taken than there are.
  bool ran_out() const { return missing_bits_ > held_bits_; }

 private:
  uint32_t peek(int bits) {
    if (held_bits_ <= 16) fill();  // no code and no symbol has more than 17
    return static_cast<uint32_t>(held_ >> (held_bits_ - bits)) & ((1u << bits) - 1);
  }
  void skip(int bits) { held_bits_ -= bits; }
  void fill();

  std::span<const uint8_t> bytes_;
  uint64_t held_ = 0;  // the lowest `held_bits_` of them are to come
  int held_bits_ = 0;
  int missing_bits_ = 0;  // zeros that were added; those still held have not been taken
};

}  // namespace lapidary

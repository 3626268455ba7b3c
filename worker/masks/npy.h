#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lapidary {

/// What stands in front of the numbers of a .npy file.
struct NpyHeader {
  std::string dtype;           // "<f4": as numpy names it
  bool fortran_order = false;  // the first index varies fastest
  std::vector<int64_t> shape;  // empty: one number
  size_t bytes = 0;            // of the header: where the numbers begin
};

/// A header is at least this long: its mark, version and length.
constexpr size_t kNpyStart = 12;

/// How many bytes the header of a file takes that begins so (kNpyStart bytes). Throws a sentence where it is
/// no .npy file, of another version, or has a header of more than 64 KiB.
size_t npy_header_bytes(std::span<const uint8_t> start);

/// `header`: all of it. Throws a sentence. The shape's product fits 64 bits.
NpyHeader parse_npy_header(std::span<const uint8_t> header);

/// "[128, 512]"
std::string shape_text(std::span<const int64_t> shape);

}  // namespace lapidary

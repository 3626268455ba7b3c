#include "worker/masks/npy.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "configs/error.h"

namespace lapidary {
namespace {

constexpr std::string_view kMark("\x93NUMPY", 6);
constexpr size_t kMostHeader = 64 << 10, kMostDimensions = 32;  // numpy itself knows no more dimensions
constexpr int64_t kMostNumbers = int64_t{1} << 48;

/// The header's text is a dictionary as Python writes one.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  bool skip(std::string_view word) {
    skip_white();
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  void expect(std::string_view word) {
    if (!skip(word)) fail("its header lacks '", word, "' where one belongs");
  }
  bool at_end() {
    skip_white();
    return rest_.empty();
  }

  std::string_view quoted() {
    const std::string_view mark = skip("'") ? "'" : "\"";
    if (mark == "\"") expect(mark);
    const size_t end = rest_.find(mark);
    if (end == std::string_view::npos) fail("its header ends in the middle of a name");
    const std::string_view text = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return text;
  }

  bool truth() {
    if (skip("True")) return true;
    expect("False");
    return false;
  }

  std::vector<int64_t> shape() {
    std::vector<int64_t> sides;
    int64_t product = 1;
    expect("(");
    while (!skip(")")) {
      if (!sides.empty()) expect(",");
      if (skip(")")) break;
      sides.push_back(side());
      if (sides.size() > kMostDimensions) fail("has more than ", kMostDimensions, " dimensions");
      if (sides.back() > kMostNumbers / std::max<int64_t>(product, 1))
        fail("its shape ", shape_text(sides), " has too many numbers");
      product *= sides.back();
    }
    return sides;
  }

 private:
  void skip_white() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \n\t"), rest_.size())); }

  int64_t side() {
    skip_white();
    int64_t value = -1;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error != std::errc() || value < 0) fail("its header has a shape that is no list of whole numbers");
    rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
    return value;
  }

  std::string_view rest_;
};

}  // namespace

size_t npy_header_bytes(std::span<const uint8_t> start) {
  if (start.size() < kNpyStart || !std::equal(kMark.begin(), kMark.end(), start.begin(),
                                              [](char a, uint8_t b) { return static_cast<uint8_t>(a) == b; }))
    fail("is no array as numpy saves it");
  const int version = start[6];
  if (version < 1 || version > 3)
    fail("is of version ", version, " of numpy's format; versions 1 to 3 are read");
  const size_t length_bytes = version == 1 ? 2 : 4;
  size_t length = 0;
  for (size_t i = length_bytes; i-- > 0;) length = length << 8 | start[8 + i];
  if (length > kMostHeader) fail("has a header of ", length, " bytes, at most ", kMostHeader, " are read");
  return 8 + length_bytes + length;
}

NpyHeader parse_npy_header(std::span<const uint8_t> header) {
  NpyHeader parsed;
  parsed.bytes = npy_header_bytes(header);
  if (header.size() < parsed.bytes) fail("ends in its header");
  const size_t begin = header[6] == 1 ? 10 : 12;
  Scanner scan({reinterpret_cast<const char*>(header.data()) + begin, parsed.bytes - begin});
  int found = 0;
  scan.expect("{");
  while (!scan.skip("}")) {
    const std::string_view name = scan.quoted();
    scan.expect(":");
    if (name == "descr")
      parsed.dtype = scan.quoted(), ++found;
    else if (name == "fortran_order")
      parsed.fortran_order = scan.truth(), ++found;
    else if (name == "shape")
      parsed.shape = scan.shape(), ++found;
    else
      fail("its header has the unknown entry '", name, "'");
    if (!scan.skip(",")) {
      scan.expect("}");
      break;
    }
  }
  if (found != 3 || !scan.at_end()) fail("its header does not say dtype, order and shape once each");
  return parsed;
}

std::string shape_text(std::span<const int64_t> shape) {
  std::string text;
  for (const int64_t side : shape) text += (text.empty() ? "" : ", ") + std::to_string(side);
  return "[" + text + "]";
}

}  // namespace lapidary

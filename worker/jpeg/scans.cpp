#include "worker/jpeg/scans.h"

#include <algorithm>
#include <cstring>

namespace lapidary {
namespace {

constexpr uint8_t kMark = 0xff;
constexpr uint8_t kFirstRestart = 0xd0, kStartOfImage = 0xd8, kEndOfImage = 0xd9, kStartOfScan = 0xda;
constexpr uint8_t kTemporary = 0x01;

/// A mark that stands alone; pixels' own 0xff is followed by zero.
bool has_no_segment(uint8_t mark) {
  return mark == 0 || mark == kTemporary || (mark >= kFirstRestart && mark <= kStartOfImage);
}

}  // namespace

int64_t count_jpeg_scans(std::span<const uint8_t> bytes) {
  int64_t scans = 0;
  for (;;) {
    const void* mark = bytes.empty() ? nullptr : std::memchr(bytes.data(), kMark, bytes.size());
    if (mark == nullptr) return scans;
    bytes = bytes.subspan(static_cast<size_t>(static_cast<const uint8_t*>(mark) - bytes.data()));
    while (!bytes.empty() && bytes[0] == kMark)
      bytes = bytes.subspan(1);  // any number of them may stand there
    if (bytes.empty() || bytes[0] == kEndOfImage) return scans;
    const uint8_t kind = bytes[0];
    bytes = bytes.subspan(1);
    if (has_no_segment(kind)) continue;
    scans += kind == kStartOfScan;
    if (bytes.size() < 2) return scans;
    bytes = bytes.subspan(std::min<size_t>(bytes.size(), std::max<size_t>(2, bytes[0] << 8 | bytes[1])));
  }
}

}  // namespace lapidary

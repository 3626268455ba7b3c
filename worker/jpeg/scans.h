#pragma once

#include <cstdint>
#include <span>

namespace lapidary {

/// How many scans a JPEG file has up to its end mark, by its markers alone: nothing is decoded. `bytes` begin
/// with JPEG's first mark.
int64_t count_jpeg_scans(std::span<const uint8_t> bytes);

}  // namespace lapidary

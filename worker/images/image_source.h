#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "configs/wire/wire.pb.h"

namespace lapidary {

/// Larger files are refused before memory is taken for them.
constexpr int64_t kMaxPictureBytes = int64_t{1} << 30;

struct ReadLimits {
  int64_t max_bytes = kMaxPictureBytes;
  /// Told how many bytes a file or an entry has before memory is taken for them: may wait, or throw Error.
  std::function<void(int64_t bytes)> before_reading = [](int64_t) {};
};

/// The bytes of a picture file: those given, a whole file, or one entry of an uncompressed tar (`offset` is
/// where its headers begin, long names and pax headers among them; GNU, pax and ustar). Throws Error: a
/// sentence that begins with the path, and for a tar with its entry.
std::vector<uint8_t> read_source(const wire::ImageSource& source, const ReadLimits& limits = {});
/// Those given alone, where they lie; empty: they are to be read.
std::span<const uint8_t> given_bytes(const wire::ImageSource& source);

/// How errors name the picture: "a.jpg", or "00000.tar (entry at byte 1536)".
std::string name_of(const wire::ImageSource& source);

using ContentHash = std::array<uint64_t, 2>;

/// Tells pictures apart by the bytes of their files: the first 128 bits of their BLAKE2b, for which nobody
/// can make two that agree.
ContentHash content_hash(std::span<const uint8_t> bytes);

}  // namespace lapidary

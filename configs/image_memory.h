#pragma once

#include <cstdint>

namespace lapidary {

/// How a process divides what it may hold of pictures (--image-memory-gb), in bytes. The parts are apart, and
/// each waits for none but itself and those behind it on a picture's way: so nobody waits for ever.
struct ImageMemory {
  int64_t read_ahead;  // coordinator: read, and not captioned yet
  int64_t received;    // worker: sent by the coordinator, and not decoded yet
  int64_t files;       // worker: read from files by itself
  int64_t decoding;    // worker: pixels, and what a decoder needs
};

/// Decoders get most: a picture's pixels are many times its file.
constexpr ImageMemory divide_image_memory(int64_t bytes) {
  const int64_t eighth = bytes / 8;
  return {eighth, eighth, eighth, bytes - 3 * eighth};
}

}  // namespace lapidary

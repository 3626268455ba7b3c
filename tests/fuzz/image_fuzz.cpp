#include <cstddef>
#include <cstdint>

#include "configs/error.h"
#include "worker/images/image.h"
#include "worker/images/resize.h"

/// Any bytes: a picture that can be resized, or an Error.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const lapidary::Image image =
        lapidary::decode_image({data, size}, {.max_pixels = 1 << 14, .max_side = 4096});
    lapidary::resize_bicubic(image, 32, 32);
  } catch (const lapidary::Error&) {
  }
  return 0;
}

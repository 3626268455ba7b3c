#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "configs/error.h"
#include "worker/images/image.h"
#include "worker/images/orientation.h"
#include "worker/images/resize.h"

/// Any bytes: a picture that can be resized, or an Error; memory is announced before it is taken, once,
/// within the limit. Run with -malloc_limit_mb=16 -timeout=5: what a picture may cost holds for damaged ones
/// too.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  lapidary::ImageLimits limits{
      .max_pixels = 1 << 18, .max_side = 4096, .max_memory_bytes = 4 << 20, .max_scanned_pixels = 1 << 24};
  int announced = 0;
  limits.before_decoding = [&](int64_t bytes) {
    ++announced;
    if (bytes > limits.max_memory_bytes) std::abort();
  };
  try {
    const auto alpha = size % 2 != 0 ? lapidary::Alpha::white : lapidary::Alpha::drop;
    const int orientation = lapidary::exif_orientation({data, size});
    const lapidary::Image image =
        lapidary::upright(lapidary::decode_image({data, size}, limits, alpha), orientation);
    if (announced != 1) std::abort();
    lapidary::resize_bicubic(image, 32, 32);
  } catch (const lapidary::Error&) {
  }
  return 0;
}

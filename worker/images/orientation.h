#pragma once

#include <cstdint>
#include <span>

#include "worker/images/image.h"

namespace lapidary {

/// How a picture is stored against how it is seen, as EXIF numbers it: 1 as seen, 2 mirrored, 3 upside down,
/// 4 that mirrored, 5 to 8 lying on a side. 1 too where the file says nothing, or nothing readable: cameras
/// write much that is broken. Looks at the EXIF data of JPEG, PNG and WebP; XMP is not read.
int exif_orientation(std::span<const uint8_t> bytes);

/// The picture as it is seen, which for 5 to 8 swaps width and height.
Image upright(Image image, int orientation);

}  // namespace lapidary

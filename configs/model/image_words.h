#pragma once

#include <array>
#include <cstdint>

#include "configs/enum_names.h"

namespace lapidary {

/// Whose resize and rounding a picture goes through: transformers' processor on torchvision's tensors, or the
/// one on Pillow's pictures. `automatic`: as the checkpoint and the numerics profile say.
enum class ImageProcessor : uint8_t { automatic, torchvision, pillow };
template <>
struct EnumNames<ImageProcessor> {
  static constexpr std::array kNames{"auto", "torchvision", "pillow"};
};

/// What becomes of transparency: blended onto white or black, or dropped, which shows the colours that lie
/// under it.
enum class Alpha : uint8_t { automatic, white, drop, black };
template <>
struct EnumNames<Alpha> {
  static constexpr std::array kNames{"auto", "white", "drop", "black"};
};

/// Whether a picture is turned as its EXIF orientation says.
enum class Orientation : uint8_t { as_stored, exif };
template <>
struct EnumNames<Orientation> {
  static constexpr std::array kNames{"as-stored", "exif"};
};

}  // namespace lapidary

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "worker/images/image.h"

namespace lapidary {

/// A rectangle in pixels, its right and lower edges not in it, and what it holds.
struct Box {
  double x1 = 0, y1 = 0, x2 = 0, y2 = 0;
  std::string label;
  /// Of the whole picture's pixels, down the columns: how many are not in the thing, then how many are, …;
  /// empty: not known.
  std::vector<uint32_t> mask{};
};

/// Tints the pixels of each box's mask, and draws its outline, in one colour after the other, and its label
/// on a filled tag at the upper left corner. Line and letters grow with the picture. What lies outside the
/// picture is cut off, corners may come in any order, a box with a coordinate that is no finite number is
/// left out, and a mask of another size is not shown.
void draw_boxes(Image& image, std::span<const Box> boxes);

/// The picture with `caption` on white under it, wrapped at words. A picture narrower than 240 pixels is
/// centred over a strip of that width. UTF-8; letters outside ASCII appear as a hollow box.
Image caption_strip(const Image& image, std::string_view caption);

}  // namespace lapidary

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lapidary {

/// Which pixels of a picture belong to a thing.
struct DetectedMask {
  int height = 0, width = 0;  // of the picture
  std::string rle;            // run lengths down the columns, as COCO's "counts" has them compressed
  /// Outer contours along the edges of pixels: x, y, x, y, …; empty where nobody asked for them.
  std::vector<std::vector<double>> polygons;
};

/// Something the model located.
struct DetectedBox {
  std::string label;                   // without white space around it; may be empty
  std::array<double, 4> xyxy{};        // pixels of the original picture: left, top, right, bottom
  std::vector<int32_t> segments;       // 16 codes of the mask, or none
  bool partial = false;                // the text ended in the middle of these codes, and has none
  std::optional<DetectedMask> mask{};  // what a decoder made of them
};

struct Detections {
  std::vector<DetectedBox> boxes;
  std::vector<std::string> text;  // what stood between and after them
  bool partial = false;           // the text ended in the middle of a box or of its mask
};

/// Boxes in generated text: four `<locNNNN>` in the order y1 x1 y2 x2, then perhaps exactly 16 `<segNNN>`,
/// then perhaps a label, up to the next `;`, `<` or `>`; boxes are parted by " ; ". A bin is 1/bins of the
/// side (the checkpoints' users divide by 1024; the model's trainers by 1023). A text that was cut off may
/// end with fewer: what is left of a box stays text. Linear in the text, which may hold anything.
Detections parse_boxes(std::string_view text, int64_t width, int64_t height, double bins = 1024);

}  // namespace lapidary

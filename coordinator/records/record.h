#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/text/boxes.h"

namespace lapidary {

/// What became of one item.
struct Record {
  std::string key;
  std::string prompt;
  std::string text;                  // special tokens left out, <loc…> and <seg…> kept
  std::vector<int32_t> token_ids;    // without the one that ended the text
  std::optional<std::string> error;  // none: all went well
  int64_t width = 0;                 // of the first image, pixels; 0 where it could not be read
  int64_t height = 0;
  std::vector<DetectedBox> boxes;  // in pixels of the first image
};

/// {"key", "prompt", "text", "token_ids", "status": "ok" or "error", "error", "width", "height", "boxes":
/// [{"label", "xyxy": [x1, y1, x2, y2]}]} on one line, always with all fields. No error and an unknown size
/// are null; pixels have at most two decimals. Boxes have "segments", "mask" and "partial": true besides,
/// where there is such.
std::string to_json(const Record& record);

/// With at most two decimals.
std::string pixels_text(double value);
/// {"size": [480, 640], "counts": "…"}, as COCO has it.
std::string mask_text(int height, int width, const std::string& counts);

}  // namespace lapidary

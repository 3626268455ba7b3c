#include "coordinator/records/record.h"

#include <cstdio>

#include "coordinator/text/json_text.h"

namespace lapidary {
namespace {

template <class List, class TextOf>
std::string list_text(const List& list, TextOf text_of) {
  std::string text;
  for (const auto& value : list) text += (text.empty() ? "" : ", ") + text_of(value);
  return "[" + text + "]";
}

std::string number_text(int32_t value) { return std::to_string(value); }

std::string box_text(const DetectedBox& box) {
  std::string text = R"({"label": )" + json_string(box.label);
  text += R"(, "xyxy": )" + list_text(box.xyxy, pixels_text);
  if (!box.segments.empty()) text += R"(, "segments": )" + list_text(box.segments, number_text);
  if (box.mask) text += R"(, "mask": )" + mask_text(box.mask->height, box.mask->width, box.mask->rle);
  return text + (box.partial ? R"(, "partial": true})" : "}");
}

std::string size_text(int64_t side) { return side > 0 ? std::to_string(side) : "null"; }

}  // namespace

std::string pixels_text(double value) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.2f", value);
  std::string number = text;
  number.erase(number.find_last_not_of('0') + 1);
  if (number.back() == '.') number.pop_back();
  return number;
}

std::string mask_text(int height, int width, const std::string& counts) {
  return R"({"size": [)" + std::to_string(height) + ", " + std::to_string(width) + R"(], "counts": )" +
         json_string(counts) + "}";
}

std::string to_json(const Record& record) {
  std::string line = R"({"key": )" + json_string(record.key);
  line += R"(, "prompt": )" + json_string(record.prompt);
  line += R"(, "text": )" + json_string(record.text);
  line += R"(, "token_ids": )" + list_text(record.token_ids, number_text);
  line += record.error ? R"(, "status": "error", "error": )" + json_string(*record.error)
                       : R"(, "status": "ok", "error": null)";
  line += R"(, "width": )" + size_text(record.width) + R"(, "height": )" + size_text(record.height);
  return line + R"(, "boxes": )" + list_text(record.boxes, box_text) + "}";
}

}  // namespace lapidary

#include "coordinator/text/boxes.h"

#include <algorithm>
#include <optional>

namespace lapidary {
namespace {

constexpr std::string_view kWhite = " \t\n\r\f\v";
constexpr size_t kCorners = 4;
constexpr size_t kCodes = 16;

/// Reads tokens off the front of a text.
struct Scanner {
  std::string_view rest;

  bool skip(std::string_view word) {
    if (!rest.starts_with(word)) return false;
    rest.remove_prefix(word.size());
    return true;
  }

  void skip_white() { rest.remove_prefix(std::min(rest.find_first_not_of(kWhite), rest.size())); }

  /// `name`, `digits` decimal digits making a number below `limit`, and ">".
  std::optional<int32_t> number(std::string_view name, size_t digits, int32_t limit) {
    const std::string_view before = rest;
    int32_t value = 0;
    bool good = skip(name) && rest.size() > digits;
    for (size_t i = 0; good && i < digits; ++i) {
      good = rest[i] >= '0' && rest[i] <= '9';
      value = value * 10 + (rest[i] - '0');
    }
    if (good) rest.remove_prefix(digits);
    if (good && value < limit && skip(">")) return value;
    rest = before;
    return std::nullopt;
  }

  /// `count` such numbers in a row, or none.
  std::vector<int32_t> numbers(size_t count, std::string_view name, size_t digits, int32_t limit) {
    const std::string_view before = rest;
    std::vector<int32_t> values;
    while (values.size() < count) {
      const auto value = number(name, digits, limit);
      if (!value) {
        rest = before;
        return {};
      }
      values.push_back(*value);
    }
    return values;
  }

  /// Whether at most `most` such numbers, and at least one, are all that is left but for white space.
  bool ends_within(size_t most, std::string_view name, size_t digits, int32_t limit) {
    const std::string_view before = rest;
    size_t count = 0;
    while (count <= most && number(name, digits, limit)) ++count;
    skip_white();
    const bool ends = rest.empty() && count > 0 && count <= most;
    rest = before;
    return ends;
  }

  std::string_view label() {
    std::string_view found = rest.substr(0, rest.find_first_of(";<>"));
    rest.remove_prefix(found.size());
    found = found.substr(0, found.find_last_not_of(kWhite) + 1);
    return found.substr(std::min(found.find_first_not_of(kWhite), found.size()));
  }
};

}  // namespace

Detections parse_boxes(std::string_view text, int64_t width, int64_t height, double bins) {
  Detections found;
  Scanner scan{text};
  std::string_view plain = text;  // its front, up to the next box, belongs to no box
  const auto keep = [&](std::string_view between) {
    if (!between.empty()) found.text.emplace_back(between);
  };
  for (size_t next = scan.rest.find("<loc"); next != std::string_view::npos; next = scan.rest.find("<loc")) {
    scan.rest.remove_prefix(next);
    const std::string_view begin = scan.rest;
    const auto corners = scan.numbers(kCorners, "<loc", 4, 1024);
    if (corners.empty()) {
      found.partial = found.partial || scan.ends_within(kCorners - 1, "<loc", 4, 1024);
      scan.rest.remove_prefix(1);
      continue;
    }
    keep(plain.substr(0, plain.size() - begin.size()));
    DetectedBox box;
    const auto pixels = [&](int32_t bin, int64_t side) { return bin / bins * static_cast<double>(side); };
    box.xyxy = {pixels(corners[1], width), pixels(corners[0], height), pixels(corners[3], width),
                pixels(corners[2], height)};
    scan.skip_white();
    box.segments = scan.numbers(kCodes, "<seg", 3, 128);
    box.partial = box.segments.empty() && scan.ends_within(kCodes - 1, "<seg", 3, 128);
    found.partial = found.partial || box.partial;
    scan.skip_white();
    box.label = scan.label();
    scan.skip("; ");
    found.boxes.push_back(std::move(box));
    plain = scan.rest;
  }
  keep(plain);
  return found;
}

}  // namespace lapidary

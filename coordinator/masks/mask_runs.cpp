#include "coordinator/masks/mask_runs.h"

#include <algorithm>

#include "configs/error.h"

namespace lapidary {
namespace {

/// COCO's tools count in 32 bits.
int64_t pixels_of(int height, int width) {
  const int64_t pixels = int64_t{height} * width;
  if (height <= 0 || width <= 0 || pixels > UINT32_MAX)
    fail("there is no mask of ", width, " x ", height, " pixels, at most ", UINT32_MAX, " in all");
  return pixels;
}

// A number of the text: groups of 5 bits from the low end, each with a bit that says whether more come, as
// letters from '0' on. The highest bit of the last group is the sign.
constexpr int kGroupBits = 5;
constexpr int64_t kGroup = (1 << kGroupBits) - 1, kMore = 1 << kGroupBits, kSign = 1 << (kGroupBits - 1);
constexpr char kZero = '0';

void append_number(std::string& text, int64_t value) {
  for (bool more = true; more;) {
    int64_t group = value & kGroup;
    value >>= kGroupBits;
    more = (group & kSign) != 0 ? value != -1 : value != 0;
    if (more) group |= kMore;
    text += static_cast<char>(kZero + group);
  }
}

/// Takes a number off the front.
int64_t take_number(std::string_view& text) {
  constexpr size_t kMostGroups = 7;  // of a difference of two numbers of 32 bits
  int64_t value = 0;
  for (size_t i = 0; i < text.size() && i < kMostGroups; ++i) {
    const int64_t group = text[i] - kZero;
    if (group < 0 || group > (kGroup | kMore)) fail("a mask's counts hold the letter '", text[i], "'");
    value |= (group & kGroup) << (kGroupBits * i);
    if ((group & kMore) != 0) continue;
    if ((group & kSign) != 0) value -= int64_t{1} << (kGroupBits * (i + 1));
    text.remove_prefix(i + 1);
    return value;
  }
  fail("a mask's counts end in a number, or have one that is too long");
}

}  // namespace

int64_t MaskRuns::area() const {
  int64_t area = 0;
  for (size_t i = 1; i < counts.size(); i += 2) area += counts[i];
  return area;
}

MaskRunBuilder::MaskRunBuilder(int height, int width)
    : runs_{height, width, {0}}, left_(pixels_of(height, width)) {}

void MaskRunBuilder::add(bool in, int64_t pixels) {
  if (pixels == 0) return;
  if (pixels < 0 || pixels > left_) fail("a run of ", pixels, " pixels in a mask with ", left_, " left");
  if (in != last_in_) runs_.counts.push_back(0);
  runs_.counts.back() += static_cast<uint32_t>(pixels);
  left_ -= pixels;
  last_in_ = in;
}

void MaskRunBuilder::add(std::span<const uint8_t> in) {
  for (auto begin = in.begin(); begin != in.end();) {
    const auto end =
        std::find_if(begin, in.end(), [&](uint8_t byte) { return (byte != 0) != (*begin != 0); });
    add(*begin != 0, end - begin);
    begin = end;
  }
}

MaskRuns MaskRunBuilder::finish() {
  add(false, left_);
  return std::move(runs_);
}

std::string coco_counts(const MaskRuns& runs) {
  std::string text;
  for (size_t i = 0; i < runs.counts.size(); ++i)
    append_number(text, int64_t{runs.counts[i]} - (i > 2 ? int64_t{runs.counts[i - 2]} : 0));
  return text;
}

MaskRuns runs_of_coco_counts(int height, int width, std::string_view counts) {
  int64_t left = pixels_of(height, width);
  MaskRuns runs{height, width, {}};
  while (!counts.empty()) {
    const size_t i = runs.counts.size();
    const int64_t count = take_number(counts) + (i > 2 ? int64_t{runs.counts[i - 2]} : 0);
    if (count < (i == 0 ? 0 : 1) || count > left)
      fail("a mask's counts have a run of ", count, " pixels with ", left, " left");
    runs.counts.push_back(static_cast<uint32_t>(count));
    left -= count;
  }
  if (left != 0) fail("a mask's counts leave ", left, " of ", int64_t{height} * width, " pixels out");
  return runs;
}

}  // namespace lapidary

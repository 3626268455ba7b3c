#include "coordinator/cli/sinks/mask_maker.h"

#include <algorithm>
#include <cmath>

#include "coordinator/masks/mask_outline.h"
#include "coordinator/masks/mask_runs.h"
#include "worker/masks/mask_in_box.h"

namespace lapidary {
namespace {

/// As PaliGemma's demo rounds: halves to the even number.
int edge(double position, int64_t side) {
  return static_cast<int>(std::clamp(std::nearbyint(position), 0.0, static_cast<double>(side)));
}

MaskRuns pasted(const MaskInBox& mask, int left, int top, int width, int height) {
  MaskRunBuilder runs(height, width);
  std::vector<uint8_t> column(static_cast<size_t>(mask.height()));
  runs.add(false, int64_t{left} * height);
  for (int x = 0; x < mask.width(); ++x) {
    mask.column(x, column);
    runs.add(false, top);
    runs.add(column);
    runs.add(false, height - top - mask.height());
  }
  return runs.finish();
}

}  // namespace

std::optional<DetectedMask> make_mask(const MaskDecoder& decoder, const DetectedBox& box, int64_t width,
                                      int64_t height, bool polygons) {
  const int left = edge(box.xyxy[0], width), top = edge(box.xyxy[1], height);
  const int right = edge(box.xyxy[2], width), bottom = edge(box.xyxy[3], height);
  if (box.segments.empty() || right <= left || bottom <= top) return std::nullopt;
  const MaskInBox in_box(decoder.decode(box.segments), right - left, bottom - top);
  const MaskRuns runs = pasted(in_box, left, top, static_cast<int>(width), static_cast<int>(height));
  return DetectedMask{runs.height, runs.width, coco_counts(runs),
                      polygons ? outer_contours(runs) : std::vector<std::vector<double>>()};
}

/// The pictures of items, which may hold their bytes, are let go of as the records are handed over: no more
/// wait than keep the pool's threads busy.
void MaskSink::add(const DatasetItem& item, const Record& record) {
  constexpr size_t kMost = 16;
  auto work = [&decoder = decoder_, record = Record(record)]() mutable {
    for (DetectedBox& box : record.boxes) box.mask = make_mask(decoder, box, record.width, record.height);
    return record;
  };
  const bool has_codes = std::any_of(record.boxes.begin(), record.boxes.end(),
                                     [](const DetectedBox& box) { return !box.segments.empty(); });
  if (!has_codes && waiting_.empty()) return sink_.add(item, record);
  waiting_.emplace_back(item, pool_.submit(std::move(work)));
  hand_over(kMost);
}

void MaskSink::commit() {
  hand_over(0);
  sink_.commit();
}

void MaskSink::finish(bool whole) {
  hand_over(0);
  sink_.finish(whole);
}

void MaskSink::hand_over(size_t keep) {
  for (; waiting_.size() > keep; waiting_.pop_front())
    sink_.add(waiting_.front().first, waiting_.front().second.get());
}

}  // namespace lapidary

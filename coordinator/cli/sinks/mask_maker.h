#pragma once

#include <deque>
#include <filesystem>
#include <functional>
#include <future>
#include <optional>
#include <utility>

#include "coordinator/records/record_writer.h"
#include "worker/lanes/task_pool.h"
#include "worker/masks/mask_decoder.h"

namespace lapidary {

/// A box's codes as a mask of its picture; of a picture that is `width` x `height` pixels. Boxes without
/// codes, and those without a pixel in them, have none. `polygons`: also its outer contours. Takes about as
/// long as the box has pixels, and a few milliseconds more.
std::optional<DetectedMask> make_mask(const MaskDecoder& decoder, const DetectedBox& box, int64_t width,
                                      int64_t height, bool polygons = false);

/// Makes the masks of the records that another sink writes, by the pool's threads.
class MaskSink : public RecordSink {
 public:
  MaskSink(RecordSink& sink, const MaskDecoder& decoder, TaskPool& pool)
      : sink_(sink), decoder_(decoder), pool_(pool) {}
  void add(const DatasetItem& item, const Record& record) override;
  void commit() override;
  void finish(bool whole) override;

 private:
  void hand_over(size_t keep);

  RecordSink& sink_;
  const MaskDecoder& decoder_;
  TaskPool& pool_;
  std::deque<std::pair<DatasetItem, std::future<Record>>> waiting_;  // in the order of `add`
};

}  // namespace lapidary

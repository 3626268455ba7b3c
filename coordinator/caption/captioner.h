#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "coordinator/dataset/inputs.h"
#include "coordinator/records/record.h"
#include "coordinator/schedule/scheduler.h"
#include "coordinator/telemetry/progress.h"

namespace lapidary {

struct CaptionSettings {
  std::string prompt;  // of items that bring none
  int64_t max_new_tokens = 64;
  wire::Sampling sampling;
  std::shared_ptr<const std::vector<int32_t>> eos;  // any ends a text
};

/// All that captioning leaves to others. What throws (but `write`) fails that item only.
struct CaptionParts {
  std::function<std::string(std::span<const int32_t>)> text;
  std::function<void(DatasetItem, Record)> write;
};

/// Turns items into requests and what becomes of them into records, in whatever order they end. An item that
/// cannot be captioned becomes a record with an error; nothing else notices.
class Captioner {
 public:
  Captioner(CaptionSettings settings, CaptionParts parts);

  /// The request of an item with a prefix, with an id of its own; none where its record is already written,
  /// because nothing can be made of it.
  std::optional<Request> begin(DatasetItem item);
  /// A begun request that nobody takes: its record says why.
  void refuse(uint64_t id, const std::string& error);
  void take(const RequestOutput& event);

  /// Of what is begun and not ended.
  void each_item(const std::function<void(const DatasetItem&)>& use) const;
  /// Begun and not ended.
  size_t running() const { return unfinished_.size(); }
  Counts& counts() { return counts_; }
  /// Of the first item that failed; empty while none has.
  const std::string& first_error() const { return first_error_; }

 private:
  struct Unfinished {
    DatasetItem item;
    Record record;
    bool orientation_left = false;
  };

  Request request_of(const Unfinished& pending);
  void finish(Unfinished& pending);
  void end(Unfinished pending, std::optional<std::string> error);

  CaptionSettings settings_;
  CaptionParts parts_;
  Counts counts_;
  std::string first_error_;
  std::unordered_map<uint64_t, Unfinished> unfinished_;  // by request
  uint64_t next_ = 1;
};

}  // namespace lapidary

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/dataset/inputs.h"

namespace lapidary {

/// Gives items their prefixes. On the reader's thread: cutting a long prompt into tokens takes its time, and
/// the coordinator's thread has none. Knows the prompts seen last, for most images share one.
class Prefixes {
 public:
  /// The ids of so many images and the prompt, an image token standing for one image. May throw.
  using Make = std::function<std::vector<int32_t>(int64_t images, const std::string& prompt)>;
  /// `prompt`: of items that bring none.
  Prefixes(std::string prompt, Make make) : prompt_(std::move(prompt)), make_(std::move(make)) {}

  /// Sets the item's prefix, or where none can be made its error. An item with an error stays as it is.
  void prepare(DatasetItem& item);

 private:
  using Ids = std::shared_ptr<const std::vector<int32_t>>;
  Ids prefix_of(int64_t images, const std::string& prompt);

  const std::string prompt_;
  const Make make_;
  std::map<std::pair<int64_t, std::string>, Ids> known_;
  size_t known_bytes_ = 0;  // of their prompts
};

}  // namespace lapidary

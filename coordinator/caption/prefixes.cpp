#include "coordinator/caption/prefixes.h"

#include <exception>

namespace lapidary {
namespace {

constexpr size_t kKnownPrompts = 256, kKnownBytes = 4 << 20;

}  // namespace

void Prefixes::prepare(DatasetItem& item) {
  if (item.error) return;
  try {
    item.prefix = prefix_of(static_cast<int64_t>(item.images.size()), item.prompt ? *item.prompt : prompt_);
  } catch (const std::exception& e) {
    item.error = e.what();
  }
}

Prefixes::Ids Prefixes::prefix_of(int64_t images, const std::string& prompt) {
  const auto found = known_.find({images, prompt});
  if (found != known_.end()) return found->second;
  auto ids = std::make_shared<const std::vector<int32_t>>(make_(images, prompt));
  if (known_.size() == kKnownPrompts || known_bytes_ + prompt.size() > kKnownBytes) {
    known_.clear();
    known_bytes_ = 0;
  }
  known_.emplace(std::pair(images, prompt), ids);
  known_bytes_ += prompt.size();
  return ids;
}

}  // namespace lapidary

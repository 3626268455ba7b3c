#include "coordinator/dataset/inputs.h"

#include <utility>

#include "coordinator/dataset/input_source.h"
#include "coordinator/dataset/input_sources.h"

namespace lapidary {

struct Inputs::Impl {
  std::optional<SourceItem> next_found();
  DatasetItem item_of(const std::optional<std::string>& prompt);

  Sources sources;
  std::vector<std::string> prompts;
  std::atomic<bool> cancelled = false;
  size_t at = 0;                         // the source that is read
  std::unique_ptr<SourceReader> reader;  // of it; none: not opened yet
  std::optional<SourceItem> found;       // a picture with prompts that were not given yet
  size_t prompt = 0;                     // the next of them
  int64_t index = 0;
  std::vector<Shard> ended;
};

std::optional<SourceItem> Inputs::Impl::next_found() {
  for (; at < sources.all.size() && !cancelled; ++at) {
    if (!reader) reader = open_source(sources.all[at], &cancelled);
    if (auto next = reader->next()) return next;
    reader.reset();
    const int64_t shard = sources.all[at].shard;
    if (shard >= 0) ended.push_back(sources.shards[static_cast<size_t>(shard)]);
  }
  return std::nullopt;
}

DatasetItem Inputs::Impl::item_of(const std::optional<std::string>& own) {
  const int64_t shard = sources.all[at].shard;
  if (shard >= 0) ++sources.shards[static_cast<size_t>(shard)].items;
  return {found->key, found->images, own, found->error, index++, shard};
}

Inputs::Inputs(const std::vector<std::string>& sources, const std::vector<std::string>& prompts)
    : impl_(std::make_unique<Impl>()) {
  impl_->sources = resolve_sources(sources);
  impl_->prompts = prompts;
  check_sources(impl_->sources);
}

Inputs::~Inputs() = default;
Inputs::Inputs(Inputs&&) noexcept = default;

std::optional<DatasetItem> Inputs::next() {
  Impl& now = *impl_;
  if (now.cancelled) return std::nullopt;
  if (!now.found) {
    now.found = now.next_found();
    now.prompt = 0;
  }
  if (!now.found) return std::nullopt;
  const auto& prompts = now.found->prompts.empty() ? now.prompts : now.found->prompts;
  const bool none = now.found->error || prompts.empty();
  DatasetItem item = now.item_of(none ? std::nullopt : std::optional(prompts[now.prompt]));
  if (none || ++now.prompt == prompts.size()) now.found.reset();
  return item;
}

void Inputs::cancel() { impl_->cancelled = true; }

std::vector<Shard> Inputs::ended_shards() { return std::exchange(impl_->ended, {}); }

const std::vector<Shard>& Inputs::shards() const { return impl_->sources.shards; }

}  // namespace lapidary

#include "coordinator/dataset/inputs.h"

#include <algorithm>
#include <utility>

#include "coordinator/dataset/file_names.h"
#include "coordinator/dataset/input_source.h"
#include "coordinator/dataset/input_sources.h"
#include "coordinator/dataset/unique_keys.h"

namespace lapidary {

struct Inputs::Impl {
  std::optional<SourceItem> next_found();
  void end_source();
  DatasetItem item_of(const std::vector<std::string>& of_picture);

  Sources sources;
  std::vector<std::string> prompts;
  UniqueKeys keys;
  bool tars_alone = false;  // keys of two sources differ by what they begin with
  LeftOut left_out;
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
    if (!reader) reader = open_source(sources.all[at], {&cancelled, &left_out});
    if (auto next = reader->next()) {
      next->key = keys.unique(next->key);
      return next;
    }
    reader.reset();
    end_source();
  }
  return std::nullopt;
}

void Inputs::Impl::end_source() {
  if (tars_alone) keys.forget();
  const int64_t shard = sources.all[at].shard;
  if (shard < 0) return;
  ended.push_back(sources.shards[static_cast<size_t>(shard)]);
  if (ended.back().items == 0) left_out.add_empty_tar();
}

DatasetItem Inputs::Impl::item_of(const std::vector<std::string>& of_picture) {
  const int64_t shard = sources.all[at].shard;
  if (shard >= 0) ++sources.shards[static_cast<size_t>(shard)].items;
  DatasetItem item{found->key, found->images, {}, found->error, index++, shard, found->broken};
  if (found->error || of_picture.empty()) return item;
  item.prompt = of_picture[prompt];
  const auto here = of_picture.begin() + static_cast<std::ptrdiff_t>(prompt);
  if (std::find(of_picture.begin(), here, *here) != here) item.key = keys.unique(item.key);
  return item;
}

Inputs::Inputs(const std::vector<std::string>& sources, const InputRules& rules)
    : impl_(std::make_unique<Impl>()) {
  impl_->sources = resolve_sources(sources, rules.known);
  impl_->prompts = rules.prompts;
  const auto& all = impl_->sources.all;
  impl_->tars_alone =
      std::all_of(all.begin(), all.end(), [](const InputSource& s) { return s.kind == SourceKind::tar; });
  check_sources(impl_->sources, rules.strict);
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
  DatasetItem item = now.item_of(prompts);
  if (!item.prompt || ++now.prompt == prompts.size()) now.found.reset();
  return item;
}

void Inputs::cancel() { impl_->cancelled = true; }

std::vector<Shard> Inputs::ended_shards() { return std::exchange(impl_->ended, {}); }

const std::vector<Shard>& Inputs::shards() const { return impl_->sources.shards; }

std::vector<LabelledSource> Inputs::labelled() const {
  std::vector<LabelledSource> labelled;
  for (const InputSource& source : impl_->sources.all)
    if (has_label(source.kind)) labelled.push_back(labelled_source(source));
  return labelled;
}

const LeftOut& Inputs::left_out() const { return impl_->left_out; }

int64_t Inputs::numbered_keys() const { return impl_->keys.numbered(); }

}  // namespace lapidary

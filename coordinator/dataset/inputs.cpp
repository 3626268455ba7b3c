#include "coordinator/dataset/inputs.h"

#include <algorithm>
#include <utility>

#include "configs/error.h"
#include "coordinator/dataset/input_source.h"
#include "coordinator/dataset/input_sources.h"
#include "coordinator/dataset/item_keys.h"

namespace lapidary {
namespace {

uint64_t combined(uint64_t hash, uint64_t with) { return hash_of_key(cat(hash, '\0', with)); }

}  // namespace

PictureSource picture_file(const std::string& path) {
  const auto image = std::make_shared<wire::ImageSource>();
  image->set_path(path);
  return image;
}

struct Inputs::Impl {
  std::optional<SourceItem> next_found();
  void end_source();
  uint64_t picture_of(const SourceItem& item);
  DatasetItem item_of(const std::vector<std::string>& of_picture);

  Sources sources;
  std::vector<std::string> prompts;
  Occurrences in_source, of_files;  // of names: of the source that is read, and of image files as sources
  uint64_t picture = 0;             // of what was found
  LeftOut left_out;
  std::atomic<bool> cancelled = false;
  ByteBudget* budget = nullptr;
  size_t at = 0;                         // the source that is read
  std::unique_ptr<SourceReader> reader;  // of it; none: not opened yet
  std::optional<SourceItem> found;       // a picture with prompts that were not given yet
  size_t prompt = 0;                     // the next of them
  int64_t index = 0;
  std::vector<Shard> ended;
};

std::optional<SourceItem> Inputs::Impl::next_found() {
  for (; at < sources.all.size() && !cancelled; ++at) {
    if (!reader) reader = open_source(sources.all[at], {&cancelled, &left_out, budget});
    if (auto next = reader->next()) {
      next->key = as_utf8(next->key);
      picture = picture_of(*next);
      return next;
    }
    if (cancelled) break;  // where it stopped may be no end
    reader.reset();
    end_source();
  }
  return std::nullopt;
}

void Inputs::Impl::end_source() {
  in_source.clear();
  const int64_t shard = sources.all[at].shard;
  if (shard < 0) return;
  ended.push_back(sources.shards[static_cast<size_t>(shard)]);
  if (ended.back().items == 0) left_out.add_empty_tar();
}

DatasetItem Inputs::Impl::item_of(const std::vector<std::string>& of_picture) {
  const int64_t shard = sources.all[at].shard;
  if (shard >= 0) ++sources.shards[static_cast<size_t>(shard)].items;
  DatasetItem item;
  item.key = found->key;
  item.images = found->images;
  item.error = found->error;
  item.index = index++;
  item.shard = shard;
  item.picture = item.identity = picture;
  item.broken_source = found->broken;
  if (found->error || of_picture.empty()) return item;
  const auto here = of_picture.begin() + static_cast<std::ptrdiff_t>(prompt);
  item.prompt = *here;
  if (const auto before = std::count(of_picture.begin(), here, *here); before > 0)
    item.picture = combined(picture, static_cast<uint64_t>(before));
  item.identity = combined(item.picture, hash_of_key(*here));
  return item;
}

/// A folder has a name once, and there may be many.
uint64_t Inputs::Impl::picture_of(const SourceItem& item) {
  const InputSource& source = sources.all[at];
  const std::string place = source.kind == SourceKind::image ? "" : labelled_source(source).absolute;
  const uint64_t hash = hash_of_key(cat(place, '\0', item.name.empty() ? item.key : item.name));
  if (source.kind == SourceKind::folder) return hash;
  const int64_t time = (source.kind == SourceKind::image ? of_files : in_source).count(hash);
  return time == 1 ? hash : combined(hash, static_cast<uint64_t>(time));
}

Inputs::Inputs(const std::vector<std::string>& sources, const InputRules& rules)
    : impl_(std::make_unique<Impl>()) {
  impl_->sources = resolve_sources(sources, rules.known);
  impl_->prompts = rules.prompts;
  impl_->budget = rules.budget;
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

void Inputs::cancel() {
  impl_->cancelled = true;
  if (impl_->budget != nullptr) impl_->budget->stop_waiting();
}

std::vector<Shard> Inputs::ended_shards() { return std::exchange(impl_->ended, {}); }

const std::vector<Shard>& Inputs::shards() const { return impl_->sources.shards; }

std::vector<LabelledSource> Inputs::labelled() const {
  std::vector<LabelledSource> labelled;
  for (const InputSource& source : impl_->sources.all)
    if (has_label(source.kind)) labelled.push_back(labelled_source(source));
  return labelled;
}

const LeftOut& Inputs::left_out() const { return impl_->left_out; }

bool Inputs::only_tars() const {
  const auto& all = impl_->sources.all;
  return std::all_of(all.begin(), all.end(), [](const InputSource& s) { return s.kind == SourceKind::tar; });
}

}  // namespace lapidary

#include "coordinator/caption/captioner.h"

#include <utility>

#include "configs/error.h"

namespace lapidary {
namespace {

/// Each item draws numbers of its own, which its key and prompt choose: neither order nor neighbours change
/// them. FNV-1a, because std::hash differs between libraries.
uint64_t seed_of(uint64_t seed, const Record& record) {
  uint64_t hash = 0xcbf29ce484222325u ^ seed;
  for (const std::string* text : {&record.key, &record.prompt})
    for (const char c : *text + '\0') hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  return hash;
}

/// A picture is known by where it is; workers also compare what they have read. No path holds a NUL.
ImageInput picture_of(const PictureSource& source) {
  std::string place = source->path();
  if (!source->entry().empty()) place += cat('\0', source->offset());
  return {std::move(place), source};
}

}  // namespace

Captioner::Captioner(CaptionSettings settings, CaptionParts parts)
    : settings_(std::move(settings)), parts_(std::move(parts)) {}

std::optional<Request> Captioner::begin(DatasetItem item) {
  Unfinished pending;
  pending.record.key = item.key;
  pending.record.prompt = item.prompt.value_or(settings_.prompt);
  pending.item = std::move(item);
  if (pending.item.error) {
    const std::string error = *pending.item.error;
    end(std::move(pending), error);
    return std::nullopt;
  }
  try {
    Request request = request_of(pending);
    unfinished_.emplace(request.id, std::move(pending));
    return request;
  } catch (const std::exception& e) {
    end(std::move(pending), e.what());
    return std::nullopt;
  }
}

Request Captioner::request_of(const Unfinished& pending) {
  Request request;
  request.id = next_++;
  request.ids = pending.item.prefix;
  for (const PictureSource& image : pending.item.images) request.images.push_back(picture_of(image));
  request.max_new_tokens = settings_.max_new_tokens;
  request.sampling = settings_.sampling;
  request.sampling.set_seed(seed_of(settings_.sampling.seed(), pending.record));
  request.eos = settings_.eos;
  return request;
}

void Captioner::each_item(const std::function<void(const DatasetItem&)>& use) const {
  for (const auto& [id, unfinished] : unfinished_) use(unfinished.item);
}

void Captioner::refuse(uint64_t id, const std::string& error) {
  auto node = unfinished_.extract(id);
  if (!node.empty()) end(std::move(node.mapped()), error);
}

void Captioner::take(const RequestOutput& event) {
  const auto found = unfinished_.find(event.request);
  if (found == unfinished_.end()) return;
  Record& record = found->second.record;
  if (event.restarted) {
    counts_.tokens -= static_cast<int64_t>(record.token_ids.size());
    record.token_ids.clear();
  }
  if (event.width > 0) {
    record.width = event.width;
    record.height = event.height;
    found->second.orientation_left = event.orientation_left;
  }
  if (event.token) {
    record.token_ids.push_back(*event.token);
    ++counts_.tokens;
  }
  if (event.finish == FinishReason::no) return;
  Unfinished pending = std::move(unfinished_.extract(found).mapped());
  if (event.finish == FinishReason::error) {
    end(std::move(pending), event.error);
  } else {
    finish(pending);
  }
}

void Captioner::finish(Unfinished& pending) {
  std::optional<std::string> error;
  try {
    pending.record.text = parts_.text(pending.record.token_ids);
    pending.record.boxes =
        parse_boxes(pending.record.text, pending.record.width, pending.record.height).boxes;
  } catch (const std::exception& e) {
    error = e.what();
  }
  end(std::move(pending), std::move(error));
}

void Captioner::end(Unfinished pending, std::optional<std::string> error) {
  ++counts_.done;
  counts_.orientations_left += pending.orientation_left;
  if (error) {
    ++counts_.failed;
    if (first_error_.empty()) first_error_ = *error;
    pending.record.error = std::move(error);
  }
  parts_.write(std::move(pending.item), std::move(pending.record));
}

}  // namespace lapidary

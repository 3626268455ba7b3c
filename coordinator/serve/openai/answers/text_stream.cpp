#include "coordinator/serve/openai/answers/text_stream.h"

#include <algorithm>
#include <utility>

namespace lapidary {

TextStream::TextStream(const Tokenizer& tokenizer, TextStreamOptions options)
    : decode_(tokenizer, options.skip_special_tokens),
      matcher_(std::move(options.stop)),
      include_stop_(options.include_stop),
      min_tokens_(static_cast<size_t>(std::max<int64_t>(options.min_tokens, 0))) {}

std::string TextStream::add(std::span<const int32_t> ids) {
  for (const int32_t id : ids) {
    if (mismatch_ || stop_) break;
    if (again_ == ids_.size()) {
      take(id);
    } else if (ids_[again_] != id) {
      mismatch_ = Mismatch{again_, ids_[again_], id};
      break;
    }
    ++again_;
  }
  if (stop_ || include_stop_) return give(held_.size());
  return give(held_.size() - std::min(matcher_.pending(), held_.size()));
}

std::string TextStream::finish() {
  if (!stop_ && !mismatch_ && again_ < ids_.size()) mismatch_ = Mismatch{again_, ids_[again_], -1};
  if (mismatch_) return "";
  if (!stop_) take_text(decode_.finish());
  return give(held_.size());
}

void TextStream::take(int32_t id) {
  ids_.push_back(id);
  take_text(decode_.add(id));
}

void TextStream::take_text(std::string_view text) {
  held_ += text;
  if (ids_.size() <= min_tokens_) return;
  const auto stop = matcher_.add(text);
  if (!stop) return;
  held_.resize(held_.size() - text.size() + stop->end - (include_stop_ ? 0 : stop->string->size()));
  stop_ = *stop->string;
}

std::string TextStream::give(size_t bytes) {
  std::string given = held_.substr(0, bytes);
  held_.erase(0, bytes);
  text_ += given;
  return given;
}

}  // namespace lapidary

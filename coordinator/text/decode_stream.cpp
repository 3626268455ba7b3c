#include "coordinator/text/decode_stream.h"

#include <utility>

namespace lapidary {

DecodeStream::DecodeStream(const Tokenizer& tokenizer, bool skip_special)
    : tokenizer_(&tokenizer), skip_special_(skip_special), local_(tokenizer.decoder().is_local()) {}

std::string DecodeStream::add(int32_t id) {
  const auto piece = tokenizer_->decoded_piece(id, skip_special_);
  if (!piece) return "";
  if (!local_ || tokenizer_->decoder().is_byte(*piece)) {
    pending_.emplace_back(*piece);
    return "";
  }
  return finish() + tokenizer_->decoder()({std::string(*piece)});
}

std::string DecodeStream::finish() { return tokenizer_->decoder()(std::exchange(pending_, {})); }

}  // namespace lapidary

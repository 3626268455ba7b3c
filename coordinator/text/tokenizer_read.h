#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "coordinator/text/tokenizer_added.h"
#include "coordinator/text/tokenizer_bpe.h"
#include "coordinator/text/tokenizer_text.h"

namespace lapidary {

/// A tokenizer.json, taken apart.
struct TokenizerParts {
  Normalizer normalizer;
  Splitter splitter;
  Bpe bpe;
  std::vector<AddedToken> added;  // those that the vocabulary lacks have the ids after it, in this order
  Decoder decoder;
};

/// Throws one sentence, beginning with `source`, for what is malformed and for what this project does not do.
TokenizerParts read_tokenizer(std::string_view text, const std::string& source);

}  // namespace lapidary

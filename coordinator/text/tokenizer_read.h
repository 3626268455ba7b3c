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
  std::vector<AddedToken> added;  // each once, with the ids that the library gives them
  Decoder decoder;
  std::vector<std::string> remarks;  // what the file says otherwise, a sentence each
};

/// Throws one sentence, beginning with `source`, for what is malformed and for what this project does not do.
TokenizerParts read_tokenizer(std::string_view text, const std::string& source);

/// A piece as an error shows it.
std::string in_quotes(std::string_view piece);

}  // namespace lapidary

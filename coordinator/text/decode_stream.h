#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/text/tokenizer.h"

namespace lapidary {

/// Token ids in, text out while they come: all that `add` and `finish` give, joined, is what
/// Tokenizer::decode gives for all ids, and each of it is valid UTF-8. A run of byte tokens is given when it
/// ends, because its last byte decides what the others become. Of a tokenizer whose decoder looks at the text
/// as a whole (none of Gemma's kind) all is given at the end. The tokenizer must outlive it.
class DecodeStream {
 public:
  DecodeStream(const Tokenizer& tokenizer, bool skip_special);
  std::string add(int32_t id);
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  bool local_;
  std::vector<std::string> pending_;  // pieces whose text is not settled
};

}  // namespace lapidary

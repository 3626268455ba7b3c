#pragma once

#include <string>
#include <vector>

#include "configs/json.h"
#include "coordinator/text/tokenizer_added.h"
#include "coordinator/text/tokenizer_vocabulary.h"

namespace lapidary {

/// Reads `added_tokens` of a tokenizer.json, if it has them, to `tokens`: each once, with the ids that the
/// library gives them. Gives a sentence for each way in which the file says otherwise. Throws one sentence
/// for what is malformed, and for a new token whose id a piece of the vocabulary has already.
std::vector<std::string> read_added_tokens(const JsonObject& root, const std::string& source,
                                           const Vocabulary& vocabulary, std::vector<AddedToken>& tokens);

}  // namespace lapidary

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lapidary {

struct ServedModel {
  std::string id;
  int64_t created = 0;                // seconds since 1970
  std::string root;                   // its folder, as the server was started with it
  std::optional<std::string> parent;  // of an adapter: the model that it is for
  int64_t max_model_len = 0;
};

/// The answer of GET /v1/models, and of GET /v1/models/ID.
std::string models_answer(std::span<const ServedModel> models);
std::string model_answer(const ServedModel& model);

/// The answer of POST /tokenize; no strings are null.
std::string tokenize_answer(std::span<const int32_t> tokens, int64_t max_model_len,
                            const std::optional<std::vector<std::string>>& token_strs);

/// The answer of POST /detokenize.
std::string detokenize_answer(std::string_view text);

}  // namespace lapidary

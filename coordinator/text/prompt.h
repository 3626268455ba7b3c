#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "configs/model/model_config.h"
#include "coordinator/text/tokenizer.h"

namespace lapidary {

/// What PaliGemma's processor makes of a prompt: `<image>` × tokens × images, `<bos>`, the prompt, a newline.
/// A prompt that places its images itself, by `<image>`, keeps them there, and `<bos>` follows the last of
/// them; it throws where it places more or fewer than there are.
std::string prompt_text(int64_t images, int64_t tokens_per_image, std::string_view prompt);

/// The ids of prompt_text, tokenised as one string; the image tokens are multiplied afterwards, for speed.
/// Throws where `<image>` or `<bos>` is no added token, where `<image>` is not the model's, and for invalid
/// UTF-8.
std::vector<int32_t> prefix_ids(const Tokenizer& tokenizer, int64_t image_token_id, int64_t images,
                                int64_t tokens_per_image, std::string_view prompt);
/// Throws also for a token that the model's vocabulary does not reach.
std::vector<int32_t> prefix_ids(const Tokenizer& tokenizer, const ModelConfig& config, int64_t images,
                                std::string_view prompt);

/// Throws one sentence for an id, other than an image's, that is no row of the model's embedding table.
void require_known_ids(const std::vector<int32_t>& ids, const Tokenizer& tokenizer,
                       const ModelConfig& config);

/// Before a prompt is cut into tokens, which takes time and memory: throws a sentence where its bytes are
/// more than any max_model_len tokens of at most `longest_piece` bytes hold.
void require_short_prompt(std::string_view prompt, int64_t max_model_len, size_t longest_piece);

}  // namespace lapidary

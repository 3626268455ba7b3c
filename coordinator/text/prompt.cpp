#include "coordinator/text/prompt.h"

#include <algorithm>

#include "configs/error.h"
#include "coordinator/text/utf8.h"

namespace lapidary {
namespace {

constexpr std::string_view kImage = "<image>";
constexpr std::string_view kBos = "<bos>";

int64_t count_images(std::string_view prompt) {
  int64_t count = 0;
  for (size_t at = prompt.find(kImage); at != prompt.npos; at = prompt.find(kImage, at + kImage.size()))
    ++count;
  return count;
}

/// The text with `copies` of `<image>` for each image.
std::string with_images(int64_t images, int64_t copies, std::string_view prompt) {
  std::string placeholder;
  for (int64_t i = 0; i < copies; ++i) placeholder += kImage;
  std::string text;
  const int64_t placed = count_images(prompt);
  if (placed == 0) {
    for (int64_t i = 0; i < images; ++i) text += placeholder;
  } else if (placed != images) {
    fail("the prompt places ", placed, " images by <image>, but ", images, images == 1 ? " is" : " are",
         " given");
  }
  for (int64_t i = 0; i < placed; ++i) {
    const size_t at = prompt.find(kImage);
    text.append(prompt.substr(0, at)).append(placeholder);
    prompt.remove_prefix(at + kImage.size());
  }
  return text.append(kBos).append(prompt).append("\n");
}

void require_image(const Tokenizer& tokenizer, int64_t image_token_id) {
  const auto image = tokenizer.id_of(kImage);
  if (!image) fail("the tokenizer has no ", kImage, ", whose id in config.json is ", image_token_id);
  if (*image != image_token_id) {
    fail(kImage, " has the id ", *image, " in tokenizer.json, but ", image_token_id, " in config.json");
  }
}

}  // namespace

std::string prompt_text(int64_t images, int64_t tokens_per_image, std::string_view prompt) {
  return with_images(images, tokens_per_image, prompt);
}

std::vector<int32_t> prefix_ids(const Tokenizer& tokenizer, int64_t image_token_id, int64_t images,
                                int64_t tokens_per_image, std::string_view prompt) {
  require_image(tokenizer, image_token_id);
  require_utf8(prompt, "the prompt");
  const std::vector<int32_t> once = tokenizer.encode(with_images(images, 1, prompt));
  const auto found = std::count(once.begin(), once.end(), static_cast<int32_t>(image_token_id));
  if (found != images)
    fail("tokenizer.json: ", kImage, " is no added token: ", found, " of ", images, " were found");
  const auto bos = tokenizer.id_of(kBos);
  if (!bos || std::count(once.begin(), once.end(), *bos) == 0)
    fail("tokenizer.json: ", kBos, " is no added token");
  std::vector<int32_t> ids;
  ids.reserve(once.size() + static_cast<size_t>(images * tokens_per_image));
  for (const int32_t id : once) ids.insert(ids.end(), id == image_token_id ? tokens_per_image : 1, id);
  return ids;
}

std::vector<int32_t> prefix_ids(const Tokenizer& tokenizer, const ModelConfig& config, int64_t images,
                                std::string_view prompt) {
  auto ids = prefix_ids(tokenizer, config.image_token_id, images, config.vision.tokens(), prompt);
  require_known_ids(ids, tokenizer, config);
  return ids;
}

void require_known_ids(const std::vector<int32_t>& ids, const Tokenizer& tokenizer,
                       const ModelConfig& config) {
  for (const int32_t id : ids)
    if (id >= config.text.vocab_size && id != config.image_token_id)
      fail("the prompt's token '", tokenizer.token(id), "' has the id ", id,
           ", but the model's vocabulary has ", config.text.vocab_size,
           " rows: the tokenizer has tokens that this model was not made with");
}

void require_short_prompt(std::string_view prompt, int64_t max_model_len, size_t longest_piece) {
  const size_t most = static_cast<size_t>(max_model_len) * longest_piece;
  if (prompt.size() > most)
    fail("the prompt has ", prompt.size(), " bytes, but the ", max_model_len,
         " tokens that a sequence may have (--max-model-len) hold at most ", most);
}

}  // namespace lapidary

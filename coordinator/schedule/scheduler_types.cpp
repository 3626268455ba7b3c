#include "coordinator/schedule/scheduler_types.h"

#include <stdexcept>

#include "configs/error.h"

namespace lapidary {
namespace {

constexpr int64_t kMax = 1 << 26;      // KV pages of this number of tokens fill any device
constexpr int64_t kMaxHeld = 1 << 20;  // of what takes the scheduler more than a number each

int64_t size_of(const auto& list) { return static_cast<int64_t>(list.size()); }

void check_images(const SchedulerConfig& config, const Request& request) {
  const int64_t images = size_of(request.images);
  for (const ImageInput& picture : request.images)
    if (!picture.source) throw std::logic_error("a picture without a source");
  if (images > size_of(*request.ids))
    fail("the prompt has ", images, " images, but only ", request.ids->size(), " tokens");
  if (images > config.all_slots())
    fail("the prompt has ", images, " images, but the vision lanes have room for the embeddings of ",
         config.all_slots(), " (--encoder-cache-slots)");
  if (images > config.capacity.max_step_images())
    fail("the prompt has ", images, " images, but a step takes ", config.capacity.max_step_images(),
         " (--max-num-batched-tokens)");
}

}  // namespace

void check_capacity(const wire::Capacity& capacity) {
  const auto check = [&](const char* what, int64_t number, int64_t min, int64_t max = kMax) {
    if (number < min || number > max)
      fail("it says ", what, " ", number, ", which is not within ", min, " and ", max);
  };
  check("max_num_seqs", capacity.max_num_seqs(), 1, kMaxHeld);
  check("max_num_batched_tokens", capacity.max_num_batched_tokens(), capacity.max_num_seqs());
  check("max_model_len", capacity.max_model_len(), 1);
  check("num_kv_pages", capacity.num_kv_pages(), 1);
  check("kv_page_tokens", capacity.kv_page_tokens(), 1);
  check("max_step_images", capacity.max_step_images(), 0, kMaxHeld);
  check("encoder_cache_slots", capacity.encoder_cache_slots(), 0, kMaxHeld);
  check("image_tokens", capacity.image_tokens(), 1, kMaxHeld);
  check("num_layers", capacity.num_layers(), 1, kMaxHeld);
}

int64_t prefix_tokens(const SchedulerConfig& config, const Request& request) {
  return size_of(*request.ids) + size_of(request.images) * (config.capacity.image_tokens() - 1);
}

/// The last token that is generated is never fed back, so it needs no place in the cache.
int64_t pages_needed(const SchedulerConfig& config, const Request& request) {
  const int64_t tokens = prefix_tokens(config, request) + request.max_new_tokens - 1;
  return (tokens + config.capacity.kv_page_tokens() - 1) / config.capacity.kv_page_tokens();
}

void check_request(const SchedulerConfig& config, const Request& request) {
  if (!request.ids || request.ids->empty()) fail("the prompt has 0 tokens, at least 1 is needed");
  if (request.max_new_tokens < 1)
    fail("max_new_tokens is ", request.max_new_tokens, ", at least 1 is needed");
  check_images(config, request);
  const int64_t prefix = prefix_tokens(config, request);
  if (request.max_new_tokens > config.capacity.max_model_len() - prefix)
    fail("image and prompt are ", prefix, " tokens and up to ", request.max_new_tokens,
         " are to be generated, but a sequence may have ", config.capacity.max_model_len(),
         " (--max-model-len)");
  if (prefix > config.capacity.max_num_batched_tokens())
    fail("image and prompt are ", prefix, " tokens, but a step has room for ",
         config.capacity.max_num_batched_tokens(), " (--max-num-batched-tokens)");
  if (pages_needed(config, request) > config.capacity.num_kv_pages())
    fail("the sequence may need ", pages_needed(config, request), " KV pages, but there are ",
         config.capacity.num_kv_pages());
}

}  // namespace lapidary

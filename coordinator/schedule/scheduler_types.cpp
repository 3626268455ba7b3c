#include "coordinator/schedule/scheduler_types.h"

#include <stdexcept>

#include "configs/error.h"

namespace lapidary {
namespace {

int64_t size_of(const auto& list) { return static_cast<int64_t>(list.size()); }

void check_images(const Limits& limits, const Request& request) {
  const int64_t images = size_of(request.images);
  for (const Picture& picture : request.images)
    if (!picture.source) throw std::logic_error("a picture without a source");
  if (images > size_of(*request.ids))
    fail("the prompt has ", images, " images, but only ", request.ids->size(), " tokens");
  if (images > limits.all_slots())
    fail("the prompt has ", images, " images, but the vision lanes have room for the embeddings of ",
         limits.all_slots());
  if (images > limits.step_images)
    fail("the prompt has ", images, " images, but a step takes ", limits.step_images);
}

}  // namespace

int64_t prefix_tokens(const Limits& limits, const Request& request) {
  return size_of(*request.ids) + size_of(request.images) * (limits.image_tokens - 1);
}

/// The last token that is generated is never fed back, so it needs no place in the cache.
int64_t pages_needed(const Limits& limits, const Request& request) {
  const int64_t tokens = prefix_tokens(limits, request) + request.max_new_tokens - 1;
  return (tokens + limits.page_tokens - 1) / limits.page_tokens;
}

void check_request(const Limits& limits, const Request& request) {
  if (!request.ids || request.ids->empty()) fail("the prompt has 0 tokens, at least 1 is needed");
  if (request.max_new_tokens < 1)
    fail("max_new_tokens is ", request.max_new_tokens, ", at least 1 is needed");
  check_images(limits, request);
  const int64_t prefix = prefix_tokens(limits, request);
  if (request.max_new_tokens > limits.length - prefix)
    fail("image and prompt are ", prefix, " tokens and up to ", request.max_new_tokens,
         " are to be generated, but a sequence may have ", limits.length, " (--max-model-len)");
  if (prefix > limits.rows)
    fail("image and prompt are ", prefix, " tokens, but a step has room for ", limits.rows);
  if (pages_needed(limits, request) > limits.pages)
    fail("the sequence may need ", pages_needed(limits, request), " KV pages, but there are ", limits.pages);
}

}  // namespace lapidary

#include "worker/engine/sequences.h"

namespace lapidary {

int64_t prefix_of(const wire::Prefill& prefill, int64_t image_tokens) {
  return prefill.ids_size() + prefill.images_size() * (image_tokens - 1);
}

Sequence begin_sequence(const wire::Prefill& prefill, int64_t image_tokens) {
  const wire::Sampling& s = prefill.sampling();
  Sequence sequence;
  sequence.pages.assign(prefill.pages().begin(), prefill.pages().end());
  sequence.prefix = prefix_of(prefill, image_tokens);
  sequence.length = sequence.prefix;
  sequence.sampling = {s.temperature(), s.seed(), 0, s.top_k(), s.top_p() > 0 ? s.top_p() : 1.0f};
  return sequence;
}

}  // namespace lapidary

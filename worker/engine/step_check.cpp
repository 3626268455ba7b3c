#include "worker/engine/step_check.h"

#include <algorithm>

#include "configs/error.h"

namespace lapidary {
namespace {

class Check {
 public:
  Check(const wire::Step& step, const StepLimits& limits, const Sequences& sequences,
        const HeldPrefills& held)
      : step_(step),
        limits_(limits),
        sequences_(sequences),
        held_(held),
        named_(sequences.size()),
        tokens_(limits.config.vision.tokens()) {}

  void run(uint64_t last) {
    if (step_.number() != last + 1)
      fail("step ", step_.number(), " came after step ", last, "; a step is missing, or came twice");
    check_layers();
    for (int32_t slot : step_.decodes()) check_decode(slot);
    for (const wire::Prefill& prefill : step_.prefills()) check_prefill(prefill);
    at_most("new rows", rows_, limits_.capacity.max_num_batched_tokens());
    at_most("images", images_, limits_.capacity.max_step_images());
  }

 private:
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail("step ", step_.number(), " ", parts...);
  }

  void at_most(const char* what, int64_t count, int64_t most) const {
    if (count > most) refuse("has ", count, " ", what, ", but this worker was built for ", most);
  }

  void check_layers() const {
    const int64_t first = step_.first_layer(), end = step_.end_layer(), layers = limits_.config.text.layers;
    if (end == 0 && first == 0) return;
    if (first < 0 || end <= first || end > layers)
      refuse("runs layers ", first, " to ", end, ", but the model has ", layers);
    if (step_.decodes_size() > 0)
      refuse("runs layers ", first, " to ", end, " of a prefill, and decodes ", step_.decodes_size(),
             " sequences; a decode runs all layers");
    if ((first == 0) != (step_.prefills_size() > 0))
      refuse("begins at layer ", first, " and lists ", step_.prefills_size(),
             " prefills; they are listed where layer 0 is run, and there only");
    const int64_t next = held_.slots.empty() ? 0 : held_.next_layer;
    if (first != next) refuse("goes on at layer ", first, ", but layer ", next, " is next");
  }

  /// Each slot is in a step once.
  void name(int32_t slot) {
    if (slot < 0 || static_cast<size_t>(slot) >= sequences_.size())
      refuse("names sequence ", slot, ", but there are ", sequences_.size(), " places");
    if (named_[static_cast<size_t>(slot)]) refuse("names sequence ", slot, " twice");
    named_[static_cast<size_t>(slot)] = true;
  }

  void check_decode(int32_t slot) {
    name(slot);
    const Sequence& sequence = sequences_[static_cast<size_t>(slot)];
    if (!sequence.decodes) refuse("decodes sequence ", slot, ", whose prefill has not run");
    const int64_t room = std::min(static_cast<int64_t>(sequence.pages.size()) * KvShape::kPageTokens,
                                  limits_.capacity.max_model_len());
    if (sequence.length >= room)
      refuse("decodes sequence ", slot, ", whose ", sequence.length, " tokens fill its room of ", room);
    ++rows_;
  }

  void check_prefill(const wire::Prefill& prefill) {
    name(prefill.sequence());
    if (std::count(held_.slots.begin(), held_.slots.end(), prefill.sequence()) > 0)
      refuse("begins sequence ", prefill.sequence(), ", whose place has a prefill under way");
    check_ids(prefill);
    for (const wire::Image& image : prefill.images()) check_image(image);
    const int64_t prefix = prefix_of(prefill, tokens_);
    if (prefix < 1 || prefix > limits_.capacity.max_model_len())
      refuse("has a prefix of ", prefix, " tokens, but 1 to ", limits_.capacity.max_model_len(),
             " are possible");
    const int64_t room = prefill.pages_size() * KvShape::kPageTokens;
    if (prefix > room) refuse("has a prefix of ", prefix, " tokens in pages for ", room);
    for (int32_t page : prefill.pages())
      if (page < 0 || page >= limits_.capacity.num_kv_pages())
        refuse("names KV page ", page, ", but there are ", limits_.capacity.num_kv_pages());
    rows_ += prefix;
    images_ += prefill.images_size();
  }

  void check_ids(const wire::Prefill& prefill) const {
    const int64_t image_id = limits_.config.image_token_id, vocab = limits_.config.text.vocab_size;
    int64_t images = 0;
    for (int32_t id : prefill.ids()) {
      if (id == image_id) {
        ++images;
      } else if (id < 0 || id >= vocab) {
        refuse("has token ", id, " in a prefix, but the vocabulary has ", vocab);
      }
    }
    if (images != prefill.images_size())
      refuse("has ", prefill.images_size(), " images for a prefix with places for ", images);
  }

  void check_image(const wire::Image& image) const {
    if (!image.rgb().empty()) {
      const int64_t size = limits_.config.vision.image_size;
      if (!limits_.shared_vision)
        refuse("brings pixels, but this worker was built to encode pictures beside its steps");
      if (static_cast<int64_t>(image.rgb().size()) != size * size * 3)
        refuse("brings an image of ", image.rgb().size(), " bytes, ", size * size * 3, " are needed");
      return;
    }
    const Mesh& mesh = limits_.mesh;
    if (image.rank() < 0 || image.rank() >= mesh.replica_ranks() ||
        !has_vision_lane(mesh, coord_of(mesh, image.rank())))
      refuse("wants an image of rank ", image.rank(), ", which has no vision lane");
    if (image.slot() < 0 || image.slot() >= limits_.capacity.encoder_cache_slots())
      refuse("wants encoder cache slot ", image.slot(), ", but a vision lane has ",
             limits_.capacity.encoder_cache_slots());
  }

  const wire::Step& step_;
  const StepLimits& limits_;
  const Sequences& sequences_;
  const HeldPrefills& held_;
  std::vector<bool> named_;
  int64_t tokens_;  // of an image
  int64_t rows_ = 0, images_ = 0;
};

}  // namespace

void check_step(const wire::Step& step, uint64_t last, const StepLimits& limits, const Sequences& sequences,
                const HeldPrefills& held) {
  Check(step, limits, sequences, held).run(last);
}

}  // namespace lapidary

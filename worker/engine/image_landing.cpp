#include "worker/engine/image_landing.h"

#include "configs/error.h"

namespace lapidary {

ImageLanding::ImageLanding(Backend& ops, const DeviceGroup& group, int64_t images, int64_t tokens,
                           int64_t hidden)
    : ops_(ops),
      group_(group),
      tokens_(tokens),
      space_(ops),
      rows_(space_.make(group.first_stage() ? images * tokens : 0, hidden)) {}

void ImageLanding::collect(const wire::Step& step) {
  images_.clear();
  for (const wire::Prefill& prefill : step.prefills())
    for (const wire::Image& image : prefill.images()) images_.push_back(&image);
}

template <class Use>
void ImageLanding::read_slot(const wire::Image& image, const Use& use) const {
  if (slots_ == nullptr)
    throw std::logic_error("a step wants an image of a rank whose vision lane is not there");
  use(slots_->begin_read(image.slot(), ops_));
  slots_->end_read(image.slot(), ops_);
}

void ImageLanding::bring(const wire::Step& step, const Encode& encode) {
  collect(step);
  if (!group_.first_stage()) return send_mine();
  std::vector<const uint8_t*> pixels;
  for (size_t i = 0; i < images_.size();) {
    const auto first = static_cast<int64_t>(i) * tokens_;
    pixels.clear();
    for (; i < images_.size() && !images_[i]->rgb().empty(); ++i)
      pixels.push_back(reinterpret_cast<const uint8_t*>(images_[i]->rgb().data()));
    if (!pixels.empty()) {
      encode(rows_.row_range(first, first + static_cast<int64_t>(pixels.size()) * tokens_), pixels);
    } else {
      land(*images_[i++], rows_.row_range(first, first + tokens_));
    }
  }
}

void ImageLanding::send_mine() {
  for (const wire::Image* image : images_)
    if (image->rgb().empty() && image->rank() == group_.coord.rank)
      read_slot(*image, [&](Tensor rows) { group_.replica.send(rows, 0, Channel::embeddings); });
}

/// A rank of another stage sends once, to the first rank, which hands it on to its stage: the stage's ranks
/// are near each other.
void ImageLanding::land(const wire::Image& image, Tensor to) {
  const int owner = image.rank(), me = group_.coord.rank;
  if (owner == me) {
    read_slot(image, [&](Tensor rows) { ops_.copy(to, rows); });
  } else if (owner >= group_.mesh.tp && me == 0) {
    group_.replica.receive(to, owner, Channel::embeddings);
  }
  group_.tp.broadcast(to, owner < group_.mesh.tp ? owner : 0);
}

}  // namespace lapidary

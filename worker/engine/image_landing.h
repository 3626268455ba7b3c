#pragma once

#include <span>

#include "configs/wire/wire.pb.h"
#include "worker/engine/encoder_cache.h"
#include "worker/model/group.h"
#include "worker/model/layers.h"

namespace lapidary {

/// Brings the embeddings of a step's images from the vision lanes that have them to every rank of the first
/// stage.
class ImageLanding {
 public:
  /// Rows for `images` images of `tokens` rows of `hidden` on the first stage; none elsewhere.
  ImageLanding(Backend& ops, const DeviceGroup& group, int64_t images, int64_t tokens, int64_t hidden);

  /// This rank's vision lane's results.
  void read_slots(const EncoderCache* slots) { slots_ = slots; }

  /// Called on every rank of the replica. Images that come as pixels are left to encode(rows, pixels), called
  /// on the first stage for runs of them.
  using Encode = std::function<void(Tensor out, std::span<const uint8_t* const> pixels)>;
  void bring(const wire::Step& step, const Encode& encode);

  /// [images * tokens, hidden], the images in the step's order.
  Tensor rows() const { return rows_; }
  size_t bytes() const { return space_.bytes(); }

 private:
  void collect(const wire::Step& step);
  /// Calls use(rows) with this rank's slot of an image.
  template <class Use>
  void read_slot(const wire::Image& image, const Use& use) const;
  void send_mine();
  void land(const wire::Image& image, Tensor to);

  Backend& ops_;
  const DeviceGroup& group_;
  int64_t tokens_;
  Workspace space_;
  Tensor rows_;
  const EncoderCache* slots_ = nullptr;
  std::vector<const wire::Image*> images_;  // of the step under way
};

}  // namespace lapidary

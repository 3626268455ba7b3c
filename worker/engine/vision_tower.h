#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "worker/engine/engine_options.h"
#include "worker/model/siglip.h"

namespace lapidary {

/// A whole vision tower with projector on one rank, with a backend and threads of its own: what a vision lane
/// runs. It never communicates; its bits are those of the tower that ranks share.
class VisionTower {
 public:
  /// Loads the tower's weights and nothing else of the checkpoint. Throws a sentence as Engine does.
  VisionTower(const EngineOptions& options, const ModelConfig& config, bool beside_decoder,
              const LoadProgress& progress = {});
  ~VisionTower();

  int64_t images() const;  // most that are encoded at once
  int64_t tokens() const;  // rows an image
  int64_t hidden() const;  // columns

  /// out [images * tokens, hidden] (float32) from RGB8 pictures of image_size * image_size * 3 bytes each, at
  /// most images() of them.
  void encode(Tensor out, std::span<const uint8_t* const> rgb);

  Backend& backend();
  size_t weight_bytes() const;
  size_t workspace_bytes() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

/// Bytes of a device that a tower's backend takes for itself: measured on one that is made and given back,
/// beside a backend of the same device.
size_t vision_scratch(const EngineOptions& options, const ModelConfig& config, int64_t images,
                      const Backend& beside);

}  // namespace lapidary

#pragma once

#include <memory>

#include "sharding/comm/communicator.h"

namespace lapidary {

/// A group whose other ranks do not exist: it moves tensors of any backend by itself.
class ShadowHost : public Communicator {
 public:
  /// The same group for tensors in the memory of `ops`, which outlives it.
  virtual std::unique_ptr<Communicator> on_device(Backend& ops) = 0;
};

/// Rank 0 of `size` ranks that do not exist: a rank's part of a model alone, to see how long it takes. It
/// hears itself in place of the others, and sums over ranks are its own part, so what comes out is no result.
std::unique_ptr<ShadowHost> make_shadow(int size);

}  // namespace lapidary

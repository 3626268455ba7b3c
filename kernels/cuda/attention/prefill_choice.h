#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "kernels/backend.h"
#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/runtime/device.h"
#include "kernels/cuda_options.h"

namespace lapidary::cuda {

/// Both kernels of a prefill on made-up numbers.
struct PrefillTrial {
  double warps = 0, warpgroups = 0;  // seconds
  float apart = 0;                   // the largest difference of an element of their results

  /// What they weight are values of up to 1, so their results are no larger. Each weight is rounded to
  /// bfloat16 by up to 2^-9 of itself, and so is each result, in both kernels.
  static constexpr float kBound = 0x1p-7f;
  bool agree() const { return apart <= kBound; }  // a NaN is no agreement
  PrefillKernel better() const {
    return agree() && warpgroups < warps ? PrefillKernel::warpgroups : PrefillKernel::warps;
  }
};

/// Runs that are timed together.
inline constexpr int kTrialBurst = 4;
/// A prefix of rows - 37 tokens and 37 more, by `heads` heads, two of them a KV head. Takes memory of the
/// device for as long as it runs, and waits for it.
PrefillTrial try_prefill(Stream stream, int64_t head_dim, int64_t rows, int64_t heads, float softcap,
                         int burst = kTrialBurst);

/// Which kernel attends the rows of a prefill, for each size of a head. It is chosen once, before the first
/// row: no result depends on what else is in a step.
class PrefillChoice {
 public:
  /// A kernel that is asked for is taken wherever it has an instance for the head; throws std::runtime_error
  /// where the device has none at all. To be measured: the first of the two until make() was called.
  PrefillChoice(PrefillMode how, const DeviceInfo& device);

  /// Chooses for heads of this size, by a trial if there is a choice and none was made. Without the memory
  /// for a trial the first of the two.
  void make(Stream stream, int64_t head_dim, int burst = kTrialBurst);
  PrefillKernel of(int64_t head_dim) const;

  /// What was measured, as the end of a device's name: "", or ", prefill of …".
  std::string told() const;

 private:
  bool has_both(int64_t head_dim) const;

  PrefillMode how_;
  bool warpgroups_;
  int multiprocessors_;
  std::map<int64_t, PrefillTrial> trials_;
};

}  // namespace lapidary::cuda

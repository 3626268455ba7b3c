#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "sharding/checkpoint/weight_store.h"
#include "sharding/comm/device_comm.h"

namespace lapidary {

/// All that a layer knows about where it runs.
struct Rank {
  Backend& ops;
  DeviceComm& comm;
};

/// Hears every intermediate tensor by name, whole; for `lapidary trace`. Empty: nobody listens.
using TensorHook = std::function<void(const std::string& name, Tensor value)>;
inline void report(const TensorHook& hook, const std::string& name, Tensor value) {
  if (hook) hook(name, value);
}

/// Activations of a model part, all allocated when it is built. A tensor is named where it is made; a step
/// uses its first rows.
class Workspace {
 public:
  explicit Workspace(Backend& ops) : ops_(ops) {}
  Tensor make(int64_t rows, int64_t cols, DType dtype = DType::f32) {
    const size_t bytes = static_cast<size_t>(rows * cols) * size_of(dtype);
    buffers_.push_back(ops_.allocate(bytes));
    bytes_ += bytes;
    return view(buffers_.back().get(), dtype, rows, cols);
  }
  size_t bytes() const { return bytes_; }

 private:
  Backend& ops_;
  std::vector<Buffer> buffers_;
  size_t bytes_ = 0;
};

/// Holds rows of a weight [out, in]: gives its columns of the product. No communication.
struct ColumnLinear {
  Matrix w;     // [my out, in]
  Vector bias;  // [my out], or empty

  void operator()(Rank r, Tensor y, Tensor x) const { r.ops.matmul(y, x, w, {.bias = bias.get()}); }
};

/// The first product of an MLP that ends in gelu: y = gelu(x · wᵀ + bias).
struct GeluLinear : ColumnLinear {
  void operator()(Rank r, Tensor y, Tensor x) const {
    r.ops.matmul(y, x, w, {.bias = bias.get(), .gelu = true});
  }
};

/// Holds rows of two weights [out, in]: gives its columns of gelu(x · gateᵀ) · (x · upᵀ).
struct GatedLinear {
  Matrix w;  // [2 my out, or a few more rows, in]

  /// scratch [rows, w.out] holds the halves where a backend computes them apart.
  void operator()(Rank r, Tensor y, Tensor x, Tensor scratch) const { r.ops.matmul_geglu(y, x, w, scratch); }
};

/// Holds columns of a weight [out, in]: every rank has part of each sum, and gets the whole one. The one
/// place where layers communicate.
struct RowLinear {
  Matrix w;     // [out, my in]
  Vector bias;  // [out], or empty; added once, after the sum
  SumTree::Finish finish;

  /// y [rows, out]; partials has room for [blocks of this rank * rows, out].
  void operator()(Rank r, Tensor y, Tensor x, Tensor partials) const;
  /// The end of a block of a residual stream: to.y is the sum, Backend::add_rms_norm(to) comes behind it.
  void operator()(Rank r, const AddNorm& to, Tensor x, Tensor partials) const;
  /// The same, but all behind the product runs on the side stream and overlaps what comes next: it is done,
  /// and partials are free, after Backend::wait_event() of the event returned.
  DeviceEvent start(Rank r, const AddNorm& to, Tensor x, Tensor partials) const;
  /// to += the sum. Where a rank sums alone that is part of the product, else `scratch` [rows, out] holds it.
  void add_to(Rank r, Tensor to, Tensor x, Tensor scratch, Tensor partials) const;
  /// This rank's product alone, for Backend::tune; y as operator() or add_to has it.
  void product(Rank r, Tensor y, Tensor x, Tensor partials, bool add) const;

 private:
  /// What follows product(): y = the sum over ranks of what it left in partials; and what `to` says.
  void sum(Rank r, Tensor y, Tensor partials) const;
  void sum_add_norm(Rank r, const AddNorm& to, Tensor partials) const;
  Tensor blocks(Tensor partials, int64_t rows) const;
};

struct RmsNorm {
  Vector gain;  // stored less one
  float eps;
  void operator()(Rank r, Tensor y, Tensor x) const { r.ops.rms_norm(y, x, gain.get(), eps); }
};

/// The end of a block of the residual stream x and the beginning of the next one: x += post(y), and h =
/// next(x) where there is a next.
inline AddNorm add_norm(Tensor h, Tensor x, Tensor y, const RmsNorm& post, const RmsNorm* next) {
  return {h, x, y, post.gain.get(), next != nullptr ? next->gain.get() : nullptr, post.eps};
}

struct LayerNorm {
  Vector gain, bias;
  float eps;
  void operator()(Rank r, Tensor y, Tensor x) const { r.ops.layer_norm(y, x, gain.get(), bias.get(), eps); }
};

/// The rows of `slices` as a column-parallel layer, with the matching biases if the checkpoint's layer has
/// them.
ColumnLinear load_columns(WeightStore& weights, const std::vector<Slice>& slices, bool with_bias = false);
RowLinear load_rows(WeightStore& weights, const std::string& layer, int64_t out, int64_t in, Range mine,
                    SumPlan sums, SumTree::Finish finish, DType dtype, bool with_bias = false);

/// A slice of rows of the weight of `layer` ("….self_attn.q_proj"), and of its bias.
Slice weight_rows(const std::string& layer, int64_t out, int64_t in, Range rows);

}  // namespace lapidary

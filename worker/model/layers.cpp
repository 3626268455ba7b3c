#include "worker/model/layers.h"

namespace lapidary {

void RowLinear::operator()(Rank r, Tensor y, Tensor x, Tensor partials) const {
  product(r, y, x, partials, false);
  sum(r, y, partials);
}

void RowLinear::operator()(Rank r, const AddNorm& to, Tensor x, Tensor partials) const {
  product(r, to.y, x, partials, false);
  sum_add_norm(r, to, partials);
}

DeviceEvent RowLinear::start(Rank r, const AddNorm& to, Tensor x, Tensor partials) const {
  product(r, to.y, x, partials, false);
  return r.ops.on_side_stream([&] { sum_add_norm(r, to, partials); });
}

void RowLinear::sum(Rank r, Tensor y, Tensor partials) const {
  if (finish.total() == 1) return;
  r.comm.all_reduce(y, blocks(partials, y.rows()), finish);
  if (bias.size > 0) r.ops.add_bias(y, bias.get());
}

void RowLinear::sum_add_norm(Rank r, const AddNorm& to, Tensor partials) const {
  if (finish.total() > 1 && bias.size == 0)
    return r.comm.all_reduce_add_norm(r.ops, to, blocks(partials, to.y.rows()), finish);
  sum(r, to.y, partials);
  r.ops.add_rms_norm(to);
}

Tensor RowLinear::blocks(Tensor partials, int64_t rows) const {
  return view(partials.data, DType::f32, w.sums.outputs() * rows, w.out);
}

void RowLinear::add_to(Rank r, Tensor to, Tensor x, Tensor scratch, Tensor partials) const {
  if (finish.total() == 1) return product(r, to, x, partials, true);
  (*this)(r, scratch, x, partials);
  r.ops.add(to, scratch);
}

void RowLinear::product(Rank r, Tensor y, Tensor x, Tensor partials, bool add) const {
  if (finish.total() == 1) {  // this rank holds the whole tree
    r.ops.matmul(y, x, w, {.bias = bias.get(), .add = add});
  } else {
    r.ops.matmul(blocks(partials, x.rows()), x, w);
  }
}

Slice weight_rows(const std::string& layer, int64_t out, int64_t in, Range rows) {
  return {layer + ".weight", {out, in}, rows, {0, in}};
}

ColumnLinear load_columns(WeightStore& weights, const std::vector<Slice>& slices, bool with_bias) {
  ColumnLinear linear{weights.matrix(slices), {}};
  if (with_bias) {
    std::vector<Slice> biases;
    for (const Slice& slice : slices) {
      const std::string layer = slice.name.substr(0, slice.name.size() - std::string("weight").size());
      biases.push_back({layer + "bias", {1, slice.shape[0]}, {0, 1}, slice.rows});
    }
    linear.bias = weights.vector(biases);
  }
  return linear;
}

RowLinear load_rows(WeightStore& weights, const std::string& layer, int64_t out, int64_t in, Range mine,
                    SumPlan sums, SumTree::Finish finish, DType dtype, bool with_bias) {
  RowLinear linear;
  linear.w = weights.matrix({{layer + ".weight", {out, in}, {0, out}, mine}}, std::move(sums), dtype);
  linear.finish = std::move(finish);
  if (with_bias) linear.bias = weights.vector(layer + ".bias", out);
  return linear;
}

}  // namespace lapidary

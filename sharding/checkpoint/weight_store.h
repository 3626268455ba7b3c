#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "sharding/checkpoint/tensor_source.h"

namespace lapidary {

/// A vector of float32 on the device: a norm's gain, a bias. An absent one is empty.
struct Vector {
  Buffer data;
  int64_t size = 0;
  const float* get() const { return reinterpret_cast<const float*>(data.get()); }
};

/// Part of one stored tensor; `shape` is what the whole tensor must have ([1, n] for a stored vector).
struct Slice {
  std::string name;
  std::array<int64_t, 2> shape;
  Range rows;
  Range cols;

  static Slice whole(std::string name, int64_t rows, int64_t cols) {
    return {std::move(name), {rows, cols}, {0, rows}, {0, cols}};
  }
};

/// Dtypes of a model's matrices. Those of the decoder's layers may be e4m3; the others, and what goes through
/// the layers, are `linear`: float32 or bfloat16.
struct WeightTypes {
  DType linear, decoder;
  WeightTypes(DType all) : linear(all), decoder(all) {}  // NOLINT: one dtype is types
  WeightTypes(DType others, DType decoder_layers) : linear(others), decoder(decoder_layers) {}
};

/// Reads this rank's slices of a checkpoint and packs them, once, for its backend. Bands of rows are read,
/// rounded and packed by the backend's threads, so no whole tensor exists twice. Where the backend has a
/// loader, rows go to the device as they are stored and are rounded there, while the next ones are read.
class WeightStore {
 public:
  /// `loaded` hears of the bytes packed after each matrix.
  using Progress = std::function<void(int64_t bytes)>;
  WeightStore(TensorSource& source, Backend& ops, WeightTypes types, Progress loaded = {});

  DType linear() const { return linear_; }
  DType decoder() const { return decoder_; }
  bool contains(const std::string& name) const { return source_.contains(name); }

  /// The slices' rows one below the other (all equally wide) as one weight. An e4m3 one has the scales of
  /// whole stored rows, so that its numbers do not depend on how the rows are cut.
  Matrix matrix(const std::vector<Slice>& slices, SumPlan sums, DType dtype);
  Matrix matrix(const std::vector<Slice>& slices) {
    return matrix(slices, SumPlan::whole(slices.at(0).cols.size()), linear_);
  }
  /// The rows of two equal slices as the backend's gated weight (Backend::gate_up_interleave), all columns of
  /// them.
  Matrix gated(const Slice& gate, const Slice& up, DType dtype);
  /// The slices' columns one after the other, in float32.
  Vector vector(const std::vector<Slice>& slices);
  Vector vector(const std::string& name, int64_t size) { return vector({Slice::whole(name, 1, size)}); }

  /// Returns when all of it is where it belongs. Before that nobody uses the weights.
  void finish();

  /// Whether two stored tensors of equal shape hold the same values in these rows.
  bool same_rows(const std::string& a, const std::string& b, Range rows) const;

  /// A tensor that nobody asked for is a mistake in the model, or a file of another one.
  void check_all_used() const { source_.check_all_used(); }
  void ignore(const std::string& name) { source_.ignore(name); }
  void ignore_below(const std::string& prefix) { source_.ignore_below(prefix); }
  int64_t bytes() const { return bytes_; }

 private:
  void check(const Slice& slice) const;
  /// A matrix of these slices whose bands of rows are packed, several at a time.
  void pack_rows(Matrix& matrix, const std::vector<Slice>& slices);
  void load_slice(const Slice& slice, WeightRows to);
  void read_rows(std::byte* to, const Slice& slice, Range stored, Range cols);
  void find_largest(float* to, const Slice& slice, Range stored);
  void pack_band(Matrix& matrix, const std::vector<Slice>& slices, Range rows);
  void count(size_t bytes);
  void count(const Matrix& matrix);

  TensorSource& source_;
  Backend& ops_;
  DType linear_, decoder_;
  Progress loaded_;
  std::unique_ptr<WeightLoader> loader_;  // null: packed by the host
  int64_t bytes_ = 0;
};

}  // namespace lapidary

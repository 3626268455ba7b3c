#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kernels/dummy_values.h"
#include "kernels/tensor.h"
#include "sharding/checkpoint/stored_type.h"
#include "sharding/plan/range.h"

namespace lapidary {

/// How a stored tensor is read as a matrix: [n] as [1, n], [r, a, b, …] as [r, a·b·…], a scalar as [1, 1].
std::array<int64_t, 2> matrix_shape(const Shape& shape);

/// Where weights come from: tensors under their canonical names (canonical_names.h), read slice by slice. It
/// remembers which were asked for, so that a tensor nobody wanted is found. Reads may run on several threads
/// at once.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  TensorSource(const TensorSource&) = delete;
  TensorSource& operator=(const TensorSource&) = delete;

  /// For sentences: the checkpoint's folder, or what stands in its place.
  const std::string& where() const { return where_; }
  std::vector<std::string> names() const;
  bool contains(const std::string& name) const { return index_.contains(name); }
  /// As stored. Throws Error for a name that is not there.
  const Shape& shape_of(const std::string& name) const;

  /// The slice [rows, cols] of the tensor's matrix, dense, to `out`: exact in float32; to bfloat16 rounded to
  /// nearest even. Marks the tensor as used. Throws Error for an unknown name or a dtype weights are not read
  /// from, and std::logic_error for a slice outside the matrix.
  void read(const std::string& name, Range rows, Range cols, float* out);
  void read_bf16(const std::string& name, Range rows, Range cols, uint16_t* out);

  /// The same as it is stored, f32, f16 or bf16, for devices that convert it themselves.
  DType stored_dtype(const std::string& name) const { return dtype_of(find(name)); }
  void read_stored(const std::string& name, Range rows, Range cols, std::byte* out);
  /// What a tensor is made of that nothing has to be read for; marks it as used.
  std::optional<DummyValues> made(const std::string& name);

  /// Marks a tensor as used without reading it, such as a stored copy of a tied head. Unknown names are let
  /// be.
  void ignore(const std::string& name);
  /// The same for all tensors whose names begin so: a part of the model that another rank holds, and checks.
  void ignore_below(const std::string& prefix);
  std::vector<std::string> unused() const;
  /// Throws Error with the count and the first five names of the tensors nobody asked for.
  void check_all_used() const;

  /// What is odd about the weights and harms nothing, a sentence each, for whoever talks with the user.
  const std::vector<std::string>& remarks() const { return remarks_; }
  void remark(std::string sentence) { remarks_.push_back(std::move(sentence)); }

 protected:
  explicit TensorSource(std::string where) : where_(std::move(where)) {}
  /// Tensors are numbered in the order in which they are added.
  void add(const std::string& name, Shape shape);
  /// The tensor's number. Throws Error for a name that is not there.
  size_t find(const std::string& name) const;

 private:
  struct Entry {
    std::string name;
    Shape shape;
    std::atomic<bool> used = false;
  };

  virtual void fetch(size_t tensor, Range rows, Range cols, float* out) = 0;
  virtual void fetch(size_t tensor, Range rows, Range cols, uint16_t* out) = 0;
  /// How fetch_stored() gives it; unless told otherwise as fetch() makes it.
  virtual DType dtype_of(size_t) const { return DType::f32; }
  virtual void fetch_stored(size_t tensor, Range rows, Range cols, std::byte* out) {
    fetch(tensor, rows, cols, reinterpret_cast<float*>(out));
  }
  virtual std::optional<DummyValues> recipe(size_t) const { return std::nullopt; }
  /// The tensor's number, once the slice is known to lie in it; marks it as used.
  size_t use(const std::string& name, Range rows, Range cols);

  std::string where_;
  std::vector<std::string> remarks_;
  std::deque<Entry> entries_;  // an atomic cannot be moved, so not a vector
  std::unordered_map<std::string, size_t> index_;
};

/// "a, b, c, d, e and 7 more": the first five of some names, for a sentence.
std::string first_few(const std::vector<std::string>& names);

}  // namespace lapidary

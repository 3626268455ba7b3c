#include "sharding/checkpoint/tensor_source.h"

#include <algorithm>
#include <stdexcept>

#include "configs/error.h"

namespace lapidary {

std::array<int64_t, 2> matrix_shape(const Shape& shape) {
  if (shape.empty()) return {1, 1};
  if (shape.size() == 1) return {1, shape[0]};
  // Overflow was excluded when the shape was checked against its bytes.
  return {shape[0], element_count(Shape(shape.begin() + 1, shape.end())).value_or(0)};
}

std::string first_few(const std::vector<std::string>& names) {
  constexpr size_t kFew = 5;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kFew); ++i) text += (i ? ", " : "") + names[i];
  return names.size() > kFew ? cat(text, " and ", names.size() - kFew, " more") : text;
}

void TensorSource::add(const std::string& name, Shape shape) {
  if (!index_.emplace(name, entries_.size()).second)
    throw std::logic_error("tensor " + name + " added twice");
  Entry& entry = entries_.emplace_back();
  entry.name = name;
  entry.shape = std::move(shape);
}

size_t TensorSource::find(const std::string& name) const {
  const auto found = index_.find(name);
  if (found == index_.end()) fail(where_, " holds no tensor ", name);
  return found->second;
}

std::vector<std::string> TensorSource::names() const {
  std::vector<std::string> names;
  for (const Entry& entry : entries_) names.push_back(entry.name);
  return names;
}

const Shape& TensorSource::shape_of(const std::string& name) const { return entries_[find(name)].shape; }

size_t TensorSource::use(const std::string& name, Range rows, Range cols) {
  const size_t tensor = find(name);
  Entry& entry = entries_[tensor];
  const auto inside = [](Range r, int64_t n) { return 0 <= r.begin && r.begin <= r.end && r.end <= n; };
  const auto [height, width] = matrix_shape(entry.shape);
  if (!inside(rows, height) || !inside(cols, width)) {
    throw std::logic_error(cat("slice [", rows.begin, ", ", rows.end, ") x [", cols.begin, ", ", cols.end,
                               ") lies outside tensor ", name, " ", to_string(entry.shape)));
  }
  entry.used = true;
  return tensor;
}

void TensorSource::read(const std::string& name, Range rows, Range cols, float* out) {
  const size_t tensor = use(name, rows, cols);
  if (rows.size() > 0 && cols.size() > 0) fetch(tensor, rows, cols, out);
}

void TensorSource::read_bf16(const std::string& name, Range rows, Range cols, uint16_t* out) {
  const size_t tensor = use(name, rows, cols);
  if (rows.size() > 0 && cols.size() > 0) fetch(tensor, rows, cols, out);
}

void TensorSource::read_stored(const std::string& name, Range rows, Range cols, std::byte* out) {
  const size_t tensor = use(name, rows, cols);
  if (rows.size() > 0 && cols.size() > 0) fetch_stored(tensor, rows, cols, out);
}

std::optional<DummyValues> TensorSource::made(const std::string& name) {
  const size_t tensor = find(name);
  const auto made = recipe(tensor);
  if (made) entries_[tensor].used = true;
  return made;
}

void TensorSource::ignore(const std::string& name) {
  if (contains(name)) entries_[find(name)].used = true;
}

void TensorSource::ignore_below(const std::string& prefix) {
  for (Entry& entry : entries_)
    if (entry.name.starts_with(prefix)) entry.used = true;
}

std::vector<std::string> TensorSource::unused() const {
  std::vector<std::string> names;
  for (const Entry& entry : entries_) {
    if (!entry.used) names.push_back(entry.name);
  }
  return names;
}

void TensorSource::check_all_used() const {
  const std::vector<std::string> rest = unused();
  if (rest.empty()) return;
  fail(where_, " holds ", rest.size(), rest.size() == 1 ? " tensor" : " tensors",
       " that the model does not use: ", first_few(rest));
}

}  // namespace lapidary

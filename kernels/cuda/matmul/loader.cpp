#include "kernels/cuda/matmul/loader.h"

#include <algorithm>
#include <exception>
#include <stdexcept>
#include <string>

#include "kernels/backend.h"
#include "kernels/cuda/matmul/dummy_rows.h"
#include "kernels/cuda/matmul/matmul_kernels.h"
#include "kernels/cuda/matmul/pack.h"

namespace lapidary::cuda {
namespace {

void grow(Buffer& buffer, size_t& held, size_t bytes, Buffer (*make)(size_t)) {
  if (bytes <= held) return;
  buffer.reset();
  held = 0;
  buffer = make(bytes);
  held = bytes;
}

}  // namespace

/// A slot while one thread has it.
class Loader::Lease {
 public:
  explicit Lease(Loader& loader) : loader_(loader), slot_(loader.take()) {}
  ~Lease() { loader_.give_back(slot_); }
  Lease(const Lease&) = delete;
  Slot* operator->() const { return slot_; }

 private:
  Loader& loader_;
  Slot* const slot_;
};

Loader::Loader(int device, int buffers, size_t bytes_each)
    : device_(device), max_(static_cast<size_t>(std::max(1, buffers))), bytes_each_(bytes_each) {
  use_device(device_);
  for (Stream& stream : streams_) stream = make_stream(false);
}

Loader::~Loader() {
  try {
    finish();
  } catch (const std::exception&) {
    // A device that failed has said so to whoever waited for the weights.
  }
  for (const auto& slot : slots_) destroy(slot->passed);
  for (const Stream stream : streams_) destroy(stream);
}

WeightRows Loader::rows_of(const Matrix& w) const { return cuda::rows_of(w); }
WeightRows NoLoader::rows_of(const Matrix& w) const { return cuda::rows_of(w); }

int64_t Loader::mlp_chunk_rows(int64_t cols, DType stored) const {
  const auto row = static_cast<int64_t>(size_of(stored)) * std::max<int64_t>(cols, 1);
  return std::max<int64_t>(1, static_cast<int64_t>(bytes_each_) / row);
}

void Loader::load(const WeightRows& to, DType stored, const std::function<void(std::byte*)>& fill) {
  if (stored != DType::f32 && stored != DType::f16 && stored != DType::bf16)
    throw std::logic_error(std::string("weights are not loaded from ") + name_of(stored));
  const size_t row = static_cast<size_t>(to.brought()) * size_of(stored);
  const size_t bytes = row * static_cast<size_t>(to.rows);
  if (bytes == 0) return;
  use_device(device_);
  const Lease slot(*this);
  wait(slot->passed);
  grow(slot->pinned, slot->pinned_bytes, std::max(bytes, std::min(bytes_each_, 4 * bytes)), allocate_pinned);
  fill(slot->pinned.get());
  if (stored == to.dtype && to.run == 0) {
    copy_rows(slot->stream, to.data + to.first * to.pitch, static_cast<size_t>(to.pitch), slot->pinned.get(),
              row, row, static_cast<size_t>(to.rows));
  } else {
    grow(slot->device, slot->device_bytes, slot->pinned_bytes, allocate);
    copy(slot->stream, slot->device.get(), slot->pinned.get(), bytes);
    convert_rows(slot->stream, to, view(slot->device.get(), stored, to.rows, to.brought()));
  }
  record(slot->passed, slot->stream);
}

void Loader::make(const WeightRows& to, const DummyValues& made, int64_t first_row, int64_t first_col) {
  use_device(device_);
  if (to.dtype != DType::e4m3) {
    make_rows(streams_[0], to, made, first_row, first_col);
    return;
  }
  // A row's scale follows from all of it: made whole, then converted as if it had been read.
  const int64_t cols = to.brought(), pitch = cols * static_cast<int64_t>(sizeof(uint16_t));
  const int64_t at_once = to.whole_runs(mlp_chunk_rows(cols, DType::bf16));
  for (int64_t row = 0; row < to.rows; row += at_once) {
    const WeightRows some = to.row_range(row, std::min(row + at_once, to.rows));
    const Lease slot(*this);
    wait(slot->passed);
    grow(slot->device, slot->device_bytes, std::max(bytes_each_, static_cast<size_t>(some.rows * pitch)),
         allocate);
    make_rows(slot->stream, {slot->device.get(), pitch, DType::bf16, nullptr, some.rows, cols}, made,
              first_row + row, first_col - to.skip);
    convert_rows(slot->stream, some, view(slot->device.get(), DType::bf16, some.rows, cols));
    record(slot->passed, slot->stream);
  }
}

void Loader::finish() {
  use_device(device_);
  for (const Stream stream : streams_) synchronize(stream);
}

size_t Loader::pinned_bytes() const {
  const std::lock_guard lock(mutex_);
  size_t bytes = 0;
  for (const auto& slot : slots_) bytes += slot->pinned_bytes;
  return bytes;
}

/// One that is free if there is any: only threads that fill at the same time, or a ring still being copied,
/// make more.
Loader::Slot* Loader::take() {
  std::unique_lock lock(mutex_);
  if (slots_.size() < max_ && (free_.empty() || !done(free_.front()->passed))) {
    auto& slot = *slots_.emplace_back(std::make_unique<Slot>());
    slot.stream = streams_[(slots_.size() - 1) % streams_.size()];
    slot.passed = make_event();
    return &slot;
  }
  changed_.wait(lock, [this] { return !free_.empty(); });
  Slot* slot = free_.front();
  free_.erase(free_.begin());
  return slot;
}

void Loader::give_back(Slot* slot) {
  {
    const std::lock_guard lock(mutex_);
    free_.push_back(slot);
  }
  changed_.notify_one();
}

}  // namespace lapidary::cuda

#include "sharding/checkpoint/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "configs/error.h"
#include "sharding/checkpoint/canonical_names.h"
#include "sharding/checkpoint/convert.h"
#include "sharding/checkpoint/safetensors_header.h"
#include "sharding/checkpoint/shard_index.h"

namespace lapidary {
namespace {

// Large enough that giving pages back costs little, small beside any weight matrix.
constexpr int64_t kChunkBytes = 4 << 20;

/// What a folder without weights holds instead, with what to do about it.
std::string weights_of_another_kind(const std::filesystem::path& folder) {
  for (const char* name : {"pytorch_model.bin", "pytorch_model.bin.index.json"})
    if (std::filesystem::exists(folder / name))
      return cat("; it holds ", name,
                 ": save the model as safetensors (save_pretrained with safe_serialization=True)");
  return "";
}

}  // namespace

Checkpoint::Checkpoint(const std::filesystem::path& folder) : TensorSource(folder.string()) {
  const auto single = folder / "model.safetensors";
  const auto index = folder / "model.safetensors.index.json";
  if (!std::filesystem::is_directory(folder)) fail(folder.string(), ": is not a folder");
  if (std::filesystem::exists(single)) {
    add_file(single);
  } else if (std::filesystem::exists(index)) {
    add_shards(index);
  } else {
    fail(folder.string(), ": holds neither model.safetensors nor model.safetensors.index.json",
         weights_of_another_kind(folder));
  }
  if (!copies_.empty())
    remark(cat(folder.string(), " stores ", copies_.size(), copies_.size() == 1 ? " tensor" : " tensors",
               " more than once, with the same bytes: ", first_few(copies_)));
}

void Checkpoint::check_copy(const StoredTensor& tensor, const std::string& name) const {
  const Stored& stored = stored_[find(name)];
  const StoredTensor& other = *stored.tensor;
  const bool same = other.dtype == tensor.dtype && other.shape == tensor.shape &&
                    std::memcmp(other.data, tensor.data, static_cast<size_t>(tensor.size)) == 0;
  for (const auto& [file, read] : {std::pair(stored.file, &other), std::pair(files_.size() - 1, &tensor)})
    files_[file]->drop_pages({read->data, static_cast<size_t>(read->size)});
  if (same) return;
  const std::string path = files_.back()->path().string(), before = files_[stored.file]->path().string();
  if (other.name != tensor.name)
    fail(path, ": tensors ", shown_name(other.name), " and ", shown_name(tensor.name), " are both ",
         shown_name(name), ", and differ");
  fail(path, ": tensor ", shown_name(tensor.name), " is also in ", before, ", and differs");
}

void Checkpoint::add_file(const std::filesystem::path& path) {
  files_.push_back(std::make_unique<SafetensorsFile>(path));
  pending_.emplace_back();
  for (const StoredTensor& tensor : files_.back()->tensors()) {
    const std::string name = canonical_name(tensor.name);
    if (contains(name)) {
      check_copy(tensor, name);
      copies_.push_back(shown_name(tensor.name));
      continue;
    }
    add(name, tensor.shape);
    stored_.push_back({&tensor, files_.size() - 1});
  }
}

void Checkpoint::add_shards(const std::filesystem::path& index) {
  auto [shards, said] = read_shard_index(index);
  std::set<std::string> at_odds;  // tensors that are not where the index says
  for (const std::string& shard : shards) {
    const std::filesystem::path path = index.parent_path() / shard;
    if (!std::filesystem::exists(path))
      fail(index.string(), ": names the shard ", shard, ", which is not there");
    add_file(path);
    for (const StoredTensor& tensor : files_.back()->tensors())
      if (said.erase({tensor.name, shard}) == 0) at_odds.insert(shown_name(tensor.name));
  }
  for (const auto& [name, shard] : said) at_odds.insert(shown_name(name));
  if (!at_odds.empty())
    remark(cat(index.string(), " is wrong about where ", at_odds.size(),
               at_odds.size() == 1 ? " tensor is" : " tensors are",
               "; the shards themselves count: ", first_few({at_odds.begin(), at_odds.end()})));
}

int64_t Checkpoint::stored_bytes() const {
  int64_t bytes = 0;
  for (const Stored& stored : stored_) bytes += stored.tensor->size;
  return bytes;
}

void Checkpoint::fetch(size_t tensor, Range rows, Range cols, float* out) {
  copy_slice(stored_[tensor], rows, cols, out);
}

void Checkpoint::fetch(size_t tensor, Range rows, Range cols, uint16_t* out) {
  copy_slice(stored_[tensor], rows, cols, out);
}

void Checkpoint::check_type(const Stored& stored) const {
  const StoredTensor& tensor = *stored.tensor;
  if (is_weight_type(tensor.dtype)) return;
  fail(files_[stored.file]->path().string(), ": tensor ", shown_name(tensor.name), " is stored as ",
       name_of(tensor.dtype), "; weights are read from F32, F16 and BF16");
}

DType Checkpoint::dtype_of(size_t tensor) const {
  const Stored& stored = stored_[tensor];
  check_type(stored);
  if (stored.tensor->dtype == StoredType::f32) return DType::f32;
  return stored.tensor->dtype == StoredType::f16 ? DType::f16 : DType::bf16;
}

/// Read, not copied out of the map: it goes straight into memory of a device's, the map's pages stay away,
/// and a file that becomes shorter meanwhile is an error, not a signal.
void Checkpoint::fetch_stored(size_t tensor, Range rows, Range cols, std::byte* out) {
  const Stored& stored = stored_[tensor];
  check_type(stored);
  const SafetensorsFile& file = *files_[stored.file];
  const int64_t width = matrix_shape(stored.tensor->shape)[1], element = bits_of(stored.tensor->dtype) / 8;
  const bool whole = cols.size() == width;
  const int64_t pieces = whole ? 1 : rows.size();
  const int64_t bytes = (whole ? rows.size() * width : cols.size()) * element;
  for (int64_t piece = 0; piece < pieces; ++piece)
    file.read(stored.tensor->data + ((rows.begin + piece) * width + cols.begin) * element, bytes,
              out + piece * bytes);
}

template <class Out>
void Checkpoint::copy_slice(const Stored& stored, Range rows, Range cols, Out* out) {
  const StoredTensor& tensor = *stored.tensor;
  check_type(stored);
  const int64_t width = matrix_shape(tensor.shape)[1];
  const int64_t element = bits_of(tensor.dtype) / 8;
  // Whole rows lie in one piece, so they are one long row.
  const bool whole = cols.size() == width;
  const int64_t pieces = whole ? 1 : rows.size();
  const int64_t length = whole ? rows.size() * width : cols.size();
  const int64_t step = std::max<int64_t>(1, kChunkBytes / element);
  for (int64_t piece = 0; piece < pieces; ++piece) {
    const std::byte* from = tensor.data + ((rows.begin + piece) * width + cols.begin) * element;
    for (int64_t at = 0; at < length; at += step) {
      const int64_t n = std::min(step, length - at);
      convert(tensor.dtype, from + at * element, n, out + piece * length + at);
      // Reading a part of a row brings its neighbours into memory too: the system maps pages in groups.
      const int64_t touched = (whole ? n : std::min(step, width)) * element;
      note_read(stored.file, {from + at * element, static_cast<size_t>(n * element)}, touched);
    }
  }
}

void Checkpoint::note_read(size_t file, std::span<const std::byte> bytes, int64_t touched) {
  Pending done;
  {
    const std::lock_guard lock(mutex_);
    Pending& pending = pending_[file];
    pending.begin = pending.begin ? std::min(pending.begin, bytes.data()) : bytes.data();
    pending.end = std::max(pending.end, bytes.data() + bytes.size());
    pending.touched += touched;
    if (pending.touched < kChunkBytes) return;
    done = std::exchange(pending, {});
  }
  // Outside the lock: other threads only fault pages in again that they still need.
  files_[file]->drop_pages({done.begin, done.end});
}

}  // namespace lapidary

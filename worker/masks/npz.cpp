#include "worker/masks/npz.h"

#include <archive.h>
#include <archive_entry.h>

#include <bit>
#include <cstring>
#include <memory>

#include "configs/error.h"
#include "worker/masks/npy.h"

namespace lapidary {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are taken as the file has them");

constexpr const char* kNoArrays = "is no file of arrays as numpy's savez writes it: ";

using Archive = std::unique_ptr<archive, decltype(&archive_read_free)>;

std::string reason(archive* zip) {
  const char* text = archive_error_string(zip);
  return text != nullptr ? text : "its end is missing";
}

/// An entry's bytes, as far as they were asked for.
class EntryBytes {
 public:
  explicit EntryBytes(archive* zip) : zip_(zip) {}

  /// Whether there are so many.
  bool has(size_t count) {
    const size_t before = bytes_.size();
    if (count > before) bytes_.resize(count);
    size_t have = before;
    while (have < count) {
      const la_ssize_t got = archive_read_data(zip_, bytes_.data() + have, count - have);
      if (got < 0) fail("cannot be read: ", reason(zip_));
      if (got == 0) break;
      have += static_cast<size_t>(got);
    }
    bytes_.resize(std::max(have, before));
    return bytes_.size() >= count;
  }
  const std::vector<uint8_t>& get() const { return bytes_; }

 private:
  archive* zip_;
  std::vector<uint8_t> bytes_;
};

int64_t numbers_of(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t side : shape) count *= side;
  return count;
}

/// From the first index varying fastest to the last one doing so.
std::vector<float> in_our_order(const std::vector<float>& values, const std::vector<int64_t>& shape) {
  std::vector<float> ordered;
  ordered.reserve(values.size());
  std::vector<int64_t> index(shape.size());
  while (ordered.size() < values.size()) {
    int64_t at = 0;
    for (size_t i = shape.size(); i-- > 0;) at = at * shape[i] + index[i];
    ordered.push_back(values[static_cast<size_t>(at)]);
    for (size_t i = shape.size(); i-- > 0 && ++index[i] == shape[i];) index[i] = 0;
  }
  return ordered;
}

std::vector<float> read_array(archive* zip, const std::vector<int64_t>& shape) {
  EntryBytes entry(zip);
  if (!entry.has(kNpyStart)) fail("is no array as numpy saves it");
  const size_t header_bytes = npy_header_bytes(entry.get());
  if (!entry.has(header_bytes)) fail("ends in its header");
  const NpyHeader header = parse_npy_header(entry.get());
  if (header.shape != shape)
    fail("has the shape ", shape_text(header.shape), ", expected ", shape_text(shape));
  if (header.dtype != "<f4") fail("holds numbers of type ", header.dtype, ", expected <f4 (float32)");
  std::vector<float> values(static_cast<size_t>(numbers_of(shape)));
  const size_t bytes = values.size() * sizeof(float);
  if (!entry.has(header_bytes + bytes))
    fail("ends after ", entry.get().size() - header_bytes, " of ", bytes, " bytes");
  // Reading on to the end also checks the sum of the bytes.
  if (entry.has(header_bytes + bytes + 1)) fail("goes on behind its ", bytes, " bytes");
  std::memcpy(values.data(), entry.get().data() + header_bytes, bytes);
  return header.fortran_order ? in_our_order(values, shape) : values;
}

/// "decoder.0.bias" of "decoder.0.bias.npy".
std::string array_name(archive_entry* entry) {
  const char* text = archive_entry_pathname(entry);
  std::string name = text != nullptr ? text : "";
  if (name.ends_with(".npy")) name.resize(name.size() - 4);
  return name;
}

FloatArrays read_arrays(archive* zip, const ArrayShapes& wanted) {
  FloatArrays arrays;
  archive_entry* entry = nullptr;
  int result = ARCHIVE_OK;
  while ((result = archive_read_next_header(zip, &entry)) == ARCHIVE_OK || result == ARCHIVE_WARN) {
    const std::string name = array_name(entry);
    const auto shape = wanted.find(name);
    if (shape == wanted.end()) continue;
    if (arrays.contains(name)) fail("holds the array ", name, " twice");
    try {
      arrays.emplace(name, read_array(zip, shape->second));
    } catch (const Error& error) {
      fail("the array ", name, " ", error.what());
    }
  }
  if (result != ARCHIVE_EOF) fail(kNoArrays, reason(zip));
  return arrays;
}

}  // namespace

FloatArrays read_npz(const std::filesystem::path& file, const ArrayShapes& wanted) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error))
    fail(file.string(),
         error || !std::filesystem::exists(file, error) ? ": no such file" : " is no regular file");
  constexpr size_t kBlock = 64 << 10;
  const Archive zip(archive_read_new(), archive_read_free);
  archive_read_support_format_zip(zip.get());
  try {
    if (archive_read_open_filename(zip.get(), file.c_str(), kBlock) != ARCHIVE_OK)
      fail(kNoArrays, reason(zip.get()));
    FloatArrays arrays = read_arrays(zip.get(), wanted);
    for (const auto& [name, shape] : wanted)
      if (!arrays.contains(name))
        fail("has no array ", name, ", expected one of the shape ", shape_text(shape));
    return arrays;
  } catch (const Error& trouble) {
    fail(file.string(), ": ", trouble.what());
  }
}

}  // namespace lapidary

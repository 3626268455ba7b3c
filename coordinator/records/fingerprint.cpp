#include "coordinator/records/fingerprint.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

#include "configs/error.h"

namespace lapidary {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kSamples = 64;
constexpr int64_t kSampleBytes = 4096;
constexpr int64_t kLongestHeader = 100 << 20;  // as safetensors itself allows

class Hash {
 public:
  Hash() : state_(XXH3_createState(), &XXH3_freeState) { XXH3_128bits_reset(state_.get()); }
  void add(std::string_view bytes) { XXH3_128bits_update(state_.get(), bytes.data(), bytes.size()); }
  /// With its length, so that two texts in a row are not taken for another two.
  void add_whole(const std::string& text) { add(std::to_string(text.size()) + "\n" + text); }
  std::string hex() const {
    XXH128_canonical_t bytes;
    XXH128_canonicalFromHash(&bytes, XXH3_128bits_digest(state_.get()));
    std::string text;
    for (const unsigned char byte : bytes.digest) {
      text += "0123456789abcdef"[byte >> 4];
      text += "0123456789abcdef"[byte & 15];
    }
    return text;
  }

 private:
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state_;
};

std::string read_whole(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) fail("cannot read ", file.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

/// As much as there is of `bytes` at `offset`.
std::string read_at(std::ifstream& in, int64_t offset, int64_t bytes) {
  std::string text(static_cast<size_t>(bytes), 0);
  in.clear();
  in.seekg(offset);
  in.read(text.data(), bytes);
  text.resize(static_cast<size_t>(in.gcount()));
  return text;
}

/// Regular files of weights, those in folders below too, where an index may name them; a pipe would be waited
/// for.
std::vector<fs::path> weight_files(const fs::path& folder) {
  constexpr int kDeepest = 2;
  std::vector<fs::path> files;
  for (auto entry = fs::recursive_directory_iterator(folder, fs::directory_options::skip_permission_denied);
       entry != fs::recursive_directory_iterator(); ++entry) {
    if (entry.depth() >= kDeepest) entry.disable_recursion_pending();
    std::error_code ignored;
    if (entry->path().extension() == ".safetensors" && entry->is_regular_file(ignored))
      files.push_back(entry->path().lexically_relative(folder));
  }
  std::sort(files.begin(), files.end());
  return files;
}

void add_weights(Hash& hash, const fs::path& folder, const fs::path& name) {
  const fs::path file = folder / name;
  std::ifstream in(file, std::ios::binary);
  if (!in) fail("cannot read ", file.string());
  const auto size = static_cast<int64_t>(fs::file_size(file));
  hash.add_whole(name.string());
  hash.add_whole(std::to_string(size));
  const std::string head = read_at(in, 0, 8);
  uint64_t header = 0;
  std::memcpy(&header, head.data(), head.size());
  const int64_t begin =
      std::min<int64_t>(size, 8 + static_cast<int64_t>(std::min<uint64_t>(header, kLongestHeader)));
  hash.add_whole(read_at(in, 0, begin));
  const int64_t room = std::max<int64_t>(0, size - begin - kSampleBytes);
  for (int64_t i = 0; i < kSamples; ++i)
    hash.add_whole(read_at(in, begin + room * i / (kSamples - 1), kSampleBytes));
}

}  // namespace

std::string fingerprint_of_model(const fs::path& model) {
  Hash hash;
  if (!fs::is_directory(model)) {
    hash.add_whole(read_whole(model));
    return hash.hex();
  }
  hash.add_whole(read_whole(model / "config.json"));
  for (const fs::path& name : weight_files(model)) add_weights(hash, model, name);
  return hash.hex();
}

std::string fingerprint_of_file(const fs::path& file) {
  if (!fs::exists(file)) return "none";
  return fingerprint_of_text(read_whole(file));
}

std::string fingerprint_of_text(const std::string& text) {
  Hash hash;
  hash.add(text);
  return hash.hex();
}

}  // namespace lapidary

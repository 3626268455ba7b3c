#include "kernels/cuda/matmul/gemm_choices.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <fstream>
#include <sstream>

namespace lapidary::cuda {
namespace {

/// A name that any file system takes.
std::string plain(std::string name) {
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.') c = '-';
  return name;
}

/// "key… : word…" of one choice; false for anything else.
bool read_line(const std::string& line, GemmKey& key, Algorithm& algorithm) {
  std::istringstream in(line);
  for (int64_t& part : key) in >> part;
  std::string colon, more;
  in >> colon >> std::hex;
  for (uint64_t& word : algorithm.words) in >> word;
  return in && colon == ":" && !(in >> more);
}

}  // namespace

int64_t row_bucket(int64_t rows) {
  const auto octave = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(std::max<int64_t>(rows, 1))));
  const int64_t step = std::max<int64_t>(octave / 4, 1);
  return (rows + step - 1) / step * step;
}

int alignment_of(Tensor t) {
  const auto bits =
      reinterpret_cast<uintptr_t>(t.data) | static_cast<uintptr_t>(t.stride) * size_of(t.dtype) | 16;
  return 1 << std::countr_zero(bits);
}

GemmKey key_of(const GemmCall& call) {
  const int64_t steps = (call.bias != nullptr ? 1 : 0) + (call.gelu ? 2 : 0) + (call.add ? 4 : 0) +
                        (call.x_scales != nullptr ? 8 : 0);
  return {row_bucket(call.y.rows()),
          call.out,
          call.x.cols(),
          static_cast<int64_t>(call.x.dtype),
          static_cast<int64_t>(call.y.dtype),
          alignment_of(call.y),
          steps,
          call.multiprocessors};
}

GemmChoices::GemmChoices(const std::filesystem::path& folder, const std::string& device,
                         const std::string& version)
    : title_("lapidary gemm choices 1, " + version + ", " + device) {
  if (folder.empty()) return;
  file_ = folder / ("gemm-" + plain(device) + "-" + plain(version) + ".txt");
  measured_ = read();
}

std::map<GemmKey, Algorithm> GemmChoices::read() const {
  std::ifstream in(file_);
  std::string line;
  if (!std::getline(in, line) || line != title_) return {};
  std::map<GemmKey, Algorithm> choices;
  while (std::getline(in, line)) {
    GemmKey key{};
    Algorithm algorithm;
    if (!read_line(line, key, algorithm)) return {};  // broken: none of it is worth trust
    choices[key] = algorithm;
  }
  return choices;
}

const Algorithm* GemmChoices::find(const GemmKey& key) const {
  for (const auto* choices : {&measured_, &guessed_})
    if (const auto found = choices->find(key); found != choices->end()) return &found->second;
  return nullptr;
}

void GemmChoices::measure(const GemmKey& key, const Algorithm& algorithm) {
  measured_[key] = algorithm;
  changed_ = true;
}

void GemmChoices::save() {
  if (!changed_ || file_.empty()) return;
  changed_ = false;
  auto all = measured_;
  all.merge(read());
  std::error_code error;  // without the file the next start measures again
  std::filesystem::create_directories(file_.parent_path(), error);
  // Backends of one process may write at once, too.
  const std::string unfinished = file_.string() + "." + std::to_string(::getpid()) + "." +
                                 std::to_string(reinterpret_cast<uintptr_t>(this));
  std::ofstream out(unfinished);
  out << title_ << '\n';
  for (const auto& [key, algorithm] : all) {
    for (const int64_t part : key) out << std::dec << part << ' ';
    out << ':';
    for (const uint64_t word : algorithm.words) out << ' ' << std::hex << word;
    out << '\n';
  }
  out.close();
  if (out) std::filesystem::rename(unfinished, file_, error);
  if (!out || error) std::filesystem::remove(unfinished, error);
}

}  // namespace lapidary::cuda

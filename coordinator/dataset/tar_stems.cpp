#include "coordinator/dataset/tar_stems.h"

#include <filesystem>
#include <unordered_map>
#include <unordered_set>

#include "configs/error.h"
#include "coordinator/dataset/file_names.h"

namespace lapidary {
namespace {

/// The last `parts` parts of a path; less where it has less.
std::string tail(const std::string& path, int parts) {
  size_t begin = path.size();
  while (parts-- > 0 && begin != 0 && begin != path.npos) begin = path.rfind('/', begin - 1);
  return begin == path.npos || begin == path.size() ? path : path.substr(begin + 1);
}

}  // namespace

std::vector<std::string> tar_stems(const std::vector<std::string>& paths) {
  std::vector<std::string> wholes;
  const std::filesystem::path here = std::filesystem::current_path();
  for (const std::string& path : paths) {
    const std::string whole = (here / path).lexically_normal().string();
    wholes.push_back(whole.substr(0, whole.size() - tar_extension(path).value_or(0)));
  }
  std::vector<std::string> stems(wholes.size());
  std::vector<size_t> open(wholes.size());
  for (size_t i = 0; i < open.size(); ++i) open[i] = i;
  for (int parts = 1; !open.empty(); ++parts) {
    std::unordered_map<std::string, std::unordered_set<std::string>> sharing;
    for (const size_t i : open) sharing[tail(wholes[i], parts)].insert(wholes[i]);
    std::vector<size_t> still;
    for (const size_t i : open) {
      stems[i] = tail(wholes[i], parts);
      if (sharing[stems[i]].size() > 1) still.push_back(i);
    }
    open = std::move(still);
  }
  std::unordered_set<std::string> taken(stems.begin(), stems.end()), given;
  for (std::string& stem : stems) {
    if (given.insert(stem).second) continue;
    int time = 2;
    while (!taken.insert(cat(stem, "~", time)).second) ++time;
    given.insert(stem = cat(stem, "~", time));
  }
  return stems;
}

}  // namespace lapidary

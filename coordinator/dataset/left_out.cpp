#include "coordinator/dataset/left_out.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "configs/error.h"
#include "coordinator/dataset/file_names.h"

namespace lapidary {
namespace {

/// Names of files may be anything: more kinds than that are one.
constexpr size_t kMaxKinds = 1000, kMaxNamed = 8, kLongestExtension = 16;
constexpr const char* kRest = "of other kinds";

std::string counted(int64_t count, const char* one, const char* many) {
  return cat(count, " ", count == 1 ? one : many);
}

}  // namespace

void LeftOut::add_other(const std::string& name) {
  std::string kind = lower_extension(name);
  if (kind.empty()) kind = "without extension";
  if (kind.size() > kLongestExtension && kind.front() == '.') kind = kRest;
  if (others_.size() >= kMaxKinds && !others_.contains(kind)) kind = kRest;
  ++others_[kind];
}

std::string LeftOut::text() const {
  std::vector<std::pair<int64_t, std::string>> kinds;
  int64_t others = 0, rest = 0;
  for (const auto& [kind, count] : others_) {
    others += count;
    if (kind == kRest)
      rest += count;
    else
      kinds.emplace_back(-count, kind);  // the most first, then by name
  }
  std::sort(kinds.begin(), kinds.end());
  std::string named;
  for (size_t i = 0; i < kinds.size(); ++i) {
    if (i < kMaxNamed)
      named += cat(named.empty() ? "" : ", ", -kinds[i].first, " ", kinds[i].second);
    else
      rest -= kinds[i].first;
  }
  if (rest > 0) named += cat(named.empty() ? "" : ", ", rest, " ", kRest);
  std::vector<std::string> parts;
  if (others > 0)
    parts.push_back(counted(others, "file is", "files are") + " no JPEG, PNG or WebP (" + named + ")");
  if (hidden_ > 0) parts.push_back(cat(hidden_, " hidden"));
  if (loops_ > 0) parts.push_back(counted(loops_, "link leads", "links lead") + " back to a folder above");
  if (unreadable_ > 0) parts.push_back(counted(unreadable_, "file", "files") + " cannot be opened");
  if (empty_tars_ > 0) parts.push_back(counted(empty_tars_, "tar has", "tars have") + " no picture");
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

}  // namespace lapidary

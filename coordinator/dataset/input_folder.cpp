#include "coordinator/dataset/input_folder.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "configs/error.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

/// A folder without images must have fewer entries for the door to say so.
constexpr int64_t kMaxLookedAt = 200'000;

struct Entry {
  std::string name;
  bool folder = false;
};

/// Calls `visit(Entry)` for images and folders that are not hidden, in no order, while it returns true.
template <class Visit>
void each_entry(const std::string& folder, const Visit& visit) {
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    Entry entry{at->path().filename().string(), false};
    if (entry.name.front() == '.') continue;
    std::error_code gone;
    entry.folder = at->is_directory(gone);
    if ((entry.folder || is_image_name(entry.name)) && !visit(entry)) return;
  }
  if (error) fail(folder, ": cannot be listed: ", error.message());
}

}  // namespace

FolderReader::FolderReader(const std::string& folder, const std::string& label)
    : folder_(absolute_path(folder) + "/"), label_(label) {
  enter("");
}

void FolderReader::enter(const std::string& below) {
  struct stat status {};
  Level level{below, {}, {}};
  try {
    if (stat((folder_ + below).c_str(), &status) != 0) fail(folder_ + below, ": ", std::strerror(errno));
    level.identity = {status.st_dev, status.st_ino};
    for (const Level& above : levels_)
      if (above.identity == level.identity) return;
    each_entry(folder_ + below, [&](const Entry& entry) {
      level.names.push_back(entry.folder ? entry.name + "/" : entry.name);
      return true;
    });
  } catch (const Error& error) {
    const std::string key = label_ + below;
    error_ = SourceItem{key.empty() ? folder_ : key, {}, {}, error.what()};
  }
  std::sort(level.names.begin(), level.names.end());
  levels_.push_back(std::move(level));
}

std::optional<SourceItem> FolderReader::next() {
  while (!error_ && !levels_.empty()) {
    Level& level = levels_.back();
    if (level.at == level.names.size()) {
      levels_.pop_back();
      continue;
    }
    const std::string path = level.below + level.names[level.at++];
    if (path.back() == '/') {
      enter(path);
      continue;
    }
    SourceItem found{label_ + path, {}, {}, std::nullopt};
    found.images.emplace_back().set_path(folder_ + path);
    return found;
  }
  return std::exchange(error_, std::nullopt);
}

void check_folder(const std::string& folder) {
  std::vector<std::string> folders{folder};  // and those found below it, breadth first
  int64_t looked_at = 0;
  bool found = false;
  // Links that lead back go round only until the limit.
  for (size_t i = 0; i < folders.size() && !found; ++i) {
    const auto visit = [&](const Entry& entry) {
      found = !entry.folder || ++looked_at >= kMaxLookedAt;
      if (entry.folder) folders.push_back(folders[i] + "/" + entry.name);
      return !found;
    };
    try {
      each_entry(folders[i], visit);
    } catch (const Error&) {
      if (i == 0) throw;
      found = true;  // an item with an error, at its turn
    }
  }
  if (!found) fail(folder, ": a folder without images (.jpg, .jpeg, .png, .webp)");
}

}  // namespace lapidary

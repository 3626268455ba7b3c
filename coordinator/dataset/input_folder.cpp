#include "coordinator/dataset/input_folder.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "configs/error.h"
#include "configs/picture_format.h"
#include "coordinator/dataset/file_names.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

/// A folder without images must have fewer entries for the door to say so.
constexpr int64_t kMaxLookedAt = 200'000;
/// Of those, files that are opened for their first bytes.
constexpr int64_t kMaxOpenings = 2'000;

struct Entry {
  std::string name;
  bool folder = false;
};

/// Calls `visit(Entry)` for what is there, in no order, while it returns true.
template <class Visit>
void each_entry(const std::string& folder, const Visit& visit) {
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    Entry entry{at->path().filename().string(), false};
    std::error_code gone;
    entry.folder = at->is_directory(gone);
    if (!visit(entry)) return;
  }
  if (error) fail(folder, ": cannot be listed: ", error.message());
}

/// Looks breadth first at what lies below `folder`, hidden names apart, until `visit(path)` of a file,
/// without the folder, returns false. Whether all was seen: not where there is too much (links that lead back
/// go round only until the limit), or where a folder below cannot be listed. Throws where the folder itself
/// cannot be.
template <class Visit>
bool each_file_below(const std::string& folder, const Visit& visit) {
  std::vector<std::string> folders{""};
  int64_t looked_at = 0;
  bool more = true, all_seen = true;
  for (size_t i = 0; i < folders.size() && more; ++i) {
    try {
      each_entry(folder + "/" + folders[i], [&](const Entry& entry) {
        if (entry.name.front() == '.') return true;
        const std::string path = folders[i] + entry.name;
        if (entry.folder)
          folders.push_back(path + "/");
        else
          more = visit(path);
        all_seen = all_seen && ++looked_at < kMaxLookedAt;
        return more = more && all_seen;
      });
    } catch (const Error&) {
      if (i == 0) throw;
      all_seen = false;
    }
  }
  return all_seen;
}

bool is_picture_by_bytes(const std::string& path) {
  bool opened = false;
  return picture_format(first_bytes(path, opened)).has_value();
}

}  // namespace

FolderReader::FolderReader(const InputSource& source, LeftOut* left_out)
    : folder_(absolute_path(source.path) + "/"),
      label_(source.label),
      tars_(source.tars),
      left_out_(left_out != nullptr ? *left_out : unused_) {
  enter("");
}

void FolderReader::enter(const std::string& below) {
  struct stat status {};
  Level level{below, {}, {}};
  try {
    if (stat((folder_ + below).c_str(), &status) != 0) fail(folder_ + below, ": ", std::strerror(errno));
    level.identity = {status.st_dev, status.st_ino};
    for (const Level& above : levels_)
      if (above.identity == level.identity) return left_out_.add_loop();
    each_entry(folder_ + below, [&](const Entry& entry) {
      if (entry.name.front() == '.')
        left_out_.add_hidden();
      else
        level.names.push_back(entry.folder ? entry.name + "/" : entry.name);
      return true;
    });
  } catch (const Error& error) {
    const std::string key = label_ + below;
    error_ = SourceItem{key.empty() ? folder_ : key, {}, {}, error.what(), "", true};
  }
  std::sort(level.names.begin(), level.names.end());
  levels_.push_back(std::move(level));
}

/// `path` begins at the folder. Counts what is none.
bool FolderReader::is_picture(const std::string& path) const {
  if (is_image_name(path)) return true;
  bool opened = false;
  if (picture_format(first_bytes(folder_ + path, opened))) return true;
  opened ? left_out_.add_other(path) : left_out_.add_unreadable();
  return false;
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
    if (tar_extension(path)) {
      if (tars_ && tars_->contains(path)) continue;  // a source of its own
      return SourceItem{
          label_ + path,
          {},
          {},
          cat(folder_, path, ": a tar that was not seen when the job began: name it as an input of its own"),
          "",
          true};
    }
    if (!is_picture(path)) continue;
    SourceItem found;
    found.key = label_ + path;
    found.name = path;
    found.images.push_back(picture_file(folder_ + path));
    return found;
  }
  return std::exchange(error_, std::nullopt);
}

void check_folder(const std::string& folder) {
  bool found = false;
  int64_t openings = kMaxOpenings;
  const bool all_seen = each_file_below(folder, [&](const std::string& path) {
    found = is_image_name(path) || tar_extension(path) || openings-- <= 0 ||
            is_picture_by_bytes(folder + "/" + path);
    return !found;
  });
  if (!found && all_seen) fail(folder, ": a folder without images (JPEG, PNG or WebP)");
}

std::set<std::string> tars_below(const std::string& folder) {
  std::set<std::string> tars;
  try {
    each_file_below(folder, [&](const std::string& path) {
      if (tar_extension(path)) tars.insert(path);
      return true;
    });
  } catch (const Error&) {  // said by `check_folder`
  }
  return tars;
}

}  // namespace lapidary

#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

namespace lapidary {

/// What one record is made from.
struct Item {
  std::string key;                            // names the record
  std::vector<std::filesystem::path> images;  // of one prompt, in order; at least one
  std::optional<std::string> prompt;          // none: the command's
};

/// Everything to caption, in order: image files as given; folders, with all images below them sorted by path
/// (key: the path relative to the folder); JSONL manifests, a line {"image": PATH or [PATHS], "prompt"?,
/// "id"?} each (key: the id, else the image as written; relative paths start at the manifest's folder).
///
/// All is checked before the first item: a missing path, a folder without images and a line that is no such
/// object end in one sentence naming path and line. That an image can be read is known later, when it is its
/// turn.
class Inputs {
 public:
  explicit Inputs(const std::vector<std::filesystem::path>& sources);

  int64_t total() const { return total_; }
  /// Folders were listed at the start; manifests are read line by line, so that they may be longer than
  /// memory.
  std::optional<Item> next();

 private:
  struct Source {
    std::filesystem::path path;                    // an image, a folder, or a manifest
    std::optional<std::vector<std::string>> keys;  // a folder's images
    bool manifest = false;
  };

  void add(const std::filesystem::path& path);
  std::optional<Item> next_line();

  std::deque<Source> sources_;
  int64_t total_ = 0;
  size_t at_ = 0;       // in the first source's keys
  std::ifstream file_;  // the first source's lines
  int64_t line_ = 0;
};

/// Whether a file's extension is one of an image: .jpg, .jpeg, .png, .webp, in any case.
bool is_image_name(const std::filesystem::path& path);

}  // namespace lapidary

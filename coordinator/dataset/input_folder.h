#pragma once

#include <sys/types.h>

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/dataset/input_source.h"

namespace lapidary {

/// The pictures below a folder, sorted by their whole path; what is held is the names in the folders on the
/// way to where it stands. Hidden names are left out; links to folders are followed, but not back to where
/// they come from. A folder that cannot be listed is an item with an error, as is a tar that was not found at
/// the door.
class FolderReader : public SourceReader {
 public:
  /// `left_out`, if given, counts what is no picture.
  FolderReader(const InputSource& source, LeftOut* left_out);
  std::optional<SourceItem> next() override;

 private:
  using Identity = std::pair<dev_t, ino_t>;
  struct Level {
    std::string below;  // "" or "a/b/"
    Identity identity;
    std::vector<std::string> names;  // sorted; folders end in /
    size_t at = 0;
  };

  void enter(const std::string& below);
  bool is_picture(const std::string& path) const;

  const std::string folder_;
  const std::string label_;
  const std::shared_ptr<const std::set<std::string>> tars_;
  LeftOut unused_;
  LeftOut& left_out_;
  std::vector<Level> levels_;
  std::optional<SourceItem> error_;  // to be given next
};

/// Throws where the folder cannot be listed, or surely has no picture.
void check_folder(const std::string& folder);

/// The paths below a folder of the tars that it holds, sorted. Of very large folders not all.
std::set<std::string> tars_below(const std::string& folder);

}  // namespace lapidary

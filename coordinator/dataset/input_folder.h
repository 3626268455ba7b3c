#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "coordinator/dataset/input_source.h"

namespace lapidary {

/// The images below a folder, sorted by their whole path; what is held is the names in the folders on the way
/// to where it stands. Hidden names are left out; links to folders are followed, but not back to where they
/// come from. A folder that cannot be listed is an item with an error.
class FolderReader : public SourceReader {
 public:
  /// `label` begins the keys.
  FolderReader(const std::string& folder, const std::string& label);
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

  const std::string folder_;
  const std::string label_;
  std::vector<Level> levels_;
  std::optional<SourceItem> error_;  // to be given next
};

/// Throws where the folder cannot be listed, or surely has no image.
void check_folder(const std::string& folder);

}  // namespace lapidary

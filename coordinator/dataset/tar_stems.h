#pragma once

#include <string>
#include <vector>

namespace lapidary {

/// A name for each tar, no two alike: its file's name without the extension, with so many of its folders
/// before it ("train/00000") as tell it from the others, and "~2" behind it for the same file a second time.
std::vector<std::string> tar_stems(const std::vector<std::string>& paths);

}  // namespace lapidary

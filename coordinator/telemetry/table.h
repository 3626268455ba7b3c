#pragma once

#include <string>
#include <vector>

namespace lapidary {

/// Lines of columns as wide as their widest cell, the first column to the left, the others to the right.
/// UTF-8 cells are measured in characters.
std::string table_text(const std::vector<std::vector<std::string>>& rows);

}  // namespace lapidary

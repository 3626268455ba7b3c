#pragma once

#include <string>
#include <vector>

#include "coordinator/masks/mask_runs.h"

namespace lapidary {

/// A picture as rows of '0' and '1'.
inline MaskRuns runs_of_rows(const std::vector<std::string>& rows) {
  MaskRunBuilder builder(static_cast<int>(rows.size()), static_cast<int>(rows.front().size()));
  for (size_t x = 0; x < rows.front().size(); ++x)
    for (const std::string& row : rows) builder.add(row[x] == '1', 1);
  return builder.finish();
}

inline std::vector<std::string> rows_of_runs(const MaskRuns& runs) {
  std::vector<std::string> rows(static_cast<size_t>(runs.height),
                                std::string(static_cast<size_t>(runs.width), '?'));
  size_t at = 0;
  for (size_t i = 0; i < runs.counts.size(); ++i)
    for (uint32_t n = 0; n < runs.counts[i]; ++n, ++at)
      rows[at % rows.size()][at / rows.size()] = i % 2 == 1 ? '1' : '0';
  return rows;
}

}  // namespace lapidary

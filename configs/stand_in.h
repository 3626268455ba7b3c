#pragma once

#include <string>
#include <string_view>

namespace lapidary {

/// Throws one sentence where a file's first bytes show that it only stands in a checkpoint's file's place: a
/// git-lfs pointer, a web page, a ZIP or gzip archive.
void refuse_stand_in(std::string_view begin, const std::string& file);

/// Bytes that refuse_stand_in wants to see at most.
constexpr size_t kStandInBytes = 256;

}  // namespace lapidary

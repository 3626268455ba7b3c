#pragma once

#include <string>
#include <string_view>

namespace lapidary {

/// A JSON string with its quotes. Bytes that are part of no UTF-8 character (file names may hold any) become
/// U+FFFD.
std::string json_string(std::string_view text);

}  // namespace lapidary

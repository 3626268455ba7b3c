#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace lapidary {

/// What a file that is no JPEG, PNG or WebP is, by its bytes, and what to do about it: "a GIF image: convert
/// it to one of them". What is not known by its first bytes is shown when it is text, else called "of an
/// unknown kind".
std::string kind_of_file(std::span<const uint8_t> bytes);

}  // namespace lapidary

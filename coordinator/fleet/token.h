#pragma once

#include <string>
#include <string_view>

namespace lapidary {

/// 128 random bits in hexadecimal: what proves to the coordinator that a worker is of its job.
std::string make_token();

/// Takes as long wherever the two differ, so that a token cannot be guessed a letter at a time.
bool is_same_token(std::string_view expected, std::string_view given);

}  // namespace lapidary

#pragma once

#include <string>
#include <vector>

namespace lapidary {

/// More than that many words of one pattern are refused.
constexpr int64_t kMaxBraceWords = 1'000'000;

/// What a pattern with braces stands for, the leftmost brace turning slowest, as shells write it:
/// - {a,b,} is a list, of patterns again;
/// - {000..012} counts, up or down, {0..12..3} in steps; as many digits as the longer end where one of them
///   begins with a zero.
/// Any other brace stands for itself. A pattern without braces gives itself. Throws a sentence where it
/// stands for more than kMaxBraceWords words.
std::vector<std::string> expand_braces(const std::string& pattern);

}  // namespace lapidary

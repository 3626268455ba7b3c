#include "coordinator/serve/openai/answers/stop_matcher.h"

#include <algorithm>

namespace lapidary {

StopMatcher::Pattern::Pattern(std::string pattern) : text(std::move(pattern)), borders(text.size() + 1, 0) {
  for (size_t at = 1; at < text.size(); ++at) {
    advance(text[at]);
    borders[at + 1] = matched;
  }
  matched = 0;
}

void StopMatcher::Pattern::advance(char byte) {
  while (matched > 0 && (matched == text.size() || text[matched] != byte)) matched = borders[matched];
  if (text[matched] == byte) ++matched;
}

StopMatcher::StopMatcher(std::vector<std::string> strings) {
  for (std::string& text : strings) patterns_.emplace_back(std::move(text));
}

std::optional<StopMatcher::Stop> StopMatcher::add(std::string_view piece) {
  for (size_t at = 0; at < piece.size(); ++at) {
    const std::string* found = nullptr;
    for (Pattern& pattern : patterns_) {
      pattern.advance(piece[at]);
      if (pattern.matched == pattern.text.size() && (!found || pattern.text.size() > found->size()))
        found = &pattern.text;
    }
    if (found) return Stop{at + 1, found};
  }
  return std::nullopt;
}

size_t StopMatcher::pending() const {
  size_t longest = 0;
  for (const Pattern& pattern : patterns_) longest = std::max(longest, pattern.matched);
  return longest;
}

}  // namespace lapidary

#include "coordinator/dataset/brace.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

#include "configs/error.h"

namespace lapidary {
namespace {

using Words = std::vector<std::string>;

/// Deeper patterns are a mistake, and would be a deep recursion.
constexpr int kDeepest = 16;

struct Range {
  int64_t first = 0, last = 0, step = 1;
  size_t width = 0;  // digits, filled up with zeros
  int64_t count() const { return std::abs(last - first) / step + 1; }
};

/// Digits alone, few enough for 64 bits.
std::optional<int64_t> number(std::string_view text) {
  int64_t value = 0;
  if (text.empty() || text.size() > 18 || text.find_first_not_of("0123456789") != text.npos)
    return std::nullopt;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// "000..012" or "0..12..3".
std::optional<Range> parse_range(std::string_view text) {
  const size_t dots = text.find("..");
  if (dots == text.npos) return std::nullopt;
  const std::string_view from = text.substr(0, dots);
  std::string_view to = text.substr(dots + 2), by = "1";
  if (const size_t more = to.find(".."); more != to.npos) {
    by = to.substr(more + 2);
    to = to.substr(0, more);
  }
  const auto first = number(from), last = number(to), step = number(by);
  if (!first || !last || !step || *step == 0) return std::nullopt;
  const bool padded = (from.size() > 1 && from[0] == '0') || (to.size() > 1 && to[0] == '0');
  return Range{*first, *last, *step, padded ? std::max(from.size(), to.size()) : 0};
}

/// A brace with its partner, and the commas between them that are its own.
struct Group {
  size_t open = 0, close = 0;
  std::vector<size_t> commas;
};

std::optional<Group> group_at(std::string_view text, size_t open) {
  Group group{open, 0, {}};
  int depth = 0;
  for (size_t i = open; i < text.size(); ++i) {
    if (text[i] == '{') ++depth;
    if (text[i] == ',' && depth == 1) group.commas.push_back(i);
    if (text[i] != '}' || --depth > 0) continue;
    group.close = i;
    return group;
  }
  return std::nullopt;
}

class Expansion {
 public:
  explicit Expansion(const std::string& pattern) : pattern_(pattern) {}

  Words of(std::string_view text, int depth) const {
    if (depth > kDeepest) fail(pattern_, ": braces nested more than ", kDeepest, " deep");
    for (size_t open = text.find('{'); open != text.npos; open = text.find('{', open + 1)) {
      const auto group = group_at(text, open);
      if (!group) continue;
      const auto words = meant_by(text, *group, depth);
      if (!words) continue;
      return product(text.substr(0, open), *words, of(text.substr(group->close + 1), depth + 1));
    }
    return {std::string(text)};
  }

 private:
  /// None: the brace stands for itself.
  std::optional<Words> meant_by(std::string_view text, const Group& group, int depth) const {
    const std::string_view inside = text.substr(group.open + 1, group.close - group.open - 1);
    if (const auto range = parse_range(inside)) return counted(*range);
    if (group.commas.empty()) return std::nullopt;
    Words words;
    size_t begin = group.open + 1;
    for (size_t i = 0; i <= group.commas.size(); ++i) {
      const size_t end = i < group.commas.size() ? group.commas[i] : group.close;
      for (std::string& word : of(text.substr(begin, end - begin), depth + 1))
        words.push_back(std::move(word));
      check(static_cast<int64_t>(words.size()), 1);
      begin = end + 1;
    }
    return words;
  }

  Words counted(const Range& range) const {
    check(range.count(), 1);
    Words words;
    for (int64_t i = 0; i < range.count(); ++i) {
      std::string digits = std::to_string(range.first + (range.first <= range.last ? i : -i) * range.step);
      if (digits.size() < range.width) digits.insert(0, range.width - digits.size(), '0');
      words.push_back(std::move(digits));
    }
    return words;
  }

  Words product(std::string_view before, const Words& words, const Words& rests) const {
    check(static_cast<int64_t>(words.size()), static_cast<int64_t>(rests.size()));
    Words all;
    all.reserve(words.size() * rests.size());
    for (const std::string& word : words)
      for (const std::string& rest : rests) all.push_back(std::string(before) + word + rest);
    return all;
  }

  void check(int64_t words, int64_t times) const {
    if (words > kMaxBraceWords / times) fail(pattern_, ": stands for more than ", kMaxBraceWords, " names");
  }

  const std::string& pattern_;
};

}  // namespace

std::vector<std::string> expand_braces(const std::string& pattern) {
  return Expansion(pattern).of(pattern, 0);
}

}  // namespace lapidary

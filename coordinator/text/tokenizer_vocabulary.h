#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lapidary {

/// Pieces and their ids 0, 1, 2, …, both ways. One block of text and two flat tables: a quarter of a million
/// pieces load in a few milliseconds.
class Vocabulary {
 public:
  /// A piece's id is its place. The pieces differ from each other; at most 2^30 of them, 4 GiB in all.
  explicit Vocabulary(const std::vector<std::string_view>& pieces);

  std::optional<int32_t> id_of(std::string_view piece) const;
  std::string_view piece(int32_t id) const;  // id in [0, size)
  int32_t size() const { return static_cast<int32_t>(begins_.size()) - 1; }

 private:
  size_t slot_of(std::string_view piece) const;  // where it is, or the empty slot where it would be

  std::string text_;
  std::vector<uint32_t> begins_;  // [size + 1], into text_
  std::vector<int32_t> slots_;    // open addressing over a power of two, at most half full; -1 is empty
};

}  // namespace lapidary

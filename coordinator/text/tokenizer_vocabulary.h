#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace lapidary {

/// Pieces and their ids, both ways. One block of text and two flat tables: a quarter of a million pieces load
/// in a few milliseconds.
class Vocabulary {
 public:
  /// A piece's id is its place; where there is none, `data()` is null. The pieces differ from each other; at
  /// most 2^30 of them, 4 GiB in all.
  explicit Vocabulary(const std::vector<std::string_view>& pieces);

  std::optional<int32_t> id_of(std::string_view piece) const;
  std::string_view piece(int32_t id) const;  // id in [0, size)
  bool holds(int32_t id) const { return 0 <= id && id < size() && !holes_.contains(id); }
  int32_t size() const { return static_cast<int32_t>(begins_.size()) - 1; }  // one more than the largest id
  int32_t count() const { return size() - static_cast<int32_t>(holes_.size()); }
  size_t longest() const;  // bytes of a piece

 private:
  size_t slot_of(std::string_view piece) const;  // where it is, or the empty slot where it would be

  std::string text_;
  std::vector<uint32_t> begins_;       // [size + 1], into text_
  std::unordered_set<int32_t> holes_;  // ids below the largest that no piece has
  std::vector<int32_t> slots_;         // open addressing over a power of two, at most half full; -1 is empty
};

}  // namespace lapidary

#include "coordinator/text/tokenizer_vocabulary.h"

#include <algorithm>
#include <bit>
#include <functional>

namespace lapidary {

Vocabulary::Vocabulary(const std::vector<std::string_view>& pieces)
    : slots_(std::bit_ceil(2 * pieces.size() + 2), -1) {
  size_t bytes = 0;
  for (const auto piece : pieces) bytes += piece.size();
  text_.reserve(bytes);
  begins_.reserve(pieces.size() + 1);
  begins_.push_back(0);
  for (const auto piece : pieces) {
    text_ += piece;
    begins_.push_back(static_cast<uint32_t>(text_.size()));
    if (piece.data() == nullptr)
      holes_.insert(size() - 1);
    else
      slots_[slot_of(piece)] = size() - 1;
  }
}

std::optional<int32_t> Vocabulary::id_of(std::string_view piece) const {
  const int32_t id = slots_[slot_of(piece)];
  if (id < 0) return std::nullopt;
  return id;
}

std::string_view Vocabulary::piece(int32_t id) const {
  return std::string_view(text_).substr(begins_[id], begins_[id + 1] - begins_[id]);
}

size_t Vocabulary::longest() const {
  size_t longest = 0;
  for (int32_t id = 0; id < size(); ++id) longest = std::max(longest, piece(id).size());
  return longest;
}

size_t Vocabulary::slot_of(std::string_view wanted) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = std::hash<std::string_view>{}(wanted)&mask;
  while (slots_[slot] >= 0 && piece(slots_[slot]) != wanted) slot = (slot + 1) & mask;
  return slot;
}

}  // namespace lapidary

#include "coordinator/text/tokenizer_bpe.h"

#include <bit>
#include <functional>
#include <limits>
#include <queue>

#include "configs/error.h"
#include "coordinator/text/utf8.h"

namespace lapidary {
namespace {

constexpr int32_t kGone = -1;
constexpr uint64_t kNoPair = ~uint64_t{0};

uint64_t pair_of(int32_t left, int32_t right) { return uint64_t(uint32_t(left)) << 32 | uint32_t(right); }

/// Smallest first: by rank, then by position.
using MergeQueue = std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>>;

}  // namespace

Bpe::PairTable::PairTable(const std::vector<Merge>& merges)
    : slots_(std::bit_ceil(merges.size() * 3 / 2 + 2), Slot{kNoPair, 0}),
      shift_(64 - std::countr_zero(slots_.size())) {
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const uint64_t pair = pair_of(merges[rank].left, merges[rank].right);
    slots_[slot_of(pair)] = {pair, static_cast<uint32_t>(rank)};  // of a pair listed twice the last counts
  }
}

size_t Bpe::PairTable::slot_of(uint64_t pair) const {
  size_t at = (pair * 0x9e3779b97f4a7c15u) >> shift_;
  while (slots_[at].pair != kNoPair && slots_[at].pair != pair) at = (at + 1) & (slots_.size() - 1);
  return at;
}

std::optional<uint32_t> Bpe::PairTable::rank(int32_t left, int32_t right) const {
  const uint64_t pair = pair_of(left, right);
  const Slot& slot = slots_[slot_of(pair)];
  if (slot.pair != pair) return std::nullopt;
  return slot.rank;
}

Bpe::Bpe(Vocabulary vocabulary, const std::vector<Merge>& merges, BpeOptions options)
    : vocabulary_(std::move(vocabulary)), options_(options), pairs_(merges) {
  merged_.reserve(merges.size());
  for (const Merge& merge : merges) merged_.push_back(merge.merged);
  constexpr std::string_view digits = "0123456789ABCDEF";
  for (size_t byte = 0; byte < byte_ids_.size(); ++byte) {
    const char piece[] = {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
    byte_ids_[byte] = vocabulary_.id_of({piece, sizeof piece}).value_or(-1);
  }
}

void Bpe::encode(std::string_view word, std::vector<int32_t>& ids) const {
  if (word.empty()) return;
  if (word.size() > std::numeric_limits<int32_t>::max())
    fail("a text of ", word.size(), " bytes is too long to encode");
  if (options_.ignore_merges) {
    if (const auto id = vocabulary_.id_of(word)) return ids.push_back(*id);
  }
  std::vector<Symbol> symbols = characters(word);
  merge(symbols);
  for (const Symbol& symbol : symbols) {
    if (symbol.id != kGone) ids.push_back(symbol.id);
  }
}

/// One symbol a character, or a byte. An unknown character waits until the next known one, as in the library,
/// where bytes overtake it.
std::vector<Bpe::Symbol> Bpe::characters(std::string_view word) const {
  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  bool waiting = false;
  const auto add = [&](int32_t id) { symbols.push_back({id, 0, 0}); };
  for (size_t at = 0, length = 0; at < word.size(); at += length) {
    length = utf8_length(word[at]);
    const std::string_view character = word.substr(at, length);
    if (const auto id = vocabulary_.id_of(character)) {
      if (waiting) add(*options_.unk);
      waiting = false;
      add(*id);
    } else if (!add_bytes(character, symbols) && options_.unk) {
      if (waiting && !options_.fuse_unk) add(*options_.unk);
      waiting = true;
    }
  }
  if (waiting) add(*options_.unk);
  const auto count = static_cast<int32_t>(symbols.size());
  for (int32_t i = 0; i < count; ++i) {
    symbols[i].prev = i - 1;
    symbols[i].next = i + 1 < count ? i + 1 : -1;
  }
  return symbols;
}

bool Bpe::add_bytes(std::string_view character, std::vector<Symbol>& symbols) const {
  if (!options_.byte_fallback) return false;
  for (const char c : character) {
    if (byte_ids_[static_cast<unsigned char>(c)] < 0) return false;
  }
  for (const char c : character) symbols.push_back({byte_ids_[static_cast<unsigned char>(c)], 0, 0});
  return true;
}

void Bpe::merge(std::vector<Symbol>& symbols) const {
  const auto entry = [](uint32_t rank, int32_t left) { return uint64_t{rank} << 32 | uint32_t(left); };
  std::vector<uint64_t> first;
  first.reserve(symbols.size());
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    if (const auto rank = pairs_.rank(symbols[i].id, symbols[i + 1].id))
      first.push_back(entry(*rank, int32_t(i)));
  }
  MergeQueue queue({}, std::move(first));
  const auto offer = [&](int32_t left) {
    if (left < 0 || symbols[left].next < 0) return;
    const auto rank = pairs_.rank(symbols[left].id, symbols[symbols[left].next].id);
    if (rank) queue.push(entry(*rank, left));
  };
  while (!queue.empty()) {
    const auto at = static_cast<int32_t>(queue.top() & 0xffffffffu);
    const auto rank = static_cast<uint32_t>(queue.top() >> 32);
    queue.pop();
    Symbol& left = symbols[at];
    if (left.id == kGone || left.next < 0) continue;
    Symbol& right = symbols[left.next];
    if (pairs_.rank(left.id, right.id) != rank) continue;  // one of them has merged otherwise meanwhile
    left.id = merged_[rank];
    left.next = right.next;
    right.id = kGone;
    if (left.next >= 0) symbols[left.next].prev = at;
    offer(left.prev);
    offer(at);
  }
}

}  // namespace lapidary

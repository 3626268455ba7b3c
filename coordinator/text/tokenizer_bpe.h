#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "coordinator/text/tokenizer_vocabulary.h"

namespace lapidary {

/// Two neighbours that become one piece. A merge's rank is its place in the list: lower goes first.
struct Merge {
  int32_t left = 0;
  int32_t right = 0;
  int32_t merged = 0;
};

struct BpeOptions {
  bool byte_fallback =
      false;  // a character that is no piece becomes its bytes "<0xHH>", if all of them are pieces
  bool fuse_unk = false;       // unknown characters side by side count as one
  bool ignore_merges = false;  // a word that is a piece is that piece
  std::optional<int32_t> unk;  // none: unknown characters vanish
};

/// Byte-pair encoding: of all neighbours that merge, those of the lowest rank first, among these the
/// leftmost.
class Bpe {
 public:
  Bpe(Vocabulary vocabulary, const std::vector<Merge>& merges, BpeOptions options);

  /// Appends the ids of `word`, valid UTF-8. n log n in its length, whatever it holds.
  void encode(std::string_view word, std::vector<int32_t>& ids) const;

  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  struct Symbol {
    int32_t id;    // kGone once merged into its left neighbour
    int32_t prev;  // -1 at the ends
    int32_t next;
  };
  /// (left, right) → rank, by open addressing: half a million pairs are asked for millions of times.
  class PairTable {
   public:
    explicit PairTable(const std::vector<Merge>& merges);
    std::optional<uint32_t> rank(int32_t left, int32_t right) const;

   private:
    struct Slot {
      uint64_t pair;
      uint32_t rank;
    };
    size_t slot_of(uint64_t pair) const;  // where it is, or the empty slot where it would be
    std::vector<Slot> slots_;
    int shift_;
  };

  std::vector<Symbol> characters(std::string_view word) const;
  bool add_bytes(std::string_view character, std::vector<Symbol>& symbols) const;
  void merge(std::vector<Symbol>& symbols) const;

  Vocabulary vocabulary_;
  BpeOptions options_;
  std::array<int32_t, 256> byte_ids_;  // -1 where "<0xHH>" is no piece
  PairTable pairs_;
  std::vector<int32_t> merged_;  // [rank] → id of the merged piece
};

}  // namespace lapidary

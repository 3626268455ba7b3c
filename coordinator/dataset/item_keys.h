#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "coordinator/dataset/inputs.h"

namespace lapidary {

/// `text` where it is UTF-8; else with its other bytes as "\xe9", as Python's backslashreplace has them.
std::string as_utf8(std::string_view text);

uint64_t hash_of_key(std::string_view key);

/// Hashes of 64 bits: 11 to 22 bytes each. (Two texts that share one count as the same: of a hundred million,
/// there are such with a probability of 1 in 3,700.)
class HashSet {
 public:
  /// False: it is there already.
  bool insert(uint64_t hash);
  bool contains(uint64_t hash) const;
  void clear();

 private:
  size_t place_of(uint64_t hash) const;
  void grow();

  std::vector<uint64_t> table_;  // open addressing; 0: free
  size_t held_ = 0;
};

/// How often each hash came.
class Occurrences {
 public:
  /// 1 the first time.
  int64_t count(uint64_t hash);
  void clear();

 private:
  HashSet seen_;
  std::unordered_map<uint64_t, int64_t> times_;  // of those that came more than once
};

/// Gives each picture a key of its own: the one it brings, or, where another picture has that, with "#2",
/// "#3", … behind it. What earlier runs have recorded keeps its keys.
class ItemKeys {
 public:
  /// `by_shard`: items come tar by tar, and keys of two tars differ by what they begin with.
  explicit ItemKeys(bool by_shard = false) : by_shard_(by_shard) {}

  /// Of a picture with a record; before the first `name`.
  void add_recorded(uint64_t key_hash) { recorded_.insert(key_hash); }
  /// The item is recorded under the key with this hash, and so are others of the picture to be.
  void keep(const DatasetItem& item, uint64_t key_hash);
  /// Items of one picture come one after another and get one key.
  void name(DatasetItem& item);
  /// Pictures whose key got a number.
  int64_t numbered() const { return numbered_; }

 private:
  std::string new_key(const std::string& wanted);
  std::string kept_key(const std::string& wanted, uint64_t hash) const;

  const bool by_shard_;
  int64_t shard_ = -1;
  HashSet recorded_, given_;
  std::unordered_map<uint64_t, int64_t> times_;  // of keys that came more than once
  uint64_t picture_ = 0;                         // of the item before
  std::string key_;                              // and its key; "": `key_hash_` alone is known
  uint64_t key_hash_ = 0;
  int64_t numbered_ = 0;
};

}  // namespace lapidary

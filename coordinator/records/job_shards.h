#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/records/job_part.h"

namespace lapidary {

/// Which records of each tar there are, and when it has all: what puts a shard's file into the tar's order.
/// Keeps 16 bytes a record for the shards in work only. Any thread.
class JobShards {
 public:
  using Order = std::vector<std::pair<uint64_t, int64_t>>;  // hash of a record, index of its item

  /// `closed`: by the shard's number, those whose file an earlier run has finished.
  explicit JobShards(const std::vector<bool>& closed);

  /// An item, in the order of the tar: an earlier run has recorded it, or not.
  void seen(int64_t shard, uint64_t hash, int64_t index, bool done);
  void recorded(int64_t shard, uint64_t hash, int64_t index);
  /// Its items are all known.
  void ended(int64_t shard, int64_t items);

  /// Shards that have got their last record since the last call.
  std::vector<int64_t> take_complete();
  /// What is known of the order; forgets it.
  Order take_order(int64_t shard);

 private:
  struct Shard {
    bool untouched = false;  // closed, and nothing new came
    int64_t records = 0;
    int64_t items = -1;
    Order order;
  };
  Shard& at(int64_t shard);
  void note(int64_t number, uint64_t hash, int64_t index);
  void check(int64_t number);

  std::mutex mutex_;
  std::vector<Shard> shards_;
  std::vector<int64_t> complete_;
  int64_t reading_ = -1;
};

/// Sorts the lines of a shard's open file by the items' indices (records of items that the tar has no more
/// come last), writes its stats and closes it.
void finish_shard(JobPart& part, JobShards::Order order, double end_time);

}  // namespace lapidary

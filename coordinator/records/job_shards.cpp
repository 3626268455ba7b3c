#include "coordinator/records/job_shards.h"

#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <limits>
#include <map>
#include <stdexcept>
#include <tuple>

#include "configs/error.h"
#include "coordinator/text/json_text.h"

namespace lapidary {
namespace {

struct Line {
  int64_t index = 0;
  int64_t begin = 0;  // byte
  int64_t bytes = 0;  // with its end
};

struct Stats {
  int64_t count = 0;
  int64_t failed = 0;
  int64_t tokens = 0;
  std::map<std::string, int64_t> errors;
};

std::string stats_text(const JobPart& part, const Stats& stats, double end_time) {
  const boost::json::object text{{"shard", part.name},
                                 {"count", stats.count},
                                 {"successes", stats.count - stats.failed},
                                 {"failed", stats.failed},
                                 {"errors", boost::json::value_from(stats.errors)},
                                 {"tokens", stats.tokens},
                                 {"start_time", part.start_time},
                                 {"end_time", end_time}};
  return boost::json::serialize(text) + "\n";
}

/// Where a record belongs: the index that `order`, sorted by hash, has for it, each once.
class Places {
 public:
  explicit Places(JobShards::Order order) : order_(std::move(order)) {
    std::sort(order_.begin(), order_.end());
  }

  int64_t take(uint64_t hash) {
    const auto first = std::lower_bound(order_.begin(), order_.end(), std::pair(hash, int64_t{0}));
    for (auto it = first; it != order_.end() && it->first == hash; ++it)
      if (it->second >= 0) return std::exchange(it->second, -1);
    return std::numeric_limits<int64_t>::max();
  }

 private:
  JobShards::Order order_;
};

void write_in_order(const JobPart& part, const std::vector<Line>& lines) {
  std::ifstream in(part.paths.open, std::ios::binary);
  std::string bytes(static_cast<size_t>(part.size), 0);
  in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (in.gcount() != part.size) fail("cannot read ", part.paths.open.string());
  std::string sorted;
  sorted.reserve(bytes.size());
  for (const Line& line : lines)
    sorted.append(bytes, static_cast<size_t>(line.begin), static_cast<size_t>(line.bytes));
  write_durably(part.paths.open, sorted);
}

}  // namespace

JobShards::JobShards(const std::vector<bool>& closed) : shards_(closed.size()) {
  for (size_t i = 0; i < closed.size(); ++i) shards_[i].untouched = closed[i];
}

JobShards::Shard& JobShards::at(int64_t shard) {
  if (shard < 0 || shard >= static_cast<int64_t>(shards_.size()))
    throw std::logic_error(cat("shard ", shard, " of ", shards_.size()));
  return shards_[static_cast<size_t>(shard)];
}

void JobShards::note(int64_t number, uint64_t hash, int64_t index) {
  Shard& shard = at(number);
  shard.order.emplace_back(hash, index);
  ++shard.records;
  check(number);
}

void JobShards::check(int64_t number) {
  Shard& shard = at(number);
  if (shard.items < 0 || shard.records < shard.items) return;
  if (shard.untouched)
    Order().swap(shard.order);
  else
    complete_.push_back(number);
}

void JobShards::seen(int64_t shard, uint64_t hash, int64_t index, bool done) {
  const std::lock_guard lock(mutex_);
  if (shard != reading_ && reading_ >= 0 && at(reading_).untouched) Order().swap(at(reading_).order);
  reading_ = shard;
  if (done)
    note(shard, hash, index);
  else
    at(shard).untouched = false;
}

void JobShards::recorded(int64_t shard, uint64_t hash, int64_t index) {
  const std::lock_guard lock(mutex_);
  at(shard).untouched = false;
  note(shard, hash, index);
}

void JobShards::ended(int64_t shard, int64_t items) {
  const std::lock_guard lock(mutex_);
  at(shard).items = items;
  check(shard);
}

std::vector<int64_t> JobShards::take_complete() {
  const std::lock_guard lock(mutex_);
  return std::exchange(complete_, {});
}

JobShards::Order JobShards::take_order(int64_t shard) {
  const std::lock_guard lock(mutex_);
  return std::exchange(at(shard).order, {});
}

void finish_shard(JobPart& part, JobShards::Order order, double end_time) {
  part.open();
  part.file.sync();
  part.file.close();
  Places places(std::move(order));
  std::vector<Line> lines;
  Stats stats;
  int64_t at = 0;
  scan_part(part.paths.open, 0, [&](const RecordLine& record, std::string_view line) {
    const auto bytes = static_cast<int64_t>(line.size()) + 1;
    lines.push_back({places.take(record.hash), at, bytes});
    at += bytes;
    ++stats.count;
    stats.tokens += record.tokens;
    if (record.error) {
      ++stats.failed;
      ++stats.errors[*record.error];
    }
  });
  const auto before = [](const Line& a, const Line& b) {
    return std::tie(a.index, a.begin) < std::tie(b.index, b.begin);
  };
  if (!std::is_sorted(lines.begin(), lines.end(), before)) {
    std::sort(lines.begin(), lines.end(), before);
    write_in_order(part, lines);
  }
  write_durably(part.paths.stats, stats_text(part, stats, end_time));
  part.close();
}

}  // namespace lapidary

#include "sharding/checkpoint/shard_index.h"

#include <algorithm>

#include "configs/error.h"
#include "configs/json.h"

namespace lapidary {
namespace {

bool leads_out(const std::filesystem::path& shard) {
  return shard.is_absolute() || std::find(shard.begin(), shard.end(), "..") != shard.end();
}

}  // namespace

ShardIndex read_shard_index(const std::filesystem::path& index) {
  const auto json = read_json_file(index);
  const JsonObject map = JsonObject(json, index.string()).required_object("weight_map");
  ShardIndex found;
  for (const auto& [key, value] : map.raw()) {
    const std::string name(key);
    const std::string shard = std::filesystem::path(map.required_string(name)).lexically_normal().string();
    if (shard.empty() || shard == "." || shard.back() == '/' || shard.find('\0') != shard.npos ||
        leads_out(shard))
      fail(map.where(name), " is \"", map.required_string(name),
           "\", not the name of a file in the same folder or below it");
    found.shards.insert(shard);
    found.tensors.emplace(name, shard);
  }
  if (found.shards.empty()) fail(index.string(), ": weight_map names no tensor");
  return found;
}

}  // namespace lapidary

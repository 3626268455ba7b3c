#include "sharding/checkpoint/shard_index.h"

#include "configs/error.h"
#include "configs/json.h"

namespace lapidary {

std::map<std::string, std::vector<std::string>> read_shard_index(const std::filesystem::path& index) {
  const auto json = read_json_file(index);
  const JsonObject map = JsonObject(json, index.string()).required_object("weight_map");
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [key, value] : map.raw()) {
    const std::string name(key);
    const std::string shard = map.required_string(name);
    if (shard.empty() || shard == "." || shard == ".." || shard.find('/') != std::string::npos) {
      fail(map.where(name), " is \"", shard, "\", not the name of a file in the same folder");
    }
    shards[shard].push_back(name);
  }
  if (shards.empty()) fail(index.string(), ": weight_map names no tensor");
  return shards;
}

}  // namespace lapidary

#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <utility>

namespace lapidary {

/// What a `model.safetensors.index.json` says.
struct ShardIndex {
  std::set<std::string> shards;                           // files, relative to the index's folder
  std::set<std::pair<std::string, std::string>> tensors;  // each with the shard that is said to hold it
};

/// Reads `weight_map`. A shard may lie in a folder below the index's; a name that leads out of it, or that is
/// no file's, is refused in one sentence.
ShardIndex read_shard_index(const std::filesystem::path& index);

}  // namespace lapidary

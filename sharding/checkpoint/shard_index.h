#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace lapidary {

/// `weight_map` of a `model.safetensors.index.json`, turned round: for each shard file the tensors said to be
/// in it. Shards must be plain file names, so that an index cannot lead out of its folder. Throws one
/// sentence otherwise.
std::map<std::string, std::vector<std::string>> read_shard_index(const std::filesystem::path& index);

}  // namespace lapidary

#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace lapidary {

/// Arrays by name.
using ArrayShapes = std::map<std::string, std::vector<int64_t>>;
using FloatArrays = std::map<std::string, std::vector<float>>;  // the last index varies fastest

/// The arrays of `wanted` from a file that numpy's savez or savez_compressed wrote; what else it holds is
/// passed over. All are of float32. Throws a sentence that names the file, the array, and where they differ
/// what was expected and what was found. Memory is bounded by what is wanted.
FloatArrays read_npz(const std::filesystem::path& file, const ArrayShapes& wanted);

}  // namespace lapidary

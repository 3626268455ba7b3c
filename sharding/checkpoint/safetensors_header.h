#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sharding/checkpoint/stored_type.h"

namespace lapidary {

/// One entry of a safetensors header, checked.
struct HeaderTensor {
  std::string name;
  StoredType dtype = StoredType::f32;
  Shape shape;
  int64_t begin = 0;  // bytes from the end of the header
  int64_t end = 0;
};

/// The longest header that the format's reference reader accepts.
constexpr int64_t kMaxHeaderBytes = 100'000'000;

/// Reads the JSON header of a safetensors file and checks it against the bytes that follow it: known types,
/// shapes that match their byte ranges, ranges that cover all `data_bytes` without overlap or hole, no name
/// twice. In the order of the bytes. Throws one sentence that names `file`, the tensor and both numbers.
std::vector<HeaderTensor> read_safetensors_header(std::string_view json, int64_t data_bytes,
                                                  const std::string& file);

/// A name from a file as a sentence may show it: quoted, on one line, cut to a readable length.
std::string shown_name(std::string_view name);

}  // namespace lapidary

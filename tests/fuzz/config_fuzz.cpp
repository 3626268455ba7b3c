#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "configs/error.h"
#include "configs/model/generation_config.h"
#include "configs/model/model_config.h"
#include "configs/model/processor_config.h"
#include "sharding/checkpoint/model_tensors.h"
#include "sharding/checkpoint/shard_index.h"

namespace {

using namespace lapidary;

void model_config(const std::string& text) {
  const ModelConfig config = parse_model_config(text, "fuzz");
  if (config.text.sliding_layers.size() != static_cast<size_t>(config.text.layers)) __builtin_trap();
  int64_t elements = 0;
  if (config.text.layers + config.vision.layers > 64) return;  // the names of thousands of layers take long
  for (const TensorSpec& spec : model_tensors(config)) elements += *element_count(spec.shape);
  if (elements != parameters(config).total()) __builtin_trap();
}

void shard_index(const std::string& text) {
  const int descriptor = memfd_create("fuzz", 0);
  if (write(descriptor, text.data(), text.size()) != static_cast<ssize_t>(text.size())) __builtin_trap();
  try {
    read_shard_index(cat("/proc/self/fd/", descriptor));
  } catch (const Error&) {
  }
  close(descriptor);
}

void read(int which, const std::string& text) {
  ModelConfig model;
  model.eos = {1};
  switch (which) {
    case 0:
      return model_config(text);
    case 1:
      return void(parse_processor_config(text, "fuzz", false, model));
    case 2:
      return void(parse_processor_config(text, "fuzz", true, model));
    case 3:
      return void(parse_generation_config(text, "fuzz", model));
    default:
      return shard_index(text);
  }
}

}  // namespace

/// The first byte chooses the file's kind, the rest is its text.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  try {
    read(data[0] % 5, std::string(reinterpret_cast<const char*>(data) + 1, size - 1));
  } catch (const Error&) {
  }
  return 0;
}

#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "configs/enum_names.h"
#include "configs/wire/wire.pb.h"

namespace lapidary {

enum class Mode : uint8_t {
  throughput,  // decode rows ride in the steps of prefills: most images a second
  latency,     // prefills are cut into groups of layers with decode steps between: steady tokens
};

template <>
struct EnumNames<Mode> {
  static constexpr std::array kNames{"throughput", "latency"};
};

/// What a replica can hold, as its workers have said, and how its steps are cut.
struct SchedulerConfig {
  wire::Capacity capacity;
  std::vector<int32_t> vision_lanes;  // replica ranks of the vision lanes
  int64_t vocab_size = 0;             // token ids; 0: not known
  int64_t pp = 1;                     // pipeline stages
  int64_t max_steps_in_flight = 0;    // 0: 2 * pp
  int64_t layer_group = 0;            // layers of a prefill between two decode steps; latency mode; 0: all
  Mode mode = Mode::throughput;

  /// Of all lanes.
  int64_t all_slots() const {
    return capacity.encoder_cache_slots() * static_cast<int64_t>(vision_lanes.size());
  }
};

/// Throws a sentence for numbers that no worker can mean: the scheduler allocates by them.
void check_capacity(const wire::Capacity& capacity);

/// A picture of a prompt. Equal keys are taken for the same picture, so its embeddings are shared.
struct ImageInput {
  std::string key;  // equal for the same picture alone: its embeddings are shared
  std::shared_ptr<const wire::ImageSource> source;
};

struct Request {
  uint64_t id = 0;                                  // no other unfinished request's
  std::shared_ptr<const std::vector<int32_t>> ids;  // an image token stands for all tokens of one image
  std::vector<ImageInput> images;                   // in prompt order
  int64_t max_new_tokens = 1;
  wire::Sampling sampling;
  std::shared_ptr<const std::vector<int32_t>> eos;  // any of them ends the text; none: only max_new_tokens
  int32_t priority = 0;  // of those that no replica has taken yet, lower ones go first
};

enum class FinishReason : uint8_t { no, eos, length, error };

/// What became of a request. The token that ends a text is not part of it: then there is none.
struct RequestOutput {
  uint64_t request = 0;
  std::optional<int32_t> token;
  FinishReason finish = FinishReason::no;
  int32_t end_token = -1;  // with FinishReason::eos: which
  bool crashed = false;    // with FinishReason::error: the workers' fault, not the request's own
  bool restarted = false;  // its replica died: it begins anew, its tokens so far count for nothing
  int32_t width = 0;       // of the first picture's file; 0 before its prefill and without one
  int32_t height = 0;
  bool orientation_left = false;  // one of its pictures asks for a turn that was not made
  int32_t reused_images = 0;      // whose embeddings were there already, or on their way
  std::string error;              // with FinishReason::error: a sentence
};

/// An encode, and the replica rank whose vision lane is to run it.
struct LaneEncode {
  int32_t rank = 0;
  wire::Encode encode;  // without its image
  std::shared_ptr<const wire::ImageSource> image;
};

/// Tokens of the whole prefix, those of the images counted.
int64_t prefix_tokens(const SchedulerConfig& config, const Request& request);
/// KV pages for all that the request will ever need.
int64_t pages_needed(const SchedulerConfig& config, const Request& request);
/// Throws a sentence with both numbers for a request that could never run.
void check_request(const SchedulerConfig& config, const Request& request);

}  // namespace lapidary

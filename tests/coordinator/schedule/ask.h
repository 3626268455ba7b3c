#pragma once

#include <gmock/gmock.h>

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "configs/error.h"
#include "coordinator/schedule/scheduler.h"

namespace lapidary {

/// A request of `tokens` ids; pictures by their keys, whose paths they are too.
inline Request ask(uint64_t id, size_t tokens, int64_t max_new_tokens, std::vector<uint64_t> pictures = {},
                   std::vector<int32_t> eos = {1}) {
  Request request;
  request.id = id;
  request.ids = std::make_shared<std::vector<int32_t>>(tokens, 7);
  request.max_new_tokens = max_new_tokens;
  request.eos = std::make_shared<std::vector<int32_t>>(std::move(eos));
  for (const uint64_t key : pictures) {
    auto source = std::make_shared<wire::ImageSource>();
    source->set_path(std::to_string(key));
    request.images.push_back({source->path(), source});
  }
  return request;
}

/// Room for four sequences of 50 tokens, 4 tokens an image.
inline SchedulerConfig roomy() {
  SchedulerConfig config;
  config.capacity.set_max_num_seqs(4);
  config.capacity.set_max_num_batched_tokens(100);
  config.capacity.set_num_kv_pages(100);
  config.capacity.set_kv_page_tokens(4);
  config.capacity.set_max_model_len(50);
  config.capacity.set_image_tokens(4);
  config.capacity.set_max_step_images(4);
  config.capacity.set_encoder_cache_slots(4);
  config.capacity.set_num_layers(1);
  config.vision_lanes = {0};
  return config;
}

inline wire::StepDone done(uint64_t number, const std::vector<int32_t>& tokens) {
  wire::StepDone done;
  done.set_number(number);
  done.mutable_tokens()->Add(tokens.begin(), tokens.end());
  return done;
}

inline wire::Encoded encoded(const LaneEncode& order, int32_t width = 8, int32_t height = 6) {
  wire::Encoded done;
  done.set_id(order.encode.id());
  done.set_width(width);
  done.set_height(height);
  return done;
}

inline std::vector<uint64_t> prefilled(const wire::Step& step) {
  std::vector<uint64_t> requests;
  for (const wire::Prefill& prefill : step.prefills()) requests.push_back(prefill.request());
  return requests;
}
inline int32_t slot(const wire::Step& step, int prefill) { return step.prefills(prefill).sequence(); }
inline std::pair<int, int> layers(const wire::Step& step) { return {step.first_layer(), step.end_layer()}; }

inline auto told(uint64_t request, std::optional<int32_t> token, FinishReason finish = FinishReason::no,
                 int32_t width = 0, int32_t height = 0) {
  return testing::AllOf(testing::Field("request", &RequestOutput::request, request),
                        testing::Field("token", &RequestOutput::token, token),
                        testing::Field("finish", &RequestOutput::finish, finish),
                        testing::Field("width", &RequestOutput::width, width),
                        testing::Field("height", &RequestOutput::height, height));
}

/// The sentence of the Error that `body` throws; empty where it does not.
template <class Body>
std::string error_of(Body&& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace lapidary

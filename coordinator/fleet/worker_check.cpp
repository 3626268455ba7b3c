#include "coordinator/fleet/worker_check.h"

#include <algorithm>

#include "configs/error.h"
#include "coordinator/schedule/scheduler_types.h"

namespace lapidary {
namespace {

constexpr int64_t kMostBytes = int64_t{1} << 50;        // a thousand times what a host has; sums of many fit
constexpr int64_t kMostNanoseconds = int64_t{1} << 61;  // centuries; sums of two fit
constexpr int64_t kLongestSide = 1 << 30;               // more pixels than a picture may have
constexpr size_t kMostShown = 4096;                     // bytes
constexpr size_t kMostOfAnError = 64 << 10;             // bytes of a record's; it may hold a path

void check(const char* field, int64_t number, int64_t min, int64_t max) {
  if (number < min || number > max)
    fail("it says ", field, " ", number, ", which is not within ", min, " and ", max);
}

void check_same(const char* field, int64_t said, int64_t expected) {
  if (said != expected) fail("it says ", field, " ", said, ", but by the job's settings it is ", expected);
}

void check_capacity_of(const wire::Capacity& said, int rank, const WorkerExpectations& expected) {
  check_capacity(said);
  const wire::Capacity& own = expected.capacity;
  if (own.max_num_seqs() == 0) return;
  check_same("max_num_seqs", said.max_num_seqs(), own.max_num_seqs());
  check_same("max_num_batched_tokens", said.max_num_batched_tokens(), own.max_num_batched_tokens());
  check_same("max_model_len", said.max_model_len(), own.max_model_len());
  check_same("num_kv_pages", said.num_kv_pages(), own.num_kv_pages());
  check_same("kv_page_tokens", said.kv_page_tokens(), own.kv_page_tokens());
  check_same("max_step_images", said.max_step_images(), own.max_step_images());
  const bool sees = has_vision_lane(expected.mesh, coord_of(expected.mesh, rank));
  check_same("encoder_cache_slots", said.encoder_cache_slots(), sees ? own.encoder_cache_slots() : 0);
  check_same("image_tokens", said.image_tokens(), own.image_tokens());
  check_same("num_layers", said.num_layers(), own.num_layers());
}

void check_ready(const wire::Ready& ready, int rank, const WorkerExpectations& expected) {
  check_capacity_of(ready.capacity(), rank, expected);
  check("weight_bytes", ready.weight_bytes(), 0, kMostBytes);
  check("kv_bytes", ready.kv_bytes(), 0, kMostBytes);
  check("embedding_bytes", ready.embedding_bytes(), 0, kMostBytes);
  check("workspace_bytes", ready.workspace_bytes(), 0, kMostBytes);
  check("encode_bytes", ready.encode_bytes(), 0, kMostBytes);
}

void check_loading(const wire::Loading& loading) {
  check("total bytes to load", loading.total(), 0, kMostBytes);
  check("loaded bytes", loading.loaded(), 0, loading.total());
}

/// The first rank that has the tokens tells them.
void check_reporter(int rank, const Mesh& mesh) {
  const int reporter = (mesh.pp - 1) * mesh.tp;
  if (rank != reporter) fail("it says that a step has ended, which is rank ", reporter, "'s to say");
}

void check_encoded(const wire::Encoded& encoded, int rank, const Mesh& mesh) {
  if (!has_vision_lane(mesh, coord_of(mesh, rank)))
    fail("it says that it encoded a picture, but has no vision lane");
  if (encoded.error().size() > kMostOfAnError)
    fail("it says an error of ", encoded.error().size(), " bytes, at most ", kMostOfAnError, " are taken");
  if (!encoded.error().empty()) return;
  check("a picture's width", encoded.width(), 1, kLongestSide);
  check("a picture's height", encoded.height(), 1, kLongestSide);
}

void check_heartbeat(const wire::Heartbeat& beat, bool spans) {
  check("clock", beat.clock(), 0, kMostNanoseconds);
  check("echo", beat.echo(), 0, kMostNanoseconds);
  check("echo_delay", beat.echo_delay(), 0, kMostNanoseconds);
  if (beat.spans_size() > 0 && !spans) fail("it says ", beat.spans_size(), " spans, but was asked for none");
  for (const wire::Span& span : beat.spans()) {
    check("a span's begin", span.begin(), 0, kMostNanoseconds);
    check("a span's end", span.end(), span.begin(), kMostNanoseconds);
  }
  check("bytes of pictures", beat.image_bytes(), 0, kMostBytes);
  check("most bytes of pictures", beat.image_bytes_limit(), 0, kMostBytes);
  for (const int64_t busy : beat.busy()) check("busy nanoseconds", busy, 0, kMostNanoseconds);
}

}  // namespace

void check_said(const wire::Frame& frame, int rank, const WorkerExpectations& expected) {
  if (frame.has_ready()) check_ready(frame.ready(), rank, expected);
  if (frame.has_loading()) check_loading(frame.loading());
  if (frame.has_step_done()) check_reporter(rank, expected.mesh);
  if (frame.has_encoded()) check_encoded(frame.encoded(), rank, expected.mesh);
  if (frame.has_heartbeat()) check_heartbeat(frame.heartbeat(), expected.spans);
}

std::string shown_text(const std::string& said) {
  std::string text = said.substr(0, kMostShown);
  const auto controls = [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
  };
  std::replace_if(text.begin(), text.end(), controls, '?');
  if (text.size() < said.size()) text += cat("… (", said.size(), " bytes)");
  return text;
}

}  // namespace lapidary

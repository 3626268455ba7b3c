#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "configs/error.h"
#include "configs/wire/framing.h"
#include "configs/wire/heartbeat_monitor.h"
#include "coordinator/fleet/hello_check.h"

namespace {

using namespace lapidary;

constexpr size_t kLimit = 4096;

void require(bool holds) {
  if (!holds) std::abort();
}

const Expected& expected() {
  static const Expected all{"1", "3", {{"dtype", "2"}}, {.tp = 2, .pp = 2, .replicas = 3, .vision_ranks = 1}};
  return all;
}

void look_into(const wire::Frame& frame) {
  if (frame.has_heartbeat()) clock_offset(frame.heartbeat(), HeartbeatMonitor::Time(std::chrono::hours(1)));
  if (!frame.has_hello() || refusal_of(frame.hello(), expected())) return;
  require(frame.hello().token() == "3");
  require(frame.hello().replica() >= 0 && frame.hello().replica() < 3);
  require(frame.hello().rank() >= 0 && frame.hello().rank() < 5);
}

/// What is encoded anew says the same.
void encode_again(const wire::Frame& frame) {
  FrameDecoder decoder;
  decoder.feed(encode_frame(frame).bytes());
  const auto again = decoder.next();
  require(again && !decoder.is_mid_frame() && encode_frame(*again).bytes() == encode_frame(frame).bytes());
}

/// Frames until something is none; how many there were.
int read_all(std::string_view bytes, size_t piece) {
  FrameDecoder decoder(kLimit);
  int frames = 0;
  try {
    for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
      decoder.feed(bytes.substr(0, piece));
      while (const auto frame = decoder.next()) {
        ++frames;
        require(frame->ByteSizeLong() <= 8 * kLimit);
        look_into(*frame);
        encode_again(*frame);
      }
    }
  } catch (const Error&) {
  }
  return frames;
}

}  // namespace

/// The first byte says in what pieces the rest arrives; they change nothing.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  require(read_all(bytes, size_t{data[0]} + 1) == read_all(bytes, bytes.size()));
  return 0;
}

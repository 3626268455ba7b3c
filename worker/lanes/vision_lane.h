#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <list>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "configs/byte_budget.h"
#include "configs/image_memory.h"
#include "configs/model/image_steps.h"
#include "configs/wire/wire.pb.h"
#include "worker/engine/encoder_cache.h"
#include "worker/images/image_source.h"
#include "worker/lanes/span_recorder.h"
#include "worker/lanes/task_pool.h"

namespace lapidary {

/// What a vision lane runs, with a backend and threads of its own. All it points to outlives the lane.
struct LaneTower {
  ImageSteps steps;               // how its pictures are prepared
  int64_t images = 0;             // most that are encoded at once
  Backend* backend = nullptr;     // the tower's
  EncoderCache* slots = nullptr;  // where results are kept
  /// out [images * tokens, hidden] from RGB8 pictures of side * side * 3 bytes.
  std::function<void(Tensor out, std::span<const uint8_t* const> rgb)> encode;
};

/// Turns pictures into embeddings, beside the decoder lane: reads, decodes and resizes them on the threads of
/// a pool, encodes on a thread of its own what is ready, and keeps the results in slots. A picture that is
/// slow to read holds up no other. Where the tower's backend works on its own, the next batch is handed to it
/// before the answers to the last one, so that its pictures are copied meanwhile. All its threads have a low
/// priority (worker/lanes/thread_priority.h).
class VisionLane {
 public:
  struct Parts {
    /// Called on the lane's thread: threads that the tower starts inherit its priority.
    std::function<LaneTower()> make_tower;
    std::function<void(wire::Encoded)> done;         // on the lane's thread
    std::function<void(std::exception_ptr)> failed;  // the lane itself broke, and has ended
    int read_threads = 1;
    /// What pictures may hold as files and while they are decoded, all threads together; more waits, and one
    /// picture that takes more alone is an error.
    ImageMemory memory = divide_image_memory(int64_t{4} << 30);
    /// The bytes of a picture file that came without them, on any of the pool's threads.
    std::function<std::vector<uint8_t>(const wire::ImageSource&, const ReadLimits&)> read_bytes = read_source;
  };

  /// Returns when the tower is made; throws what make_tower throws.
  VisionLane(Parts parts, SpanRecorder& recorder);
  /// Ends after what is under way, a batch and the pictures being read; encodes that wait are dropped without
  /// a word.
  ~VisionLane();
  VisionLane(const VisionLane&) = delete;
  VisionLane& operator=(const VisionLane&) = delete;

  /// From any thread. Reading starts at once. One `done` answers, in any order of encodes; whatever is wrong
  /// with the picture, or with its slot, is the answer's `error`. Nobody reads the slot from here to the
  /// answer.
  void add(wire::Encode encode);

  /// What it holds of pictures: bytes that came with encodes, of files, and of decoders. Any thread.
  int64_t image_bytes() const;

 private:
  void end();

  /// A picture as the tower wants it, or why there is none.
  struct DecodedImage {
    std::string error;
    int width = 0, height = 0;  // as PreparedImage has them
    bool orientation_left = false;
    ContentHash content{};
    std::vector<uint8_t> rgb;  // [side, side, 3]
  };
  struct PendingEncode {
    uint64_t id = 0;
    int64_t slot = 0;
    bool read = false;
    DecodedImage picture;  // once it is read
  };

  /// Pictures whose embeddings are on their way to their slots, and what is to be said then.
  struct Batch {
    std::vector<wire::Encoded> answers;
    DeviceEvent done;  // null: they are there
    int64_t begin = 0, images = 0;
  };

  void run(std::promise<void> made);
  void work();
  DecodedImage read(const wire::Encode& encode);
  static wire::Encoded answer_to(const PendingEncode& pending, bool reused);
  Batch start(std::vector<PendingEncode> encodes);
  void finish(Batch batch);
  std::vector<PendingEncode> take_ready(bool wait);
  bool reuse(const PendingEncode& pending);
  void encode(std::span<const PendingEncode> encodes);

  Parts parts_;
  SpanRecorder& recorder_;
  ByteBudget files_, decoding_;
  std::atomic<int64_t> received_ = 0;  // bytes that came with encodes and are not decoded yet
  LaneTower tower_;
  Buffer scratch_;                                    // a batch's embeddings, until they go to their slots
  std::vector<std::optional<ContentHash>> contents_;  // of each slot; the lane's thread alone knows them
  int64_t encoded_ = 0;                               // when the newest finished batch was

  std::mutex mutex_;  // of pending_ and stopping_
  std::condition_variable changed_;
  std::list<PendingEncode> pending_;  // in order of arrival; they stay where they are while they are read
  bool stopping_ = false;

  std::thread thread_;
  std::optional<TaskPool> pool_;  // ends first: its tasks fill in pending_
};

}  // namespace lapidary

#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "configs/wire.pb.h"

namespace lapidary {

/// What the workers of a replica can hold; all of it was allocated when they started.
struct Limits {
  int64_t sequences = 1;  // running at once
  int64_t rows = 1;       // new tokens of one step; at least `sequences`
  int64_t pages = 1;      // KV pages
  int64_t page_tokens = 64;
  int64_t slots = 1;   // images whose embeddings wait for their prefill
  int64_t length = 1;  // tokens of one sequence, generated ones included
};

struct Request {
  uint64_t id = 0;
  std::vector<int32_t> prefix;  // image and prompt tokens
  int64_t images = 1;
  int64_t max_new_tokens = 1;
  wire::Sampling sampling;
  std::vector<int32_t> eos;  // any of them ends the text; none: only max_new_tokens does
};

enum class Finish : uint8_t { no, eos, length };

/// One token of a request. The token that ends a text is not part of it: then there is none.
struct Event {
  uint64_t request = 0;
  std::optional<int32_t> token;
  Finish finish = Finish::no;
};

/// A step, and which images' pixels its encodes still lack.
struct Plan {
  struct Image {
    uint64_t request;
    int64_t index;  // among the request's images
  };
  wire::Step step;            // encodes have their slot, no pixels
  std::vector<Image> images;  // one an encode
};

/// Continuous batching over KV pages: a request is admitted when there is room for all it may ever need, so
/// that no running one is ever put back; it leaves when its text ends, and nothing waits for the slowest of a
/// batch. Requests are admitted in the order they came, none overtakes another. Decides, and does nothing
/// else: no clock, no socket, no thread.
class Scheduler {
 public:
  explicit Scheduler(const Limits& limits);

  /// Throws a sentence with both numbers for a request that could never run.
  void submit(Request request);
  /// Forgets a request, wherever it is; one that is unknown or has ended is no mistake.
  void cancel(uint64_t request);

  /// All running sequences' next token, and the prefixes of as many waiting requests as fit. None: nothing to
  /// do.
  std::optional<Plan> next();
  /// What the workers sampled in the last step, in its order.
  std::vector<Event> finish(const wire::StepDone& done);

  size_t waiting() const { return waiting_.size(); }
  size_t running() const { return running_.size(); }
  size_t free_pages() const { return free_pages_.size(); }
  size_t free_slots() const { return free_slots_.size(); }

 private:
  struct Sequence {
    Request request;
    std::vector<int32_t> pages;
    std::vector<int32_t> slots;  // held until the prefill is done
    int64_t generated = 0;
    int32_t last = 0;  // the token that the next step feeds
    bool ended = false;
  };

  int64_t pages_for(const Request& request) const;
  bool fits(const Request& request, int64_t rows) const;
  void admit(Request request, Plan& plan);
  void add_decode_rows(const Sequence& sequence, wire::Step& step) const;
  Event advance(Sequence& sequence, int32_t token) const;
  void release(Sequence& sequence);

  Limits limits_;
  std::deque<Request> waiting_;
  std::vector<Sequence> running_;  // in the order of the step's rows
  std::vector<int32_t> free_pages_, free_slots_;
  bool in_flight_ = false;
};

}  // namespace lapidary

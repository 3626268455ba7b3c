#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <stdexcept>
#include <vector>

#include "coordinator/schedule/scheduler.h"

namespace lapidary {

/// What has to hold at every event. Thrown, so that the play ends where it went wrong.
inline void require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

inline uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t x = a * 0x9e3779b97f4a7c15u + b + 0x632be59bd9b4e019u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// The whole model: what it says at a position follows from the request alone, wherever and how often it
/// runs.
inline int32_t token_of(uint64_t request, int64_t position) {
  return static_cast<int32_t>(mix(request, static_cast<uint64_t>(position)) % 24);
}
inline int32_t width_of(uint64_t picture) { return static_cast<int32_t>(1 + mix(picture, 1) % 5000); }
inline int32_t height_of(uint64_t picture) { return static_cast<int32_t>(1 + mix(picture, 2) % 5000); }

/// Stands for the workers of a replica: holds every step and encode against what they could do at that
/// moment, and answers when the play says so.
class ModelReplica {
 public:
  using Requests = std::map<uint64_t, Request>;  // all that were ever submitted

  ModelReplica(const SchedulerConfig& config, const Requests& requests)
      : config_(config),
        requests_(requests),
        sequence_slots_(static_cast<size_t>(config.capacity.max_num_seqs())),
        owners_(static_cast<size_t>(config.capacity.num_kv_pages())) {}

  void issue(const LaneEncode& order) {
    const wire::Encode& encode = order.encode;
    require(std::count(config_.vision_lanes.begin(), config_.vision_lanes.end(), order.rank) == 1,
            "encode to no lane");
    require(encode.slot() >= 0 && encode.slot() < config_.capacity.encoder_cache_slots(),
            "encode into no slot");
    const uint64_t key = std::stoull(order.image->path());
    Slot& slot = slots_[{order.rank, encode.slot()}];
    require(!slot.encoding, "encode into a slot that is being filled");
    require(slot.users == 0, "encode into a slot that a step in flight reads");
    for (const auto& [where, other] : slots_)
      require(!(other.encoding || other.ready) || other.key != key || &other == &slot, "encoded twice");
    slot = {.key = key, .encoding = true};
    require(encodes_.emplace(encode.id(), &slot).second, "a job number twice");
  }

  void issue(const wire::Step& step) {
    require(step.number() == ++issued_, "steps are numbered one by one");
    require(step.decodes_size() + step.prefills_size() > 0 || step.end_layer() > 0, "an empty step");
    InFlightStep flight;
    int64_t rows = step.decodes_size();
    for (const int32_t slot : step.decodes()) issue_decode(slot, flight);
    int64_t images = 0;
    if (step.prefills_size() > 0) require(batch_.empty(), "a prefill while another's layers are under way");
    for (const wire::Prefill& prefill : step.prefills()) {
      issue_prefill(prefill);
      images += prefill.images_size();
    }
    if (step.prefills_size() > 0 || step.end_layer() > 0)
      for (const auto& sequence : batch_) rows += prefix_tokens(config_, request_of(*sequence));
    require(rows <= config_.capacity.max_num_batched_tokens(), "too many rows");
    require(images <= config_.capacity.max_step_images(), "too many images");
    issue_layers(step, flight);
    require(in_flight_.size() < bound(), "too many steps in flight");
    check_decodes_in_turn();
    in_flight_.push_back(std::move(flight));
  }

  size_t steps() const { return in_flight_.size(); }
  size_t encodes() const { return encodes_.size(); }
  uint64_t issued() const { return issued_; }

  /// The oldest step runs.
  wire::StepDone step_done() {
    InFlightStep flight = std::move(in_flight_.front());
    in_flight_.pop_front();
    wire::StepDone done;
    done.set_number(++done_);
    for (const auto& sequence : flight.sequences) {
      done.add_tokens(token_of(sequence->request, sequence->sampled++));
      --sequence->in_flight;
      for (Slot* slot : std::exchange(sequence->slots, {})) --slot->users;
    }
    return done;
  }

  wire::Encoded encoded(size_t which, bool fails) {
    const auto it = std::next(encodes_.begin(), static_cast<int64_t>(which));
    Slot& slot = *it->second;
    slot.encoding = false;
    slot.ready = !fails;
    wire::Encoded done;
    done.set_id(it->first);
    if (fails) done.set_error("no picture");
    done.set_width(width_of(slot.key));
    done.set_height(height_of(slot.key));
    encodes_.erase(it);
    return done;
  }
  uint64_t picture(size_t which) const {
    return std::next(encodes_.begin(), static_cast<int64_t>(which))->second->key;
  }

  /// The client has been told, or has cancelled it: nothing of it may be planned any more.
  void over(uint64_t request) {
    const auto found = running_.find(request);
    if (found == running_.end()) return;
    found->second->over = true;
    running_.erase(found);
  }
  bool admitted(uint64_t request) const { return running_.contains(request); }
  /// Steps that a request may still take, at most.
  int64_t work_left(const Request& request) const {
    const auto found = running_.find(request.id);
    const int64_t tokens = request.max_new_tokens - (found == running_.end() ? 0 : found->second->planned);
    return tokens + config_.capacity.num_layers();
  }

 private:
  struct Slot {
    uint64_t key = 0;
    bool encoding = false, ready = false;
    int users = 0;  // prefills in flight
  };
  struct Sequence {
    uint64_t request = 0;
    int64_t planned = 0, sampled = 0;
    int in_flight = 0;  // steps that name it, or its prefill that has not reached the last layer
    bool over = false, prefilled = false;
    uint64_t last_step = 0;
    std::vector<Slot*> slots;
  };
  using Shared = std::shared_ptr<Sequence>;
  struct InFlightStep {
    std::vector<Shared> sequences;  // one a token
  };

  const Request& request_of(const Sequence& sequence) const { return requests_.at(sequence.request); }
  size_t bound() const {
    return static_cast<size_t>(config_.max_steps_in_flight > 0 ? config_.max_steps_in_flight
                                                               : 2 * config_.pp);
  }
  bool decodable(const Sequence& s) const {
    return s.prefilled && !s.over && s.planned < request_of(s).max_new_tokens;
  }
  static bool is_free(const Shared& owner) { return !owner || (owner->over && owner->in_flight == 0); }

  void issue_decode(int32_t slot, InFlightStep& flight) {
    require(slot >= 0 && slot < config_.capacity.max_num_seqs(), "decode of no place");
    const Shared& sequence = sequence_slots_[static_cast<size_t>(slot)];
    require(sequence && sequence->prefilled, "decode before its prefill");
    require(!sequence->over, "decode of a sequence that has ended");
    require(sequence->last_step < issued_, "decoded twice in a step");
    require(++sequence->planned <= request_of(*sequence).max_new_tokens, "more tokens than asked for");
    sequence->last_step = issued_;
    ++sequence->in_flight;
    flight.sequences.push_back(sequence);
  }

  void issue_prefill(const wire::Prefill& prefill) {
    auto sequence = std::make_shared<Sequence>();
    sequence->request = prefill.request();
    const Request& request = request_of(*sequence);
    require(std::equal(request.ids->begin(), request.ids->end(), prefill.ids().begin(), prefill.ids().end()),
            "another prompt");
    require(prefill.sequence() >= 0 && prefill.sequence() < config_.capacity.max_num_seqs(),
            "prefill into no place");
    Shared& slot = sequence_slots_[static_cast<size_t>(prefill.sequence())];
    require(is_free(slot), "prefill into a place that is in use");
    slot = sequence;
    require(prefill.pages_size() * config_.capacity.kv_page_tokens() >=
                prefix_tokens(config_, request) + request.max_new_tokens - 1,
            "too few pages");
    for (const int32_t page : prefill.pages()) {
      require(page >= 0 && page < config_.capacity.num_kv_pages(), "no such page");
      require(is_free(owners_[static_cast<size_t>(page)]), "a page that is in use");
      owners_[static_cast<size_t>(page)] = sequence;
    }
    require(static_cast<size_t>(prefill.images_size()) == request.images.size(), "pictures are missing");
    for (int i = 0; i < prefill.images_size(); ++i) {
      Slot& cached = slots_[{prefill.images(i).rank(), prefill.images(i).slot()}];
      require(cached.ready && std::to_string(cached.key) == request.images[static_cast<size_t>(i)].key,
              "another picture");
      ++cached.users;
      sequence->slots.push_back(&cached);
    }
    require(prefill.sampling().seed() == request.sampling.seed(), "another seed");
    require(running_.emplace(request.id, sequence).second, "admitted twice");
    ++sequence->in_flight;
    batch_.push_back(std::move(sequence));
  }

  /// Parts of prefills follow one another without a gap, and decode steps come between.
  void issue_layers(const wire::Step& step, InFlightStep& flight) {
    const bool parts = step.end_layer() > 0;
    if (batch_.empty() || (!parts && step.prefills_size() == 0)) {
      require(!parts, "layers of nothing");
      decoded_since_part_ = true;
      return;
    }
    const int64_t end = parts ? step.end_layer() : config_.capacity.num_layers();
    require(step.first_layer() == next_layer_ && end > next_layer_ && end <= config_.capacity.num_layers(),
            "a gap in layers");
    if (config_.mode == Mode::latency) {
      const bool decodes_wait =
          std::any_of(running_.begin(), running_.end(), [&](const auto& r) { return decodable(*r.second); });
      require(step.decodes_size() == 0, "decodes wait for a prefill");
      if (decodes_wait) {
        require(end - next_layer_ <= config_.layer_group, "decodes wait for too many layers");
        require(decoded_since_part_, "no decode step between two parts");
      }
    } else {
      require(!parts, "layer groups in throughput mode");
    }
    decoded_since_part_ = false;
    next_layer_ = end == config_.capacity.num_layers() ? 0 : end;
    if (next_layer_ > 0) return;
    for (Shared& sequence : batch_) {
      sequence->prefilled = true;
      sequence->planned = 1;
      sequence->last_step = issued_;
      flight.sequences.push_back(std::move(sequence));
    }
    batch_.clear();
  }

  /// A turn for each group, at most one of them left out for a prefill; and a part of a prefill each round.
  void check_decodes_in_turn() const {
    for (const auto& [id, sequence] : running_)
      require(
          !decodable(*sequence) || issued_ - sequence->last_step <= 2 * static_cast<uint64_t>(config_.pp) + 2,
          "a sequence is not decoded in its turn");
  }

  SchedulerConfig config_;
  const Requests& requests_;
  std::vector<Shared> sequence_slots_, owners_;
  std::map<uint64_t, Shared> running_;  // by request; not over
  std::vector<Shared> batch_;           // prefills that have not reached the last layer
  int64_t next_layer_ = 0;
  bool decoded_since_part_ = true;
  std::map<std::pair<int32_t, int32_t>, Slot> slots_;
  std::map<uint64_t, Slot*> encodes_;  // by job
  std::deque<InFlightStep> in_flight_;
  uint64_t issued_ = 0, done_ = 0;
};

/// Stands for who asked: knows what each request is to be answered, token by token.
class ModelClient {
 public:
  ModelReplica::Requests requests;  // all that were ever submitted
  std::set<uint64_t> unfinished;

  void take(const RequestOutput& event, bool error_allowed) {
    require(unfinished.contains(event.request), "an event of a request that has ended");
    if (event.restarted) {
      received_[event.request] = 0;
      return;
    }
    if (event.finish == FinishReason::error) {
      require(!event.error.empty() && error_allowed, "an error without a reason");
    } else {
      take_token(event);
    }
    if (event.finish != FinishReason::no) unfinished.erase(event.request);
  }

 private:
  void take_token(const RequestOutput& event) {
    const Request& request = requests.at(event.request);
    int64_t& received = received_[event.request];
    const int32_t token = token_of(event.request, received++);
    const bool eos = request.eos && std::count(request.eos->begin(), request.eos->end(), token) > 0;
    require(event.token.has_value() == !eos, "the end token is not part of the text");
    require(eos || *event.token == token, "another token");
    const bool full = received == request.max_new_tokens;
    require(event.finish == (eos    ? FinishReason::eos
                             : full ? FinishReason::length
                                    : FinishReason::no),
            "another end");
    if (request.images.empty()) return;
    const uint64_t first = std::stoull(request.images.front().key);
    require(event.width == width_of(first) && event.height == height_of(first), "another picture's size");
  }

  std::map<uint64_t, int64_t> received_;
};

/// Numbers, config and requests for a play.
class Dice {
 public:
  explicit Dice(uint64_t seed) : random_(seed) {}

  int64_t number(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random_() % static_cast<uint64_t>(high - low + 1));
  }
  bool one_in(int64_t n) { return number(1, n) == 1; }

  SchedulerConfig config() {
    SchedulerConfig config;
    config.capacity.set_max_num_seqs(number(1, 12));
    config.capacity.set_max_num_batched_tokens(
        number(std::max<int64_t>(12, config.capacity.max_num_seqs()), one_in(2) ? 60 : 200));
    config.capacity.set_max_model_len(number(12, 50));
    config.capacity.set_kv_page_tokens(number(1, 6));
    config.capacity.set_num_kv_pages(number(8, one_in(2) ? 50 : 400));
    config.capacity.set_image_tokens(number(1, 5));
    config.capacity.set_max_step_images(number(1, 4));
    config.capacity.set_encoder_cache_slots(number(1, 3));
    const int64_t lanes = number(1, 4);
    for (int32_t lane = 0; lane < lanes; ++lane) config.vision_lanes.push_back(3 * lane + 1);
    config.pp = number(1, 4);
    config.capacity.set_num_layers(number(config.pp, 9));
    config.layer_group = number(1, config.capacity.num_layers());
    config.max_steps_in_flight = one_in(3) ? number(1, 9) : 0;
    config.mode = one_in(2) ? Mode::latency : Mode::throughput;
    return config;
  }

  Request request(uint64_t id, int64_t pictures) {
    Request request;
    request.id = id;
    request.max_new_tokens = number(1, 14);
    request.sampling.set_seed(id * 3);
    if (!one_in(4)) request.eos = std::make_shared<std::vector<int32_t>>(std::vector<int32_t>{3, 7});
    for (int64_t i = number(0, 3); i > 1; --i)
      add_picture(request, static_cast<uint64_t>(number(1, pictures)));
    if (!one_in(4)) add_picture(request, static_cast<uint64_t>(number(1, pictures)));
    const auto tokens = static_cast<size_t>(number(1, 20)) + request.images.size();
    request.ids = std::make_shared<std::vector<int32_t>>(tokens, static_cast<int32_t>(id % 1000));
    return request;
  }

 private:
  static void add_picture(Request& request, uint64_t key) {
    auto source = std::make_shared<wire::ImageSource>();
    source->set_path(std::to_string(key));
    request.images.push_back({source->path(), source});
  }

  std::mt19937_64 random_;
};

}  // namespace lapidary

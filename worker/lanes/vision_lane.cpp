#include "worker/lanes/vision_lane.h"

#include <algorithm>
#include <new>
#include <stdexcept>
#include <utility>

#include "configs/error.h"
#include "configs/steady_time.h"
#include "worker/images/prepare.h"
#include "worker/lanes/thread_priority.h"

namespace lapidary {

VisionLane::VisionLane(Parts parts, SpanRecorder& recorder)
    : parts_(std::move(parts)),
      recorder_(recorder),
      files_(parts_.memory.files, "of picture files (an eighth of --image-memory-gb)"),
      decoding_(parts_.memory.decoding, "of pictures being decoded (five eighths of --image-memory-gb)") {
  std::promise<void> made;
  auto is_made = made.get_future();
  thread_ = std::thread([this, made = std::move(made)]() mutable { run(std::move(made)); });
  try {
    is_made.get();
    pool_.emplace(parts_.read_threads, lower_priority);
  } catch (...) {
    end();
    throw;
  }
}

VisionLane::~VisionLane() { end(); }

void VisionLane::end() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  pool_.reset();
  thread_.join();
}

void VisionLane::add(wire::Encode encode) {
  std::list<PendingEncode>::iterator pending;
  {
    const std::lock_guard lock(mutex_);
    pending = pending_.insert(pending_.end(), {encode.id(), encode.slot(), false, {}});
  }
  changed_.notify_one();  // so that the lane's waiting for pictures is seen to begin
  received_ += static_cast<int64_t>(encode.image().data().size());
  pool_->submit([this, pending, encode = std::move(encode)]() mutable {
    DecodedImage picture = read(encode);
    received_ -= static_cast<int64_t>(encode.image().data().size());
    encode.Clear();  // before the answer makes room for more
    {
      const std::lock_guard lock(mutex_);
      pending->picture = std::move(picture);
      pending->read = true;
    }
    changed_.notify_one();
  });
}

/// On a thread of the pool; throws nothing.
VisionLane::DecodedImage VisionLane::read(const wire::Encode& encode) {
  const std::string name = name_of(encode.image());
  DecodedImage picture;
  try {
    if (encode.slot() < 0 || encode.slot() >= tower_.slots->count())
      fail("encoder cache slot ", encode.slot(), " of ", tower_.slots->count(), " for ", name);
    ByteBudget::Share file;
    std::vector<uint8_t> read;
    std::span<const uint8_t> bytes = given_bytes(encode.image());
    if (bytes.empty()) {
      ReadLimits limits;
      limits.before_reading = [&](int64_t size) { file = files_.take(size); };
      bytes = read = parts_.read_bytes(encode.image(), limits);
    }
    picture.content = content_hash(bytes);
    picture = [&] {
      ByteBudget::Share pixels;
      ImageLimits limits;
      limits.before_decoding = [&](int64_t taken) { pixels = decoding_.take(taken); };
      try {
        PreparedImage prepared = prepare_image(bytes, tower_.steps, limits);
        return DecodedImage{"",
                            prepared.width,
                            prepared.height,
                            prepared.orientation_left,
                            picture.content,
                            std::move(prepared.rgb)};
      } catch (const Error& error) {
        fail(name, ": ", error.what());
      }
    }();
  } catch (const std::bad_alloc&) {
    picture.error = cat(name, ": not enough memory to read this image");
  } catch (const std::exception& error) {
    picture.error = error.what();
  }
  return picture;
}

int64_t VisionLane::image_bytes() const { return received_ + files_.held() + decoding_.held(); }

void VisionLane::run(std::promise<void> made) {
  lower_priority();
  try {
    tower_ = parts_.make_tower();
    const EncoderCache& slots = *tower_.slots;
    contents_.resize(static_cast<size_t>(slots.count()));
    scratch_ = tower_.backend->allocate(static_cast<size_t>(tower_.images * slots.tokens() * slots.hidden()) *
                                        sizeof(float));
  } catch (...) {
    return made.set_exception(std::current_exception());
  }
  made.set_value();
  std::exception_ptr failure;
  try {
    work();
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) parts_.failed(std::move(failure));  // handed over: another thread reads it from here on
}

wire::Encoded VisionLane::answer_to(const PendingEncode& pending, bool reused) {
  wire::Encoded encoded;
  encoded.set_id(pending.id);
  encoded.set_error(pending.picture.error);
  encoded.set_width(pending.picture.width);
  encoded.set_height(pending.picture.height);
  encoded.set_reused(reused);
  encoded.set_orientation_left(pending.picture.orientation_left);
  return encoded;
}

void VisionLane::work() {
  std::optional<Batch> under_way;
  for (;;) {
    std::vector<PendingEncode> encodes = take_ready(!under_way);
    if (encodes.empty() && !under_way) return;
    std::optional<Batch> next;
    if (!encodes.empty()) next = start(std::move(encodes));
    if (under_way) finish(std::move(*under_way));
    under_way.reset();
    if (next && next->done)
      under_way = std::move(next);
    else if (next)
      finish(std::move(*next));
  }
}

VisionLane::Batch VisionLane::start(std::vector<PendingEncode> encodes) {
  Batch batch;
  batch.begin = steady_time();
  const bool at_once = tower_.backend->on_host();  // what it was told to do is done
  std::vector<PendingEncode> fresh;                // for the tower
  std::vector<PendingEncode> twins;                // pictures that are in `fresh` already
  for (PendingEncode& pending : encodes) {
    const auto same = [&](const PendingEncode& other) {
      return other.picture.content == pending.picture.content;
    };
    if (!pending.picture.error.empty()) {
      parts_.done(answer_to(pending, false));
    } else if (reuse(pending)) {
      if (at_once)
        parts_.done(answer_to(pending, true));
      else
        batch.answers.push_back(answer_to(pending, true));
    } else if (std::any_of(fresh.begin(), fresh.end(), same)) {
      twins.push_back(std::move(pending));
    } else {
      fresh.push_back(std::move(pending));
    }
  }
  if (!fresh.empty()) encode(fresh);
  batch.images = static_cast<int64_t>(fresh.size());
  for (const PendingEncode& pending : fresh) batch.answers.push_back(answer_to(pending, false));
  for (const PendingEncode& pending : twins) {
    if (!reuse(pending)) throw std::logic_error("two pictures at once for one embedding slot");
    batch.answers.push_back(answer_to(pending, true));
  }
  batch.done = tower_.backend->record_event();
  return batch;
}

/// Answers when the embeddings are there: a decoder that began with them earlier would only stand still.
void VisionLane::finish(Batch batch) {
  tower_.backend->synchronize_event(batch.done);
  const int64_t begin = std::max(batch.begin, encoded_);
  encoded_ = steady_time();
  if (batch.images > 0)
    recorder_.add(wire::Span::ENCODE, begin, encoded_, static_cast<uint64_t>(batch.images));
  for (wire::Encoded& answer : batch.answers) parts_.done(std::move(answer));
}

/// Up to a batch of the encodes that are read, oldest first. Empty: there is none or, after a wait, the lane
/// ends.
std::vector<VisionLane::PendingEncode> VisionLane::take_ready(bool wait) {
  std::vector<PendingEncode> ready;
  std::unique_lock lock(mutex_);
  const auto is_read = [](const PendingEncode& pending) { return pending.read; };
  const auto any = [&] { return stopping_ || std::any_of(pending_.begin(), pending_.end(), is_read); };
  if (wait) changed_.wait(lock, [&] { return stopping_ || !pending_.empty(); });
  if (wait && !any()) {
    const int64_t begin = steady_time();
    changed_.wait(lock, any);
    recorder_.add(wire::Span::READ, begin, steady_time(), 0);
  }
  if (stopping_) return ready;
  for (auto pending = pending_.begin();
       pending != pending_.end() && static_cast<int64_t>(ready.size()) < tower_.images;) {
    if (pending->read) {
      ready.push_back(std::move(*pending));
      pending = pending_.erase(pending);
    } else {
      ++pending;
    }
  }
  return ready;
}

/// Copies the picture's embeddings from another slot, if one has them.
bool VisionLane::reuse(const PendingEncode& pending) {
  const auto from = std::find(contents_.begin(), contents_.end(), std::optional(pending.picture.content));
  if (from == contents_.end()) return false;
  const int64_t slot = from - contents_.begin();
  if (slot != pending.slot) tower_.slots->copy(slot, pending.slot);
  contents_[static_cast<size_t>(pending.slot)] = pending.picture.content;
  return true;
}

void VisionLane::encode(std::span<const PendingEncode> encodes) {
  const int64_t tokens = tower_.slots->tokens(), count = static_cast<int64_t>(encodes.size());
  std::vector<const uint8_t*> rgb;
  for (const PendingEncode& pending : encodes) rgb.push_back(pending.picture.rgb.data());
  const Tensor out = view(scratch_.get(), DType::f32, count * tokens, tower_.slots->hidden());
  tower_.encode(out, rgb);
  for (int64_t i = 0; i < count; ++i) {
    const PendingEncode& pending = encodes[static_cast<size_t>(i)];
    tower_.slots->store(pending.slot, out.row_range(i * tokens, (i + 1) * tokens));
    contents_[static_cast<size_t>(pending.slot)] = pending.picture.content;
  }
}

}  // namespace lapidary

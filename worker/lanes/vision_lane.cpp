#include "worker/lanes/vision_lane.h"

#include <algorithm>
#include <new>
#include <stdexcept>
#include <utility>

#include "configs/error.h"
#include "configs/steady_time.h"
#include "worker/images/image.h"
#include "worker/images/resize.h"
#include "worker/lanes/thread_priority.h"

namespace lapidary {

VisionLane::VisionLane(Parts parts, SpanRecorder& recorder) : parts_(std::move(parts)), recorder_(recorder) {
  std::promise<void> made;
  auto is_made = made.get_future();
  thread_ = std::thread([this, made = std::move(made)]() mutable { run(std::move(made)); });
  try {
    is_made.get();
    pool_.emplace(parts_.read_threads, lower_priority);
  } catch (...) {
    thread_.join();
    throw;
  }
}

VisionLane::~VisionLane() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  pool_.reset();
  thread_.join();
}

void VisionLane::add(wire::Encode encode) {
  std::list<Job>::iterator job;
  {
    const std::lock_guard lock(mutex_);
    job = jobs_.insert(jobs_.end(), {encode.job(), encode.slot(), false, {}});
  }
  changed_.notify_one();  // so that the lane's waiting for pictures is seen to begin
  pool_->submit([this, job, encode = std::move(encode)] {
    Picture picture = read(encode);
    {
      const std::lock_guard lock(mutex_);
      job->picture = std::move(picture);
      job->read = true;
    }
    changed_.notify_one();
  });
}

/// On a thread of the pool; throws nothing.
VisionLane::Picture VisionLane::read(const wire::Encode& encode) const {
  const std::string name = name_of(encode.image());
  Picture picture;
  try {
    if (encode.slot() < 0 || encode.slot() >= tower_.slots->count())
      fail("embedding slot ", encode.slot(), " of ", tower_.slots->count(), " for ", name);
    const std::vector<uint8_t> bytes = parts_.read_bytes(encode.image());
    picture.content = content_hash(bytes);
    picture = [&] {
      try {
        const Image image = decode_image(bytes);
        const auto side = static_cast<int>(tower_.image_size);
        return Picture{"", image.width, image.height, picture.content, resize_bicubic(image, side, side).rgb};
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

wire::Encoded VisionLane::answer_to(const Job& job, bool reused) {
  wire::Encoded encoded;
  encoded.set_job(job.id);
  encoded.set_error(job.picture.error);
  encoded.set_width(job.picture.width);
  encoded.set_height(job.picture.height);
  encoded.set_content(job.picture.content);
  encoded.set_reused(reused);
  return encoded;
}

void VisionLane::work() {
  std::optional<Batch> under_way;
  for (;;) {
    std::vector<Job> jobs = take_ready(!under_way);
    if (jobs.empty() && !under_way) return;
    std::optional<Batch> next;
    if (!jobs.empty()) next = start(std::move(jobs));
    if (under_way) finish(std::move(*under_way));
    under_way.reset();
    if (next && next->mark)
      under_way = std::move(next);
    else if (next)
      finish(std::move(*next));
  }
}

VisionLane::Batch VisionLane::start(std::vector<Job> jobs) {
  Batch batch;
  batch.begin = steady_time();
  const bool at_once = tower_.backend->on_host();  // what it was told to do is done
  std::vector<Job> fresh;                          // for the tower
  std::vector<Job> twins;                          // pictures that are in `fresh` already
  for (Job& job : jobs) {
    const auto same = [&](const Job& other) { return other.picture.content == job.picture.content; };
    if (!job.picture.error.empty()) {
      parts_.done(answer_to(job, false));
    } else if (reuse(job)) {
      if (at_once)
        parts_.done(answer_to(job, true));
      else
        batch.answers.push_back(answer_to(job, true));
    } else if (std::any_of(fresh.begin(), fresh.end(), same)) {
      twins.push_back(std::move(job));
    } else {
      fresh.push_back(std::move(job));
    }
  }
  if (!fresh.empty()) encode(fresh);
  batch.images = static_cast<int64_t>(fresh.size());
  for (const Job& job : fresh) batch.answers.push_back(answer_to(job, false));
  for (const Job& job : twins) {
    if (!reuse(job)) throw std::logic_error("two pictures at once for one embedding slot");
    batch.answers.push_back(answer_to(job, true));
  }
  batch.mark = tower_.backend->record_event();
  return batch;
}

/// Answers when the embeddings are there: a decoder that began with them earlier would only stand still.
void VisionLane::finish(Batch batch) {
  tower_.backend->synchronize_event(batch.mark);
  const int64_t begin = std::max(batch.begin, encoded_);
  encoded_ = steady_time();
  if (batch.images > 0)
    recorder_.add(wire::Span::ENCODE, begin, encoded_, static_cast<uint64_t>(batch.images));
  for (wire::Encoded& answer : batch.answers) parts_.done(std::move(answer));
}

/// Up to a batch of the jobs that are read, oldest first. Empty: there is none or, after a wait, the lane
/// ends.
std::vector<VisionLane::Job> VisionLane::take_ready(bool wait) {
  std::vector<Job> ready;
  std::unique_lock lock(mutex_);
  const auto is_read = [](const Job& job) { return job.read; };
  const auto any = [&] { return stopping_ || std::any_of(jobs_.begin(), jobs_.end(), is_read); };
  if (wait) changed_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
  if (wait && !any()) {
    const int64_t begin = steady_time();
    changed_.wait(lock, any);
    recorder_.add(wire::Span::READ, begin, steady_time(), 0);
  }
  if (stopping_) return ready;
  for (auto job = jobs_.begin(); job != jobs_.end() && static_cast<int64_t>(ready.size()) < tower_.images;) {
    if (job->read) {
      ready.push_back(std::move(*job));
      job = jobs_.erase(job);
    } else {
      ++job;
    }
  }
  return ready;
}

/// Copies the picture's embeddings from another slot, if one has them.
bool VisionLane::reuse(const Job& job) {
  const auto from = std::find(contents_.begin(), contents_.end(), std::optional(job.picture.content));
  if (from == contents_.end()) return false;
  const int64_t slot = from - contents_.begin();
  if (slot != job.slot) tower_.slots->copy(slot, job.slot);
  contents_[static_cast<size_t>(job.slot)] = job.picture.content;
  return true;
}

void VisionLane::encode(std::span<const Job> jobs) {
  const int64_t tokens = tower_.slots->tokens(), count = static_cast<int64_t>(jobs.size());
  std::vector<const uint8_t*> rgb;
  for (const Job& job : jobs) rgb.push_back(job.picture.rgb.data());
  const Tensor out = view(scratch_.get(), DType::f32, count * tokens, tower_.slots->hidden());
  tower_.encode(out, rgb);
  for (int64_t i = 0; i < count; ++i) {
    const Job& job = jobs[static_cast<size_t>(i)];
    tower_.slots->store(job.slot, out.row_range(i * tokens, (i + 1) * tokens));
    contents_[static_cast<size_t>(job.slot)] = job.picture.content;
  }
}

}  // namespace lapidary

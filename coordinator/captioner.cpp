#include "coordinator/captioner.h"

#include <algorithm>
#include <utility>

#include "configs/error.h"

namespace lapidary {
namespace {

/// Each item draws numbers of its own, which its key and prompt choose: neither order nor neighbours change
/// them. FNV-1a, because std::hash differs between libraries.
uint64_t seed_of(uint64_t seed, const Record& record) {
  uint64_t hash = 0xcbf29ce484222325u ^ seed;
  for (const std::string* text : {&record.key, &record.prompt})
    for (const char c : *text + '\0') hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  return hash;
}

}  // namespace

Captioner::Captioner(CaptionSettings settings, const Limits& limits, CaptionParts parts, TaskPool& pool)
    : settings_(std::move(settings)),
      parts_(std::move(parts)),
      limits_(limits),
      scheduler_(limits),
      pool_(pool) {}

Counts Captioner::caption(Inputs& inputs) {
  counts_.total = inputs.total();
  do {
    load_ahead(inputs);
    submit_loaded();
    write_in_order();
  } while (!parts_.stop() && (step() || !jobs_.empty() || !exhausted_));
  write_all_finished();
  return counts_;
}

void Captioner::load_ahead(Inputs& inputs) {
  while (first_ + jobs_.size() - unsubmitted_ < static_cast<uint64_t>(settings_.look_ahead)) {
    auto item = inputs.next();
    exhausted_ = !item;
    if (exhausted_) return;
    Job& job = jobs_.emplace_back();
    job.loading = pool_.submit([paths = item->images, load = parts_.load] {
      std::vector<LoadedImage> images;
      for (const auto& path : paths) images.push_back(load(path));
      return images;
    });
    job.record.key = item->key;
    job.record.prompt = item->prompt.value_or(settings_.prompt);
    job.item = std::move(*item);
  }
}

/// Waits for an image only when there is nothing else to do.
bool Captioner::is_loaded(Job& job) const {
  if (scheduler_.running() + scheduler_.waiting() == 0) job.loading.wait();
  return job.loading.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

void Captioner::submit_loaded() {
  const auto end = first_ + jobs_.size();
  while (unsubmitted_ < end && scheduler_.waiting() < static_cast<size_t>(limits_.sequences) &&
         is_loaded(job(unsubmitted_)))
    submit(unsubmitted_++);
}

void Captioner::submit(uint64_t id) {
  Job& job = this->job(id);
  try {
    job.images = job.loading.get();
    job.record.width = job.images.front().width;
    job.record.height = job.images.front().height;
    Request request;
    request.id = id;
    request.images = static_cast<int64_t>(job.images.size());
    request.prefix = parts_.prefix(request.images, job.record.prompt);
    request.max_new_tokens = settings_.max_new_tokens;
    request.sampling = settings_.sampling;
    request.sampling.set_seed(seed_of(settings_.sampling.seed(), job.record));
    request.eos = settings_.eos;
    scheduler_.submit(std::move(request));
  } catch (
      const std::exception& e) {  // also what the system says of a file, or memory that a picture asks for
    fail_job(job, e.what());
  }
}

bool Captioner::step() {
  auto plan = scheduler_.next();
  if (!plan) return false;
  attach_pixels(*plan);
  wire::StepDone done;
  try {
    done = parts_.run(plan->step);
  } catch (...) {
    write_all_finished();
    throw;
  }
  for (const Event& event : scheduler_.finish(done)) take(event);
  parts_.progress(counts_);
  return true;
}

void Captioner::attach_pixels(Plan& plan) {
  for (size_t i = 0; i < plan.images.size(); ++i) {
    LoadedImage& image = job(plan.images[i].request).images.at(static_cast<size_t>(plan.images[i].index));
    plan.step.mutable_encodes(static_cast<int>(i))->set_rgb(std::exchange(image.rgb, {}));
  }
}

void Captioner::take(const Event& event) {
  Job& job = this->job(event.request);
  if (event.token) {
    job.record.token_ids.push_back(*event.token);
    ++counts_.tokens;
  }
  if (event.finish != Finish::no) finish(job);
}

void Captioner::finish(Job& job) {
  Record& record = job.record;
  try {
    record.text = parts_.text(record.token_ids);
    record.boxes = parse_boxes(record.text, record.width, record.height).boxes;
    job.finished = true;
  } catch (const Error& e) {
    fail_job(job, e.what());
  }
}

void Captioner::fail_job(Job& job, const std::string& error) {
  job.record.error = error;
  job.finished = true;
}

void Captioner::write(Job& job) {
  parts_.write(job.record, job.item);
  ++counts_.done;
  if (job.record.error) ++counts_.failed;
  parts_.progress(counts_);
}

void Captioner::write_in_order() {
  for (; !jobs_.empty() && jobs_.front().finished; jobs_.pop_front(), ++first_) write(jobs_.front());
}

void Captioner::write_all_finished() {
  for (; !jobs_.empty(); jobs_.pop_front(), ++first_)
    if (jobs_.front().finished) write(jobs_.front());
}

}  // namespace lapidary

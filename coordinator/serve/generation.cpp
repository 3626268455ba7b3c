#include "coordinator/serve/generation.h"

#include <algorithm>
#include <utility>

#include "configs/wire/heartbeat_monitor.h"
#include "coordinator/serve/openai/api_error.h"
#include "coordinator/text/boxes.h"

namespace lapidary {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin, Clock::time_point now) {
  return std::chrono::duration<double>(now - begin).count();
}

TextStreamOptions text_options(const GenerationRequest& asked) {
  TextStreamOptions options;
  options.stop = asked.stop.strings;
  options.include_stop = asked.stop.include_in_output;
  options.skip_special_tokens = asked.answer.skip_special_tokens;
  options.min_tokens = asked.stop.min_tokens;
  return options;
}

}  // namespace

Generation::Generation(GenerationParts parts)
    : parts_(std::move(parts)), keeps_alive_(parts_.io), deadline_(parts_.io), newest_(Clock::now()) {
  for (int64_t i = 0; i < parts_.asked.n; ++i)
    choices_.emplace_back(TextStream(parts_.model.tokenizer, text_options(parts_.asked)));
}

Generation::~Generation() = default;

void Generation::begin() {
  const auto self = shared_from_this();
  parts_.exchange->when_gone([self] { self->give_up("abort"); });
  running_ = choices_.size();
  for (size_t i = 0; i < choices_.size(); ++i) {
    Request request = parts_.prepared.request;
    request.sampling.set_seed(seed_of_choice(request.sampling.seed(), static_cast<int64_t>(i)));
    choices_[i].engine_id = parts_.engine.submit(
        std::move(request), [self, i](const RequestOutput& output) { self->take(i, output); });
  }
  parts_.prepared.request = {};  // the pictures are the engine's now
  watch_time();
  if (parts_.asked.answer.stream) keep_alive();
}

// ---- what the engine says

void Generation::take(size_t index, const RequestOutput& output) {
  OneChoice& choice = choices_[index];
  if (over_ || choice.ended) return;
  if (output.restarted) choice.text.restart();
  if (output.finish == FinishReason::error) {
    if (output.crashed) return fail_all(503, "engine_failed", output.error, true);
    return fail_all(400, "invalid_image", output.error, false);
  }
  if (output.width > 0) {
    choice.width = output.width;
    choice.height = output.height;
  }
  reused_images_ = std::max(reused_images_, output.reused_images);
  const size_t before = choice.text.ids().size();
  std::string text;
  if (output.token) text = choice.text.add(std::span(&*output.token, 1));
  const bool stopped = choice.text.stop_string().has_value(),
             last = stopped || output.finish != FinishReason::no;
  if (last) text += choice.text.finish();
  if (choice.text.mismatch())
    return fail_all(500, "engine_failed", "a replica died, and another one went on with another text", true);
  const bool fresh = choice.text.ids().size() > before;
  if (fresh) note_token();
  if (stopped) parts_.engine.cancel(choice.engine_id);
  if (last) {
    end_choice(choice, output);
    return look_for_things(index, std::move(text));
  }
  if (fresh) send_event(index, std::move(text));  // else it came again, after a restart
}

/// The choice is whole; what it found belongs to its last event. Masks take their time, elsewhere.
void Generation::look_for_things(size_t index, std::string text) {
  OneChoice& choice = choices_[index];
  choice.found = {parse_boxes(choice.text.text(), choice.width, choice.height).boxes, choice.width,
                  choice.height};
  const bool has_codes = std::any_of(choice.found.boxes.begin(), choice.found.boxes.end(),
                                     [](const DetectedBox& box) { return !box.segments.empty(); });
  if (!has_codes || !parts_.make_masks) return close_choice(index, std::move(text));
  parts_.make_masks(choice.found,
                    [self = shared_from_this(), index, text = std::move(text)](FoundThings found) {
                      if (self->over_) return;
                      self->choices_[index].found = std::move(found);
                      self->close_choice(index, text);
                    });
}

void Generation::close_choice(size_t index, std::string text) {
  send_event(index, std::move(text));
  if (--running_ == 0) finish_all();
}

void Generation::note_token() {
  const auto now = Clock::now();
  parts_.token(first_, seconds_since(newest_, now));
  newest_ = now;
  first_ = false;
  keeps_alive_.cancel();
}

void Generation::end_choice(OneChoice& choice, const RequestOutput& output) const {
  choice.ended = true;
  choice.end = output.finish == FinishReason::length ? AnswerEnd::length : AnswerEnd::stop;
  if (const auto& stop = choice.text.stop_string()) {
    choice.end = AnswerEnd::stop;
    choice.stopped_by = *stop;
    return;
  }
  const auto& own = parts_.model.generation.eos;
  if (output.end_token >= 0 && std::find(own.begin(), own.end(), output.end_token) == own.end())
    choice.stopped_by = int64_t{output.end_token};
}

// ---- what the client hears

Choice Generation::choice_of(size_t index, std::string text) const {
  const OneChoice& from = choices_[index];
  Choice choice;
  choice.index = static_cast<int64_t>(index);
  choice.text = std::move(text);
  choice.end = from.end;
  choice.stopped_by = from.stopped_by;
  if (from.end && !from.found.boxes.empty()) choice.found = from.found;
  return choice;
}

std::vector<Choice> Generation::whole_choices() const {
  std::vector<Choice> whole;
  for (size_t i = 0; i < choices_.size(); ++i) {
    whole.push_back(choice_of(i, choices_[i].text.text()));
    if (parts_.asked.answer.return_token_ids) whole.back().token_ids = choices_[i].text.ids();
  }
  return whole;
}

void Generation::begin_stream() {
  if (std::exchange(streaming_, true)) return;
  HttpResponse head{200, "text/event-stream; charset=utf-8", parts_.headers, ""};
  head.headers.emplace_back("Cache-Control", "no-cache");
  head.headers.emplace_back("X-Accel-Buffering", "no");
  parts_.exchange->begin_stream(std::move(head));
}

void Generation::send_event(size_t index, std::string text) {
  if (!parts_.asked.answer.stream) return;
  begin_stream();
  OneChoice& from = choices_[index];
  Choice choice = choice_of(index, std::move(text));
  const auto& ids = from.text.ids();
  if (parts_.asked.answer.return_token_ids)
    choice.token_ids.emplace(ids.begin() + static_cast<std::ptrdiff_t>(from.told), ids.end());
  from.told = ids.size();
  parts_.exchange->send(parts_.writer->event(choice, !std::exchange(from.begun, true), usage()));
}

void Generation::finish_all() {
  over_ = true;
  keeps_alive_.cancel();
  deadline_.cancel();
  const Usage used = usage();
  if (parts_.asked.answer.stream) {
    parts_.exchange->send(parts_.writer->end(whole_choices(), used));
    parts_.exchange->finish();
  } else {
    parts_.exchange->respond(
        {200, "application/json", parts_.headers, parts_.writer->whole(whole_choices(), used)});
  }
  const bool cut = std::any_of(choices_.begin(), choices_.end(),
                               [](const OneChoice& choice) { return choice.end == AnswerEnd::length; });
  parts_.ended(cut ? "length" : "stop", used);
}

void Generation::fail_all(int status, std::string_view code, const std::string& why, bool retry) {
  if (over_) return;
  const ApiError error(status, status < 500 ? "invalid_request_error" : "server_error", code, why);
  if (streaming_) {
    parts_.exchange->send(parts_.writer->error(to_json(error), why));
    parts_.exchange->finish();
  } else {
    HttpResponse response{status, "application/json", parts_.headers, to_json(error)};
    response.headers.emplace_back("x-should-retry", retry ? "true" : "false");
    if (status == 503) response.headers.emplace_back("Retry-After", "1");
    parts_.exchange->respond(std::move(response));
  }
  give_up("error");
}

void Generation::give_up(std::string_view reason) {
  if (std::exchange(over_, true)) return;
  keeps_alive_.cancel();
  deadline_.cancel();
  for (const OneChoice& choice : choices_)
    if (!choice.ended) parts_.engine.cancel(choice.engine_id);
  parts_.ended(reason, usage());
}

// ---- time

/// A proxy cuts an answer that says nothing for long: a comment is said, which clients pass over. The answer
/// is 200 from there on; errors come in the stream.
void Generation::keep_alive() {
  keeps_alive_.expires_after(nanoseconds_of(parts_.keep_alive_seconds));
  keeps_alive_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
    if (error || self->over_ || !self->first_) return;
    self->begin_stream();
    self->parts_.exchange->send(": keep-alive\n\n");
    self->keep_alive();
  });
}

void Generation::watch_time() {
  if (parts_.timeout_seconds <= 0) return;
  deadline_.expires_after(nanoseconds_of(parts_.timeout_seconds));
  deadline_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
    if (!error)
      self->fail_all(
          504, "timeout",
          cat("the answer took more than ", self->parts_.timeout_seconds, " s (--request-timeout)"), false);
  });
}

Usage Generation::usage() const {
  Usage usage;
  usage.prompt_tokens = parts_.prepared.prompt_tokens;
  usage.image_tokens = parts_.prepared.image_tokens;
  usage.cached_tokens = reused_images_ * parts_.model.image_tokens();
  for (const OneChoice& choice : choices_)
    usage.completion_tokens += static_cast<int64_t>(choice.text.ids().size());
  return usage;
}

}  // namespace lapidary

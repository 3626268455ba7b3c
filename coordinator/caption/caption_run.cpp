#include "coordinator/caption/caption_run.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <utility>

#include "configs/error.h"

namespace lapidary {
namespace {

/// Enough that the coordinator's pauses are not felt, few enough to weigh nothing.
constexpr size_t kItemsAhead = 256;
constexpr int kItemsATurn = 64;  // then workers and heartbeats have theirs
constexpr auto kAskForStopEvery = std::chrono::milliseconds(50);

}  // namespace

struct CaptionRun::Timer {
  explicit Timer(boost::asio::io_context& io) : timer(io) {}
  boost::asio::steady_timer timer;
};

CaptionRun::CaptionRun(boost::asio::io_context& io, const FleetOptions& options, CaptionSettings settings,
                       CaptionRunParts parts)
    : io_(io),
      parts_(std::move(parts)),
      prefixes_(settings.prompt, parts_.prefix),
      captioner_(std::move(settings), caption_parts()),
      fleet_(io, options, fleet_events()),
      timer_(std::make_unique<Timer>(io)) {}

CaptionRun::~CaptionRun() = default;

CaptionParts CaptionRun::caption_parts() {
  CaptionParts parts;
  parts.text = parts_.text;
  parts.write = [this](DatasetItem item, Record record) {
    parts_.ended(item);
    writer_->add(std::move(item), std::move(record));
    parts_.progress(captioner_.counts());
  };
  return parts;
}

ItemReader::InputSource CaptionRun::prepared_items() {
  return [this] {
    auto item = parts_.source();
    if (item) prefixes_.prepare(*item);
    return item;
  };
}

FleetEvents CaptionRun::fleet_events() {
  FleetEvents events = parts_.fleet;
  events.requests = [this](const std::vector<RequestOutput>& all) {
    if (ending_) return;  // the writer takes no more
    for (const RequestOutput& event : all) captioner_.take(event);
    finish_if_done();
  };
  events.room = [this] { feed(); };
  events.ready = [this](int replica, const std::vector<wire::Ready>& ranks) {
    if (!std::exchange(ready_, true)) captioner_.each_item(parts_.begin);
    parts_.fleet.ready(replica, ranks);
  };
  events.failed = [this](const std::string& why, bool answering) {
    if (answering && ready_) parts_.crashed();
    give_up(std::make_exception_ptr(Error(why)), answering);
  };
  return events;
}

void CaptionRun::on_io(void (CaptionRun::*what)()) {
  boost::asio::post(io_, [this, what] { (this->*what)(); });
}

Counts CaptionRun::run() {
  writer_ = std::make_unique<RecordWriter>(*parts_.sink, [this] { on_io(&CaptionRun::feed); });
  reader_ = std::make_unique<ItemReader>(prepared_items(), kItemsAhead, [this] { on_io(&CaptionRun::feed); });
  ask_for_stop();
  const auto busy = boost::asio::make_work_guard(io_);
  io_.run();
  if (parts_.cancel) parts_.cancel();
  reader_.reset();
  if (trouble_) std::rethrow_exception(trouble_);
  return captioner_.counts();
}

void CaptionRun::feed() {
  if (ending_) return;
  if (const auto trouble = writer_->trouble()) return give_up(trouble);
  try {
    for (int taken = 0; fleet_.room() > 0 && writer_->has_room(); ++taken) {
      if (taken == kItemsATurn) {
        on_io(&CaptionRun::feed);
        break;
      }
      auto item = next_item();
      if (!item) break;
      submit(std::move(*item));
    }
  } catch (...) {  // the source
    return give_up(std::current_exception());
  }
  fleet_.pump();
  finish_if_done();
}

/// Items to be worked on alone come last of all.
std::optional<DatasetItem> CaptionRun::next_item() {
  auto item = std::exchange(held_, std::nullopt);
  if (!item) item = reader_->take();
  if (!item || !item->alone || captioner_.running() == 0) return item;
  held_ = std::move(item);
  return std::nullopt;
}

void CaptionRun::submit(DatasetItem item) {
  if (ready_ && !item.error) parts_.begin(item);
  auto request = captioner_.begin(std::move(item));
  if (!request) return;
  const uint64_t id = request->id;
  try {
    fleet_.submit(std::move(*request));
  } catch (const Error& e) {  // it could never run
    captioner_.refuse(id, e.what());
  }
}

void CaptionRun::finish_if_done() {
  if (!ending_ && captioner_.running() == 0 && !held_ && reader_->ended()) end(true);
}

void CaptionRun::end(bool whole, bool answering) {
  ending_ = true;
  timer_->timer.cancel();
  // Elsewhere: a slow disk would silence the coordinator, and workers would take it for dead.
  written_ = std::async(std::launch::async, [this, whole, answering] {
    std::exception_ptr trouble;
    try {
      writer_->finish(whole);
    } catch (...) {
      trouble = std::current_exception();
    }
    boost::asio::post(io_, [this, trouble, answering] { leave(trouble, answering); });
  });
}

/// The records are written, or cannot be.
void CaptionRun::leave(std::exception_ptr trouble, bool answering) {
  if (!trouble_) trouble_ = std::move(trouble);
  const auto done = [this] { io_.stop(); };
  answering ? fleet_.stop(done) : fleet_.abandon(done);
}

/// What is finished is kept.
void CaptionRun::give_up(std::exception_ptr trouble, bool answering) {
  if (ending_) return;
  trouble_ = std::move(trouble);
  end(false, answering);
}

void CaptionRun::ask_for_stop() {
  if (ending_) return;
  if (parts_.stop()) return end(false);
  if (writer_->has_room()) feed();  // it may have waited for the writer
  if (ending_) return;
  timer_->timer.expires_after(kAskForStopEvery);
  timer_->timer.async_wait([this](const boost::system::error_code& error) {
    if (!error) ask_for_stop();
  });
}

}  // namespace lapidary

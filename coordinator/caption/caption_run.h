#pragma once

#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <optional>

#include "coordinator/caption/captioner.h"
#include "coordinator/caption/prefixes.h"
#include "coordinator/dataset/item_reader.h"
#include "coordinator/fleet/fleet.h"
#include "coordinator/records/record_writer.h"

namespace lapidary {

struct CaptionRunParts {
  ItemReader::InputSource source;  // on the reader's thread
  std::function<void()> cancel;    // the run is over: the source is to give up what it waits for
  Prefixes::Make prefix;           // on the reader's thread; what throws fails that item only
  std::function<std::string(std::span<const int32_t>)> text;  // as in CaptionParts
  RecordSink* sink = nullptr;                                 // on the writer's thread
  std::function<void(Counts)> progress;                       // after each record
  std::function<bool()> stop;                                 // asked now and then: the user wants no more
  /// An item is in the workers' reach from now on; has its record; or a worker has said that it cannot go on,
  /// which one of the items may have brought about.
  std::function<void(const DatasetItem&)> begin = [](const DatasetItem&) {}, ended = begin;
  std::function<void()> crashed = [] {};
  FleetEvents fleet;  // loading, ready, joined, beat, log; the others are filled in here
};

/// One captioning job, from items to records: a thread reads items, a thread writes records, and the caller's
/// thread, in `run`, decides all that lies between.
class CaptionRun {
 public:
  CaptionRun(boost::asio::io_context& io, const FleetOptions& options, CaptionSettings settings,
             CaptionRunParts parts);
  ~CaptionRun();

  Fleet& fleet() { return fleet_; }

  /// Until every item has its record and the workers have ended, or the user wants no more. Throws what ended
  /// it early; what was finished is written all the same.
  Counts run();
  const std::string& first_error() const { return captioner_.first_error(); }

 private:
  FleetEvents fleet_events();
  CaptionParts caption_parts();
  ItemReader::InputSource prepared_items();
  void feed();
  std::optional<DatasetItem> next_item();
  void submit(DatasetItem item);
  void finish_if_done();
  void end(bool whole, bool answering = true);
  void leave(std::exception_ptr trouble, bool answering);
  void give_up(std::exception_ptr trouble, bool answering = true);
  void ask_for_stop();
  void on_io(void (CaptionRun::*what)());

  boost::asio::io_context& io_;
  CaptionRunParts parts_;
  Prefixes prefixes_;  // the reader's
  Captioner captioner_;
  Fleet fleet_;
  std::unique_ptr<RecordWriter> writer_;
  std::unique_ptr<ItemReader> reader_;
  struct Timer;
  std::unique_ptr<Timer> timer_;
  std::optional<DatasetItem> held_;  // the next one, which waits until it can be worked on alone
  bool ready_ = false;               // a replica has been
  std::exception_ptr trouble_;
  bool ending_ = false;
  std::future<void> written_;
};

}  // namespace lapidary

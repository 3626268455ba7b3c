#include "coordinator/cli/caption_run.h"

#include <cstdio>

#include "configs/error.h"
#include "coordinator/cli/model_door.h"
#include "coordinator/telemetry/table.h"

namespace lapidary {
namespace {

constexpr double kSaying = 5;  // seconds in which a terminal that is not stopped takes the summary

std::string size_text(int64_t bytes) { return bytes_text(static_cast<double>(bytes)); }

/// A row a rank of what it has allocated.
std::string memory_table(const std::vector<wire::Ready>& ranks) {
  std::vector<std::vector<std::string>> rows{
      {"memory", "weights", "KV pages", "encoder cache", "workspace", "total"}};
  int64_t all = 0;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    const wire::Ready& r = ranks[rank];
    const int64_t total = r.weight_bytes() + r.kv_bytes() + r.embedding_bytes() + r.workspace_bytes();
    rows.push_back({cat("rank ", rank), size_text(r.weight_bytes()), size_text(r.kv_bytes()),
                    size_text(r.embedding_bytes()), size_text(r.workspace_bytes()), size_text(total)});
    all += total;
  }
  if (ranks.size() > 1) rows.push_back({"all", "", "", "", "", size_text(all)});
  return table_text(rows);
}

}  // namespace

CaptionCoordinator::CaptionCoordinator(const CaptionOptions& options, const Setup& setup, const Mesh& mesh,
                                       const std::string& token, bool local, const StopSignal& stop)
    : options_(options),
      mesh_(mesh),
      token_(token),
      stop_(stop),
      progress_(options.quiet),
      timeline_(mesh, options.trace),
      job_(options, setup),
      starter_(options.flags, mesh, token, options.hostfile),
      run_(io_, fleet_options(setup.config, local), setup.settings, parts()) {
  job_.before_line([this] { progress_.clear(); });
  if (!options.quiet) {
    print_remarks(setup.remarks);
    print_remarks(job_.tokenizer().remarks());
  }
}

FleetOptions CaptionCoordinator::fleet_options(const ModelConfig& config, bool local) const {
  FleetOptions fleet = lapidary::fleet_options(options_.flags, config, mesh_, token_, local, options_.listen,
                                               options_.step_deadline_seconds);
  fleet.server.spans = !options_.trace.empty();
  // A few times what all replicas can have at once, so that none waits for the reader.
  fleet.dispatch.queue =
      static_cast<size_t>(4 * options_.flags.engine.max_num_seqs) * static_cast<size_t>(mesh_.replicas);
  fleet.mode = options_.mode;
  fleet.layer_group = options_.layer_group;
  fleet.steps_ahead = options_.steps_ahead;
  return fleet;
}

CaptionRunParts CaptionCoordinator::parts() {
  CaptionRunParts parts;
  parts.source = [this] { return job_.next(); };
  parts.cancel = [this] { job_.cancel(); };
  parts.prefix = [this](int64_t images, const std::string& prompt) { return job_.prefix(images, prompt); };
  parts.text = [this](std::span<const int32_t> ids) { return job_.text(ids); };
  parts.sink = &job_.sink();
  if (JobFolder* folder = job_.folder()) {
    parts.begin = [folder](const DatasetItem& item) { folder->begin(item); };
    parts.ended = [folder](const DatasetItem& item) { folder->end(item); };
    parts.crashed = [folder] { folder->crashed(); };
  }
  parts.progress = [this](Counts counts) {
    counts.total = job_.total();
    counts.before = job_.before();
    progress_.counts(counts);
  };
  parts.stop = [this] { return stop_.caught() != 0; };
  parts.fleet = fleet_events();
  return parts;
}

FleetEvents CaptionCoordinator::fleet_events() {
  FleetEvents events;
  events.loading = [this](int64_t loaded, int64_t total) {
    progress_.bytes("loading weights", loaded, total);
  };
  events.ready = [this](int replica, const std::vector<wire::Ready>& ranks) { show_ready(replica, ranks); };
  events.beat = [this](int replica, int rank, const wire::Heartbeat& beat) {
    timeline_.take(replica, rank, beat);
  };
  events.log = [this](const std::string& line) { progress_.say(line); };
  return events;
}

void CaptionCoordinator::show_ready(int replica, const std::vector<wire::Ready>& ranks) {
  if (shown_ready_) return;
  shown_ready_ = true;
  progress_.restart();
  if (options_.quiet) return;
  std::string where = ranks.front().description();
  if (mesh_.replicas > 1) where += cat(", ", mesh_.replicas, " replicas");
  if (mesh_.vision_ranks > 0) where += cat(", ", mesh_.vision_ranks, " vision ranks each");
  progress_.say(where + "\n" + memory_table(ranks) +
                (mesh_.replicas > 1 ? cat("each replica as replica ", replica) : ""));
}

Invitation CaptionCoordinator::invitation() { return {run_.fleet().endpoints(), token_}; }

std::string CaptionCoordinator::worker_by_hand() { return starter_.by_hand(invitation().endpoints); }

void CaptionCoordinator::launch() { run_.fleet().launch(starter_.launcher(invitation().endpoints)); }

int CaptionCoordinator::run() {
  Counts counts = run_.run();
  progress_.clear();
  counts.before = job_.before();
  counts.total = job_.total();
  timeline_.finish();
  if (!options_.quiet) {
    progress_.say(summary_text(counts, progress_.seconds()));
    if (const int64_t left = counts.orientations_left; left > 0)
      progress_.say(cat(left, left == 1 ? " picture has" : " pictures have",
                        " an EXIF orientation that was not applied; --orientation exif turns such pictures"));
    for (const std::string& remark : job_.remarks()) progress_.say(remark);
    if (std::string text = timeline_.summary().text(); !text.empty()) {
      text.pop_back();  // its last line's end
      progress_.say(text);
    }
    progress_.flush(kSaying);
  }
  if (stop_.caught() != 0) return exit_code_of_signal(stop_.caught());
  if (counts.done + counts.before == 0) fail("there is no picture in the inputs");
  if (counts.failed > 0 && counts.failed == counts.done && counts.before == 0)
    fail(counts.failed == 1 ? "the image failed: "
                            : cat("all ", counts.failed, " images failed, the first one: "),
         run_.first_error());
  if (const int64_t broken = job_.broken_sources(); broken > 0)
    fail(broken,
         broken == 1 ? " input is broken: " : " inputs are broken, the first one: ", job_.first_broken(),
         "; all else has its records");
  return 0;
}

}  // namespace lapidary

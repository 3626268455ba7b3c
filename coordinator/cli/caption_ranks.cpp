#include "coordinator/cli/caption_ranks.h"

#include <algorithm>
#include <cstdlib>
#include <future>
#include <sstream>
#include <thread>

#include "configs/failure_text.h"
#include "coordinator/cli/caption_run.h"
#include "coordinator/cli/mpi_leftovers.h"
#include "coordinator/fleet/token.h"
#include "sharding/comm/launch_environment.h"
#include "worker/engine/memory_plan.h"

namespace lapidary {
namespace {

constexpr double kWriting = 10;  // seconds in which the last records are surely on the disk
constexpr double kLeaving = 60;  // in which a worker surely ends that has been told to
constexpr double kDialing = 60;  // in which a coordinator that is there is found

void say(const std::string& why) { say_last("lapidary caption: " + why); }

[[noreturn]] void leave(const CaptionOptions& options, const std::string& why, double seconds) {
  say(cat(why, " within ", seconds, " s",
          seconds == options.step_deadline_seconds ? " (--step-deadline)" : ""));
  std::_Exit(1);  // with 0 a launcher would go on to wait, or call it a failure of MPI
}

/// Other ranks wait for this one, which can only end without this thread: its launcher ends the rest.
template <class Body>
std::thread thread_or_end(Body body) {
  try {
    return std::thread(std::move(body));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "lapidary caption: %s\n", failure_text(e).c_str());
    std::_Exit(1);
  }
}

/// The coordinator on a thread of rank 0, whose main thread is a worker like all others. What ends the job is
/// said here: the other thread may be waiting for a rank that is no more.
class Hosted {
 public:
  Hosted(const CaptionOptions& options, CaptionCoordinator& coordinator, bool alone)
      : options_(options), alone_(alone) {
    thread_ = thread_or_end([this, &coordinator] { work(coordinator); });
  }

  /// This rank's worker has ended; gives the job's exit code.
  int join() {
    worker_ended_.set_value();
    thread_.join();
    return code_;
  }

 private:
  void work(CaptionCoordinator& coordinator) {
    try {
      code_ = coordinator.run();
    } catch (const std::exception& e) {
      say(failure_text(e));
      code_ = 1;
    }
    // A worker that hangs in a collective with a dead rank would never end; nor would MPI, told to. Where all
    // is well it may still be about to leave what it loads.
    const bool well = code_ == 0 && !alone_;
    const double patience = well ? std::min(kLeaving, options_.step_deadline_seconds) : 2;
    const bool ended = worker_ended_.get_future().wait_for(std::chrono::duration<double>(patience)) ==
                       std::future_status::ready;
    if (!ended && well) leave(options_, "all records are written, but rank 0 has not ended", patience);
    if (!ended || (code_ == 1 && !alone_)) std::_Exit(code_);
  }

  const CaptionOptions& options_;
  const bool alone_;
  std::promise<void> worker_ended_;
  int code_ = 0;
  std::thread thread_;
};

/// What ranks do together waits for ever for one that is stopped. Who waited for too long leaves; its
/// launcher ends the rest.
class Patience {
 public:
  explicit Patience(const CaptionOptions& options) : options_(options) {}
  ~Patience() { met(); }

  void expect(double seconds, const std::string& otherwise) {
    met();
    met_ = {};
    thread_ = thread_or_end([this, met = met_.get_future(), seconds, otherwise]() mutable {
      if (met.wait_for(std::chrono::duration<double>(seconds)) != std::future_status::ready)
        leave(options_, otherwise, seconds);
    });
  }
  void expect(const std::string& otherwise) { expect(options_.step_deadline_seconds, otherwise); }
  void met() {
    if (!thread_.joinable()) return;
    met_.set_value();
    thread_.join();
  }

 private:
  const CaptionOptions& options_;
  std::promise<void> met_;
  std::thread thread_;
};

/// Rank 0 opens the job. Finding out what nine million records leave to do takes its time, so that the others
/// hear now and then that it goes on.
void open_together(Communicator& comm, Patience& patience, double deadline,
                   const std::function<void()>& open) {
  const bool leads = comm.rank() == 0;
  const std::chrono::duration<double> pause(std::min(1.0, deadline / 4));
  std::packaged_task<void()> opening(open);
  std::future<void> opened = opening.get_future();
  std::thread opener;
  if (leads) opener = thread_or_end([&opening] { opening(); });
  for (std::byte is_open{0}; is_open == std::byte{0};) {
    patience.expect("the ranks have not heard of each other while the job was opened");
    if (leads) is_open = std::byte{opened.wait_for(pause) == std::future_status::ready};
    comm.broadcast(&is_open, 1, 0);
  }
  if (leads) opener.join();
  agree(comm, [&] {
    if (leads) opened.get();
  });
}

/// The job's folder is this run's alone by now.
void take_over_leftovers(const CaptionOptions& options) {
  if (!names_job_folder(options.output)) return;
  remove_mpi_leftovers(options.output);
  if (const auto place = mpi_place()) remember_mpi_place(options.output, place->session, place->job);
}

/// What rank 0 tells the others about the coordinator.
Invitation share_invitation(Communicator& comm, CaptionCoordinator* coordinator) {
  std::string mine;
  if (coordinator != nullptr) {
    const Invitation invitation = coordinator->invitation();
    mine = invitation.token;
    for (const std::string& endpoint : invitation.endpoints) mine += "\n" + endpoint;
  }
  std::istringstream lines(gather_texts(comm, mine).front());
  Invitation invitation;
  std::getline(lines, invitation.token);
  for (std::string line; std::getline(lines, line);) invitation.endpoints.push_back(line);
  return invitation;
}

/// This rank's part. What ends it early is said by the coordinator, which hears of it, unless it never got
/// that far.
void work_here(const CaptionOptions& options, const Mesh& mesh, const MeshCoord& coord, Communicator& replica,
               const Invitation& invitation, Communicator& all) {
  std::unique_ptr<ControlLink> link;
  try {
    link =
        join_job(options.flags, mesh, coord, invitation, std::min(kDialing, options.step_deadline_seconds));
  } catch (const std::exception& e) {
    say(cat("rank ", all.rank(), ": ", failure_text(e)));
    all.abort(1);
    throw;
  }
  try {
    work(options.flags, mesh, coord, replica, *link, true);
  } catch (const std::exception&) {
  }
}

}  // namespace

int caption_here(CaptionOptions& options, StopSignal& stop) {
  Patience patience(options);
  patience.expect("not all ranks have started");
  const auto comm = started_by_mpi() ? make_mpi() : make_solo();
  patience.expect("not all ranks have read their settings");
  if (names_job_folder(options.output)) note_crashes_in(in_flight_file(options.output));
  const bool leads = comm->rank() == 0;
  options.quiet = options.quiet || !leads;
  Mesh mesh;
  MeshCoord coord;
  Setup setup;
  agree(*comm, [&] {
    mesh = mesh_of(options.flags, comm->size());
    options.flags.mesh = mesh;
    coord = coord_of(mesh, comm->rank());
    setup = set_up(options);
    check_coord(options.flags, setup.config, mesh, coord);
  });
  std::unique_ptr<CaptionCoordinator> coordinator;
  open_together(*comm, patience, options.step_deadline_seconds, [&] {
    coordinator = std::make_unique<CaptionCoordinator>(options, setup, mesh, make_token(),
                                                       local_size() >= comm->size(), stop);
    take_over_leftovers(options);
  });
  patience.expect("not all ranks have heard where the coordinator is");
  const Invitation invitation = share_invitation(*comm, coordinator.get());
  const auto replica = comm->split(coord.replica);
  patience.met();
  stop.defer();
  std::optional<Hosted> hosted;
  if (leads) hosted.emplace(options, *coordinator, comm->size() == 1);
  work_here(options, mesh, coord, *replica, invitation, *comm);
  // The records are whole once rank 0 has come this far; the others leave it time to write them.
  const int code = leads ? hosted->join() : 0;
  patience.expect(options.step_deadline_seconds + (leads ? 0 : kWriting),
                  leads ? "all records are written, but a rank has not ended" : "rank 0 has not ended");
  return code;
}

}  // namespace lapidary

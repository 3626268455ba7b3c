#pragma once

#include <array>
#include <optional>
#include <string>
#include <utility>

namespace lapidary {

// What a launcher (Open MPI's mpirun, srun) says of this process in its environment. These variables are read
// here and nowhere else.

/// Whether a launcher started this process as one of several: it has a rank and a server to talk to. Asking
/// MPI itself would start its runtime in every solo run.
bool started_by_mpi();
/// Whether there are only leftovers of a launcher (a rank, but no server): this process is alone.
bool left_by_mpi();
/// Where Open MPI keeps what belongs to this process's job.
struct MpiPlace {
  std::string session;  // a folder, "/tmp/ompi.HOST.0/pid.4711"
  std::string job;      // its number
};
std::optional<MpiPlace> mpi_place();
/// Throws a sentence where the launcher that the environment names has ended; else MPI would say it at
/// length.
void check_launcher();
/// Open MPI's settings ("btl") with which ranks of one host talk by shared memory alone: TCP would listen on
/// all of the host's addresses, and wait for whoever connects there and says nothing.
constexpr std::array<std::pair<const char*, const char*>, 2> kOneHostSettings{
    {{"pml", "ob1"}, {"btl", "self,vader"}}};
/// Before MPI starts: where all ranks are on this host, settings that the user has not made are as above.
void keep_messages_on_this_host();
/// How many tasks the launcher has started where it has told MPI nothing of them, so that each takes itself
/// for the only one; 1: all is as it should be.
int tasks_apart();
/// This process's rank among all that the launcher started; 0 without one.
int world_rank();
/// This process's number among those that the launcher started on this host, from 0.
int local_rank();
/// How many the launcher started on this host.
int local_size();
/// Whether the launcher bound each process to cores of its own.
bool bound_to_cores();

}  // namespace lapidary

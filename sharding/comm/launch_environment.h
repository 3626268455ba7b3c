#pragma once

namespace lapidary {

// What a launcher (Open MPI's mpirun, srun) says of this process in its environment. These variables are read
// here and nowhere else.

/// Whether a launcher started this process as one of several. Asking MPI itself would start its runtime in
/// every solo run.
bool started_by_mpi();
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

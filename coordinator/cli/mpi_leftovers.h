#pragma once

#include <filesystem>
#include <string>

namespace lapidary {

/// What Open MPI keeps outside of a job, and leaves there where mpirun is killed: a folder of its session,
/// and the ranks' shared memory in /dev/shm. A job's folder says where that was (`.mpirun`), so that the next
/// run of the job, which alone works on the folder, removes it; nobody else's is touched, nor that of a
/// mpirun that lives. Never throws: what cannot be removed stays.
void remove_mpi_leftovers(const std::filesystem::path& job_folder,
                          const std::filesystem::path& shared_memory = "/dev/shm");
/// `session`: the folder, "/tmp/ompi.HOST.0/pid.4711"; `job`: its number as the launcher says it.
void remember_mpi_place(const std::filesystem::path& job_folder, const std::string& session,
                        const std::string& job);

}  // namespace lapidary

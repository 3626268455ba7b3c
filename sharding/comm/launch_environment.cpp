#include "sharding/comm/launch_environment.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <string_view>
#include <utility>

#include "configs/error.h"

namespace lapidary {
namespace {

/// The first of these variables that is set.
const char* first_set(std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (const char* value = std::getenv(name)) return value;
  return nullptr;
}

int number_of(std::initializer_list<const char*> names, int otherwise) {
  const char* value = first_set(names);
  return value != nullptr ? std::atoi(value) : otherwise;
}

/// Where a launcher's server is that a rank talks to: "PMIX_SERVER_URI2" and its like, by the protocol's
/// version. All that speak PMIx (Open MPI's mpirun, srun --mpi=pmix) set one.
bool has_server() {
  constexpr std::string_view kServer = "PMIX_SERVER_URI";
  for (char** entry = environ; *entry != nullptr; ++entry)
    if (std::string_view(*entry).starts_with(kServer)) return true;
  return false;
}

const char* rank_variable() { return first_set({"OMPI_COMM_WORLD_SIZE", "PMIX_RANK"}); }

int number_of_rank(std::initializer_list<const char*> names, int otherwise) {
  return started_by_mpi() ? number_of(names, otherwise) : otherwise;
}

bool all_on_this_host() {
  const int ranks = number_of_rank({"OMPI_COMM_WORLD_SIZE"}, 0);
  return ranks > 0 && number_of_rank({"OMPI_COMM_WORLD_LOCAL_SIZE"}, 0) == ranks;
}

}  // namespace

bool started_by_mpi() { return rank_variable() != nullptr && has_server(); }

bool left_by_mpi() {
  return !has_server() && (rank_variable() != nullptr || std::getenv("OMPI_COMM_WORLD_RANK") != nullptr);
}

std::optional<MpiPlace> mpi_place() {
  const char *session = std::getenv("PMIX_SERVER_TMPDIR"), *job = std::getenv("PMIX_NAMESPACE");
  if (!started_by_mpi() || session == nullptr || job == nullptr) return std::nullopt;
  return MpiPlace{session, job};
}

void check_launcher() {
  const char* folder = std::getenv("PMIX_SERVER_TMPDIR");
  std::error_code unknown;
  if (folder != nullptr && !std::filesystem::exists(folder, unknown) && !unknown)
    fail("the environment says that mpirun started this process (PMIX_RANK is ", number_of({"PMIX_RANK"}, 0),
         "), but that mpirun has ended, and its folder ", folder,
         " is gone: unset all variables that begin with PMIX_ and OMPI_, or start it with mpirun");
}

void keep_messages_on_this_host() {
  if (!all_on_this_host()) return;
  for (const auto& [name, value] : kOneHostSettings)
    ::setenv(cat("OMPI_MCA_", name).c_str(), value, 0);  // what the user has set stays
}

int tasks_apart() {
  return started_by_mpi() ? 1 : std::max(1, number_of({"SLURM_STEP_NUM_TASKS", "PMI_SIZE"}, 1));
}
int world_rank() { return number_of_rank({"OMPI_COMM_WORLD_RANK", "PMIX_RANK"}, 0); }
int local_rank() {
  return started_by_mpi() ? number_of({"OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID"}, 0)
                          : number_of({"SLURM_LOCALID"}, 0);
}
int local_size() { return std::max(1, number_of_rank({"OMPI_COMM_WORLD_LOCAL_SIZE"}, 1)); }
bool bound_to_cores() { return first_set({"OMPI_MCA_orte_bound_at_launch"}) != nullptr; }

}  // namespace lapidary

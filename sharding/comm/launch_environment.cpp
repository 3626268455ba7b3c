#include "sharding/comm/launch_environment.h"

#include <algorithm>
#include <cstdlib>
#include <initializer_list>

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

}  // namespace

bool started_by_mpi() { return first_set({"OMPI_COMM_WORLD_SIZE", "PMIX_RANK"}) != nullptr; }
int tasks_apart() {
  return started_by_mpi() ? 1 : std::max(1, number_of({"SLURM_STEP_NUM_TASKS", "PMI_SIZE"}, 1));
}
int world_rank() { return number_of({"OMPI_COMM_WORLD_RANK", "PMIX_RANK"}, 0); }
int local_rank() { return number_of({"OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID"}, 0); }
int local_size() { return std::max(1, number_of({"OMPI_COMM_WORLD_LOCAL_SIZE"}, 1)); }
bool bound_to_cores() { return first_set({"OMPI_MCA_orte_bound_at_launch"}) != nullptr; }

}  // namespace lapidary

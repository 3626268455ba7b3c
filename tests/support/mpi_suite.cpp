// The communicators' suite over real MPI processes: mpirun -np N mpi_suite
#include <cstdio>
#include <exception>

#include "tests/support/communicator_suite.h"

int main() {
  auto world = lapidary::make_mpi();
  try {
    lapidary::check_communicator(*world);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    world->abort(1);
  }
  if (world->rank() == 0) std::printf("%d ranks agree\n", world->size());
}

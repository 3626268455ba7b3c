#include "configs/error.h"
#include "sharding/comm/communicator.h"

namespace lapidary {

std::unique_ptr<Communicator> make_mpi() {
  fail("this lapidary was built without MPI; configure with -DLAPIDARY_MPI=ON and Open MPI installed");
}

}  // namespace lapidary

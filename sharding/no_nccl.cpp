#include "configs/error.h"
#include "sharding/nccl_options.h"

namespace lapidary {

std::string why_no_nccl() { return "this program was built without NCCL (CMake option LAPIDARY_NCCL)"; }

std::unique_ptr<Communicator> make_nccl(Communicator&, Backend&, const NcclOptions&) { fail(why_no_nccl()); }

}  // namespace lapidary

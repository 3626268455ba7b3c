#include "tests/support/nccl_library.h"

namespace lapidary {

const char* nccl_library() { return LAPIDARY_NCCL_LIBRARY; }

}  // namespace lapidary

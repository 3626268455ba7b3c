#include "configs/version.h"

namespace lapidary {

const char* program_version() { return LAPIDARY_VERSION; }

}  // namespace lapidary
